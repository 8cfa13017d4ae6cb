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

/// What evaluating the arrays takes at most, in multiples of `unit` bytes.
fn taken(arrays: &[Array], unit: usize) -> f64 {
    let before = buffer::active_memory();
    buffer::reset_peak_memory();
    eval(arrays).unwrap();
    (buffer::peak_memory() - before) as f64 / unit as f64
}

#[test]
fn a_chain_takes_the_memory_of_what_it_reads_last() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let x = ops::reshape(&filled(1 << 20), &[512, 512]);
    x.try_eval().unwrap();
    let scaled = &x * 1e-6;
    scaled.try_eval().unwrap();
    let product = || ops::matmul(&scaled, &scaled);
    let z = product().to_vec::<f32>();
    let near = |y: &Array, f: &dyn Fn(f32) -> f32| {
        let far = y
            .to_vec::<f32>()
            .iter()
            .zip(&z)
            .map(|(y, &z)| (y - f(z)).abs() / (1.0 + y.abs()))
            .fold(0.0, f32::max);
        assert!(far < 1e-5, "{far}");
    };
    let y = ops::tanh(&product()) * 2.0;
    assert!(taken(std::slice::from_ref(&y), 1 << 20) < 1.1);
    near(&y, &|z| z.tanh() * 2.0);
    // Not where somebody holds what it reads, nor where it is read again when the result is there.
    let held = product();
    let y = ops::tanh(&held) * 2.0;
    assert!(taken(&[y.clone(), held.clone()], 1 << 20) > 1.9);
    near(&y, &|z| z.tanh() * 2.0);
    near(&held, &|z| z);
    let (first, second) = {
        let z = product();
        let first = ops::tanh(&z) * 2.0;
        (first.clone(), ops::exp(&first) * &z)
    };
    eval(&[second.clone(), first.clone()]).unwrap();
    near(&first, &|z| z.tanh() * 2.0);
    near(&second, &|z| (z.tanh() * 2.0).exp() * z);
    // The first result does not wait for all that reads the product, in whatever order machine code may do it; often
    // enough that it is made.
    for _ in 0..20 {
        let z = product();
        let (square, first) = (z.square(), (&z + 1.0) * 2.0);
        let second = ops::erf(&ops::sin(&z)) + &square;
        drop((z, square));
        eval(&[first.clone(), second.clone()]).unwrap();
        near(&first, &|z| (z + 1.0) * 2.0);
        near(&(&second - ops::erf(&ops::sin(&product()))), &|z| z * z);
    }
}

#[test]
fn a_band_takes_the_memory_of_what_it_reads_last() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let x = ops::reshape(&filled(1 << 20), &[512, 512]) * 1e-5;
    x.try_eval().unwrap();
    // What makes the input of the band is no part of it.
    let sorted = || ops::sort(&ops::sin(&x), 1);
    let due = {
        let y = sorted();
        y.try_eval().unwrap();
        ops::softmax(&y, &[-1]).to_vec::<f32>()
    };
    let y = ops::softmax(&sorted(), &[-1]);
    let most = taken(std::slice::from_ref(&y), 1 << 20);
    // The sine, what is sorted, and no third.
    assert!(most < 2.1, "{most}\n{}", covector_core::plan_text(&[ops::softmax(&sorted(), &[-1])]).unwrap());
    assert!(y.to_vec::<f32>() == due);
    // Not where a later pass reads it again.
    let (first, second) = {
        let z = sorted();
        let first = ops::softmax(&z, &[-1]);
        (first.clone(), (first.sum_axes(&[-1], true) * &z).sum_axes(&[-1], false))
    };
    let due_sums = sorted().sum_axes(&[-1], false);
    eval(&[second.clone(), first.clone()]).unwrap();
    assert!(first.to_vec::<f32>() == due);
    let far = (&second - &due_sums).abs().max().item::<f32>();
    assert!(far < 1e-3, "{far}");
}

#[test]
fn a_layers_gradient_does_not_wait_for_the_first_layers() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let w: Vec<Array> = (0..8).map(|_| ops::reshape(&filled(1 << 16), &[128, 128]) * 1e-6).collect();
    let x = ops::reshape(&filled(1 << 20), &[2048, 128]) * 1e-6;
    eval(&w).unwrap();
    x.try_eval().unwrap();
    let loss =
        |w: &Vec<Array>| w.iter().fold(x.clone(), |h, w| ops::tanh(&ops::matmul(&h, w))).square().mean();
    let (value, grads) = covector_core::transforms::value_and_grad(loss)(&w).unwrap();
    let mut outs: Vec<Array> = w.iter().zip(&grads).map(|(w, g)| w - g * 0.1).collect();
    drop(grads);
    outs.push(value);
    // Eight activations, a cotangent on its way, and new weights of half their size.
    let most = taken(&outs, 1 << 20);
    assert!(most < 10.5, "{most}");
}

/// A megabyte of numbers around one.
fn ones() -> Array {
    let x = ops::reshape(&(filled(1 << 20) * 1e-9 + 1.0), &[4, 1 << 16]);
    x.try_eval().unwrap();
    x
}

#[test]
fn what_only_the_graph_holds_is_written_over() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let f = |x: &Array| ops::tanh(x) * 2.0;
    let compiled = covector_core::transforms::compile(f);
    let due = 2.0 * 1f32.tanh();
    for call in [&f as &dyn Fn(&Array) -> Array, &|x| compiled(x).unwrap()] {
        call(&ones()).try_eval().unwrap();
        let x = ones();
        let y = call(&x);
        drop(x);
        assert!(taken(std::slice::from_ref(&y), 1 << 20) < 0.1);
        assert!((y.max().item::<f32>() - due).abs() < 1e-3);
        // Not what somebody holds, by another name or as a part of it.
        let x = ones();
        let part = ops::reshape(&x, &[2, 1 << 17]);
        part.try_eval().unwrap();
        let y = call(&x);
        drop(x);
        assert!(taken(&[y], 1 << 20) > 0.9);
        assert!((part.max().item::<f32>() - 1.0).abs() < 1e-3);
    }
}

/// Many operations on little: a graph that is dropped before it is evaluated.
fn long(x: &Array) -> Array {
    (0..300).fold(x.clone(), |x, _| ops::sin(&x) + 0.5)
}

#[test]
fn what_is_evaluated_soon_is_written_over_what_it_replaces() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let step = |x: &Array| {
        let y = ops::tanh(x) * 2.0;
        covector_core::eval_soon(std::slice::from_ref(&y)).unwrap();
        y
    };
    let mut x = ones();
    let before = buffer::active_memory();
    buffer::reset_peak_memory();
    for _ in 0..8 {
        x = step(&x);
    }
    assert!(!x.is_available());
    covector_core::finish().unwrap();
    assert!(x.is_available());
    assert!(buffer::peak_memory() - before < 1 << 18, "{}", buffer::peak_memory() - before);
    // What nobody holds is not computed.
    drop(step(&x));
    covector_core::finish().unwrap();
    assert!(buffer::peak_memory() - before < 1 << 18);
}

#[test]
fn a_failure_stays_the_same_failure() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let f = |x: &Array| ops::take(&(ops::tanh(x) * 2.0), &Array::new([7i32]), 0);
    let compiled = covector_core::transforms::compile(f);
    for y in [f(&ones()), compiled(&ones()).unwrap(), f(&long(&Array::new([0.5f32, 1.0])))] {
        let first = y.try_eval().unwrap_err().to_string();
        assert!(first.contains('7'), "{first}");
        assert_eq!(y.try_eval().unwrap_err().to_string(), first);
        assert_eq!((&y + 1.0).try_eval().unwrap_err().to_string(), first);
    }
}

#[test]
fn threads_may_ask_for_parts_of_a_long_graph_at_once() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let start = Array::new([0.5f32, 1.0]);
    let due = long(&start).to_vec::<f32>();
    for _ in 0..40 {
        let y = long(&start);
        let z = &y * 2.0;
        std::thread::scope(|scope| {
            for k in 0..3 {
                let (y, z, due) = (&y, &z, &due);
                scope.spawn(move || {
                    let (x, factor) = if k == 0 { (z, 2.0) } else { (y, 1.0) };
                    assert_eq!(x.to_vec::<f32>()[1], due[1] * factor);
                });
            }
        });
    }
}

#[test]
fn threads_may_ask_for_one_array_at_once() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let f = |x: &Array| ops::tanh(x) * 2.0;
    let compiled = covector_core::transforms::compile(f);
    for turn in 0..40 {
        let y = if turn % 2 == 0 { f(&ones()) } else { compiled(&ones()).unwrap() };
        let z = ops::exp(&y);
        std::thread::scope(|scope| {
            for k in 0..3 {
                let (y, z) = (&y, &z);
                scope.spawn(move || {
                    let (x, due) =
                        if k == 0 { (z, (2.0 * 1f32.tanh()).exp()) } else { (y, 2.0 * 1f32.tanh()) };
                    assert!((x.to_vec::<f32>()[5] - due).abs() < 1e-3);
                });
            }
        });
    }
}
