//! The work of a call for each node does not grow with the graph. It is counted and not timed: allocations and the bytes that
//! they ask for.

use covector_core::transforms::{compile, value_and_grad};
use covector_core::{Array, eval, set_num_threads};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what the calling thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

fn note(bytes: usize) {
    // Where a thread is being torn down, nothing is counted.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
    let _ = BYTES.try_with(|n| n.set(n.get() + bytes as u64));
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: passed on to the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: passed on to the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: passed on to the caller.
        unsafe { System.realloc(ptr, layout, size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: passed on to the caller.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Params = (Array, Array, Array);

/// A pendulum by the classical Runge–Kutta method; about 44 nodes a step.
fn pendulum((angle, speed, gravity): &Params, nodes: usize) -> Array {
    let h = 0.01;
    let slope = |a: &Array, v: &Array| (v.clone(), -(gravity * a.sin()));
    let (mut a, mut v) = (angle.clone(), speed.clone());
    for _ in 0..nodes / 44 {
        let (a1, v1) = slope(&a, &v);
        let (a2, v2) = slope(&(&a + &a1 * (h / 2.0)), &(&v + &v1 * (h / 2.0)));
        let (a3, v3) = slope(&(&a + &a2 * (h / 2.0)), &(&v + &v2 * (h / 2.0)));
        let (a4, v4) = slope(&(&a + &a3 * h), &(&v + &v3 * h));
        a = a + (a1 + (a2 + a3) * 2.0 + a4) * (h / 6.0);
        v = v + (v1 + (v2 + v3) * 2.0 + v4) * (h / 6.0);
    }
    a * v
}

/// `x ← sin(x)·a + b·x`.
fn chain((x, a, b): &Params, nodes: usize) -> Array {
    (0..nodes / 4).fold(x.clone(), |x, _| x.sin() * a + b * &x)
}

/// One value that all are made of, and one that is made of all: `Σ sin(x·cₖ)·a + b`, summed in pairs.
fn fan((x, a, b): &Params, nodes: usize) -> Array {
    let terms = (nodes / 5).max(1);
    let mut layer: Vec<Array> = (0..terms).map(|k| (x * (k as f64 / terms as f64)).sin() * a + b).collect();
    while layer.len() > 1 {
        layer = layer.chunks(2).map(|pair| pair.iter().skip(1).fold(pair[0].clone(), |s, y| s + y)).collect();
    }
    layer.remove(0)
}

/// What a call takes for each node.
#[derive(Clone, Copy, Debug)]
struct Work {
    allocations: f64,
    bytes: f64,
}

fn counted(nodes: usize, call: impl FnOnce() -> (Array, Params)) -> Work {
    let (allocations, bytes) = (ALLOCATIONS.get(), BYTES.get());
    let (value, (a, b, c)) = call();
    eval(&[value, a, b, c]).unwrap();
    let each = |now: u64, before: u64| (now - before) as f64 / nodes as f64;
    Work { allocations: each(ALLOCATIONS.get(), allocations), bytes: each(BYTES.get(), bytes) }
}

const CALLS: [&str; 4] = ["first call", "later call", "compiling call", "compiled call"];

/// The work of each kind of call for each node.
fn work(f: fn(&Params, usize) -> Array, nodes: usize) -> [Work; 4] {
    // Later calls are other values of the same structure.
    let at = |k: f64| (Array::scalar(0.5 * k), Array::scalar(0.3 * k), Array::scalar(0.4 * k));
    let gradient = value_and_grad(move |p: &Params| f(p, nodes));
    let first = counted(nodes, || gradient(&at(1.0)).unwrap());
    let later = counted(nodes, || gradient(&at(0.9)).unwrap());
    let compiled = compile(value_and_grad(move |p: &Params| f(p, nodes)));
    let compiling = counted(nodes, || compiled(&at(0.8)).unwrap());
    let hit = counted(nodes, || compiled(&at(0.7)).unwrap());
    [first, later, compiling, hit]
}

/// Compares the work for each node at these sizes with that at 4,000 nodes.
fn grows_no_faster_than_the_graph(sizes: &[usize]) {
    set_num_threads(1);
    for (name, f) in [("pendulum", pendulum as fn(&Params, usize) -> Array), ("chain", chain), ("fan", fan)] {
        let few = work(f, 4_000);
        for &nodes in sizes {
            let many = work(f, nodes);
            for ((call, few), many) in CALLS.iter().zip(few).zip(many) {
                let within = |few: f64, many: f64| many <= 1.5 * few + 0.01;
                assert!(
                    within(few.allocations, many.allocations) && within(few.bytes, many.bytes),
                    "{name}, {call}: a node of {nodes} takes {many:?}, of 4,000 {few:?}"
                );
            }
        }
    }
}

#[test]
fn work_for_each_node_is_the_same_in_small_and_large_graphs() {
    grows_no_faster_than_the_graph(&[40_000, 100_000]);
}

#[test]
#[ignore = "takes minutes in a build for tests: cargo test --release --test planning -- --ignored"]
fn work_for_each_node_is_the_same_in_a_graph_of_a_million() {
    grows_no_faster_than_the_graph(&[1_000_000]);
}
