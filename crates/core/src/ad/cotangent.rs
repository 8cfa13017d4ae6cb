//! The cotangents of a graph in reverse mode: sums of terms, and terms that are better added up together.
//!
//! Rules emit plain operations. The cotangent of a slice is a `pad`. Added up one by one, the slices of a sequence would
//! give one array of mostly zeros for each step, and a loop would take quadratic time. So terms of three forms are kept
//! until the sum is read:
//! - Σ windows in zeros, side by side along an axis → one concatenation; other windows are added in place in turn;
//! - Σ `AᵢᵀBᵢ` → `[A₁ A₂ …]ᵀ [B₁ B₂ …]`, one product with a long sum, for a matrix by which every step of a loop
//!   multiplies;
//! - Σ of sums of rows of `Xᵢ` → the sum of the rows of `[X₁ X₂ …]`, for a bias that every step adds. This requires that
//!   the `Xᵢ` are factors of products, which concatenate them in any case.
//!
//! A term takes one of these forms only if the sum is its sole owner: a term with other readers must be computed in any
//! case. Several cotangents of half precision are added up in `float32`, and the sum is rounded once.

use crate::array::{Array, Aval, Outs, Recipe};
use crate::error::Result;
use crate::graph::{self, Walk};
use crate::ops;
use crate::ops::elementwise::complex::is_conjugate;
use crate::ops::linalg::Matmul;
use crate::ops::reduce::Reduce;
use crate::ops::shape::primitives::{Pad, Transpose};
use crate::shape::Window;
use crate::wide;
use covector_kernels::Reduce as Kind;
use rustc_hash::FxHashSet;
use smallvec::SmallVec;
use std::any::TypeId;
use std::sync::Arc;

/// The cotangents of all outputs of the nodes of a graph.
pub(crate) struct Cotangents<'g> {
    graph: &'g Walk,
    sums: Vec<SmallVec<[Cotangent; 1]>>,
    factors: Factors,
}

impl<'g> Cotangents<'g> {
    pub(crate) fn new(graph: &'g Walk) -> Self {
        let zeros = |outs: usize| match outs {
            1 => SmallVec::from_buf([Cotangent::default()]),
            n => (0..n).map(|_| Cotangent::default()).collect(),
        };
        let sums = graph.steps.iter().map(|step| zeros(step.node.avals.len())).collect();
        Self { graph, sums, factors: Factors::default() }
    }

    /// Adds a term to the cotangent of `x`. Drops the term if `x` is not in the graph.
    pub(crate) fn add(&mut self, x: &Array, term: Array) -> Result<()> {
        let Some(place) = self.graph.place(x) else { return Ok(()) };
        debug_assert!(
            term.shape() == x.shape() && wide::of(term.dtype()) == wide::of(x.dtype()),
            "a cotangent {:?} of {:?}",
            term.aval(),
            x.aval()
        );
        self.sums[place][x.index as usize].add(term, &mut self.factors)
    }

    /// Takes the cotangents of the outputs of the node at `place`; `None` if all are zero.
    pub(crate) fn take(&mut self, place: usize) -> Result<Option<Outs<Option<Array>>>> {
        let avals = &self.graph.steps[place].node.avals;
        let sums = std::mem::take(&mut self.sums[place]);
        let mut found = Outs::new();
        for (sum, aval) in sums.into_iter().zip(avals) {
            found.push(sum.total(aval, &mut self.factors)?);
        }
        Ok(found.iter().any(Option::is_some).then_some(found))
    }

    /// Takes the cotangent of one array.
    pub(crate) fn take_one(&mut self, x: &Array) -> Result<Option<Array>> {
        let Some(place) = self.graph.place(x) else { return Ok(None) };
        std::mem::take(&mut self.sums[place][x.index as usize]).total(x.aval(), &mut self.factors)
    }
}

/// The cotangent of one array: the sum of its terms.
#[derive(Default)]
struct Cotangent {
    sum: Option<Array>,
    /// Whether `sum` is the only term. Most arrays have one term, whose form does not matter.
    alone: bool,
    waiting: Option<Box<Waiting>>,
}

/// Terms that are added up together, each with the operands of its operation.
#[derive(Default)]
struct Waiting {
    windows: Vec<(Array, Window, Array)>,
    products: Vec<(Array, Factor, Factor)>,
    rows: Vec<(Array, Array)>,
}

impl Cotangent {
    fn add(&mut self, term: Array, factors: &mut Factors) -> Result<()> {
        if self.sum.is_none() && self.waiting.is_none() {
            (self.sum, self.alone) = (Some(term), true);
            return Ok(());
        }
        if std::mem::take(&mut self.alone)
            && let Some(first) = self.sum.take()
        {
            self.sort(first, factors)?;
        }
        self.sort(term, factors)
    }

    fn sort(&mut self, term: Array, factors: &mut Factors) -> Result<()> {
        match Form::of(&term) {
            Form::Plain => self.sum = Some(plus(self.sum.take(), term)?),
            Form::Window(window, x) => self.waiting().windows.push((term, window, x)),
            Form::Rows(x) => self.waiting().rows.push((term, x)),
            Form::Product(a, b) => {
                factors.add(&a);
                factors.add(&b);
                self.waiting().products.push((term, a, b));
            }
        }
        Ok(())
    }

    fn waiting(&mut self) -> &mut Waiting {
        self.waiting.get_or_insert_default()
    }

    /// The sum of all terms; `None` if there are none.
    fn total(self, aval: &Aval, factors: &mut Factors) -> Result<Option<Array>> {
        let Self { mut sum, waiting, .. } = self;
        if let Some(waiting) = waiting {
            let Waiting { windows, products, rows } = *waiting;
            match joined_rows(&rows, factors)? {
                Some(x) => sum = Some(plus(sum, ops::sum_to(&x, &aval.shape)?)?),
                None => sum = added(sum, rows.into_iter().map(|(term, _)| term))?,
            }
            if !windows.is_empty() {
                sum = Some(placed(sum, windows, aval)?);
            }
            match joined_products(&products, aval)? {
                Some(product) => sum = Some(plus(sum, product)?),
                None => sum = added(sum, products.into_iter().map(|(term, ..)| term))?,
            }
        }
        Ok(sum.map(|sum| ops::into_dtype(sum, aval.dtype)))
    }
}

/// `sum + term` in the type of sums, where a missing sum is zero.
fn plus(sum: Option<Array>, term: Array) -> Result<Array> {
    match sum {
        None => Ok(term),
        Some(sum) if wide::is_half(term.dtype()) => ops::try_add(&wide::widen(&sum), &wide::widen(&term)),
        Some(sum) => ops::try_add(&sum, &term),
    }
}

fn added(mut sum: Option<Array>, terms: impl Iterator<Item = Array>) -> Result<Option<Array>> {
    for term in terms {
        sum = Some(plus(sum, term)?);
    }
    Ok(sum)
}

/// The form of a term, which its operation determines.
enum Form {
    Plain,
    /// The array at a window of zeros.
    Window(Window, Array),
    /// `aᵀ b` of two matrices.
    Product(Factor, Factor),
    /// The sum of the rows of a matrix.
    Rows(Array),
}

impl Form {
    fn of(term: &Array) -> Form {
        let sole = |x: &Array| Arc::strong_count(&x.node) == 1;
        if term.ndim() == 0 || !sole(term) {
            return Form::Plain;
        }
        let form = term.node.peek_recipe(|Recipe { op, inputs: x }| {
            let kind = op.type_id();
            if kind == TypeId::of::<Matmul>() {
                return product(x);
            }
            if kind == TypeId::of::<Pad>() {
                return Some(Form::Window(op.get::<Pad>()?.window.clone(), x[0].clone()));
            }
            if let Some(Reduce { kind: Kind::Sum, axes, keep: false, .. }) = op.get() {
                let rows = x[0].ndim() == 2 && axes[..] == [0];
                return rows.then(|| Form::Rows(x[0].clone()));
            }
            // Forms of two operations: the result of the inner one must have no other reader, either.
            let inner = match () {
                () if kind == TypeId::of::<Transpose>() && x[0].ndim() == 2 => transposed_product,
                () if is_conjugate(op) => conjugate_at_window,
                () => return None,
            };
            if sole(&x[0]) { x[0].node.peek_recipe(inner) } else { None }
        });
        form.unwrap_or(Form::Plain)
    }
}

/// `(pq)ᵀ = qᵀ pᵀ`
fn transposed_product(product: &Recipe) -> Option<Form> {
    match self::product(&product.inputs)? {
        Form::Product(a, b) if product.op.is::<Matmul>() => Some(Form::Product(b, a)),
        _ => None,
    }
}

/// `conj(pad(conj(x)))`, the cotangent of a slice of a complex array: the rules conjugate it twice.
fn conjugate_at_window(pad: &Recipe) -> Option<Form> {
    let window = pad.op.get::<Pad>()?.window.clone();
    Some(Form::Window(window, ops::try_conjugate(&pad.inputs[0]).ok()?))
}

/// The product of two matrices `p q` as `aᵀ b`.
fn product(inputs: &[Array]) -> Option<Form> {
    let [p, q] = inputs else { return None };
    let matrices = p.ndim() == 2 && q.ndim() == 2;
    matrices.then(|| Form::Product(Factor::of(p).transposed(), Factor::of(q)))
}

/// A matrix, or the transpose of one.
struct Factor {
    matrix: Array,
    transpose: bool,
}

impl Factor {
    fn of(x: &Array) -> Self {
        let inner =
            x.node.peek_recipe(|recipe| recipe.op.is::<Transpose>().then(|| recipe.inputs[0].clone()));
        match inner {
            // A matrix has only one order of axes other than its own.
            Some(matrix) => Self { matrix, transpose: true },
            None => Self { matrix: x.clone(), transpose: false },
        }
    }

    fn transposed(self) -> Self {
        Self { transpose: !self.transpose, ..self }
    }

    fn array(&self) -> Result<Array> {
        if self.transpose { ops::try_mt(&self.matrix) } else { Ok(self.matrix.clone()) }
    }
}

/// The matrices that are factors of products, and which are therefore in memory in any case.
#[derive(Default)]
struct Factors {
    /// The references keep the matrices alive, so that no other array gets one of their addresses.
    list: Vec<Array>,
    /// The first `read` items of the list, by identity. Filled on demand, as many graphs never look here.
    known: FxHashSet<(graph::NodeId, u32)>,
    /// The number of items of the list that the set has.
    read: usize,
}

impl Factors {
    fn add(&mut self, factor: &Factor) {
        self.list.push(factor.matrix.clone());
    }

    fn contain(&mut self, x: &Array) -> bool {
        let identity = |x: &Array| (graph::id(x), x.index);
        self.known.extend(self.list[self.read..].iter().map(identity));
        self.read = self.list.len();
        self.known.contains(&identity(x))
    }
}

/// `Σ aᵢᵀ bᵢ` as one product; `None` if it would be slower.
fn joined_products(products: &[(Array, Factor, Factor)], aval: &Aval) -> Result<Option<Array>> {
    let &[k, n] = &aval.shape[..] else { return Ok(None) };
    if products.len() < 2 {
        return Ok(None);
    }
    let (mut left, mut right, mut rows) = (Vec::new(), Vec::new(), 0);
    for (_, a, b) in products {
        left.push(a.array()?);
        right.push(b.array()?);
        rows += right[right.len() - 1].shape()[0];
    }
    // Elements to copy for one product, compared with elements to write and add up for several.
    if rows * (k + n) > products.len() * k * n {
        return Ok(None);
    }
    let (left, right) = (ops::try_concatenate(&left, 0)?, ops::try_concatenate(&right, 0)?);
    ops::try_matmul(&ops::try_mt(&left)?, &right).map(Some)
}

/// The concatenation of matrices whose rows are added up, if all are factors of products: the joined products use the
/// same concatenation.
fn joined_rows(rows: &[(Array, Array)], factors: &mut Factors) -> Result<Option<Array>> {
    if rows.len() < 2 || !rows.iter().all(|(_, x)| factors.contain(x)) {
        return Ok(None);
    }
    let rows: Vec<Array> = rows.iter().map(|(_, x)| x.clone()).collect();
    ops::try_concatenate(&rows, 0).map(Some)
}

/// The sum of arrays at windows and of `sum`.
fn placed(sum: Option<Array>, mut windows: Vec<(Array, Window, Array)>, aval: &Aval) -> Result<Array> {
    if sum.is_none() && windows.len() == 1 {
        return Ok(windows.remove(0).0);
    }
    let windows: Vec<(Window, Array)> = windows.into_iter().map(|(_, window, x)| (window, x)).collect();
    let Some(axis) = common_axis(&windows, &aval.shape) else { return overlaid(sum, windows, aval) };
    let windows = in_order(windows, axis)?;
    let end = |w: &Window| w.starts[axis] + w.extents[axis];
    if windows.len() > 1 && windows.windows(2).all(|p| end(&p[0].0) <= p[1].0.starts[axis]) {
        return plus(sum, side_by_side(&windows, axis, aval)?);
    }
    overlaid(sum, windows, aval)
}

/// The axis on which windows of step 1 differ from the whole array, if there is exactly one.
fn common_axis(windows: &[(Window, Array)], shape: &[usize]) -> Option<usize> {
    let spans = |w: &Window, k: usize| w.extents[k] == shape[k];
    let axis = (0..shape.len()).find(|&k| windows.iter().any(|(w, _)| !spans(w, k)))?;
    let fits =
        |w: &Window| w.strides.iter().all(|&s| s == 1) && (0..shape.len()).all(|k| k == axis || spans(w, k));
    windows.iter().all(|(w, _)| fits(w)).then_some(axis)
}

/// The windows in the order of their starts on an axis. The arrays of equal windows are added up.
fn in_order(mut windows: Vec<(Window, Array)>, axis: usize) -> Result<Vec<(Window, Array)>> {
    windows.sort_by_key(|(window, _)| window.starts[axis]);
    let mut out: Vec<(Window, Array)> = Vec::with_capacity(windows.len());
    for (window, x) in windows {
        match out.last_mut() {
            Some((last, sum)) if *last == window => *sum = plus(Some(sum.clone()), x)?,
            _ => out.push((window, x)),
        }
    }
    Ok(out)
}

/// Disjoint windows in order along an axis, with zeros between them.
fn side_by_side(windows: &[(Window, Array)], axis: usize, aval: &Aval) -> Result<Array> {
    let mut pieces: Vec<Array> = Vec::with_capacity(windows.len() + 1);
    let mut at = 0;
    let zeros = |n: usize| {
        let mut shape = aval.shape.clone();
        shape[axis] = n;
        ops::zeros(&shape, aval.dtype)
    };
    for (window, x) in windows {
        if window.starts[axis] > at {
            pieces.push(zeros(window.starts[axis] - at));
        }
        at = window.starts[axis] + window.extents[axis];
        pieces.push(x.clone());
    }
    if at < aval.shape[axis] {
        pieces.push(zeros(aval.shape[axis] - at));
    }
    ops::try_concatenate(&pieces, axis as isize)
}

/// Windows of any kind, each added in place, so that every sum reuses the memory of the one before.
fn overlaid(sum: Option<Array>, windows: Vec<(Window, Array)>, aval: &Aval) -> Result<Array> {
    let several = sum.is_some() || windows.len() > 1 || windows.iter().any(|(_, x)| x.dtype() != aval.dtype);
    let dtype = if several { wide::of(aval.dtype) } else { aval.dtype };
    let mut sum = sum.map(|sum| ops::into_dtype(sum, dtype));
    for (window, x) in windows {
        let x = ops::into_dtype(x, dtype);
        sum = Some(match sum {
            None => ops::pad_window(&x, window, &aval.shape)?,
            Some(sum) => {
                let part = ops::try_add(&ops::slice_window(&sum, window.clone())?, &x)?;
                ops::update_window(&sum, &part, window)?
            }
        });
    }
    let Some(sum) = sum else { unreachable!("called with one window or more") };
    Ok(sum)
}
