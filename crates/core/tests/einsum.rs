//! Einstein summation against loops over all indices, and its parser against all kinds of text.

mod ops_common;

use covector_core::transforms::{compile, grad};
use covector_core::{Array, Dtype, Error, graph_text, ops};
use ops_common::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Sums over every combination of letters, in `f64`. The subscripts are explicit and have no ellipsis.
fn by_loops(subscripts: &str, operands: &[Array]) -> (Vec<usize>, Vec<f64>) {
    let (left, right) = subscripts.split_once("->").unwrap();
    let terms: Vec<Vec<char>> = left.split(',').map(|t| t.chars().collect()).collect();
    let mut extents = BTreeMap::new();
    for (term, x) in terms.iter().zip(operands) {
        for (&c, &n) in term.iter().zip(x.shape()) {
            let known = extents.entry(c).or_insert(n);
            *known = if *known == 1 { n } else { *known };
        }
    }
    let letters: Vec<char> = extents.keys().copied().collect();
    let shape: Vec<usize> = right.chars().map(|c| extents[&c]).collect();
    let mut out = vec![0.0; shape.iter().product()];
    let values: Vec<Vec<f64>> = operands.iter().map(reals).collect();
    let all: Vec<usize> = letters.iter().map(|c| extents[c]).collect();
    positions(&all, |at| {
        let index = |c: char| at[letters.iter().position(|&l| l == c).unwrap()];
        let mut product = 1.0;
        for ((term, x), v) in terms.iter().zip(operands).zip(&values) {
            let place: Vec<usize> =
                term.iter().zip(x.shape()).map(|(&c, &n)| if n == 1 { 0 } else { index(c) }).collect();
            product *= v[flat(&place, x.shape())];
        }
        let place: Vec<usize> = right.chars().map(index).collect();
        out[flat(&place, &shape)] += product;
    });
    (shape, out)
}

/// Small whole numbers, so that sums are exact.
fn sample(seed: u64, shape: &[usize], dtype: Dtype) -> Array {
    let mut rng = Rng(seed);
    let n: usize = shape.iter().product();
    array(&(0..n).map(|_| rng.below(7) as f64 - 3.0).collect::<Vec<_>>(), shape, dtype)
}

#[track_caller]
fn check(subscripts: &str, shapes: &[&[usize]], dtype: Dtype) {
    let operands: Vec<Array> =
        shapes.iter().enumerate().map(|(i, s)| sample(i as u64 + 3, s, dtype)).collect();
    let (shape, want) = by_loops(subscripts, &operands);
    let got = ops::einsum(subscripts, &operands);
    assert_eq!(got.shape(), shape, "{subscripts}");
    assert_near(subscripts, &got, &want, 0.0);
}

const CASES: &[(&str, &[&[usize]])] = &[
    ("ij->ij", &[&[2, 3]]),
    ("ij->ji", &[&[2, 3]]),
    ("ij->", &[&[2, 3]]),
    ("ijk->ki", &[&[2, 3, 4]]),
    ("ii->i", &[&[3, 3]]),
    ("ii->", &[&[3, 3]]),
    ("ijiji->ij", &[&[2, 3, 2, 3, 2]]),
    ("iii->", &[&[3, 3, 3]]),
    ("->", &[&[]]),
    (",->", &[&[], &[]]),
    (",ij,->ji", &[&[], &[2, 3], &[]]),
    ("i,i->", &[&[5], &[5]]),
    ("i,i->i", &[&[5], &[5]]),
    ("i,j->ij", &[&[2], &[3]]),
    ("i,j->ji", &[&[2], &[3]]),
    ("i,j->j", &[&[2], &[3]]),
    ("ij,jk->ik", &[&[2, 3], &[3, 4]]),
    ("ij,jk->ki", &[&[2, 3], &[3, 4]]),
    ("ji,kj->ik", &[&[3, 2], &[4, 3]]),
    ("ij,jk->", &[&[2, 3], &[3, 4]]),
    ("ij,jk->k", &[&[2, 3], &[3, 4]]),
    ("ij,j->i", &[&[2, 3], &[3]]),
    ("i,ij->j", &[&[2], &[2, 3]]),
    ("ij,ij->", &[&[2, 3], &[2, 3]]),
    ("ij,ij->i", &[&[2, 3], &[2, 3]]),
    ("ij,ji->i", &[&[2, 3], &[3, 2]]),
    ("bij,bjk->bik", &[&[2, 3, 4], &[2, 4, 5]]),
    ("bij,bjk->ikb", &[&[2, 3, 4], &[2, 4, 5]]),
    ("ijb,kbj->kib", &[&[3, 4, 2], &[5, 2, 4]]),
    ("abij,jbk->kai", &[&[2, 3, 2, 4], &[4, 3, 2]]),
    ("abcd,dcef->abef", &[&[2, 3, 4, 2], &[2, 4, 3, 2]]),
    ("abcd,cdef->feba", &[&[2, 3, 4, 2], &[4, 2, 3, 2]]),
    ("bqhd,bkhd->bhqk", &[&[2, 3, 2, 4], &[2, 5, 2, 4]]),
    ("bhqk,bkhd->bqhd", &[&[2, 2, 3, 5], &[2, 5, 2, 4]]),
    ("ij,kj->i", &[&[2, 3], &[1, 3]]),
    ("ij,jk->ik", &[&[2, 3], &[1, 4]]),
    ("ij,ij->ij", &[&[2, 1], &[1, 3]]),
    ("ij,ij->", &[&[2, 1], &[1, 3]]),
    ("i,i->i", &[&[1], &[1]]),
    ("ii,i->i", &[&[3, 3], &[3]]),
    ("iij,jk->ik", &[&[2, 2, 3], &[3, 4]]),
    ("iij,ijj->ij", &[&[2, 2, 3], &[2, 3, 3]]),
    ("ij,jk,kl->il", &[&[2, 3], &[3, 4], &[4, 2]]),
    ("ij,jk,ki->", &[&[2, 3], &[3, 4], &[4, 2]]),
    ("i,i,i->i", &[&[3], &[3], &[3]]),
    ("ij,ik,il->jkl", &[&[4, 2], &[4, 3], &[4, 2]]),
    ("ea,fb,abcd,gc,hd->efgh", &[&[2, 3], &[2, 2], &[3, 2, 2, 3], &[2, 2], &[3, 3]]),
    ("ab,bc,cd,de,ef,fg,gh->ah", &[&[2, 2], &[2, 3], &[3, 2], &[2, 3], &[3, 2], &[2, 2], &[2, 3]]),
    ("aB,Bc->ca", &[&[2, 3], &[3, 2]]),
    ("ij,jk->ik", &[&[2, 0], &[0, 3]]),
    ("ij,jk->ik", &[&[0, 2], &[2, 3]]),
    ("ij,j->", &[&[0, 2], &[2]]),
];

#[test]
fn agrees_with_loops_over_all_letters() {
    for &(subscripts, shapes) in CASES {
        for dtype in [Dtype::F64, Dtype::F32, Dtype::C64] {
            check(subscripts, shapes, dtype);
        }
    }
}

#[test]
fn agrees_on_strided_operands() {
    for &(subscripts, shapes) in CASES {
        let operands: Vec<Array> =
            shapes.iter().enumerate().map(|(i, s)| sample(i as u64, s, Dtype::F64)).collect();
        let (_, want) = by_loops(subscripts, &operands);
        let all: Vec<Vec<Array>> = operands.iter().map(layouts).collect();
        for k in 0..4 {
            let these: Vec<Array> = all.iter().map(|l| l[k % l.len()].clone()).collect();
            assert_near(subscripts, &ops::einsum(subscripts, &these), &want, 0.0);
        }
    }
}

#[test]
fn integers_multiply_where_no_matrix_product_is_needed() {
    for dtype in [Dtype::I32, Dtype::I64, Dtype::I8] {
        check("ij->i", &[&[2, 3]], dtype);
        check("i,j->ij", &[&[2], &[3]], dtype);
        check("ij,ij->i", &[&[2, 3], &[2, 3]], dtype);
        check("ij,j->i", &[&[2, 3], &[3]], dtype);
        let x = sample(0, &[2, 2], dtype);
        let error = ops::try_einsum("ij,jk->ik", &[x.clone(), x]).unwrap_err();
        assert!(matches!(error, Error::Dtype { .. }));
        assert!(error.to_string().contains("Convert with astype"), "{error}");
    }
    // Types mix as in every operation.
    let (a, b) = (sample(0, &[2, 3], Dtype::F16), sample(1, &[3, 2], Dtype::F32));
    assert_eq!(ops::einsum("ij,jk", &[a.clone(), b.clone()]).dtype(), Dtype::F32);
    let (_, want) = by_loops("ij,jk->ik", &[a.clone(), b.clone()]);
    assert_near("mixed", &ops::einsum("ij,jk->ik", &[a, b]), &want, 0.0);
}

#[test]
fn the_ellipsis_stands_for_axes_aligned_on_the_right() {
    let (a, b) = (sample(1, &[5, 2, 3], Dtype::F64), sample(2, &[3, 4], Dtype::F64));
    let want = ops::matmul(&a, &b);
    for subscripts in
        ["...ij,jk->...ik", "...ij,...jk->...ik", "...j,jk->...k", "...ij,jk", " ... i j , j k -> ... i k "]
    {
        assert_near(subscripts, &ops::einsum(subscripts, &[a.clone(), b.clone()]), &reals(&want), 0.0);
    }
    // In front without an arrow; anywhere with one.
    assert_eq!(ops::einsum("b...a", std::slice::from_ref(&a)).shape(), [2, 3, 5]);
    assert_eq!(ops::einsum("b...a->b...a", std::slice::from_ref(&a)).shape(), [5, 2, 3]);
    // Left out of the output, it is summed over.
    assert_near(
        "sum",
        &ops::einsum("...j->j", std::slice::from_ref(&a)),
        &reals(&a.sum_axes(&[0, 1], false)),
        0.0,
    );
    // Axes of extent 1 and axes that are not there stretch.
    let c = sample(3, &[2, 1], Dtype::F64);
    assert_eq!(ops::einsum("...,...", &[a.clone(), c]).shape(), [5, 2, 3]);
    let d = sample(4, &[4], Dtype::F64);
    assert_eq!(ops::einsum("...i,j->...ij", &[a, d]).shape(), [5, 2, 3, 4]);
}

#[test]
fn without_an_arrow_letters_that_stand_once_are_the_output() {
    let x = sample(1, &[2, 3], Dtype::F64);
    assert_eq!(ops::einsum("ba", std::slice::from_ref(&x)).shape(), [3, 2]);
    assert_eq!(ops::einsum("bA", std::slice::from_ref(&x)).shape(), [3, 2]);
    assert_eq!(ops::einsum("ij,kj", &[x.clone(), x.clone()]).shape(), [2, 2]);
    assert_eq!(ops::einsum("ii", &[sample(2, &[3, 3], Dtype::F64)]).shape(), [0usize; 0]);
}

#[test]
fn mistakes_are_refused_with_what_was_received() {
    let x = sample(1, &[2, 3], Dtype::F64);
    let said = |subscripts: &str, n: usize| {
        let error = ops::try_einsum(subscripts, &vec![x.clone(); n]).unwrap_err().to_string();
        assert!(error.starts_with("[einsum] "), "{error}");
        // The path is refused for the same reasons, in its own name.
        let path = ops::try_einsum_path(subscripts, &vec![x.clone(); n]).unwrap_err().to_string();
        assert_eq!(path, error.replace("[einsum]", "[einsum_path]"));
        error
    };
    assert!(said("ij", 0).contains("no operands were given"));
    assert!(said("ij,jk->ik", 1).contains("are for 2 operand(s), but 1 were given"));
    assert!(said("i", 1).contains("name 1 axes, but operand 0 of shape (2, 3) has 2"));
    assert!(said("ijk", 1).contains("name 3 axes"));
    assert!(said("ijk...", 1).contains("name 3 axes"));
    assert!(said("ij->ii", 1).contains("'i' stands twice in the output"));
    assert!(said("ij->ijk", 1).contains("'k' stands in the output \"ijk\" but in no operand"));
    assert!(said("ii->i", 1).contains("extents 2 and 3 in operand 0 of shape (2, 3)"));
    assert!(said("ij,jk", 2).contains("'j' has extent 2 in operand 1 of shape (2, 3) and 3 in another"));
    for bad in
        ["i1", "i.j", "ij->->ij", "ij-ji", "i..j", "....ij", "ij->i>j", "...i...", "é", "ij->...->", ">"]
    {
        said(bad, 1);
    }
}

#[test]
fn the_path_is_the_cheapest_order() {
    let zeros = |shapes: &[&[usize]]| shapes.iter().map(|s| ops::zeros(s, Dtype::F32)).collect::<Vec<_>>();
    let chain = zeros(&[&[2, 30], &[30, 4], &[4, 50]]);
    let path = ops::einsum_path("ij,jk,kl", &chain);
    assert_eq!(path.contractions, [[0, 1], [0, 1]]);
    assert_eq!((path.flops, path.naive_flops), (1280.0, 36000.0));
    assert_eq!((path.scaling, path.naive_scaling), (3, 4));
    assert!(path.to_string().contains("1280"), "{path}");
    let path = ops::einsum_path("ij,jk,kl->il", &zeros(&[&[200, 3], &[3, 400], &[400, 5]]));
    assert_eq!(path.contractions, [[1, 2], [0, 1]]);
    let ten: &[usize] = &[10, 10];
    let path = ops::einsum_path("ea,fb,abcd,gc,hd->efgh", &zeros(&[ten, ten, &[10; 4], ten, ten]));
    assert_eq!((path.flops, path.scaling), (800_000.0, 5));
    // More operands than orders can be tried.
    let many: Vec<Array> = zeros(&[ten; 9]);
    let path = ops::einsum_path("ab,bc,cd,de,ef,fg,gh,hi,ij->aj", &many);
    assert_eq!(path.contractions.len(), 8);
    assert_eq!((path.flops, path.scaling), (8.0 * 2000.0, 3));
    assert_eq!(ops::einsum_path("ij", &zeros(&[ten])).contractions, [[0]]);
}

#[test]
fn no_product_over_all_letters_is_formed() {
    // The product over i, j, k and l would have 10¹² elements.
    let x = ops::ones(&[1000, 1000], Dtype::F32);
    let (a, b) =
        (x.index(&[ops::Index::from(0..2)]), x.index(&[ops::Index::from(..), ops::Index::from(0..2)]));
    let y = ops::einsum("ij,jk,kl->il", &[a, x, b]);
    assert_eq!(y.to_vec::<f32>(), [1e6; 4]);
    // One matrix product, and no copy of an operand in front of it.
    let (q, k) = (ops::ones(&[2, 5, 3, 4], Dtype::F32), ops::ones(&[2, 6, 3, 4], Dtype::F32));
    let text = graph_text(&[ops::einsum("bqhd,bkhd->bhqk", &[q, k])]);
    assert_eq!(text.matches("matmul").count(), 1, "{text}");
    assert!(!text.contains("reshape") && !text.contains("multiply"), "{text}");
}

#[test]
fn differentiates_and_compiles() {
    let (a, b) = (sample(1, &[2, 3], Dtype::F64), sample(2, &[3, 4], Dtype::F64));
    let f = |(a, b): &(Array, Array)| ops::einsum("ij,jk->ki", &[a.clone(), b.clone()]).square().sum();
    let (da, db) = grad(f)(&(a.clone(), b.clone())).unwrap();
    let g = |(a, b): &(Array, Array)| ops::matmul(a, b).square().sum();
    let (ea, eb) = grad(g)(&(a.clone(), b.clone())).unwrap();
    assert_near("a", &da, &reals(&ea), 0.0);
    assert_near("b", &db, &reals(&eb), 0.0);
    let compiled = compile(move |x: &(Array, Array)| f(x));
    let value = compiled(&(a.clone(), b.clone())).unwrap();
    assert_near("compiled", &value, &reals(&f(&(a, b))), 0.0);
}

/// Explicit subscripts over a few letters, with shapes to suit.
fn equations() -> impl Strategy<Value = (String, Vec<Vec<usize>>)> {
    let letters = proptest::collection::vec(0usize..6, 0..4);
    (proptest::collection::vec(letters, 1..5), proptest::collection::vec(1usize..4, 6), any::<u64>())
        .prop_map(|(terms, extents, seed)| {
            let mut rng = Rng(seed);
            let name = |&l: &usize| char::from(b'a' + l as u8);
            let mut used: Vec<usize> = terms.iter().flatten().copied().collect();
            used.sort_unstable();
            used.dedup();
            let mut output: Vec<usize> = used.into_iter().filter(|_| rng.below(2) == 0).collect();
            for i in (1..output.len()).rev() {
                output.swap(i, rng.below(i + 1));
            }
            let text = |t: &[usize]| t.iter().map(name).collect::<String>();
            let left = terms.iter().map(|t| text(t)).collect::<Vec<_>>().join(",");
            let shapes = terms
                .iter()
                .map(|t| {
                    let twice = |l: usize| t.iter().filter(|&&m| m == l).count() > 1;
                    // Now and then an extent of 1 in place of the letter's.
                    t.iter().map(|&l| if !twice(l) && rng.below(8) == 0 { 1 } else { extents[l] }).collect()
                })
                .collect();
            (format!("{left}->{}", text(&output)), shapes)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_equations_agree_with_loops((subscripts, shapes) in equations()) {
        let shapes: Vec<&[usize]> = shapes.iter().map(|s| &s[..]).collect();
        check(&subscripts, &shapes, Dtype::F64);
    }

    #[test]
    fn any_text_gives_a_value_or_an_error(
        text in prop_oneof![any::<String>(), "[a-cA-B.,> -]{0,12}", "[ij.]{0,6},[ij.]{0,6}(->[ij.]{0,4})?"],
        shapes in proptest::collection::vec(proptest::collection::vec(0usize..3, 0..4), 0..3),
    ) {
        let operands: Vec<Array> = shapes.iter().map(|s| ops::ones(s, Dtype::F32)).collect();
        match ops::try_einsum(&text, &operands) {
            Ok(y) => { y.try_eval().unwrap(); }
            Err(error) => prop_assert!(error.to_string().starts_with("[einsum] "), "{error}"),
        }
    }
}
