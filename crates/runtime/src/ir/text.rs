//! The planned graph as text: one line a node, under the region and stage that compute it, and the labels of instructions.

use super::{Graph, Kind, Layout, NodeId, Operand};
use crate::passes::{Plan, Region};
use crate::shape::ShapeText;
use std::fmt;

/// An operand: `%3`, or with its layout where it is not all of the value: `%3[(4, 8):(1, 4)+16]`.
struct OperandText<'a>(&'a Operand);

impl fmt::Display for OperandText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0.value)?;
        let Some(layout) = &self.0.layout else { return Ok(()) };
        let Layout { shape, strides, shift } = &**layout;
        let strides: Vec<String> = strides.iter().map(|s| s.to_string()).collect();
        write!(f, "[{}:({})", ShapeText(shape), strides.join(", "))?;
        if *shift != 0 {
            write!(f, "+{shift}")?;
        }
        f.write_str("]")
    }
}

impl Graph {
    /// What a node computes, without its operands.
    fn what(&self, id: NodeId) -> String {
        match &self.node(id).kind {
            Kind::Leaf(leaf) => format!("leaf {leaf}"),
            Kind::Map { name, .. } => (*name).into(),
            Kind::Reduce { kind, axes } => format!("{} axes={axes:?}", format!("{kind:?}").to_lowercase()),
            Kind::Dot => "matmul".into(),
            Kind::Place { starts } => {
                let starts: Vec<String> = starts.iter().map(|s| ShapeText(s).to_string()).collect();
                format!("place at {}", starts.join(", "))
            }
            Kind::Call(op) => op.describe(),
            Kind::Nth(k) => format!("output {k}"),
        }
    }

    /// A node as a line: `%5: float32 (64, 48) = exp %3, %4`.
    fn line(&self, id: NodeId) -> String {
        let node = self.node(id);
        let operands: Vec<String> = node.operands.iter().map(|x| OperandText(x).to_string()).collect();
        let (dtype, shape) = (node.aval.dtype, ShapeText(&node.aval.shape));
        let of = if operands.is_empty() { "" } else { " of " };
        format!("%{id}: {dtype} {shape} = {}{of}{}", self.what(id), operands.join(", "))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = 0..self.graph.nodes.len() as NodeId;
        if self.stages.list.is_empty() {
            all.clone().try_for_each(|id| writeln!(f, "{}", self.graph.line(id)))?;
        } else {
            all.clone()
                .filter(|&id| self.stages.maker(id).is_none())
                .try_for_each(|id| writeln!(f, "{}", self.graph.line(id)))?;
            let stage = |f: &mut fmt::Formatter<'_>, s: u32, indent: &str| {
                let nodes = &self.stages.list[s as usize].nodes;
                nodes.iter().try_for_each(|&id| {
                    let memory = self.in_memory.get(id as usize).is_some_and(|m| *m);
                    let memory = if memory { " (in memory)" } else { "" };
                    writeln!(f, "{indent}{}{memory}", self.graph.line(id))
                })
            };
            if self.regions.is_empty() {
                for s in 0..self.stages.list.len() as u32 {
                    writeln!(f, "stage {s}")?;
                    stage(f, s, "  ")?;
                }
            }
            for region in &self.regions {
                match region.alone() {
                    Some(s) => writeln!(f, "stage {s} alone")?,
                    None => writeln!(f, "region of {} rows", region.rows)?,
                }
                for s in region.all() {
                    if region.alone().is_none() {
                        let dot = if region.dot == Some(s) { ", followed part by part" } else { "" };
                        writeln!(f, "  stage {s}{dot}")?;
                    }
                    stage(f, s, "    ")?;
                }
            }
        }
        for live in &self.graph.live_outs {
            let values: Vec<String> = live.values.iter().map(|x| OperandText(x).to_string()).collect();
            writeln!(f, "live-out of step {}: {}", live.step, values.join(", "))?;
        }
        Ok(())
    }
}

impl Plan {
    /// What a region does, in words.
    pub(crate) fn label(&self, region: &Region) -> String {
        let texts: Vec<String> = region.all().map(|stage| self.stage_label(stage)).collect();
        match (&texts[..], region.dot) {
            ([one], _) => one.clone(),
            ([dot, then @ ..], Some(_)) => {
                format!("{dot}, followed in {} rows by {}", region.rows, then.join("; "))
            }
            _ => format!("region of {} rows: {}", region.rows, texts.join("; ")),
        }
    }

    fn stage_label(&self, stage: u32) -> String {
        let (graph, stage) = (&self.graph, &self.stages.list[stage as usize]);
        let id = stage.nodes[0];
        let node = graph.node(id);
        if node.is_map() {
            let shown = stage.nodes.len().min(24);
            let more = match stage.nodes.len() - shown {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            let names: Vec<String> = stage.nodes[..shown].iter().map(|&id| graph.what(id)).collect();
            let outs = stage.nodes.iter().filter(|&&id| self.stored[id as usize]).count();
            let (shape, inputs) = (ShapeText(&node.aval.shape), stage.inputs.len());
            return format!("map {shape}: {}{more} [{inputs} in, {outs} out]", names.join(", "));
        }
        let outs: Vec<String> =
            stage.nodes.iter().map(|&id| ShapeText(&graph.node(id).aval.shape).to_string()).collect();
        let shown = node.operands.iter().take(4).map(|x| ShapeText(graph.shape(x)).to_string());
        let mut from: Vec<String> = shown.collect();
        from.extend((node.operands.len() > 4).then(|| "…".into()));
        let of = if from.is_empty() { "" } else { " of " };
        let what = match node.kind {
            Kind::Place { .. } if node.operands.len() > 1 => "concatenate".into(),
            Kind::Place { .. } => "copy".into(),
            _ => graph.what(id),
        };
        let copied = match &node.kind {
            Kind::Place { .. } => match self.placements.copies(id, graph).len() {
                n if n < node.operands.len() => format!(" [{n} of {} copied]", node.operands.len()),
                _ => String::new(),
            },
            _ => String::new(),
        };
        format!("{what}: {}{of}{}{copied}", outs.join(", "), from.join(", "))
    }
}
