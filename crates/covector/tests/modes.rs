//! Integer, ragged, empty and mismatched input: all transforms, and all ways to build an array or a tree, give the same
//! result or the same error.

use covector::prelude::*;
use covector::transforms::{check_grads, compile, linearize, value_and_grad, value_and_jac};
use covector::{Error, Result, eval};
use std::cell::RefCell;

#[derive(Tree, Clone)]
struct Params {
    w: Array,
    counts: Vec<Array>,
}

/// Runs every function that differentiates at one argument. Each gives its error, or nothing.
fn differentiate<P: Tree>(f: impl Fn(&P) -> Result<Array>, at: &P) -> Vec<(&'static str, Result<()>)> {
    let f = &|p: &P| f(p);
    let ones = |x: Array| ops::ones_like(&x);
    vec![
        ("grad", grad(f)(at).map(drop)),
        ("value_and_grad", value_and_grad(f)(at).map(drop)),
        ("hvp", hvp(f, at, at).map(drop)),
        ("jacfwd", jacfwd(f)(at).map(drop)),
        ("jacrev", jacrev(f)(at).map(drop)),
        ("value_and_jac", value_and_jac(f)(at).map(drop)),
        ("vjp", vjp(f, at).and_then(|(y, back)| back(&ones(y))).map(drop)),
        ("jvp", jvp(f, at, at).map(drop)),
        ("linearize", linearize(f, at).and_then(|(_, map)| map(at)).map(drop)),
        ("check_grads", check_grads(f, at, 1e-4)),
    ]
}

#[test]
fn an_integer_leaf_is_refused_by_all_transforms_with_its_path() {
    let loss = |p: &Params| Ok((&p.w * 2.0).square().sum() + (&p.counts[1] * 2.0).square().sum());
    for dtype in [Dtype::I32, Dtype::U8, Dtype::I64, Dtype::Bool] {
        let number = |v: f64| Array::scalar(v).astype(dtype);
        let p = Params { w: Array::scalar(1.0f64), counts: vec![Array::scalar(2.0f64), number(1.0)] };
        for (name, result) in differentiate(loss, &p) {
            let error = result.expect_err(name);
            assert!(matches!(error, Error::Type { .. }), "{error:?}");
            let expected = format!("[{name}] the argument.counts[1] is {dtype}; only floating-point");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
        let x = ops::stack(&[number(1.0), number(1.0)], 0);
        let error = hessian(|x: &Array| (x * 2.0).square().sum())(&x).unwrap_err().to_string();
        assert!(error.starts_with(&format!("[hessian] the argument is {dtype};")), "{error}");
    }
}

#[test]
fn a_kept_integer_passes_through_all_transforms() {
    let loss = |(w, count): &(Array, Kept<Array>)| Ok((w * &count.0.astype(Dtype::F64)).square().sum());
    let at = (Array::new([1.0f64, 2.0]), Kept(Array::scalar(3i32)));
    for (name, result) in differentiate(loss, &at) {
        assert!(result.is_ok(), "{name}: {result:?}");
    }
    let (dw, zero) = grad(loss)(&at).unwrap();
    assert_eq!(dw.to_vec::<f64>(), [18.0, 36.0]);
    assert_eq!(zero.item::<i32>(), 0);
    let (dw, zero) = jacrev(|(w, c): &(Array, Kept<Array>)| w * &c.0.astype(Dtype::F64))(&at).unwrap();
    assert_eq!((dw.shape(), zero.shape()), (&[2, 2][..], &[2][..]));
    assert_eq!((dw.to_vec::<f64>(), zero.to_vec::<i32>()), (vec![3.0, 0.0, 0.0, 3.0], vec![0, 0]));
    let (dw, zero) = jacfwd(|(w, c): &(Array, Kept<Array>)| w * &c.0.astype(Dtype::F64))(&at).unwrap();
    assert_eq!((dw.to_vec::<f64>(), zero.to_vec::<i32>()), (vec![3.0, 0.0, 0.0, 3.0], vec![0, 0]));
    // A tangent of a kept leaf has no effect.
    let (y, t) = jvp(loss, &at, &(Array::new([1.0f64, 0.0]), Kept(Array::scalar(100i32)))).unwrap();
    assert_eq!((y.item::<f64>(), t.item::<f64>()), (45.0, 18.0));
    let (hw, zero) = hvp(loss, &at, &(Array::new([1.0f64, 0.0]), Kept(Array::scalar(100i32)))).unwrap();
    assert_eq!((hw.to_vec::<f64>(), zero.item::<i32>()), (vec![18.0, 0.0], 0));
    // Also nested, vectorised and compiled.
    let rows = (Array::new([[1.0f64, 2.0], [3.0, 4.0]]), Kept(Array::new([3i32, 1])));
    let (dw, zero) = vmap(grad(loss))(&rows).unwrap();
    assert_eq!((dw.to_vec::<f64>(), zero.to_vec::<i32>()), (vec![18.0, 36.0, 6.0, 8.0], vec![0, 0]));
    let (dw, _) = compile(grad(loss))(&at).unwrap();
    assert_eq!(dw.to_vec::<f64>(), [18.0, 36.0]);
    let second = grad(|p: &(Array, Kept<Array>)| grad(loss)(p).map(|g| g.0.sum()))(&at).unwrap();
    assert_eq!((second.0.to_vec::<f64>(), second.1.item::<i32>()), (vec![18.0, 18.0], 0));
}

#[test]
fn an_outer_derivative_passes_through_a_kept_leaf() {
    // The kept leaf is a constant of the inner gradient only.
    let inner = |(w, s): &(Array, Kept<Array>)| (w * &s.0).square().sum();
    let outer = |s: &Array| {
        let (dw, _) = grad(inner)(&(Array::scalar(3.0f64), Kept(s.clone())))?;
        Ok::<_, Error>(dw)
    };
    // d/ds 2 w s² = 4 w s.
    assert_eq!(grad(outer)(&Array::scalar(2.0f64)).unwrap().item::<f64>(), 24.0);
}

#[test]
fn optimizers_leave_kept_leaves_alone() {
    #[derive(Tree, Clone)]
    struct Net {
        w: Array,
        #[tree(kept)]
        mean: Array,
        #[tree(kept)]
        steps: Array,
    }
    let net = Net { w: Array::new([1.0f32, 2.0]), mean: Array::new([5.0f32]), steps: Array::scalar(7i64) };
    assert_eq!(net.leaves().len(), 3, "kept leaves are saved");
    let loss = |n: &Net| (&n.w * &n.mean).square().sum();
    let optimizer = optim::AdamW { weight_decay: 0.5, ..optim::AdamW::new(0.1) };
    let mut state = optimizer.init(&net);
    let mut next = net.clone();
    for _ in 0..3 {
        let grads = grad(loss)(&next).unwrap();
        let (grads, norm) = optim::clip_grad_norm(&grads, 1.0).unwrap();
        assert!(norm.item::<f32>() > 1.0);
        (next, state) = optimizer.update(&next, &grads, &state).unwrap();
    }
    assert!(next.w.to_vec::<f32>()[0] < 1.0);
    assert_eq!((next.mean.to_vec::<f32>(), next.steps.item::<i64>()), (vec![5.0], 7));
    assert_eq!(state.slots["m"].mean.to_vec::<f32>(), [0.0]);
    // A state of another kind of number is refused where it is used.
    let mut wrong = state.clone();
    wrong.slots.insert("m", net.map(|x| x.astype(Dtype::I32)));
    let error = optimizer.update(&net, &net, &wrong).err().expect("refused").to_string();
    assert_eq!(error, "[update] params.w is float32, but in the state it is int32");
    // A kept leaf does not change, even if the tree of gradients has a number there.
    let wrong = Net { w: Array::new([0.0f32, 0.0]), mean: Array::new([9.0f32]), steps: Array::scalar(9i64) };
    let (after, _) = optimizer.update(&next, &wrong, &state).unwrap();
    assert_eq!((after.mean.to_vec::<f32>(), after.steps.item::<i64>()), (vec![5.0], 7));
}

/// `f` reads a value and returns a constant: all modes give an error.
#[test]
fn a_result_of_nothing_but_values_that_were_read_is_an_error_that_names_the_line() {
    let at = Array::scalar(3.0f64);
    let line = line!() + 1;
    let item = |x: &Array| Ok(Array::scalar(x.item::<f64>() * 2.0));
    for (name, result) in differentiate(item, &at) {
        let error = result.expect_err(name);
        assert!(matches!(error, Error::NotDifferentiable { .. }), "{name}: {error:?}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("[{name}] the result does not depend on the argument")), "{text}");
        assert!(text.contains(&format!("modes.rs:{line}:")), "{text}");
    }
    let error = hessian(item)(&at).unwrap_err().to_string();
    assert!(error.starts_with("[hessian] ") && error.contains(&format!("modes.rs:{line}:")), "{error}");

    #[rustfmt::skip]
    let reads: [(u32, &dyn Fn(&Array) -> Result<Array>); 6] = [
        (line!(), &|x| Ok(Array::new(x.to_vec::<f64>()).sum())),
        (line!(), &|x| Ok(Array::new(x.try_to_vec::<f64>()?).sum())),
        (line!(), &|x| { eval(std::slice::from_ref(x))?; Ok(Array::from_data(x.data_if_ready().unwrap().clone()).sum()) }),
        (line!(), &|x| Ok(Array::scalar((x * 2.0).sum().try_item::<f64>()?))),
        (line!(), &|x| Ok(Array::from_data(x.try_eval()?.clone()).sum())),
        (line!(), &|x| Ok(Array::scalar(if x.sum().item::<f64>() > 0.0 { 1.0f64 } else { 0.0 }))),
    ];
    for (line, f) in reads {
        let error = grad(f)(&Array::new([1.0f64, 2.0])).unwrap_err().to_string();
        assert!(error.contains(&format!("modes.rs:{line}:")), "{line}: {error}");
    }
}

#[test]
fn a_value_that_was_read_does_no_harm_where_the_result_depends() {
    let f = |x: &Array| Ok(if x.item::<f64>() > 0.0 { x * x } else { -x });
    for (v, slope) in [(3.0, 6.0), (-3.0, -1.0)] {
        let at = Array::scalar(v);
        for (name, result) in differentiate(f, &at) {
            assert!(result.is_ok(), "{name}: {result:?}");
        }
        assert_eq!(grad(f)(&at).unwrap().item::<f64>(), slope);
    }
    // Beside the loss, in another leaf, and printed.
    let aux = |(x, y): &(Array, Array)| {
        let seen = y.item::<f64>();
        let _ = format!("{x} {x:?}");
        (x * seen, seen)
    };
    let ((value, seen), (dx, dy)) =
        value_and_grad(aux)(&(Array::scalar(2.0f64), Array::scalar(5.0f64))).unwrap();
    assert_eq!((value.item::<f64>(), seen, dx.item::<f64>(), dy.item::<f64>()), (10.0, 5.0, 5.0, 0.0));
}

#[test]
fn a_result_that_does_not_depend_and_reads_nothing_has_zeros() {
    let constant = Array::scalar(4.0f64);
    let f = |_: &Array| Ok(&constant * 2.0);
    let at = Array::scalar(3.0f64);
    for (name, result) in differentiate(f, &at) {
        assert!(result.is_ok(), "{name}: {result:?}");
    }
    assert_eq!(grad(f)(&at).unwrap().item::<f64>(), 0.0);
    // Printing does not count as a read, nor do reads of captured arrays or of shapes.
    let f = |x: &Array| {
        let _ = (format!("{x}"), x.shape().len(), constant.item::<f64>());
        &constant * 3.0
    };
    assert_eq!(grad(f)(&at).unwrap().item::<f64>(), 0.0);
}

#[test]
fn a_read_counts_for_the_transforms_that_it_concerns() {
    let at = Array::scalar(3.0f64);
    // The inner argument is read.
    let inner = |x: &Array| grad(|y: &Array| Array::scalar(y.item::<f64>() * 2.0))(x);
    let error = grad(inner)(&at).unwrap_err().to_string();
    assert!(error.starts_with("[grad] the result does not depend"), "{error}");
    // The outer argument is read: its value is a constant for the inner derivative, and an error for the outer one.
    let inner = |x: &Array| {
        let v = x.item::<f64>();
        grad(|y: &Array| y * v)(&Array::scalar(1.0f64))
    };
    assert_eq!(inner(&at).unwrap().item::<f64>(), 3.0);
    let line = line!() - 4;
    let error = grad(inner)(&at).unwrap_err().to_string();
    assert!(error.contains(&format!("modes.rs:{line}:")), "{error}");
    // A read counts for the innermost function, whose result depends on its argument. The constant slope is right.
    let branch = |x: &Array| if x.item::<f64>() > 0.0 { x * 2.0 } else { -x };
    assert_eq!(grad(grad(branch))(&at).unwrap().item::<f64>(), 0.0);
    assert_eq!(hessian(branch)(&at).unwrap().item::<f64>(), 0.0);
    assert_eq!(hvp(branch, &at, &at).unwrap().item::<f64>(), 0.0);
    // A function that has returned is not the innermost function any more.
    let after = |x: &Array| {
        let (y, _back) = vjp(|z: &Array| z * z, x)?;
        Ok::<_, Error>(Array::scalar(y.item::<f64>()))
    };
    let error = grad(after)(&at).unwrap_err().to_string();
    assert!(error.starts_with("[grad] the result does not depend"), "{error}");
    // Also where the operands come in the other order.
    let mixed = |x: &Array| {
        grad(|y: &Array| {
            let both = (x * y).item::<f64>() + (y * x).item::<f64>();
            y * x * both
        })(&Array::scalar(1.0f64))
    };
    assert_eq!(grad(mixed)(&at).unwrap().item::<f64>(), 6.0);
    // A read of a captured array affects no derivative.
    let other = |_: &Array| Ok(Array::scalar(at.item::<f64>()));
    assert_eq!(grad(other)(&at).unwrap().item::<f64>(), 0.0);
    // A trace that has ended has no later effect.
    assert_eq!(grad(|x: &Array| x * 2.0)(&at).unwrap().item::<f64>(), 2.0);
}

#[test]
fn where_there_is_no_value_it_says_so_and_printing_gives_the_reason() {
    let x = Array::new([1.0f32, 2.0]);
    let text = RefCell::new(String::new());
    let f = |x: &Array| {
        *text.borrow_mut() = format!("{x}");
        x * 2.0
    };
    vmap(f)(&x).unwrap();
    let start = "array(<no value: [eval] an argument of a function under vmap or compile has no single value";
    assert!(
        text.borrow().starts_with(start) && text.borrow().ends_with(", shape=(), dtype=float32)"),
        "{text:?}"
    );
    compile(f)(&x).unwrap();
    assert!(text.borrow().starts_with(start), "{text:?}");
    let far = ops::take(&x, &Array::new([7i32]), 0);
    let reason = "array(<no value: [take] index 7 is out of bounds for axis 0 with extent 2>, shape=(1,), dtype=float32)";
    assert_eq!(format!("{far}"), reason);
    for read in [
        |x: &Array| Ok(Array::scalar(x.sum().try_item::<f32>()?)),
        |x: &Array| Ok(Array::new(x.try_to_vec::<f32>()?)),
    ] {
        let read = |x: &Array| -> Result<Array> { read(x) };
        assert!(matches!(vmap(read)(&x.reshape(&[1, 2])), Err(Error::NoValue { .. })));
        assert!(matches!(compile(read)(&x), Err(Error::NoValue { .. })));
    }
}

#[test]
fn ragged_input_names_the_row() {
    let text = |r: Result<Array>| r.unwrap_err().to_string();
    let rest = "all rows of a level must be alike";
    // The message is the same whether or not the number of elements fits a shape.
    let same = format!("[array] row 1 has 3 elements, but row 0 has 2; {rest}");
    assert_eq!(text(Array::try_new(vec![vec![1f32, 2.], vec![3., 4., 5.], vec![6.]])), same);
    assert_eq!(text(Array::try_new(vec![vec![1i64, 2], vec![3, 4, 5]])), same);
    assert_eq!(text(Array::try_new([&[true, true][..], &[true, true, false]])), same);
    let short = format!("[array] row 2 has 1 element, but row 0 has 2; {rest}");
    assert_eq!(text(Array::try_new(vec![vec![1f32, 2.], vec![3., 4.], vec![5.]])), short);
    // Empty rows, first and later.
    let late = format!("[array] row 1 has 1 element, but row 0 has 0; {rest}");
    assert_eq!(text(Array::try_new(vec![vec![], vec![1f32]])), late);
    let early = format!("[array] row 1 has 0 elements, but row 0 has 1; {rest}");
    assert_eq!(text(Array::try_new(vec![vec![1f32], vec![]])), early);
    // At a deeper level.
    let deep = vec![vec![vec![1f64, 2.], vec![3., 4.]], vec![vec![5., 6.], vec![7.]]];
    let expected = format!("[array] row [1][1] has 1 element, but row [0][0] has 2; {rest}");
    assert_eq!(text(Array::try_new(deep)), expected);
    let deep = vec![vec![vec![1f64]], vec![vec![2.], vec![3.]]];
    assert_eq!(text(Array::try_new(deep)), format!("[array] row 1 has 2 elements, but row 0 has 1; {rest}"));
    let deep = vec![vec![], vec![vec![1f64]]];
    assert_eq!(text(Array::try_new(deep)), late);
    let deep = vec![[vec![1u8], vec![2]], [vec![3], vec![4, 5]]];
    let expected = format!("[array] row [1][1] has 2 elements, but row [0][0] has 1; {rest}");
    assert_eq!(text(Array::try_new(deep)), expected);
    // Rows of equal length are accepted, empty or not.
    assert_eq!(Array::new(vec![vec![1f32, 2.], vec![3., 4.]]).shape(), [2, 2]);
    assert_eq!(Array::new(Vec::<Vec<f32>>::new()).shape(), [0]);
    assert_eq!(Array::new(vec![Vec::<f32>::new(); 3]).shape(), [3, 0]);
    assert_eq!(Array::new(vec![vec![Vec::<f32>::new(); 2]; 3]).shape(), [3, 2, 0]);
    assert_eq!(Array::new([[[1f32; 4]; 3]; 2]).shape(), [2, 3, 4]);
    // Rows that are arrays.
    let rows = [Array::new([1f32, 2.]), Array::new([3f32, 4., 5.])];
    let error = ops::try_stack(&rows, 0).unwrap_err().to_string();
    assert_eq!(error, "[stack] array 1 has shape (3,), but array 0 has shape (2,); all must have one shape");
    let error = Array::from_slice(&[1f32, 2., 3.], &[2, 2]).unwrap_err().to_string();
    assert!(error.starts_with("[array] 3 values do not fill shape (2, 2)"), "{error}");
}

#[test]
fn other_leaves_must_be_as_many_and_of_the_same_shapes_and_types() {
    let p = Params { w: Array::new([[1.0f32, 2.0]]), counts: vec![Array::scalar(1i32), Array::scalar(2i32)] };
    let text = |leaves: &[Array]| p.with_leaves(leaves).err().map(|e| e.to_string());
    let [w, a, b] = <[Array; 3]>::try_from(p.leaves()).unwrap();
    assert_eq!(text(&[w.clone(), a.clone(), b.clone()]), None);
    let cases = [
        (vec![w.clone(), a.clone()], "2 leaves do not fill a tree of 3"),
        (vec![w.clone(), a.clone(), b.clone(), b.clone()], "4 leaves do not fill a tree of 3"),
        (vec![], "0 leaves do not fill a tree of 3"),
        (
            vec![w.clone(), a.clone(), Array::scalar(2.0f32)],
            "the leaf .counts[1] is int32 (), but float32 () was given for it",
        ),
        (
            vec![w.clone(), Array::new([1i32]), b.clone()],
            "the leaf .counts[0] is int32 (), but int32 (1,) was given for it",
        ),
        (
            vec![Array::new([1.0f32, 2.0]), a, b],
            "the leaf .w is float32 (1, 2), but float32 (2,) was given for it",
        ),
    ];
    for (leaves, expected) in cases {
        assert_eq!(text(&leaves), Some(format!("[with_leaves] {expected}")));
        assert_eq!(p.with_any_leaves(&leaves).is_ok(), leaves.len() == 3);
    }
    let error = w.with_leaves(&[Array::scalar(1i32)]).unwrap_err().to_string();
    assert_eq!(error, "[with_leaves] the leaf is float32 (1, 2), but int32 () was given for it");
    // All leaves have the wrong type, as from a wrong checkpoint.
    let wrong: Vec<Array> = p.leaves().iter().map(|_| Array::new([1i32])).collect();
    assert!(text(&wrong).unwrap().contains("the leaf .w is float32 (1, 2), but int32 (1,)"));
}

#[test]
fn mismatched_directions_are_refused_by_all_that_take_one() {
    let f = |x: &Array| x.square().sum();
    let at = Array::new([1.0f32, 2.0]);
    for (v, what) in [(Array::new([1.0f32]), "has shape (1,)"), (Array::new([1.0f64, 2.0]), "is float64")] {
        let text = |r: Result<Array>| r.unwrap_err().to_string();
        let found = text(jvp(f, &at, &v).map(|y| y.1));
        assert!(found.starts_with(&format!("[jvp] tangent 0 {what}")), "{found}");
        let found = text(linearize(f, &at).and_then(|(_, map)| map(&v)));
        assert!(found.starts_with(&format!("[linearize] tangent 0 {what}")), "{found}");
        let found = text(hvp(f, &at, &v));
        assert!(found.starts_with(&format!("[hvp] vector 0 {what}")), "{found}");
        let found = text(vjp(|x: &Array| x * 2.0, &at).and_then(|(_, back)| back(&v)));
        assert!(found.starts_with(&format!("[vjp] cotangent 0 {what}")), "{found}");
    }
}

#[test]
fn empty_arrays_and_empty_trees_pass_through_all_transforms() {
    let empty = Array::new(Vec::<f64>::new());
    let f = |x: &Array| Ok(x.square().sum());
    for (name, result) in differentiate(f, &empty) {
        assert!(result.is_ok(), "{name}: {result:?}");
    }
    assert_eq!(grad(f)(&empty).unwrap().shape(), [0]);
    assert_eq!(hessian(f)(&empty).unwrap().shape(), [0, 0]);
    assert_eq!(compile(f)(&empty).unwrap().item::<f64>(), 0.0);
    assert_eq!(vmap(|x: &Array| x * 2.0)(&empty).unwrap().shape(), [0]);

    let none: Vec<Array> = Vec::new();
    let f = |_: &Vec<Array>| Ok(Array::scalar(1.0f64));
    for (name, result) in differentiate(f, &none) {
        assert!(result.is_ok(), "{name}: {result:?}");
    }
    assert_eq!(compile(f)(&none).unwrap().item::<f64>(), 1.0);
    let error = vmap(f)(&none).unwrap_err().to_string();
    assert!(error.starts_with("[vmap] no array argument is mapped"), "{error}");
    assert_eq!(none.with_leaves(&[]).unwrap().len(), 0);
    eval(&[]).unwrap();
}
