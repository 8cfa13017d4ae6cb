//! All memory that grows with the data comes from the allocator that can say no: an allocation of the standard library's
//! that fails ends the process.

mod support;
use covector_core::{Dtype, eval, set_num_threads};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Notes the largest request that does not come from the library's own allocator.
struct Noting;

static NOTING: AtomicBool = AtomicBool::new(false);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// What all blocks of the library's allocator are aligned to, and others are not.
const ALIGN: usize = covector_kernels::block::ALIGN;

fn note(layout: Layout, bytes: usize) {
    if NOTING.load(Relaxed) && layout.align() != ALIGN {
        LARGEST.fetch_max(bytes, Relaxed);
    }
}

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout, layout.size());
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(layout, size);
        // SAFETY: the caller's contract.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

#[test]
fn no_kernel_takes_memory_of_the_size_of_the_data_without_asking() {
    set_num_threads(2);
    // Graphs, plans and machine code take some, whatever the size of the data; the arrays have 100 KB and more.
    const FEW: usize = 1 << 15;
    for dtype in Dtype::ALL {
        if matches!(dtype, Dtype::C64 | Dtype::Bool) {
            continue; // not ordered, or not added
        }
        for k in 0..support::large(dtype).len() {
            let y = support::large(dtype).swap_remove(k);
            LARGEST.store(0, Relaxed);
            NOTING.store(true, Relaxed);
            let found = eval(&[y]);
            NOTING.store(false, Relaxed);
            found.unwrap();
            let largest = LARGEST.load(Relaxed);
            assert!(largest < FEW, "result {k} of {dtype}: {largest} bytes from the standard library");
        }
    }
}
