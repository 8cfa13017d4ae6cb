//! The primitive: the operation of a graph node, and the families in which its derivative is written.

use crate::array::{Array, Aval};
use crate::error::{Error, Result};
use crate::shape::Strides;
pub use covector_kernels::program::{Code, TileFn};
pub use covector_runtime::aval::{Avals, Values};
use std::any::{Any, TypeId};
use std::sync::Arc;

/// One optional array per input or output: `None` is a structural zero.
pub type MaybeArrays = Vec<Option<Array>>;

/// An operation of the graph, with everything that transforms, the planner and the evaluator need.
///
/// Programs may implement it and apply it with [`Array::from_primitive`]. A primitive is told from others by its type,
/// its name and its [`params`](Primitive::params); the name alone decides nothing.
///
/// ```
/// use covector_core::primitive::{Avals, Batch, Derivative, Linear, Primitive, Values};
/// use covector_core::{Array, Aval, Result, buffer::Data, transforms::grad};
/// use std::sync::Arc;
///
/// /// `factor · x`, elementwise.
/// struct Scale(f64);
///
/// impl Primitive for Scale {
///     fn name(&self) -> &'static str {
///         "scale"
///     }
///     fn infer(&self, inputs: &[Array]) -> Result<Avals> {
///         Ok(Avals::from_iter([inputs[0].aval().clone()]))
///     }
///     fn derivative(&self) -> Derivative<'_> {
///         Derivative::Linear(self)
///     }
///     fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
///         batch.again(batch.inputs) // The batch is one more axis, and each element is by itself.
///     }
///     fn eval(&self, inputs: Values, _outs: &[Aval]) -> Result<Values> {
///         let x = Array::from_data(inputs[0].clone()).to_vec::<f32>();
///         let y: Vec<f32> = x.iter().map(|x| x * self.0 as f32).collect();
///         Ok(Values::from_iter([Data::from_slice(&y, inputs[0].shape())?]))
///     }
/// }
///
/// impl Linear for Scale {
///     fn is_linear_in(&self, _input: usize) -> bool {
///         true
///     }
///     fn transpose(&self, _input: usize, cts: &[Option<Array>], _x: &[Array]) -> Result<Option<Array>> {
///         cts[0].as_ref().map(|ct| scale(self.0, ct)).transpose()
///     }
/// }
///
/// fn scale(factor: f64, x: &Array) -> Result<Array> {
///     Ok(Array::from_primitive(Arc::new(Scale(factor)), &[x.clone()])?.remove(0))
/// }
///
/// let x = Array::new([1.0f32, 2.0]);
/// assert_eq!(scale(3.0, &x)?.to_vec::<f32>(), [3.0, 6.0]);
/// let slope = grad(|x: &Array| scale(3.0, x).map(|y| y.sum()))(&x)?;
/// assert_eq!(slope.to_vec::<f32>(), [3.0, 3.0]);
/// # Ok::<(), covector_core::Error>(())
/// ```
pub trait Primitive: Any + Send + Sync {
    /// The name in error messages, printed graphs and the catalogue.
    fn name(&self) -> &'static str;

    /// The abstract values of the outputs, or why these inputs cannot be.
    ///
    /// # Errors
    /// Shapes or element types that the primitive does not take.
    fn infer(&self, inputs: &[Array]) -> Result<Avals>;

    /// The derivative, in the one family it is written in.
    fn derivative(&self) -> Derivative<'_>;

    /// The batching rule: all outputs for a whole batch, each with the batch as axis 0.
    ///
    /// # Errors
    /// What the ops it is written in refuse.
    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>>;

    /// Computes the outputs. Inputs come by value: one without another owner may be written over. Only for
    /// primitives that [`Primitive::lower`] to a call, a view, a reduction or a dot.
    ///
    /// # Errors
    /// Errors that depend on the values: an index out of bounds; [`Error::Memory`].
    fn eval(&self, _inputs: Values, _outs: &[Aval]) -> Result<Values> {
        Err(Error::value(
            self.name(),
            "the primitive has neither an evaluation nor a form that the planner knows",
        ))
    }

    /// The form of the primitive in the planner's graph.
    fn lower(&self, _inputs: &[Array]) -> Lower<'_> {
        Lower::Call
    }

    /// Whether [`Primitive::eval`] is a plan of its own: evaluated by itself it needs no other, and its outputs may have
    /// any layout in memory.
    fn is_planned(&self) -> bool {
        false
    }

    /// Names and values of the static parameters: everything besides the inputs that the result depends on. They are
    /// printed, and two primitives of one type, name and parameters share a plan.
    ///
    /// A primitive that says nothing here is told from all others by its address, so that no two with fields of their
    /// own are taken for each other; their plans are shared only where the primitive itself is.
    fn params(&self, params: &mut Params<'_>) {
        if size_of_val(self) > 0 {
            params.put("self", Param::Identity(std::ptr::from_ref(self).cast::<()>() as usize));
        }
    }

    /// Arithmetic operations on elements in one evaluation, for profiles, from the shapes of the inputs. Moving,
    /// sorting and drawing numbers counts none.
    fn flops(&self, _inputs: &[&[usize]], _outs: &[Aval]) -> u64 {
        0
    }
}

/// The form of a primitive in the planner's graph. The planner decides by this type, never by a
/// primitive's name.
pub enum Lower<'a> {
    /// An opaque call of [`Primitive::eval`].
    Call,
    /// Output `k` is input `first + k`, unchanged.
    Identity {
        /// The input that output 0 is.
        first: usize,
    },
    /// The output is a view of input 0's memory, if the layout allows; a call otherwise.
    View(&'a dyn View),
    /// One output, elementwise over broadcast inputs, by a tile function. Half-precision inputs and outputs are
    /// converted around it: it works in `float32`.
    Map {
        /// Computes one tile.
        tile: TileFn,
        /// The instruction that the tile function is, where the processor has one for it.
        code: Option<Code>,
    },
    /// A reduction of input 0 over `axes`, which stay with extent 1: a call, or a stage of a region.
    Reduce {
        /// What is computed.
        kind: covector_kernels::Reduce,
        /// The reduced axes, sorted.
        axes: &'a [usize],
    },
    /// The matrix product `[…, m, k] × […, k, n]` of inputs 0 and 1: a call, or a stage of a region.
    Dot,
    /// The inputs side by side along an axis. The planner has their values written to their places; there is no
    /// [`Primitive::eval`].
    Concatenate {
        /// The axis.
        axis: usize,
    },
}

/// A primitive whose output is the input's memory seen in another way.
pub trait View {
    /// The shift in elements and the strides with which the input's memory, of the given shape and strides, is
    /// the output; `None` when it has to be copied.
    fn view(&self, shape: &[usize], strides: &[isize], out: &[usize]) -> Option<(isize, Strides)>;
}

/// The argument of a batching rule: inputs of which at least one has a batch, always as its axis 0.
pub struct Batch<'a> {
    /// The inputs.
    pub inputs: &'a [Array],
    /// Which of them have the batch as axis 0.
    pub batched: &'a [bool],
    /// The batch's extent.
    pub size: usize,
    pub(crate) op: &'a Op,
}

impl Batch<'_> {
    /// The same primitive on other inputs: the rule of primitives for which a batch is one more axis.
    ///
    /// # Errors
    /// What the primitive's `infer` refuses.
    pub fn again(&self, inputs: &[Array]) -> Result<Vec<Array>> {
        Array::apply_multi(self.op.clone(), inputs.into())
    }
}

/// Receives a primitive's static parameters.
pub struct Params<'a> {
    sink: &'a mut dyn FnMut(&'static str, Param<'_>),
}

/// A static parameter.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Param<'a> {
    /// A number or a truth value.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A list of extents or axes.
    Ints(&'a [usize]),
    /// A list of signed numbers.
    Signed(&'a [isize]),
    /// A word.
    Text(&'a str),
    /// Something known only by its identity, such as a user's function.
    Identity(usize),
}

impl<'a> Params<'a> {
    /// Receives parameters with a closure.
    pub fn new(sink: &'a mut dyn FnMut(&'static str, Param<'_>)) -> Self {
        Self { sink }
    }

    /// Tells of one parameter.
    pub fn put(&mut self, name: &'static str, value: Param<'_>) {
        (self.sink)(name, value);
    }
}

/// The primitive's name and parameters as a line of text: `reduce_sum axes=[0]`.
pub fn describe(primitive: &dyn Primitive) -> String {
    use std::fmt::Write;
    let mut text = primitive.name().to_owned();
    let mut sink = |name: &'static str, value: Param<'_>| {
        // Writing to a String cannot fail.
        let _ = match value {
            Param::Int(v) => write!(text, " {name}={v}"),
            Param::Float(v) => write!(text, " {name}={v}"),
            Param::Ints(v) => write!(text, " {name}={v:?}"),
            Param::Signed(v) => write!(text, " {name}={v:?}"),
            Param::Text(v) => write!(text, " {name}={v}"),
            Param::Identity(v) => write!(text, " {name}=#{v:x}"),
        };
    };
    primitive.params(&mut Params::new(&mut sink));
    text
}

/// A derivative, written once; `rules` makes forward and reverse mode from it.
pub enum Derivative<'a> {
    /// One output whose element depends on the same element of each input (inputs may broadcast).
    Elementwise(&'a dyn Elementwise),
    /// Linear in some inputs jointly: `f(a + b) = f(a) + f(b)`.
    Linear(&'a dyn Linear),
    /// Linear in input 0 and in input 1 separately.
    Bilinear(&'a dyn Bilinear),
    /// Anything whose tangent map can be written in public ops.
    Structured(&'a dyn Structured),
    /// Both directions written by hand.
    Handwritten(&'a dyn Handwritten),
    /// Piecewise constant or integer-valued: the derivative is zero wherever it exists, by convention silent.
    Zero,
    /// No derivative; the reason and the way out.
    None(&'static str),
}

/// The rule of an elementwise primitive.
pub trait Elementwise {
    /// `t · ∂y/∂xᵢ` as public ops, elementwise; `None` where the partial derivative is zero everywhere.
    ///
    /// `t` is a tangent of input `i` or a cotangent of the output: an elementwise Jacobian is diagonal, so one
    /// expression serves both directions.
    ///
    /// # Errors
    /// What the ops it is written in refuse.
    fn partial(&self, i: usize, t: &Array, x: &[Array], y: &Array) -> Result<Option<Array>>;
}

/// The rule of a primitive that is linear in some of its inputs jointly.
pub trait Linear: Primitive {
    /// Whether it is linear in input `i`; the others (indices, conditions) carry no derivative.
    fn is_linear_in(&self, i: usize) -> bool;

    /// The cotangent of input `i`: the transpose of the map from input `i` to the outputs, applied to the
    /// outputs' cotangents (at least one is there).
    ///
    /// # Errors
    /// What the ops it is written in refuse.
    fn transpose(&self, i: usize, cotangents: &[Option<Array>], x: &[Array]) -> Result<Option<Array>>;
}

/// The rule of a product: linear in input 0 for a fixed input 1, and the other way round.
pub trait Bilinear: Primitive {
    /// The cotangent of input `i` (0 or 1), the other input held fixed.
    ///
    /// # Errors
    /// What the ops it is written in refuse.
    fn transpose(&self, i: usize, cotangent: &Array, x: &[Array]) -> Result<Array>;
}

/// The rule of a primitive whose tangent map is written in public ops; the pullback is its transpose.
pub trait Structured {
    /// The outputs' tangents. At least one input tangent is there; the result must be linear in them.
    ///
    /// # Errors
    /// What the ops it is written in refuse.
    fn jvp(&self, tangents: &[Option<Array>], x: &[Array], y: &[Array]) -> Result<MaybeArrays>;

    /// Whether the rule counts, adds up or multiplies many numbers. Then tangents, inputs and outputs of half precision
    /// reach it in `float32`, and the tangents that it gives are rounded once.
    fn accumulates(&self) -> bool {
        true
    }
}

/// Both directions by hand, for speed or because the user said so.
pub trait Handwritten {
    /// The outputs' tangents.
    ///
    /// # Errors
    /// What the ops it is written in refuse.
    fn jvp(&self, tangents: &[Option<Array>], x: &[Array], y: &[Array]) -> Result<MaybeArrays>;

    /// The inputs' cotangents, where `wanted`.
    ///
    /// # Errors
    /// What the ops it is written in refuse.
    fn vjp(
        &self,
        cotangents: &[Option<Array>],
        x: &[Array],
        y: &[Array],
        wanted: &[bool],
    ) -> Result<MaybeArrays>;
}

/// A primitive as a node holds it: table rows are statics and cost nothing to hold.
#[derive(Clone)]
pub(crate) enum Op {
    Static(&'static dyn Primitive),
    Shared(Arc<dyn Primitive>),
}

impl Op {
    /// Whether the primitive is a `P`. Primitives are recognised by their types, never by their names, which are not
    /// unique.
    pub(crate) fn is<P: Primitive>(&self) -> bool {
        (&**self as &dyn Any).is::<P>()
    }

    /// The primitive, if it is a `P`.
    pub(crate) fn get<P: Primitive>(&self) -> Option<&P> {
        (&**self as &dyn Any).downcast_ref()
    }

    /// The primitive's type.
    pub(crate) fn type_id(&self) -> TypeId {
        (&**self as &dyn Any).type_id()
    }
}

impl std::ops::Deref for Op {
    type Target = dyn Primitive;
    fn deref(&self) -> &Self::Target {
        match self {
            Op::Static(p) => *p,
            Op::Shared(p) => &**p,
        }
    }
}

impl<P: Primitive> From<P> for Op {
    fn from(primitive: P) -> Self {
        Op::Shared(Arc::new(primitive))
    }
}

impl From<&'static dyn Primitive> for Op {
    fn from(primitive: &'static dyn Primitive) -> Self {
        Op::Static(primitive)
    }
}
