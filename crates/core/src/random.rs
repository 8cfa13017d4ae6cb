//! Random numbers.
//!
//! A key is a pair of 32-bit numbers. It determines the result: the same key always gives the same numbers, on any
//! machine. The numbers are those of MLX for the key, where those are right (`laplace` may differ in the last bit; see
//! also [`randint`] and [`truncated_normal`]). [`split`] makes independent keys from one. A call without a key takes one
//! from the state of its thread, which [`seed`] sets. The state advances when the function is called, not when the array
//! is evaluated, so the order of evaluations changes no number.
//!
//! Inside [`vmap`](crate::transforms::vmap) a call without a key draws once, for all examples together; a different
//! [`Randomness`](crate::transforms::Randomness) changes that. A call with a batch of keys draws for each example.
//!
//! ```
//! use covector_core::{Dtype, random};
//! let key = random::key(7);
//! let a = random::normal(&[2, 3], Dtype::F32, 0.0, 1.0, Some(&key))?;
//! let b = random::normal(&[2, 3], Dtype::F32, 0.0, 1.0, Some(&key))?;
//! assert_eq!(a.to_vec::<f32>(), b.to_vec::<f32>());
//! # Ok::<(), covector_core::Error>(())
//! ```

mod distributions;
pub(crate) mod primitives;
mod state;

pub use crate::ops::block::operand::Operand;
pub use distributions::*;
pub(crate) use state::{Draw, Recording, Refusing};
pub use state::{seed, set_state, state};

use crate::array::Array;
use crate::error::{Error, Result};
use crate::ops::block::op;
use crate::ops::spec::{Extents, Visitor};
use crate::random::primitives::RandomBits;
use crate::shape::{Shape, ShapeText};
use covector_kernels::Dtype;
use smallvec::smallvec;

/// The key of a seed.
pub fn key(seed: u64) -> Array {
    key_array([(seed >> 32) as u32, seed as u32])
}

fn key_array(key: [u32; 2]) -> Array {
    Array::from_slice(&key, &[2]).expect("two numbers fill the shape (2,)")
}

fn random_bits(key: &Array, shape: &[usize], dtype: Dtype) -> Result<Array> {
    Array::apply(RandomBits { shape: Shape::from_slice(shape), dtype }, smallvec![key.clone()])
}

fn check_key(op: &'static str, key: &Array) -> Result<()> {
    if key.dtype() != Dtype::U32 {
        return Err(Error::dtype(
            op,
            format!("a key holds uint32 numbers, not {}; make keys with key(seed) and split", key.dtype()),
        ));
    }
    if key.shape() != [2] {
        return Err(Error::shape(
            op,
            format!(
                "a key has the shape (2,), not {}; index one key, or vmap the function over the keys",
                ShapeText(key.shape())
            ),
        ));
    }
    Ok(())
}

/// The given key, or the next one of the state.
fn key_or_next(op: &'static str, key: Option<&Array>) -> Result<Array> {
    match key {
        Some(key) => {
            check_key(op, key)?;
            Ok(key.clone())
        }
        None => state::next_key(),
    }
}

op! {
    in Random;

    /// Independent keys made from one: an array of shape `(num, 2)`.
    ///
    /// Use each key once; use [`split`] where a function needs several.
    ///
    /// # Errors
    /// When `key` is no key: an array of two `uint32`.
    pub fn split(key: &Array, num: usize)
    python split(key: Array, num: usize = 2)
    samples {
        flat [input([2], Kind::Key)] |key| split(key, 3);
    }
    {
        check_key("split", key)?;
        random_bits(key, &[num, 2], Dtype::U32)
    }

    /// Uniform random unsigned integers that fill all the bits of their type: `uint8`, `uint16` or `uint32`.
    ///
    /// # Errors
    /// When the element type is another one, or `key` is not a key.
    pub fn bits(shape: &[usize], dtype: Dtype, key: Option<&Array>)
    python bits(shape: Option<Extents> = None, dtype: Option<Dtype> = None, key: Option<Array> = None)
    => { bits(shape.unwrap_or_default(), dtype.unwrap_or(Dtype::U32), key) }
    samples {
        flat [input([2], Kind::Key)] |key| bits(&[3, 2], Dtype::U32, Some(key));
    }
    {
        if !matches!(dtype, Dtype::U8 | Dtype::U16 | Dtype::U32) {
            return Err(Error::dtype(
                "bits",
                format!("{dtype} is not supported; ask for uint8, uint16 or uint32"),
            ));
        }
        random_bits(&key_or_next("bits", key)?, shape, dtype)
    }
}

/// Visits the random functions.
pub(crate) fn visit_all(visitor: &mut impl Visitor) {
    visit(visitor);
    distributions::visit(visitor);
}
