//! Pooling: sums and maxima over windows that slide along the spatial axes, and their transposes.
//!
//! Channels are the last axis, so the loops run over neighbouring elements. The maximum keeps no indices: its transpose finds
//! the greatest elements of a window again, which costs less than writing and reading indices, and divides the cotangent
//! equally among elements that tie.

use crate::dtype::{C64, Dtype};
use crate::memory::List;
use crate::num::Num;
use crate::simd::vectorize;
use crate::strided::{Out, View};
use crate::threads::{Shared, parallel};
use crate::with_dtype;
use half::{bf16, f16};
use std::ops::Range;

/// The windows along one spatial axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Windows {
    /// The number of elements of a window.
    pub size: usize,
    /// Elements from one window to the next.
    pub stride: usize,
    /// Positions before the input that the first windows cover; they have no elements.
    pub padding: usize,
}

/// The operation on a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// The sum.
    Sum,
    /// The greatest element, NaN if there is one; the least value of the type for no elements.
    Max,
}

/// Pools `x`, `[n, spatial.., c]`, into `out`, `[n, windows.., c]`: one element for each window. Both have one type.
///
/// # Panics
/// If `x` is not row-major, or with more than three spatial axes. This applies to the arguments of all functions here.
pub fn pool(pooling: Pooling, windows: &[Windows], x: View<'_>, out: Out<'_>) {
    let grid = Grid::new(windows, x.shape(), out.shape());
    with_dtype!(out.dtype(), T => {
        let x = slice::<T>(x);
        grid.by_rows(out, |rows, out: &mut [T]| match pooling {
            Pooling::Sum => sums(&grid, rows, x, out),
            Pooling::Max => maxima(&grid, rows, x, out),
        });
    });
}

/// The transpose of the sum: each element of `out`, `[n, spatial.., c]`, is the sum of the elements of `y`,
/// `[n, windows.., c]`, whose windows include it.
pub fn pool_spread(windows: &[Windows], y: View<'_>, out: Out<'_>) {
    let grid = Grid::new(windows, out.shape(), y.shape());
    with_dtype!(out.dtype(), T => {
        let y = slice::<T>(y);
        grid.by_images(out, |images, out: &mut [T]| spread(&grid, images, y, out));
    });
}

/// Runs `$body` with `$t` bound to a floating-point or complex type.
macro_rules! inexact {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            Dtype::F32 => inexact!(@ $t = f32, $body),
            Dtype::F64 => inexact!(@ $t = f64, $body),
            Dtype::F16 => inexact!(@ $t = f16, $body),
            Dtype::Bf16 => inexact!(@ $t = bf16, $body),
            Dtype::C64 => inexact!(@ $t = C64, $body),
            other => panic!("pooling: a derivative needs a floating-point or complex type, not {other}"),
        }
    };
    (@ $t:ident = $ty:ty, $body:expr) => {{
        type $t = $ty;
        $body
    }};
}

/// The derivative of the maximum: for each window, the mean of the tangents `t` of the greatest elements of `x`.
pub fn pool_pick(windows: &[Windows], t: View<'_>, x: View<'_>, out: Out<'_>) {
    let grid = Grid::new(windows, x.shape(), out.shape());
    inexact!(out.dtype(), T => {
        let (t, x) = (slice::<T>(t), slice::<T>(x));
        grid.by_rows(out, |rows, out: &mut [T]| pick(&grid, rows, t, x, out));
    });
}

/// The transpose of [`pool_pick`]: each cotangent `y` is divided equally among the greatest elements of its window of `x`.
pub fn pool_put(windows: &[Windows], y: View<'_>, x: View<'_>, out: Out<'_>) {
    let grid = Grid::new(windows, x.shape(), y.shape());
    inexact!(out.dtype(), T => {
        let (y, x) = (slice::<T>(y), slice::<T>(x));
        grid.by_images(out, |images, out: &mut [T]| put(&grid, images, y, x, out));
    });
}

fn slice<T: crate::Element>(x: View<'_>) -> &[T] {
    x.as_slice().expect("pooling: an input is not row-major, or has another type than the output")
}

/// A number that can be divided by a count.
trait Share: Num {
    fn over(self, count: Self) -> Self;
}

macro_rules! share {
    ($($t:ty),*) => {$(
        impl Share for $t {
            #[inline(always)]
            fn over(self, count: Self) -> Self {
                self / count
            }
        }
    )*};
}
share!(f32, f64, f16, bf16, C64);

/// The extents of a pooling, extended to three spatial axes.
struct Grid {
    images: usize,
    channels: usize,
    input: [usize; 3],
    output: [usize; 3],
    windows: [Windows; 3],
}

/// How the values of windows are written to the elements that they cover.
#[derive(Clone, Copy, PartialEq)]
enum Deposit {
    /// Each element is in at most one window, so its value is stored. Elements outside of all windows are zero beforehand.
    Write,
    /// Values are added; all elements are zero beforehand.
    Add,
}

/// Stores values to elements, or adds them.
#[inline(always)]
fn deposit<T: Num, const WRITE: bool>(out: &mut [T], values: &[T]) {
    for (out, &value) in out.iter_mut().zip(values) {
        *out = if WRITE { value } else { out.add(value) };
    }
}

impl Grid {
    fn new(windows: &[Windows], x: &[usize], y: &[usize]) -> Self {
        let spatial = windows.len();
        assert!(spatial <= 3 && x.len() == spatial + 2, "pooling: there are at most three spatial axes");
        let mut grid = Grid {
            images: x[0],
            channels: x[spatial + 1],
            input: [1; 3],
            output: [1; 3],
            windows: [Windows { size: 1, stride: 1, padding: 0 }; 3],
        };
        let first = 3 - spatial;
        grid.input[first..].copy_from_slice(&x[1..=spatial]);
        grid.output[first..].copy_from_slice(&y[1..=spatial]);
        grid.windows[first..].copy_from_slice(windows);
        grid
    }

    /// The elements of the input in window `o` of axis `k`.
    fn window(&self, k: usize, o: usize) -> Range<usize> {
        let Windows { size, stride, padding } = self.windows[k];
        let from = (o * stride).saturating_sub(padding);
        from..(o * stride + size).saturating_sub(padding).clamp(from, self.input[k].max(from))
    }

    /// Steps through the windows of some rows of windows; rows are counted over all images.
    fn each(&self, rows: Range<usize>) -> Each<'_> {
        // A window may be as large as the input.
        let most = |k: usize| self.windows[k].size.min(self.input[k]);
        let lines = most(0) * most(1);
        Each {
            grid: self,
            rows,
            column: self.output[2],
            to: 0,
            taps: List::with_capacity(lines * most(2)),
            lines: List::with_capacity(lines),
            whole: false,
        }
    }

    /// Prepares an output of the input's shape for [`deposit`], and returns how values have to be written to it.
    fn prepare<T: Num>(&self, out: &mut [T]) -> Deposit {
        let windows = self.windows.iter().zip(&self.input).zip(&self.output);
        let (mut disjoint, mut whole) = (true, true);
        for ((w, &n), &o) in windows {
            disjoint &= w.stride >= w.size;
            whole &= w.stride == w.size && o * w.size >= n + w.padding;
        }
        if !(disjoint && whole) {
            out.fill(T::ZERO);
        }
        if disjoint { Deposit::Write } else { Deposit::Add }
    }

    fn rows(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Divides the rows of windows into parts; calls `f` with each part's rows and output.
    fn by_rows<T: Send>(&self, out: Out<'_>, f: impl Fn(Range<usize>, &mut [T]) + Sync) {
        let size: usize = self.windows.iter().map(|w| w.size).product();
        let line = self.output[2] * self.channels;
        split(self.images * self.rows(), line, size * line, out, f);
    }

    /// Divides the images into parts; calls `f` with each part's images and its output, which has the input's shape.
    fn by_images<T: Send>(&self, out: Out<'_>, f: impl Fn(Range<usize>, &mut [T]) + Sync) {
        let image = self.input.iter().product::<usize>() * self.channels;
        split(self.images, image, image, out, f);
    }
}

/// A cursor over windows. A closure for each window would be simpler, but the compiler does not compile closures for the
/// instruction set of the function around them.
struct Each<'a> {
    grid: &'a Grid,
    /// The rows after the current one.
    rows: Range<usize>,
    /// The next window of the current row.
    column: usize,
    /// The offset of the current window in the output.
    to: usize,
    /// The offsets of its elements in the input.
    taps: List<usize>,
    /// The first pixels of the rows of the input that it covers.
    lines: List<usize>,
    /// Whether the whole window is inside of the input along the last axis.
    whole: bool,
}

impl Each<'_> {
    /// Advances to the next window; false if there is none.
    #[inline(always)]
    fn advance(&mut self) -> bool {
        let (grid, c) = (self.grid, self.grid.channels);
        let [depth, height, width] = grid.output;
        if self.column == width {
            let Some(row) = self.rows.next().filter(|_| width > 0) else { return false };
            let (n, d, h) = (row / (depth * height), row / height % depth, row % height);
            let image: usize = grid.input.iter().product();
            self.lines.clear();
            for id in grid.window(0, d) {
                let plane = n * image + id * grid.input[1] * grid.input[2];
                for ih in grid.window(1, h) {
                    self.lines.push(plane + ih * grid.input[2]);
                }
            }
            (self.column, self.to, self.whole) = (0, row * width * c, false);
        } else {
            self.to += c;
        }
        let Windows { size, stride, .. } = grid.windows[2];
        let columns = grid.window(2, self.column);
        if self.whole && columns.len() == size {
            // The elements of the previous window, moved by the stride.
            self.taps.iter_mut().for_each(|tap| *tap += stride * c);
        } else {
            self.taps.clear();
            for line in self.lines.iter() {
                for iw in columns.clone() {
                    self.taps.push((line + iw) * c);
                }
            }
        }
        self.whole = columns.len() == size;
        self.column += 1;
        true
    }
}

/// Divides `n` items of `each` output elements into parts; calls `f` with each part's items and output. One item takes as much
/// work as `cost` elements. The division depends on these numbers alone.
fn split<T: Send>(
    n: usize,
    each: usize,
    cost: usize,
    out: Out<'_>,
    f: impl Fn(Range<usize>, &mut [T]) + Sync,
) {
    const PART: usize = 1 << 15;
    if out.size() == 0 {
        return;
    }
    let parts = (n * cost / PART).clamp(1, 32).min(n);
    let step = n.div_ceil(parts);
    let to = Shared::new(out.ptr().cast::<T>());
    parallel(n.div_ceil(step), &|part| {
        let range = part * step..((part + 1) * step).min(n);
        // SAFETY: `out` has `n · each` elements of its type `T`, and each part has elements of its own.
        let out = unsafe { std::slice::from_raw_parts_mut(to.at(range.start * each), range.len() * each) };
        f(range, out);
    });
}

/// Channels that are computed at once.
const LANES: usize = 16;

/// Runs `$body` for full groups of [`LANES`] channels and then for single channels. `$c` is the first channel of a group, and
/// `$lanes` the number of its channels.
macro_rules! channels {
    ($n:expr, |$c:ident, $lanes:ident| $body:block) => {{
        let mut $c = 0;
        while $c + LANES <= $n {
            const $lanes: usize = LANES;
            $body
            $c += LANES;
        }
        while $c < $n {
            const $lanes: usize = 1;
            $body
            $c += 1;
        }
    }};
}

#[inline(always)]
fn at<T: Copy, const N: usize>(x: &[T], i: usize) -> [T; N] {
    *x[i..].first_chunk().expect("the channels of a pixel")
}

vectorize! {
    fn sums[T: Num](grid: &Grid, rows: Range<usize>, x: &[T], out: &mut [T]) {
        let first = rows.start * grid.output[2] * grid.channels;
        let mut each = grid.each(rows);
        while each.advance() {
            let (to, taps) = (each.to, &each.taps[..]);
            let out = &mut out[to - first..to - first + grid.channels];
            channels!(grid.channels, |c, N| {
                let mut sum = [T::ZERO; N];
                for &tap in taps {
                    let x: [T; N] = at(x, tap + c);
                    for k in 0..N {
                        sum[k] = sum[k].add(x[k]);
                    }
                }
                out[c..c + N].copy_from_slice(&sum);
            });
        }
    }
}

vectorize! {
    fn maxima[T: Num](grid: &Grid, rows: Range<usize>, x: &[T], out: &mut [T]) {
        let first = rows.start * grid.output[2] * grid.channels;
        let mut each = grid.each(rows);
        while each.advance() {
            let (to, taps) = (each.to, &each.taps[..]);
            let out = &mut out[to - first..to - first + grid.channels];
            channels!(grid.channels, |c, N| {
                let best: [T; N] = greatest(x, taps, c);
                out[c..c + N].copy_from_slice(&best);
            });
        }
    }
}

#[inline(always)]
fn greatest<T: Num, const N: usize>(x: &[T], taps: &[usize], c: usize) -> [T; N] {
    let mut best = [T::LOWEST; N];
    for &tap in taps {
        let x: [T; N] = at(x, tap + c);
        for k in 0..N {
            best[k] = best[k].greater(x[k]);
        }
    }
    best
}

/// The number of a window's greatest elements; 1 if there are none, as with NaN.
#[inline(always)]
fn ties<T: Num, const N: usize>(x: &[T], taps: &[usize], c: usize, best: &[T; N]) -> [T; N] {
    let mut count = [T::ZERO; N];
    for &tap in taps {
        let x: [T; N] = at(x, tap + c);
        for k in 0..N {
            count[k] = count[k].add(if x[k] == best[k] { T::ONE } else { T::ZERO });
        }
    }
    count.map(|n| if n == T::ZERO { T::ONE } else { n })
}

vectorize! {
    fn pick[T: Share](grid: &Grid, rows: Range<usize>, t: &[T], x: &[T], out: &mut [T]) {
        let first = rows.start * grid.output[2] * grid.channels;
        let mut each = grid.each(rows);
        while each.advance() {
            let (to, taps) = (each.to, &each.taps[..]);
            let out = &mut out[to - first..to - first + grid.channels];
            channels!(grid.channels, |c, N| {
                let best: [T; N] = greatest(x, taps, c);
                let mut sum = [T::ZERO; N];
                for &tap in taps {
                    let (x, t): ([T; N], [T; N]) = (at(x, tap + c), at(t, tap + c));
                    for k in 0..N {
                        sum[k] = sum[k].add(if x[k] == best[k] { t[k] } else { T::ZERO });
                    }
                }
                let count = ties(x, taps, c, &best);
                for k in 0..N {
                    out[c + k] = sum[k].over(count[k]);
                }
            });
        }
    }
}

vectorize! {
    fn spread[T: Num](grid: &Grid, images: Range<usize>, y: &[T], out: &mut [T]) {
        match grid.prepare(out) {
            Deposit::Write => spread_by::<T, true>(grid, images, y, out),
            Deposit::Add => spread_by::<T, false>(grid, images, y, out),
        }
    }
}

#[inline(always)]
fn spread_by<T: Num, const WRITE: bool>(grid: &Grid, images: Range<usize>, y: &[T], out: &mut [T]) {
    let first = images.start * grid.input.iter().product::<usize>() * grid.channels;
    let mut each = grid.each(images.start * grid.rows()..images.end * grid.rows());
    while each.advance() {
        let (from, taps) = (each.to, &each.taps[..]);
        let y = &y[from..from + grid.channels];
        for &tap in taps {
            deposit::<T, WRITE>(&mut out[tap - first..tap - first + y.len()], y);
        }
    }
}

vectorize! {
    fn put[T: Share](grid: &Grid, images: Range<usize>, y: &[T], x: &[T], out: &mut [T]) {
        match grid.prepare(out) {
            Deposit::Write => put_by::<T, true>(grid, images, y, x, out),
            Deposit::Add => put_by::<T, false>(grid, images, y, x, out),
        }
    }
}

#[inline(always)]
fn put_by<T: Share, const WRITE: bool>(grid: &Grid, images: Range<usize>, y: &[T], x: &[T], out: &mut [T]) {
    let first = images.start * grid.input.iter().product::<usize>() * grid.channels;
    let mut each = grid.each(images.start * grid.rows()..images.end * grid.rows());
    while each.advance() {
        let (from, taps) = (each.to, &each.taps[..]);
        channels!(grid.channels, |c, N| {
            let y: [T; N] = at(y, from + c);
            // The elements of windows of common sizes stay in registers.
            match taps.len() {
                4 => put_one::<T, N, 4, WRITE>(taps, y, &x[c..], &mut out[c..], first),
                9 => put_one::<T, N, 9, WRITE>(taps, y, &x[c..], &mut out[c..], first),
                _ => {
                    let best: [T; N] = greatest(x, taps, c);
                    let count = ties(x, taps, c, &best);
                    let share: [T; N] = std::array::from_fn(|k| y[k].over(count[k]));
                    for &tap in taps {
                        let x: [T; N] = at(x, tap + c);
                        let shares: [T; N] =
                            std::array::from_fn(|k| if x[k] == best[k] { share[k] } else { T::ZERO });
                        deposit::<T, WRITE>(&mut out[tap + c - first..tap + c - first + N], &shares);
                    }
                }
            }
        });
    }
}

/// Divides `y` equally among the greatest of the `K` elements of a window.
#[inline(always)]
fn put_one<T: Share, const N: usize, const K: usize, const WRITE: bool>(
    taps: &[usize],
    y: [T; N],
    x: &[T],
    out: &mut [T],
    first: usize,
) {
    let taps: &[usize; K] = taps.try_into().expect("the caller matches on the number of taps");
    let rows: [&[T]; K] = std::array::from_fn(|i| &x[taps[i]..taps[i] + N]);
    let mut shares = [[T::ZERO; N]; K];
    for k in 0..N {
        let x: [T; K] = std::array::from_fn(|i| rows[i][k]);
        let best = x.iter().fold(T::LOWEST, |best, &x| best.greater(x));
        let hit = x.map(|x| if x == best { T::ONE } else { T::ZERO });
        let count = hit.iter().fold(T::ZERO, |sum, &hit| sum.add(hit));
        let share = y[k].over(if count == T::ZERO { T::ONE } else { count });
        for i in 0..K {
            shares[i][k] = if x[i] == best { share } else { T::ZERO };
        }
    }
    for (shares, &tap) in shares.iter().zip(taps) {
        deposit::<T, WRITE>(&mut out[tap - first..tap - first + N], shares);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view<'a>(x: &'a [f32], shape: &'a [usize], strides: &'a [isize]) -> View<'a> {
        // SAFETY: the tests give as many elements as the shape says, row-major.
        unsafe { View::new(x.as_ptr().cast(), Dtype::F32, shape, strides) }
    }

    fn out<'a>(x: &'a mut [f32], shape: &'a [usize]) -> Out<'a> {
        assert_eq!(x.len(), shape.iter().product::<usize>());
        // SAFETY: as many elements as the shape says.
        unsafe { Out::new(x.as_mut_ptr().cast(), Dtype::F32, shape) }
    }

    #[test]
    fn windows_beyond_the_input_hold_nothing() {
        let windows = [Windows { size: 3, stride: 2, padding: 1 }];
        let x = [1.0, 5.0, 2.0, 5.0, f32::NAN];
        let (shape, strides) = ([1, 5, 1], [5, 1, 1]);
        let mut y = [0.0; 3];
        pool(Pooling::Max, &windows, view(&x, &shape, &strides), out(&mut y, &[1, 3, 1]));
        assert_eq!(y[..2], [5.0, 5.0]);
        assert!(y[2].is_nan());
        pool(Pooling::Sum, &windows, view(&x[..4], &[1, 4, 1], &[4, 1, 1]), out(&mut y[..2], &[1, 2, 1]));
        assert_eq!(y[..2], [6.0, 12.0]);
    }

    #[test]
    fn ties_share_and_the_transposes_are_transposes() {
        let windows = [Windows { size: 2, stride: 1, padding: 0 }; 2];
        // Seventeen channels: a group and one left over.
        let (n, c) = (3, 17);
        let size = n * n * c;
        let x: Vec<f32> = (0..size).map(|i| ((i * 7) % 5) as f32).collect();
        let t: Vec<f32> = (0..size).map(|i| ((i * 11) % 13) as f32 - 6.0).collect();
        let (shape, strides) = ([1, n, n, c], [size as isize, (n * c) as isize, c as isize, 1]);
        let small = 2 * 2 * c;
        let (y_shape, y_strides) = ([1, 2, 2, c], [small as isize, (2 * c) as isize, c as isize, 1]);
        let y: Vec<f32> = (0..small).map(|i| ((i * 3) % 7) as f32 - 3.0).collect();
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let (mut forth, mut back) = (vec![0.0; small], vec![0.0; size]);
        let (tv, xv, yv) =
            (view(&t, &shape, &strides), view(&x, &shape, &strides), view(&y, &y_shape, &y_strides));
        pool_pick(&windows, tv, xv, out(&mut forth, &y_shape));
        pool_put(&windows, yv, xv, out(&mut back, &shape));
        assert!((dot(&forth, &y) - dot(&back, &t)).abs() < 1e-4);
        pool(Pooling::Sum, &windows, tv, out(&mut forth, &y_shape));
        pool_spread(&windows, yv, out(&mut back, &shape));
        assert!((dot(&forth, &y) - dot(&back, &t)).abs() < 1e-4);
        // All equal: each of four has a quarter.
        let ones = vec![1.0; 4 * c];
        let (square, steps) = ([1, 2, 2, c], [(4 * c) as isize, (2 * c) as isize, c as isize, 1]);
        let (cotangent, mut shares) = (vec![1.0; c], vec![0.0; 4 * c]);
        let (pixel, row) = ([1, 1, 1, c], [c as isize, c as isize, c as isize, 1]);
        let ct = view(&cotangent, &pixel, &row);
        pool_put(&windows, ct, view(&ones, &square, &steps), out(&mut shares, &square));
        assert!(shares.iter().all(|&s| s == 0.25));
    }
}
