//! The ways in which a program is run, each as a graph that has no values yet.

use crate::programs::{Program, Rng};
use covector_core::catalog::{Entry, Input, Kind};
use covector_core::transforms::{checkpoint, compile_flat, jvp_flat, vjp_flat, vmap_flat};
use covector_core::{Array, Aval, Dtype, Result, eval, ops, pending_nodes};

/// A way to run a program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Mode {
    Forward,
    Compiled,
    Gradient,
    CompiledGradient,
    /// The gradient of the checkpointed program.
    Checkpoint,
    Jvp,
    /// Gradients for a batch of arguments.
    VmapGradient,
    /// A Hessian-vector product, forward over reverse.
    Hvp,
}

pub(crate) const MODES: [Mode; 8] = [
    Mode::Forward,
    Mode::Compiled,
    Mode::Gradient,
    Mode::CompiledGradient,
    Mode::Checkpoint,
    Mode::Jvp,
    Mode::VmapGradient,
    Mode::Hvp,
];

/// A program with the entries that it uses.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) program: &'a Program,
    pub(crate) entries: &'a [Entry],
}

/// The examples of a batch.
const BATCH: usize = 3;

impl Subject<'_> {
    /// The outputs in a mode for these arguments.
    pub(crate) fn build(&self, mode: Mode, leaves: &[Array]) -> Result<Vec<Array>> {
        let at = self.floats(leaves);
        match mode {
            Mode::Forward => self.program.run(self.entries, leaves),
            Mode::Compiled => compiled(leaves, |x| self.program.run(self.entries, x)),
            Mode::Gradient => self.gradient(leaves, &at),
            Mode::CompiledGradient => compiled(leaves, |x| self.gradient(x, &self.floats(x))),
            Mode::Checkpoint => gradient_of(&at, |v| {
                let x = with_floats(leaves, v);
                let y = checkpoint(&x, |x| self.program.run(self.entries, x))?;
                self.loss_of(&y)
            }),
            Mode::Jvp => {
                let f = |v: &[Array]| Ok(vec![self.loss(leaves, v)?]);
                Ok(jvp_flat(&at, &self.tangents(&at), f)?.1)
            }
            Mode::VmapGradient => {
                let (batches, axes) = self.batches(&at)?;
                let made = vmap_flat(&batches, &axes, |v| self.gradient(leaves, v))?;
                let axes = vec![Some(0); made.len()];
                made.at_axes(&axes)
            }
            Mode::Hvp => Ok(jvp_flat(&at, &self.tangents(&at), |v| self.gradient(leaves, v))?.1),
        }
    }

    /// The same outputs in another way, for the modes that have one.
    pub(crate) fn other(&self, mode: Mode, leaves: &[Array]) -> Option<Result<Vec<Array>>> {
        let at = self.floats(leaves);
        match mode {
            Mode::Forward | Mode::Gradient => None,
            Mode::Compiled => Some(self.build(Mode::Forward, leaves)),
            Mode::CompiledGradient | Mode::Checkpoint => Some(self.build(Mode::Gradient, leaves)),
            Mode::Jvp => Some(self.slope(leaves, &at).map(|slope| vec![slope])),
            Mode::VmapGradient => Some(self.one_by_one(leaves, &at)),
            Mode::Hvp => Some(gradient_of(&at, |v| self.slope(leaves, v))),
        }
    }

    /// The arguments that can be differentiated.
    fn floats(&self, leaves: &[Array]) -> Vec<Array> {
        leaves.iter().filter(|x| x.dtype().is_inexact()).cloned().collect()
    }

    /// A single number that all outputs of floating point have a part in, each element another one.
    fn loss_of(&self, outputs: &[Array]) -> Result<Array> {
        let dtype = if self.program.float == Dtype::F64 { Dtype::F64 } else { Dtype::F32 };
        let mut total = ops::constant(0.0, dtype);
        for (i, y) in outputs.iter().enumerate().filter(|(_, y)| y.dtype().is_inexact() && y.size() > 0) {
            let y = match y.dtype().is_complex() {
                true => ops::try_add(&ops::try_real(y)?, &ops::try_imag(y)?)?,
                false => y.clone(),
            };
            let kind = Kind::Real(0.5, 1.5);
            let weights = Input { shape: y.shape().to_vec(), kind }.sample(100 + i as u64, dtype);
            total = total + ops::try_mean(&(ops::try_astype(&y, dtype)? * weights))?;
        }
        Ok(total)
    }

    fn loss(&self, leaves: &[Array], at: &[Array]) -> Result<Array> {
        self.loss_of(&self.program.run(self.entries, &with_floats(leaves, at))?)
    }

    fn gradient(&self, leaves: &[Array], at: &[Array]) -> Result<Vec<Array>> {
        gradient_of(at, |v| self.loss(leaves, v))
    }

    /// The derivative of the loss along the tangents: Re⟨gradient, tangents⟩.
    fn slope(&self, leaves: &[Array], at: &[Array]) -> Result<Array> {
        let dtype = if self.program.float == Dtype::F64 { Dtype::F64 } else { Dtype::F32 };
        let mut total = ops::constant(0.0, dtype);
        for (g, t) in self.gradient(leaves, at)?.iter().zip(self.tangents(at)) {
            let product = ops::try_real(&(ops::try_conjugate(g)? * t))?;
            total = total + ops::try_sum(&ops::try_astype(&product, dtype)?)?;
        }
        Ok(total)
    }

    fn tangents(&self, at: &[Array]) -> Vec<Array> {
        let kind = Kind::Real(-1.0, 1.0);
        let tangent = |(i, x): (usize, &Array)| {
            Input { shape: x.shape().to_vec(), kind }.sample(11 + i as u64, x.dtype())
        };
        at.iter().enumerate().map(tangent).collect()
    }

    /// Arguments for each example, and their axes; some are the same for all.
    fn batches(&self, at: &[Array]) -> Result<(Vec<Array>, Vec<Option<isize>>)> {
        let mut rng = Rng::new(self.program.seed ^ 77);
        let mut axes: Vec<Option<isize>> = at
            .iter()
            .map(|x| if rng.chance(0.7) { Some(rng.below(x.ndim() + 1) as isize) } else { None })
            .collect();
        axes[0] = Some(0);
        let batch = |(x, axis): (&Array, &Option<isize>)| match axis {
            Some(axis) => {
                let all: Vec<Array> = (0..BATCH).map(|b| x * (1.0 - 0.125 * b as f64)).collect();
                ops::try_stack(&all, *axis)
            }
            None => Ok(x.clone()),
        };
        let batches = at.iter().zip(&axes).map(batch).collect::<Result<Vec<_>>>()?;
        eval(&batches)?;
        Ok((batches, axes))
    }

    /// The gradients for each example, stacked.
    fn one_by_one(&self, leaves: &[Array], at: &[Array]) -> Result<Vec<Array>> {
        let (batches, axes) = self.batches(at)?;
        let mut rows: Vec<Vec<Array>> = vec![Vec::new(); at.len()];
        for b in 0..BATCH as i32 {
            let example = |(x, axis): (&Array, &Option<isize>)| match axis {
                Some(axis) => ops::try_take(x, &Array::scalar(b), *axis),
                None => Ok(x.clone()),
            };
            let x: Vec<Array> = batches.iter().zip(&axes).map(example).collect::<Result<_>>()?;
            for (row, g) in rows.iter_mut().zip(self.gradient(leaves, &x)?) {
                row.push(g);
            }
        }
        rows.iter().map(|row| ops::try_stack(row, 0)).collect()
    }
}

fn gradient_of(at: &[Array], f: impl Fn(&[Array]) -> Result<Array>) -> Result<Vec<Array>> {
    let traced = vjp_flat(at, |x| Ok(vec![f(x)?]))?;
    let one = ops::ones_like(&traced.outputs()[0]);
    traced.pullback(&[one])
}

fn compiled(leaves: &[Array], f: impl Fn(&[Array]) -> Result<Vec<Array>>) -> Result<Vec<Array>> {
    let avals: Vec<Aval> = leaves.iter().map(|x| x.aval().clone()).collect();
    compile_flat(&avals, f)?.call(leaves)
}

/// The arguments with others in place of those that can be differentiated.
fn with_floats(leaves: &[Array], at: &[Array]) -> Vec<Array> {
    let mut at = at.iter();
    let one = |x: &Array| match x.dtype().is_inexact() {
        true => at.next().expect("one for each").clone(),
        false => x.clone(),
    };
    leaves.iter().map(one).collect()
}

/// Evaluates a graph one node at a time.
pub(crate) fn step_by_step(outputs: &[Array]) -> Result<()> {
    for node in pending_nodes(outputs) {
        eval(&[node])?;
    }
    eval(outputs)
}
