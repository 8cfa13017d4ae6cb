//! `compile`: traces a function once, plans its graph once, and runs the plan at every call.
//!
//! A call with values is one node, whose evaluation binds the inputs to an existing plan: nothing is traced, listed or
//! looked up. A call with arrays that another transform traces inlines the graph, as if the function had run, so that
//! every transform sees the operations themselves.

use crate::ad::or_zeros;
use crate::array::{Array, Aval};
use crate::buffer::Data;
use crate::error::{Error, Result};
use crate::eval::eval;
use crate::ops::basic::ALIAS;
use crate::plan::{self, Prepared};
use crate::primitive::{
    Avals, Batch, Derivative, MaybeArrays, Op, Param, Params, Primitive, Structured, Values,
};
use crate::profile::{self, EventKind};
use crate::random::{self, Draw, Recording};
use crate::shape::{ShapeText, Strides};
use crate::trace::{TraceGuard, Tracing};
use crate::transforms::flat::{jvp_flat, vmap_flat};
use crate::transforms::subgraph::Subgraph;
use crate::transforms::vmap::Output;
use crate::tree::{Structure, Tree};
use smallvec::smallvec;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

/// The most graphs that one function of [`compile`] keeps, and the most plans that one graph keeps for other layouts of
/// its inputs.
const MAX_GRAPHS: usize = 64;
const MAX_LAYOUTS: usize = 8;

/// A function traced for arrays of certain shapes and types; [`compile_flat`] makes it.
pub struct Compiled {
    graph: Arc<Graph>,
    /// The draws from the random generator, which are further inputs.
    draws: Vec<Draw>,
    /// Whether the last output is the state that the function gives the generator.
    sets_state: bool,
    closed: bool,
}

/// Runs `f` once on abstract arrays of these shapes and types and keeps its graph.
///
/// Arrays that `f` captures are constants. Random numbers drawn without a key are drawn anew at each call, from the
/// state of the calling thread, exactly as if `f` ran again.
///
/// ```
/// use covector_core::{Array, transforms::compile_flat};
/// let x = Array::new([1.0f32, 2.0]);
/// let f = compile_flat(&[x.aval().clone()], |xs| Ok(vec![(&xs[0] * 2.0).sum()])).unwrap();
/// let y = f.call(&[x]).unwrap();
/// assert_eq!(y[0].item::<f32>(), 6.0);
/// ```
///
/// # Errors
/// The errors of `f`; [`Error::NoValue`] when `f` reads the value of an argument.
pub fn compile_flat(avals: &[Aval], f: impl FnOnce(&[Array]) -> Result<Vec<Array>>) -> Result<Compiled> {
    let tracing_time = profile::span(EventKind::Trace, "trace for compile");
    let guard = TraceGuard::new();
    let mut leaves: Vec<Array> =
        avals.iter().map(|aval| Array::placeholder(aval.clone(), Some(guard.set.clone()))).collect();
    let tracing = Tracing::enter();
    let recording = Recording::start(guard.set.clone());
    let mut outputs = f(&leaves)?;
    let (drawn, state) = recording.finish();
    let sets_state = state.is_some();
    outputs.extend(state);
    let draws = drawn.iter().map(|d| d.0).collect();
    leaves.extend(drawn.into_iter().map(|d| d.1));
    let graph = Subgraph::capture(&guard, &outputs, &leaves)?;
    drop(tracing);
    drop(tracing_time);
    let constants = graph.constants();
    let closed = !constants.iter().any(Array::is_tracer);
    if closed {
        eval(&constants)?;
    }
    let graph = Arc::new(Graph { graph, prepared: Mutex::default() });
    Ok(Compiled { graph, draws, sets_state, closed })
}

impl Compiled {
    /// Whether the graph uses no array of an enclosing transform. A graph that does is valid for this run of that
    /// transform only, and must not be kept.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The outputs for arrays of the shapes and types that the function was traced for.
    ///
    /// # Errors
    /// When the arrays are not of these shapes and types.
    pub fn call(&self, inputs: &[Array]) -> Result<Vec<Array>> {
        let expected = &self.graph.graph.inputs()[..self.graph.graph.inputs().len() - self.draws.len()];
        check("compile", expected, inputs)?;
        let mut all = Vec::with_capacity(inputs.len() + self.draws.len());
        all.extend_from_slice(inputs);
        for draw in &self.draws {
            all.push(draw.again()?);
        }
        let mut outs = if !self.closed || all.iter().any(Array::is_tracer) {
            self.graph.graph.run(&all)?
        } else {
            apart(self.checked(all))
        };
        if self.sets_state
            && let Some(state) = outs.pop()
        {
            random::set_state(&state)?;
        }
        Ok(outs)
    }

    /// A call as a node of its own, also on tracers, where [`Compiled::call`] would inline the graph.
    pub(crate) fn node(&self, inputs: Vec<Array>) -> Result<Vec<Array>> {
        check("compiled", self.graph.graph.inputs(), &inputs)?;
        Ok(self.checked(inputs))
    }

    /// [`Compiled::node`] for checked inputs.
    fn checked(&self, inputs: Vec<Array>) -> Vec<Array> {
        let avals: Avals = self.graph.graph.outputs().iter().map(|x| x.aval().clone()).collect();
        let n = avals.len() as u32;
        if n == 0 {
            return Vec::new();
        }
        let call = CompiledCall { graph: self.graph.clone() };
        let first = Array::build(call.into(), inputs.into(), avals, None);
        (0..n).map(|index| Array { node: first.node.clone(), index }).collect()
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let avals = |xs: &[Array]| xs.iter().map(|x| x.aval().clone()).collect::<Vec<_>>();
        f.debug_struct("Compiled")
            .field("inputs", &avals(self.graph.graph.inputs()))
            .field("outputs", &avals(self.graph.graph.outputs()))
            .finish_non_exhaustive()
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        plan::forget(self.graph.identity());
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        plan::forgotten(self.identity());
    }
}

/// The same arrays, each with a node of its own, so that keeping one does not keep the values of the others.
fn apart(outs: Vec<Array>) -> Vec<Array> {
    if outs.len() < 2 {
        return outs;
    }
    let alone = |x: Array| {
        let aval = x.aval().clone();
        Array::build(Op::Static(&ALIAS), [x].into_iter().collect(), smallvec![aval], None)
    };
    outs.into_iter().map(alone).collect()
}

fn check(op: &'static str, expected: &[Array], got: &[Array]) -> Result<()> {
    if expected.len() != got.len() {
        return Err(Error::value(
            op,
            format!("the function was traced for {} arrays, but {} were given", expected.len(), got.len()),
        ));
    }
    match expected.iter().zip(got).position(|(e, g)| e.aval() != g.aval()) {
        None => Ok(()),
        Some(i) => Err(Error::shape(
            op,
            format!(
                "array {i} is {} {}, but the function was traced for {} {}; trace it again for other arrays",
                got[i].dtype(),
                ShapeText(got[i].shape()),
                expected[i].dtype(),
                ShapeText(expected[i].shape())
            ),
        )),
    }
}

/// The strides of each input, `None` where it is row-major.
type Layouts = Vec<Option<Strides>>;

struct Graph {
    graph: Subgraph,
    /// The oldest first.
    prepared: Mutex<Vec<(Layouts, Arc<Prepared>)>>,
}

impl Graph {
    fn identity(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    fn prepare(&self, inputs: &[Data]) -> Result<Arc<Prepared>> {
        let fits = |layouts: &Layouts| {
            layouts.iter().zip(inputs).all(|(layout, x)| match layout {
                None => x.view().is_row_major(),
                Some(strides) => x.strides() == &strides[..] && !x.view().is_row_major(),
            })
        };
        {
            let prepared = self.prepared.lock().unwrap_or_else(|e| e.into_inner());
            if let Some((_, found)) = prepared.iter().rev().find(|(layouts, _)| fits(layouts)) {
                return Ok(found.clone());
            }
        }
        let made = Arc::new(Prepared::new(self.graph.inputs(), inputs, self.graph.outputs())?);
        let layouts = inputs
            .iter()
            .map(|x| (!x.view().is_row_major()).then(|| Strides::from_slice(x.strides())))
            .collect();
        let mut prepared = self.prepared.lock().unwrap_or_else(|e| e.into_inner());
        if prepared.len() == MAX_LAYOUTS {
            prepared.remove(0);
        }
        prepared.push((layouts, made.clone()));
        Ok(made)
    }
}

/// A call of a compiled graph on values.
struct CompiledCall {
    graph: Arc<Graph>,
}

impl Primitive for CompiledCall {
    fn name(&self) -> &'static str {
        "compiled"
    }

    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        check("compiled", self.graph.graph.inputs(), inputs)?;
        Ok(self.graph.graph.outputs().iter().map(|x| x.aval().clone()).collect())
    }

    fn derivative(&self) -> Derivative<'_> {
        Derivative::Structured(self)
    }

    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        let axes: Vec<Option<isize>> = batch.batched.iter().map(|b| b.then_some(0)).collect();
        let outs = vmap_flat(batch.inputs, &axes, |xs| self.graph.graph.run(xs))?;
        let axes = vec![Some(0); outs.len()];
        outs.at_axes(&axes)
    }

    fn eval(&self, inputs: Values, _outs: &[Aval]) -> Result<Values> {
        self.graph.prepare(&inputs)?.run(inputs)
    }

    fn is_planned(&self) -> bool {
        true
    }

    fn params(&self, params: &mut Params<'_>) {
        params.put("graph", Param::Identity(self.graph.identity()));
    }
}

impl Structured for CompiledCall {
    fn jvp(&self, tangents: &[Option<Array>], x: &[Array], _y: &[Array]) -> Result<MaybeArrays> {
        let ts = or_zeros(tangents.to_vec(), x);
        let (_, ts) = jvp_flat(x, &ts, |xs| self.graph.graph.run(xs))?;
        Ok(ts.into_iter().map(Some).collect())
    }

    /// The operations inside accumulate, by their own rules.
    fn accumulates(&self) -> bool {
        false
    }
}

/// A function that traces `f` at the first call with arrays of given shapes and types, and runs a plan at later calls.
///
/// `f` is traced again for arguments with arrays of other shapes or types, and for arguments of another
/// [structure](Tree::structure): another variant, key, length, or plain value (a `bool` or an `f32` in a tree, a field
/// with `#[tree(skip)]`). The 64 most recent traces are kept.
///
/// The result equals that of `f`, bit for bit, and the function can itself be transformed. Arrays that `f` captures are
/// constants. Random numbers without a key are drawn anew at each call. Other side effects happen only when `f` is
/// traced.
///
/// ```
/// use covector_core::{Array, transforms::{compile, grad}};
/// let f = compile(|x: &Array| (x * x).sum());
/// let x = Array::new([1.0f32, 2.0]);
/// assert_eq!(f(&x).unwrap().item::<f32>(), 5.0);
/// assert_eq!(grad(f)(&x).unwrap().to_vec::<f32>(), [2.0, 4.0]);
/// ```
///
/// # Errors
/// The returned function fails when `f` does, and with [`Error::NoValue`] when `f` reads the value of an argument.
pub fn compile<P: Tree, R: Output>(f: impl Fn(&P) -> R) -> impl Fn(&P) -> Result<R::Tree> {
    let cache: Mutex<VecDeque<Arc<Entry<R::Tree>>>> = Mutex::default();
    move |args: &P| {
        let leaves = args.leaves();
        let fits = |e: &&Arc<Entry<R::Tree>>| {
            e.avals.iter().eq(leaves.iter().map(Array::aval)) && e.structure.fits(args)
        };
        let found = cache.lock().unwrap_or_else(|e| e.into_inner()).iter().find(fits).cloned();
        let entry = match found {
            Some(entry) => entry,
            None => {
                let avals: Vec<Aval> = leaves.iter().map(|x| x.aval().clone()).collect();
                let mut out = None;
                let compiled = compile_flat(&avals, |xs| {
                    let tree = f(&args.with_any_leaves(xs)?).into_tree()?;
                    let leaves = tree.leaves();
                    out = Some(tree);
                    Ok(leaves)
                })?;
                let out = out.expect("f ran");
                let entry =
                    Arc::new(Entry { structure: args.structure(), avals, compiled, out: Mutex::new(out) });
                if entry.compiled.is_closed() {
                    let mut cache = cache.lock().unwrap_or_else(|e| e.into_inner());
                    if cache.len() == MAX_GRAPHS {
                        cache.pop_front();
                    }
                    cache.push_back(entry.clone());
                }
                entry
            }
        };
        let outs = entry.compiled.call(&leaves)?;
        let out = entry.out.lock().unwrap_or_else(|e| e.into_inner());
        out.with_any_leaves(&outs)
    }
}

/// One trace of a compiled function.
struct Entry<T> {
    structure: Structure,
    avals: Vec<Aval>,
    compiled: Compiled,
    /// The structure of the result.
    out: Mutex<T>,
}
