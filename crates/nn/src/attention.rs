//! Attention with several heads (Vaswani et al., 2017).

use crate::layers::{Layer, Linear};
use covector_core::ops::{self, Attention, Mask};
use covector_core::shape::ShapeText;
use covector_core::{Array, Error, Result};
use covector_derive::Tree;

/// The features cut into heads: `(batch, positions, features)` becomes `(batch, heads, positions, features / heads)`.
fn heads_of(name: &str, x: &Array, heads: usize) -> Result<Array> {
    let &[batch, positions, features] = x.shape() else {
        return Err(Error::shape(
            "multi_head_attention",
            format!(
                "the {name} must have the shape (batch, positions, features), not {}",
                ShapeText(x.shape())
            ),
        ));
    };
    if heads == 0 || !features.is_multiple_of(heads) {
        return Err(Error::value(
            "multi_head_attention",
            format!("the {features} features of the {name} cannot be cut into {heads} heads; give a divisor"),
        ));
    }
    let shape = [batch, positions, heads, features / heads].map(|n| n as isize);
    ops::try_transpose(&ops::try_reshape(x, &shape)?, &[0, 2, 1, 3])
}

/// Attention of projected queries to projected keys and values, all of shape `(batch, positions, features)`, whose
/// features are cut into `heads` that attend separately. The result has the queries' positions and the values'
/// features.
///
/// # Errors
/// When shapes or element types do not fit.
pub fn try_multi_head_attention(
    queries: &Array,
    keys: &Array,
    values: &Array,
    heads: usize,
    mask: Mask<'_>,
) -> Result<Array> {
    let q = heads_of("queries", queries, heads)?;
    let k = heads_of("keys", keys, heads)?;
    let v = heads_of("values", values, heads)?;
    let scale = (1.0 / q.dim(-1) as f64).sqrt();
    let options = Attention { mask, ..Attention::new(scale) };
    let out = ops::try_scaled_dot_product_attention(&q, &k, &v, &options)?;
    ops::try_flatten(&ops::try_transpose(&out, &[0, 2, 1, 3])?, -2, -1)
}

/// [`try_multi_head_attention`] with linear maps before and after.
#[derive(Clone, Debug, Tree)]
#[tree(crate = "covector_core")]
pub struct MultiHeadAttention {
    /// Maps the queries.
    pub query_proj: Linear,
    /// Maps the keys.
    pub key_proj: Linear,
    /// Maps the values.
    pub value_proj: Linear,
    /// Maps the outputs of the heads.
    pub out_proj: Linear,
    /// How many heads attend separately.
    pub num_heads: usize,
}

impl MultiHeadAttention {
    /// Maps from `dims` features to as many, without biases.
    ///
    /// # Errors
    /// When `dims` cannot be divided by `heads`.
    pub fn new(dims: usize, heads: usize) -> Result<Self> {
        if heads == 0 || !dims.is_multiple_of(heads) {
            return Err(Error::value(
                "multi_head_attention",
                format!("{dims} features cannot be cut into {heads} heads; give a divisor"),
            ));
        }
        let [query_proj, key_proj, value_proj, out_proj] = [(); 4].map(|()| Linear::without_bias(dims, dims));
        Ok(Self { query_proj, key_proj, value_proj, out_proj, num_heads: heads })
    }

    /// Attention of the queries to the values, by the keys.
    ///
    /// # Errors
    /// When shapes or element types do not fit.
    pub fn try_attend(&self, queries: &Array, keys: &Array, values: &Array, mask: Mask<'_>) -> Result<Array> {
        let (q, k) = (self.query_proj.try_forward(queries)?, self.key_proj.try_forward(keys)?);
        let v = self.value_proj.try_forward(values)?;
        self.out_proj.try_forward(&try_multi_head_attention(&q, &k, &v, self.num_heads, mask)?)
    }
}

/// Attention of a sequence to itself, without a mask.
impl Layer for MultiHeadAttention {
    fn try_forward(&self, x: &Array) -> Result<Array> {
        self.try_attend(x, x, x, Mask::None)
    }
}
