//! Deep graphs on small stacks, bounded memory, nothing left behind.

use covector_core::transforms::{grad, jvp, vmap};
use covector_core::{Array, buffer, eval, ops};
use std::sync::Mutex;

/// The tests here look at process-wide memory counters.
static ALONE: Mutex<()> = Mutex::new(());

const OPS: usize = 1_000_000;

fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(f).unwrap();
    thread.join().expect("no overflow");
}

fn chain(x: &Array) -> Array {
    let mut y = x.clone();
    for i in 0..OPS {
        y = if i % 2 == 0 { y * 1.000001 } else { y + 1e-9 };
    }
    y
}

#[test]
fn a_million_operations_differentiate_evaluate_and_drop_on_a_small_stack() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    on_a_small_stack(|| {
        let x = Array::scalar(1.0f64);
        let due = 1.000001f64.powi(OPS as i32 / 2);
        let near = |y: f64| (y - due).abs() < 1e-6;
        let g = grad(chain)(&x).unwrap();
        assert!(near(g.item()));
        let (y, t) = jvp(chain, &x, &x).unwrap();
        eval(&[y, t.clone()]).unwrap();
        assert!(near(t.item()));
        let batch = vmap(chain)(&Array::new([1.0f64, 2.0])).unwrap();
        assert!(batch.to_vec::<f64>()[1] > 2.0 * due);
        // Dropped without ever having been evaluated, inside a trace so that nothing is evaluated early.
        drop(grad(|x: &Array| {
            let unused = chain(x);
            drop(unused);
            x.clone()
        })(&x));
    });
}

#[test]
fn a_loop_that_never_evaluates_runs_in_bounded_memory() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut x = ops::zeros(&[256], covector_core::Dtype::F32);
    let mut most = 0;
    for i in 0..200_000 {
        x = x + 1.0;
        if i > 50_000 {
            most = most.max(buffer::active_memory());
        }
    }
    assert_eq!(x.to_vec::<f32>()[0], 200_000.0);
    assert!(most < 32 << 20, "{most} bytes were active");
}

#[test]
fn leaves_that_pile_up_are_worked_off() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut total = ops::zeros(&[1 << 20], covector_core::Dtype::F32);
    let mut most = 0;
    for i in 0..200 {
        let batch = Array::from_slice(&vec![i as f32; 1 << 20], &[1 << 20]).unwrap();
        total = total + batch;
        most = most.max(buffer::active_memory());
    }
    assert_eq!(total.to_vec::<f32>()[7], (0..200).sum::<i32>() as f32);
    assert!(most < 700 << 20, "{most} bytes were active");
}

#[test]
fn gradients_in_a_loop_leave_nothing_behind() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let x = Array::new([0.5f32; 64]);
    let step = || {
        let g = grad(|x: &Array| {
            let y = x.tanh().sum();
            assert!(y.item::<f32>() > 0.0);
            y
        })(&x)
        .unwrap();
        g.to_vec::<f32>()
    };
    step();
    let before = buffer::active_memory();
    for _ in 0..2_000 {
        step();
    }
    assert_eq!(buffer::active_memory(), before);
}

#[test]
fn an_allocation_that_cannot_be_had_is_an_error() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let huge = ops::zeros(&[1 << 46], covector_core::Dtype::F32) + Array::scalar(1.0f32);
    let error = huge.try_eval().unwrap_err();
    assert!(matches!(error, covector_core::Error::Memory { .. }), "{error}");
    assert!(ops::try_broadcast_to(&Array::scalar(1.0f32), &[usize::MAX, 16]).is_err());
    assert_eq!((Array::scalar(1.0f32) + 1.0).item::<f32>(), 2.0);
}

#[test]
fn results_are_bit_identical_for_any_number_of_threads() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let n = 1 << 19;
    let x = ops::sin(&ops::arange(0.0, n as f64, 1.0, covector_core::Dtype::F32));
    let m = x.reshape(&[512, 1024]);
    eval(&[x.clone(), m.clone()]).unwrap();
    let work = || {
        let chain = (ops::exp(&x) * &x + 1.0).tanh();
        let tall = m.matmul(&m.mt());
        let wide = m.index(&[ops::Index::from(0..70)]).matmul(&m.mt());
        let many = m.reshape(&[64, 128, 64]).matmul(&m.reshape(&[64, 64, 128]));
        let parts = [chain, tall, wide, many, x.sum().reshape(&[1])];
        let bits = parts.iter().flat_map(|p| p.to_vec::<f32>()).map(f32::to_bits);
        bits.collect::<Vec<_>>()
    };
    let before = covector_core::num_threads();
    covector_core::set_num_threads(1);
    let one = work();
    for threads in [2, 3, 8] {
        covector_core::set_num_threads(threads);
        assert!(work() == one, "{threads} threads");
    }
    covector_core::set_num_threads(before);
}

#[test]
fn checkpointing_lowers_the_peak() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let n = 256;
    let w = ops::eye(n, n, 0, covector_core::Dtype::F32) * 0.9;
    let x = ops::ones(&[4 * n, n], covector_core::Dtype::F32) + 0.0;
    eval(&[w.clone(), x.clone()]).unwrap();
    let block = |x: &Array, w: &Array| (0..8).fold(x.clone(), |x, _| x.matmul(w).tanh());
    let peak = |checkpointed: bool| {
        buffer::reset_peak_memory();
        let start = buffer::active_memory();
        let g = grad(|w: &Array| {
            let mut y = x.clone();
            for _ in 0..8 {
                y = if checkpointed {
                    let run = |v: &[Array]| Ok(vec![block(&v[0], &v[1])]);
                    covector_core::transforms::checkpoint(&[y, w.clone()], run).unwrap().remove(0)
                } else {
                    block(&y, w)
                };
            }
            y.sum()
        })(&w)
        .unwrap();
        let value = g.sum().item::<f32>();
        (buffer::peak_memory() - start, value)
    };
    let ((plain, a), (lower, b)) = (peak(false), peak(true));
    assert!((a - b).abs() <= 1e-5 * a.abs(), "{a} against {b}");
    assert!(lower * 2 < plain, "{lower} bytes with checkpoints, {plain} without");
}
