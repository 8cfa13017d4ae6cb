//! The caching allocator: what is kept, what the limits give back.

use covector_core::{Array, Dtype, buffer, eval, ops};
use std::sync::Mutex;

/// The tests here look at process-wide counters.
static ALONE: Mutex<()> = Mutex::new(());

/// An array of its own memory, `bytes` long.
fn filled(bytes: usize) -> Array {
    let x = ops::arange(0.0, (bytes / 4) as f64, 1.0, Dtype::F32);
    eval(std::slice::from_ref(&x)).unwrap();
    x
}

#[test]
fn freed_memory_is_kept_up_to_the_limit() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    buffer::clear_cache();
    let before = buffer::set_cache_limit(64 << 20);
    for _ in 0..3 {
        drop(filled(32 << 20));
    }
    assert!((32 << 20..=64 << 20).contains(&buffer::cache_memory()), "{}", buffer::cache_memory());
    assert_eq!(buffer::set_cache_limit(1 << 20), 64 << 20);
    assert!(buffer::cache_memory() <= 1 << 20);
    drop(filled(32 << 20));
    assert!(buffer::cache_memory() <= 1 << 20);
    assert_eq!(buffer::set_cache_limit(before), 1 << 20);
    assert_eq!(buffer::cache_limit(), before);
}

#[test]
fn the_memory_limit_empties_the_cache_first_and_does_not_fail() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let before = buffer::memory_limit();
    drop(filled(48 << 20));
    let live = buffer::active_memory();
    assert!(buffer::cache_memory() >= 48 << 20);
    assert_eq!(buffer::set_memory_limit(live + (16 << 20)), before);
    assert!(buffer::cache_memory() <= 16 << 20);
    // More than the limit, but the system has it.
    let large = filled(40 << 20);
    assert!(buffer::active_memory() >= live + (40 << 20));
    assert_eq!(large.size(), 10 << 20);
    drop(large);
    assert!(buffer::active_memory() + buffer::cache_memory() <= live + (16 << 20) + 1024);
    assert_eq!(buffer::set_memory_limit(before), live + (16 << 20));
}

#[test]
fn memory_that_is_not_there_is_an_error() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let x = ops::broadcast_to(&Array::scalar(1.0f32), &[1 << 45]);
    let y = x + Array::new([1.0f32]);
    let error = eval(&[y]).unwrap_err().to_string();
    assert!(error.contains("memory"), "{error}");
    let wired = buffer::set_wired_limit(5);
    assert_eq!(buffer::set_wired_limit(wired), 5);
}
