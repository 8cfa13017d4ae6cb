//! One source for every instruction set: loops are written once and compiled for AVX-512, AVX2 and the plain target. The
//! widest version that the machine supports is chosen at run time.
//!
//! The alternative, intrinsics for each instruction set, was measured: for loop bodies without branches the compiler's
//! vectorisation is as fast.

use std::sync::atomic::{AtomicU8, Ordering};

/// A tile function of one input: reads `n` contiguous elements at `x` and writes `n` at `out`.
///
/// The regions are aligned for their types and do not overlap.
pub type Tile1 = unsafe fn(x: *const u8, out: *mut u8, n: usize);
/// A tile function of two inputs; see [`Tile1`].
pub type Tile2 = unsafe fn(a: *const u8, b: *const u8, out: *mut u8, n: usize);
/// A tile function of three inputs; see [`Tile1`].
pub type Tile3 = unsafe fn(a: *const u8, b: *const u8, c: *const u8, out: *mut u8, n: usize);

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Level {
    /// The instructions that every machine of the target has (on AArch64 that includes NEON).
    Portable = 1,
    /// AVX2 and FMA: 256 bits.
    Avx2 = 2,
    /// AVX-512 F, BW, DQ, VL, CD: 512 bits.
    Avx512 = 3,
}

static LEVEL: AtomicU8 = AtomicU8::new(0);

/// The instruction set in use: the widest that the machine has, or a narrower one named by the environment variable
/// `COVECTOR_SIMD` (`avx2` or `portable`). It is chosen at the first call.
#[inline]
pub fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        3 => Level::Avx512,
        2 => Level::Avx2,
        1 => Level::Portable,
        _ => detect(),
    }
}

#[cold]
fn detect() -> Level {
    let mut found = Level::Portable;
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("bmi2")
        {
            found = Level::Avx2;
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512cd")
            {
                found = Level::Avx512;
            }
        }
    }
    let limit = match std::env::var("COVECTOR_SIMD").as_deref() {
        Ok("portable") => Level::Portable,
        Ok("avx2") => Level::Avx2,
        _ => Level::Avx512,
    };
    let level = found.min(limit);
    LEVEL.store(level as u8, Ordering::Relaxed);
    level
}

/// Compiles the named `#[inline(always)]` function once per instruction set; the value is a pointer to a
/// function that dispatches among them.
#[doc(hidden)]
#[macro_export]
macro_rules! __multiversion {
    ($body:ident($($arg:ident: $ty:ty),*)) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        unsafe fn avx512($($arg: $ty),*) {
            // SAFETY: passed on to the caller.
            unsafe { $body($($arg),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        unsafe fn avx2($($arg: $ty),*) {
            // SAFETY: passed on to the caller.
            unsafe { $body($($arg),*) }
        }
        unsafe fn dispatch($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            match $crate::simd::level() {
                // SAFETY: `level` found these features; the rest is passed on to the caller.
                $crate::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                $crate::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                $crate::simd::Level::Portable => {}
            }
            // SAFETY: passed on to the caller.
            unsafe { $body($($arg),*) }
        }
        dispatch
    }};
}

/// A [`Tile1`](crate::simd::Tile1) from a scalar expression: `tile1!(f32 => f32, |x| x * x)`.
///
/// ```
/// use covector_kernels::{simd::Tile1, tile1};
/// static SQUARE: Tile1 = tile1!(f32 => f32, |x| x * x);
/// let (x, mut y) = ([1.0f32, 2.0, 3.0], [0.0f32; 3]);
/// // SAFETY: both arrays hold three elements.
/// unsafe { SQUARE(x.as_ptr().cast(), y.as_mut_ptr().cast(), 3) };
/// assert_eq!(y, [1.0, 4.0, 9.0]);
/// ```
#[macro_export]
macro_rules! tile1 {
    ($x:ty => $o:ty, |$a:ident| $body:expr) => {{
        #[inline(always)]
        fn scalar($a: $x) -> $o {
            $body
        }
        #[inline(always)]
        fn run(x: &[$x], out: &mut [::core::mem::MaybeUninit<$o>]) {
            for (o, &x) in out.iter_mut().zip(x) {
                o.write(scalar(x));
            }
        }
        #[inline(always)]
        unsafe fn whole(x: *const u8, out: *mut u8, n: usize) {
            // SAFETY: the caller's contract: `n` elements at each pointer, no overlap.
            unsafe {
                run(
                    ::core::slice::from_raw_parts(x.cast(), n),
                    ::core::slice::from_raw_parts_mut(out.cast(), n),
                )
            }
        }
        $crate::__multiversion!(whole(x: *const u8, out: *mut u8, n: usize))
    }};
}

/// A [`Tile2`](crate::simd::Tile2) from a scalar expression: `tile2!(f32, f32 => bool, |a, b| a < b)`.
#[macro_export]
macro_rules! tile2 {
    ($x:ty, $y:ty => $o:ty, |$a:ident, $b:ident| $body:expr) => {{
        #[inline(always)]
        fn scalar($a: $x, $b: $y) -> $o {
            $body
        }
        #[inline(always)]
        fn run(x: &[$x], y: &[$y], out: &mut [::core::mem::MaybeUninit<$o>]) {
            for ((o, &x), &y) in out.iter_mut().zip(x).zip(y) {
                o.write(scalar(x, y));
            }
        }
        #[inline(always)]
        unsafe fn whole(x: *const u8, y: *const u8, out: *mut u8, n: usize) {
            // SAFETY: the caller's contract: `n` elements at each pointer, no overlap with `out`.
            unsafe {
                run(
                    ::core::slice::from_raw_parts(x.cast(), n),
                    ::core::slice::from_raw_parts(y.cast(), n),
                    ::core::slice::from_raw_parts_mut(out.cast(), n),
                )
            }
        }
        $crate::__multiversion!(whole(x: *const u8, y: *const u8, out: *mut u8, n: usize))
    }};
}

/// A [`Tile3`](crate::simd::Tile3) from a scalar expression:
/// `tile3!(bool, f32, f32 => f32, |c, a, b| if c { a } else { b })`.
#[macro_export]
macro_rules! tile3 {
    ($x:ty, $y:ty, $z:ty => $o:ty, |$a:ident, $b:ident, $c:ident| $body:expr) => {{
        #[inline(always)]
        fn scalar($a: $x, $b: $y, $c: $z) -> $o {
            $body
        }
        #[inline(always)]
        fn run(x: &[$x], y: &[$y], z: &[$z], out: &mut [::core::mem::MaybeUninit<$o>]) {
            let n = out.len();
            let (x, y, z) = (&x[..n], &y[..n], &z[..n]);
            for i in 0..n {
                // All operands are read before `scalar` chooses, so that the loop has no branch and vectorises.
                let (x, y, z) = (x[i], y[i], z[i]);
                out[i].write(scalar(x, y, z));
            }
        }
        #[inline(always)]
        unsafe fn whole(x: *const u8, y: *const u8, z: *const u8, out: *mut u8, n: usize) {
            // SAFETY: the caller's contract: `n` elements at each pointer, no overlap with `out`.
            unsafe {
                run(
                    ::core::slice::from_raw_parts(x.cast(), n),
                    ::core::slice::from_raw_parts(y.cast(), n),
                    ::core::slice::from_raw_parts(z.cast(), n),
                    ::core::slice::from_raw_parts_mut(out.cast(), n),
                )
            }
        }
        $crate::__multiversion!(whole(x: *const u8, y: *const u8, z: *const u8, out: *mut u8, n: usize))
    }};
}

/// A safe (generic) function compiled once per instruction set, for the kernels inside this crate.
macro_rules! vectorize {
    ($(#[$meta:meta])* $vis:vis fn $name:ident[$($t:ident: $bound:path),*]($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name<$($t: $bound),*>($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn plain<$($t: $bound),*>($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
            fn avx512<$($t: $bound),*>($($arg: $ty),*) $(-> $ret)? {
                plain::<$($t),*>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
            fn avx2<$($t: $bound),*>($($arg: $ty),*) $(-> $ret)? {
                plain::<$($t),*>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            match $crate::simd::level() {
                // SAFETY: `level` found these features.
                $crate::simd::Level::Avx512 => return unsafe { avx512::<$($t),*>($($arg),*) },
                // SAFETY: as above.
                $crate::simd::Level::Avx2 => return unsafe { avx2::<$($t),*>($($arg),*) },
                $crate::simd::Level::Portable => {}
            }
            plain::<$($t),*>($($arg),*)
        }
    };
}
pub(crate) use vectorize;
