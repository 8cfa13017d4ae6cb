//! One reduction on one thread: its layout, and the loop that suits the layout.

use super::across::fold_across;
use super::fold::{COLUMNS, Rows, SHORT, fold_rows, fold_rows_block, fold_run};
use crate::combine::Combine;
use crate::convert::cast_tile;
use crate::dtype::Dtype;
use crate::num::Num;
use crate::simd::Tile1;
use crate::strided::{Axes, Cursor, Odometer, Out, TILE, Tile, View};

/// The layout of a reduction.
struct Reduction {
    /// The address of the first element in the order of `kept` and `reduced`.
    base: *const u8,
    /// Bytes per element of the input.
    size: usize,
    kept: Axes,
    /// The reduced axes, in the order of memory whatever their order in the view.
    reduced: Axes,
    /// The number of elements of one result.
    count: usize,
    /// The conversion to the accumulators' type, if the input has another type.
    widen: Option<Tile1>,
    /// The conversion from the accumulators' type, if the output has another type.
    narrow: Option<Tile1>,
}

impl Reduction {
    fn new(x: &View<'_>, axes: &[usize], acc: Dtype, out: Dtype) -> Self {
        let size = x.dtype().size();
        let (mut kept, mut reduced, mut offset) = (Axes::new(), Axes::new(), 0);
        for k in (0..x.ndim()).rev().filter(|k| !axes.contains(k)) {
            kept.push(x.shape()[k], x.strides()[k]);
        }
        let mut steps: Vec<(isize, usize)> = Vec::new();
        for &k in axes.iter().rev() {
            let (n, s) = (x.shape()[k], x.strides()[k]);
            if s < 0 && n > 0 {
                offset += (n as isize - 1) * s;
            }
            if n != 1 {
                steps.push((s.abs(), n));
            }
        }
        steps.sort_by_key(|s| s.0);
        for &(s, n) in &steps {
            reduced.push(n, s);
        }
        Self {
            base: x.ptr().wrapping_offset(offset * size as isize),
            size,
            kept,
            reduced,
            count: steps.iter().map(|s| s.1).product(),
            widen: (x.dtype() != acc).then(|| cast_tile(x.dtype(), acc)),
            narrow: (acc != out).then(|| cast_tile(acc, out)),
        }
    }

    /// The address of the element at an offset.
    fn at(&self, offset: isize) -> *const u8 {
        self.base.wrapping_offset(offset * self.size as isize)
    }

    /// Stores results from index `first` of the output on.
    fn store<T: Num>(&self, values: &[T], out: &Out<'_>, first: usize) {
        debug_assert!(first + values.len() <= out.size());
        // SAFETY: the output has room for these values from `first` on, in its own type.
        unsafe {
            let dst = out.ptr().add(first * out.dtype().size());
            match self.narrow {
                Some(f) => f(values.as_ptr().cast(), dst, values.len()),
                None => std::ptr::copy_nonoverlapping(values.as_ptr().cast(), dst, size_of_val(values)),
            }
        }
    }
}

pub(super) fn run<T: Num, F: Combine>(x: &View<'_>, axes: &[usize], out: &Out<'_>) {
    if out.size() == 0 {
        return;
    }
    let reduction = Reduction::new(x, axes, T::DTYPE, out.dtype());
    if reduction.count == 0 {
        for i in 0..out.size() {
            reduction.store(&[F::neutral::<T>()], out, i);
        }
        return;
    }
    let (kept, reduced) = (reduction.kept.as_slice(), reduction.reduced.as_slice());
    match (kept.first(), reduced) {
        (Some(&(n, 1)), [_, ..]) if n >= 4 => columns::<T, F>(&reduction, out),
        (Some(&(n, _)), [(length, 1)]) if n >= 16 && *length <= SHORT && reduction.widen.is_none() => {
            across::<T, F>(&reduction, out)
        }
        _ => runs::<T, F>(&reduction, out),
    }
}

/// The loop for a contiguous kept axis: neighbouring results are accumulated side by side.
fn columns<T: Num, F: Combine>(reduction: &Reduction, out: &Out<'_>) {
    let (kept, reduced) = (reduction.kept.as_slice(), reduction.reduced.as_slice());
    let n = kept[0].0;
    let mut outer = Odometer::new(&kept[1..]);
    // The longest reduced axis gives the rows.
    let rows = (0..reduced.len()).max_by_key(|&k| reduced[k].0).unwrap_or(0);
    let (length, step) = reduced[rows];
    let mut rest = Axes::new();
    for (k, &(n, s)) in reduced.iter().enumerate() {
        if k != rows {
            rest.push(n, s);
        }
    }
    let mut tile = Tile::new();
    for i in 0..out.size() / n {
        for first in (0..n).step_by(COLUMNS) {
            let width = COLUMNS.min(n - first);
            let mut acc = [F::neutral(); COLUMNS];
            let acc = &mut acc[..width];
            let mut at = Odometer::new(rest.as_slice());
            for _ in 0..reduction.count / length {
                let base = reduction.at(outer.offset() + first as isize + at.offset());
                match reduction.widen {
                    // SAFETY: the view vouches for the rows, each `width` long.
                    None => fold_rows::<T, F>(unsafe { Rows::new(base.cast(), step) }, length, acc),
                    Some(f) => {
                        for row in 0..length as isize {
                            // SAFETY: as above; the tile has room for COLUMNS elements.
                            let row = unsafe {
                                f(base.offset(row * step * reduction.size as isize), tile.ptr(), width);
                                Rows::new(tile.ptr().cast_const().cast::<T>(), 0)
                            };
                            fold_rows_block::<T, F>(row, 1, acc);
                        }
                    }
                }
                at.step();
            }
            reduction.store(acc, out, i * n + first);
        }
        outer.step();
    }
}

/// The loop for many short contiguous runs, which are folded across.
fn across<T: Num, F: Combine>(reduction: &Reduction, out: &Out<'_>) {
    let kept = reduction.kept.as_slice();
    let (n, step) = kept[0];
    let mut outer = Odometer::new(&kept[1..]);
    for i in 0..out.size() / n {
        for first in (0..n).step_by(COLUMNS) {
            let width = COLUMNS.min(n - first);
            let mut acc = [F::neutral(); COLUMNS];
            let base = reduction.at(outer.offset() + first as isize * step).cast::<T>();
            // SAFETY: the view vouches for `width` runs of `count` elements.
            fold_across::<T, F>(unsafe { Rows::new(base, step) }, reduction.count, &mut acc[..width]);
            reduction.store(&acc[..width], out, i * n + first);
        }
        outer.step();
    }
}

/// The loop for all other layouts: one result after the other.
fn runs<T: Num, F: Combine>(reduction: &Reduction, out: &Out<'_>) {
    let mut at = Odometer::new(reduction.kept.as_slice());
    let reduced = reduction.reduced.as_slice();
    let direct = reduction.widen.is_none();
    for i in 0..out.size() {
        let base = reduction.at(at.offset());
        let result = match reduced {
            // SAFETY: the view vouches for one element.
            [] if direct => unsafe { *base.cast::<T>() },
            // SAFETY: the view vouches for this run.
            [(n, 1)] if direct => fold_run::<T, F>(unsafe { std::slice::from_raw_parts(base.cast(), *n) }),
            [(n, 1), rest @ ..] if direct && *n >= SHORT => {
                let mut inner = Odometer::new(rest);
                (0..reduction.count / n).fold(F::neutral(), |a, _| {
                    // SAFETY: the view vouches for this run.
                    let run =
                        unsafe { std::slice::from_raw_parts(base.cast::<T>().offset(inner.offset()), *n) };
                    inner.step();
                    F::apply(a, fold_run::<T, F>(run))
                })
            }
            // SAFETY: the view vouches for the elements that `reduced` reaches.
            _ => gathered::<T, F>(reduction, unsafe {
                Cursor::new(base, reduction.size, &reduction.reduced, 0)
            }),
        };
        reduction.store(&[result], out, i);
        at.step();
    }
}

/// Folds elements of any layout and type tile by tile. The tiles' results are combined in halves, as in [`fold_run`].
fn gathered<T: Num, F: Combine>(reduction: &Reduction, mut cursor: Cursor<'_>) -> T {
    let (mut raw, mut wide) = (Tile::new(), Tile::new());
    // `levels[k]` is the result of 2^k tiles if bit k of the number of tiles is set.
    let mut levels = [F::neutral(); usize::BITS as usize];
    let (mut tiles, mut left) = (0usize, reduction.count);
    while left > 0 {
        let n = left.min(TILE);
        // SAFETY: `n` elements remain; a tile has room for them, and is filled before it is read.
        let tile = unsafe {
            cursor.load(raw.ptr(), n);
            let full = match reduction.widen {
                Some(f) => {
                    f(raw.ptr(), wide.ptr(), n);
                    wide.ptr()
                }
                None => raw.ptr(),
            };
            std::slice::from_raw_parts(full.cast_const().cast::<T>(), n)
        };
        let mut value = fold_run::<T, F>(tile);
        let carries = tiles.trailing_ones() as usize;
        for level in &mut levels[..carries] {
            value = F::apply(std::mem::replace(level, F::neutral()), value);
        }
        levels[carries] = value;
        tiles += 1;
        left -= n;
    }
    levels.iter().rev().fold(F::neutral(), |a, &v| F::apply(a, v))
}
