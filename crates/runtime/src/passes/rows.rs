//! Alignment: which stages can be divided into the same rows, and what each needs of the others for one row.
//!
//! A *row* is one index of the outer axes of a stage's extents. Stages run together, block by block, where each needs of
//! the others' results only the rows that it is computing.

use crate::cost::{MAX_NARROW, MAX_ROW, MAX_STAGE_INPUTS, MAX_WIDTH, MIN_ROWS, MIN_TALL, SMALL};
use crate::ir::{Graph, Kind, Layout, NodeId, Operand, Stage};
use crate::shape::Shape;
use covector_kernels::Dtype;
use smallvec::SmallVec;

/// What a stage gives for the rows it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RowMap {
    /// A result for each row.
    PerRow,
    /// One result for all rows, complete after the last.
    Reduced,
}

/// How a stage computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// Maps over one shape.
    Map,
    Reduce,
    /// Rows times one narrow matrix.
    NarrowDot,
    /// The transpose of rows times as many narrow rows: a sum over the rows.
    NarrowDotReduced,
    /// A pass that can only run alone.
    Alone,
}

/// The form of a stage whose first node is `id`.
pub(crate) fn form(graph: &Graph, id: NodeId) -> Form {
    match graph.node(id).kind {
        Kind::Map { .. } => Form::Map,
        Kind::Reduce { .. } => Form::Reduce,
        Kind::Dot => narrow_dot(graph, id).unwrap_or(Form::Alone),
        _ => Form::Alone,
    }
}

/// The form of a dot that takes its time for reading the larger factor, which should then be read once for all that is
/// done to it.
fn narrow_dot(graph: &Graph, id: NodeId) -> Option<Form> {
    let [a, b] = &graph.node(id).operands[..] else { return None };
    let (&[m, k], &[_, n]) = (graph.shape(a), graph.shape(b)) else { return None };
    if n > MAX_NARROW
        || m.min(k) > MAX_WIDTH
        || m * k < MIN_TALL
        || !matches!(graph.dtype(a), Dtype::F32 | Dtype::F64)
    {
        return None;
    }
    Some(if m >= k { Form::NarrowDot } else { Form::NarrowDotReduced })
}

/// A stage as far as its rows are concerned.
pub(crate) struct Pass<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) stage: &'a Stage,
    pub(crate) form: Form,
    /// The extents whose outer axes can be rows; empty for what runs alone.
    pub(crate) space: Shape,
}

impl<'a> Pass<'a> {
    pub(crate) fn new(graph: &'a Graph, stage: &'a Stage) -> Self {
        let id = stage.nodes[0];
        let form = form(graph, id);
        let space = match form {
            Form::Map => graph.node(id).aval.shape.clone(),
            Form::Reduce | Form::NarrowDot => Shape::from_slice(graph.shape(&graph.node(id).operands[0])),
            Form::NarrowDotReduced => {
                Shape::from_iter(graph.shape(&graph.node(id).operands[0]).iter().rev().copied())
            }
            Form::Alone => Shape::new(),
        };
        Self { graph, stage, form, space }
    }

    /// What it reads, in the order of its operands.
    pub(crate) fn operands(&self) -> &'a [Operand] {
        match self.form {
            Form::Map => &self.stage.inputs,
            _ => &self.graph.node(self.stage.nodes[0]).operands,
        }
    }

    /// Elements of its extents.
    pub(crate) fn size(&self) -> usize {
        if self.form == Form::Alone { 0 } else { self.space.iter().product() }
    }

    fn axes(&self) -> &'a [usize] {
        match &self.graph.node(self.stage.nodes[0]).kind {
            Kind::Reduce { axes, .. } => axes,
            _ => &[],
        }
    }

    /// What it gives for `rows` rows, if it can be divided so.
    pub(crate) fn row_map(&self, rows: usize) -> Option<RowMap> {
        if self.form == Form::Alone {
            return None;
        }
        let (shape, axes) = (&self.space, self.axes());
        let outer = prefix(shape, rows)?;
        match self.form {
            Form::Map => Some(RowMap::PerRow),
            Form::Reduce if axes.iter().all(|&a| a >= outer || shape[a] == 1) => Some(RowMap::PerRow),
            Form::Reduce if (0..outer).all(|k| shape[k] == 1 || axes.contains(&k)) => Some(RowMap::Reduced),
            Form::NarrowDot => (outer < shape.len()).then_some(RowMap::PerRow),
            // Of a single row it would be a product of columns; it runs alone then.
            Form::NarrowDotReduced => (outer == 1 && rows > 1).then_some(RowMap::Reduced),
            Form::Reduce | Form::Alone => None,
        }
    }

    /// The most rows into which it can be divided; `None` when it can only run alone.
    pub(crate) fn finest_rows(&self) -> Option<usize> {
        let (shape, axes) = (&self.space, self.axes());
        if self.form == Form::Alone || shape.contains(&0) || self.stage.inputs.len() > MAX_STAGE_INPUTS {
            return None;
        }
        Some(match self.form {
            Form::Reduce => {
                let outer_kept = shape.iter().enumerate().take_while(|(k, n)| **n == 1 || !axes.contains(k));
                let kept: usize = outer_kept.map(|(_, n)| n).product();
                let outer_gone = shape.iter().enumerate().take_while(|(k, n)| **n == 1 || axes.contains(k));
                let gone: usize = outer_gone.map(|(_, n)| n).product();
                kept.max(gone)
            }
            Form::NarrowDot | Form::NarrowDotReduced => shape[..shape.len() - 1].iter().product(),
            Form::Map | Form::Alone => shape.iter().product(),
        })
    }

    /// Operand `i` with the rows as outer axes: its layout and shape. `None` for an operand that every row needs whole.
    pub(crate) fn rows_of(&self, i: usize, x: &Operand) -> Option<(Layout, Shape)> {
        let layout = self.graph.layout(x);
        match self.form {
            Form::NarrowDot if i == 1 => None,
            Form::NarrowDotReduced => {
                let layout = if i == 0 { layout.transposed() } else { layout };
                let shape = layout.shape.clone();
                Some((layout, shape))
            }
            Form::Alone => None,
            _ => Some((layout, self.space.clone())),
        }
    }
}

/// Whether `rows` rows of values of up to so many elements are worth running together.
pub(crate) fn worth(largest: usize, rows: usize) -> bool {
    largest <= SMALL || rows >= MIN_ROWS && largest / rows <= MAX_ROW
}

/// The number of outer axes that make `rows` rows.
pub(crate) fn prefix(shape: &[usize], rows: usize) -> Option<usize> {
    let mut product = 1;
    for (k, &n) in shape.iter().enumerate() {
        if product == rows {
            return Some(k);
        }
        product *= n;
    }
    (product == rows).then_some(shape.len())
}

/// The numbers of rows, up to `most`, that outer axes of `shape` make, in ascending order.
pub(crate) fn row_counts(shape: &[usize], most: usize) -> SmallVec<[usize; 8]> {
    let mut counts: SmallVec<[usize; 8]> = SmallVec::new();
    let mut product = 1;
    for n in std::iter::once(1).chain(shape.iter().copied()) {
        product *= n;
        if product <= most && counts.last() != Some(&product) {
            counts.push(product);
        }
    }
    counts
}

/// Whether a value of `size` elements, seen through a layout and broadcast to `shape`, has in each row only elements of
/// the same row of the value. The first `outer` axes of `shape` are the rows.
pub(crate) fn row_by_row(l: &Layout, size: usize, shape: &[usize], outer: usize, rows: usize) -> bool {
    if !size.is_multiple_of(rows) {
        return false;
    }
    let row = (size / rows) as isize;
    let strides = l.broadcast_strides(shape);
    let mut expect = row;
    for k in (0..outer).rev() {
        if shape[k] > 1 && strides[k] != expect {
            return false;
        }
        expect *= shape[k] as isize;
    }
    let (mut low, mut high) = (l.shift, l.shift);
    for k in outer..shape.len() {
        let reach = (shape[k] as isize - 1) * strides[k];
        if reach > 0 { high += reach } else { low += reach }
    }
    low >= 0 && high < row
}

/// Whether the first `outer` axes of a layout can be walked as one.
pub(crate) fn one_axis(l: &Layout, shape: &[usize], outer: usize) -> bool {
    let strides = l.broadcast_strides(shape);
    let mut expect = None;
    (0..outer).rev().filter(|&k| shape[k] != 1).all(|k| {
        let ok = expect.is_none_or(|e| e == strides[k]);
        expect = Some(strides[k] * shape[k] as isize);
        ok
    })
}
