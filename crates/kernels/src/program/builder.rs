//! The builder of programs: registers in, tiles assigned.

use super::interpret::Step;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::machine::Compilable;
use super::{Code, Op, Program, Reg, TileFn};
use crate::dtype::Dtype;

/// Collects the operations of a [`Program`].
#[derive(Default)]
pub struct Builder {
    inputs: Vec<Dtype>,
    steps: Vec<Op>,
    outputs: Vec<Reg>,
}

impl Builder {
    /// Adds an input. All inputs come before the first operation.
    pub fn input(&mut self, dtype: Dtype) -> Reg {
        debug_assert!(self.steps.is_empty(), "inputs come before operations");
        self.inputs.push(dtype);
        self.inputs.len() as Reg - 1
    }

    /// Adds an operation: a tile function, whose element types are those of the operands, applied to registers. `dtype` is
    /// the type of the result. `code` names the operation if the processor has an instruction for it.
    pub fn apply(&mut self, tile: TileFn, code: Option<Code>, operands: &[Reg], dtype: Dtype) -> Reg {
        let mut from = [0; 3];
        from[..operands.len()].copy_from_slice(operands);
        self.steps.push(Op { tile, code, from, count: operands.len() as u8, dtype });
        (self.inputs.len() + self.steps.len()) as Reg - 1
    }

    /// The element type of a register.
    pub fn dtype(&self, reg: Reg) -> Dtype {
        match self.inputs.get(reg as usize) {
            Some(&dtype) => dtype,
            None => self.steps[reg as usize - self.inputs.len()].dtype,
        }
    }

    /// Makes the result of an operation the next output.
    pub fn output(&mut self, reg: Reg) {
        debug_assert!(reg as usize >= self.inputs.len() && !self.outputs.contains(&reg));
        self.outputs.push(reg);
    }

    /// Makes the program and assigns its scratch tiles; a tile is free again after its last reader.
    pub fn finish(self) -> Program {
        let inputs = self.inputs.len();
        let count = inputs + self.steps.len();
        let mut last = vec![0usize; count];
        for (k, op) in self.steps.iter().enumerate() {
            for &r in op.operands() {
                last[r as usize] = k;
            }
        }
        // The pointer table: inputs, then outputs, then scratch tiles.
        let mut place = vec![u32::MAX; count];
        for (r, p) in place.iter_mut().enumerate().take(inputs) {
            *p = r as u32;
        }
        for (k, &r) in self.outputs.iter().enumerate() {
            place[r as usize] = (inputs + k) as u32;
        }
        let first_scratch = inputs + self.outputs.len();
        let mut free: Vec<u32> = Vec::new();
        let mut scratch = 0;
        let mut steps = Vec::with_capacity(self.steps.len());
        for (k, op) in self.steps.iter().enumerate() {
            let r = inputs + k;
            let from = op.operands();
            let mut operands = [0; 3];
            for (o, &f) in operands.iter_mut().zip(from) {
                *o = place[f as usize];
            }
            if place[r] == u32::MAX {
                place[r] = free.pop().unwrap_or_else(|| {
                    scratch += 1;
                    (first_scratch + scratch - 1) as u32
                });
            }
            steps.push(Step { tile: op.tile, from: operands, to: place[r] });
            // A result must not overwrite an operand of the same step, so operands are freed after it.
            for (i, &f) in from.iter().enumerate() {
                let is_scratch = place[f as usize] as usize >= first_scratch;
                if is_scratch && last[f as usize] == k && !from[..i].contains(&f) {
                    free.push(place[f as usize]);
                }
            }
            if last[r] == 0 && place[r] as usize >= first_scratch {
                free.push(place[r]); // a result without readers
            }
        }
        let outputs = self.outputs.iter().map(|&reg| self.dtype(reg)).collect();
        Program {
            steps,
            scratch,
            outputs,
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            compilable: Compilable::new(&self.inputs, self.steps, self.outputs),
            inputs: self.inputs,
        }
    }
}
