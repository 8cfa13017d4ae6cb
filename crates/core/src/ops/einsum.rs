//! Einstein summation: sums of products written in index letters.
//!
//! Operands are contracted in pairs, in an order found beforehand. A pair becomes one matrix product, batched
//! over the letters that both have and the result keeps, on transposed and reshaped views; where nothing is
//! summed, or where it is only read once, an elementwise product. The product over all letters is never formed.

use super::block::op;
use crate::array::Array;
use crate::dtype::promote;
use crate::error::{Error, Result};
use crate::ops;
use crate::shape::ShapeText;
use crate::wide;
use covector_kernels::Dtype;
use smallvec::SmallVec;
use std::fmt;

const OP: &str = "einsum";

/// A letter, in the order of ASCII, or, from [`LETTERS`] on, an axis of the ellipsis.
type Label = u8;
type Labels = SmallVec<[Label; 8]>;
/// A set of labels, a bit each.
type Set = u128;

const LETTERS: Label = 52;
const MOST: usize = Set::BITS as usize;
/// Up to this many operands all orders are tried; there are 180 of five.
const EXHAUSTIVE: usize = 5;

fn set(labels: &[Label]) -> Set {
    labels.iter().fold(0, |s, &l| s | 1 << l)
}

fn has(set: Set, label: Label) -> bool {
    set >> label & 1 == 1
}

/// What a label is called in messages.
fn called(label: Label) -> String {
    let letter = |l: u8| if l < 26 { b'A' + l } else { b'a' + l - 26 };
    if label < LETTERS {
        format!("'{}'", char::from(letter(label)))
    } else {
        format!("axis {} of the ellipsis", label - LETTERS)
    }
}

/// The subscripts, with the ellipsis spelt out, and the extent of each label.
struct Equation {
    inputs: Vec<Labels>,
    output: Labels,
    extents: [usize; MOST],
}

/// One side of a comma: letters before and after the ellipsis, if there is one.
struct Term<'a> {
    text: &'a str,
    before: Labels,
    after: Option<Labels>,
}

impl<'a> Term<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let letters = |part: &str| -> Result<Labels> {
            part.chars()
                .map(|c| match c {
                    'A'..='Z' => Ok(c as Label - b'A'),
                    'a'..='z' => Ok(c as Label - b'a' + 26),
                    _ => Err(Error::value(
                        OP,
                        format!(
                            "{c:?} in the subscripts {text:?} is not allowed; write letters, one '...' for further \
                             axes, ',' between operands and one '->' before the output"
                        ),
                    )),
                })
                .collect()
        };
        Ok(match text.split_once("...") {
            Some((before, after)) => Self { text, before: letters(before)?, after: Some(letters(after)?) },
            None => Self { text, before: letters(text)?, after: None },
        })
    }

    fn letters(&self) -> usize {
        self.before.len() + self.after.as_ref().map_or(0, |a| a.len())
    }

    /// The labels, with the last `rank` of `all` axes in place of the ellipsis.
    fn labels(&self, rank: usize, all: usize) -> Labels {
        let mut labels = self.before.clone();
        if let Some(after) = &self.after {
            labels.extend((all - rank..all).map(|k| LETTERS + k as Label));
            labels.extend_from_slice(after);
        }
        labels
    }
}

impl Equation {
    fn parse(subscripts: &str, operands: &[Array]) -> Result<Self> {
        if operands.is_empty() {
            return Err(Error::value(OP, "no operands were given; give one for each group of subscripts"));
        }
        let text: String = subscripts.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (&text[..], None),
        };
        let terms: Vec<Term<'_>> = left.split(',').map(Term::parse).collect::<Result<_>>()?;
        if terms.len() != operands.len() {
            return Err(Error::value(
                OP,
                format!(
                    "the subscripts {subscripts:?} are for {} operand(s), but {} were given",
                    terms.len(),
                    operands.len()
                ),
            ));
        }
        let mut ranks = Vec::with_capacity(terms.len());
        for (i, (term, x)) in terms.iter().zip(operands).enumerate() {
            let (letters, n) = (term.letters(), x.ndim());
            if letters > n || (letters < n && term.after.is_none()) {
                return Err(Error::value(
                    OP,
                    format!(
                        "the subscripts {:?} name {letters} axes, but operand {i} of shape {} has {n}; name each axis \
                         once, or write '...' for those without a name",
                        term.text,
                        ShapeText(x.shape()),
                    ),
                ));
            }
            ranks.push(n - letters);
        }
        let all = ranks.iter().copied().max().unwrap_or(0);
        if all > MOST - LETTERS as usize {
            return Err(Error::value(
                OP,
                format!("the ellipsis stands for {all} axes; {} are the most", MOST - LETTERS as usize),
            ));
        }
        let inputs: Vec<Labels> = terms.iter().zip(&ranks).map(|(t, &r)| t.labels(r, all)).collect();
        let output = match right {
            Some(right) => Self::explicit(right, &inputs, all)?,
            None => Self::implicit(&inputs, all),
        };
        let extents = Self::extents(&inputs, operands)?;
        Ok(Self { inputs, output, extents })
    }

    /// The output's labels as written after the arrow.
    fn explicit(right: &str, inputs: &[Labels], all: usize) -> Result<Labels> {
        let output = Term::parse(right)?.labels(all, all);
        let known = inputs.iter().fold(0, |s, labels| s | set(labels));
        for (k, &label) in output.iter().enumerate() {
            if output[..k].contains(&label) {
                return Err(Error::value(
                    OP,
                    format!("{} stands twice in the output {right:?}; name each axis once", called(label)),
                ));
            }
            if !has(known, label) {
                return Err(Error::value(
                    OP,
                    format!(
                        "{} stands in the output {right:?} but in no operand; no axis has that name",
                        called(label)
                    ),
                ));
            }
        }
        Ok(output)
    }

    /// Without an arrow: the ellipsis, then the letters that stand once, in alphabetical order.
    fn implicit(inputs: &[Labels], all: usize) -> Labels {
        let count = |label: Label| inputs.iter().flatten().filter(|&&l| l == label).count();
        let ellipsis = (0..all).map(|k| LETTERS + k as Label);
        ellipsis.chain((0..LETTERS).filter(|&l| count(l) == 1)).collect()
    }

    fn extents(inputs: &[Labels], operands: &[Array]) -> Result<[usize; MOST]> {
        let mut extents = [1; MOST];
        for (i, (labels, x)) in inputs.iter().zip(operands).enumerate() {
            for (k, (&label, &n)) in labels.iter().zip(x.shape()).enumerate() {
                let twice = labels[..k].iter().position(|&l| l == label).map(|j| x.shape()[j]);
                let known = &mut extents[label as usize];
                if let Some(m) = twice.filter(|&m| m != n) {
                    return Err(Error::value(
                        OP,
                        format!(
                            "{} stands for axes of extents {m} and {n} in operand {i} of shape {}; a diagonal needs \
                             equal ones",
                            called(label),
                            ShapeText(x.shape()),
                        ),
                    ));
                }
                if *known == 1 {
                    *known = n;
                } else if n != 1 && n != *known {
                    return Err(Error::value(
                        OP,
                        format!(
                            "{} has extent {n} in operand {i} of shape {} and {known} in another; equal extents or 1 \
                             are needed",
                            called(label),
                            ShapeText(x.shape()),
                        ),
                    ));
                }
            }
        }
        Ok(extents)
    }

    /// The number of index combinations of a set of labels.
    fn volume(&self, labels: Set) -> f64 {
        let mut rest = labels;
        let mut volume = 1.0;
        while rest != 0 {
            volume *= self.extents[rest.trailing_zeros() as usize] as f64;
            rest &= rest - 1;
        }
        volume
    }

    /// Multiplications and additions of one contraction of `count` operands with these labels, all at once.
    fn flops(&self, labels: Set, kept: Set, count: usize) -> f64 {
        let sums = usize::from(labels & !kept != 0);
        self.volume(labels) * ((count - 1).max(1) + if count > 1 { sums } else { 0 }) as f64
    }

    /// Whether something is computed of a sum: where there are more than two operands, or where an axis of one of two is
    /// summed before the product because the other does not have it.
    fn sums_sums(&self, operands: &[Array]) -> bool {
        let varied = |x: &Array, labels: &Labels| {
            let full = labels.iter().zip(x.shape()).filter(|&(&l, &n)| n == self.extents[l as usize]);
            full.fold(0, |s, (&l, _)| s | set(&[l]))
        };
        match (operands, &self.inputs[..]) {
            ([a, b], [la, lb]) => (varied(a, la) ^ varied(b, lb)) & !set(&self.output) != 0,
            _ => operands.len() > 2,
        }
    }

    /// Which pairs to contract, one after the other; a result goes to the end of those that are left.
    fn order(&self) -> Vec<(usize, usize)> {
        let terms: Vec<Set> = self.inputs.iter().map(|labels| set(labels)).collect();
        let output = set(&self.output);
        if terms.len() <= EXHAUSTIVE {
            let mut best = (f64::INFINITY, Vec::new());
            self.search(&terms, output, 0.0, &mut Vec::new(), &mut best);
            best.1
        } else {
            self.greedy(terms, output)
        }
    }

    /// Tries all orders. At most [`EXHAUSTIVE`] deep.
    fn search(
        &self,
        terms: &[Set],
        output: Set,
        cost: f64,
        taken: &mut Vec<(usize, usize)>,
        best: &mut (f64, Vec<(usize, usize)>),
    ) {
        if terms.len() < 2 {
            if cost < best.0 || best.0.is_infinite() {
                *best = (cost, taken.clone());
            }
            return;
        }
        for i in 0..terms.len() {
            for j in i + 1..terms.len() {
                let (rest, made) = joined(terms, i, j, output);
                let cost = cost + self.flops(terms[i] | terms[j], made, 2);
                if cost < best.0 || best.0.is_infinite() {
                    taken.push((i, j));
                    self.search(&rest, output, cost, taken, best);
                    taken.pop();
                }
            }
        }
    }

    /// Takes the pair that leaves least memory behind each time, the cheapest of several.
    fn greedy(&self, mut terms: Vec<Set>, output: Set) -> Vec<(usize, usize)> {
        let mut order = Vec::new();
        while terms.len() > 1 {
            let mut best = ((f64::INFINITY, f64::INFINITY), (0, 1));
            for i in 0..terms.len() {
                for j in i + 1..terms.len() {
                    let (a, b) = (terms[i], terms[j]);
                    let made = (a | b) & (output | others(&terms, i, j));
                    let gain = self.volume(made) - self.volume(a) - self.volume(b);
                    let score = (gain, self.flops(a | b, made, 2));
                    if score < best.0 {
                        best = (score, (i, j));
                    }
                }
            }
            let (i, j) = best.1;
            terms = joined(&terms, i, j, output).0;
            order.push((i, j));
        }
        order
    }
}

/// The labels of all but two of the terms.
fn others(terms: &[Set], i: usize, j: usize) -> Set {
    terms.iter().enumerate().filter(|&(k, _)| k != i && k != j).fold(0, |s, (_, &t)| s | t)
}

/// The terms with two of them contracted, and the labels of the result.
fn joined(terms: &[Set], i: usize, j: usize, output: Set) -> (Vec<Set>, Set) {
    let made = (terms[i] | terms[j]) & (output | others(terms, i, j));
    let rest = terms.iter().enumerate().filter(|&(k, _)| k != i && k != j).map(|(_, &t)| t);
    (rest.chain([made]).collect(), made)
}

/// An array whose axes have labels, each once.
struct Labelled {
    array: Array,
    labels: Labels,
}

impl Labelled {
    /// An operand: diagonals taken, and axes that broadcast left out.
    fn operand(x: &Array, labels: &Labels, extents: &[usize; MOST]) -> Result<Self> {
        let (mut array, mut labels) = (x.clone(), labels.clone());
        let repeated = |labels: &Labels| {
            (0..labels.len()).find_map(|j| Some((labels[..j].iter().position(|l| *l == labels[j])?, j)))
        };
        while let Some((i, j)) = repeated(&labels) {
            array = ops::try_diagonal(&array, 0, i as isize, j as isize)?;
            let label = labels.remove(j);
            labels.remove(i);
            labels.push(label);
        }
        let narrow: Vec<isize> = (0..labels.len())
            .filter(|&k| array.shape()[k] == 1 && extents[labels[k] as usize] != 1)
            .map(|k| k as isize)
            .collect();
        if !narrow.is_empty() {
            labels =
                (0..labels.len()).filter(|&k| !narrow.contains(&(k as isize))).map(|k| labels[k]).collect();
            array = ops::try_squeeze(&array, &narrow)?;
        }
        Ok(Self { array, labels })
    }

    fn set(&self) -> Set {
        set(&self.labels)
    }

    /// Summed over every label that is not kept.
    fn reduced(self, keep: Set) -> Result<Self> {
        let axes: Vec<isize> =
            (0..self.labels.len()).filter(|&k| !has(keep, self.labels[k])).map(|k| k as isize).collect();
        if axes.is_empty() {
            return Ok(self);
        }
        let labels = self.labels.iter().copied().filter(|&l| has(keep, l)).collect();
        Ok(Self { array: ops::try_sum_axes(&self.array, &axes, false)?, labels })
    }

    /// The axes in the order of `labels`; those it does not have get extent 1.
    fn spread(&self, labels: &[Label]) -> Result<Array> {
        let array = self.ordered(&labels.iter().copied().filter(|&l| has(self.set(), l)).collect())?;
        let mut extents = array.shape().iter();
        let shape: Vec<usize> = labels
            .iter()
            .map(|&l| if has(self.set(), l) { extents.next().copied().unwrap_or(1) } else { 1 })
            .collect();
        ops::reshape_to(&array, &shape)
    }

    /// The axes in the order of `labels`, which are its own.
    fn ordered(&self, labels: &Labels) -> Result<Array> {
        let place = |l: &Label| self.labels.iter().position(|k| k == l);
        ops::permute(&self.array, labels.iter().filter_map(place).collect())
    }

    /// The labels of a set in this array's order.
    fn of(&self, wanted: Set) -> Labels {
        self.labels.iter().copied().filter(|&l| has(wanted, l)).collect()
    }

    fn extent(&self, label: Label) -> usize {
        self.labels.iter().position(|&l| l == label).map_or(1, |k| self.array.shape()[k])
    }
}

/// The product of two, summed over what both have and neither `keep` nor anything else needs.
fn contract(a: Labelled, b: Labelled, keep: Set, output: &Labels) -> Result<Labelled> {
    let a = {
        let other = b.set();
        a.reduced(keep | other)?
    };
    let b = {
        let other = a.set();
        b.reduced(keep | other)?
    };
    let shared = a.set() & b.set();
    let summed = shared & !keep;
    let (only_a, only_b) = (a.set() & !shared, b.set() & !shared);
    let dtype = promote(a.array.dtype(), b.array.dtype());
    let half = wide::is_half(dtype);
    // No larger than one of the operands: a product in passing. Half precision is left to the matrix product,
    // which sums in float32.
    let small = only_a == 0 && only_b == 0 && !half;
    if summed == 0 || small || (!dtype.is_inexact() && (only_a == 0 || only_b == 0)) {
        return multiply(&a, &b, output)?.reduced(keep);
    }
    if !dtype.is_inexact() {
        return Err(Error::dtype(
            OP,
            format!(
                "{} and {} make a matrix product of {dtype}; only floating-point and complex matrices multiply. \
                 Convert with astype",
                a.array.dtype(),
                b.array.dtype()
            ),
        ));
    }
    // The operand whose letters come first in the output goes to the left, so that the result needs no transpose.
    let first = |s: Set| output.iter().position(|&l| has(s, l)).unwrap_or(usize::MAX);
    if first(only_b) < first(only_a) {
        product(&b, &a, shared & keep, summed)
    } else {
        product(&a, &b, shared & keep, summed)
    }
}

/// The elementwise product over all labels of both.
fn multiply(a: &Labelled, b: &Labelled, output: &Labels) -> Result<Labelled> {
    let all = a.set() | b.set();
    let labels: Labels = if set(output) == all {
        output.clone()
    } else {
        let (large, small) = if b.array.size() > a.array.size() { (b, a) } else { (a, b) };
        large.labels.iter().copied().chain(small.of(!large.set())).collect()
    };
    Ok(Labelled { array: ops::try_multiply(&a.spread(&labels)?, &b.spread(&labels)?)?, labels })
}

/// The matrix product: `a` gives the rows, `b` the columns, and both have the batch and what is summed.
fn product(a: &Labelled, b: &Labelled, batch: Set, summed: Set) -> Result<Labelled> {
    let shared = batch | summed;
    let (rows, columns) = (a.of(!shared), b.of(!shared));
    let large = if b.array.size() > a.array.size() { b } else { a };
    let (batch, summed) = (large.of(batch), large.of(summed));
    let extents = |x: &Labelled, labels: &Labels| labels.iter().map(|&l| x.extent(l)).collect::<Vec<usize>>();
    let front = extents(a, &batch);
    let count = |x: &Labelled, labels: &Labels| extents(x, labels).iter().product::<usize>();
    let matrix = |x: &Labelled, parts: [&Labels; 2]| -> Result<Array> {
        let order: Labels = batch.iter().chain(parts[0]).chain(parts[1]).copied().collect();
        let mut shape = front.clone();
        shape.extend(parts.map(|labels| count(x, labels)));
        ops::reshape_to(&x.ordered(&order)?, &shape)
    };
    let made = ops::try_matmul(&matrix(a, [&rows, &summed])?, &matrix(b, [&summed, &columns])?)?;
    let shape: Vec<usize> =
        front.iter().copied().chain(extents(a, &rows)).chain(extents(b, &columns)).collect();
    let labels = batch.iter().chain(&rows).chain(&columns).copied().collect();
    Ok(Labelled { array: ops::reshape_to(&made, &shape)?, labels })
}

fn evaluated(subscripts: &str, operands: &[Array]) -> Result<Array> {
    let equation = Equation::parse(subscripts, operands)?;
    if !equation.sums_sums(operands) || !operands.iter().any(|x| wide::is_half(x.dtype())) {
        return contracted(&equation, operands);
    }
    // The sums on the way are not rounded.
    let dtype = operands.iter().map(Array::dtype).fold(Dtype::Bool, promote);
    let out = contracted(&equation, &operands.iter().map(wide::widen).collect::<Vec<_>>())?;
    Ok(if wide::is_half(dtype) { ops::to_dtype(&out, dtype) } else { out })
}

/// The operands contracted in pairs.
fn contracted(equation: &Equation, operands: &[Array]) -> Result<Array> {
    let output = &equation.output;
    let mut terms: Vec<Labelled> = operands
        .iter()
        .zip(&equation.inputs)
        .map(|(x, labels)| Labelled::operand(x, labels, &equation.extents))
        .collect::<Result<_>>()?;
    for (i, j) in equation.order() {
        let b = terms.remove(j);
        let a = terms.remove(i);
        let keep = terms.iter().fold(set(output), |s, t| s | t.set());
        terms.push(contract(a, b, keep, output)?);
    }
    let Some(last) = terms.pop() else { unreachable!("parsing refuses an empty list of operands") };
    last.reduced(set(output))?.ordered(output)
}

/// The order in which [`einsum`] contracts its operands, and what it saves. Displays as a short report.
#[derive(Clone, Debug, PartialEq)]
pub struct EinsumPath {
    /// Positions of the operands that are contracted in each step. They leave the list, and the result goes to its
    /// end.
    pub contractions: Vec<Vec<usize>>,
    /// The subscripts.
    pub subscripts: String,
    /// The most labels that one step has: the exponent of the work, were all extents equal.
    pub scaling: usize,
    /// The same if all operands were multiplied at once.
    pub naive_scaling: usize,
    /// Multiplications and additions.
    pub flops: f64,
    /// The same if all operands were multiplied at once.
    pub naive_flops: f64,
}

impl fmt::Display for EinsumPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  Contraction:  {}", self.subscripts)?;
        writeln!(f, "  Letters at once, all operands together:  {}", self.naive_scaling)?;
        writeln!(f, "  Letters at once, in pairs:  {}", self.scaling)?;
        writeln!(f, "  FLOPs, all operands together:  {:.0}", self.naive_flops)?;
        writeln!(f, "  FLOPs, in pairs:  {:.0}", self.flops)
    }
}

op! {
    /// The sum of products that the subscripts describe: a letter names an axis of each operand, and letters that are
    /// not in the output are summed over.
    ///
    /// `"ij,jk->ik"` is the matrix product, `"ii->i"` the diagonal, `"bi,bj->bij"` an outer product for each `b`. A letter
    /// that stands twice in an operand takes the diagonal. `...` stands for further axes, aligned on the right.
    /// Without `->` the output has the ellipsis and then, in alphabetical order, the letters that stand once. Extents of
    /// 1 stretch. Several operands are contracted in pairs, in the order that [`einsum_path`] tells.
    ///
    /// ```
    /// use covector_core::{Array, ops};
    /// let (a, b) = (Array::new([[1.0f32, 2.0], [3.0, 4.0]]), Array::new([1.0f32, 10.0]));
    /// assert_eq!(ops::einsum("ij,j->i", &[a, b]).to_vec::<f32>(), [21.0, 43.0]);
    /// ```
    pub fn einsum / try_einsum(subscripts: &str, operands: &[Array])
    samples {
        [real([2, 2, 3]), real([3, 2])] all |x| try_einsum("...ij,jk->k...i", x);
        [real([2, 2, 3]), real([3, 2]), real([2, 2])] all |x| try_einsum("iij,jk,bk->bi", x);
        [real([3, 2]), real([1, 2])] all |x| try_einsum("ij,ij->j", x);
        [real([2]), real([3])] all |x| try_einsum("i,j->ji", x);
        [real([2, 1, 2, 3]), real([2, 2, 1, 3])] all |x| try_einsum("bhqd,bkhd->bhqk", x);
    }
    {
        evaluated(subscripts, operands)
    }

    /// The order in which [`einsum`] contracts operands like these: the cheapest one up to five operands, for more the
    /// one that takes the pair that leaves least behind each time.
    pub fn einsum_path / try_einsum_path(subscripts: &str, operands: &[Array]) -> (EinsumPath)
    samples {
        flat [real([2, 3]), real([3])] all |x| {
            let path = try_einsum_path("ij,j", x)?;
            Ok(Array::scalar(path.contractions.len() as i32))
        };
    }
    {
        let equation = Equation::parse(subscripts, operands)?;
        let output = set(&equation.output);
        let mut terms: Vec<Set> = equation.inputs.iter().map(|labels| set(labels)).collect();
        let all = terms.iter().fold(0, |s, t| s | t);
        let naive_flops = equation.flops(all, output, terms.len());
        let (mut contractions, mut flops, mut scaling) = (Vec::new(), 0.0, 0);
        for (i, j) in equation.order() {
            let (rest, made) = joined(&terms, i, j, output);
            flops += equation.flops(terms[i] | terms[j], made, 2);
            scaling = scaling.max((terms[i] | terms[j]).count_ones() as usize);
            contractions.push(vec![i, j]);
            terms = rest;
        }
        let naive_scaling = all.count_ones() as usize;
        if contractions.is_empty() {
            (contractions, flops, scaling) = (vec![vec![0]], naive_flops, naive_scaling);
        }
        Ok(EinsumPath {
            contractions,
            subscripts: subscripts.to_owned(),
            scaling,
            naive_scaling,
            flops,
            naive_flops,
        })
    }
}
