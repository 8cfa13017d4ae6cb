//! Values that are stored inside a larger one.
//!
//! A loop over a sequence makes one step of it after the other and puts the steps together in the end: outputs are stacked,
//! and reverse mode writes the factors of many dots one below the other. A map writes what it makes for a concatenation
//! into the concatenation's memory at once; other readers of the part find it there. What other stages make is copied.

use crate::cost::SHORT_ROW;
use crate::executable::Part;
use crate::ir::{Graph, Kind, Layout, NodeId, Operand, reshape_strides};
use crate::passes::Plan;
use crate::shape::Shape;
use covector_kernels::Out;

/// A value stored inside a larger buffer: which buffer, at which layout.
struct Placement {
    whole: NodeId,
    layout: Layout,
    /// The node that it is placed in, and which of that node's operands it is.
    place: (NodeId, usize),
}

/// The placement of each value; nothing for those with a buffer of their own.
#[derive(Default)]
pub(crate) struct Placements(Vec<Option<Box<Placement>>>);

/// The layouts that the operands of a place node have in its result.
fn windows(graph: &Graph, id: NodeId) -> impl Iterator<Item = (&Operand, Layout)> {
    let node = graph.node(id);
    let starts = if let Kind::Place { starts } = &node.kind { &starts[..] } else { &[] };
    node.operands.iter().zip(starts).map(|(x, starts)| {
        let mut layout = Layout::row_major(&node.aval.shape);
        layout.shift =
            starts.iter().zip(&layout.strides).map(|(&start, stride)| start as isize * stride).sum();
        layout.shape = Shape::from_slice(graph.shape(x));
        (x, layout)
    })
}

/// If `x` is a reshaped view of all of a value: the value's own layout inside the window where `x` is placed.
fn whole(graph: &Graph, x: &Operand, window: Layout) -> Option<Layout> {
    let shape = &graph.node(x.value).aval.shape;
    let Some(seen) = &x.layout else { return Some(window) };
    let all = seen.shift == 0
        && seen.shape.iter().product::<usize>() == shape.iter().product::<usize>()
        && Out::rows_of(&seen.shape, &seen.strides) == Some(None);
    let strides = all.then(|| reshape_strides(&window.shape, &window.strides, shape))??;
    Some(Layout { shape: shape.clone(), strides, shift: window.shift })
}

impl Placements {
    /// Finds placements for what maps and place nodes make.
    pub(crate) fn new(plan: &Plan) -> Self {
        let Plan { graph, stages, stored, .. } = plan;
        let places: Vec<NodeId> = (0..graph.nodes.len() as NodeId)
            .filter(|&id| matches!(graph.node(id).kind, Kind::Place { .. }))
            .collect();
        let mut found = Self((0..graph.nodes.len()).map(|_| None).collect());
        if places.is_empty() {
            return found;
        }
        let live = graph.is_live_out();
        let mut readers = vec![0u32; graph.nodes.len()];
        for stage in stages.list.iter().filter(|stage| !stage.nodes.is_empty()) {
            let node = graph.node(stage.nodes[0]);
            let reads = if node.is_map() { &stage.inputs[..] } else { &node.operands[..] };
            reads.iter().for_each(|x| readers[x.value as usize] += 1);
        }
        for &to in &places {
            for (i, (x, window)) in windows(graph, to).enumerate() {
                let value = x.value as usize;
                let node = graph.node(x.value);
                if stages.maker(x.value).is_none()
                    || !stored[value]
                    || live[value]
                    || found.0[value].is_some()
                {
                    continue;
                }
                let Some(layout) = whole(graph, x, window) else { continue };
                let fits = match (Out::rows_of(&layout.shape, &layout.strides), &node.kind) {
                    (Some(None), Kind::Map { .. } | Kind::Place { .. }) => true,
                    // Other readers expect rows side by side.
                    (Some(Some((row, _))), Kind::Map { .. }) => row >= SHORT_ROW && readers[value] == 1,
                    _ => false,
                };
                if fits {
                    found.0[value] = Some(Box::new(Placement { whole: to, layout, place: (to, i) }));
                }
            }
        }
        // Parts of a concatenation that is itself a part. Outer ones come later, so from the back they are settled first.
        for &to in places.iter().rev() {
            let Some((outer, shift)) = found.0[to as usize].as_ref().map(|p| (p.whole, p.layout.shift))
            else {
                continue;
            };
            for (i, x) in graph.node(to).operands.iter().enumerate() {
                // An array may be joined with itself, and is made for the first of the two.
                if let Some(part) = found.0[x.value as usize].as_mut().filter(|p| p.place == (to, i)) {
                    part.whole = outer;
                    part.layout.shift += shift;
                }
            }
        }
        found
    }

    /// The buffer that holds a value, and the value's layout there unless it is the whole buffer.
    pub(crate) fn find(&self, value: NodeId) -> (NodeId, Option<&Layout>) {
        match &self.0[value as usize] {
            Some(placement) => (placement.whole, Some(&placement.layout)),
            None => (value, None),
        }
    }

    /// The part of a larger buffer in which a value is stored, if it is.
    pub(crate) fn part(&self, value: NodeId, graph: &Graph) -> Option<Box<Part>> {
        let placement = self.0[value as usize].as_ref()?;
        let whole = graph.node(placement.whole).aval.shape.clone();
        Some(Box::new(Part { whole, layout: placement.layout.clone() }))
    }

    /// The operands of a place node that have to be copied, and where to.
    pub(crate) fn copies<'a>(&self, id: NodeId, graph: &'a Graph) -> Vec<(&'a Operand, Part)> {
        let (outer, within) = self.find(id);
        let shift = within.map_or(0, |layout| layout.shift);
        let placed =
            |i: usize, x: &Operand| self.0[x.value as usize].as_ref().is_some_and(|p| p.place == (id, i));
        windows(graph, id)
            .enumerate()
            .filter(|(i, (x, _))| !placed(*i, x))
            .map(|(_, (x, window))| {
                let whole = graph.node(outer).aval.shape.clone();
                (x, Part { whole, layout: Layout { shift: window.shift + shift, ..window } })
            })
            .collect()
    }
}
