//! The table of elementwise operations that are composed of others.
//!
//! A row is: documentation; name and name of the fallible form; an interval in which it is smooth, for each
//! input; and the expression, in fallible ops. The functions, the methods, the catalogue's tests and the Python
//! function with its docstring follow from the row, as they do for the rows of [`unary`](crate::prim::unary).

use crate::array::Array;
use crate::error::Result;
use crate::ops::{self, to_inexact};
use crate::prim::RowFn;

/// One composed operation.
pub struct Composite {
    /// The name, as in Python.
    pub name: &'static str,
    /// What it computes.
    pub doc: &'static str,
    /// The fallible public function.
    pub function: RowFn,
    /// For each input an interval where it is smooth, for tests.
    pub domain: &'static [(f64, f64)],
}

/// An elementwise function, from a row of a table: what a binding needs of it.
#[derive(Clone, Copy)]
pub struct Listed {
    /// The name, as in Python.
    pub name: &'static str,
    /// What it computes.
    pub doc: &'static str,
    /// The fallible public function.
    pub function: RowFn,
}

impl Listed {
    /// How many inputs it takes.
    pub fn arity(&self) -> usize {
        match self.function {
            RowFn::One(_) => 1,
            RowFn::Two(_) => 2,
        }
    }
}

/// The elementwise functions of all tables, primitive and composed.
pub fn listed() -> impl Iterator<Item = Listed> {
    let primitive = crate::prim::rows().map(|r| Listed { name: r.name, doc: r.doc, function: r.function });
    primitive.chain(composites().iter().map(|r| Listed { name: r.name, doc: r.doc, function: r.function }))
}

macro_rules! composites {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident $try_name:ident: $($lo:literal .. $hi:literal),*; |$x:ident $(, $y:ident)?| $body:expr;
    )*) => {
        /// The rows, in the order of the file.
        pub fn composites() -> &'static [Composite] {
            static ROWS: &[Composite] = &[$(
                Composite {
                    name: stringify!($name),
                    doc: concat!($($doc, "\n"),*),
                    function: composites!(@function $try_name $x $($y)?),
                    domain: &[$(($lo, $hi)),*],
                },
            )*];
            ROWS
        }

        op! {$(
            $(#[doc = $doc])*
            pub fn $name / $try_name($x: &Array $(, $y: &Array)?) once($x $(, $y)?) {
                $body
            }
        )*}
    };
    (@function $f:ident $x:ident) => { RowFn::One($f) };
    (@function $f:ident $x:ident $y:ident) => { RowFn::Two($f) };
}

composites! {
    /// Radians to degrees.
    degrees try_degrees: -3.0 .. 3.0; |x| {
        let x = to_inexact(x);
        ops::try_multiply(&x, &ops::constant_like(&x, 180.0 / std::f64::consts::PI))
    };
    /// Degrees to radians.
    radians try_radians: -90.0 .. 90.0; |x| {
        let x = to_inexact(x);
        ops::try_multiply(&x, &ops::constant_like(&x, std::f64::consts::PI / 180.0))
    };
    /// The logistic function, `1/(1 + e⁻ˣ)`.
    sigmoid try_sigmoid: -3.0 .. 3.0; |x| {
        let x = to_inexact(x);
        if !x.is_tracer() || x.dtype().is_complex() {
            return ops::try_logistic(&x);
        }
        // What is kept for the derivative is the distance to 0 or 1: near 1 the function itself has lost it, and `x`,
        // from which the slope could be made anew, would be kept beside the result.
        ops::try_sigmoid_of_tail(&ops::try_sigmoid_tail(&x)?)
    };
    /// The length of the vector `(a, b)`, `√(a² + b²)`, without overflow on the way. The derivative at the origin is 0.
    hypot try_hypot: 0.3 .. 2.0, 0.3 .. 2.0; |a, b| {
        let real = |x: &Array| if x.dtype().is_complex() { ops::try_abs(x) } else { Ok(x.clone()) };
        ops::try_real_hypot(&real(a)?, &real(b)?)
    };
}
