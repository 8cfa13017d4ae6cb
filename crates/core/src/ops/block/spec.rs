//! What every public operation says of itself.
//!
//! An operation is one [block](super) or one row of the elementwise tables. It expands to the functions, the methods, and an
//! [`OpSpec`]. From the specification follow the Python function and method with docstring and signature, the type in the
//! stub file, the entries of the catalogue, and the table in `docs/operations.md`.
//!
//! A type stands for each operation, and a [`Visitor`] sees all of them: a binding can then make one C function for each
//! operation from a generic function.

use super::operand::Operand;
use super::sample::Entry;
use super::special::Special;
use crate::array::Array;
use crate::error::Result;
use crate::ops::elementwise::RowFn;
use crate::shape::Shape;
use covector_kernels::Dtype;
use smallvec::SmallVec;

/// One public operation.
pub struct OpSpec {
    /// The name in Rust, without the underscore that keeps it from being a keyword.
    pub name: &'static str,
    /// The documentation, as written.
    pub doc: &'static str,
    /// The fallible function, if the operation is elementwise.
    pub elementwise: Option<RowFn>,
    /// How an elementwise operation behaves at its special points.
    pub special: Option<fn() -> Special>,
    /// The Python function, if this block defines one.
    pub python: Option<Binding>,
    /// Entries of the catalogue.
    pub samples: fn() -> Vec<Entry>,
}

impl OpSpec {
    /// The documentation for readers of a binding: without the sections for Rust alone, and without links.
    pub fn text(&self) -> String {
        let lines = self.doc.lines().map(|line| line.strip_prefix(' ').unwrap_or(line));
        let lines = lines.take_while(|line| !line.starts_with("# ") && !line.starts_with("```"));
        lines.collect::<Vec<_>>().join("\n").replace("[`", "`").replace("`]", "`").trim().to_owned()
    }
}

/// The Python function of an operation.
pub struct Binding {
    /// The module that has it.
    pub module: Module,
    /// The name, and further names of the same function.
    pub names: &'static [&'static str],
    /// The parameters, as in MLX.
    pub signature: Signature,
    /// Whether it is a method of `array`, too, under the first name.
    pub method: bool,
    /// What several results are given as.
    pub returns: Returns,
    /// The function on parsed arguments; `None` for elementwise operations, whose function is
    /// [`OpSpec::elementwise`].
    pub call: Option<fn(&[Given]) -> Result<Made>>,
}

/// A Python module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Module {
    /// `covector.core`.
    Core,
    /// `covector.core.fast`.
    Fast,
    /// `covector.core.random`.
    Random,
}

/// The type of a Python function's result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Returns {
    /// An array.
    Array,
    /// A list of arrays.
    List,
    /// A tuple of arrays.
    Tuple,
    /// A pair of arrays.
    Pair,
}

impl Returns {
    /// The Python type.
    pub fn hint(self) -> &'static str {
        match self {
            Returns::Array => "array",
            Returns::List => "list[array]",
            Returns::Tuple => "tuple[array, ...]",
            Returns::Pair => "tuple[array, array]",
        }
    }
}

/// The parameters of a Python function. A parameter `stream` follows, which is accepted and ignored.
#[derive(Clone, Copy)]
pub struct Signature {
    /// All parameters, in order.
    pub params: &'static [Param],
    /// How many of them are given by position alone.
    pub positional_only: usize,
    /// How many of them may be given by position.
    pub positional: usize,
    /// Whether `stream` may be given by position.
    pub positional_stream: bool,
}

/// An item of a written signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// A parameter.
    Param,
    /// `/`.
    Slash,
    /// `*`.
    Star,
}

impl Signature {
    /// The signature of these parameters, written with these marks.
    pub const fn new(params: &'static [Param], marks: &[Mark]) -> Self {
        let mut all = Self { params, positional_only: 0, positional: params.len(), positional_stream: true };
        let (mut i, mut seen) = (0, 0);
        while i < marks.len() {
            match marks[i] {
                Mark::Param => seen += 1,
                Mark::Slash => all.positional_only = seen,
                Mark::Star => {
                    all.positional = seen;
                    all.positional_stream = false;
                }
            }
            i += 1;
        }
        all
    }

    /// `(a, /, *)`: of an elementwise operation with one input.
    pub(crate) const ONE: Self =
        Self::new(&[Param::required::<Value>("a")], &[Mark::Param, Mark::Slash, Mark::Star]);

    /// `(a, b, *)`: of an elementwise operation with two inputs.
    pub(crate) const TWO: Self = Self::new(
        &[Param::required::<Paired>("a"), Param::required::<Paired>("b")],
        &[Mark::Param, Mark::Param, Mark::Star],
    );
}

/// A parameter of a Python function.
#[derive(Clone, Copy)]
pub struct Param {
    /// The name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether `None` may be given.
    pub optional: bool,
    /// What it is if it is not given.
    pub default: Option<fn() -> Given>,
}

impl Param {
    /// A parameter that must be given.
    pub const fn required<T: Argument>(name: &'static str) -> Self {
        Self { name, kind: T::KIND, optional: T::OPTIONAL, default: None }
    }

    /// A parameter with a default.
    pub const fn with_default<T: Argument>(name: &'static str, default: fn() -> Given) -> Self {
        Self { name, kind: T::KIND, optional: T::OPTIONAL, default: Some(default) }
    }

    /// The Python type.
    pub fn hint(&self) -> String {
        let hint = self.kind.hint();
        let none = if self.optional && !hint.ends_with("None") { " | None" } else { "" };
        format!("{hint}{none}")
    }
}

/// What a parameter takes. How a binding reads each kind is said with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An array; no number.
    Array,
    /// An array, or a number in the type that it has alone.
    Value,
    /// An array or a number; one of the two that a function has adapts to the other.
    Paired,
    /// An array or a number, which adapts to the first array.
    Beside,
    /// An array, or a number whose type does not matter.
    Number,
    /// A list or tuple of arrays.
    Arrays,
    /// An integer.
    Int,
    /// An integer that is not negative.
    Count,
    /// A positive integer.
    Positive,
    /// An integer, or a sequence of them.
    Ints,
    /// One axis or several; `None` means all axes of the first array.
    Axes,
    /// The extents of a shape.
    Extents,
    /// An integer for all spatial axes, or one for each.
    Each(usize),
    /// The same, of positive integers.
    PositiveEach(usize),
    /// A truth value.
    Flag,
    /// A real number.
    Float,
    /// An element type.
    Dtype,
    /// A string.
    Text,
}

impl Kind {
    /// The Python type.
    pub fn hint(self) -> &'static str {
        match self {
            Kind::Array => "array",
            Kind::Value | Kind::Paired | Kind::Beside | Kind::Number => "_Value",
            Kind::Arrays => "Sequence[array]",
            Kind::Int | Kind::Count | Kind::Positive => "int",
            Kind::Ints | Kind::Extents | Kind::Each(_) | Kind::PositiveEach(_) => "int | Sequence[int]",
            Kind::Axes => "_Axes",
            Kind::Flag => "bool",
            Kind::Float => "float",
            Kind::Dtype => "Dtype",
            Kind::Text => "str",
        }
    }
}

/// A parsed argument.
#[derive(Clone, Debug)]
pub enum Given {
    /// None was given.
    None,
    /// An array.
    Array(Array),
    /// Several arrays.
    Arrays(Vec<Array>),
    /// A parameter of a random distribution.
    Number(Box<Operand>),
    /// An integer.
    Int(isize),
    /// That many axes: all that an array has.
    All(usize),
    /// Several integers.
    Ints(SmallVec<[isize; 4]>),
    /// Extents.
    Extents(Shape),
    /// A truth value.
    Flag(bool),
    /// A real number.
    Float(f64),
    /// An element type.
    Dtype(Dtype),
    /// A string.
    Text(String),
}

impl From<i32> for Given {
    fn from(value: i32) -> Self {
        Given::Int(value as isize)
    }
}

impl From<f64> for Given {
    fn from(value: f64) -> Self {
        Given::Float(value)
    }
}

impl From<bool> for Given {
    fn from(value: bool) -> Self {
        Given::Flag(value)
    }
}

impl From<&str> for Given {
    fn from(value: &str) -> Self {
        Given::Text(value.to_owned())
    }
}

impl From<Option<std::convert::Infallible>> for Given {
    fn from(_: Option<std::convert::Infallible>) -> Self {
        Given::None
    }
}

/// A type that a block names for a Python parameter: it says the [`Kind`], and what the Rust function gets.
pub trait Argument {
    /// The kind.
    const KIND: Kind;
    /// Whether `None` may be given.
    const OPTIONAL: bool = false;
    /// What the Rust function gets.
    type Of<'a>;
    /// The parsed argument as that.
    ///
    /// # Panics
    /// When a binding has parsed it as another kind.
    fn of(given: &Given) -> Self::Of<'_>;
}

macro_rules! arguments {
    ($($(#[$meta:meta])* $name:ident = $kind:expr, $of:ty, $given:pat => $value:expr;)*) => {$(
        $(#[$meta])*
        pub enum $name {}
        arguments!(@implement $name = $kind, $of, $given => $value);
    )*};
    (types $($name:ty = $kind:expr, $of:ty, $($given:pat => $value:expr),*;)*) => {$(
        arguments!(@implement $name = $kind, $of, $($given => $value),*);
    )*};
    (@implement $name:ty = $kind:expr, $of:ty, $($given:pat => $value:expr),*) => {
        impl Argument for $name {
            const KIND: Kind = $kind;
            type Of<'a> = $of;
            fn of(given: &Given) -> Self::Of<'_> {
                match given {
                    $($given => $value,)*
                    _ => misread(given, Self::KIND),
                }
            }
        }
    };
}

fn misread(given: &Given, kind: Kind) -> ! {
    unreachable!("{given:?} was parsed for a parameter of the kind {kind:?}")
}

arguments! {
    /// [`Kind::Value`].
    Value = Kind::Value, &'a Array, Given::Array(x) => x;
    /// [`Kind::Paired`].
    Paired = Kind::Paired, &'a Array, Given::Array(x) => x;
    /// [`Kind::Beside`].
    Beside = Kind::Beside, &'a Array, Given::Array(x) => x;
    /// [`Kind::Number`].
    Number = Kind::Number, Operand, Given::Number(x) => Operand::clone(x);
    /// [`Kind::Arrays`].
    Arrays = Kind::Arrays, &'a [Array], Given::Arrays(x) => x;
    /// [`Kind::Extents`].
    Extents = Kind::Extents, &'a [usize], Given::Extents(x) => x;
    /// [`Kind::Positive`].
    Positive = Kind::Positive, usize, Given::Int(x) => x.unsigned_abs();
    /// [`Kind::Text`].
    Text = Kind::Text, &'a str, Given::Text(x) => x;
}

/// [`Kind::Ints`].
pub enum Ints {}

/// [`Kind::Axes`].
pub enum Axes {}

/// The axes of an array, for [`Given::All`].
const ALL: &[isize] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

impl Given {
    /// All axes of an array with so many.
    pub fn all(ndim: usize) -> Self {
        if ndim <= ALL.len() { Given::All(ndim) } else { Given::Ints((0..ndim as isize).collect()) }
    }
}

arguments! { types
    Array = Kind::Array, &'a Array, Given::Array(x) => x;
    Ints = Kind::Ints, &'a [isize], Given::Ints(x) => x, Given::Int(x) => std::slice::from_ref(x);
    Axes = Kind::Axes, &'a [isize], Given::Int(x) => std::slice::from_ref(x), Given::All(n) => &ALL[..*n],
        Given::Ints(x) => x;
    isize = Kind::Int, isize, Given::Int(x) => *x;
    i32 = Kind::Int, i32, Given::Int(x) => i32::try_from(*x).unwrap_or(if *x < 0 { i32::MIN } else { i32::MAX });
    usize = Kind::Count, usize, Given::Int(x) => x.unsigned_abs();
    bool = Kind::Flag, bool, Given::Flag(x) => *x;
    f64 = Kind::Float, f64, Given::Float(x) => *x;
    Dtype = Kind::Dtype, Dtype, Given::Dtype(x) => *x;
}

impl<const N: usize> Argument for [isize; N] {
    const KIND: Kind = Kind::Each(N);
    type Of<'a> = [isize; N];
    fn of(given: &Given) -> Self {
        match given {
            Given::Int(all) => [*all; N],
            Given::Ints(each) if each.len() == N => std::array::from_fn(|k| each[k]),
            _ => misread(given, Self::KIND),
        }
    }
}

impl<const N: usize> Argument for [usize; N] {
    const KIND: Kind = Kind::PositiveEach(N);
    type Of<'a> = [usize; N];
    fn of(given: &Given) -> Self {
        <[isize; N]>::of(given).map(isize::unsigned_abs)
    }
}

impl<T: Argument> Argument for Option<T> {
    const KIND: Kind = T::KIND;
    const OPTIONAL: bool = true;
    type Of<'a> = Option<T::Of<'a>>;
    fn of(given: &Given) -> Self::Of<'_> {
        match given {
            Given::None => None,
            given => Some(T::of(given)),
        }
    }
}

/// The results of an operation.
#[derive(Debug)]
pub enum Made {
    /// One array.
    One(Array),
    /// Several arrays.
    Many(Vec<Array>),
}

impl From<Array> for Made {
    fn from(array: Array) -> Self {
        Made::One(array)
    }
}

impl From<Vec<Array>> for Made {
    fn from(arrays: Vec<Array>) -> Self {
        Made::Many(arrays)
    }
}

impl From<(Array, Array)> for Made {
    fn from((a, b): (Array, Array)) -> Self {
        Made::Many(vec![a, b])
    }
}

impl From<Made> for Vec<Array> {
    fn from(made: Made) -> Self {
        match made {
            Made::One(array) => vec![array],
            Made::Many(arrays) => arrays,
        }
    }
}

/// The type that stands for an operation.
pub trait Registered: 'static {
    /// Its specification.
    fn spec() -> &'static OpSpec;
}

/// Something that is done for each operation.
pub trait Visitor {
    /// Does it for one.
    fn op<T: Registered>(&mut self);
}

/// A name without the underscore at its end.
pub(crate) const fn bare(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [rest @ .., b'_'] => match std::str::from_utf8(rest) {
            Ok(rest) => rest,
            Err(_) => name,
        },
        _ => name,
    }
}

/// The next parsed argument, for the code that [`op!`](super) writes.
pub(crate) fn next<'a>(given: &mut std::slice::Iter<'a, Given>) -> &'a Given {
    given.next().unwrap_or(&Given::None)
}
