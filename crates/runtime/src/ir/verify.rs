//! What must hold of a graph and of everything that the passes have decided about it, checked after every pass:
//!
//! - operands are earlier nodes, and layouts stay inside their values;
//! - shapes and element types are those that a node's kind asks for; the parts of a place node cover it without overlap;
//! - every node is in one stage, stages hold maps over one shape or one other node, and list what they read;
//! - every stage is in one region; regions, and the stages in them, come after what they need, so that no two wait for each
//!   other; inside a region a stage reads only rows that are already there;
//! - values that another region reads, and live-outs, are in memory.
//!
//! [`verify`] runs in debug builds, and so in all tests; in a release build, with the environment variable
//! `COVECTOR_VERIFY_PLANS=1`. What instructions do with memory is checked once more, in [`memory`](crate::memory).

use super::{Graph, Kind, NodeId, Operand};
use crate::passes::rows::{Form, Pass, RowMap, prefix, row_by_row};
use crate::passes::{Plan, Region};
use crate::shape::{ShapeText, reduced_shape};
use covector_kernels::program::TileFn;
use std::sync::OnceLock;

/// Larger place nodes are checked by counting, and not element by element.
const MAX_COMPARED: usize = 1 << 18;

pub(crate) type Checked<T = ()> = Result<T, String>;

/// Whether new plans are verified.
pub(crate) fn is_on() -> bool {
    static ASKED: OnceLock<bool> = OnceLock::new();
    let asked = || std::env::var_os("COVECTOR_VERIFY_PLANS").is_some_and(|value| value == "1");
    cfg!(debug_assertions) || *ASKED.get_or_init(asked)
}

/// Checks all that is decided so far.
pub(crate) fn verify(plan: &Plan) -> Checked {
    let graph = &plan.graph;
    for id in 0..graph.nodes.len() as NodeId {
        node(graph, id).map_err(|why| format!("node %{id}: {why}"))?;
    }
    for live in &graph.live_outs {
        for x in &live.values {
            operand(graph, graph.nodes.len() as NodeId, x)
                .map_err(|why| format!("live-out of step {}: {why}", live.step))?;
        }
    }
    if plan.stages.list.is_empty() {
        return Ok(());
    }
    stages(plan)?;
    if plan.regions.is_empty() { Ok(()) } else { regions(plan) }
}

/// Checks an operand of node `id`.
fn operand(graph: &Graph, id: NodeId, x: &Operand) -> Checked {
    if x.value >= id {
        return Err(format!("operand %{} is not an earlier node", x.value));
    }
    let Some(layout) = &x.layout else { return Ok(()) };
    if layout.shape.len() != layout.strides.len() {
        return Err(format!("the layout of operand %{} does not have a stride for each axis", x.value));
    }
    let value = graph.node(x.value);
    let own = match value.kind {
        Kind::Leaf(leaf) => graph.leaves.get(leaf as usize).cloned().ok_or("there is no such leaf")?,
        _ => 0..value.size() as isize,
    };
    let seen = layout.reach();
    if !seen.is_empty() && (seen.start < own.start || seen.end > own.end) {
        return Err(format!("the layout of operand %{} reaches {seen:?}, the value has {own:?}", x.value));
    }
    Ok(())
}

/// Whether `shape` broadcasts to `to`.
fn broadcasts(shape: &[usize], to: &[usize]) -> bool {
    shape.len() <= to.len() && shape.iter().rev().zip(to.iter().rev()).all(|(&a, &b)| a == b || a == 1)
}

fn node(graph: &Graph, id: NodeId) -> Checked {
    let node = graph.node(id);
    node.operands.iter().try_for_each(|x| operand(graph, id, x))?;
    let count = |n: usize| match node.operands.len() {
        have if have == n => Ok(()),
        have => Err(format!("{have} operands instead of {n}")),
    };
    let (shape, shapes) = (&node.aval.shape, || node.operands.iter().map(|x| graph.shape(x)));
    match &node.kind {
        Kind::Leaf(leaf) => {
            count(0)?;
            let before = id.checked_sub(1).map(|id| &graph.node(id).kind);
            if !before.is_none_or(|kind| matches!(kind, Kind::Leaf(n) if n + 1 == *leaf)) {
                return Err("leaves are not in order at the front".into());
            }
        }
        Kind::Map { tile, .. } => {
            count(match tile {
                TileFn::One(_) => 1,
                TileFn::Two(_) => 2,
                TileFn::Three(_) => 3,
            })?;
            if let Some(other) = shapes().find(|s| !broadcasts(s, shape)) {
                return Err(format!("{} does not broadcast to {}", ShapeText(other), ShapeText(shape)));
            }
        }
        Kind::Reduce { axes, .. } => {
            count(1)?;
            let from = graph.shape(&node.operands[0]);
            if axes.iter().any(|&a| a >= from.len()) || reduced_shape(from, axes, true) != *shape {
                return Err(format!("{axes:?} of {} does not give {}", ShapeText(from), ShapeText(shape)));
            }
        }
        Kind::Dot => {
            count(2)?;
            let (a, b) = (graph.shape(&node.operands[0]), graph.shape(&node.operands[1]));
            let fits = match (a, b, &shape[..]) {
                ([x @ .., m, k], [y @ .., l, n], [z @ .., rows, columns]) => {
                    (m, k, n) == (rows, l, columns) && broadcasts(x, z) && broadcasts(y, z)
                }
                _ => false,
            };
            let types = node.operands.iter().all(|x| graph.dtype(x) == node.aval.dtype);
            if !fits || !types {
                let (a, b) = (ShapeText(a), ShapeText(b));
                return Err(format!(
                    "{a} and {b} do not multiply to {} {}",
                    node.aval.dtype,
                    ShapeText(shape)
                ));
            }
        }
        Kind::Place { starts } => place(graph, id, starts)?,
        Kind::Call(_) => {}
        Kind::Nth(k) => {
            count(1)?;
            let call = node.operands[0].value;
            let is_call = matches!(graph.node(call).kind, Kind::Call(_));
            if !is_call || node.operands[0].layout.is_some() || call + k != id {
                return Err(format!("output {k} does not follow its call %{call}"));
            }
        }
    }
    Ok(())
}

/// Checks that the parts of a place node cover it without overlap.
fn place(graph: &Graph, id: NodeId, starts: &[smallvec::SmallVec<[usize; 4]>]) -> Checked {
    let node = graph.node(id);
    let shape = &node.aval.shape;
    if starts.len() != node.operands.len() {
        return Err(format!("{} operands at {} places", node.operands.len(), starts.len()));
    }
    let mut count = 0;
    for (i, (x, starts)) in node.operands.iter().zip(starts).enumerate() {
        let part = graph.shape(x);
        let inside = part.len() == shape.len()
            && starts.len() == shape.len()
            && (0..shape.len()).all(|k| starts[k] + part[k] <= shape[k]);
        if !inside {
            return Err(format!("part {i} of {} is not inside {}", ShapeText(part), ShapeText(shape)));
        }
        if graph.dtype(x) != node.aval.dtype {
            return Err(format!("part {i} is {}, the whole {}", graph.dtype(x), node.aval.dtype));
        }
        count += part.iter().product::<usize>();
    }
    if count != node.size() {
        return Err(format!("the parts have {count} elements, the whole {}", node.size()));
    }
    if count > MAX_COMPARED {
        return Ok(());
    }
    let mut written = vec![0u64; count.div_ceil(64)];
    for (i, (x, starts)) in node.operands.iter().zip(starts).enumerate() {
        let mut window = super::Layout::row_major(shape);
        window.shift = starts.iter().zip(&window.strides).map(|(&s, stride)| s as isize * stride).sum();
        window.shape = graph.shape(x).into();
        let mut twice = false;
        window.for_each(|at| {
            let word = &mut written[at as usize / 64];
            twice |= *word >> (at % 64) & 1 == 1;
            *word |= 1 << (at % 64);
        });
        if twice {
            return Err(format!("part {i} overlaps an earlier one"));
        }
    }
    Ok(())
}

fn stages(plan: &Plan) -> Checked {
    let Plan { graph, stages, .. } = plan;
    let mut seen = vec![false; graph.nodes.len()];
    for (s, stage) in (0u32..).zip(&stages.list) {
        let at = |why: String| format!("stage {s}: {why}");
        let Some(&first) = stage.nodes.first() else {
            match stage.inputs.is_empty() {
                true => continue,
                false => return Err(at("it has inputs and no nodes".into())),
            }
        };
        let mut read = vec![false; stage.inputs.len()];
        for (k, &id) in stage.nodes.iter().enumerate() {
            let Some(node) = graph.nodes.get(id as usize) else {
                return Err(at(format!("there is no node %{id}")));
            };
            if std::mem::replace(&mut seen[id as usize], true) {
                return Err(at(format!("node %{id} is in two stages, or twice in one")));
            }
            if stages.position(s, &Operand::whole(id)) != Some(k) {
                return Err(at(format!("node %{id} is noted elsewhere")));
            }
            let alike = match node.kind {
                Kind::Leaf(_) => false,
                Kind::Map { .. } => {
                    graph.node(first).is_map() && node.aval.shape == graph.node(first).aval.shape
                }
                Kind::Nth(n) => n as usize == k,
                _ => k == 0,
            };
            if !alike {
                return Err(at(format!("node %{id} does not belong beside %{first}")));
            }
            if matches!(node.kind, Kind::Nth(_)) {
                continue;
            }
            for x in &node.operands {
                match stages.position(s, x) {
                    Some(position) if position >= k => {
                        return Err(at(format!("%{id} runs before its operand %{}", x.value)));
                    }
                    Some(_) => {}
                    None if stages.maker(x.value) == Some(s) => {
                        return Err(at(format!("%{id} reads a part of %{}, a register", x.value)));
                    }
                    None => match stage.inputs.position(x) {
                        Some(input) => read[input] = true,
                        None => {
                            return Err(at(format!(
                                "operand %{} of %{id} is not listed as an input",
                                x.value
                            )));
                        }
                    },
                }
            }
        }
        if let Some(input) = read.iter().position(|read| !read) {
            let value = stage.inputs[input].value;
            return Err(at(format!("it lists %{value} as an input, which it does not read")));
        }
    }
    let forgotten =
        (0..).zip(&seen).find(|(id, seen)| !**seen && !matches!(graph.node(*id).kind, Kind::Leaf(_)));
    match forgotten {
        Some((id, _)) => Err(format!("node %{id} is in no stage")),
        None => Ok(()),
    }
}

fn regions(plan: &Plan) -> Checked {
    let Plan { graph, stages, .. } = plan;
    // The region and the position there of each stage that has run so far.
    let mut done: Vec<Option<(usize, usize)>> = vec![None; stages.list.len()];
    for (r, region) in plan.regions.iter().enumerate() {
        let at = |why: String| format!("region {r}: {why}");
        for (k, s) in region.all().enumerate() {
            let stage = stages.list.get(s as usize).filter(|stage| !stage.nodes.is_empty());
            let Some(stage) = stage else { return Err(at(format!("stage {s} is empty"))) };
            if done[s as usize].is_some() {
                return Err(at(format!("stage {s} is in two regions, or twice in one")));
            }
            for x in stage.inputs.iter() {
                let Some(maker) = stages.maker(x.value) else { continue };
                if done[maker as usize].is_none() {
                    return Err(at(format!("stage {s} runs before stage {maker}, which makes %{}", x.value)));
                }
                let outside = done[maker as usize].is_none_or(|(region, _)| region != r);
                if outside && plan.in_memory.get(x.value as usize) == Some(&false) {
                    return Err(at(format!("%{} is read from another region and is not in memory", x.value)));
                }
            }
            done[s as usize] = Some((r, k));
        }
        if region.alone().is_none() {
            for &s in &region.stages {
                aligned(plan, region, s).map_err(|why| at(format!("stage {s}: {why}")))?;
            }
        }
    }
    let forgotten =
        (0..).zip(&stages.list).find(|(s, stage): &(usize, _)| !stage.nodes.is_empty() && done[*s].is_none());
    if let Some((s, _)) = forgotten {
        return Err(format!("stage {s} is in no region"));
    }
    for x in graph.live_outs.iter().flat_map(|live| &live.values) {
        if plan.in_memory.get(x.value as usize) == Some(&false) {
            return Err(format!("live-out %{} is not in memory", x.value));
        }
    }
    Ok(())
}

/// Checks that a stage can run on one block of rows after the other, beside the others of its region.
fn aligned(plan: &Plan, region: &Region, s: u32) -> Checked {
    let Plan { graph, stages, .. } = plan;
    let pass = Pass::new(graph, &stages.list[s as usize]);
    let rows = region.rows;
    let (Some(outer), Some(map)) = (prefix(&pass.space, rows), pass.row_map(rows)) else {
        return Err(format!("it cannot be divided into {rows} rows"));
    };
    let result = pass.stage.nodes[0];
    if map == RowMap::Reduced && plan.in_memory.get(result as usize) == Some(&false) {
        return Err(format!("%{result}, one for all rows, is not in memory"));
    }
    for (i, x) in pass.operands().iter().enumerate() {
        let maker = stages.maker(x.value).filter(|maker| region.all().any(|other| other == *maker));
        let Some(maker) = maker else { continue };
        let Some((layout, shape)) = pass.rows_of(i, x) else {
            return Err(format!("every row needs all of %{}, which the region makes", x.value));
        };
        let by = Pass::new(graph, &stages.list[maker as usize]);
        if region.dot != Some(maker) && by.row_map(rows) != Some(RowMap::PerRow) {
            return Err(format!("%{} is complete after the last row only", x.value));
        }
        let size = graph.node(x.value).size();
        debug_assert!(pass.form != Form::Alone, "it has rows");
        if !row_by_row(&layout, size, &shape, outer, rows) {
            return Err(format!("a row reads other rows of %{}", x.value));
        }
    }
    Ok(())
}
