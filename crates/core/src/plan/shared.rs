//! Products that share their right matrix.
//!
//! A loop over a sequence multiplies one step of it after the other with the same weights. Such products are merged: the
//! steps, which are slices of one array, become the rows of one product, and the results slices of its result. A product
//! of few rows takes longer for each of them, since the matrix is brought to the processor for every product.
//!
//! Where the rows are not there from the start, as those of a recurrence, the products stay apart. Weights of shape
//! `(outputs, inputs)`, as layers have them, are then turned once for all: each product would turn them for itself, which
//! takes about as long as a dozen rows.

use crate::plan::band::lie;
use crate::plan::build::{Layout, Proto, Root, Source, Val};
use crate::prim::matmul::Matmul;
use crate::prim::shape::Reshape;
use crate::primitive::Op;
use crate::shape::Shape;
use rustc_hash::FxHashMap;
use smallvec::smallvec;

/// Products of more rows than this gain little from being merged, or from a matrix that is turned already.
const FEW_ROWS: usize = 56;
/// Up to this many rows a product reads a turned matrix as it is.
const FEWEST_ROWS: usize = 8;
/// Products from which on a matrix is turned for them.
const MANY_PRODUCTS: usize = 3;
/// Bytes that the results of merged products have at most, all of which then exist at once.
const MAX_BYTES: usize = 32 << 20;

/// Merges products, and turns matrices.
pub(crate) fn share_matrices(protos: &mut Vec<Proto>, roots: &mut Vec<Root>, values: &mut [Val]) {
    let gone = merge_products(protos, roots, values);
    let turned = turn_matrices(protos, roots, &gone);
    if gone.contains(&true) || !turned.is_empty() {
        renumber(protos, roots, &gone, turned);
    }
}

/// The operands of a product of two matrices that runs by itself, and its result.
fn product(proto: &Proto) -> Option<(&Val, &Val, u32)> {
    match proto {
        Proto::Call { op, inputs, avals, first_root, pass: None, .. } if op.is::<Matmul>() => {
            (avals[0].shape.len() == 2).then(|| (&inputs[0], &inputs[1], *first_root))
        }
        _ => None,
    }
}

fn key_of(v: &Val) -> Vec<u64> {
    let mut key = Vec::new();
    v.write(&mut key);
    key
}

/// Merges products of evenly spaced slices of one array with one matrix; says which of the instructions are gone.
fn merge_products(protos: &mut [Proto], roots: &mut Vec<Root>, values: &mut [Val]) -> Vec<bool> {
    let mut gone = vec![false; protos.len()];
    // The instructions and where their slices begin, by matrix, array and the shape and strides of the slices.
    let mut groups: Vec<Vec<(usize, isize)>> = Vec::new();
    let mut known: FxHashMap<Vec<u64>, usize> = FxHashMap::default();
    for (i, proto) in protos.iter().enumerate() {
        let Some((left, right, out)) = product(proto) else { continue };
        let root = &roots[out as usize];
        if root.kept || left.layout.is_none() || root.aval.shape[0] > FEW_ROWS {
            continue;
        }
        let rows = lie(left, roots);
        let shift = rows.shift;
        let slice = Val { root: left.root, layout: Some(Box::new(Layout { shift: 0, ..rows })) };
        let mut key = key_of(&slice);
        right.write(&mut key);
        let group = *known.entry(key).or_insert(groups.len());
        groups.resize_with(groups.len().max(group + 1), Vec::new);
        groups[group].push((i, shift));
    }
    // Which result is now which part of another.
    let mut moved: FxHashMap<u32, (u32, isize)> = FxHashMap::default();
    for members in groups {
        let [(first, start), (_, second), ..] = members[..] else { continue };
        let step = second - start;
        if !members.iter().zip(0..).all(|(&(_, shift), j)| shift == start + j * step) {
            continue;
        }
        let count = members.len();
        let Some((left, _, out)) = product(&protos[first]) else { continue };
        let mut aval = roots[out as usize].aval.clone();
        let size = aval.shape.iter().product::<usize>();
        if count * size * aval.dtype.size() > MAX_BYTES {
            continue;
        }
        aval.shape.insert(0, count);
        let mut slices = lie(left, roots);
        slices.shape.insert(0, count);
        slices.strides.insert(0, step);
        let root = roots.len() as u32;
        for (j, &(i, _)) in members.iter().enumerate() {
            let Some((_, _, out)) = product(&protos[i]) else { continue };
            moved.insert(out, (root, (j * size) as isize));
            roots[out as usize].stored = false;
            gone[i] = i != first;
        }
        let source = Source::Call { instr: first as u32 };
        roots.push(Root { source, aval: aval.clone(), stored: true, kept: false });
        if let Proto::Call { inputs, avals, first_root, .. } = &mut protos[first] {
            inputs[0].layout = Some(Box::new(slices));
            (avals[0], *first_root) = (aval, root);
        }
    }
    if !moved.is_empty() {
        let place = |v: &mut Val| {
            if let Some(&(root, shift)) = moved.get(&v.root) {
                let mut layout = lie(v, roots);
                layout.shift += shift;
                *v = Val { root, layout: Some(Box::new(layout)) };
            }
        };
        protos.iter_mut().zip(&gone).filter(|(_, gone)| !**gone).for_each(|(p, _)| p.values_mut(place));
        values.iter_mut().for_each(place);
    }
    gone
}

/// Gives products of few rows a turned copy of a matrix that several of them read column by column: the copies, each with
/// the instruction before which it is made.
fn turn_matrices(protos: &mut [Proto], roots: &mut Vec<Root>, gone: &[bool]) -> Vec<(usize, Proto)> {
    let mut users: FxHashMap<Vec<u64>, Vec<usize>> = FxHashMap::default();
    for (i, proto) in protos.iter().enumerate().filter(|(i, _)| !gone[*i]) {
        let Some((_, right, out)) = product(proto) else { continue };
        let rows = roots[out as usize].aval.shape[0];
        if lie(right, roots).strides[1] != 1 && (FEWEST_ROWS + 1..=FEW_ROWS).contains(&rows) {
            users.entry(key_of(right)).or_default().push(i);
        }
    }
    let mut turned: Vec<(usize, Proto)> = Vec::new();
    let mut users: Vec<Vec<usize>> = users.into_values().filter(|u| u.len() >= MANY_PRODUCTS).collect();
    users.sort_unstable();
    for users in users {
        let first = users[0];
        let Some((_, right, _)) = product(&protos[first]) else { continue };
        let (right, shape) = (right.clone(), Shape::from_slice(right.shape(roots)));
        let mut aval = roots[right.root as usize].aval.clone();
        aval.shape = shape.clone();
        let root = roots.len() as u32;
        // Which instruction makes it is set when it has a number.
        roots.push(Root {
            source: Source::Call { instr: first as u32 },
            aval: aval.clone(),
            stored: true,
            kept: false,
        });
        for i in users {
            if let Proto::Call { inputs, .. } = &mut protos[i] {
                inputs[1] = Val { root, layout: None };
            }
        }
        turned.push((
            first,
            Proto::Call {
                op: Op::from(Reshape { shape }),
                inputs: smallvec![right],
                avals: smallvec![aval],
                first_root: root,
                pass: None,
            },
        ));
    }
    turned
}

/// Leaves out the instructions that are gone and puts the others in: each before the instruction of that number.
pub(crate) fn renumber(
    protos: &mut Vec<Proto>,
    roots: &mut [Root],
    gone: &[bool],
    mut new: Vec<(usize, Proto)>,
) {
    new.sort_by_key(|(before, _)| *before);
    let mut new = new.into_iter().peekable();
    let mut number: Vec<u32> = Vec::with_capacity(protos.len());
    let mut made: Vec<(u32, u32)> = Vec::new();
    for (i, proto) in std::mem::take(protos).into_iter().enumerate() {
        while let Some((_, proto)) = new.next_if(|(before, _)| *before == i) {
            if let Proto::Call { first_root, .. } = &proto {
                made.push((*first_root, protos.len() as u32));
            }
            protos.push(proto);
        }
        number.push(protos.len() as u32);
        if !gone[i] {
            protos.push(proto);
        }
    }
    for root in roots.iter_mut() {
        if let Source::Chain { instr, .. } | Source::Call { instr } = &mut root.source {
            *instr = number[*instr as usize];
        }
    }
    for (root, instr) in made {
        roots[root as usize].source = Source::Call { instr };
    }
}
