//! Making random programs.

use crate::programs::free::Free;
use crate::programs::{Arg, Fit, Item, Program, Rng, Value, What, run_step};
use covector_core::catalog::{Entry, Input, Kind};
use covector_core::{Array, Dtype, eval, ops};

/// How large a program and its values may be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Size {
    /// Values of up to some hundred elements: every entry of the catalogue.
    Small,
    /// Values that are divided among threads and blocks: operations whose cost is linear, and products.
    Large,
}

/// The shapes of a program's first values.
const SMALL: &[&[usize]] =
    &[&[2, 3], &[6, 5], &[3, 4, 5], &[1, 7], &[7, 1], &[2, 1, 9], &[4, 4], &[8], &[40, 3]];
const LARGE: &[&[usize]] =
    &[&[700, 53], &[90, 7, 61], &[300, 170], &[11, 90, 60], &[40, 1300], &[9000, 8], &[3, 20_000]];
/// Entries that are drawn more often than others.
const COMMON: &[&str] = &[
    "add", "subtract", "multiply", "divide", "tanh", "exp", "sigmoid", "square", "maximum", "minimum", "abs",
    "negative", "sqrt", "log", "where", "sin",
];
/// Entries whose cost grows faster than their values.
const HEAVY: &[&str] = &[
    "inner",
    "outer",
    "kron",
    "tensordot",
    "einsum",
    "vecdot",
    "cross",
    "einsum_path",
    "scaled_dot_product_attention",
    "diag",
    "meshgrid",
    "searchsorted",
    "median",
    "median_axes",
    "unstack",
];

/// Entries that are written with operators, which panic where shapes do not fit.
const FIXED: &[&str] = &["checkpoint", "compile", "custom_function"];

struct Maker<'a> {
    entries: &'a [Entry],
    rng: Rng,
    size: Size,
    program: Program,
    values: Vec<Vec<Array>>,
}

/// The program of a seed.
pub(crate) fn program(entries: &[Entry], seed: u64, size: Size) -> Program {
    let mut rng = Rng::new(seed);
    let float = match (size, rng.below(20)) {
        (Size::Small, 0) => Dtype::F16,
        (Size::Small, 1) => Dtype::Bf16,
        (Size::Small, 2..=3) => Dtype::C64,
        (_, 0..=9) => Dtype::F64,
        _ => Dtype::F32,
    };
    let program =
        Program { seed, float, items: Vec::new(), outputs: Vec::new(), held: Vec::new(), noise: Vec::new() };
    let mut maker = Maker { entries, rng, size, program, values: Vec::new() };
    maker.leaves();
    let most = match size {
        _ if matches!(float, Dtype::F16 | Dtype::Bf16) => 6,
        Size::Small => 4 + maker.rng.below(14),
        Size::Large => 3 + maker.rng.below(10),
    };
    for _ in 0..most {
        // A step for which nothing fits is left out.
        (0..8).any(|attempt| maker.step(attempt));
    }
    maker.finish()
}

impl Maker<'_> {
    fn leaf(&mut self, shape: &[usize], kind: Kind) {
        let sample = Input { shape: shape.to_vec(), kind };
        let value = sample.sample(self.rng.next(), self.program.float);
        eval(std::slice::from_ref(&value)).expect("samples have values");
        self.values.push(vec![value.clone()]);
        self.program.items.push(Item::Leaf(value));
    }

    fn leaves(&mut self) {
        let all = if self.size == Size::Small { SMALL } else { LARGE };
        let shape = self.rng.one_of(all).to_vec();
        let last = *shape.last().expect("shapes have axes");
        let real = Kind::Real(-1.5, 1.5);
        let mut column = shape.clone();
        *column.last_mut().expect("as above") = 1;
        self.leaf(&shape, real);
        self.leaf(&[last], real);
        self.leaf(&column, real);
        self.leaf(&[], real);
        self.leaf(&shape, Kind::Distinct);
        if last <= 200 {
            self.leaf(&[last, last], real);
        }
        self.leaf(&[2], Kind::Key);
        self.leaf(&[shape[0].min(50)], Kind::Index(shape[0]));
        self.leaf(&shape, Kind::Bool);
        if self.rng.chance(0.5) {
            // A view: read with other strides.
            let turned: Vec<usize> = shape.iter().rev().copied().collect();
            let sample = Input { shape: turned, kind: real }.sample(self.rng.next(), self.program.float);
            let value = ops::transpose(&sample, &[]);
            eval(std::slice::from_ref(&value)).expect("samples have values");
            self.values.push(vec![value.clone()]);
            self.program.items.push(Item::Leaf(value));
        }
    }

    fn get(&self, v: Value) -> &Array {
        &self.values[v.item][v.output]
    }

    fn all(&self) -> Vec<Value> {
        let outputs =
            |(item, made): (usize, &Vec<Array>)| (0..made.len()).map(move |output| Value { item, output });
        self.values.iter().enumerate().flat_map(outputs).collect()
    }

    /// A value that can be made to fit, late ones rather than early ones.
    fn pick(&mut self, kind: Kind, like: Option<&[usize]>) -> Value {
        let fits = |x: &Array| match kind {
            Kind::Real(..) | Kind::Distinct => x.dtype().is_inexact(),
            // An update at many places of large values is one of very many numbers.
            Kind::Index(_) | Kind::Permuted(_) => {
                !x.dtype().is_inexact() && (self.size == Size::Small || x.size() <= 64)
            }
            Kind::Bool => true,
            Kind::Key => x.dtype() == Dtype::U32,
        };
        let filled = |x: &Array| x.size() > 0;
        let mut all: Vec<Value> = self.all();
        all.retain(|&v| fits(self.get(v)) && filled(self.get(v)));
        if let Some(shape) = like {
            let same: Vec<Value> = all.iter().copied().filter(|&v| self.get(v).shape() == shape).collect();
            if !same.is_empty() {
                all = same;
            }
        }
        let n = all.len();
        if self.rng.chance(0.35) { all[self.rng.below(n)] } else { all[n - 1 - self.rng.below(n.min(5))] }
    }

    /// Appends a step; false if nothing fits.
    fn step(&mut self, attempt: usize) -> bool {
        let free = self.rng.chance(0.35);
        let (what, args) = if free { self.free() } else { self.entry(attempt) };
        let made = run_step(self.entries, &what, &args, &self.values, self.program.float);
        let Ok(made) = made else { return false };
        let most = if self.size == Size::Small { 1500 } else { 400_000 };
        if made.iter().any(|x| x.size() > most || x.ndim() > 6) {
            return false;
        }
        self.values.push(made);
        self.program.items.push(Item::Step { what, args });
        true
    }

    fn free(&mut self) -> (What, Vec<Arg>) {
        let real = Kind::Real(-1.5, 1.5);
        let first = self.pick(real, None);
        let shape = self.get(first).shape().to_vec();
        let free = Free::random(&mut self.rng, &shape);
        let count = free.arguments(&mut self.rng);
        let mut args = vec![Arg { value: first, fit: Fit::plain() }];
        for _ in 1..count {
            args.push(match &free {
                Free::Take { axis } => {
                    let bound = shape.get(*axis as usize).copied().unwrap_or(1);
                    let kind = Kind::Index(bound);
                    Arg { value: self.pick(kind, None), fit: Fit { shape: None, kind, soft: false } }
                }
                Free::Recur { .. } => {
                    let last = shape.last().copied().unwrap_or(1);
                    Arg { value: self.pick(real, Some(&[last, last])), fit: Fit::plain() }
                }
                Free::Combine(..) if self.rng.chance(0.3) => {
                    Arg { value: self.pick(real, None), fit: Fit::plain() }
                }
                _ => Arg { value: self.pick(real, Some(&shape)), fit: Fit::plain() },
            });
        }
        (What::Free(free), args)
    }

    fn entry(&mut self, attempt: usize) -> (What, Vec<Arg>) {
        let number = loop {
            let k = self.rng.below(self.entries.len());
            let name = self.entries[k].name;
            let common = COMMON.contains(&name);
            if !common && self.rng.chance(0.4) {
                continue;
            }
            if self.size == Size::Large && FIXED.contains(&name) {
                continue;
            }
            let heavy = HEAVY.contains(&name) || name.starts_with("conv") || name.starts_with("random");
            if self.size == Size::Small || !heavy {
                break k;
            }
        };
        let inputs: Vec<Input> = self.entries[number].inputs.clone();
        // As the values are, or in the shapes of the samples, in which every entry runs.
        let fixed = FIXED.contains(&self.entries[number].name);
        let direct = !fixed && (self.size == Size::Large || self.rng.chance(0.8 - 0.1 * attempt as f64));
        let mut args: Vec<Arg> = Vec::new();
        let mut like: Option<Vec<usize>> = None;
        for input in &inputs {
            let value = {
                let same = like.clone().filter(|_| direct && self.rng.chance(0.6));
                self.pick(input.kind, same.as_deref())
            };
            let shape = self.get(value).shape().to_vec();
            like.get_or_insert(shape.clone());
            let sampled = !direct || matches!(input.kind, Kind::Key);
            let kind = match input.kind {
                // Below the extent of any axis of the first value.
                Kind::Index(_) | Kind::Permuted(_) if direct => {
                    let first = args.first().map(|arg: &Arg| self.get(arg.value).shape().to_vec());
                    Kind::Index(first.and_then(|s| s.iter().copied().min()).unwrap_or(3))
                }
                kind => kind,
            };
            let wide = matches!(kind, Kind::Real(lo, hi) if lo <= -1.5 && hi >= 1.5);
            let soft = matches!(kind, Kind::Real(..))
                && if wide { self.rng.chance(0.2) } else { self.rng.chance(0.95) };
            let fit = Fit { shape: sampled.then(|| input.shape.clone()), kind, soft };
            args.push(Arg { value, fit });
        }
        (What::Entry(number), args)
    }

    fn finish(mut self) -> Program {
        let steps: Vec<Value> = self
            .all()
            .into_iter()
            .filter(|v| matches!(self.program.items[v.item], Item::Step { .. }))
            .collect();
        // All values that nothing reads would be much; the last, and some others.
        let mut outputs: Vec<Value> = steps.last().copied().into_iter().collect();
        for &v in steps.iter().rev().skip(1) {
            if outputs.len() < 4 && self.rng.chance(0.3) {
                outputs.push(v);
            }
        }
        if outputs.is_empty() {
            outputs.push(Value { item: 0, output: 0 });
        }
        let held = steps.into_iter().filter(|_| self.rng.chance(0.15)).collect();
        self.program.outputs = outputs;
        self.program.held = held;
        self.program
    }
}
