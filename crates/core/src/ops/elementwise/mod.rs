//! Elementwise operations. One input or two: rows of the tables [`unary`], [`binary`] and [`composite`]. Others are
//! [`choices`] and conversions; [`complex`] has the primitives of complex numbers. This file has what all rows share.

pub(crate) mod binary;
pub(crate) mod choices;
pub(crate) mod complex;
pub(crate) mod composite;
pub(crate) mod unary;

use crate::array::{Array, Aval, Inputs};
use crate::error::{Error, Result};
use crate::ops;
use crate::primitive::{Avals, Batch, Code, Derivative, Elementwise, Lower, Op, Params, Primitive, TileFn};
use crate::shape::{Shape, broadcast_shapes};
use covector_kernels::{Dtype, Tile1, Tile2, Tile3, tile3};
use smallvec::smallvec;

/// The rows of all tables.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    unary::ROWS.iter().chain(binary::ROWS)
}

/// Visits the elementwise operations.
pub(crate) fn visit(visitor: &mut impl crate::ops::spec::Visitor) {
    unary::visit(visitor);
    binary::visit(visitor);
    choices::visit(visitor);
    composite::visit(visitor);
}

/// What element types an operation works on, and so what its inputs are converted to first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// The inputs' (promoted) type as it is.
    Same,
    /// Floating point or complex: booleans and integers become `float32`.
    Float,
    /// Truth values: anything else is compared with zero.
    Bool,
}

/// The tile functions of a row, by input element type. Half precision uses those of `float32`.
pub enum Tiles {
    /// One input.
    One([Option<Tile1>; 14]),
    /// Two inputs of one type.
    Two([Option<Tile2>; 14]),
}

/// The derivative of a row with respect to each input, as an expression for `t · ∂y/∂xᵢ`.
pub enum Partials {
    /// `(t, x, y)`.
    One(fn(&Array, &Array, &Array) -> Array),
    /// `(t, a, b, y)` for `a`, then for `b`.
    Two([fn(&Array, &Array, &Array, &Array) -> Array; 2]),
    /// Zero wherever it exists: steps and truth values.
    Zero,
}

/// One elementwise operation: everything there is to know of it.
pub struct Row {
    /// The name, as in Python.
    pub name: &'static str,
    /// What it computes.
    pub doc: &'static str,
    /// What its inputs are converted to.
    pub takes: Takes,
    /// Whether it gives truth values instead of the input's type.
    pub gives_bool: bool,
    /// The kernels.
    pub tiles: Tiles,
    /// The instruction that the kernels for `float32` and `float64` (or for truth values) are, where there is one.
    pub code: Option<Code>,
    /// The derivative.
    pub partials: Partials,
    /// For each input an interval where it is smooth, for tests.
    pub domain: &'static [(f64, f64)],
    /// The fallible public function.
    pub function: RowFn,
}

/// The public function of a row.
#[derive(Clone, Copy)]
pub enum RowFn {
    /// One input.
    One(fn(&Array) -> Result<Array>),
    /// Two inputs.
    Two(fn(&Array, &Array) -> Result<Array>),
}

impl Row {
    /// How many inputs the row takes.
    pub fn arity(&self) -> usize {
        self.domain.len()
    }

    /// Whether there is a kernel for this element type, once inputs are converted as [`Row::takes`] says.
    pub fn supports(&self, dtype: Dtype) -> bool {
        let key = compute_dtype(self.convert(dtype)) as usize;
        match &self.tiles {
            Tiles::One(tiles) => tiles[key].is_some(),
            Tiles::Two(tiles) => tiles[key].is_some(),
        }
    }

    /// The type that inputs of `dtype` are converted to.
    pub fn convert(&self, dtype: Dtype) -> Dtype {
        match self.takes {
            Takes::Same => dtype,
            Takes::Float if dtype.is_inexact() => dtype,
            Takes::Float => Dtype::F32,
            Takes::Bool => Dtype::Bool,
        }
    }
}

/// The type arithmetic is done in.
fn compute_dtype(dtype: Dtype) -> Dtype {
    crate::wide::of(dtype)
}

/// Applies a unary row: converts, checks, makes the node.
pub(crate) fn apply1(row: &'static Row, x: &Array) -> Result<Array> {
    let x = ops::to_dtype(x, row.convert(x.dtype()));
    Array::apply(Op::Static(row), smallvec![x])
}

/// Applies a binary row: promotes, converts, checks, makes the node.
pub(crate) fn apply2(row: &'static Row, a: &Array, b: &Array) -> Result<Array> {
    if row.gives_bool && row.takes == Takes::Same {
        let mixed = |x: &Array, y: &Array| x.dtype() == Dtype::U64 && y.dtype().is_signed_integer();
        if mixed(a, b) || mixed(b, a) {
            return compare_signs(row, a, b);
        }
    }
    let dtype = row.convert(crate::dtype::promote(a.dtype(), b.dtype()));
    Array::apply(Op::Static(row), smallvec![ops::to_dtype(a, dtype), ops::to_dtype(b, dtype)])
}

/// A comparison of `uint64` with a signed type. The type that both convert to is `float32`, in which different integers are
/// equal; here a negative number is less than any other, and the rest are compared as they are.
fn compare_signs(row: &'static Row, a: &Array, b: &Array) -> Result<Array> {
    let apply = |a: &Array, b: &Array| Array::apply(Op::Static(row), smallvec![a.clone(), b.clone()]);
    let (less, more) = (Array::scalar(0u64), Array::scalar(1u64));
    let (signed, outcome) =
        if a.dtype().is_signed_integer() { (a, apply(&less, &more)?) } else { (b, apply(&more, &less)?) };
    let positive = apply(&ops::to_dtype(a, Dtype::U64), &ops::to_dtype(b, Dtype::U64))?;
    select(ops::try_less(signed, &ops::zero_of(signed.dtype()))?, outcome, positive)
}

impl Primitive for Row {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let dtype = inputs[0].dtype();
        if !self.supports(dtype) {
            return Err(Error::dtype(self.name, unsupported(self, dtype)));
        }
        let mut shape = Shape::from_slice(inputs[0].shape());
        if let Some(b) = inputs.get(1)
            && b.shape() != &shape[..]
            && !b.shape().is_empty()
        {
            shape = broadcast_shapes(self.name, &shape, b.shape())?;
        }
        let dtype = if self.gives_bool { Dtype::Bool } else { dtype };
        Ok(Avals::from_buf([Aval { dtype, shape }]))
    }

    fn derivative(&self) -> Derivative<'_> {
        match self.partials {
            Partials::Zero => Derivative::Zero,
            _ => Derivative::Elementwise(self),
        }
    }

    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        batch_elementwise(batch)
    }

    fn lower(&self, inputs: &[Array]) -> Lower<'_> {
        let compute = compute_dtype(inputs[0].dtype()) as usize;
        let tile = match &self.tiles {
            Tiles::One(tiles) => tiles[compute].map(TileFn::One),
            Tiles::Two(tiles) => tiles[compute].map(TileFn::Two),
        };
        tile.map_or(Lower::Call, |tile| Lower::Map { tile, code: self.code })
    }

    /// None: a row is told from others by its address, as a static.
    fn params(&self, _params: &mut Params<'_>) {}
}

fn unsupported(row: &Row, dtype: Dtype) -> String {
    let takes: Vec<&str> = Dtype::ALL.iter().filter(|&&d| row.supports(d)).map(|d| d.name()).collect();
    format!("{dtype} arrays are not supported; it takes {}. Convert with astype first", takes.join(", "))
}

impl Elementwise for Row {
    fn partial(&self, i: usize, t: &Array, x: &[Array], y: &Array) -> Result<Option<Array>> {
        Ok(match &self.partials {
            Partials::One(f) => Some(f(t, &x[0], y)),
            Partials::Two(f) => Some(f[i](t, &x[0], &x[1], y)),
            Partials::Zero => None,
        })
    }
}

/// The batching rule of everything that broadcasts: the batch stays in front, and inputs of lower rank get
/// axes of extent 1 behind it.
pub(crate) fn batch_elementwise(batch: &Batch<'_>) -> Result<Vec<Array>> {
    let rank = |i: usize| batch.inputs[i].ndim() - usize::from(batch.batched[i]);
    let most = (0..batch.inputs.len()).map(rank).max().unwrap_or(0);
    let mut inputs = Vec::with_capacity(batch.inputs.len());
    for (i, x) in batch.inputs.iter().enumerate() {
        if batch.batched[i] && rank(i) < most {
            let mut shape = Shape::from_slice(&x.shape()[..1]);
            shape.extend(std::iter::repeat_n(1, most - rank(i)));
            shape.extend_from_slice(&x.shape()[1..]);
            inputs.push(ops::reshape_to(x, &shape)?);
        } else {
            inputs.push(x.clone());
        }
    }
    batch.again(&inputs)
}

/// Chooses between two arrays by a condition, elementwise; the one row with three inputs.
pub(crate) struct Select;
pub(crate) static SELECT: Select = Select;

impl Primitive for Select {
    fn name(&self) -> &'static str {
        "where"
    }

    fn infer(&self, inputs: &[Array]) -> Result<Avals> {
        let [c, a, b] = inputs else { unreachable!("where takes three inputs") };
        let shape = broadcast_shapes("where", a.shape(), b.shape())?;
        let shape = broadcast_shapes("where", c.shape(), &shape)?;
        Ok(smallvec![Aval { dtype: a.dtype(), shape }])
    }

    fn derivative(&self) -> Derivative<'_> {
        Derivative::Elementwise(self)
    }

    fn batch(&self, batch: &Batch<'_>) -> Result<Vec<Array>> {
        batch_elementwise(batch)
    }

    fn lower(&self, inputs: &[Array]) -> Lower<'_> {
        // Half precision is computed in float32 inside a chain.
        let tile = TileFn::Three(select_tile(compute_dtype(inputs[1].dtype())));
        Lower::Map { tile, code: Some(Code::Select) }
    }
}

/// The choice only moves bits, so it goes by the element's size. It is written as a blend of bit patterns: from a
/// branch the compiler makes a choice between addresses and a gather, which is ten times slower.
fn select_tile(dtype: Dtype) -> Tile3 {
    macro_rules! blend {
        ($u:ty) => {
            tile3!(bool, $u, $u => $u, |c, a, b| {
                let mask = <$u>::from(c).wrapping_neg();
                (a & mask) | (b & !mask)
            })
        };
    }
    match dtype.size() {
        1 => blend!(u8),
        2 => blend!(u16),
        4 => blend!(u32),
        _ => blend!(u64),
    }
}

impl Elementwise for Select {
    fn partial(&self, i: usize, t: &Array, x: &[Array], _y: &Array) -> Result<Option<Array>> {
        let zero = ops::zero_of(t.dtype());
        match i {
            1 => ops::try_where_(&x[0], t, &zero).map(Some),
            2 => ops::try_where_(&x[0], &zero, t).map(Some),
            _ => Ok(None),
        }
    }
}

/// Applies [`Select`] to a boolean condition and two arrays of one type.
pub(crate) fn select(c: Array, a: Array, b: Array) -> Result<Array> {
    let inputs: Inputs = smallvec![c, a, b];
    Array::apply(Op::Static(&SELECT), inputs)
}

/// The output type of a tile.
macro_rules! gives {
    (Same, $t:ty) => {
        $t
    };
    (Bool, $t:ty) => {
        bool
    };
}
pub(crate) use gives;

/// Builds a table of tile functions from entries: `[math exp]` (the f32 and f64 functions of that name),
/// `[real |x| …]`, `[int |x| …]`, `[uint |x| …]`, `[bool |x| …]`, `[c64 |z| …]`.
macro_rules! tiles {
    ($macro:ident, $gives:ident, { $([$kind:ident $($spec:tt)*])* }) => {{
        let mut table: [Option<$crate::ops::elementwise::tile_fn!($macro)>; 14] = [None; 14];
        $($crate::ops::elementwise::tile_entry!(table, $macro, $gives, $kind, $($spec)*);)*
        table
    }};
}
pub(crate) use tiles;

macro_rules! tile_fn {
    (tile1) => {
        covector_kernels::Tile1
    };
    (tile2) => {
        covector_kernels::Tile2
    };
}
pub(crate) use tile_fn;

macro_rules! tile_entry {
    ($t:ident, tile1, $g:ident, math, $f:ident) => {
        $t[Dtype::F32 as usize] = Some(tile1!(f32 => f32, |x| math::f32::$f(x)));
        $t[Dtype::F64 as usize] = Some(tile1!(f64 => f64, |x| math::f64::$f(x)));
    };
    ($t:ident, tile2, $g:ident, math, $f:ident) => {
        $t[Dtype::F32 as usize] = Some(tile2!(f32, f32 => f32, |x, y| math::f32::$f(x, y)));
        $t[Dtype::F64 as usize] = Some(tile2!(f64, f64 => f64, |x, y| math::f64::$f(x, y)));
    };
    ($t:ident, $m:ident, $g:ident, real, $($e:tt)*) => {
        $crate::ops::elementwise::tile_types!($t, $m, $g, {f32 F32, f64 F64}, $($e)*);
    };
    ($t:ident, $m:ident, $g:ident, int, $($e:tt)*) => {
        $crate::ops::elementwise::tile_types!($t, $m, $g, {i8 I8, i16 I16, i32 I32, i64 I64}, $($e)*);
    };
    ($t:ident, $m:ident, $g:ident, uint, $($e:tt)*) => {
        $crate::ops::elementwise::tile_types!($t, $m, $g, {u8 U8, u16 U16, u32 U32, u64 U64}, $($e)*);
    };
    ($t:ident, $m:ident, $g:ident, bool, $($e:tt)*) => {
        $crate::ops::elementwise::tile_types!($t, $m, $g, {bool Bool}, $($e)*);
    };
    ($t:ident, $m:ident, $g:ident, c64, $($e:tt)*) => {
        $crate::ops::elementwise::tile_types!($t, $m, $g, {C64 C64}, $($e)*);
    };
}
pub(crate) use tile_entry;

macro_rules! tile_types {
    ($t:ident, tile1, $g:ident, {$($ty:ident $d:ident),*}, |$x:ident| $e:expr) => {$(
        $t[Dtype::$d as usize] =
            Some(tile1!($ty => $crate::ops::elementwise::gives!($g, $ty), |$x| $e));
    )*};
    ($t:ident, tile2, $g:ident, {$($ty:ident $d:ident),*}, |$x:ident, $y:ident| $e:expr) => {$(
        $t[Dtype::$d as usize] =
            Some(tile2!($ty, $ty => $crate::ops::elementwise::gives!($g, $ty), |$x, $y| $e));
    )*};
}
pub(crate) use tile_types;

/// Reads the rows of a table and makes of each the functions, the methods, the [`Row`], and what the
/// [registry](crate::ops::spec) has of it.
macro_rules! row_table {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident / $try_name:ident ($x:ident $(, $y:ident)?) $(| $alias:ident)* $(@ $hidden:ident)?:
        $takes:ident => $gives:ident, on $(($low:expr, $high:expr))+, d $d:tt, $tiles:tt
        $(as $code:ident)? $(special $special:expr)?;
    )*) => {
        #[allow(non_camel_case_types, reason = "the variants are the rows' names")]
        #[derive(Clone, Copy)]
        enum Id { $($name),* }

        /// The rows, in the order of the file.
        pub(crate) static ROWS: &[Row] = &[$(
            Row {
                name: stringify!($name),
                doc: concat!($($doc, "\n"),*),
                takes: Takes::$takes,
                gives_bool: matches!(stringify!($gives).as_bytes(), b"Bool"),
                tiles: $crate::ops::elementwise::by_arity!(
                    [$($y)?] Tiles::One(tiles!(tile1, $gives, $tiles)), Tiles::Two(tiles!(tile2, $gives, $tiles))
                ),
                code: $crate::ops::elementwise::code!($($code)?),
                partials: $crate::ops::elementwise::partials!($d),
                domain: &[$(($low, $high)),*],
                function: $crate::ops::elementwise::by_arity!([$($y)?] RowFn::One($try_name), RowFn::Two($try_name)),
            },
        )*];

        $(
            $(#[doc = $doc])*
            ///
            /// # Errors
            /// When the shapes do not broadcast or the element type is not supported.
            pub fn $try_name($x: &Array $(, $y: &Array)?) -> Result<Array> {
                $crate::ops::elementwise::by_arity!(
                    [$($y)?] apply1(&ROWS[Id::$name as usize], $x), apply2(&ROWS[Id::$name as usize], $x $(, $y)?)
                )
            }

            $(#[doc = $doc])*
            ///
            /// # Panics
            /// When the shapes do not broadcast or the element type is not supported.
            #[track_caller]
            pub fn $name($x: &Array $(, $y: &Array)?) -> Array {
                $crate::error::expect($try_name($x $(, $y)?))
            }
        )*

        /// Elementwise operations as methods.
        impl Array {$(
            $(#[doc = $doc])*
            ///
            /// # Panics
            /// When the shapes do not broadcast or the element type is not supported.
            #[track_caller]
            pub fn $name(&self $(, $y: &Array)?) -> Array {
                $crate::error::expect($try_name(self $(, $y)?))
            }
        )*}

        /// A type for each row.
        #[allow(non_camel_case_types, reason = "the types have the rows' names")]
        pub(crate) mod registered {$(
            #[doc(hidden)]
            pub(crate) enum $name {}
        )*}

        $(impl $crate::ops::spec::Registered for registered::$name {
            fn spec() -> &'static $crate::ops::spec::OpSpec {
                static SPEC: $crate::ops::spec::OpSpec = $crate::ops::spec::OpSpec {
                    name: stringify!($name),
                    doc: concat!($($doc, "\n"),*),
                    elementwise: Some(
                        $crate::ops::elementwise::by_arity!([$($y)?] RowFn::One($try_name), RowFn::Two($try_name))
                    ),
                    special: Some(|| $crate::ops::elementwise::special!($d $($special)?)),
                    python: $crate::ops::elementwise::binding!(
                        [$($hidden)?] [$($y)?] &[stringify!($name) $(, stringify!($alias))*]
                    ),
                    samples: || $crate::ops::block::sample::row(&ROWS[Id::$name as usize]),
                };
                &SPEC
            }
        })*

        /// Visits the rows.
        pub(crate) fn visit(visitor: &mut impl $crate::ops::spec::Visitor) {
            $(visitor.op::<registered::$name>();)*
        }
    };
}
pub(crate) use row_table;

/// The first expression for one input, the second for two.
macro_rules! by_arity {
    ([] $one:expr, $two:expr) => {
        $one
    };
    ([$y:ident] $one:expr, $two:expr) => {
        $two
    };
}
pub(crate) use by_arity;

/// The derivative of a row, as it is written.
macro_rules! partials {
    (zero) => {
        $crate::ops::elementwise::Partials::Zero
    };
    ((|$t:ident, $x:ident, $y:ident| $e:expr)) => {
        $crate::ops::elementwise::Partials::One(|$t: &Array, $x: &Array, $y: &Array| -> Array { $e })
    };
    (($(|$t:ident, $a:ident, $b:ident, $y:ident| $e:expr),*)) => {
        $crate::ops::elementwise::Partials::Two([
            $(|$t: &Array, $a: &Array, $b: &Array, $y: &Array| -> Array { $e }),*
        ])
    };
}
pub(crate) use partials;

/// The special points of a row, which only one without a derivative may lack.
macro_rules! special {
    (zero) => {
        $crate::ops::block::special::Special::None($crate::ops::block::special::STEP)
    };
    ($d:tt $special:expr) => {{
        #[allow(unused_imports, reason = "each row uses some of these")]
        use {std::f64::consts::*, $crate::ops::block::special::*};
        $special
    }};
}
pub(crate) use special;

/// The Python function of an elementwise operation, unless it is hidden.
macro_rules! binding {
    ([hidden] $($rest:tt)*) => {
        None
    };
    ([] [$($y:ident)?] $names:expr) => {
        Some($crate::ops::spec::Binding {
            module: $crate::ops::spec::Module::Core,
            names: $names,
            signature: $crate::ops::elementwise::by_arity!(
                [$($y)?] $crate::ops::spec::Signature::ONE, $crate::ops::spec::Signature::TWO
            ),
            method: $crate::ops::elementwise::by_arity!([$($y)?] true, false),
            returns: $crate::ops::spec::Returns::Array,
            call: None,
        })
    };
}
pub(crate) use binding;

/// The instruction that a row names after its kernels, if it names one.
macro_rules! code {
    () => {
        None
    };
    ($code:ident) => {
        Some($crate::primitive::Code::$code)
    };
}
pub(crate) use code;
