//! The table of elementwise operations that are composed of others.
//!
//! A row is: documentation; name and name of the fallible form; for each input an interval in which it is
//! smooth; the expression, in fallible ops; and its [special points](crate::ops::block::special). The functions, the methods, the
//! catalogue's tests and the Python function with its docstring follow from the row, as they do for the rows of
//! [`unary`](crate::ops::elementwise::unary).

use crate::array::Array;
use crate::ops::elementwise::RowFn;
use crate::ops::{self, to_inexact};

macro_rules! composites {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident / $try_name:ident ($x:ident $(, $y:ident)?): on $(($low:expr, $high:expr))+, $body:block
        special $special:expr;
    )*) => {
        $($crate::ops::block::op_functions! {
            {$(#[doc = $doc])*} $name [$try_name] ($x: &Array $(, $y: &Array)?) [] [($x $(, $y)?)] $body
        })*

        /// A type for each row.
        #[allow(non_camel_case_types, reason = "the types have the rows' names")]
        pub(crate) mod registered {$(
            #[doc(hidden)]
            pub(crate) enum $name {}
        )*}

        $(impl crate::ops::spec::Registered for registered::$name {
            fn spec() -> &'static crate::ops::spec::OpSpec {
                const FUNCTION: RowFn = crate::ops::elementwise::by_arity!(
                    [$($y)?] RowFn::One($try_name), RowFn::Two($try_name)
                );
                static SPEC: crate::ops::spec::OpSpec = crate::ops::spec::OpSpec {
                    name: stringify!($name),
                    doc: concat!($($doc, "\n"),*),
                    elementwise: Some(FUNCTION),
                    special: Some(|| crate::ops::elementwise::special!(d $special)),
                    python: crate::ops::elementwise::binding!([] [$($y)?] &[stringify!($name)]),
                    samples: || crate::ops::block::sample::elementwise(stringify!($name), FUNCTION, &[$(($low, $high)),*]),
                };
                &SPEC
            }
        })*

        /// Visits the rows.
        pub(crate) fn visit(visitor: &mut impl crate::ops::spec::Visitor) {
            $(visitor.op::<registered::$name>();)*
        }
    };
}

composites! {
    /// Radians to degrees.
    degrees / try_degrees(x): on (-3.0, 3.0), {
        let x = to_inexact(x);
        ops::try_multiply(&x, &ops::constant_like(&x, 180.0 / std::f64::consts::PI))
    }
        special one(|x| [x * (180.0 / PI), 180.0 / PI, 0.0, 0.0], &[0.0, -0.0, PI, 1e300], &[]);
    /// Degrees to radians.
    radians / try_radians(x): on (-90.0, 90.0), {
        let x = to_inexact(x);
        ops::try_multiply(&x, &ops::constant_like(&x, std::f64::consts::PI / 180.0))
    }
        special one(|x| [x * (PI / 180.0), PI / 180.0, 0.0, 0.0], &[0.0, -0.0, 180.0, 1e300], &[]);
    /// The logistic function, `1/(1 + e⁻ˣ)`.
    sigmoid / try_sigmoid(x): on (-3.0, 3.0), {
        let x = to_inexact(x);
        if !x.is_tracer() || x.dtype().is_complex() {
            return ops::try_logistic(&x);
        }
        // What is kept for the derivative is the distance to 0 or 1: near 1 the function itself has lost it, and `x`,
        // from which the slope could be made anew, would be kept beside the result.
        ops::try_sigmoid_of_tail(&ops::try_sigmoid_tail(&x)?)
    }
        special one(logistic, LOGISTIC_AT, LOGISTIC_EDGES);
    /// The length of the vector `(a, b)`, `√(a² + b²)`, without overflow on the way. The derivative at the origin is 0.
    hypot / try_hypot(a, b): on (0.3, 2.0) (0.3, 2.0), {
        let real = |x: &Array| if x.dtype().is_complex() { ops::try_abs(x) } else { Ok(x.clone()) };
        ops::try_real_hypot(&real(a)?, &real(b)?)
    }
        special two(hypot, HYPOT_AT, HYPOT_EDGES);
}
