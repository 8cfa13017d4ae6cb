//! Random programs over the whole catalogue: what a program is, how it is run, and how it prints.

pub(crate) mod check;
pub(crate) mod free;
pub(crate) mod generate;
pub(crate) mod modes;
pub(crate) mod shrink;

use covector_core::catalog::{Entry, Kind};
use covector_core::{Array, Dtype, Result, ops};
use free::Free;
use std::fmt::Write;

/// A small generator of numbers: SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From zero up to `n`, which is not zero.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// A value of a program: output `output` of item `item`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Value {
    pub(crate) item: usize,
    pub(crate) output: usize,
}

/// How a value is made to fit an input.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Fit {
    /// The shape that it gets; `None` leaves it its own.
    pub(crate) shape: Option<Vec<usize>>,
    /// The values that it gets.
    pub(crate) kind: Kind,
    /// Whether floating point is brought into the interval of `kind`.
    pub(crate) soft: bool,
}

impl Fit {
    /// As it is.
    pub(crate) fn plain() -> Self {
        Self { shape: None, kind: Kind::Distinct, soft: false }
    }

    fn apply(&self, x: &Array, float: Dtype) -> Result<Array> {
        let x = match &self.shape {
            Some(shape) if x.shape() != &shape[..] => reshaped(x, shape)?,
            _ => x.clone(),
        };
        match self.kind {
            Kind::Real(lo, hi) => {
                let x = as_float(&x, float)?;
                if !self.soft {
                    return Ok(x);
                }
                // Into the unit ball, which holds for complex numbers, too; then into the interval.
                let unit = ops::try_divide(&x, &(ops::abs(&x) + 1.0))?;
                Ok(unit * (0.5 * (hi - lo)) + 0.5 * (hi + lo))
            }
            Kind::Distinct => as_float(&x, float),
            Kind::Index(bound) | Kind::Permuted(bound) => {
                let x = ops::try_astype(&x, Dtype::I32)?;
                ops::try_remainder(&x, &Array::scalar(bound.max(1) as i32))
            }
            Kind::Bool if x.dtype() == Dtype::Bool => Ok(x),
            Kind::Bool if x.dtype().is_complex() => {
                ops::try_greater(&ops::try_real(&x)?, &Array::scalar(0f32))
            }
            Kind::Bool => ops::try_greater(&x, &ops::zeros_like(&x)),
            Kind::Key => ops::try_astype(&x, Dtype::U32),
        }
    }
}

fn as_float(x: &Array, float: Dtype) -> Result<Array> {
    if x.dtype().is_inexact() { Ok(x.clone()) } else { ops::try_astype(x, float) }
}

/// The elements of `x` in another shape: the first ones, or all of them again and again.
fn reshaped(x: &Array, shape: &[usize]) -> Result<Array> {
    let wanted: usize = shape.iter().product();
    let mut flat = ops::try_reshape(x, &[-1])?;
    let n = flat.size();
    if n < wanted {
        flat = ops::try_tile(&flat, &[wanted.div_ceil(n)])?;
    }
    if flat.size() > wanted {
        flat = ops::try_index(&flat, &[ops::Index::from(0..wanted as isize)])?;
    }
    let shape: Vec<isize> = shape.iter().map(|&n| n as isize).collect();
    ops::try_reshape(&flat, &shape)
}

/// An input of a step.
#[derive(Clone, Debug)]
pub(crate) struct Arg {
    pub(crate) value: Value,
    pub(crate) fit: Fit,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// An entry of the catalogue, by number.
    Entry(usize),
    /// An operation for any shape.
    Free(Free),
}

#[derive(Clone)]
pub(crate) enum Item {
    /// An argument of the program, with its value.
    Leaf(Array),
    Step {
        what: What,
        args: Vec<Arg>,
    },
}

/// A program: items in order, the values it returns, and those that are held while it is evaluated.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) seed: u64,
    pub(crate) float: Dtype,
    pub(crate) items: Vec<Item>,
    pub(crate) outputs: Vec<Value>,
    pub(crate) held: Vec<Value>,
    /// By how much the results of steps are changed, one after the other, to see how far rounding matters; else empty.
    pub(crate) noise: Vec<f64>,
}

impl Program {
    /// The arguments.
    pub(crate) fn leaves(&self) -> Vec<Array> {
        let leaf = |item: &Item| match item {
            Item::Leaf(x) => Some(x.clone()),
            Item::Step { .. } => None,
        };
        self.items.iter().filter_map(leaf).collect()
    }

    /// All values by item, for other arguments.
    pub(crate) fn values(&self, entries: &[Entry], leaves: &[Array]) -> Result<Vec<Vec<Array>>> {
        let mut leaves = leaves.iter();
        let mut values: Vec<Vec<Array>> = Vec::with_capacity(self.items.len());
        for item in &self.items {
            let made = match item {
                Item::Leaf(_) => vec![leaves.next().expect("one for each leaf").clone()],
                Item::Step { what, args } => {
                    let made = run_step(entries, what, args, &values, self.float)?;
                    match self.noise.get(values.len()) {
                        Some(by) => made.iter().map(|x| noisy(x, *by)).collect(),
                        None => made,
                    }
                }
            };
            values.push(made);
        }
        Ok(values)
    }

    /// The values that it returns.
    pub(crate) fn run(&self, entries: &[Entry], leaves: &[Array]) -> Result<Vec<Array>> {
        let values = self.values(entries, leaves)?;
        Ok(self.outputs.iter().map(|v| values[v.item][v.output].clone()).collect())
    }

    /// How many steps it has.
    pub(crate) fn steps(&self) -> usize {
        self.items.iter().filter(|item| matches!(item, Item::Step { .. })).count()
    }

    /// The program as text, one item a line.
    pub(crate) fn listing(&self, entries: &[Entry]) -> String {
        let values = self.values(entries, &self.leaves());
        let mut text = format!("// seed {}, {}\n", self.seed, self.float);
        let name = |v: &Value| match v.output {
            0 => format!("v{}", v.item),
            k => format!("v{}.{k}", v.item),
        };
        for (i, item) in self.items.iter().enumerate() {
            let made = match item {
                Item::Leaf(_) => "leaf".to_owned(),
                Item::Step { what, args } => {
                    let args: Vec<String> = args
                        .iter()
                        .map(|arg| match &arg.fit {
                            fit if *fit == Fit::plain() => name(&arg.value),
                            Fit { shape, kind, soft } => {
                                let shape = shape.as_ref().map(|s| format!("{s:?} ")).unwrap_or_default();
                                let how = if *soft { "into" } else { "as" };
                                format!("fit({} {shape}{how} {kind:?})", name(&arg.value))
                            }
                        })
                        .collect();
                    let what = match what {
                        What::Entry(k) => format!("{}#{k}", entries[*k].name),
                        What::Free(free) => format!("{free:?}"),
                    };
                    format!("{what}({})", args.join(", "))
                }
            };
            let shapes: Vec<String> = match &values {
                Ok(values) => values[i].iter().map(|x| format!("{} {:?}", x.dtype(), x.shape())).collect(),
                Err(e) => vec![e.to_string()],
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "let v{i} = {made}; // {}", shapes.join(", "));
        }
        let list = |all: &[Value]| all.iter().map(&name).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "({}) // held: {}", list(&self.outputs), list(&self.held));
        text
    }
}

fn noisy(x: &Array, by: f64) -> Array {
    if x.dtype().is_inexact() { x * (1.0 + by) } else { x.clone() }
}

/// The outputs of one step.
pub(crate) fn run_step(
    entries: &[Entry],
    what: &What,
    args: &[Arg],
    values: &[Vec<Array>],
    float: Dtype,
) -> Result<Vec<Array>> {
    let args: Vec<Array> = args
        .iter()
        .map(|arg| arg.fit.apply(&values[arg.value.item][arg.value.output], float))
        .collect::<Result<_>>()?;
    match what {
        What::Entry(k) => (entries[*k].run)(&args),
        What::Free(free) => free.run(&args),
    }
}
