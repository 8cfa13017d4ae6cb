//! Einstein sums, and what models are made of.

use super::{Entry, Input, Kind, entry, flat, input, positive, real};
use crate::array::Array;
use crate::ops;

pub(super) fn sums_of_products() -> Vec<Entry> {
    let sum = |subscripts: &'static str, shapes: &[&[usize]]| {
        entry("einsum", shapes.iter().map(|s| real(s)).collect(), move |x| ops::try_einsum(subscripts, x))
    };
    vec![
        sum("...ij,jk->k...i", &[&[2, 2, 3], &[3, 2]]),
        sum("iij,jk,bk->bi", &[&[2, 2, 3], &[3, 2], &[2, 2]]),
        sum("ij,ij->j", &[&[3, 2], &[1, 2]]),
        sum("i,j->ji", &[&[2], &[3]]),
        sum("bhqd,bkhd->bhqk", &[&[2, 1, 2, 3], &[2, 2, 1, 3]]),
        flat(entry("einsum_path", vec![real(&[2, 3]), real(&[3])], |x| {
            let path = ops::try_einsum_path("ij,j", x)?;
            Ok(Array::scalar(path.contractions.len() as i32))
        })),
    ]
}

pub(super) fn models() -> Vec<Entry> {
    use ops::{Attention, Frequencies, Mask, Offset, Rope};
    let attention = |mask: fn(&[Array]) -> Attention<'_>, extra: Vec<Input>| {
        let mut inputs = vec![real(&[2, 4, 3, 2]), real(&[2, 2, 3, 2]), real(&[2, 2, 3, 3])];
        inputs.extend(extra);
        entry("scaled_dot_product_attention", inputs, move |x| {
            ops::try_scaled_dot_product_attention(&x[0], &x[1], &x[2], &mask(x))
        })
    };
    vec![
        entry("layer_norm", vec![real(&[2, 4]), real(&[4]), real(&[4])], |x| {
            ops::try_layer_norm(&x[0], Some(&x[1]), Some(&x[2]), 1e-3)
        }),
        entry("layer_norm", vec![real(&[3, 2, 3])], |x| ops::try_layer_norm(&x[0], None, None, 1e-2)),
        entry("rms_norm", vec![real(&[2, 4]), real(&[4])], |x| ops::try_rms_norm(&x[0], Some(&x[1]), 1e-3)),
        entry("rope", vec![real(&[1, 2, 3, 4])], |x| {
            ops::try_rope(&x[0], &Rope { offset: Offset::All(2), scale: 0.5, ..Rope::new(4) })
        }),
        entry("rope", vec![real(&[2, 3, 5]), positive(&[2]), input(&[2], Kind::Index(9))], |x| {
            let options = Rope {
                traditional: true,
                frequencies: Frequencies::Periods(&x[1]),
                offset: Offset::Each(&x[2]),
                ..Rope::new(4)
            };
            ops::try_rope(&x[0], &options)
        }),
        attention(|_| Attention::new(0.7), vec![]),
        attention(|_| Attention { mask: Mask::Causal, ..Attention::new(0.7) }, vec![]),
        attention(
            |x| Attention { mask: Mask::Array(&x[3]), sinks: Some(&x[4]), ..Attention::new(0.7) },
            vec![real(&[3, 3]), real(&[4])],
        ),
        attention(
            |x| Attention { mask: Mask::Array(&x[3]), ..Attention::new(0.7) },
            vec![input(&[2, 1, 3, 3], Kind::Bool)],
        ),
    ]
}
