//! The table of binary elementwise operations. Rows are read as in [`unary`](super::unary); inputs are promoted
//! to one type and broadcast, and the derivative has one expression for each input.

use crate::array::Array;
use crate::error::Result;
use crate::ops;
use crate::prim::elementwise::{Partials, Row, RowFn, Takes, Tiles, apply2, code, gives_bool, tiles};
use crate::prim::unary::{log, negative, square};
use covector_kernels::{C64, Dtype, math, tile2};

macro_rules! partials {
    (zero) => {
        Partials::Zero
    };
    (($(|$t:ident, $a:ident, $b:ident, $y:ident| $e:expr),*)) => {
        Partials::Two([$(|$t: &Array, $a: &Array, $b: &Array, $y: &Array| -> Array { $e }),*])
    };
}

macro_rules! rows {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident $try_name:ident: $takes:ident => $gives:ident, on $lo:tt $hi:tt, d $d:tt, $tiles:tt $($code:ident)?;
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
                gives_bool: gives_bool!($gives),
                tiles: Tiles::Two(tiles!(tile2, $gives, $tiles)),
                code: code!($($code)?),
                partials: partials!($d),
                domain: &[$lo, $hi],
                function: RowFn::Two($try_name),
            },
        )*];

        $(
            $(#[doc = $doc])*
            ///
            /// # Errors
            /// When the shapes do not broadcast or the element type is not supported.
            pub fn $try_name(a: &Array, b: &Array) -> Result<Array> {
                apply2(&ROWS[Id::$name as usize], a, b)
            }

            $(#[doc = $doc])*
            ///
            /// # Panics
            /// When the shapes do not broadcast or the element type is not supported.
            #[track_caller]
            pub fn $name(a: &Array, b: &Array) -> Array {
                crate::error::expect($try_name(a, b))
            }
        )*

        /// Binary elementwise operations as methods.
        impl Array {$(
            $(#[doc = $doc])*
            ///
            /// # Panics
            /// When the shapes do not broadcast or the element type is not supported.
            #[track_caller]
            pub fn $name(&self, other: &Array) -> Array {
                crate::error::expect($try_name(self, other))
            }
        )*}
    };
}

/// An integer to an exponent that may have 64 bits, wrapped.
macro_rules! wrapping_power {
    ($a:expr, $b:expr) => {{
        let (a, b) = ($a, $b as u64);
        let low = a.wrapping_pow(b as u32);
        let high = (b >> 32) as u32;
        if high == 0 {
            low
        } else {
            low.wrapping_mul(a.wrapping_pow(1 << 31).wrapping_pow(2).wrapping_pow(high))
        }
    }};
}

/// Lexicographic order of complex numbers, the real part first.
fn before(a: C64, b: C64) -> bool {
    a.re < b.re || (a.re == b.re && a.im < b.im)
}

fn where_(c: &Array, a: &Array, b: &Array) -> Array {
    crate::error::expect(ops::try_where_(c, a, b))
}

fn one(like: &Array) -> Array {
    ops::constant_like(like, 1.0)
}

/// `√(a² + b²)` to divide by: 1 in place of 0. Only the origin, where nothing is smooth, feels the difference.
fn length(a: &Array, b: &Array) -> Array {
    let h = real_hypot(a, b);
    where_(&equal(&h, &zero(&h)), &one(&h), &h)
}

fn zero(like: &Array) -> Array {
    ops::zero_of(like.dtype())
}

/// The row of [`multiply`], for products that are nothing else.
pub(crate) fn multiply_row() -> &'static Row {
    &ROWS[Id::multiply as usize]
}

rows! {
    /// The sum; of truth values their disjunction.
    add try_add: Same => Same, on (-2.0, 2.0) (-2.0, 2.0), d (|t, _a, _b, _y| t.clone(), |t, _a, _b, _y| t.clone()),
        {[real |a, b| a + b] [int |a, b| a.wrapping_add(b)] [uint |a, b| a.wrapping_add(b)] [bool |a, b| a | b]
         [c64 |a, b| a + b]} Add;
    /// The difference `a − b`.
    subtract try_subtract: Same => Same, on (-2.0, 2.0) (-2.0, 2.0),
        d (|t, _a, _b, _y| t.clone(), |t, _a, _b, _y| negative(t)),
        {[real |a, b| a - b] [int |a, b| a.wrapping_sub(b)] [uint |a, b| a.wrapping_sub(b)] [bool |a, b| a ^ b]
         [c64 |a, b| a - b]} Subtract;
    /// The product; of truth values their conjunction.
    multiply try_multiply: Same => Same, on (-2.0, 2.0) (-2.0, 2.0), d (|t, _a, b, _y| t * b, |t, a, _b, _y| t * a),
        {[real |a, b| a * b] [int |a, b| a.wrapping_mul(b)] [uint |a, b| a.wrapping_mul(b)] [bool |a, b| a & b]
         [c64 |a, b| a * b]} Multiply;
    /// The quotient `a / b`, in floating point.
    divide try_divide: Float => Same, on (-2.0, 2.0) (0.4, 2.0),
        d (|t, _a, b, _y| t / b, |t, _a, b, y| negative(&(t * (y / b)))),
        {[real |a, b| a / b] [c64 |a, b| math::c64::div(a, b)]} Divide;
    /// The quotient rounded down: of the exact quotient, so that it and [`remainder`] belong together. Integers:
    /// division by zero gives 0.
    floor_divide try_floor_divide: Same => Same, on (0.2, 0.8) (1.0, 2.0), d zero,
        {[math floor_divide]
         [int |a, b| {
             if b == 0 { 0 } else {
                 let q = a.wrapping_div(b);
                 if a.wrapping_rem(b) != 0 && (a < 0) != (b < 0) { q.wrapping_sub(1) } else { q }
             }
         }]
         [uint |a, b| a.checked_div(b).unwrap_or(0)] [bool |a, b| a & b]};
    /// The remainder of [`floor_divide`], with the sign of the divisor. Integers: `a` when the divisor is zero.
    /// Its derivative by `b` is minus the quotient rounded down.
    remainder try_remainder: Same => Same, on (0.2, 0.8) (1.0, 2.0),
        d (|t, _a, _b, _y| t.clone(), |t, a, b, _y| negative(&(t * floor_divide(a, b)))),
        {[math remainder]
         [int |a, b| {
             if b == 0 { a } else {
                 let r = a.wrapping_rem(b);
                 if r != 0 && (r < 0) != (b < 0) { r.wrapping_add(b) } else { r }
             }
         }]
         [uint |a, b| a.checked_rem(b).unwrap_or(a)] [bool |a, b| a & !b]};
    /// `a` to the power `b`. Integers: zero for a negative exponent, and wrapping. The derivative in `b` is 0 where
    /// `a` is 0 and `b` is not negative.
    power try_power: Same => Same, on (0.3, 2.0) (-2.0, 2.0),
        d (
            |t, a, b, _y| {
                // At a = b = 0 this is 0 times infinity, and only there is it kept from that: with b = 0 elsewhere
                // the derivative in b still counts.
                let neither = ops::logical_and(&equal(a, &zero(a)), &equal(b, &zero(b)));
                t * (b * power(&where_(&neither, &one(a), a), &(b - 1.0)))
            },
            |t, a, b, y| {
                // Powers of 0 with b ≥ 0 are flat, log 0 notwithstanding.
                let flat = ops::logical_and(&equal(a, &zero(a)), &greater_equal(b, &zero(b)));
                t * (y * log(&where_(&flat, &one(a), a)))
            }
        ),
        {[math pow] [int |a, b| if b < 0 { 0 } else { wrapping_power!(a, b) }]
         [uint |a, b| wrapping_power!(a, b)] [bool |a, b| a | !b] [c64 |a, b| math::c64::pow(a, b)]};
    /// The larger of the two, NaN if either is. Where they are equal the gradient goes to `b`.
    maximum try_maximum: Same => Same, on (-2.0, 0.0) (0.1, 2.0),
        d (
            |t, a, b, _y| where_(&greater(a, b), t, &zero(t)),
            |t, a, b, _y| where_(&greater(a, b), &zero(t), t)
        ),
        {[real |a, b| if a > b || a.is_nan() { a } else { b }] [int |a, b| a.max(b)] [uint |a, b| a.max(b)]
         [bool |a, b| a | b] [c64 |a, b| if before(b, a) || a.is_nan() { a } else { b }]} Maximum;
    /// The smaller of the two, NaN if either is. Where they are equal the gradient goes to `b`.
    minimum try_minimum: Same => Same, on (-2.0, 0.0) (0.1, 2.0),
        d (
            |t, a, b, _y| where_(&ops::less(a, b), t, &zero(t)),
            |t, a, b, _y| where_(&ops::less(a, b), &zero(t), t)
        ),
        {[real |a, b| if a < b || a.is_nan() { a } else { b }] [int |a, b| a.min(b)] [uint |a, b| a.min(b)]
         [bool |a, b| a & b] [c64 |a, b| if before(a, b) || a.is_nan() { a } else { b }]} Minimum;
    /// The angle of the point `(b, a)`: the inverse tangent of `a / b` in the right quadrant. The derivative at the
    /// origin is 0.
    arctan2 try_arctan2: Float => Same, on (0.3, 2.0) (0.3, 2.0),
        d (
            |t, a, b, _y| t * (hypot_share(b, a) / length(a, b)),
            |t, a, b, _y| negative(&(t * (hypot_share(a, b) / length(a, b))))
        ),
        {[math atan2]};
    /// The length of the vector `(a, b)` of real numbers; see `hypot` for the one that also takes complex arrays.
    real_hypot try_real_hypot: Float => Same, on (0.3, 2.0) (0.3, 2.0),
        d (|t, a, b, _y| t * hypot_share(a, b), |t, a, b, _y| t * hypot_share(b, a)),
        {[math hypot]};
    /// `a/√(a² + b²)`, the derivative of [`real_hypot`]; 0 at the origin.
    hypot_share try_hypot_share: Float => Same, on (0.3, 2.0) (0.3, 2.0),
        d (
            |t, a, b, _y| t * (square(&hypot_share(b, a)) / length(a, b)),
            |t, a, b, y| negative(&(t * (y * hypot_share(b, a) / length(a, b))))
        ),
        {[math hypot_share]};
    /// `log(eᵃ + eᵇ)` without overflow. The derivatives at equal infinities are ½.
    logaddexp try_logaddexp: Float => Same, on (-2.0, 2.0) (-2.0, 2.0),
        d (|t, a, b, _y| t * logistic_share(a, b), |t, a, b, _y| t * logistic_share(b, a)),
        {[math logaddexp] [c64 |a, b| math::c64::logaddexp(a, b)]};
    /// `eᵃ/(eᵃ + eᵇ)`, the derivative of [`logaddexp`]: smooth at `a = b`, and accurate in both tails.
    logistic_share try_logistic_share: Float => Same, on (-2.0, 2.0) (-2.0, 2.0),
        d (
            |t, a, b, y| t * (y * logistic_share(b, a)),
            |t, a, b, y| negative(&(t * (y * logistic_share(b, a))))
        ),
        {[math logistic_share] [c64 |a, b| math::c64::logistic_share(a, b)]};
    /// Whether `a = b`.
    equal try_equal: Same => Bool, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[real |a, b| a == b] [int |a, b| a == b] [uint |a, b| a == b] [bool |a, b| a == b] [c64 |a, b| a == b]} Equal;
    /// Whether `a ≠ b`.
    not_equal try_not_equal: Same => Bool, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[real |a, b| a != b] [int |a, b| a != b] [uint |a, b| a != b] [bool |a, b| a != b] [c64 |a, b| a != b]} NotEqual;
    /// Whether `a < b`; complex numbers are ordered by their real part, then by their imaginary part.
    less try_less: Same => Bool, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[real |a, b| a < b] [int |a, b| a < b] [uint |a, b| a < b] [bool |a, b| !a & b] [c64 |a, b| before(a, b)]} Less;
    /// Whether `a ≤ b`.
    less_equal try_less_equal: Same => Bool, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[real |a, b| a <= b] [int |a, b| a <= b] [uint |a, b| a <= b] [bool |a, b| a <= b]
         [c64 |a, b| before(a, b) || a == b]} LessEqual;
    /// Whether `a > b`.
    greater try_greater: Same => Bool, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[real |a, b| a > b] [int |a, b| a > b] [uint |a, b| a > b] [bool |a, b| a & !b] [c64 |a, b| before(b, a)]} Greater;
    /// Whether `a ≥ b`.
    greater_equal try_greater_equal: Same => Bool, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[real |a, b| a >= b] [int |a, b| a >= b] [uint |a, b| a >= b] [bool |a, b| a >= b]
         [c64 |a, b| before(b, a) || a == b]} GreaterEqual;
    /// Whether both are true (not zero).
    logical_and try_logical_and: Bool => Bool, on (0.0, 1.0) (0.0, 1.0), d zero, {[bool |a, b| a & b]} And;
    /// Whether at least one is true (not zero).
    logical_or try_logical_or: Bool => Bool, on (0.0, 1.0) (0.0, 1.0), d zero, {[bool |a, b| a | b]} Or;
    /// The conjunction of each pair of bits.
    bitwise_and try_bitwise_and: Same => Same, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[int |a, b| a & b] [uint |a, b| a & b] [bool |a, b| a & b]};
    /// The disjunction of each pair of bits.
    bitwise_or try_bitwise_or: Same => Same, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[int |a, b| a | b] [uint |a, b| a | b] [bool |a, b| a | b]};
    /// The exclusive disjunction of each pair of bits.
    bitwise_xor try_bitwise_xor: Same => Same, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[int |a, b| a ^ b] [uint |a, b| a ^ b] [bool |a, b| a ^ b]};
    /// The bits of `a` moved up by `b`, taken modulo the width; truth values count as `uint8`.
    left_shift try_left_shift: Same => Same, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[int |a, b| a.wrapping_shl(b as u32)] [uint |a, b| a.wrapping_shl(b as u32)]};
    /// The bits of `a` moved down by `b`, taken modulo the width; truth values count as `uint8`.
    right_shift try_right_shift: Same => Same, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[int |a, b| a.wrapping_shr(b as u32)] [uint |a, b| a.wrapping_shr(b as u32)]};
}
