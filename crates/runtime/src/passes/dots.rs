//! Rewrites of dots.
//!
//! - `(A B)ᵀ = Bᵀ Aᵀ`: a dot that is only read transposed is computed transposed. With weights of shape `(outputs,
//!   inputs)`, as layers have them, the gradient of `x @ w.T` is the transpose of a dot. As a view it would be read column
//!   by column by the next stage, such as an optimizer's map, which takes several times as long as the map itself. The
//!   dot's operands are views as well and cost nothing to transpose.
//! - `[A₁ B; A₂ B; …] = [A₁; A₂; …] B`: dots of evenly spaced slices of one array with one matrix become one dot. A loop
//!   over a sequence multiplies its steps, one after the other, with the same weights, and a dot of few rows takes longer
//!   for each of them, since the matrix is read for every dot.
//! - Where the rows are not there from the start, as those of a recurrence, the dots stay apart. A matrix that several of
//!   them read transposed is copied once into the other layout: each dot would transpose it for itself.

use super::Plan;
use super::rows::{Form, form};
use crate::aval::Aval;
use crate::cost::{FEW_ROWS, FEWEST_ROWS, MANY_DOTS, MAX_MERGED_BYTES};
use crate::ir::{Graph, Kind, Layout, NodeId, Operand};
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

pub(crate) fn run(plan: &mut Plan) {
    let graph = &mut plan.graph;
    if graph.nodes.iter().any(|node| matches!(node.kind, Kind::Dot)) {
        absorb_transposes(graph);
        merge(graph);
        copy_transposed(graph);
    }
}

/// Whether a node is a dot of two matrices that runs alone.
fn is_matrix_dot(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    matches!(node.kind, Kind::Dot) && node.aval.shape.len() == 2 && form(graph, id) == Form::Alone
}

/// `(A B)ᵀ = Bᵀ Aᵀ` where all that reads a dot reads its transpose. Narrow dots run with other stages, and cost little to
/// read in any order.
fn absorb_transposes(graph: &mut Graph) {
    let n = graph.nodes.len();
    let mut transpose: Vec<Option<Layout>> = vec![None; n];
    for id in 0..n as NodeId {
        if is_matrix_dot(graph, id) && !graph.node(id).aval.shape.contains(&1) {
            transpose[id as usize] = Some(Layout::row_major(&graph.node(id).aval.shape).transposed());
        }
    }
    let mut read = vec![false; n];
    for x in graph.reads() {
        let value = x.value as usize;
        read[value] = true;
        if transpose[value].is_some() && x.layout.as_deref() != transpose[value].as_ref() {
            transpose[value] = None;
        }
    }
    let chosen = |value: NodeId| read[value as usize] && transpose[value as usize].is_some();
    graph.replace(|x| {
        if chosen(x.value) {
            x.layout = None;
        }
    });
    for id in (0..n as NodeId).filter(|&id| chosen(id)) {
        let mut operands = graph.node(id).operands.clone();
        operands.swap(0, 1);
        for x in &mut operands {
            x.layout = Some(Box::new(graph.layout(x).transposed()));
        }
        let node = &mut graph.nodes[id as usize];
        node.operands = operands;
        node.aval.shape.swap(0, 1);
    }
}

/// Makes one dot of several, which share the right matrix and whose left ones are evenly spaced slices of one array.
fn merge(graph: &mut Graph) {
    // The dots and where their slices begin, by matrix, array and the shape and strides of the slices.
    let mut groups: Vec<Vec<(NodeId, isize)>> = Vec::new();
    let mut known: FxHashMap<(Operand, Operand), usize> = FxHashMap::default();
    let live = graph.is_live_out();
    for id in 0..graph.nodes.len() as NodeId {
        if !is_matrix_dot(graph, id) {
            continue;
        }
        let (left, right) = (&graph.node(id).operands[0], &graph.node(id).operands[1]);
        if live[id as usize] || left.layout.is_none() || graph.node(id).aval.shape[0] > FEW_ROWS {
            continue;
        }
        let slice = graph.layout(left);
        let shift = slice.shift;
        let array = Operand { value: left.value, layout: Some(Box::new(Layout { shift: 0, ..slice })) };
        let group = *known.entry((array, right.clone())).or_insert(groups.len());
        groups.resize_with(groups.len().max(group + 1), Vec::new);
        groups[group].push((id, shift));
    }
    // Which result is now which part of another.
    let mut moved: FxHashMap<NodeId, (NodeId, isize, Layout)> = FxHashMap::default();
    for members in groups {
        let [(first, start), (_, second), ..] = members[..] else { continue };
        let step = second - start;
        if !members.iter().zip(0..).all(|(&(_, shift), j)| shift == start + j * step) {
            continue;
        }
        let (count, part) = (members.len(), graph.node(first).aval.shape.clone());
        if count * graph.node(first).bytes() > MAX_MERGED_BYTES {
            continue;
        }
        let size = graph.node(first).size();
        let mut slices = graph.layout(&graph.node(first).operands[0]);
        slices.shape.insert(0, count);
        slices.strides.insert(0, step);
        let node = &mut graph.nodes[first as usize];
        node.operands[0].layout = Some(Box::new(slices));
        node.aval.shape.insert(0, count);
        for (j, &(id, _)) in members.iter().enumerate() {
            moved.insert(id, (first, (j * size) as isize, Layout::row_major(&part)));
        }
    }
    if moved.is_empty() {
        return;
    }
    graph.replace(|x| {
        let Some((first, shift, part)) = moved.get(&x.value) else { return };
        let mut layout = x.layout.take().map_or_else(|| part.clone(), |layout| *layout);
        layout.shift += shift;
        *x = Operand { value: *first, layout: Some(Box::new(layout)) };
    });
    graph.compact();
}

/// Gives dots of few rows a copy of a matrix that several of them read transposed, made in front of the first of them.
fn copy_transposed(graph: &mut Graph) {
    let mut users: FxHashMap<Operand, Vec<NodeId>> = FxHashMap::default();
    for id in (0..graph.nodes.len() as NodeId).filter(|&id| is_matrix_dot(graph, id)) {
        let right = &graph.node(id).operands[1];
        let rows = graph.node(id).aval.shape[0];
        if (FEWEST_ROWS + 1..=FEW_ROWS).contains(&rows) && graph.layout(right).strides[1] != 1 {
            users.entry(right.clone()).or_default().push(id);
        }
    }
    let mut users: Vec<Vec<NodeId>> = users.into_values().filter(|u| u.len() >= MANY_DOTS).collect();
    if users.is_empty() {
        return;
    }
    users.sort_unstable();
    let old = graph.nodes.len() as NodeId;
    for users in &users {
        let matrix = graph.node(users[0]).operands[1].clone();
        let aval = Aval::new(graph.dtype(&matrix), graph.shape(&matrix));
        let starts: SmallVec<[usize; 4]> = smallvec![0; 2];
        let copy = graph.add(Kind::Place { starts: vec![starts] }, smallvec![matrix], aval);
        users.iter().for_each(|&id| graph.nodes[id as usize].operands[1] = Operand::whole(copy));
    }
    let mut order: Vec<NodeId> = Vec::with_capacity(graph.nodes.len());
    let mut copies = users.iter().zip(old..).peekable();
    for id in 0..old {
        while let Some((_, copy)) = copies.next_if(|(users, _)| users[0] == id) {
            order.push(copy);
        }
        order.push(id);
    }
    graph.reorder(&order);
}
