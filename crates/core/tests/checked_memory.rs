//! All memory that grows with the data comes from the allocator that can say no: an allocation of the standard library's
//! that fails ends the process.

mod support;
use covector_core::{Dtype, eval, graph_text, set_num_threads};
use covector_kernels::simd::{Level, level};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Notes the largest request that does not come from the library's own allocator.
struct Noting;

static NOTING: AtomicBool = AtomicBool::new(false);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// What all blocks of the library's allocator are aligned to, and others are not.
const ALIGN: usize = covector_kernels::memory::ALIGN;

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
            // Without AVX-512 products run in the crate `gemm`, which packs blocks of the operands in memory of its own; the
            // blocks have the size of the caches, whatever that of the data.
            let packs = level() < Level::Avx512 && graph_text(std::slice::from_ref(&y)).contains("matmul");
            let few = if packs { 4 << 20 } else { FEW };
            LARGEST.store(0, Relaxed);
            NOTING.store(true, Relaxed);
            let found = eval(&[y]);
            NOTING.store(false, Relaxed);
            found.unwrap();
            let largest = LARGEST.load(Relaxed);
            assert!(largest < few, "result {k} of {dtype}: {largest} bytes from the standard library");
        }
    }
}
