//! The settings of optimizers and layers: their names, defaults, documentation and checks, as a row of a table states them.
//!
//! The Python package makes its classes from these descriptions, so that a setting is written down once.

use covector_core::{Error, Result};

/// The value of a setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A real number.
    Number(f64),
    /// Two real numbers.
    Pair([f64; 2]),
    /// A switch.
    Flag(bool),
    /// An axis, counted from the end if it is negative.
    Axis(isize),
}

/// The Rust types that a setting can have.
pub trait Kind: Copy {
    /// The value with its kind.
    fn value(self) -> Value;
    /// The value, if it has this kind.
    fn of(value: Value) -> Option<Self>;
}

macro_rules! kinds {
    ($($ty:ty: $variant:ident),*) => {$(
        impl Kind for $ty {
            fn value(self) -> Value {
                Value::$variant(self)
            }

            fn of(value: Value) -> Option<Self> {
                match value {
                    Value::$variant(value) => Some(value),
                    _ => None,
                }
            }
        }
    )*};
}
kinds!(f64: Number, [f64; 2]: Pair, bool: Flag, isize: Axis);

/// A setting of an optimizer or layer.
#[derive(Debug)]
pub struct Setting {
    /// Its name, the same in Rust and in Python.
    pub name: &'static str,
    /// The documentation.
    pub doc: &'static str,
    /// The value if none is given.
    pub default: fn() -> Value,
    /// Refuses values that cannot work, given the name of the owner and of the setting.
    pub check: Check,
}

/// Refuses values that cannot work, given the name of the owner and of the setting.
pub type Check = fn(&'static str, &str, Value) -> Result<()>;

impl Setting {
    /// The value number `i` of `values` as a `T`.
    ///
    /// # Errors
    /// When there is none, or it has another kind.
    pub fn read<T: Kind>(owner: &'static str, values: &[Value], i: usize) -> Result<T> {
        let wrong = || Error::value(owner, format!("setting number {i} is missing or of another kind"));
        values.get(i).copied().and_then(T::of).ok_or_else(wrong)
    }
}

/// Tests each number of a value. The numbers of a pair are named as in `beta1` and `beta2` of `betas`.
fn each(
    owner: &'static str,
    name: &str,
    value: Value,
    fits: impl Fn(f64) -> bool,
    complaint: &str,
) -> Result<()> {
    let refuse = |name: &str, x: f64| Err(Error::value(owner, format!("{name} {x} {complaint}")));
    match value {
        Value::Number(x) if !fits(x) => refuse(name, x),
        Value::Pair(pair) => match pair.iter().position(|&x| !fits(x)) {
            Some(i) => refuse(&format!("{}{}", name.trim_end_matches('s'), i + 1), pair[i]),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Any value.
pub(crate) fn any(_: &'static str, _: &str, _: Value) -> Result<()> {
    Ok(())
}

/// Neither infinite nor NaN.
pub(crate) fn finite(owner: &'static str, name: &str, value: Value) -> Result<()> {
    each(owner, name, value, f64::is_finite, "is not finite")
}

/// From 0 up to 1, and not 1 itself: the decay of an average.
pub(crate) fn decay(owner: &'static str, name: &str, value: Value) -> Result<()> {
    each(owner, name, value, |x| (0.0..1.0).contains(&x), "is not in [0, 1)")
}

/// From 0 on, and finite.
pub(crate) fn from_zero(owner: &'static str, name: &str, value: Value) -> Result<()> {
    each(owner, name, value, |x| (0.0..f64::INFINITY).contains(&x), "is not in [0, inf)")
}

/// Neither negative nor NaN.
pub(crate) fn not_negative(owner: &'static str, name: &str, value: Value) -> Result<()> {
    each(owner, name, value, |x| x >= 0.0, "must not be negative")
}

/// Neither 0 nor NaN.
pub(crate) fn divisor(owner: &'static str, name: &str, value: Value) -> Result<()> {
    each(owner, name, value, |x| x != 0.0 && !x.is_nan(), "cannot be divided by; for the limit 0 use relu")
}
