//! Shared code of the measuring programs: data of any type, and the shortest time of a call.
#![allow(dead_code, unreachable_pub, reason = "each program uses a part")]

use covector_kernels::*;
use std::time::Instant;

/// The shortest time of one call, in seconds; `patience` is the duration of the measurement.
pub fn best(patience: f64, mut f: impl FnMut()) -> f64 {
    f();
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < patience {
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// Measures the calls whose names contain the program's first argument, each for the number of seconds in the second argument,
/// and prints a line for each.
pub struct Report(String, f64);

impl Report {
    pub fn new() -> Self {
        let seconds = std::env::args().nth(2).and_then(|s| s.parse().ok()).unwrap_or(0.2);
        Self(std::env::args().nth(1).unwrap_or_default(), seconds)
    }

    /// Measures one call. `work` is its number of operations or bytes; 10⁹ of them a second are printed.
    pub fn run(&self, name: &str, work: f64, unit: &str, f: impl FnMut()) {
        if name.contains(&self.0) {
            let t = best(self.1, f);
            println!("{name:40} {:10.2} us {:8.2} {unit}", t * 1e6, work / t * 1e-9);
        }
    }
}

pub fn strides(shape: &[usize]) -> Vec<isize> {
    let mut s = vec![1; shape.len()];
    for k in (1..shape.len()).rev() {
        s[k - 1] = s[k] * shape[k] as isize;
    }
    s
}

/// Numbers between -1 and 1 of any element type, in memory that is allocated as that of arrays.
pub struct Data {
    ptr: std::ptr::NonNull<u8>,
    bytes: usize,
    dtype: Dtype,
}

impl Data {
    pub fn new(dtype: Dtype, n: usize) -> Self {
        let bytes = (n * dtype.size()).next_multiple_of(64);
        let mut data = Self { ptr: memory::allocate(bytes).unwrap(), bytes, dtype };
        let scale = if dtype.is_integer() { 1e6 } else { 1.0 };
        let f: Vec<f32> =
            (0..n).map(|i| scale * (((i * 7919) % 1_000_003) as f32 / 500_000.0 - 1.0)).collect();
        let (shape, s) = ([n], [1]);
        // SAFETY: `f` has `n` elements.
        cast(unsafe { View::new(f.as_ptr().cast(), Dtype::F32, &shape, &s) }, data.out(&shape));
        data
    }

    pub fn view<'a>(&'a self, shape: &'a [usize], strides: &'a [isize]) -> View<'a> {
        // SAFETY: the callers' layouts are within the data.
        unsafe { View::new(self.ptr.as_ptr(), self.dtype, shape, strides) }
    }

    pub fn out<'a>(&'a mut self, shape: &'a [usize]) -> Out<'a> {
        // SAFETY: as in `view`.
        unsafe { Out::new(self.ptr.as_ptr(), self.dtype, shape) }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this size.
        unsafe { memory::release(self.ptr, self.bytes) };
    }
}
