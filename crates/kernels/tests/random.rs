//! Random bits against the plain formula, and the published functions against the functions that they approximate.

use covector_kernels::random::{self, published, threefry2x32};
use std::mem::MaybeUninit;

/// The words of a stream, one at a time, by the definition of the layout.
fn words(key: [u32; 2], n: usize) -> Vec<u32> {
    let (half, up) = (n / 2, n - n / 2);
    let mut out = vec![0; n];
    for i in 0..half {
        let [a, b] = threefry2x32(key, [i as u32, (i + up) as u32]);
        (out[i], out[i + up]) = (a, b);
    }
    if n % 2 == 1 {
        out[half] = threefry2x32(key, [half as u32, 0])[0];
    }
    out
}

#[test]
fn bits_of_every_length_and_width_are_the_words() {
    for n in (0..70).chain([255, 256, 257, 511, 512, 1000, 1001]) {
        let bytes: Vec<u8> = words([3, 0xffff_fff0], n).iter().flat_map(|w| w.to_le_bytes()).collect();
        for width in [1, 2, 4] {
            for cut in (0..4).step_by(width).filter(|&c| c <= 4 * n && c < 4) {
                let len = 4 * n - cut;
                let mut out = vec![0u8; len + 1];
                // Also for bytes that do not start at a multiple of four.
                random::bits([3, 0xffff_fff0], width, &mut out[1..]);
                assert_eq!(&out[1..], &bytes[..len], "{n} words, width {width}, {cut} bytes cut");
                random::bits([3, 0xffff_fff0], width, &mut out[..len]);
                assert_eq!(&out[..len], &bytes[..len], "{n} words, width {width}, {cut} bytes cut");
            }
        }
    }
}

fn filled<T: Copy>(n: usize, fill: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut out = vec![MaybeUninit::uninit(); n];
    fill(&mut out);
    // SAFETY: the kernels write every element.
    out.into_iter().map(|v| unsafe { v.assume_init() }).collect()
}

#[test]
fn floats_are_functions_of_their_words() {
    // The largest length reaches every interval of the logarithm and both branches of the inverse error function.
    for n in [0, 1, 2, 3, 127, 128, 129, 256, 257, 4001, 1 << 18] {
        let words = words([1, 2], n);
        let unit = |w: u32| ((f64::from(w as f32) / 2f64.powi(32)) as f32).min(1.0 - f32::EPSILON / 2.0);
        let uniform = filled(n, |out| random::uniform([1, 2], 1.0, out));
        let normal = filled(n, |out| random::normal([1, 2], 2.0, out));
        for (i, &w) in words.iter().enumerate() {
            assert_eq!(uniform[i], unit(w));
            let u = 2.0 * unit(w) + (-1.0f32).next_up();
            assert_eq!(normal[i].to_bits(), (2.0 * published::erfinv(u)).to_bits(), "{w}");
        }
    }
    let halves = filled(5000, |out| random::uniform([1, 2], 0.5, out));
    assert!(halves.iter().all(|&u| u <= 0.5) && halves.contains(&0.5));
}

#[test]
fn f64_uniforms_are_the_f32_ones_with_more_digits() {
    let (high, low) = (words([9, 8], 301), words(threefry2x32([9, 8], [u32::MAX; 2]), 301));
    let single = filled(301, |out| random::uniform([9, 8], 1.0, out));
    let got = filled(301, |out| random::uniform_f64([9, 8], out));
    for (i, u) in got.into_iter().enumerate() {
        let want = (u64::from(high[i]) * (1 << 32) + u64::from(low[i])) as f64 / 2f64.powi(64);
        assert!((u - want).abs() <= 2f64.powi(-53) && (0.0..1.0).contains(&u), "{u} {want}");
        assert!((u - f64::from(single[i])).abs() <= 2f64.powi(-24));
    }
}

/// The error function by its series, which is exact to the last digits of an `f64` for these arguments.
fn erf(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

#[test]
fn published_functions_are_close_to_the_functions_they_approximate() {
    for i in -4000..=4000 {
        let x = i as f32 / 1000.0;
        assert!((f64::from(published::erf(x)) - erf(f64::from(x))).abs() < 6e-7, "erf {x}");
        let u = erf(f64::from(x)) as f32;
        if u.abs() < 0.999 {
            assert!((published::erfinv(u) - x).abs() < 2e-5 * (1.0 + x.abs()), "erfinv {u}");
        }
    }
    let mut bits = 1u32;
    while bits < f32::INFINITY.to_bits() {
        let x = f32::from_bits(bits);
        let want = f64::from(x).ln();
        let got = f64::from(published::log(x));
        let ulp = f64::from((want as f32).abs().next_up() - (want as f32).abs());
        assert!((got - want).abs() <= 0.82 * ulp, "log {x:e}: {got} {want}");
        bits += 4001;
    }
    assert_eq!(published::log(0.0), f32::NEG_INFINITY);
    assert_eq!(published::log(1.0), 0.0);
    assert_eq!(published::log(f32::INFINITY), f32::INFINITY);
    assert!(published::log(-1.0).is_nan() && published::log(f32::NAN).is_nan());
}

/// The stream uses the logarithm of GNU's C library, so on such a system all results can be compared.
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
#[test]
fn log_equals_the_logarithm_of_the_c_library() {
    for bits in (1..f32::INFINITY.to_bits()).step_by(397) {
        let x = f32::from_bits(bits);
        assert_eq!(published::log(x).to_bits(), x.ln().to_bits(), "{x:e}");
    }
}
