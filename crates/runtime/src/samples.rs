//! Graphs that tests plan, run through the verifiers, and damage.

use crate::aval::{Aval, Avals, Values};
use crate::buffer::Data;
use crate::error::{Error, Result};
use crate::ir::{Callable, Graph, Kind, Layout, LiveOut, NodeId, Operand};
use crate::shape::{Shape, broadcast_shapes, reduced_shape};
use covector_kernels::program::{Code, TileFn};
use covector_kernels::{Dtype, Reduce, tile1, tile2};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

/// A graph, its leaves, and what its live-outs must be.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) graph: Graph,
    pub(crate) leaves: Vec<Data>,
    pub(crate) wanted: Vec<(u32, Avals)>,
}

/// An opaque operation.
struct Opaque(&'static str);

impl Callable for Opaque {
    fn name(&self) -> &'static str {
        self.0
    }
    fn describe(&self) -> String {
        self.0.into()
    }
    fn call(&self, _inputs: Values, _outs: &[Aval]) -> Result<Values> {
        Err(Error::value(self.0, "samples are planned, and not run"))
    }
    fn flops(&self, _inputs: &[&[usize]], _outs: &[Aval]) -> u64 {
        0
    }
}

/// Builds a graph.
#[derive(Default)]
pub(crate) struct Builder {
    graph: Graph,
    leaves: Vec<Data>,
    wanted: Vec<(u32, Avals)>,
}

impl Builder {
    fn data(&mut self, data: Data) -> Operand {
        let (number, row_major) = (self.leaves.len() as u32, data.view().is_row_major());
        let aval = Aval::new(data.dtype(), data.shape());
        let layout = Layout { shape: data.shape().into(), strides: data.strides().into(), shift: 0 };
        self.graph.leaves.push(layout.reach());
        self.leaves.push(data);
        let value = self.graph.add(Kind::Leaf(number), smallvec![], aval);
        Operand { value, layout: (!row_major).then(|| Box::new(layout)) }
    }

    pub(crate) fn leaf(&mut self, shape: &[usize]) -> Operand {
        self.data(Data::alloc("test", Dtype::F32, shape).expect("there is memory for a sample"))
    }

    /// A leaf whose memory is that of a row-major array of the transposed shape.
    pub(crate) fn transposed_leaf(&mut self, rows: usize, columns: usize) -> Operand {
        let data = Data::alloc("test", Dtype::F32, &[columns, rows]).expect("there is memory for a sample");
        self.data(data.restrided(&[rows, columns], &[1, rows as isize], 0))
    }

    fn aval(&self, x: &Operand) -> Aval {
        Aval::new(self.graph.dtype(x), self.graph.shape(x))
    }

    fn map(&mut self, name: &'static str, tile: TileFn, code: Option<Code>, xs: &[&Operand]) -> Operand {
        let mut shape = Shape::from_slice(self.graph.shape(xs[0]));
        for x in &xs[1..] {
            shape = broadcast_shapes("test", &shape, self.graph.shape(x)).expect("samples broadcast");
        }
        let aval = Aval::new(self.graph.dtype(xs[0]), &shape);
        let operands = xs.iter().map(|&x| x.clone()).collect();
        Operand::whole(self.graph.add(Kind::Map { tile, code, name }, operands, aval))
    }

    pub(crate) fn exp(&mut self, x: &Operand) -> Operand {
        self.map("exp", TileFn::One(tile1!(f32 => f32, |x| x.exp())), None, &[x])
    }

    pub(crate) fn tanh(&mut self, x: &Operand) -> Operand {
        self.map("tanh", TileFn::One(tile1!(f32 => f32, |x| x.tanh())), None, &[x])
    }

    pub(crate) fn negative(&mut self, x: &Operand) -> Operand {
        self.map("negative", TileFn::One(tile1!(f32 => f32, |x| -x)), Some(Code::Negative), &[x])
    }

    pub(crate) fn square(&mut self, x: &Operand) -> Operand {
        self.map("square", TileFn::One(tile1!(f32 => f32, |x| x * x)), Some(Code::Square), &[x])
    }

    pub(crate) fn add(&mut self, x: &Operand, y: &Operand) -> Operand {
        let tile = TileFn::Two(tile2!(f32, f32 => f32, |x, y| x + y));
        self.map("add", tile, Some(Code::Add), &[x, y])
    }

    pub(crate) fn multiply(&mut self, x: &Operand, y: &Operand) -> Operand {
        let tile = TileFn::Two(tile2!(f32, f32 => f32, |x, y| x * y));
        self.map("multiply", tile, Some(Code::Multiply), &[x, y])
    }

    pub(crate) fn reduce(&mut self, kind: Reduce, x: &Operand, axes: &[usize]) -> Operand {
        let shape = reduced_shape(self.graph.shape(x), axes, true);
        let aval = Aval::new(self.graph.dtype(x), &shape);
        let kind = Kind::Reduce { kind, axes: SmallVec::from_slice(axes) };
        Operand::whole(self.graph.add(kind, smallvec![x.clone()], aval))
    }

    pub(crate) fn dot(&mut self, a: &Operand, b: &Operand) -> Operand {
        let (m, n) = (self.graph.shape(a)[0], self.graph.shape(b)[1]);
        let aval = Aval::new(self.graph.dtype(a), [m, n]);
        Operand::whole(self.graph.add(Kind::Dot, smallvec![a.clone(), b.clone()], aval))
    }

    pub(crate) fn concatenate(&mut self, xs: &[&Operand], axis: usize) -> Operand {
        let mut aval = self.aval(xs[0]);
        aval.shape[axis] = 0;
        let mut starts = Vec::new();
        for x in xs {
            let mut start: SmallVec<[usize; 4]> = SmallVec::from_elem(0, aval.shape.len());
            start[axis] = aval.shape[axis];
            starts.push(start);
            aval.shape[axis] += self.graph.shape(x)[axis];
        }
        let operands = xs.iter().map(|&x| x.clone()).collect();
        Operand::whole(self.graph.add(Kind::Place { starts }, operands, aval))
    }

    /// An opaque call with outputs like its input.
    pub(crate) fn call(&mut self, name: &'static str, x: &Operand, outputs: usize) -> Vec<Operand> {
        let avals: Avals = (0..outputs).map(|_| self.aval(x)).collect();
        let first = self.graph.add_call(Arc::new(Opaque(name)), smallvec![x.clone()], &avals);
        (first..first + outputs as NodeId).map(Operand::whole).collect()
    }

    pub(crate) fn transposed(&mut self, x: &Operand) -> Operand {
        Operand { value: x.value, layout: Some(Box::new(self.graph.layout(x).transposed())) }
    }

    /// Rows `from..to` of a value.
    pub(crate) fn rows(&mut self, x: &Operand, from: usize, to: usize) -> Operand {
        let mut layout = self.graph.layout(x);
        layout.shift += from as isize * layout.strides[0];
        layout.shape[0] = to - from;
        Operand { value: x.value, layout: Some(Box::new(layout)) }
    }

    /// Notes wanted values.
    pub(crate) fn want(&mut self, xs: &[&Operand]) {
        for &x in xs {
            let (step, aval) = (self.wanted.len() as u32, self.aval(x));
            self.wanted.push((step, smallvec![aval]));
            self.graph.live_outs.push(LiveOut { step, values: smallvec![x.clone()] });
        }
    }
}

/// A sample that a closure builds.
pub(crate) fn sample(name: &'static str, build: impl FnOnce(&mut Builder)) -> Sample {
    let mut builder = Builder::default();
    build(&mut builder);
    let Builder { graph, leaves, wanted } = builder;
    Sample { name, graph, leaves, wanted }
}

/// Graphs with maps, regions, epilogues, places, strided leaves, views, values over inputs, and calls.
pub(crate) fn samples() -> Vec<Sample> {
    let maps = sample("maps", |b| {
        let (x, strided, one) = (b.leaf(&[64, 48]), b.transposed_leaf(64, 48), b.leaf(&[]));
        let (e, shifted) = (b.exp(&x), b.add(&x, &one));
        let product = b.multiply(&e, &strided);
        let y = b.tanh(&product);
        let sums = b.call("cumsum", &shifted, 1);
        b.want(&[&y, &sums[0]]);
    });
    // A softmax with the gradient of its cross-entropy, as far as the form of the graph is concerned.
    let region = sample("region", |b| {
        let (z, scale) = (b.leaf(&[256, 128]), b.leaf(&[]));
        let max = b.reduce(Reduce::Max, &z, &[1]);
        let shifted = b.add(&z, &max);
        let e = b.exp(&shifted);
        let sum = b.reduce(Reduce::Sum, &e, &[1]);
        let log = b.tanh(&sum);
        let far = b.add(&log, &shifted);
        let total = b.reduce(Reduce::Sum, &far, &[0, 1]);
        let loss = b.multiply(&total, &scale);
        let share = b.multiply(&e, &sum);
        let slope = b.multiply(&share, &scale);
        b.want(&[&loss, &slope]);
    });
    let places = sample("places", |b| {
        let x = b.leaf(&[64, 48]);
        let factors: Vec<Operand> = (0..3).map(|_| b.leaf(&[])).collect();
        let products: Vec<Operand> = factors.iter().map(|k| b.multiply(&x, k)).collect();
        let parts: Vec<Operand> = products.iter().map(|x| b.tanh(x)).collect();
        let joined = b.concatenate(&parts.iter().collect::<Vec<_>>(), 0);
        let (scaled, e) = (b.multiply(&joined, &factors[0]), b.exp(&x));
        let wide = b.concatenate(&[&x, &e], 1);
        b.want(&[&joined, &scaled, &wide]);
    });
    let epilogue = sample("epilogue", |b| {
        let (a, w, bias) = (b.leaf(&[1024, 512]), b.leaf(&[512, 512]), b.leaf(&[512]));
        let product = b.dot(&a, &w);
        let shifted = b.add(&product, &bias);
        let (y, z) = (b.tanh(&shifted), b.exp(&a));
        b.want(&[&y, &z]);
    });
    let network = sample("network", |b| {
        let (x, w, v) = (b.leaf(&[64, 48]), b.leaf(&[48, 32]), b.leaf(&[32, 10]));
        let product = b.dot(&x, &w);
        let h = b.tanh(&product);
        let y = b.dot(&h, &v);
        let square = b.multiply(&y, &y);
        let cost = b.reduce(Reduce::Sum, &square, &[0, 1]);
        let (xt, ht, vt) = (b.transposed(&x), b.transposed(&h), b.transposed(&v));
        let (dv, dh) = (b.dot(&ht, &y), b.dot(&y, &vt));
        let back = b.multiply(&dh, &h);
        let (dw, db) = (b.dot(&xt, &back), b.reduce(Reduce::Sum, &back, &[0]));
        b.want(&[&cost, &dw, &dv, &db]);
    });
    let views = sample("views", |b| {
        let (x, one) = (b.leaf(&[64, 48]), b.leaf(&[]));
        let shifted = b.add(&x, &one);
        let (upper, lower) = (b.rows(&shifted, 0, 32), b.rows(&shifted, 32, 64));
        let product = b.multiply(&upper, &lower);
        let sorted = b.call("sort", &lower, 1);
        b.want(&[&product, &sorted[0]]);
    });
    let over = sample("over", |b| {
        let (x, one) = (b.leaf(&[512, 1024]), b.leaf(&[]));
        let sorted = b.call("sort", &x, 1);
        let shifted = b.add(&sorted[0], &one);
        let y = b.exp(&shifted);
        b.want(&[&y]);
    });
    let several = sample("several", |b| {
        let x = b.leaf(&[16, 16]);
        let e = b.exp(&x);
        let outs = b.call("qr", &e, 2);
        let product = b.dot(&outs[0], &outs[1]);
        b.want(&[&product, &outs[1]]);
    });
    vec![maps, region, places, epilogue, network, views, over, several]
}
