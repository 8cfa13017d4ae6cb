//! Planning, the part for bands: their stages, and the scratch memory ("shelves") between them.

use crate::plan::band::{Reach, Unit, broadcast_strides, lie, prefix};
use crate::plan::build::{Pass, Proto, Val};
use crate::plan::distinct::Distinct;
use crate::plan::emit::{Emitter, Product, Slot, Work};
use covector_kernels::rows::{ReducedOutput, Region, Stage, StageInput, StageOutput, Storage};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// The shelves of a band: scratch memory that is used again after its last reader.
struct Shelves {
    /// The shelf of each root that has one.
    of: FxHashMap<u32, usize>,
    /// Bytes for each row.
    bytes: Vec<usize>,
}

impl Shelves {
    fn new(emitter: &Emitter<'_>, unit: &Unit) -> Self {
        let mut out = Self { of: FxHashMap::default(), bytes: Vec::new() };
        let mut last: FxHashMap<u32, u32> = FxHashMap::default();
        for &m in &unit.members {
            emitter.protos[m as usize].inputs().iter().for_each(|v| {
                last.insert(v.root, m);
            });
        }
        let mut free: Vec<usize> = Vec::new();
        for &m in &unit.members {
            let made = emitter.made(m);
            for root in made.iter().copied().filter(|&r| emitter.slot_of[r as usize] == Slot::MAX) {
                let aval = &emitter.roots[root as usize].aval;
                let bytes = aval.shape.iter().product::<usize>() / unit.rows * aval.dtype.size();
                let shelf = match free.iter().position(|&s| out.bytes[s] == bytes) {
                    Some(i) => free.swap_remove(i),
                    None => {
                        out.bytes.push(bytes);
                        out.bytes.len() - 1
                    }
                };
                out.of.insert(root, shelf);
            }
            let mut done: SmallVec<[u32; 8]> = SmallVec::new();
            for v in emitter.protos[m as usize].inputs() {
                if last.get(&v.root) == Some(&m) && !done.contains(&v.root) {
                    done.push(v.root);
                    free.extend(out.of.get(&v.root));
                }
            }
        }
        out
    }
}

impl Emitter<'_> {
    /// The roots that an instruction stores.
    fn made(&self, m: u32) -> SmallVec<[u32; 4]> {
        match &self.protos[m as usize] {
            Proto::Chain { ops, .. } => {
                ops.iter().map(|o| o.root).filter(|&r| self.roots[r as usize].stored).collect()
            }
            Proto::Call { avals, first_root, .. } => (*first_root..first_root + avals.len() as u32).collect(),
        }
    }
}

pub(crate) struct BandMaker<'a> {
    emitter: &'a Emitter<'a>,
    unit: &'a Unit,
    inputs: Distinct,
    outs: Vec<u32>,
    /// The place of each root in `outs`.
    place_of: FxHashMap<u32, usize>,
    shelf: Shelves,
}

impl<'a> BandMaker<'a> {
    pub(crate) fn new(emitter: &'a Emitter<'a>, unit: &'a Unit) -> Self {
        let shelf = Shelves::new(emitter, unit);
        Self {
            emitter,
            unit,
            inputs: Distinct::default(),
            outs: Vec::new(),
            place_of: FxHashMap::default(),
            shelf,
        }
    }

    pub(crate) fn make(mut self) -> (Work, SmallVec<[(u32, u32); 1]>) {
        let emitter = self.emitter;
        let mut stages = Vec::with_capacity(self.unit.members.len());
        for &m in &self.unit.members {
            stages.push(match &emitter.protos[m as usize] {
                Proto::Chain { shape, ops, externals } => {
                    let (program, made) = emitter.program(m, ops, externals);
                    Stage::Map {
                        program,
                        shape: shape.to_vec(),
                        inputs: externals.iter().map(|v| self.source(v)).collect(),
                        outputs: made.iter().map(|&r| self.target(r)).collect(),
                    }
                }
                proto @ Proto::Call { first_root, .. } => self.pass(proto, *first_root),
            });
        }
        let after = emitter.product(self.unit);
        let bytes = |product: &Product| {
            product.out.shape.iter().product::<usize>() / self.unit.rows * product.out.dtype.size()
        };
        let work = Work::Band {
            band: Region::new(self.unit.rows, stages, self.shelf.bytes, after.as_deref().map(bytes)),
            after,
            inputs: self.inputs.iter().map(|v| emitter.operand(v)).collect(),
            outs: self.outs.iter().map(|&r| emitter.output(r)).collect(),
        };
        (work, emitter.over(self.unit, &self.outs, &self.inputs))
    }

    fn pass(&mut self, proto: &Proto, root: u32) -> Stage {
        let rows = self.unit.rows;
        let sources: SmallVec<[StageInput; 2]> =
            proto.inputs().iter().enumerate().map(|(i, v)| self.rows(proto, i, v)).collect();
        let mut sources = sources.into_iter();
        let mut next = || sources.next().expect("as many as the pass needs");
        let outer = proto.space().and_then(|s| prefix(s, rows)).expect("the grouping found the rows");
        let aval = &self.emitter.roots[root as usize].aval;
        let over = (proto.reach(rows) == Some(Reach::Over)).then(|| {
            let Storage::Output(index) = self.place(root) else {
                unreachable!("sums over rows are in memory")
            };
            ReducedOutput { index, size: aval.shape.iter().product(), dtype: aval.dtype }
        });
        match proto.pass().expect("other calls run alone") {
            Pass::Reduce { kind, axes, .. } => {
                let mut axes: Vec<usize> =
                    axes.iter().filter(|&&a| a >= outer).map(|&a| a - outer + 1).collect();
                match over {
                    Some(output) => {
                        axes.insert(0, 0);
                        Stage::Reduced { kind: *kind, input: next(), axes, output }
                    }
                    None => Stage::PerRow { kind: *kind, input: next(), axes, output: self.target(root) },
                }
            }
            Pass::Product { .. } => Stage::Dot { rows: next(), matrix: next(), output: self.target(root) },
            Pass::ProductOver { .. } => Stage::DotReduced {
                left: next(),
                right: next(),
                output: over.expect("products over rows are sums"),
            },
        }
    }

    /// What a pass reads, with the rows as one first axis.
    fn rows(&mut self, proto: &Proto, i: usize, v: &Val) -> StageInput {
        let rows = self.unit.rows;
        let mut source = self.source(v);
        if matches!(source.storage, Storage::Input(_)) {
            // The view that comes at run time begins there already.
            source.shift = 0;
        }
        let Some((layout, shape)) = proto.operand(i, v, self.emitter.roots) else { return source };
        let outer = prefix(&shape, rows).expect("the grouping found the rows");
        let strides = broadcast_strides(&layout, &shape);
        // The outer axes as one; those of extent 1 may have any stride.
        let step = (0..outer).rev().find(|&k| shape[k] != 1).map_or(0, |k| strides[k]);
        source.shape = std::iter::once(rows).chain(shape[outer..].iter().copied()).collect();
        source.strides = std::iter::once(step).chain(strides[outer..].iter().copied()).collect();
        source
    }

    /// Where a root that the band makes is.
    fn place(&mut self, root: u32) -> Storage {
        if let Some(&shelf) = self.shelf.of.get(&root) {
            return Storage::Scratch(shelf);
        }
        let next = self.outs.len();
        let place = *self.place_of.entry(root).or_insert(next);
        if place == next {
            self.outs.push(root);
        }
        Storage::Output(place)
    }

    /// Elements of a root for each row.
    fn row(&self, root: u32) -> usize {
        self.emitter.roots[root as usize].aval.shape.iter().product::<usize>() / self.unit.rows
    }

    fn target(&mut self, root: u32) -> StageOutput {
        let dtype = self.emitter.roots[root as usize].aval.dtype;
        StageOutput { storage: self.place(root), dtype, row: self.row(root) }
    }

    fn source(&mut self, v: &Val) -> StageInput {
        let root = &self.emitter.roots[v.root as usize];
        let inside = root.maker().is_some_and(|m| self.unit.members.contains(&m));
        let place = if inside { self.place(v.root) } else { Storage::Input(self.inputs.add(v)) };
        let l = lie(v, self.emitter.roots);
        StageInput {
            storage: place,
            dtype: root.aval.dtype,
            row: self.row(v.root),
            shape: l.shape.to_vec(),
            strides: l.strides.to_vec(),
            shift: l.shift,
        }
    }
}
