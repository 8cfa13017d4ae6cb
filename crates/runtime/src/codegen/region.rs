//! The stages of a region, and the scratch memory between them.

use super::Codegen;
use crate::executable::{Kernel, Slot};
use crate::ir::{Kind, NodeId, Operand, Operands};
use crate::passes::Region;
use crate::passes::rows::{Form, Pass, RowMap, prefix};
use covector_kernels::rows::{self, ReducedOutput, Stage, StageInput, StageOutput, Storage};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// The scratch buffers of a region, which are used again after their last reader.
struct Scratch {
    /// The buffer of each value that has one.
    of: FxHashMap<NodeId, usize>,
    /// Bytes for each row.
    bytes: Vec<usize>,
}

impl Scratch {
    fn new(codegen: &Codegen<'_>, region: &Region) -> Self {
        let stages = &codegen.plan.stages.list;
        let mut out = Self { of: FxHashMap::default(), bytes: Vec::new() };
        let mut last: FxHashMap<NodeId, u32> = FxHashMap::default();
        for &s in &region.stages {
            stages[s as usize].inputs.iter().for_each(|x| {
                last.insert(x.value, s);
            });
        }
        let mut free: Vec<usize> = Vec::new();
        for &s in &region.stages {
            for &value in &stages[s as usize].nodes {
                if !codegen.plan.stored[value as usize] || codegen.slot_of[value as usize] != Slot::MAX {
                    continue;
                }
                let bytes = codegen.plan.graph.node(value).bytes() / region.rows;
                let buffer = match free.iter().position(|&b| out.bytes[b] == bytes) {
                    Some(i) => free.swap_remove(i),
                    None => {
                        out.bytes.push(bytes);
                        out.bytes.len() - 1
                    }
                };
                out.of.insert(value, buffer);
            }
            let mut done: SmallVec<[NodeId; 8]> = SmallVec::new();
            for x in stages[s as usize].inputs.iter() {
                if last.get(&x.value) == Some(&s) && !done.contains(&x.value) {
                    done.push(x.value);
                    free.extend(out.of.get(&x.value));
                }
            }
        }
        out
    }
}

pub(super) struct RegionMaker<'a> {
    codegen: &'a Codegen<'a>,
    region: &'a Region,
    inputs: Operands,
    outs: Vec<NodeId>,
    /// The position of each value in `outs`.
    position: FxHashMap<NodeId, usize>,
    scratch: Scratch,
}

impl<'a> RegionMaker<'a> {
    pub(super) fn new(codegen: &'a Codegen<'a>, region: &'a Region) -> Self {
        let scratch = Scratch::new(codegen, region);
        let (inputs, outs) = (Operands::default(), Vec::new());
        Self { codegen, region, inputs, outs, position: FxHashMap::default(), scratch }
    }

    pub(super) fn make(mut self) -> (Kernel, SmallVec<[(u32, u32); 1]>) {
        let (codegen, region) = (self.codegen, self.region);
        let plan = codegen.plan;
        let mut stages = Vec::with_capacity(region.stages.len());
        for &s in &region.stages {
            let stage = &plan.stages.list[s as usize];
            let node = plan.graph.node(stage.nodes[0]);
            stages.push(if node.is_map() {
                let (program, made) = codegen.program(s);
                Stage::Map {
                    program,
                    shape: node.aval.shape.to_vec(),
                    inputs: stage.inputs.iter().map(|x| self.source(x)).collect(),
                    outputs: made.iter().map(|&value| self.target(value)).collect(),
                }
            } else {
                self.pass(s)
            });
        }
        let dot = region.dot.map(|dot| Box::new(codegen.dot(plan.stages.list[dot as usize].nodes[0])));
        let row_bytes = dot
            .as_ref()
            .map(|dot| dot.out.shape.iter().product::<usize>() / region.rows * dot.out.dtype.size());
        let kernel = Kernel::Region {
            region: rows::Region::new(region.rows, stages, self.scratch.bytes, row_bytes),
            dot,
            inputs: self.inputs.iter().map(|x| codegen.argument(x)).collect(),
            outs: self.outs.iter().map(|&value| codegen.output(value)).collect(),
        };
        (kernel, plan.reuses(region, &self.outs, &self.inputs))
    }

    /// The stage of a reduction or a narrow dot.
    fn pass(&mut self, s: u32) -> Stage {
        let plan = self.codegen.plan;
        let rows = self.region.rows;
        let pass = Pass::new(&plan.graph, &plan.stages.list[s as usize]);
        let id = pass.stage.nodes[0];
        let mut sources = pass.operands().iter().enumerate().map(|(i, x)| self.rows(&pass, i, x));
        let sources: SmallVec<[StageInput; 2]> = sources.by_ref().collect();
        let mut sources = sources.into_iter();
        let mut next = || sources.next().expect("as many as the pass needs");
        let outer = prefix(&pass.space, rows).expect("the region found the rows");
        let node = plan.graph.node(id);
        let sum = (pass.row_map(rows) == Some(RowMap::Reduced)).then(|| {
            let Storage::Output(output) = self.place(id) else {
                unreachable!("reductions over the rows are in memory")
            };
            ReducedOutput { index: output, size: node.size(), dtype: node.aval.dtype }
        });
        match (&node.kind, pass.form, sum) {
            (Kind::Reduce { kind, axes }, _, sum) => {
                let mut axes: Vec<usize> =
                    axes.iter().filter(|&&a| a >= outer).map(|&a| a - outer + 1).collect();
                match sum {
                    Some(sum) => {
                        axes.insert(0, 0);
                        Stage::Reduced { kind: *kind, input: next(), axes, output: sum }
                    }
                    None => Stage::PerRow { kind: *kind, input: next(), axes, output: self.target(id) },
                }
            }
            (_, Form::NarrowDot, _) => Stage::Dot { rows: next(), matrix: next(), output: self.target(id) },
            (_, Form::NarrowDotReduced, Some(sum)) => {
                Stage::DotReduced { left: next(), right: next(), output: sum }
            }
            _ => unreachable!("other nodes run alone"),
        }
    }

    /// What a pass reads, with the rows as one first axis.
    fn rows(&mut self, pass: &Pass<'_>, i: usize, x: &Operand) -> StageInput {
        let rows = self.region.rows;
        let mut source = self.source(x);
        if matches!(source.storage, Storage::Input(_)) {
            // The view that comes at run time begins there already.
            source.shift = 0;
        }
        let Some((layout, shape)) = pass.rows_of(i, x) else { return source };
        let outer = prefix(&shape, rows).expect("the region found the rows");
        let strides = layout.broadcast_strides(&shape);
        // The outer axes as one; those of extent 1 may have any stride.
        let step = (0..outer).rev().find(|&k| shape[k] != 1).map_or(0, |k| strides[k]);
        source.shape = std::iter::once(rows).chain(shape[outer..].iter().copied()).collect();
        source.strides = std::iter::once(step).chain(strides[outer..].iter().copied()).collect();
        source
    }

    /// Where a value that the region makes is.
    fn place(&mut self, value: NodeId) -> Storage {
        if let Some(&buffer) = self.scratch.of.get(&value) {
            return Storage::Scratch(buffer);
        }
        let next = self.outs.len();
        let position = *self.position.entry(value).or_insert(next);
        if position == next {
            self.outs.push(value);
        }
        Storage::Output(position)
    }

    /// Elements of a value for each row.
    fn row(&self, value: NodeId) -> usize {
        self.codegen.plan.graph.node(value).size() / self.region.rows
    }

    fn target(&mut self, value: NodeId) -> StageOutput {
        let dtype = self.codegen.plan.graph.node(value).aval.dtype;
        StageOutput { storage: self.place(value), dtype, row: self.row(value) }
    }

    fn source(&mut self, x: &Operand) -> StageInput {
        let plan = self.codegen.plan;
        let inside = plan.stages.maker(x.value).is_some_and(|maker| self.region.stages.contains(&maker));
        let place = if inside { self.place(x.value) } else { Storage::Input(self.inputs.add(x)) };
        let layout = plan.graph.layout(x);
        StageInput {
            storage: place,
            dtype: plan.graph.dtype(x),
            row: self.row(x.value),
            shape: layout.shape.to_vec(),
            strides: layout.strides.to_vec(),
            shift: layout.shift,
        }
    }
}
