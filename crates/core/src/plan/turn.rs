//! Products that are only seen transposed are computed transposed: `(A B)ᵀ = Bᵀ Aᵀ`.
//!
//! With weights of shape `(outputs, inputs)`, as layers have them, the gradient of `x @ w.T` is the transpose of a product.
//! As a view it would be read column by column by whatever comes next, such as an optimizer's chain, which takes several
//! times as long as the chain itself. The product's operands are views as well and cost nothing to turn.

use crate::plan::build::{Layout, Proto, Root, Val};
use crate::prim::matmul::Matmul;
use crate::shape::{Shape, Strides};
use smallvec::smallvec;

/// Turns such products; `results` are the values that are kept.
pub(crate) fn turn_products<'a>(
    protos: &mut [Proto],
    roots: &mut [Root],
    values: &mut [Val],
    results: impl Iterator<Item = &'a std::ops::Range<usize>>,
) {
    let mut turned: Vec<Option<Layout>> = vec![None; roots.len()];
    for proto in protos.iter() {
        // Narrow products run with others, and cost little to read in any order.
        if let Proto::Call { op, avals, first_root, pass: None, .. } = proto
            && let [aval] = &avals[..]
            && let &[m, n] = &aval.shape[..]
            && m > 1
            && n > 1
            && op.is::<Matmul>()
        {
            let (shape, strides): (Shape, Strides) = (smallvec![n, m], smallvec![1, n as isize]);
            turned[*first_root as usize] = Some(Layout { shape, strides, shift: 0 });
        }
    }
    // All that reads one of them must read it so, and something must.
    let mut seen = vec![false; roots.len()];
    let mut look = |v: &Val| {
        let root = v.root as usize;
        seen[root] = true;
        if turned[root].is_some() && v.layout.as_deref() != turned[root].as_ref() {
            turned[root] = None;
        }
    };
    protos.iter().flat_map(Proto::inputs).for_each(&mut look);
    results.for_each(|range| values[range.clone()].iter().for_each(&mut look));
    let chosen = |root: u32| seen[root as usize] && turned[root as usize].is_some();
    let straighten = |v: &mut Val| {
        if chosen(v.root) {
            v.layout = None;
        }
    };
    for proto in protos.iter_mut() {
        proto.values_mut(straighten);
    }
    values.iter_mut().for_each(straighten);
    for proto in protos.iter_mut() {
        if let Proto::Call { inputs, avals, first_root, .. } = proto
            && chosen(*first_root)
        {
            inputs.swap(0, 1);
            for v in inputs.iter_mut() {
                let mut layout = crate::plan::band::lie(v, roots);
                layout.shape.swap(0, 1);
                layout.strides.swap(0, 1);
                v.layout = Some(Box::new(layout));
            }
            avals[0].shape.swap(0, 1);
            roots[*first_root as usize].aval.shape.swap(0, 1);
        }
    }
}
