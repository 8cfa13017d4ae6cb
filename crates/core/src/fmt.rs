//! How arrays print: MLX's format, the same in Rust and in Python.
//!
//! Values of all types print as C's `%g` with six digits. An axis longer than six shows three elements at either end.
//! Rows are aligned on their brackets, without other padding. Example: `array([1, 2.5], dtype=float32)`.

use crate::array::Array;
use crate::error::Result;
use crate::shape::ShapeText;
use covector_kernels::{C64, bf16, f16, with_dtype};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// A longer axis prints in part.
const LONGEST: usize = 6;
/// The number of elements that a longer axis shows at either end.
const EDGE: usize = 3;
/// Decimal places, or −1 for the general format.
static PRECISION: AtomicI32 = AtomicI32::new(-1);

/// Sets the number of decimal places with which floating-point elements print. `None` is the general format: up to six
/// significant digits, without trailing zeros.
pub fn set_precision(places: Option<u16>) {
    PRECISION.store(places.map_or(-1, i32::from), Relaxed);
}

/// The number of decimal places that [`set_precision`] has set.
pub fn precision() -> Option<u16> {
    u16::try_from(PRECISION.load(Relaxed)).ok()
}

/// A number in C's `%g` format: at most `digits` significant digits, no trailing zeros, and an exponent if the number is
/// below 1e-4 or has more than `digits` digits in front of the point.
pub fn general(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.into();
    }
    let digits = digits.max(1);
    // Rounding comes first: it may carry into the next power of ten.
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("Rust writes an exponent");
    let exponent: i32 = exponent.parse().expect("Rust writes an integer exponent");
    let trim = |s: &str| -> String {
        if s.contains('.') { s.trim_end_matches('0').trim_end_matches('.').into() } else { s.into() }
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trim(mantissa), exponent.abs())
    } else {
        trim(&format!("{value:.*}", (digits as i32 - 1 - exponent).max(0) as usize))
    }
}

fn number(value: f64) -> String {
    match precision() {
        Some(places) if value.is_finite() => format!("{value:.*}", usize::from(places)),
        _ => general(value, 6),
    }
}

/// How one element prints.
trait Show {
    fn show(&self) -> String;
}

macro_rules! show {
    ($($t:ty: |$x:ident| $e:expr;)*) => {$(
        impl Show for $t {
            fn show(&self) -> String {
                let $x = self;
                $e
            }
        }
    )*};
}
show! {
    bool: |x| if *x { "True".into() } else { "False".into() };
    u8: |x| x.to_string();
    u16: |x| x.to_string();
    u32: |x| x.to_string();
    u64: |x| x.to_string();
    i8: |x| x.to_string();
    i16: |x| x.to_string();
    i32: |x| x.to_string();
    i64: |x| x.to_string();
    f16: |x| number(x.to_f64());
    bf16: |x| number(x.to_f64());
    f32: |x| number(f64::from(*x));
    f64: |x| number(*x);
    C64: |z| {
        // An imaginary −0 prints as `+-0`, so that its sign is visible.
        let plus = if z.im < 0.0 { "" } else { "+" };
        format!("{}{plus}{}j", number(f64::from(z.re)), number(f64::from(z.im)))
    };
}

/// Writes the elements from `offset` on, the axes `shape` with the opening bracket at column `column`.
fn write<T: Show>(out: &mut String, values: &[T], shape: &[usize], offset: usize, column: usize) {
    let Some((&n, rest)) = shape.split_first() else {
        out.push_str(&values[offset].show());
        return;
    };
    // No element prints below an empty axis.
    let step: usize = rest.iter().product();
    let separate = |out: &mut String| {
        if rest.is_empty() {
            out.push_str(", ");
        } else {
            out.push_str(",\n");
            out.extend(std::iter::repeat_n(' ', column + 1));
        }
    };
    out.push('[');
    let cut = n > LONGEST;
    let shown: Vec<usize> = if cut { (0..EDGE).chain(n - EDGE..n).collect() } else { (0..n).collect() };
    for (place, &i) in shown.iter().enumerate() {
        if place > 0 {
            separate(out);
        }
        if cut && place == EDGE {
            out.push_str("...");
            separate(out);
        }
        write(out, values, rest, offset + i * step, column + 1);
    }
    out.push(']');
}

/// The array as text: `array([1, 2.5], dtype=float32)`.
///
/// # Errors
/// When there are no values: inside `vmap` or `compile`, or when computing them fails.
pub fn text(array: &Array) -> Result<String> {
    const OPEN: &str = "array(";
    let mut out = String::from(OPEN);
    let shape = array.shape();
    // Axes behind an empty one do not print.
    let depth = shape.iter().position(|&n| n == 0).map_or(shape.len(), |k| k + 1);
    with_dtype!(array.dtype(), T => {
        let data = array.data()?.row_major("print")?;
        let view = data.view();
        let values: &[T] = view.as_slice().expect("row-major and of this type");
        write(&mut out, values, &shape[..depth], 0, OPEN.len());
    });
    out.push_str(&format!(", dtype={})", array.dtype()));
    Ok(out)
}

/// The values, which are computed if needed. If that fails, and inside `vmap` and `compile`, the reason, the shape and
/// the type.
impl std::fmt::Display for Array {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match text(self) {
            Ok(text) => f.write_str(&text),
            Err(error) => {
                let shape = ShapeText(self.shape());
                write!(f, "array(<no value: {error}>, shape={shape}, dtype={})", self.dtype())
            }
        }
    }
}

/// The type and shape, and the values if they exist; never computes anything.
impl std::fmt::Debug for Array {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_available() {
            return write!(f, "{self}");
        }
        write!(f, "Array({}, {}, not computed)", self.dtype(), ShapeText(self.shape()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_percent_g() {
        let cases = [
            (1.0, "1"),
            (2.5, "2.5"),
            (1.0 / 3.0, "0.333333"),
            (1e-5, "1e-05"),
            (1e-4, "0.0001"),
            (123456.0, "123456"),
            (1234567.0, "1.23457e+06"),
            (999999.5, "1e+06"),
            (100000.5, "100000"),
            (1e10, "1e+10"),
            (0.000123457, "0.000123457"),
            (-0.0, "-0"),
            (-1.5, "-1.5"),
            (1e100, "1e+100"),
            (9.999996, "10"),
            (0.00009999999, "0.0001"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, text) in cases {
            assert_eq!(general(value, 6), text);
        }
    }

    #[test]
    fn arrays_print_as_mlx_does() {
        let range = |n: usize, shape: &[usize]| {
            let values: Vec<i32> = (0..n as i32).collect();
            Array::from_slice(&values, shape).unwrap().to_string()
        };
        assert_eq!(Array::new([1.0f32, 2.5, -0.0]).to_string(), "array([1, 2.5, -0], dtype=float32)");
        assert_eq!(Array::scalar(true).to_string(), "array(True, dtype=bool)");
        assert_eq!(Array::scalar(C64::new(0.5, -1.5)).to_string(), "array(0.5-1.5j, dtype=complex64)");
        assert_eq!(Array::scalar(f16::from_f32(0.1)).to_string(), "array(0.0999756, dtype=float16)");
        assert_eq!(range(6, &[6]), "array([0, 1, 2, 3, 4, 5], dtype=int32)");
        assert_eq!(range(7, &[7]), "array([0, 1, 2, ..., 4, 5, 6], dtype=int32)");
        assert_eq!(range(4, &[2, 2]), "array([[0, 1],\n       [2, 3]], dtype=int32)");
        assert_eq!(
            range(14, &[7, 2]),
            "array([[0, 1],\n       [2, 3],\n       [4, 5],\n       ...,\n       [8, 9],\n       [10, 11],\n       [12, 13]], dtype=int32)"
        );
        assert_eq!(
            range(8, &[2, 2, 2]),
            "array([[[0, 1],\n        [2, 3]],\n       [[4, 5],\n        [6, 7]]], dtype=int32)"
        );
        assert_eq!(range(0, &[0, 3]), "array([], dtype=int32)");
        assert_eq!(range(0, &[2, 0, 3]), "array([[],\n       []], dtype=int32)");
    }

    #[test]
    fn debugging_never_computes() {
        let x = Array::new([1.0f32, 2.0]) + 1.0;
        assert_eq!(format!("{x:?}"), "Array(float32, (2,), not computed)");
        assert!(!x.is_available());
    }
}
