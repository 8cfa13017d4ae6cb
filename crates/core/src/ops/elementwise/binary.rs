//! The table of binary elementwise operations. Rows are read as in [`unary`](super::unary); inputs are promoted
//! to one type and broadcast, and the derivative has one expression for each input.

use crate::array::Array;
use crate::error::Result;
use crate::ops;
use crate::ops::elementwise::unary::{log, negative, square};
use crate::ops::elementwise::{Row, RowFn, Takes, Tiles, apply2, row_table, tiles};
use covector_kernels::{C64, Dtype, math, tile2};

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

row_table! {
    /// The sum; of truth values their disjunction.
    add / try_add(a, b): Same => Same, on (-2.0, 2.0) (-2.0, 2.0), d (|t, _a, _b, _y| t.clone(), |t, _a, _b, _y| t.clone()),
        {[real |a, b| a + b] [int |a, b| a.wrapping_add(b)] [uint |a, b| a.wrapping_add(b)] [bool |a, b| a | b]
         [c64 |a, b| a + b]} as Add
        special two(
            |a, b| [a + b, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[(0.0, 0.0), (1.0, -1.0), (INF, 1.0)],
            &[],
        );
    /// The difference `a − b`.
    subtract / try_subtract(a, b): Same => Same, on (-2.0, 2.0) (-2.0, 2.0),
        d (|t, _a, _b, _y| t.clone(), |t, _a, _b, _y| negative(t)),
        {[real |a, b| a - b] [int |a, b| a.wrapping_sub(b)] [uint |a, b| a.wrapping_sub(b)] [bool |a, b| a ^ b]
         [c64 |a, b| a - b]} as Subtract
        special two(
            |a, b| [a - b, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[(0.0, 0.0), (1.0, 1.0), (INF, 1.0)],
            &[],
        );
    /// The product; of truth values their conjunction.
    multiply / try_multiply(a, b): Same => Same, on (-2.0, 2.0) (-2.0, 2.0), d (|t, _a, b, _y| t * b, |t, a, _b, _y| t * a),
        {[real |a, b| a * b] [int |a, b| a.wrapping_mul(b)] [uint |a, b| a.wrapping_mul(b)] [bool |a, b| a & b]
         [c64 |a, b| a * b]} as Multiply
        special two(
            |a, b| [a * b, b, a, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[(0.0, 0.0), (0.0, 3.0), (-0.0, 1e300), (2.0, 2.0)],
            &[],
        );
    /// The quotient `a / b`, in floating point.
    divide / try_divide(a, b): Float => Same, on (-2.0, 2.0) (0.4, 2.0),
        d (|t, _a, b, _y| t / b, |t, _a, b, y| negative(&(t * (y / b)))),
        {[real |a, b| a / b] [c64 |a, b| math::c64::div(a, b)]} as Divide
        special two(
            |a, b| {
                let (q, r) = (a / b, 1.0 / b);
                [q, r, -q * r, 0.0, -r * r, 2.0 * q * r * r, 0.0, 0.0, 2.0 * r * r * r, -6.0 * q * r * r * r]
            },
            &[(0.0, 1.0), (-0.0, -2.0), (1.0, 1.0), (1e100, 1e100), (1e-100, 1e-90)],
            &[((1.0, INF), [0.0; 10]), ((1.0, 0.0), [INF, INF, -INF, 0.0, -INF, INF, 0.0, 0.0, INF, -INF])],
        );
    /// The quotient rounded down: of the exact quotient, so that it and [`remainder`] belong together. Integers:
    /// division by zero gives 0.
    floor_divide / try_floor_divide(a, b): Same => Same, on (0.2, 0.8) (1.0, 2.0), d zero,
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
    remainder / try_remainder(a, b): Same => Same, on (0.2, 0.8) (1.0, 2.0),
        d (|t, _a, _b, _y| t.clone(), |t, a, b, _y| negative(&(t * floor_divide(a, b)))),
        {[math remainder]
         [int |a, b| {
             if b == 0 { a } else {
                 let r = a.wrapping_rem(b);
                 if r != 0 && (r < 0) != (b < 0) { r.wrapping_add(b) } else { r }
             }
         }]
         [uint |a, b| a.checked_rem(b).unwrap_or(a)] [bool |a, b| a & !b]}
        special two(
            |a, b| [a - b * (a / b).floor(), 1.0, -(a / b).floor(), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[(0.5, 1.0), (-0.5, 2.0), (5.5, -2.0)],
            // On a jump, the side of the values that follow.
            &[((4.0, 2.0), [0.0, 1.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])],
        );
    /// `a` to the power `b`. Integers: zero for a negative exponent, and wrapping. The derivative in `b` is 0 where
    /// `a` is 0 and `b` is not negative.
    power / try_power(a, b) | pow: Same => Same, on (0.3, 2.0) (-2.0, 2.0),
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
         [uint |a, b| wrapping_power!(a, b)] [bool |a, b| a | !b] [c64 |a, b| math::c64::pow(a, b)]}
        special two(
            |a, b| {
                let (p, l) = (|n: f64| a.powf(b - n), a.ln());
                [
                    p(0.0),
                    b * p(1.0),
                    p(0.0) * l,
                    b * (b - 1.0) * p(2.0),
                    p(1.0) * (1.0 + b * l),
                    p(0.0) * l * l,
                    b * (b - 1.0) * (b - 2.0) * p(3.0),
                    p(2.0) * ((b - 1.0) * (1.0 + b * l) + b),
                    p(1.0) * l * (2.0 + b * l),
                    p(0.0) * l * l * l,
                ]
            },
            &[
                (2.0, 0.0),
                (2.0, -0.0),
                (1.0, 0.0),
                (1.0, 1.0),
                (0.5, -1.0),
                (3.0, 2.0),
                (2.0, 3.0),
                (1e-5, 2.0),
                (1e-20, 0.0),
            ],
            &[
                ((0.0, 0.0), [1.0, 0.0, 0.0, 0.0, OPEN, 0.0, 0.0, OPEN, OPEN, 0.0]),
                ((0.0, 1.0), [0.0, 1.0, 0.0, 0.0, OPEN, 0.0, 0.0, OPEN, OPEN, 0.0]),
                ((0.0, 2.0), [0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, OPEN, 0.0, 0.0]),
                ((-0.0, 3.0), [-0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0]),
                ((0.0, 1.5), [0.0, 0.0, 0.0, INF, 0.0, 0.0, -INF, OPEN, 0.0, 0.0]),
                ((0.0, -1.0), [INF, -INF, -INF, INF, OPEN, OPEN, -INF, OPEN, OPEN, OPEN]),
                // A negative base has derivatives in the base alone.
                ((-2.0, 3.0), [-8.0, 12.0, OPEN, -12.0, OPEN, OPEN, 6.0, OPEN, OPEN, OPEN]),
                ((-2.0, -1.0), [-0.5, -0.25, OPEN, -0.25, OPEN, OPEN, -0.375, OPEN, OPEN, OPEN]),
                ((-2.0, 0.0), [1.0, 0.0, OPEN, 0.0, OPEN, OPEN, 0.0, OPEN, OPEN, OPEN]),
            ],
        );
    /// The larger of the two, NaN if either is. Where they are equal the gradient goes to `b`.
    maximum / try_maximum(a, b): Same => Same, on (-2.0, 0.0) (0.1, 2.0),
        d (
            |t, a, b, _y| where_(&greater(a, b), t, &zero(t)),
            |t, a, b, _y| where_(&greater(a, b), &zero(t), t)
        ),
        {[real |a, b| if a > b || a.is_nan() { a } else { b }] [int |a, b| a.max(b)] [uint |a, b| a.max(b)]
         [bool |a, b| a | b] [c64 |a, b| if before(b, a) || a.is_nan() { a } else { b }]} as Maximum
        special two(
            |a, b| [a.max(b), f64::from(a > b), f64::from(b > a), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[(1.0, 2.0), (2.0, 1.0), (0.0, -1e-300), (-INF, 0.0)],
            &[((1.0, 1.0), [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])],
        );
    /// The smaller of the two, NaN if either is. Where they are equal the gradient goes to `b`.
    minimum / try_minimum(a, b): Same => Same, on (-2.0, 0.0) (0.1, 2.0),
        d (
            |t, a, b, _y| where_(&ops::less(a, b), t, &zero(t)),
            |t, a, b, _y| where_(&ops::less(a, b), &zero(t), t)
        ),
        {[real |a, b| if a < b || a.is_nan() { a } else { b }] [int |a, b| a.min(b)] [uint |a, b| a.min(b)]
         [bool |a, b| a & b] [c64 |a, b| if before(a, b) || a.is_nan() { a } else { b }]} as Minimum
        special two(
            |a, b| [a.min(b), f64::from(a < b), f64::from(b < a), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[(1.0, 2.0), (2.0, 1.0), (0.0, -1e-300), (INF, 0.0)],
            &[((1.0, 1.0), [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])],
        );
    /// The angle of the point `(b, a)`: the inverse tangent of `a / b` in the right quadrant. The derivative at the
    /// origin is 0.
    arctan2 / try_arctan2(a, b) | atan2: Float => Same, on (0.3, 2.0) (0.3, 2.0),
        d (
            |t, a, b, _y| t * (hypot_share(b, a) / length(a, b)),
            |t, a, b, _y| negative(&(t * (hypot_share(a, b) / length(a, b))))
        ),
        {[math atan2]}
        special two(
            |a, b| {
                let h = a.hypot(b);
                let (s, c) = (a / h, b / h);
                let (h2, h3) = (h * h, h * h * h);
                [
                    a.atan2(b),
                    c / h,
                    -s / h,
                    -2.0 * s * c / h2,
                    (s * s - c * c) / h2,
                    2.0 * s * c / h2,
                    2.0 * c * (3.0 * s * s - c * c) / h3,
                    2.0 * s * (3.0 * c * c - s * s) / h3,
                    2.0 * c * (c * c - 3.0 * s * s) / h3,
                    2.0 * s * (s * s - 3.0 * c * c) / h3,
                ]
            },
            &[
                (0.0, 1.0),
                (-0.0, 1.0),
                (0.0, -1.0),
                (1.0, 0.0),
                (-1.0, 0.0),
                (1.0, 1.0),
                (2.0, -2.0),
                (1e-90, 2e-90),
                (1e90, 1e90),
            ],
            &[
                ((0.0, 0.0), [0.0, 0.0, 0.0, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN]),
                ((1e200, 1e200), [0.5 * FRAC_PI_2, 5e-201, -5e-201, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ((1e-200, 0.0), [FRAC_PI_2, 0.0, -1e200, OPEN, INF, OPEN, OPEN, OPEN, OPEN, OPEN]),
                ((1.0, INF), [0.0; 10]),
            ],
        );
    /// The length of the vector `(a, b)` of real numbers; see `hypot` for the one that also takes complex arrays.
    real_hypot / try_real_hypot(a, b) @hidden: Float => Same, on (0.3, 2.0) (0.3, 2.0),
        d (|t, a, b, _y| t * hypot_share(a, b), |t, a, b, _y| t * hypot_share(b, a)),
        {[math hypot]}
        special two(hypot, HYPOT_AT, HYPOT_EDGES);
    /// `a/√(a² + b²)`, the derivative of [`real_hypot`]; 0 at the origin.
    hypot_share / try_hypot_share(a, b) @hidden: Float => Same, on (0.3, 2.0) (0.3, 2.0),
        d (
            |t, a, b, _y| t * (square(&hypot_share(b, a)) / length(a, b)),
            |t, a, b, y| negative(&(t * (y * hypot_share(b, a) / length(a, b))))
        ),
        {[math hypot_share]}
        special two(
            |a, b| {
                let [_, c, _, aa, ab, bb, aaa, aab, abb, _] = hypot(a, b);
                let h = a.hypot(b);
                let (s, h3) = (b / h, h * h * h);
                let (cc, ss) = (c * c, s * s);
                [
                    c,
                    aa,
                    ab,
                    aaa,
                    aab,
                    abb,
                    3.0 * ss * (4.0 * cc - ss) / h3,
                    3.0 * c * s * (3.0 * ss - 2.0 * cc) / h3,
                    (2.0 * cc * cc - 11.0 * cc * ss + 2.0 * ss * ss) / h3,
                    3.0 * c * s * (3.0 * cc - 2.0 * ss) / h3,
                ]
                .map(|v| if bb.is_nan() { OPEN } else { v })
            },
            HYPOT_AT,
            &[
                ((0.0, 0.0), [0.0, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN]),
                ((INF, 1.0), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ((-INF, INF), [-FRAC_1_SQRT_2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            ],
        );
    /// `log(eᵃ + eᵇ)` without overflow. The derivatives at equal infinities are ½.
    logaddexp / try_logaddexp(a, b): Float => Same, on (-2.0, 2.0) (-2.0, 2.0),
        d (|t, a, b, _y| t * logistic_share(a, b), |t, a, b, _y| t * logistic_share(b, a)),
        {[math logaddexp] [c64 |a, b| math::c64::logaddexp(a, b)]}
        special two(
            |a, b| {
                let (v, d) = (logistic_slope(a - b), -(0.5 * (a - b)).tanh());
                let (s, r) = (share(a - b), share(b - a));
                let w = v * d;
                [a.max(b) + (-(a - b).abs()).exp().ln_1p(), s, r, v, -v, v, w, -w, w, -w]
            },
            &[
                (0.0, 0.0),
                (-0.0, 0.0),
                (1.0, 1.0),
                (1e300, 1e300),
                (-1e300, -1e300),
                (20.0, 0.0),
                (0.0, 40.0),
                (-700.0, 0.0),
                (1.0, 1.0 + 1e-12),
            ],
            &[
                ((INF, INF), [INF, 0.5, 0.5, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN]),
                ((-INF, -INF), [-INF, 0.5, 0.5, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN]),
                ((INF, -INF), [INF, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ((-INF, 1.0), [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ((1e300, -1e300), [1e300, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            ],
        );
    /// `eᵃ/(eᵃ + eᵇ)`, the derivative of [`logaddexp`]: smooth at `a = b`, and accurate in both tails.
    logistic_share / try_logistic_share(a, b) @hidden: Float => Same, on (-2.0, 2.0) (-2.0, 2.0),
        d (
            |t, a, b, y| t * (y * logistic_share(b, a)),
            |t, a, b, y| negative(&(t * (y * logistic_share(b, a))))
        ),
        {[math logistic_share] [c64 |a, b| math::c64::logistic_share(a, b)]}
        special two(
            |a, b| {
                let (v, d) = (logistic_slope(a - b), -(0.5 * (a - b)).tanh());
                let (w, z) = (v * d, v * (d * d - 2.0 * v));
                [share(a - b), v, -v, w, -w, w, z, -z, z, -z]
            },
            &[(0.0, 0.0), (-0.0, 0.0), (1.0, 1.0), (1e300, 1e300), (20.0, 0.0), (0.0, 40.0), (-700.0, 0.0)],
            &[
                ((INF, INF), [0.5, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN]),
                ((INF, -INF), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
                ((-INF, 1.0), [0.0; 10]),
            ],
        );
    /// Whether `a = b`.
    equal / try_equal(a, b): Same => Bool, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[real |a, b| a == b] [int |a, b| a == b] [uint |a, b| a == b] [bool |a, b| a == b] [c64 |a, b| a == b]} as Equal;
    /// Whether `a ≠ b`.
    not_equal / try_not_equal(a, b): Same => Bool, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[real |a, b| a != b] [int |a, b| a != b] [uint |a, b| a != b] [bool |a, b| a != b] [c64 |a, b| a != b]} as NotEqual;
    /// Whether `a < b`; complex numbers are ordered by their real part, then by their imaginary part.
    less / try_less(a, b): Same => Bool, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[real |a, b| a < b] [int |a, b| a < b] [uint |a, b| a < b] [bool |a, b| !a & b] [c64 |a, b| before(a, b)]} as Less;
    /// Whether `a ≤ b`.
    less_equal / try_less_equal(a, b): Same => Bool, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[real |a, b| a <= b] [int |a, b| a <= b] [uint |a, b| a <= b] [bool |a, b| a <= b]
         [c64 |a, b| before(a, b) || a == b]} as LessEqual;
    /// Whether `a > b`.
    greater / try_greater(a, b): Same => Bool, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[real |a, b| a > b] [int |a, b| a > b] [uint |a, b| a > b] [bool |a, b| a & !b] [c64 |a, b| before(b, a)]} as Greater;
    /// Whether `a ≥ b`.
    greater_equal / try_greater_equal(a, b): Same => Bool, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[real |a, b| a >= b] [int |a, b| a >= b] [uint |a, b| a >= b] [bool |a, b| a >= b]
         [c64 |a, b| before(b, a) || a == b]} as GreaterEqual;
    /// Whether both are true (not zero).
    logical_and / try_logical_and(a, b): Bool => Bool, on (0.0, 1.0) (0.0, 1.0), d zero, {[bool |a, b| a & b]} as And;
    /// Whether at least one is true (not zero).
    logical_or / try_logical_or(a, b): Bool => Bool, on (0.0, 1.0) (0.0, 1.0), d zero, {[bool |a, b| a | b]} as Or;
    /// The conjunction of each pair of bits.
    bitwise_and / try_bitwise_and(a, b): Same => Same, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[int |a, b| a & b] [uint |a, b| a & b] [bool |a, b| a & b]};
    /// The disjunction of each pair of bits.
    bitwise_or / try_bitwise_or(a, b): Same => Same, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[int |a, b| a | b] [uint |a, b| a | b] [bool |a, b| a | b]};
    /// The exclusive disjunction of each pair of bits.
    bitwise_xor / try_bitwise_xor(a, b): Same => Same, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[int |a, b| a ^ b] [uint |a, b| a ^ b] [bool |a, b| a ^ b]};
    /// The bits of `a` moved up by `b`, taken modulo the width; truth values count as `uint8`.
    left_shift / try_left_shift(a, b) | bitwise_left_shift: Same => Same, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[int |a, b| a.wrapping_shl(b as u32)] [uint |a, b| a.wrapping_shl(b as u32)]};
    /// The bits of `a` moved down by `b`, taken modulo the width; truth values count as `uint8`.
    right_shift / try_right_shift(a, b) | bitwise_right_shift: Same => Same, on (0.0, 1.0) (0.0, 1.0), d zero,
        {[int |a, b| a.wrapping_shr(b as u32)] [uint |a, b| a.wrapping_shr(b as u32)]};
}
