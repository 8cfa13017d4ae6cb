//! Concatenations whose parts are made where they belong.
//!
//! A loop over a sequence makes one step of it after the other and puts the steps together in the end: outputs are stacked,
//! and reverse mode writes the factors of many products one below the other. What a chain makes for a concatenation it
//! writes into the concatenation's memory at once; who reads the part later reads it there. What comes from elsewhere is
//! copied.

use crate::plan::build::{Layout, Proto, Root, Val};
use crate::plan::emit::Part;
use crate::prim::shape::{Concatenate, reshape_strides};
use crate::shape::{Shape, row_major_strides};
use covector_kernels::Out;

/// Rows shorter than this are not worth being written with gaps between them: a chain begins anew with each.
const SHORT_ROW: usize = 32;

/// Where a root lies that has no memory of its own.
struct Home {
    /// The concatenation whose memory it is part of, and how it lies there.
    root: u32,
    layout: Layout,
    /// The concatenation and the input that it is made for.
    input: (u32, usize),
}

/// The homes of roots; nothing for those with memory of their own.
pub(crate) struct Homes(Vec<Option<Box<Home>>>);

/// The result of a concatenation, and what it joins.
fn concatenation(proto: &Proto) -> Option<(u32, &[Val])> {
    match proto {
        Proto::Call { op, inputs, first_root, .. } if op.is::<Concatenate>() => Some((*first_root, inputs)),
        _ => None,
    }
}

/// How the inputs of a concatenation lie in its result.
fn places(inputs: &[Val], result: u32, roots: &[Root]) -> Vec<Layout> {
    let whole = &roots[result as usize].aval.shape;
    let strides = row_major_strides(whole);
    // Along all axes but one the extents are those of the result.
    let differs = |k: &usize| inputs.iter().any(|v| v.shape(roots)[*k] != whole[*k]);
    let axis = (0..whole.len()).find(differs).unwrap_or(0);
    let mut shift = 0;
    let mut place = |v: &Val| {
        let shape = Shape::from_slice(v.shape(roots));
        let begin = shift;
        shift += shape[axis] as isize * strides[axis];
        Layout { shape, strides: strides.clone(), shift: begin }
    };
    inputs.iter().map(&mut place).collect()
}

/// The layout of all of a root, in its own shape, if a value that is all of it lies so.
fn whole(v: &Val, root: &Root, place: Layout) -> Option<Layout> {
    let shape = &root.aval.shape;
    let Some(seen) = &v.layout else { return Some(place) };
    let all = seen.shift == 0
        && seen.shape.iter().product::<usize>() == shape.iter().product::<usize>()
        && Out::rows_of(&seen.shape, &seen.strides) == Some(None);
    let strides = all.then(|| reshape_strides(&place.shape, &place.strides, shape))??;
    Some(Layout { shape: shape.clone(), strides, shift: place.shift })
}

impl Homes {
    /// Finds homes for what chains and concatenations make.
    pub(crate) fn new(protos: &[Proto], roots: &[Root]) -> Self {
        let mut homes = Self((0..roots.len()).map(|_| None).collect());
        if !protos.iter().any(|p| concatenation(p).is_some()) {
            return homes;
        }
        let mut readers = vec![0u32; roots.len()];
        protos.iter().flat_map(Proto::inputs).for_each(|v| readers[v.root as usize] += 1);
        for proto in protos {
            let Some((to, inputs)) = concatenation(proto) else { continue };
            for (i, (v, place)) in inputs.iter().zip(places(inputs, to, roots)).enumerate() {
                let root = &roots[v.root as usize];
                let Some(maker) = root.maker().filter(|_| root.stored && !root.kept) else { continue };
                let free = homes.0[v.root as usize].is_none();
                let Some(layout) = whole(v, root, place).filter(|_| free) else { continue };
                let fits = match (Out::rows_of(&layout.shape, &layout.strides), &protos[maker as usize]) {
                    (Some(None), Proto::Chain { .. }) => true,
                    (Some(None), other) => concatenation(other).is_some(),
                    // Whoever else reads it expects to find its rows side by side.
                    (Some(Some((row, _))), Proto::Chain { .. }) => {
                        row >= SHORT_ROW && readers[v.root as usize] == 1
                    }
                    _ => false,
                };
                if fits {
                    homes.0[v.root as usize] = Some(Box::new(Home { root: to, layout, input: (to, i) }));
                }
            }
        }
        // Parts of a concatenation that is itself a part. Outer ones come later, so from the back they are settled first.
        for proto in protos.iter().rev() {
            let Some((to, inputs)) = concatenation(proto) else { continue };
            let Some((outer, shift)) = homes.0[to as usize].as_ref().map(|h| (h.root, h.layout.shift)) else {
                continue;
            };
            for (i, v) in inputs.iter().enumerate() {
                // An array may be joined with itself, and is made for the first of the two.
                if let Some(home) = homes.0[v.root as usize].as_mut().filter(|h| h.input == (to, i)) {
                    home.root = outer;
                    home.layout.shift += shift;
                }
            }
        }
        homes
    }

    /// The root whose memory has this one, and how it lies there if that is not its own.
    pub(crate) fn find(&self, root: u32) -> (u32, Option<&Layout>) {
        match &self.0[root as usize] {
            Some(home) => (home.root, Some(&home.layout)),
            None => (root, None),
        }
    }

    /// Where in the memory of the whole the result of an instruction goes, if it is not a whole.
    pub(crate) fn part(&self, root: u32, roots: &[Root]) -> Option<Box<Part>> {
        let home = self.0[root as usize].as_ref()?;
        let whole = roots[home.root as usize].aval.shape.clone();
        Some(Box::new(Part { whole, layout: home.layout.clone() }))
    }

    /// Of a concatenation, what has to be copied and where to; `None` for other instructions.
    pub(crate) fn rest<'a>(&self, proto: &'a Proto, roots: &[Root]) -> Option<Vec<(&'a Val, Part)>> {
        let (to, inputs) = concatenation(proto)?;
        let (outer, within) = self.find(to);
        let shift = within.map_or(0, |layout| layout.shift);
        let places = inputs.iter().zip(places(inputs, to, roots)).enumerate();
        let there = |i: usize, v: &Val| self.0[v.root as usize].as_ref().is_some_and(|h| h.input == (to, i));
        Some(
            places
                .filter(|(i, (v, _))| !there(*i, v))
                .map(|(_, (v, place))| {
                    let whole = roots[outer as usize].aval.shape.clone();
                    (v, Part { whole, layout: Layout { shift: place.shift + shift, ..place } })
                })
                .collect(),
        )
    }
}
