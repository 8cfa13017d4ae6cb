//! Real plans pass; damaged, they are refused, with the reason. Each kind of damage is done to each plan in each place
//! where it can be done.

use super::verify::verify as verify_executable;
use crate::aval::{Aval, Avals};
use crate::buffer::Data;
use crate::executable::{Argument, Executable, Instr, Kernel, Output};
use crate::ir::Layout;
use crate::shape::{Shape, row_major_strides};
use covector_kernels::program::{Builder, TileFn};
use covector_kernels::rows::{ReducedOutput, Region, Stage, StageInput, StageOutput, Storage};
use covector_kernels::{Dtype, Reduce, tile1};
use smallvec::smallvec;

/// The leaves of a graph, and what its live-outs must be.
type Bounds = (Vec<Data>, Vec<(u32, Avals)>);

fn verify(plan: &Executable, (leaves, wanted): &Bounds) -> Result<(), String> {
    verify_executable(plan, leaves, wanted)
}

fn samples() -> Vec<(&'static str, (Executable, Bounds))> {
    let compiled = |sample: crate::samples::Sample| {
        let plan = crate::compile(sample.graph, &sample.leaves, &sample.wanted);
        (sample.name, (plan, (sample.leaves, sample.wanted)))
    };
    crate::samples::samples().into_iter().map(compiled).collect()
}

#[test]
fn real_plans_pass() {
    for (name, (plan, bounds)) in samples() {
        verify(&plan, &bounds).unwrap_or_else(|why| panic!("{name}: {why}\n{plan}"));
    }
    // Each sample is what it is here for.
    let samples = samples();
    let any = |name: &str, f: &dyn Fn(&Instr) -> bool| {
        samples.iter().any(|(n, (plan, _))| *n == name && plan.instrs.iter().any(f))
    };
    assert!(any("maps", &|i| matches!(i.kernel, Kernel::Map { .. })));
    assert!(any("maps", &|i| matches!(i.kernel, Kernel::Call { .. })));
    assert!(any("region", &|i| matches!(i.kernel, Kernel::Region { .. })));
    assert!(any("places", &|i| outs(i).iter().any(|o| o.part.is_some())));
    assert!(any("epilogue", &|i| matches!(i.kernel, Kernel::Region { dot: Some(_), .. })));
    assert!(any("over", &|i| !i.reuse.is_empty()));
}

fn outs(instr: &Instr) -> &[Output] {
    match &instr.kernel {
        Kernel::Map { outs, .. } | Kernel::Region { outs, .. } | Kernel::Copy { outs, .. } => outs,
        Kernel::Reduce { outs, .. } => outs,
        Kernel::Dot(_) | Kernel::Call { .. } => &[],
    }
}

fn outs_mut(instr: &mut Instr) -> &mut [Output] {
    match &mut instr.kernel {
        Kernel::Map { outs, .. } | Kernel::Region { outs, .. } | Kernel::Copy { outs, .. } => outs,
        Kernel::Reduce { outs, .. } => outs,
        Kernel::Dot(_) | Kernel::Call { .. } => &mut [],
    }
}

fn inputs_mut(instr: &mut Instr) -> &mut [Argument] {
    match &mut instr.kernel {
        Kernel::Map { inputs, .. } | Kernel::Region { inputs, .. } | Kernel::Copy { inputs, .. } => inputs,
        Kernel::Reduce { inputs, .. } => inputs,
        Kernel::Dot(dot) => &mut dot.factors,
        Kernel::Call { inputs, .. } => inputs,
    }
}

/// Does one kind of damage in a place; false if there is no such place, or nothing to damage there.
type Damage = fn(&mut Executable, place: usize) -> bool;

fn instr(plan: &mut Executable, place: usize) -> Option<&mut Instr> {
    plan.instrs.get_mut(place)
}

/// The layout that an operand has, written out.
fn spelled_out(plan: &Executable, bounds_shape: Option<&[usize]>, operand: &Argument) -> Option<Layout> {
    if let Some(layout) = &operand.layout {
        return Some((**layout).clone());
    }
    let made = plan.instrs.iter().flat_map(outs).find(|o| o.slot == operand.slot && o.part.is_none());
    let shape = made.map(|o| o.shape.clone()).or_else(|| bounds_shape.map(Shape::from_slice))?;
    Some(Layout { strides: row_major_strides(&shape), shape, shift: 0 })
}

fn shift_operand(plan: &mut Executable, place: usize, by: isize) -> bool {
    let Some(found) = plan.instrs.get(place) else { return false };
    let operands: Vec<Argument> = match &found.kernel {
        Kernel::Map { inputs, .. } | Kernel::Copy { inputs, .. } => inputs.clone(),
        _ => return false,
    };
    let Some((i, layout)) = operands
        .iter()
        .enumerate()
        .find_map(|(i, o)| spelled_out(plan, None, o).filter(|l| !l.shape.contains(&0)).map(|l| (i, l)))
    else {
        return false;
    };
    let layout = Layout { shift: layout.shift + by, ..layout };
    inputs_mut(&mut plan.instrs[place])[i].layout = Some(Box::new(layout));
    true
}

/// What is done, what the refusal says, and how it is done.
const DAMAGES: &[(&str, &[&str], Damage)] = &[
    ("an instruction runs before what it needs", &["is read before", "no slot"], |plan, place| {
        let k = place + 1;
        if k >= plan.instrs.len() {
            return false;
        }
        let made: Vec<u32> = outs(&plan.instrs[place]).iter().map(|o| o.slot).collect();
        if !inputs_mut(&mut plan.instrs[k]).iter().any(|o| made.contains(&o.slot)) {
            return false;
        }
        plan.instrs.swap(place, k);
        true
    }),
    (
        "an instruction is missing",
        &["is read before", "never freed", "before it exists", "is used after"],
        |plan, place| {
            if place >= plan.instrs.len() || outs(&plan.instrs[place]).is_empty() {
                return false;
            }
            plan.instrs.remove(place);
            true
        },
    ),
    ("an operand is in a slot that is not there", &["there is no slot"], |plan, place| {
        let slots = plan.slots as u32;
        let Some(operand) = instr(plan, place).and_then(|i| inputs_mut(i).first_mut()) else { return false };
        operand.slot = slots + 3;
        true
    }),
    ("an operand is its own result", &["is read before"], |plan, place| {
        let Some(instr) = instr(plan, place) else { return false };
        let Some(own) = outs(instr).first().map(|o| o.slot) else { return false };
        let Some(operand) = inputs_mut(instr).first_mut() else { return false };
        (operand.slot, operand.layout) = (own, None);
        true
    }),
    ("a layout begins past its memory", &["reaches"], |plan, place| shift_operand(plan, place, 1 << 30)),
    ("a layout begins one element late", &["reaches"], |plan, place| shift_operand(plan, place, 1)),
    ("a layout begins in front of its memory", &["reaches"], |plan, place| shift_operand(plan, place, -1)),
    (
        "an output has another element type",
        &["expected", "takes", "read as", "make", "not those", "sum is not"],
        |plan, place| {
            let Some(out) = instr(plan, place).and_then(|i| outs_mut(i).first_mut()) else { return false };
            out.dtype = if out.dtype == Dtype::I64 { Dtype::U8 } else { Dtype::I64 };
            true
        },
    ),
    (
        "an output has another shape",
        &["not those", "do not make", "sum is not", "shape", "expected"],
        |plan, place| {
            let Some(out) = instr(plan, place).and_then(|i| outs_mut(i).first_mut()) else { return false };
            out.shape.push(2);
            true
        },
    ),
    ("two writers of a slot", &["written twice", "after all of it"], |plan, place| {
        let Some(found) = plan.instrs.get(place) else { return false };
        let Some(slot) = outs(found).iter().find(|o| o.part.is_none()).map(|o| o.slot) else { return false };
        let later = plan.instrs[place + 1..].iter_mut().flat_map(|i| outs_mut(i).iter_mut());
        match later.into_iter().find(|o| o.part.is_none()) {
            Some(out) => {
                out.slot = slot;
                true
            }
            None => false,
        }
    }),
    ("memory is freed early", &["is used after", "is freed again"], |plan, place| {
        let Some(slot) = plan.instrs.get(place).and_then(|i| i.free.first().copied()) else { return false };
        let earlier = (0..place).find(|&k| outs(&plan.instrs[k]).iter().any(|o| o.slot == slot));
        let Some(k) = earlier else { return false };
        plan.instrs[k].free.push(slot);
        true
    }),
    ("memory is freed twice", &["freed again"], |plan, place| {
        let Some(instr) = instr(plan, place) else { return false };
        let Some(slot) = instr.free.first().copied() else { return false };
        instr.free.push(slot);
        true
    }),
    ("memory is never freed", &["never freed"], |plan, place| {
        // Leaves may stay.
        let made: Vec<u32> = plan.instrs.iter().flat_map(outs).map(|o| o.slot).collect();
        let Some(instr) = instr(plan, place) else { return false };
        let Some(k) = instr.free.iter().position(|slot| made.contains(slot)) else { return false };
        let slot = instr.free[k];
        if instr.reuse.iter().any(|p| inputs_of(&instr.kernel)[p.1 as usize].slot == slot) {
            return false;
        }
        instr.free.remove(k);
        true
    }),
    ("a result is freed", &["is used after"], |plan, place| {
        let Some(slot) = plan.results.first().map(|(_, outs)| outs[0].slot) else { return false };
        let Some(instr) = instr(plan, place) else { return false };
        if !outs(instr).iter().any(|o| o.slot == slot) {
            return false;
        }
        instr.free.push(slot);
        true
    }),
    ("an output is put over an input that is read later", &["is read afterwards"], |plan, place| {
        let Some(instr) = instr(plan, place) else { return false };
        let Some(pair) = instr.reuse.first().copied() else { return false };
        let slot = inputs_of(&instr.kernel)[pair.1 as usize].slot;
        instr.free.retain(|&s| s != slot);
        true
    }),
    ("two outputs over one input", &["two pairs", "not there", "expected"], |plan, place| {
        let Some(instr) = instr(plan, place) else { return false };
        let Some(&(out, input)) = instr.reuse.first() else { return false };
        instr.reuse.push((out + 1, input));
        true
    }),
    ("an output over an input that is not there", &["not there"], |plan, place| {
        let Some(instr) = instr(plan, place).filter(|i| !outs(i).is_empty()) else { return false };
        if matches!(instr.kernel, Kernel::Copy { .. }) {
            return false;
        }
        instr.reuse.push((0, 999));
        true
    }),
    ("an output over an input of another shape", &["over input", "which has"], |plan, place| {
        let Some(instr) = instr(plan, place) else { return false };
        let Some(&(_, input)) = instr.reuse.first() else { return false };
        let operand = &mut inputs_mut(instr)[input as usize];
        let layout = Layout { shape: smallvec![1], strides: smallvec![1], shift: 0 };
        operand.layout = Some(Box::new(layout));
        true
    }),
    ("parts overlap", &["written twice", "reaches", "read before", "more elements"], |plan, place| {
        let parts: Vec<(usize, usize)> = plan
            .instrs
            .iter()
            .enumerate()
            .flat_map(|(k, i)| outs(i).iter().enumerate().map(move |(o, out)| (k, o, out)))
            .filter(|(_, _, out)| out.part.as_ref().is_some_and(|p| p.layout.shift > 0))
            .map(|(k, o, _)| (k, o))
            .collect();
        let Some(&(k, o)) = parts.get(place) else { return false };
        let Some(part) = outs_mut(&mut plan.instrs[k])[o].part.as_mut() else { return false };
        part.layout.shift -= 1;
        true
    }),
    ("a part is outside of the whole", &["a part reaches"], |plan, place| {
        let Some(out) = instr(plan, place).and_then(|i| outs_mut(i).iter_mut().find(|o| o.part.is_some()))
        else {
            return false;
        };
        let Some(part) = out.part.as_mut() else { return false };
        part.layout.shift += part.whole.iter().product::<usize>() as isize;
        true
    }),
    ("a part is missing", &["is read before", "copied", "not those", "before it exists"], |plan, place| {
        let Some(instr) = instr(plan, place) else { return false };
        match &mut instr.kernel {
            Kernel::Copy { inputs, outs } => {
                outs.pop();
                inputs.pop();
                true
            }
            Kernel::Map { outs, .. } if outs.iter().any(|o| o.part.is_some()) => {
                outs.pop();
                true
            }
            _ => false,
        }
    }),
    ("a part of another whole", &["the whole of slot"], |plan, place| {
        let Some(out) = instr(plan, place).and_then(|i| outs_mut(i).iter_mut().find(|o| o.part.is_some()))
        else {
            return false;
        };
        let slot = out.slot;
        let Some(part) = out.part.as_mut() else { return false };
        part.whole.push(1);
        // Only where another part says otherwise.
        plan.instrs.iter().flat_map(outs).filter(|o| o.slot == slot).count() > 1
    }),
    ("a live-out is dropped", &["has no result"], |plan, place| {
        if place >= plan.results.len() {
            return false;
        }
        plan.results.remove(place);
        true
    }),
    ("a result of another step", &["expected", "outputs", "has no result", "not wanted"], |plan, place| {
        let Some(result) = plan.results.get_mut(place) else { return false };
        result.0 = 1 << 20;
        true
    }),
    ("an output of a result is dropped", &["outputs"], |plan, place| {
        let Some(result) = plan.results.get_mut(place) else { return false };
        result.1.pop().is_some()
    }),
    ("an input of a program is dropped", &["the program takes", "no input", "copied"], |plan, place| {
        let Some(instr) = instr(plan, place).filter(|i| i.reuse.is_empty()) else { return false };
        match &mut instr.kernel {
            Kernel::Map { inputs, .. } | Kernel::Region { inputs, .. } | Kernel::Copy { inputs, .. } => {
                inputs.pop().is_some()
            }
            Kernel::Reduce { .. } | Kernel::Dot(_) | Kernel::Call { .. } => false,
        }
    }),
    ("the factors of a product change places", &["factors"], |plan, place| {
        let Some(instr) = instr(plan, place) else { return false };
        let Kernel::Region { dot: Some(product), .. } = &mut instr.kernel else { return false };
        product.factors.swap(0, 1);
        true
    }),
    ("the result of a product is in a slot in use", &["written twice"], |plan, place| {
        let Some(instr) = instr(plan, place) else { return false };
        let Kernel::Region { dot: Some(product), .. } = &mut instr.kernel else { return false };
        product.out.slot = product.factors[0].slot;
        true
    }),
];

fn inputs_of(kernel: &Kernel) -> &[Argument] {
    match kernel {
        Kernel::Map { inputs, .. } | Kernel::Region { inputs, .. } | Kernel::Copy { inputs, .. } => inputs,
        Kernel::Reduce { inputs, .. } => inputs,
        Kernel::Dot(dot) => &dot.factors,
        Kernel::Call { inputs, .. } => inputs,
    }
}

#[test]
fn every_kind_of_damage_is_named() {
    for (what, words, damage) in DAMAGES {
        let mut done = 0;
        for s in 0..samples().len() {
            for place in 0..64 {
                let (name, (mut plan, bounds)) = samples().swap_remove(s);
                if place >= plan.instrs.len().max(plan.results.len()) {
                    break;
                }
                if !damage(&mut plan, place) {
                    continue;
                }
                done += 1;
                let why = verify(&plan, &bounds).expect_err(&format!("{what} in {name} at {place}:\n{plan}"));
                assert!(words.iter().any(|word| why.contains(word)), "{what} in {name} at {place}: {why}");
            }
        }
        assert!(done > 0, "nothing to damage: {what}");
    }
}

/// A region of two stages by hand: `y = -x` on a shelf, `z = -y` and the sum of `y`.
fn by_hand(change: impl FnOnce(&mut Vec<Stage>, &mut Vec<usize>)) -> Result<(), String> {
    let negate = || {
        let mut builder = Builder::default();
        let input = builder.input(Dtype::F32);
        let made = builder.apply(TileFn::One(tile1!(f32 => f32, |x| -x)), None, &[input], Dtype::F32);
        builder.output(made);
        builder.finish()
    };
    let source = |place: Storage| StageInput {
        storage: place,
        dtype: Dtype::F32,
        row: 8,
        shape: vec![4, 8],
        strides: vec![8, 1],
        shift: 0,
    };
    let target = |place: Storage| StageOutput { storage: place, dtype: Dtype::F32, row: 8 };
    let chain = |from: Storage, to: Storage| Stage::Map {
        program: negate(),
        shape: vec![4, 8],
        inputs: vec![source(from)],
        outputs: vec![target(to)],
    };
    let mut stages = vec![
        chain(Storage::Input(0), Storage::Scratch(0)),
        chain(Storage::Scratch(0), Storage::Output(0)),
        Stage::Reduced {
            kind: Reduce::Sum,
            input: source(Storage::Output(0)),
            axes: vec![0, 1],
            output: ReducedOutput { index: 1, size: 1, dtype: Dtype::F32 },
        },
    ];
    let mut scratch = vec![32];
    change(&mut stages, &mut scratch);
    let out = |slot: u32, shape: &[usize]| Output {
        slot,
        dtype: Dtype::F32,
        shape: Shape::from_slice(shape),
        part: None,
    };
    let kernel = Kernel::Region {
        region: Region::new(4, stages, scratch, None),
        dot: None,
        inputs: vec![Argument { slot: 0, layout: None }],
        outs: vec![out(1, &[4, 8]), out(2, &[])],
    };
    let label = "by hand".into();
    let instrs = vec![Instr { kernel, reuse: smallvec![], free: vec![0], label, flops: 0 }];
    let result = |slot: u32| smallvec![Argument { slot, layout: None }];
    let results = vec![(0, result(1)), (1, result(2))];
    let plan = Executable { instrs, slots: 3, results, donates: false };
    let x = Data::alloc("test", Dtype::F32, &[4, 8]).expect("there is memory for a sample");
    let aval = |shape: &[usize]| smallvec![Aval::new(Dtype::F32, shape)];
    verify(&plan, &(vec![x], vec![(0, aval(&[4, 8])), (1, aval(&[]))]))
}

#[test]
fn damaged_regions_are_refused() {
    by_hand(|_, _| {}).unwrap();
    let refused = |words: &str, change: &dyn Fn(&mut Vec<Stage>, &mut Vec<usize>)| {
        let why = by_hand(change).expect_err(words);
        assert!(why.contains(words), "{why}");
    };
    fn inputs(stage: &mut Stage) -> &mut StageInput {
        match stage {
            Stage::Map { inputs, .. } => &mut inputs[0],
            Stage::Reduced { input, .. } => input,
            _ => unreachable!("the stages above"),
        }
    }
    fn output(stage: &mut Stage) -> &mut StageOutput {
        match stage {
            Stage::Map { outputs, .. } => &mut outputs[0],
            _ => unreachable!("the stages above"),
        }
    }
    refused("scratch 0 is read before it is written", &|stages, _| stages.swap(0, 1));
    refused("do not fit in scratch 0", &|_, scratch| scratch[0] = 16);
    refused("there is no scratch 0", &|_, scratch| scratch.clear());
    refused("holds something else", &|stages, _| inputs(&mut stages[1]).dtype = Dtype::F64);
    refused("holds something else", &|stages, _| inputs(&mut stages[1]).shift = 1);
    refused("input 0 is read, which has", &|stages, _| inputs(&mut stages[0]).strides[1] = 2);
    refused("input 0 is float32, and read as", &|stages, _| inputs(&mut stages[0]).dtype = Dtype::I32);
    refused("there is no input 1", &|stages, _| inputs(&mut stages[0]).storage = Storage::Input(1));
    refused("input 0 is written", &|stages, _| output(&mut stages[1]).storage = Storage::Input(0));
    refused("output 0 is never written", &|stages, _| {
        output(&mut stages[1]).storage = Storage::Scratch(0);
        inputs(&mut stages[2]).storage = Storage::Scratch(0);
    });
    refused("output 0 is written twice", &|stages, _| {
        output(&mut stages[0]).storage = Storage::Output(0);
        inputs(&mut stages[1]).storage = Storage::Input(0);
    });
    refused("output 0 is read before it is written", &|stages, _| {
        inputs(&mut stages[0]).storage = Storage::Output(0);
    });
    refused("output 0 is read as something else", &|stages, _| inputs(&mut stages[2]).shift = 4);
    refused("do not make output 0", &|stages, _| output(&mut stages[1]).row = 4);
    refused("is read before all rows are done", &|stages, _| {
        let Stage::Reduced { output, .. } = &mut stages[2] else { unreachable!("the stages above") };
        output.index = 0;
        output.size = 32;
        let last = stages.remove(2);
        stages.insert(0, last);
        inputs(&mut stages[0]).storage = Storage::Input(0);
        inputs(&mut stages[1]).storage = Storage::Output(0);
    });
    refused("the sum is not output 1", &|stages, _| {
        let Stage::Reduced { output, .. } = &mut stages[2] else { unreachable!("the stages above") };
        output.size = 2;
    });
}
