//! What the profiler sees: which instructions, for how long, with which bytes and operations.

use covector_core::profile::{Event, EventKind, Profiler, Trace, check_path};
use covector_core::transforms::{compile, grad};
use covector_core::{Array, Dtype, Error, graph_dot, graph_dot_named, ops};
use std::sync::{Barrier, Mutex, MutexGuard};

/// A profiler sees all threads, also those of other tests.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|e| e.into_inner())
}

fn full(shape: &[usize]) -> Array {
    let x = ops::broadcast_to(&Array::scalar(0.5f32), shape) + 0.25;
    x.try_eval().unwrap();
    x
}

/// The kernels of what `f` evaluates.
fn kernels(f: impl FnOnce() -> Array) -> Vec<Event> {
    let profiler = Profiler::start();
    f().try_eval().unwrap();
    profiler.finish().into_events().into_iter().filter(|e| e.kind == EventKind::Kernel).collect()
}

/// Operations, bytes read and bytes written of the only kernel.
fn cost(f: impl FnOnce() -> Array) -> (u64, u64, u64) {
    let found = kernels(f);
    assert_eq!(found.len(), 1, "{found:?}");
    (found[0].flops, found[0].bytes_read, found[0].bytes_written)
}

#[test]
fn a_matrix_product_counts_two_operations_for_each_pair() {
    let _alone = alone();
    let (a, b) = (full(&[8, 16]), full(&[16, 5]));
    assert_eq!(cost(|| a.matmul(&b)), (2 * 8 * 16 * 5, 4 * (8 * 16 + 16 * 5), 4 * 8 * 5));
    // A batch of them; the matrix they share is read once.
    let batch = full(&[3, 8, 16]);
    assert_eq!(cost(|| batch.matmul(&b)).0, 3 * 2 * 8 * 16 * 5);
    assert_eq!(cost(|| batch.matmul(&b)).1, 4 * (3 * 8 * 16 + 16 * 5));
    // So is memory that is seen twice.
    let square = full(&[64, 64]);
    assert_eq!(cost(|| square.matmul(&square.mt())).1, 4 * 64 * 64);
}

#[test]
fn a_chain_counts_elements_times_operations() {
    let _alone = alone();
    let (x, row, one) = (full(&[30, 7]), full(&[7]), full(&[]));
    let found = cost(|| ((&x + &row) * &one).tanh());
    assert_eq!(found, (3 * 30 * 7, 4 * (30 * 7 + 7 + 1), 4 * 30 * 7));
    // Half of an array is half of its bytes, and a broadcast reads what there is.
    let half = ops::split(&x, 2, 0).remove(0);
    assert_eq!(cost(|| -half).1, 4 * 15 * 7);
    let wide = ops::broadcast_to(&row, &[1000, 7]);
    assert_eq!(cost(|| -wide), (7000, 28, 28_000));
}

#[test]
fn reductions_count_their_elements_wherever_they_run() {
    let _alone = alone();
    let x = full(&[40, 25]);
    assert_eq!(cost(|| x.sum_axes(&[1], false)), (1000, 4000, 160));
    assert_eq!(cost(|| ops::argmax_axis(&x, 1, false)).0, 1000);
    assert_eq!(cost(|| ops::cumsum(&x, 1, false, true)).0, 1000);
    // exp and its sum, in one band or in two kernels.
    let all: u64 = kernels(|| x.exp().sum_axes(&[1], false)).iter().map(|e| e.flops).sum();
    assert_eq!(all, 2000);
    assert_eq!(cost(|| ops::sort(&x, 1)).0, 0);
}

#[test]
fn convolutions_count_two_operations_for_each_tap() {
    let _alone = alone();
    let (x, w) = (full(&[2, 9, 9, 4]), full(&[6, 3, 3, 4]));
    let conv = |x: &Array, w: &Array| ops::conv2d(x, w, [1, 1], [0, 0], [1, 1], 1);
    let due = 2 * (2 * 7 * 7 * 6) * (3 * 3 * 4);
    assert_eq!(cost(|| conv(&x, &w)).0, due);
    // The gradient for the kernel is a sum over the same terms.
    let found = kernels(|| grad(|w: &Array| (conv(&x, w) * 0.5).sum())(&w).unwrap());
    let weights = found.iter().find(|e| e.name.contains("conv_weights")).expect("the gradient of a kernel");
    assert_eq!(weights.flops, due);
}

#[test]
fn only_what_runs_in_its_time_is_recorded() {
    let _alone = alone();
    let x = full(&[11]);
    (&x + 1.0).try_eval().unwrap();
    let outer = Profiler::start();
    let lazy = x.sin();
    assert!(outer.so_far().events().is_empty(), "nothing has run");
    lazy.try_eval().unwrap();
    let inner = Profiler::start();
    x.cos().try_eval().unwrap();
    let inner = inner.finish();
    x.tan().try_eval().unwrap();
    drop(Profiler::start());
    let outer = outer.finish();
    x.tanh().try_eval().unwrap();
    let names = |t: &Trace, word: &str| t.events().iter().filter(|e| e.name.contains(word)).count();
    assert_eq!(["sin", "cos", "tan,", "tanh"].map(|w| names(&inner, w)), [0, 1, 0, 0]);
    let seen = ["map (11,): sin", "map (11,): cos", "map (11,): tan ", "tanh"].map(|w| names(&outer, w));
    assert_eq!(seen, [1, 1, 1, 0], "{}", outer.summary());
}

#[test]
fn times_lie_within_each_other() {
    let _alone = alone();
    let x = full(&[64, 64]);
    let profiler = Profiler::start();
    for i in 0..20 {
        (x.matmul(&x) + f64::from(i)).sum().try_eval().unwrap();
    }
    let trace = profiler.finish();
    assert!(trace.events().len() >= 40);
    let mut last = 0.0;
    for e in trace.events() {
        assert!(e.duration_us >= 0.0 && e.start_us >= last, "{e:?} after {last}");
        assert!(e.start_us + e.duration_us <= trace.duration_us() + 1e-3, "{e:?}");
        last = e.start_us;
    }
    let totals = trace.totals();
    assert!(totals.iter().map(|t| t.own_us).sum::<f64>() <= trace.duration_us() + 1e-3);
    let product = totals.iter().find(|t| t.name.contains("matmul")).unwrap();
    assert_eq!((product.count, product.flops), (20, 20 * 2 * 64 * 64 * 64));
    assert!(product.flop_rate().unwrap() > 0.0 && product.bandwidth().unwrap() > 0.0);
}

#[test]
fn planning_and_tracing_are_seen_the_first_time_only() {
    let _alone = alone();
    let x = full(&[5, 5]);
    let f = compile(|x: &Array| x.matmul(x).tanh().sum());
    let call = || {
        let profiler = Profiler::start();
        (f(&x).unwrap() * 2.0).try_eval().unwrap();
        profiler.finish()
    };
    let count = |t: &Trace, kind| t.events().iter().filter(|e| e.kind == kind).count();
    let first = call();
    assert_eq!(count(&first, EventKind::Trace), 1);
    assert!(count(&first, EventKind::Plan) >= 1, "{}", first.summary());
    let again = call();
    assert_eq!((count(&again, EventKind::Trace), count(&again, EventKind::Plan)), (0, 0));
    // The call of the compiled function holds its kernels, and leaves bytes and operations to them.
    let nested: Vec<&Event> = again.events().iter().filter(|e| e.kind == EventKind::Nested).collect();
    assert_eq!(nested.len(), 1);
    assert_eq!((nested[0].bytes(), nested[0].flops), (0, 0));
    let product = again.events().iter().find(|e| e.name.contains("matmul")).unwrap();
    assert_eq!((product.kind, product.flops), (EventKind::Kernel, 2 * 5 * 5 * 5));
    assert!(nested[0].start_us <= product.start_us);
    let own = again.totals().iter().find(|t| t.kind == EventKind::Nested).unwrap().own_us;
    assert!(own <= nested[0].duration_us - product.duration_us + 1e-3);
    // A call that is asked for by itself is its kernels and nothing else.
    let profiler = Profiler::start();
    f(&x).unwrap().try_eval().unwrap();
    let alone = profiler.finish();
    assert!(alone.events().iter().all(|e| e.kind == EventKind::Kernel) && !alone.events().is_empty());
}

#[test]
fn threads_and_their_profilers_do_not_disturb_each_other() {
    const THREADS: usize = 4;
    const STEPS: usize = 200;
    let _alone = alone();
    let watched = Profiler::start();
    let barrier = Barrier::new(THREADS);
    let traces: Vec<Trace> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..THREADS)
            .map(|t| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let x = full(&[t + 2, 3]);
                    barrier.wait();
                    let profiler = Profiler::start();
                    for i in 0..STEPS {
                        (&x * (i as f64)).tanh().try_eval().unwrap();
                    }
                    profiler.finish()
                })
            })
            .collect();
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    });
    let watched = watched.finish();
    for (t, own) in traces.iter().enumerate() {
        let of = format!("map ({}, 3): multiply", t + 2);
        let mine: Vec<&Event> = own.events().iter().filter(|e| e.name.starts_with(&of)).collect();
        assert_eq!(mine.len(), STEPS, "{}", own.summary());
        assert!(mine.iter().all(|e| e.thread == mine[0].thread));
        let seen = watched.events().iter().filter(|e| e.name.starts_with(&of));
        assert_eq!(seen.count(), STEPS);
    }
    let mut threads: Vec<u32> = watched.events().iter().map(|e| e.thread).collect();
    threads.sort_unstable();
    threads.dedup();
    assert_eq!(threads.len(), THREADS);
}

#[test]
fn failures_leave_the_profiler_usable() {
    let _alone = alone();
    let x = full(&[4]);
    let profiler = Profiler::start();
    let bad = ops::take(&x, &Array::new([9i32]), 0);
    assert!(matches!(bad.try_eval(), Err(Error::Index { .. })));
    x.sin().try_eval().unwrap();
    let trace = profiler.finish();
    assert!(trace.events().iter().any(|e| e.name.contains("sin")));
    assert!(!trace.events().iter().any(|e| e.name.contains("gather")));
}

#[test]
fn files_are_written_by_their_ending() {
    let _alone = alone();
    let profiler = Profiler::start();
    full(&[3, 3]).matmul(&full(&[3, 3])).try_eval().unwrap();
    let trace = profiler.finish();
    let dir = std::env::temp_dir().join(format!("covector-profile-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let starts = |name: &str| {
        trace.save(dir.join(name)).unwrap();
        let text = std::fs::read_to_string(dir.join(name)).unwrap();
        assert!(text.contains("matmul"), "{name}");
        text.chars().next().unwrap()
    };
    assert_eq!([starts("a.json"), starts("a.SVG"), starts("a.txt")], ['{', '<', ' ']);
    let error = trace.save(dir.join("a.png")).unwrap_err();
    assert!(matches!(error, Error::Value { .. }) && error.to_string().contains(".json"), "{error}");
    assert!(check_path("a").is_err() && check_path("a.json").is_ok());
    let Error::External(inner) = trace.save(dir.join("no/such/a.json")).unwrap_err() else {
        panic!("not the error of the system")
    };
    let inner = inner.downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(inner.kind(), std::io::ErrorKind::NotFound);
    assert!(inner.to_string().contains("a.json"), "{inner}");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn the_drawn_graph_has_operations_values_and_names() {
    let _alone = alone();
    let (x, w) = (full(&[3, 2]), full(&[2, 2]));
    let hidden = x.matmul(&w);
    let y = (&hidden * 2.0).sum();
    let dot = graph_dot_named(std::slice::from_ref(&y), &[("x", x.clone()), ("hid\"den", hidden.clone())]);
    assert!(dot.starts_with("digraph {\n") && dot.ends_with("}\n"));
    let node = |label: &str| {
        let line = dot.lines().find(|l| l.contains(label)).unwrap_or_else(|| panic!("{label} in {dot}"));
        (line.split(' ').next().unwrap().to_owned(), line.to_owned())
    };
    let (leaf, line) = node(r#"label="x\nvalues\nfloat32 (3, 2)""#);
    assert!(line.contains("ellipse") && !line.contains("peripheries"), "{line}");
    let (product, line) = node(r#"label="hid\"den\nmatmul\nfloat32 (3, 2)""#);
    assert!(line.contains("shape=box"), "{line}");
    assert!(dot.contains(&format!("{leaf} -> {product};")), "{dot}");
    assert!(node(r#"label="2\nfloat32 ()""#).1.contains("ellipse"));
    assert_eq!(dot.matches("peripheries=2").count(), 1);
    // What has values has no recipe to draw.
    y.try_eval().unwrap();
    assert_eq!(graph_dot(&[y]).matches("->").count(), 0);
    let parts = ops::split(&full(&[4, 2]), 2, 0);
    assert!(graph_dot(&parts).contains("float32 (2, 2)"));
    assert_eq!(graph_dot(&[ops::zeros(&[2], Dtype::F32)]).matches("digraph").count(), 1);
}
