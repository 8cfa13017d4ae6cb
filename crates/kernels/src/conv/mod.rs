//! Convolutions, and the gradient of their weights.
//!
//! Both compute some output rows of one image at a time. They copy the part of the input that these rows see, with its
//! padding, to memory that stays in the cache; without padding, a suitable input is read in place. Then they run over it
//! tile by tile (`tiles`). There is no patch matrix (im2col), because it is larger than the input by the number of taps of
//! the kernel.
//!
//! The division into parts depends on shapes alone, and partial sums are added in order.

mod geometry;
mod lanes;
pub mod pooling;
mod tiles;

use crate::dtype::{C64, Dtype};
use crate::memory::{List, Memory};
use crate::num::Num;
use crate::scratch::{Kept, lines, scratch};
use crate::simd::vectorize;
use crate::strided::{Out, View, cast, row_major_strides};
use crate::threads::{Shared, parallel};
pub use geometry::Axis;
use geometry::{Extents, Phase, union};
use std::cell::Cell;
use tiles::{Rows, Run, Tiles};

/// The static parameters of a convolution.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Conv {
    /// The spatial axes, at most three.
    pub axes: Vec<Axis>,
    /// The number of groups of channels; each output sees the input channels of its own group.
    pub groups: usize,
    /// Whether the kernel is reversed along all spatial axes.
    pub flip: bool,
}

/// The convolution of `x`, `[n, spatial.., c]`, with `w`, `[d, kernel.., c / groups]`, as `out`, `[n, spatial.., d]`.
///
/// All three have one floating-point or complex type; half-precision types are computed in `f32`. Strides are arbitrary. The
/// output's spatial extents are arbitrary, too: positions beyond the input see zeros.
///
/// # Panics
/// If the type is not a floating-point or complex one, or with more than three spatial axes.
pub fn conv(conv: &Conv, x: View<'_>, w: View<'_>, out: Out<'_>) {
    match out.dtype() {
        Dtype::F32 => forward::<f32>(conv, x, w, out),
        Dtype::F64 => forward::<f64>(conv, x, w, out),
        Dtype::C64 => forward::<C64>(conv, x, w, out),
        Dtype::F16 | Dtype::Bf16 => widened(x, w, out, |x, w, out| forward::<f32>(conv, x, w, out)),
        other => panic!("a convolution needs a floating-point type, not {other}"),
    }
}

/// The transpose of [`conv`] in its weights: `out`, `[d, kernel.., c / groups]`. Each element is the sum of the products of
/// output cotangents `y` with the elements of `x` that the weight multiplies.
///
/// # Panics
/// As for [`conv`].
pub fn conv_weights(conv: &Conv, x: View<'_>, y: View<'_>, out: Out<'_>) {
    match out.dtype() {
        Dtype::F32 => weights::<f32>(conv, x, y, out),
        Dtype::F64 => weights::<f64>(conv, x, y, out),
        Dtype::C64 => weights::<C64>(conv, x, y, out),
        Dtype::F16 | Dtype::Bf16 => widened(x, y, out, |x, y, out| weights::<f32>(conv, x, y, out)),
        other => panic!("a convolution needs a floating-point type, not {other}"),
    }
}

/// Runs an `f32` kernel on operands of half precision.
fn widened(a: View<'_>, b: View<'_>, out: Out<'_>, run: impl Fn(View<'_>, View<'_>, Out<'_>)) {
    let widen = |x: View<'_>| {
        let wide = Memory::<f32>::new(x.size());
        // SAFETY: `wide` has as many elements as `x`.
        cast(x, unsafe { Out::new(wide.ptr().cast(), Dtype::F32, x.shape()) });
        wide
    };
    let (wa, wb, wide) = (widen(a), widen(b), Memory::<f32>::new(out.size()));
    let (sa, sb, so) =
        (row_major_strides(a.shape()), row_major_strides(b.shape()), row_major_strides(out.shape()));
    // SAFETY: the memory outlives this block and has the sizes of the shapes.
    unsafe {
        run(
            View::new(wa.ptr().cast(), Dtype::F32, a.shape(), &sa),
            View::new(wb.ptr().cast(), Dtype::F32, b.shape(), &sb),
            Out::new(wide.ptr().cast(), Dtype::F32, out.shape()),
        );
        cast(View::new(wide.ptr().cast(), Dtype::F32, out.shape(), &so), out);
    }
}

/// Extents and strides of an array with three spatial axes: `[outer, depth, height, width, inner]`.
#[derive(Clone, Copy)]
struct Layout {
    shape: [usize; 5],
    strides: [isize; 5],
}

impl Layout {
    fn new(shape: &[usize], strides: &[isize]) -> Self {
        let (rank, mut layout) = (shape.len(), Layout { shape: [1; 5], strides: [0; 5] });
        assert!((2..=5).contains(&rank), "a convolution has at most three spatial axes");
        (layout.shape[0], layout.strides[0]) = (shape[0], strides[0]);
        layout.shape[6 - rank..].copy_from_slice(&shape[1..]);
        layout.strides[6 - rank..].copy_from_slice(&strides[1..]);
        layout
    }
}

thread_local! {
    /// The copied input of a part.
    static SCRATCH: Kept = const { Cell::new(None) };
    /// Memory that all parts of a job share: packed weights, or sums.
    static SHARED: Kept = const { Cell::new(None) };
}

/// Output channels that a tile computes at once: one or two registers of one group's channels.
#[derive(Clone, Copy)]
struct ChannelBlock {
    group: usize,
    /// The first channel, counted over all groups.
    from: usize,
    channels: usize,
    registers: usize,
    /// The offset of the block in the packed weights.
    offset: usize,
}

/// Some output rows of one image: its number, a plane of it, and a range of rows.
#[derive(Clone, Copy)]
struct Unit {
    image: usize,
    depth: usize,
    rows: (usize, usize),
}

/// A convolution, its extents, and its division into units and blocks.
struct Convolution {
    flip: bool,
    extents: [Extents; 3],
    phases: [Vec<Phase>; 3],
    /// The first and last column of the input that outputs see; `None` if they see none.
    columns: Option<(isize, isize)>,
    images: usize,
    /// The number of input channels, and of those of one group.
    c: (usize, usize),
    /// The number of output channels.
    d: usize,
    /// Whether the input is read in place.
    direct: bool,
    x: Layout,
    blocks: List<ChannelBlock>,
    /// The number of elements of the packed weights.
    packed: usize,
}

impl Convolution {
    fn new(conv: &Conv, mut x: Layout, kernel: [usize; 3], mut out: [usize; 5], width: usize) -> Self {
        let mut axes = [Axis::PLAIN; 3];
        axes[3 - conv.axes.len()..].copy_from_slice(&conv.axes);
        if kernel == [1; 3] && axes == [Axis::PLAIN; 3] && x.strides[2] == x.strides[3] * x.shape[3] as isize
        {
            // In a convolution with a single tap, short rows of pixels can be one longer row.
            let long = x.shape[2] * x.shape[3];
            if x.shape[3] < 28 && long <= 1024 {
                (x.shape[2], x.shape[3], out[2], out[3]) = (1, long, 1, long);
            }
        }
        let extents: [Extents; 3] = std::array::from_fn(|i| Extents {
            axis: axes[i],
            input: x.shape[i + 1],
            kernel: kernel[i],
            output: out[i + 1],
        });
        let phases = extents.map(|e| e.phases());
        let whole = |i: usize| union(phases[i].iter().map(|p| p.reach(&p.within(0, extents[i].output))));
        let (rows, columns) = (whole(1), whole(2));
        let inside = |reach: Option<(isize, isize)>, n: usize| {
            reach.is_none_or(|(low, high)| low >= 0 && high < n as isize)
        };
        let direct =
            (x.strides[4] == 1 || x.shape[4] <= 1) && inside(rows, x.shape[2]) && inside(columns, x.shape[3]);
        let (c, d) = (x.shape[4], out[4]);
        let per_group = c / conv.groups;
        let taps: usize = kernel.iter().product();
        let (mut blocks, mut packed) = (List::new(), 0);
        for group in 0..conv.groups {
            let (mut from, end) = (group * (d / conv.groups), (group + 1) * (d / conv.groups));
            while from < end {
                let registers = if end - from > width { 2 } else { 1 };
                let channels = (end - from).min(registers * width);
                blocks.push(ChannelBlock { group, from, channels, registers, offset: packed });
                packed += taps * per_group * registers * width;
                from += channels;
            }
        }
        Self {
            flip: conv.flip,
            extents,
            phases,
            columns,
            images: out[0],
            c: (c, per_group),
            d,
            direct,
            x,
            blocks,
            packed,
        }
    }

    fn taps(&self) -> usize {
        self.extents.iter().map(|e| e.kernel).product()
    }

    /// The lines of a block's packed weights: taps by input channels.
    fn lines(&self) -> usize {
        self.taps() * self.c.1
    }

    /// Calls `f` with each block, on several threads if there is enough work; `times` says how often `f` reads the weights.
    fn each_block(&self, times: usize, f: impl Fn(&ChannelBlock) + Sync) {
        let parts = (self.packed * times / (1 << 16)).clamp(1, 16).min(self.blocks.len().max(1));
        let step = self.blocks.len().div_ceil(parts).max(1);
        parallel(self.blocks.len().div_ceil(step), &|part| {
            self.blocks[part * step..((part + 1) * step).min(self.blocks.len())].iter().for_each(&f);
        });
    }

    /// The number of multiplications.
    fn work(&self) -> usize {
        self.images * self.outputs() * self.d * self.taps() * self.c.1
    }

    /// The number of pixels of an output image.
    fn outputs(&self) -> usize {
        self.extents.iter().map(|e| e.output).product()
    }

    /// The units: rows whose part of the input is small enough to stay in a second-level cache together with weights.
    fn units(&self) -> List<Unit> {
        const ELEMENTS: usize = 48 << 10;
        let [depth, height, width] = self.extents;
        let line = self.columns.map_or(1, |(low, high)| (high - low + 1) as usize) * self.c.0 * depth.kernel;
        let axis = height.axis;
        let halo = (height.kernel - 1) * axis.kernel_dilation / axis.input_dilation;
        let fit = (ELEMENTS / line.max(1)).saturating_sub(halo) * axis.input_dilation / axis.stride;
        // If there are few images, units are smaller, so that there is one for every thread.
        let planes = self.images * depth.output;
        let spread = (height.output * planes).div_ceil(32);
        let one = (height.output * width.output).div_ceil(1 << 12).max(1);
        let rows = fit.max(one).min(spread.max(4)).clamp(1, height.output.max(1));
        let rows = height.output.div_ceil(height.output.div_ceil(rows).max(1)).max(1);
        let mut units = List::new();
        for image in 0..self.images {
            for plane in 0..depth.output {
                for from in (0..height.output).step_by(rows) {
                    let rows = (from, (from + rows).min(height.output));
                    units.push(Unit { image, depth: plane, rows });
                }
            }
        }
        units
    }

    /// The most elements that any of the units copies.
    fn slab(&self, units: &[Unit]) -> usize {
        let rows = |unit: &Unit| {
            union(self.phases[1].iter().map(|p| p.reach(&p.within(unit.rows.0, unit.rows.1))))
                .map_or(0, |(low, high)| (high - low + 1) as usize)
        };
        let most = units.iter().map(rows).max().unwrap_or(0);
        let columns = self.columns.map_or(0, |(low, high)| (high - low + 1) as usize);
        if self.direct { 0 } else { most * columns * self.c.0 * self.extents[0].kernel }
    }

    /// Calls `rows` for each set of output rows of a unit that see the same taps, and each block of channels.
    ///
    /// # Safety
    /// `x`, `y` and `w` point to the input, the outputs and the packed weights; `scratch` has room for the slab.
    unsafe fn each<T: Tiles>(
        &self,
        unit: &Unit,
        blocks: &[ChannelBlock],
        (x, y, w, scratch): (*const T, *mut T, *mut T, *mut T),
        rows: unsafe fn(&Rows<'_, T>),
    ) {
        let [depth, height, width] = &self.extents;
        let phase = &self.phases[0][unit.depth % self.phases[0].len().max(1)];
        let at = (unit.depth / phase.period) as isize * phase.step;
        let mut planes = List::new();
        for &(k, a) in phase.taps.iter() {
            if (0..depth.input as isize).contains(&(a + at)) {
                planes.push((k, a + at));
            }
        }
        let reach = union(self.phases[1].iter().map(|p| p.reach(&p.within(unit.rows.0, unit.rows.1))));
        let image = x.wrapping_offset(unit.image as isize * self.x.strides[0]);
        let (low, high) = reach.unwrap_or((0, -1));
        let (left, right) = self.columns.unwrap_or((0, -1));
        // The address of pixel (0, 0) of the first plane, which need not be stored, and the distances of planes, rows and
        // pixels.
        let (origin, steps) = if self.direct {
            (image, [self.x.strides[1], self.x.strides[2], self.x.strides[3]])
        } else {
            let columns = right - left + 1;
            let line = columns * self.c.0 as isize;
            let steps = [(high - low + 1) * line, line, self.c.0 as isize];
            for (p, &(_, i)) in planes.iter().enumerate() {
                let plane = image.wrapping_offset(i * self.x.strides[1]);
                for row in low..=high {
                    let to = scratch.wrapping_offset(p as isize * steps[0] + (row - low) * line);
                    // SAFETY: the caller's contract; the scratch memory has room for the row.
                    unsafe { self.copy_row(plane, row, to) };
                }
            }
            (scratch.cast_const().wrapping_offset(-low * steps[1] - left * steps[2]), steps)
        };
        let per_image = self.outputs() * self.d;
        let (line, y) = (width.output * self.d, y.wrapping_add(unit.image * per_image));
        let mut runs = List::new();
        for rows_phase in &self.phases[1] {
            let j = rows_phase.within(unit.rows.0, unit.rows.1);
            for columns_phase in self.phases[2].iter().filter(|_| !j.is_empty()) {
                runs.clear();
                for (p, &(kd, i)) in planes.iter().enumerate() {
                    let plane = if self.direct { i } else { p as isize } * steps[0];
                    for &(kh, ah) in rows_phase.taps.iter() {
                        for &(kw, aw) in columns_phase.taps.iter() {
                            let tap = (kd * height.kernel + kh) * width.kernel + kw;
                            let run = Run {
                                x: plane + ah * steps[1] + aw * steps[2],
                                w: tap * self.c.1,
                                len: self.c.1,
                            };
                            push(&mut runs, run);
                        }
                    }
                }
                let first = rows_phase.first + j.start * rows_phase.period;
                let pixel = ((unit.depth * height.output) + first) * line + columns_phase.first * self.d;
                let start = origin.wrapping_offset(j.start as isize * rows_phase.step * steps[1]);
                let extents = (j.len(), columns_phase.within(0, width.output).len());
                for block in blocks {
                    let rows_of = Rows {
                        x: start.wrapping_add(block.group * self.c.1),
                        x_steps: (rows_phase.step * steps[1], columns_phase.step * steps[2]),
                        y: y.wrapping_add(pixel + block.from),
                        y_steps: (rows_phase.period * line, columns_phase.period * self.d),
                        extents,
                        runs: &runs,
                        w: w.wrapping_add(block.offset),
                        registers: block.registers,
                        channels: block.channels,
                    };
                    // SAFETY: the phases reach only copied pixels, or pixels of the input, and outputs of this unit.
                    unsafe { rows(&rows_of) };
                }
            }
        }
    }

    /// Copies a row of the input from the first to the last column that outputs see, with zeros outside of the input.
    ///
    /// # Safety
    /// `plane` is a plane of the input, and `to` has room for a row.
    unsafe fn copy_row<T: Tiles>(&self, plane: *const T, row: isize, to: *mut T) {
        let Some((left, right)) = self.columns else { return };
        let (c, n) = (self.c.0, (right - left + 1) as usize);
        let [_, _, height, width, _] = self.x.shape;
        let [_, _, row_step, step, inner] = self.x.strides;
        let there = (0..height as isize).contains(&row);
        let (from, end) = (left.clamp(0, width as isize), (right + 1).clamp(0, width as isize));
        let (from, end) = if there && from < end { (from, end) } else { (left, left) };
        let count = (end - from) as usize;
        // SAFETY: the caller's contract.
        unsafe {
            let zero = |p: *mut T, n: usize| std::slice::from_raw_parts_mut(p, n).fill(T::ZERO);
            let before = (from - left) as usize;
            zero(to, before * c);
            zero(to.add((before + count) * c), (n - before - count) * c);
            let to = to.add(before * c);
            let x = plane.wrapping_offset(row * row_step + from * step);
            if (inner == 1 || c == 1) && step == c as isize {
                std::ptr::copy_nonoverlapping(x, to, count * c);
            } else if inner == 1 {
                for i in 0..count {
                    std::ptr::copy_nonoverlapping(x.offset(i as isize * step), to.add(i * c), c);
                }
            } else {
                for i in 0..count {
                    for k in 0..c {
                        *to.add(i * c + k) = *x.offset(i as isize * step + k as isize * inner);
                    }
                }
            }
        }
    }

    /// Calls `f` for each weight of a block with its index in the packed weights and its offset in an array of weights
    /// with these strides.
    fn each_weight(
        &self,
        block: &ChannelBlock,
        strides: &[isize; 5],
        width: usize,
        mut f: impl FnMut(usize, isize),
    ) {
        let [depth, height, columns] = self.extents.map(|e| e.kernel);
        let at = |k: usize, n: usize| (if self.flip { n - 1 - k } else { k }) as isize;
        let line = block.registers * width;
        let mut index = block.offset;
        for kd in 0..depth {
            for kh in 0..height {
                for kw in 0..columns {
                    let tap = at(kd, depth) * strides[1]
                        + at(kh, height) * strides[2]
                        + at(kw, columns) * strides[3];
                    for c in 0..self.c.1 {
                        let offset = block.from as isize * strides[0] + tap + c as isize * strides[4];
                        for lane in 0..block.channels {
                            f(index + lane, offset + lane as isize * strides[0]);
                        }
                        index += line;
                    }
                }
            }
        }
    }
}

/// Adds a run; extends the last run if the new one continues it.
fn push(runs: &mut List<Run>, run: Run) {
    match runs.last_mut() {
        Some(last) if last.x + last.len as isize == run.x && last.w + last.len == run.w => {
            last.len += run.len
        }
        _ => runs.push(run),
    }
}

/// Multiplications from which on a separate part pays: some tens of microseconds.
const PART: usize = 1 << 21;

fn forward<T: Tiles>(conv: &Conv, x: View<'_>, w: View<'_>, out: Out<'_>) {
    let weights = Layout::new(w.shape(), w.strides());
    let shape = Layout::new(out.shape(), &row_major_strides(out.shape())).shape;
    let [_, k0, k1, k2, _] = weights.shape;
    let width = T::width();
    let convolution = Convolution::new(conv, Layout::new(x.shape(), x.strides()), [k0, k1, k2], shape, width);
    if out.size() == 0 {
        return;
    }
    let (from, to) = (Shared::read(x.ptr().cast::<T>()), Shared::new(out.ptr().cast::<T>()));
    let units = convolution.units();
    let slab = convolution.slab(&units);
    let source = Shared::read(w.ptr().cast::<T>());
    scratch(&SHARED, convolution.packed, |packed: *mut T| {
        let packed = Shared::new(packed);
        convolution.each_block(1, |block| {
            // SAFETY: this block's part of the packed weights. Lanes beyond its channels stay zero.
            unsafe { packed.at(block.offset).write_bytes(0, convolution.lines() * block.registers * width) };
            // SAFETY: offsets are those of the view's elements, indices those of the packed weights.
            convolution.each_weight(block, &weights.strides, width, |index, offset| unsafe {
                *packed.at(index) = *source.by(offset);
            });
        });
        let parts = (convolution.work() / PART).clamp(1, 64).min(units.len());
        let step = units.len().div_ceil(parts);
        parallel(units.len().div_ceil(step), &|part| {
            scratch(&SCRATCH, slab, |scratch| {
                for unit in &units[part * step..((part + 1) * step).min(units.len())] {
                    let memory = (from.at(0).cast_const(), to.at(0), packed.at(0), scratch);
                    // SAFETY: the views vouch for their elements; no other part writes the rows of this unit.
                    unsafe { convolution.each(unit, &convolution.blocks, memory, T::forward) };
                }
            });
        });
    });
}

fn weights<T: Tiles>(conv: &Conv, x: View<'_>, y: View<'_>, out: Out<'_>) {
    let strides = Layout::new(out.shape(), &row_major_strides(out.shape()));
    let [_, k0, k1, k2, _] = strides.shape;
    if out.size() == 0 {
        return;
    }
    // The tiles read the cotangent as row-major memory.
    let copy = (!y.is_row_major()).then(|| {
        let copy = Memory::<T>::new(y.size());
        // SAFETY: the memory has as many elements as the view.
        cast(y, unsafe { Out::new(copy.ptr().cast(), T::DTYPE, y.shape()) });
        copy
    });
    let y_ptr = copy.as_ref().map_or(y.ptr().cast::<T>(), |copy| copy.ptr().cast_const());
    let width = T::width();
    let y_shape = Layout::new(y.shape(), y.strides()).shape;
    let convolution =
        Convolution::new(conv, Layout::new(x.shape(), x.strides()), [k0, k1, k2], y_shape, width);
    let units = convolution.units();
    let slab = convolution.slab(&units);
    // Parts are ranges of units, each with sums of its own. If the sums are large, parts also divide the blocks of channels.
    const SUMS: usize = 1 << 20;
    let wanted = (convolution.work() / PART).clamp(1, 16);
    let chunks = wanted.min(units.len()).min((SUMS / convolution.packed.max(1)).max(1)).max(1);
    let split = wanted.div_ceil(chunks).min(convolution.blocks.len());
    let (step, each) = (units.len().div_ceil(chunks).max(1), convolution.blocks.len().div_ceil(split));
    let (chunks, split) = (units.len().div_ceil(step), convolution.blocks.len().div_ceil(each));
    let room = lines::<T>(convolution.packed) * 64 / size_of::<T>();
    let (from, cotangent) = (Shared::read(x.ptr().cast::<T>()), Shared::read(y_ptr));
    let to = Shared::new(out.ptr().cast::<T>());
    scratch(&SHARED, room * chunks, |sums: *mut T| {
        let sums = Shared::new(sums);
        parallel(chunks * split, &|part| {
            let (chunk, some) = (part / split, part % split);
            let blocks = &convolution.blocks[some * each..((some + 1) * each).min(convolution.blocks.len())];
            for block in blocks {
                let n = convolution.lines() * block.registers * width;
                // SAFETY: this part's blocks of its sums.
                unsafe { sums.at(chunk * room + block.offset).write_bytes(0, n) };
            }
            scratch(&SCRATCH, slab, |scratch| {
                for unit in &units[chunk * step..((chunk + 1) * step).min(units.len())] {
                    let memory = (from.at(0).cast_const(), cotangent.at(0), sums.at(chunk * room), scratch);
                    // SAFETY: the views vouch for their elements; this part alone adds to its blocks of its sums.
                    unsafe { convolution.each(unit, blocks, memory, T::weights) };
                }
            });
        });
        convolution.each_block(chunks, |block| {
            let n = convolution.lines() * block.registers * width;
            let of = |chunk: usize| sums.at(chunk * room + block.offset);
            for chunk in 1..chunks {
                // SAFETY: the block's part of two different sums, which no other code uses now.
                let (sum, more) = unsafe {
                    (std::slice::from_raw_parts_mut(of(0), n), std::slice::from_raw_parts(of(chunk), n))
                };
                add_to(sum, more);
            }
            convolution.each_weight(block, &strides.strides, width, |index, offset| {
                let sum = if chunks == 0 {
                    T::ZERO
                } else {
                    // SAFETY: indices are those of the sums.
                    unsafe { *sums.at(index) }
                };
                // SAFETY: offsets are those of the output; blocks differ in them.
                unsafe { to.by(offset).write(sum) };
            });
        });
    });
}

vectorize! {
    fn add_to[T: Num](sum: &mut [T], more: &[T]) {
        for (sum, &x) in sum.iter_mut().zip(more) {
            *sum = sum.add(x);
        }
    }
}
