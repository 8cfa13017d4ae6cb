//! Two trees share a trace if and only if they are equal apart from the values of their arrays: a change of a static part
//! never runs the old trace, and a change of array values alone always does.

use covector::prelude::*;
use covector::transforms::compile;
use covector::tree::Structure;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

/// Compiles `f` once and calls it on all the trees, forwards, backwards and with other values in their arrays. Every
/// result equals that of `f`, and the number of traces is the number of different structures.
#[track_caller]
fn guard<P: Tree>(trees: &[P], f: impl Fn(&P) -> Array) {
    let traces = Cell::new(0);
    let compiled = compile(|p: &P| {
        traces.set(traces.get() + 1);
        f(p)
    });
    let mut structures: Vec<Structure> = Vec::new();
    let mut check = |p: &P| {
        let (got, want) = (compiled(p).unwrap().to_vec::<f64>(), f(p).to_vec::<f64>());
        let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&got), bits(&want), "the trace of another tree was run for {:?}", p.structure());
        if !structures.contains(&p.structure()) {
            structures.push(p.structure());
        }
        assert_eq!(traces.get(), structures.len(), "traces for {:?}", p.structure());
    };
    trees.iter().for_each(&mut check);
    trees.iter().rev().for_each(&mut check);
    for p in trees {
        check(&p.map(|x| x * 3.0 + 0.25));
    }
    assert_eq!(structures.len(), trees.len(), "each tree has a structure of its own");
    for (i, structure) in structures.iter().enumerate() {
        for (k, p) in trees.iter().enumerate() {
            assert_eq!(structure.fits(p), i == k, "{structure:?} against {:?}", p.structure());
        }
    }
}

fn x() -> Array {
    Array::new([1.0f64, -2.0])
}

fn scalar(v: f64) -> Array {
    Array::scalar(v)
}

#[test]
fn variants_with_the_same_arrays() {
    #[derive(Tree, Clone)]
    enum E {
        A(Array),
        B(Array),
        C { x: Array },
    }
    guard(&[E::A(x()), E::B(x()), E::C { x: x() }], |e| match e {
        E::A(x) => x * 2.0,
        E::B(x) => x * 100.0,
        E::C { x } => x + 1.0,
    });
}

#[test]
fn layers_without_arrays() {
    #[derive(Tree, Clone, Copy)]
    enum Act {
        Relu,
        Tanh,
    }
    let net = |a, b| (x(), vec![a, b]);
    guard(
        &[
            net(Act::Relu, Act::Tanh),
            net(Act::Tanh, Act::Relu),
            net(Act::Relu, Act::Relu),
            net(Act::Tanh, Act::Tanh),
        ],
        |(x, layers)| {
            layers.iter().fold(x.clone(), |x, layer| match layer {
                Act::Relu => ops::maximum(&x, &scalar(0.0)) + 0.5,
                Act::Tanh => x.tanh(),
            })
        },
    );
}

#[test]
fn plain_values_of_all_kinds() {
    #[derive(Tree, Clone)]
    struct S {
        x: Array,
        k: usize,
    }
    guard(&[2, 5].map(|k| S { x: x(), k }), |s| &s.x * (s.k as f64));
    guard(&[(x(), true), (x(), false)], |(x, up)| if *up { x + 1.0 } else { x - 1.0 });
    guard(&[-1i64, 1, i64::MIN].map(|k| (x(), k)), |(x, k)| x * (*k as f64));
    guard(&['a', 'b'].map(|c| (x(), c)), |(x, c)| x * f64::from(u32::from(*c)));
    guard(&["relu", "tanh"].map(|s| (x(), s.to_owned())), |(x, s)| {
        x + s.len() as f64 + f64::from(s.as_bytes()[0])
    });
    guard(&["relu", "tanh"].map(|s| (x(), s)), |(x, s)| x + f64::from(s.as_bytes()[0]));
    // By their bits: −0 is not 0, and NaN is NaN.
    guard(&[0.0, -0.0, 1.5, f64::NAN, f64::INFINITY].map(|k| (x(), k)), |(x, k)| x + 1.0 / *k);
    guard(&[0.0f32, -0.0, f32::NAN].map(|k| (x(), k)), |(x, k)| x + 1.0 / f64::from(*k));
}

#[test]
fn lengths_keys_and_options() {
    let sum = |xs: &[Array]| xs.iter().fold(scalar(0.5), |a, x| a * 2.0 + x.sum());
    guard(&[vec![], vec![x()], vec![x(), x()]], |xs| sum(xs));
    guard(&[None, Some(x())], |x| x.as_ref().map_or(scalar(7.0), |x| x.sum()));
    guard(
        &[(vec![x()], vec![]), (vec![], vec![x()]), (vec![x(), x()], vec![]), (vec![x()], vec![x()])],
        |(a, b)| sum(a) * 10.0 + sum(b),
    );
    guard(&[vec![None, Some(x())], vec![Some(x()), None]], |xs| {
        xs.iter().fold(scalar(1.0), |a, x| a * 3.0 + x.as_ref().map_or(scalar(0.0), |x| x.sum()))
    });
    let keyed = |key: &str| BTreeMap::from([(key.to_owned(), x()), ("z".to_owned(), x())]);
    guard(&["a", "b"].map(keyed), |m| m.get("a").map_or(scalar(0.0), |x| x * 2.0));
    let keyed = |key: i32| HashMap::<i32, Array>::from([(key, x()), (0, x())]);
    guard(&[1, 2, -1].map(keyed), |m| &m[&0] * f64::from(m.keys().sum::<i32>()));
    // Different keys with the same text are different.
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
    struct Quiet(u8);
    impl std::fmt::Display for Quiet {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("quiet")
        }
    }
    guard(&[1, 2].map(|k| BTreeMap::from([(Quiet(k), x())])), |m| {
        m.iter().fold(scalar(0.0), |a, (k, x)| a + x * f64::from(k.0))
    });
}

#[test]
fn static_fields_of_all_kinds() {
    #[derive(Clone, Copy, PartialEq)]
    enum Mode {
        Train,
        Test,
    }
    #[derive(Clone, PartialEq)]
    struct Config {
        mode: Mode,
        rate: f64,
        sizes: Vec<usize>,
    }
    #[derive(Tree, Clone)]
    struct Model<'a> {
        x: Array,
        #[tree(skip)]
        function: fn(f64) -> f64,
        #[tree(skip)]
        config: Config,
        #[tree(skip)]
        rate: f64,
        #[tree(skip)]
        name: &'a str,
        #[tree(skip)]
        sizes: &'a [usize],
        #[tree(skip)]
        shared: Arc<Config>,
        #[tree(skip)]
        closure: Arc<dyn Fn(f64) -> f64 + Send + Sync>,
        #[tree(skip)]
        table: Array,
        #[tree(skip)]
        pair: (Option<f32>, [u8; 2]),
        #[tree(skip)]
        bits: Rc<str>,
    }
    let name = String::from("net");
    let config = Config { mode: Mode::Train, rate: 0.5, sizes: vec![1, 2] };
    let base = Model {
        x: x(),
        function: f64::sin,
        config: config.clone(),
        rate: 0.0,
        name: &name,
        sizes: &[3, 4],
        shared: config.clone().into(),
        closure: Arc::new(|x| x + 1.0),
        table: scalar(2.0),
        pair: (Some(0.0), [1, 2]),
        bits: "ab".into(),
    };
    let trees = [
        base.clone(),
        Model { function: f64::cos, ..base.clone() },
        Model { config: Config { mode: Mode::Test, ..config.clone() }, ..base.clone() },
        Model { config: Config { rate: 0.25, ..config.clone() }, ..base.clone() },
        Model { config: Config { sizes: vec![1, 3], ..config.clone() }, ..base.clone() },
        Model { rate: -0.0, ..base.clone() },
        Model { rate: f64::NAN, ..base.clone() },
        Model { name: "other", ..base.clone() },
        Model { sizes: &[3], ..base.clone() },
        Model { shared: Config { mode: Mode::Test, ..config.clone() }.into(), ..base.clone() },
        Model { closure: Arc::new(|x| x - 1.0), ..base.clone() },
        Model { table: scalar(3.0), ..base.clone() },
        Model { pair: (None, [1, 2]), ..base.clone() },
        Model { pair: (Some(-0.0), [1, 2]), ..base.clone() },
        Model { pair: (Some(0.0), [1, 3]), ..base.clone() },
        Model { bits: "ac".into(), ..base.clone() },
    ];
    let of_config = |c: &Config| {
        c.rate + if c.mode == Mode::Train { 10.0 } else { 20.0 } + c.sizes.iter().sum::<usize>() as f64
    };
    guard(&trees, |m| {
        let numbers = [
            (m.function)(0.75),
            of_config(&m.config),
            1.0 / m.rate,
            m.name.len() as f64,
            m.sizes.iter().sum::<usize>() as f64,
            of_config(&m.shared),
            (m.closure)(1.0),
            m.pair.0.map_or(9.0, |x| 1.0 / f64::from(x)),
            f64::from(m.pair.1[1]),
            f64::from(m.bits.as_bytes()[1]),
        ];
        let rows: Vec<Array> = numbers.iter().map(|n| &m.x * *n).collect();
        ops::stack(&rows, 0) * &m.table
    });
}

#[test]
fn a_function_of_arrays_is_compared_by_the_function() {
    #[derive(Tree, Clone)]
    struct Layer {
        w: Array,
        #[tree(skip)]
        activation: fn(&Array) -> Array,
    }
    let layer = |activation| Layer { w: x(), activation };
    guard(&[layer(ops::sin), layer(ops::cos), layer(|x| x * 2.0)], |l| (l.activation)(&l.w));
}

/// A shared value is compared with its value at the time of the trace. The trace does not hold a reference to it.
#[test]
fn a_shared_value_may_change_in_place() {
    #[derive(Tree)]
    struct S {
        x: Array,
        #[tree(skip)]
        sizes: Arc<Vec<usize>>,
    }
    let f = compile(|s: &S| &s.x + s.sizes[0] as f64);
    let mut s = S { x: x(), sizes: vec![2].into() };
    assert_eq!(f(&s).unwrap().to_vec::<f64>(), [3.0, 0.0]);
    Arc::get_mut(&mut s.sizes).expect("only one handle")[0] = 5;
    assert_eq!(f(&s).unwrap().to_vec::<f64>(), [6.0, 3.0]);
}

#[test]
fn an_ignored_field_is_no_part_of_the_structure() {
    #[derive(Tree, Clone)]
    struct S {
        x: Array,
        #[tree(ignore)]
        calls: Rc<Cell<u32>>,
    }
    let (a, b) = (S { x: x(), calls: Rc::default() }, S { x: x(), calls: Rc::new(Cell::new(5)) });
    assert_eq!(a.structure(), b.structure());
    let f = compile(|s: &S| {
        s.calls.set(s.calls.get() + 1);
        s.x.sum()
    });
    f(&a).unwrap();
    f(&b).unwrap();
    assert_eq!((a.calls.get(), b.calls.get()), (1, 5));
}

#[test]
fn a_kept_part_is_a_part() {
    #[derive(Tree, Clone)]
    struct S {
        #[tree(kept)]
        inner: (Array, usize),
    }
    guard(&[1, 2].map(|k| S { inner: (x(), k) }), |s| &s.inner.0 * (s.inner.1 as f64));
    guard(&[1, 2].map(|k| Kept((x(), k))), |s| &s.0.0 * (s.0.1 as f64));
    assert_ne!(Structure::of(&(x(),)), Structure::of(&(Kept(x()),)));
}

/// The static parts of a result come from the trace that computed it.
#[test]
fn the_static_parts_of_a_result_are_those_of_its_trace() {
    let f = compile(|(x, k): &(Array, usize)| Ok((x * (*k as f64), *k, vec![format!("{k}"); *k])));
    for k in [1, 3, 1, 2, 3] {
        let (y, n, names) = f(&(x(), k)).unwrap();
        assert_eq!(y.to_vec::<f64>(), [k as f64, -2.0 * k as f64]);
        assert_eq!((n, names), (k, vec![k.to_string(); k]));
    }
}

#[test]
fn a_compiled_function_under_transforms_keeps_its_traces_apart() {
    let f = compile(|(x, k): &(Array, f64)| (x * x * *k).sum());
    for k in [2.0, 5.0, 2.0] {
        let (g, _) = grad(&f)(&(x(), k)).unwrap();
        assert_eq!(g.to_vec::<f64>(), [2.0 * k, -4.0 * k]);
        let (ys, _) = (vmap(|x: &Array| f(&(x.clone(), k)))(&ops::stack(&[x(), x()], 0)).unwrap(), ());
        assert_eq!(ys.to_vec::<f64>(), [5.0 * k; 2]);
    }
}

mod random {
    use super::*;

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Act {
        Relu,
        Tanh,
    }

    /// A tree with every kind of part.
    #[derive(Tree, Clone)]
    enum Node {
        Leaf(Array),
        Same(Array),
        Scaled {
            x: Array,
            #[tree(skip)]
            by: f64,
        },
        List(Vec<Node>),
        Map(BTreeMap<String, Node>),
        Maybe(Option<Box<Node>>),
        Pair(Box<Node>, Box<Node>),
        Kept(#[tree(kept)] Box<Node>),
        Number(f32),
        Text(String),
        Flag(bool),
        Act(#[tree(skip)] Act),
        Function(#[tree(skip)] fn(f64) -> f64),
        Constant(#[tree(skip)] Array),
        Shared(#[tree(skip)] Arc<Vec<i32>>),
        Unit,
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((self.0 >> 33) as usize) % n
        }

        fn array(&mut self) -> Array {
            scalar(self.below(1000) as f64 / 250.0 - 2.0)
        }

        fn node(&mut self, depth: usize) -> Node {
            let kinds = if depth == 0 { 10 } else { 16 };
            let child = |r: &mut Self| Box::new(r.node(depth - 1));
            match self.below(kinds) {
                0 => Node::Leaf(self.array()),
                1 => Node::Same(self.array()),
                2 => Node::Scaled { x: self.array(), by: self.below(9) as f64 },
                3 => Node::Number(self.below(9) as f32),
                4 => Node::Text("abc"[..self.below(4)].to_owned()),
                5 => Node::Flag(self.below(2) == 0),
                6 => Node::Act([Act::Relu, Act::Tanh][self.below(2)]),
                7 => Node::Function([f64::sin as fn(f64) -> f64, f64::cos][self.below(2)]),
                8 => Node::Constant(self.array()),
                9 => Node::Unit,
                10 => Node::Shared(Arc::new((0..self.below(3) as i32).collect())),
                11 => Node::Maybe(if self.below(2) == 0 { None } else { Some(child(self)) }),
                12 => Node::Pair(child(self), child(self)),
                13 => Node::Kept(child(self)),
                14 => {
                    let n = self.below(4);
                    Node::Map((0..n).map(|_| (self.below(5).to_string(), self.node(depth - 1))).collect())
                }
                _ => {
                    let n = self.below(4);
                    Node::List((0..n).map(|_| self.node(depth - 1)).collect())
                }
            }
        }
    }

    /// A number that depends on every part and its position.
    fn digest(node: &Node) -> Array {
        let tagged = |tag: f64, x: Array| x * 0.75 + tag;
        let fold = |tag: f64, parts: Vec<Array>| {
            parts.iter().fold(scalar(tag), |sum, x| sum * 1.25 + ops::sin(x) + 0.125)
        };
        match node {
            Node::Leaf(x) => tagged(0.1, x.clone()),
            Node::Same(x) => tagged(0.2, x.clone()),
            Node::Scaled { x, by } => tagged(0.3, x * (*by + 0.5)),
            Node::List(items) => fold(0.4, items.iter().map(digest).collect()),
            Node::Map(items) => {
                let part = |(k, x): (&String, &Node)| digest(x) + k.parse::<f64>().unwrap_or(0.5) * 0.37;
                fold(0.5, items.iter().map(part).collect())
            }
            Node::Maybe(x) => fold(0.6, x.iter().map(|x| digest(x)).collect()),
            Node::Pair(a, b) => fold(0.7, vec![digest(a), digest(b)]),
            Node::Kept(x) => fold(0.8, vec![digest(x)]),
            Node::Number(n) => tagged(0.9, scalar(f64::from(*n))),
            Node::Text(s) => tagged(1.1, scalar(s.len() as f64)),
            Node::Flag(b) => tagged(1.2, scalar(f64::from(u8::from(*b)))),
            Node::Act(Act::Relu) => tagged(1.3, scalar(0.0)),
            Node::Act(Act::Tanh) => tagged(1.4, scalar(0.0)),
            Node::Function(f) => tagged(1.5, scalar(f(0.6))),
            Node::Constant(x) => tagged(1.6, x.clone()),
            Node::Shared(v) => tagged(1.7, scalar(v.iter().map(|v| f64::from(*v) + 0.3).sum())),
            Node::Unit => scalar(1.8),
        }
    }

    /// All trees that differ from this one in a single static part.
    fn changes(node: &Node) -> Vec<Node> {
        let boxed = |x: &Node| changes(x).into_iter().map(Box::new).collect::<Vec<_>>();
        match node {
            Node::Leaf(x) => vec![Node::Same(x.clone())],
            Node::Same(x) => vec![Node::Leaf(x.clone())],
            Node::Scaled { x, by } => vec![Node::Scaled { x: x.clone(), by: by + 1.0 }],
            Node::List(items) => {
                let mut found = vec![Node::List(items.iter().cloned().chain([Node::Unit]).collect())];
                for (i, item) in items.iter().enumerate() {
                    for changed in changes(item) {
                        let mut items = items.clone();
                        items[i] = changed;
                        found.push(Node::List(items));
                    }
                }
                found
            }
            Node::Map(items) => {
                let mut found = Vec::new();
                for (key, item) in items {
                    for changed in changes(item) {
                        let mut items = items.clone();
                        items.insert(key.clone(), changed);
                        found.push(Node::Map(items));
                    }
                    let mut items = items.clone();
                    items.remove(key);
                    items.insert(format!("1{key}"), item.clone());
                    found.push(Node::Map(items));
                }
                found
            }
            Node::Maybe(None) => vec![Node::Maybe(Some(Box::new(Node::Unit)))],
            Node::Maybe(Some(x)) => {
                boxed(x).into_iter().map(|x| Node::Maybe(Some(x))).chain([Node::Maybe(None)]).collect()
            }
            Node::Pair(a, b) => {
                let first = boxed(a).into_iter().map(|a| Node::Pair(a, b.clone()));
                first.chain(boxed(b).into_iter().map(|b| Node::Pair(a.clone(), b))).collect()
            }
            Node::Kept(x) => {
                boxed(x).into_iter().map(Node::Kept).chain([Node::Maybe(Some(x.clone()))]).collect()
            }
            Node::Number(n) => vec![Node::Number(n + 1.0)],
            Node::Text(s) => vec![Node::Text(format!("{s}x"))],
            Node::Flag(b) => vec![Node::Flag(!b)],
            Node::Act(Act::Relu) => vec![Node::Act(Act::Tanh)],
            Node::Act(Act::Tanh) => vec![Node::Act(Act::Relu)],
            Node::Function(f) => vec![Node::Function(if f(0.0) == 0.0 { f64::cos } else { f64::sin })],
            Node::Constant(x) => vec![Node::Constant(x + 1.0)],
            Node::Shared(v) => vec![Node::Shared(Arc::new([&v[..], &[7]].concat()))],
            Node::Unit => vec![Node::Flag(true)],
        }
    }

    #[test]
    fn a_change_of_one_static_part_never_meets_the_old_trace() {
        let mut random = Random(1);
        let mut changed = 0;
        for _ in 0..300 {
            let tree = Node::List((0..4).map(|_| random.node(3)).collect());
            let mut trees = changes(&tree);
            // A compiled function keeps 64 traces; all trees must fit.
            trees.truncate(40);
            changed += trees.len();
            trees.push(tree);
            guard(&trees, digest);
        }
        assert!(changed > 1500, "{changed} changes are too few to say much");
    }
}
