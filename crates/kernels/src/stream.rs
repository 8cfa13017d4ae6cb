//! Non-temporal stores, which write past the caches, for results that are too large to stay in a cache. An ordinary store
//! first reads the cache line from memory, which makes a large fill four times as slow and a large copy twice as slow.

use crate::simd::{Level, level};

/// Whether writing a result of this size past the caches pays.
pub(crate) fn worthwhile(bytes: usize) -> bool {
    cfg!(target_arch = "x86_64") && bytes >= 16 << 20 && level() == Level::Avx512
}

/// Copies `bytes` bytes past the caches, if the machine has the instructions.
///
/// # Safety
/// The bytes can be read and written, without overlap.
pub(crate) unsafe fn copy(src: *const u8, dst: *mut u8, bytes: usize) {
    let head = dst.align_offset(64).min(bytes);
    let lines = (bytes - head) / 64;
    // SAFETY: the caller's contract; the whole lines of the destination are aligned.
    unsafe {
        std::ptr::copy_nonoverlapping(src, dst, head);
        let (from, to) = (src.add(head), dst.add(head));
        #[cfg(target_arch = "x86_64")]
        if level() == Level::Avx512 {
            copy_lines(from, to, lines);
            let done = head + lines * 64;
            return std::ptr::copy_nonoverlapping(src.add(done), dst.add(done), bytes - done);
        }
        let _ = lines;
        std::ptr::copy_nonoverlapping(from, to, bytes - head);
    }
}

/// Fills `bytes` bytes with a pattern. The pattern's period divides the number of bytes before the first aligned line.
///
/// # Safety
/// The bytes can be written.
pub(crate) unsafe fn fill(pattern: &[u8; 64], dst: *mut u8, bytes: usize) {
    let head = dst.align_offset(64).min(bytes);
    let lines = (bytes - head) / 64;
    let tail = bytes - head - lines * 64;
    // SAFETY: the caller's contract; the lines are aligned.
    unsafe {
        std::ptr::copy_nonoverlapping(pattern.as_ptr(), dst, head);
        let to = dst.add(head);
        #[cfg(target_arch = "x86_64")]
        let streamed = level() == Level::Avx512 && {
            fill_lines(pattern, to, lines);
            true
        };
        #[cfg(not(target_arch = "x86_64"))]
        let streamed = false;
        if !streamed {
            for i in 0..lines {
                to.add(i * 64).cast::<[u8; 64]>().write(*pattern);
            }
        }
        std::ptr::copy_nonoverlapping(pattern.as_ptr(), to.add(lines * 64), tail);
    }
}

/// # Safety
/// The machine has AVX-512; the lines can be read and written, and are aligned at `dst`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn copy_lines(src: *const u8, dst: *mut u8, lines: usize) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's contract. The fence orders the non-temporal stores before later stores, such as those that
    // publish the result to other threads.
    unsafe {
        for i in 0..lines {
            _mm512_stream_si512(dst.add(i * 64).cast(), _mm512_loadu_si512(src.add(i * 64).cast()));
        }
        _mm_sfence();
    }
}

/// # Safety
/// The machine has AVX-512; the lines can be written, and are aligned.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn fill_lines(pattern: &[u8; 64], dst: *mut u8, lines: usize) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's contract; the fence is as in `copy_lines`.
    unsafe {
        let line = _mm512_loadu_si512(pattern.as_ptr().cast());
        for i in 0..lines {
            _mm512_stream_si512(dst.add(i * 64).cast(), line);
        }
        _mm_sfence();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn copies_and_fills_of_every_alignment() {
        let src: Vec<u8> = (0..1000).map(|i| (i % 251) as u8).collect();
        let pattern: [u8; 64] = std::array::from_fn(|i| [1, 2, 3, 4][i % 4]);
        for start in (0..130).step_by(4) {
            for bytes in [0, 1, 4, 63, 64, 65, 200, 700] {
                let mut dst = vec![0u8; 1000];
                // SAFETY: within both vectors.
                unsafe { super::copy(src.as_ptr().add(start % 7), dst.as_mut_ptr().add(start), bytes) };
                assert_eq!(dst[start..start + bytes], src[start % 7..][..bytes]);
                assert!(dst[..start].iter().chain(&dst[start + bytes..]).all(|&b| b == 0));
                let mut dst = vec![0u8; 1000];
                let first = dst.as_ptr().align_offset(4);
                // SAFETY: within the vector.
                unsafe { super::fill(&pattern, dst.as_mut_ptr().add(first + start), bytes) };
                let filled = &dst[first + start..][..bytes];
                assert!(filled.iter().enumerate().all(|(i, &b)| b == pattern[i % 4]));
                assert!(dst[first + start + bytes..].iter().all(|&b| b == 0));
            }
        }
    }
}
