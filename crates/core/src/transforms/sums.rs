//! The cotangent of one array while reverse mode collects it.
//!
//! What comes from a window of the array (a slice, a part of a split, one step of a sequence) is kept aside with its
//! place. In the end windows that lie side by side along one axis become one concatenation. Added up one by one they
//! would be as many arrays of mostly zeros: a loop over a sequence would take the square of its length.
//!
//! In the same way the cotangents of a matrix that takes part in many products are kept as pairs of factors: in the end
//! the factors, one below the other, give one product with a long sum, in place of many products and their sum. What is added
//! to such products in every step, a bias, has the sum of the rows of the same factors for its cotangent.
//!
//! Several cotangents of an array of half precision are added up in `float32`, and the sum is rounded once.

use crate::array::{Array, Aval, Inputs};
use crate::error::Result;
use crate::graph;
use crate::ops;
use crate::primitive::{Derivative, Op, Window};
use crate::rules;
use crate::wide;
use rustc_hash::FxHashSet;
use smallvec::SmallVec;

/// One sum for each output of a node.
pub(crate) type Sums = SmallVec<[Sum; 1]>;

/// A sum of cotangents of one array, of which some belong to windows of it or to products with it.
#[derive(Default)]
pub(crate) struct Sum {
    whole: Option<Array>,
    /// Most arrays have none, and there is a sum for each node.
    aside: Option<Box<Aside>>,
}

/// What is kept aside until the end.
#[derive(Default)]
struct Aside {
    parts: Vec<(Window, Array)>,
    products: Vec<Product>,
    /// Cotangents with axes in front that the array does not have, and over which they are to be added up.
    rows: Vec<Array>,
}

/// The cotangents that are factors of products, so that they are in memory anyway.
#[derive(Default)]
pub(crate) struct Factors(FxHashSet<(graph::NodeId, u32)>);

impl Factors {
    pub(crate) fn add(&mut self, ct: &Array) {
        self.0.insert((graph::id(ct), ct.index));
    }

    fn have(&self, ct: &Array) -> bool {
        self.0.contains(&(graph::id(ct), ct.index))
    }
}

/// The cotangent of input `i` of a bilinear operation on real arrays, not written out yet.
pub(crate) struct Product {
    op: Op,
    inputs: Inputs,
    i: usize,
    ct: Array,
    /// The cotangent's transpose is meant.
    transposed: bool,
}

impl Product {
    /// By itself.
    fn whole(&self) -> Result<Array> {
        let Derivative::Bilinear(rule) = self.op.derivative() else { unreachable!("only these are kept") };
        let ct = rule.transpose(self.i, &self.ct, &self.inputs)?;
        if self.transposed { ops::try_mt(&ct) } else { Ok(ct) }
    }

    /// As `aᵀ b`.
    fn factors(&self) -> Result<Option<(Array, Array)>> {
        let Derivative::Bilinear(rule) = self.op.derivative() else { return Ok(None) };
        let factors = rule.factors(self.i, &self.ct, &self.inputs)?;
        Ok(if self.transposed { factors.map(|(a, b)| (b, a)) } else { factors })
    }
}

impl Sum {
    fn aside(&mut self) -> &mut Aside {
        self.aside.get_or_insert_default()
    }

    /// Adds a cotangent of the whole array.
    pub(crate) fn add(&mut self, ct: Array) -> Result<()> {
        self.whole = Some(plus(self.whole.take(), ct)?);
        Ok(())
    }

    /// Adds a cotangent that may have axes more than the array.
    pub(crate) fn spread(&mut self, ct: Array, aval: &Aval) -> Result<()> {
        if ct.shape() == &aval.shape[..] {
            return self.add(ct);
        }
        if ct.ndim() > aval.shape.len() && ct.shape().ends_with(&aval.shape) {
            self.aside().rows.push(ct);
            return Ok(());
        }
        self.add(ops::sum_to(&ct, &aval.shape)?)
    }

    /// Adds the cotangent of a window, which may lack axes of one position.
    pub(crate) fn put(&mut self, window: &Window, ct: &Array) -> Result<()> {
        self.aside().parts.push((window.clone(), ops::reshape_to(ct, &window.extents)?));
        Ok(())
    }

    /// Adds what a bilinear operation on real arrays gives for its input `i`.
    pub(crate) fn multiply(&mut self, op: &Op, inputs: &Inputs, i: usize, ct: &Array) {
        let (op, inputs, ct) = (op.clone(), inputs.clone(), ct.clone());
        self.aside().products.push(Product { op, inputs, i, ct, transposed: false });
    }

    /// The products, if there is nothing else.
    pub(crate) fn only_products(&mut self) -> Option<Vec<Product>> {
        let Aside { parts, products, rows } = self.aside.as_deref_mut()?;
        let others = self.whole.is_some() || !parts.is_empty() || !rows.is_empty();
        (!others && !products.is_empty()).then(|| std::mem::take(products))
    }

    /// Adds the products of a transposed matrix to those of the matrix.
    pub(crate) fn transposed(&mut self, products: Vec<Product>) {
        self.aside()
            .products
            .extend(products.into_iter().map(|p| Product { transposed: !p.transposed, ..p }));
    }

    /// The sum of everything; `None` if there was nothing.
    pub(crate) fn whole(self, aval: &Aval, factors: &Factors) -> Result<Option<Array>> {
        let Self { mut whole, aside } = self;
        let narrow = |sum: Option<Array>| sum.map(|sum| ops::into_dtype(sum, aval.dtype));
        let Some(aside) = aside else { return Ok(narrow(whole)) };
        let Aside { parts, products, rows } = *aside;
        for ct in joined_rows(rows, factors)? {
            whole = Some(plus(whole, ops::sum_to(&ct, &aval.shape)?)?);
        }
        if !parts.is_empty() {
            whole = Some(windows(whole, parts, aval)?);
        }
        match (products.len() > 1).then(|| shared(&products, aval)).transpose()?.flatten() {
            Some(product) => whole = Some(plus(whole, product)?),
            None => {
                for product in products {
                    whole = Some(plus(whole, product.whole()?)?);
                }
            }
        }
        Ok(narrow(whole))
    }
}

/// `sum + ct` in the type of sums, where a missing sum is zero.
fn plus(sum: Option<Array>, ct: Array) -> Result<Array> {
    match sum {
        Some(sum) if wide::is_half(ct.dtype()) => rules::add(Some(wide::widen(&sum)), wide::widen(&ct)),
        sum => rules::add(sum, ct),
    }
}

/// Many products as one over their factors, one below the other; `None` where that would not pay.
fn shared(products: &[Product], aval: &Aval) -> Result<Option<Array>> {
    let &[k, n] = &aval.shape[..] else { return Ok(None) };
    let (mut left, mut right, mut rows) = (Vec::new(), Vec::new(), 0);
    for product in products {
        let Some((a, b)) = product.factors()? else { return Ok(None) };
        rows += a.shape()[0];
        left.push(a);
        right.push(b);
    }
    // What is copied against what is written and added up otherwise.
    if rows * (k + n) > products.len() * k * n {
        return Ok(None);
    }
    let (left, right) = (ops::try_concatenate(&left, 0)?, ops::try_concatenate(&right, 0)?);
    ops::try_matmul(&ops::try_mt(&left)?, &right).map(Some)
}

/// Cotangents that are factors of products as one array, as they are joined for the product that these become.
fn joined_rows(rows: Vec<Array>, factors: &Factors) -> Result<Vec<Array>> {
    let alike = |ct: &Array| ct.ndim() == 2 && ct.shape()[1] == rows[0].shape()[1] && factors.have(ct);
    if rows.len() > 1 && rows.iter().all(alike) {
        return Ok(vec![ops::try_concatenate(&rows, 0)?]);
    }
    Ok(rows)
}

/// The cotangents of windows, put together and added to what there is.
fn windows(whole: Option<Array>, mut parts: Vec<(Window, Array)>, aval: &Aval) -> Result<Array> {
    let Some(axis) = common_axis(&parts, &aval.shape) else { return overlaid(whole, parts, aval) };
    parts.sort_by_key(|(window, _)| window.starts[axis]);
    let parts = merged(parts)?;
    let end = |w: &Window| w.starts[axis] + w.extents[axis];
    if parts.len() > 1 && parts.windows(2).all(|p| end(&p[0].0) <= p[1].0.starts[axis]) {
        return plus(whole, joined(&parts, axis, aval)?);
    }
    overlaid(whole, parts, aval)
}

/// The one axis on which windows without gaps of their own differ from the whole array, if there is one.
fn common_axis(parts: &[(Window, Array)], shape: &[usize]) -> Option<usize> {
    let spans = |w: &Window, k: usize| w.extents[k] == shape[k];
    let axis = (0..shape.len()).find(|&k| parts.iter().any(|(w, _)| !spans(w, k)))?;
    let fits =
        |w: &Window| w.strides.iter().all(|&s| s == 1) && (0..shape.len()).all(|k| k == axis || spans(w, k));
    parts.iter().all(|(w, _)| fits(w)).then_some(axis)
}

/// Equal windows, which stand side by side, added up.
fn merged(parts: Vec<(Window, Array)>) -> Result<Vec<(Window, Array)>> {
    let mut out: Vec<(Window, Array)> = Vec::with_capacity(parts.len());
    for (window, ct) in parts {
        match out.last_mut() {
            Some((last, sum)) if *last == window => *sum = plus(Some(sum.clone()), ct)?,
            _ => out.push((window, ct)),
        }
    }
    Ok(out)
}

/// Disjoint windows in order along an axis, with zeros between them.
fn joined(parts: &[(Window, Array)], axis: usize, aval: &Aval) -> Result<Array> {
    let mut pieces: Vec<Array> = Vec::with_capacity(parts.len() + 1);
    let mut at = 0;
    let zeros = |n: usize| {
        let mut shape = aval.shape.clone();
        shape[axis] = n;
        ops::zeros(&shape, aval.dtype)
    };
    for (window, ct) in parts {
        if window.starts[axis] > at {
            pieces.push(zeros(window.starts[axis] - at));
        }
        at = window.starts[axis] + window.extents[axis];
        pieces.push(ct.clone());
    }
    if at < aval.shape[axis] {
        pieces.push(zeros(aval.shape[axis] - at));
    }
    ops::try_concatenate(&pieces, axis as isize)
}

/// Windows of any kind, each added in its place; in memory that is reused from one to the next.
fn overlaid(whole: Option<Array>, parts: Vec<(Window, Array)>, aval: &Aval) -> Result<Array> {
    let several = whole.is_some() || parts.len() > 1 || parts.iter().any(|(_, ct)| ct.dtype() != aval.dtype);
    let dtype = if several { wide::of(aval.dtype) } else { aval.dtype };
    let mut sum = whole.map(|sum| ops::into_dtype(sum, dtype));
    for (window, ct) in parts {
        let ct = ops::into_dtype(ct, dtype);
        sum = Some(match sum {
            None => ops::update_window(&ops::zeros(&aval.shape, dtype), &ct, window)?,
            Some(sum) => {
                let part = ops::try_add(&ops::slice_window(&sum, window.clone())?, &ct)?;
                ops::update_window(&sum, &part, window)?
            }
        });
    }
    let Some(sum) = sum else { unreachable!("called with one part or more") };
    Ok(sum)
}
