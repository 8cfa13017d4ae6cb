//! Compiled functions: equal to what they were made of, under every transform, and traced only when they must be.

use covector_core::transforms::{compile, compile_flat, grad, hessian, jvp, value_and_grad, vjp, vmap};
use covector_core::{Array, Aval, C64, Dtype, Error, Result, buffer, num_threads, ops, random};
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard};

/// Memory is counted for the whole process, so tests that look at it run alone.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|e| e.into_inner())
}

fn numbers(n: usize, seed: u64) -> Array {
    random::normal(&[n], Dtype::F32, 0.0, 1.0, Some(&random::key(seed))).unwrap()
}

fn bits(x: &Array) -> Vec<u32> {
    x.to_vec::<f32>().iter().map(|v| v.to_bits()).collect()
}

fn network(x: &Array) -> Array {
    let h = ops::tanh(&(x * 0.7 + 0.1));
    let rows = h.reshape(&[4, 6]);
    let product = rows.try_transpose(&[]).unwrap().matmul(&rows);
    ops::exp(&(product * -0.3)).mean()
}

#[test]
fn results_are_the_functions_own_bit_for_bit() {
    let _guard = alone();
    let f = compile(network);
    for seed in 0..5 {
        let x = numbers(24, seed);
        assert_eq!(bits(&f(&x).unwrap()), bits(&network(&x)));
    }
}

#[test]
fn it_traces_once_for_each_shape_and_type() {
    let _guard = alone();
    let traces = Cell::new(0);
    let f = compile(|x: &Array| {
        traces.set(traces.get() + 1);
        x * 2.0 + 1.0
    });
    let call = |x: Array| f(&x).unwrap();
    for _ in 0..3 {
        assert_eq!(call(Array::new([1.0f32, 2.0])).to_vec::<f32>(), [3.0, 5.0]);
    }
    assert_eq!(traces.get(), 1);
    assert_eq!(call(Array::new([1.0f64, 2.0])).to_vec::<f64>(), [3.0, 5.0]);
    assert_eq!(call(Array::new([1.0f32])).to_vec::<f32>(), [3.0]);
    assert_eq!(traces.get(), 3);
    call(Array::new([4.0f32, 5.0]));
    assert_eq!(traces.get(), 3);
}

#[test]
fn the_structure_of_the_argument_counts() {
    let _guard = alone();
    let f = compile(|x: &Vec<Option<Array>>| {
        x.iter().flatten().fold(Array::scalar(0.0f32), |a, b| &a * 10.0 + b)
    });
    let (one, two) = (Array::scalar(1.0f32), Array::scalar(2.0f32));
    assert_eq!(f(&vec![Some(one.clone()), Some(two.clone())]).unwrap().item::<f32>(), 12.0);
    assert_eq!(f(&vec![Some(one.clone()), None]).unwrap().item::<f32>(), 1.0);
    assert_eq!(f(&vec![None, Some(two)]).unwrap().item::<f32>(), 2.0);
    assert_eq!(f(&vec![Some(one)]).unwrap().item::<f32>(), 1.0);
}

#[test]
fn every_transform_goes_through() {
    let _guard = alone();
    let x = numbers(24, 7);
    let t = numbers(24, 8);
    let f = compile(network);
    f(&x).unwrap();
    let equal = |a: &Array, b: &Array| assert_eq!(bits(a), bits(b));
    equal(&grad(&f)(&x).unwrap(), &grad(network)(&x).unwrap());
    equal(&grad(compile(network))(&x).unwrap(), &grad(network)(&x).unwrap());
    let (value, tangent) = jvp(&f, &x, &t).unwrap();
    let (value0, tangent0) = jvp(network, &x, &t).unwrap();
    equal(&value, &value0);
    equal(&tangent, &tangent0);
    let xs = x.reshape(&[2, 12]);
    let small = |x: &Array| ops::sin(&(x * x)).sum();
    equal(&vmap(compile(small))(&xs).unwrap(), &vmap(small)(&xs).unwrap());
    let (value, grads) = compile(value_and_grad(network))(&x).unwrap();
    equal(&value, &network(&x));
    equal(&grads, &grad(network)(&x).unwrap());
    equal(&compile(vmap(grad(small)))(&xs).unwrap(), &vmap(grad(small))(&xs).unwrap());
    let y = x.reshape(&[4, 6]).sum_axes(&[0], false);
    equal(&compile(hessian(small))(&y).unwrap(), &hessian(small)(&y).unwrap());
    equal(&hessian(compile(small))(&y).unwrap(), &hessian(small)(&y).unwrap());
    let (value, back) = vjp(compile(small), &y).unwrap();
    equal(&value, &small(&y));
    equal(&back(&Array::scalar(1.0f32)).unwrap(), &grad(small)(&y).unwrap());
    equal(&compile(compile(small))(&y).unwrap(), &small(&y));
}

#[test]
fn inputs_of_any_layout_and_type() {
    let _guard = alone();
    let x = numbers(24, 3).reshape(&[4, 6]);
    let across = x.try_transpose(&[]).unwrap();
    let f = compile(|x: &Array| ops::exp(x).sum_axes(&[0], false));
    let eager = |x: &Array| ops::exp(x).sum_axes(&[0], false);
    let square = numbers(16, 4).reshape(&[4, 4]);
    for x in [
        &x,
        &across,
        &square,
        &square.try_transpose(&[]).unwrap(),
        &ops::broadcast_to(&numbers(4, 5), &[4, 4]),
    ] {
        assert_eq!(bits(&f(x).unwrap()), bits(&eager(x)));
    }
    let z = Array::new([C64::new(1.0, 2.0), C64::new(0.5, -1.0)]);
    assert_eq!(compile(|z: &Array| z * z)(&z).unwrap().to_vec::<C64>(), (&z * &z).to_vec::<C64>());
    let empty = Array::from_slice::<f32>(&[], &[0, 3]).unwrap();
    assert_eq!(compile(|x: &Array| x + 1.0)(&empty).unwrap().shape(), [0, 3]);
}

#[test]
fn outputs_may_be_inputs_constants_views_and_repeated() {
    let _guard = alone();
    let constant = Array::new([7.0f32]) * 2.0;
    let x = numbers(6, 1).reshape(&[2, 3]);
    let f = compile_flat(std::slice::from_ref(x.aval()), |xs| {
        let y = &xs[0] + 1.0;
        Ok(vec![
            xs[0].clone(),
            constant.clone(),
            y.try_transpose(&[])?,
            y.clone(),
            y,
            xs[0].try_transpose(&[])?,
        ])
    })
    .unwrap();
    for _ in 0..2 {
        let outs = f.call(std::slice::from_ref(&x)).unwrap();
        assert_eq!(bits(&outs[0]), bits(&x));
        assert_eq!(outs[1].to_vec::<f32>(), [14.0]);
        assert_eq!(bits(&outs[2]), bits(&(&x + 1.0).try_transpose(&[]).unwrap()));
        assert_eq!(bits(&outs[3]), bits(&outs[4]));
        assert_eq!(bits(&outs[5]), bits(&x.try_transpose(&[]).unwrap()));
    }
    let none = compile_flat(&[], |_| Ok(Vec::new())).unwrap();
    assert!(none.call(&[]).unwrap().is_empty());
}

#[test]
fn inputs_are_never_overwritten() {
    let _guard = alone();
    let x = numbers(1000, 1);
    let before = bits(&x);
    let f = compile(|x: &Array| ops::exp(&(x + 1.0)));
    for _ in 0..3 {
        f(&x).unwrap().try_eval().unwrap();
    }
    assert_eq!(bits(&x), before);
    // An input that nobody else holds lends its memory; its values are the same.
    let y = f(&(&x + 0.0)).unwrap();
    assert_eq!(bits(&y), bits(&f(&x).unwrap()));
}

#[test]
fn random_numbers_are_drawn_anew_as_they_would_be_without() {
    let _guard = alone();
    let noisy = |x: &Array| -> Result<Array> {
        let a = random::normal(&[3], Dtype::F32, 0.0, 1.0, None)?;
        let b = random::uniform(0.0, 1.0, &[3], Dtype::F32, None)?;
        Ok(x + &a * &b)
    };
    let x = numbers(3, 1);
    let run = |f: &dyn Fn(&Array) -> Result<Array>| -> Vec<Vec<u32>> {
        random::seed(5);
        let mut found: Vec<Vec<u32>> = (0..4).map(|_| bits(&f(&x).unwrap())).collect();
        found.push(bits(&random::normal(&[2], Dtype::F32, 0.0, 1.0, None).unwrap()));
        found
    };
    let eager = run(&noisy);
    let compiled = compile(noisy);
    assert_eq!(run(&compiled), eager);
    assert_eq!(run(&compiled), eager);
    assert_eq!(run(&compile(&compiled)), eager);
    assert_ne!(eager[0], eager[1]);
    // The state itself may be read and set.
    let resets = |x: &Array| -> Result<Array> {
        let kept = random::state();
        let y = x + random::normal(&[3], Dtype::F32, 0.0, 1.0, None)?;
        random::set_state(&kept)?;
        Ok(y)
    };
    assert_eq!(run(&compile(resets)), run(&resets));
    let seeds = |x: &Array| -> Result<Array> {
        random::seed(11);
        Ok(x + random::normal(&[3], Dtype::F32, 0.0, 1.0, None)?)
    };
    assert_eq!(run(&compile(seeds)), run(&seeds));
}

#[test]
fn a_failure_leaves_everything_usable() {
    let _guard = alone();
    random::seed(1);
    let state = random::state().to_vec::<u32>();
    let fails = compile(|x: &Array| -> Result<Array> {
        random::normal(&[3], Dtype::F32, 0.0, 1.0, None)?;
        x.try_matmul(&Array::new([1.0f32, 2.0, 3.0, 4.0, 5.0]))
    });
    let x = Array::new([1.0f32, 2.0]);
    assert!(matches!(fails(&x), Err(Error::Shape { .. })), "{:?}", fails(&x).map(|_| ()));
    assert_eq!(random::state().to_vec::<u32>(), state);
    let reads = compile(|x: &Array| -> Result<Array> { Ok(x * f64::from(x.try_item::<f32>()?)) });
    let error = reads(&Array::scalar(1.0f32)).unwrap_err();
    assert!(matches!(&error, Error::NoValue { .. }), "{error}");
    assert!(error.to_string().contains("where()"), "{error}");
    assert!(!covector_core::is_tracing());
    // What only the values show fails when they are computed.
    let f = compile_flat(&[Aval::new(Dtype::F32, [2])], |xs| Ok(vec![&xs[0] + 1.0])).unwrap();
    let error = f.call(&[Array::new([1.0f32])]).unwrap_err().to_string();
    assert!(error.contains("(1,)") && error.contains("(2,)"), "{error}");
    let error = f.call(&[]).unwrap_err().to_string();
    assert!(error.contains("traced for 1 arrays"), "{error}");
}

#[test]
fn captured_arrays_are_constants_and_captured_tracers_are_not() {
    let _guard = alone();
    let w = Array::scalar(3.0f32);
    let f = compile(|x: &Array| x * &w);
    assert_eq!(grad(&f)(&Array::scalar(2.0f32)).unwrap().item::<f32>(), 3.0);
    // d/dw of x·w, where w is captured by a compiled function made inside.
    let x = Array::scalar(2.0f32);
    let through = |w: &Array| -> Result<Array> { compile(|x: &Array| ops::square(&(x * w)))(&x) };
    assert_eq!(grad(through)(&w).unwrap().item::<f32>(), 24.0);
    let ws = Array::new([1.0f32, 2.0]);
    assert_eq!(vmap(through)(&ws).unwrap().to_vec::<f32>(), [4.0, 16.0]);
    // Where the compiled function outlives the transform, nothing of it stays behind.
    let held: std::cell::RefCell<Array> = std::cell::RefCell::new(w.clone());
    let g = compile(|x: &Array| x * &*held.borrow());
    let outer = |w: &Array| -> Result<Array> {
        held.replace(w.clone());
        g(&x)
    };
    assert_eq!(grad(outer)(&w).unwrap().item::<f32>(), 2.0);
    held.replace(Array::scalar(10.0f32));
    assert_eq!(g(&x).unwrap().item::<f32>(), 20.0);
}

#[test]
fn training_equals_training_without() {
    let _guard = alone();
    let x = numbers(64, 1).reshape(&[16, 4]);
    let y = numbers(16, 2).reshape(&[16, 1]);
    let step = |(w, m): &(Array, Array)| -> Result<(Array, Array, Array)> {
        let noise = random::normal(&[16, 4], Dtype::F32, 0.0, 1.0, None)? * 0.01;
        let (loss, g) = value_and_grad(|w: &Array| ops::square(&((&x + &noise).matmul(w) - &y)).mean())(w)?;
        let m = m * 0.9 + &g;
        Ok((loss, w - &m * 0.05, m))
    };
    type Step<'a> = &'a dyn Fn(&(Array, Array)) -> Result<(Array, Array, Array)>;
    let train = |f: Step<'_>, lazily: bool| {
        random::seed(3);
        let mut state = (numbers(4, 9).reshape(&[4, 1]), ops::zeros(&[4, 1], Dtype::F32));
        let mut losses = Vec::new();
        for _ in 0..50 {
            let (loss, w, m) = f(&state).unwrap();
            if !lazily {
                loss.try_eval().unwrap();
            }
            losses.push(loss);
            state = (w, m);
        }
        losses.iter().flat_map(bits).collect::<Vec<_>>()
    };
    let eager = train(&step, false);
    let compiled = compile(step);
    assert_eq!(train(&compiled, false), eager);
    assert_eq!(train(&compiled, true), eager);
}

#[test]
fn nothing_leaks() {
    let _guard = alone();
    let big = random::normal(&[1 << 16], Dtype::F32, 0.0, 1.0, None).unwrap();
    big.try_eval().unwrap();
    let before = buffer::active_memory();
    for _ in 0..3 {
        let constant = &big * 2.0;
        let f = compile(|x: &Array| x + &constant);
        for _ in 0..10 {
            f(&big).unwrap().try_eval().unwrap();
        }
        // Plans that hold a compiled graph among other operations.
        (f(&big).unwrap() + 1.0).try_eval().unwrap();
        // Evaluated after the function is gone.
        let last = compile(|x: &Array| x - &constant)(&big).unwrap();
        last.try_eval().unwrap();
    }
    assert_eq!(buffer::active_memory(), before);
    let f = compile(|x: &Array| x * 1.5);
    f(&big).unwrap().try_eval().unwrap();
    let during = buffer::active_memory();
    for _ in 0..100 {
        f(&big).unwrap().try_eval().unwrap();
    }
    assert_eq!(buffer::active_memory(), during);
}

#[test]
fn an_output_that_is_kept_does_not_keep_the_others() {
    let _guard = alone();
    let mut state = numbers(1 << 16, 1);
    state.try_eval().unwrap();
    let f = compile(|x: &Array| (x.mean(), x * 0.5, x + 1.0));
    let mut losses = Vec::new();
    let mut memory = Vec::new();
    for _ in 0..20 {
        let (loss, next, _) = f(&state).unwrap();
        state = next;
        loss.try_eval().unwrap();
        losses.push(loss);
        state.try_eval().unwrap();
        memory.push(buffer::active_memory());
    }
    assert!(memory[19] - memory[4] < 4096, "{memory:?}");
    assert_eq!(losses.len(), 20);
}

#[test]
fn a_long_chain_on_a_small_stack() {
    let _guard = alone();
    let work = || {
        let f = compile(|x: &Array| (0..100_000).fold(x.clone(), |x, _| x + 1.0));
        let x = Array::scalar(0.0f32);
        assert_eq!(f(&x).unwrap().item::<f32>(), 100_000.0);
        assert_eq!(f(&x).unwrap().item::<f32>(), 100_000.0);
        assert_eq!(grad(f)(&x).unwrap().item::<f32>(), 1.0);
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(work).unwrap().join().unwrap();
}

#[test]
fn threads_share_one_compiled_function() {
    let _guard = alone();
    let x = numbers(64, 1).reshape(&[8, 8]);
    let f = compile_flat(&[x.aval().clone()], |xs| Ok(vec![ops::tanh(&xs[0].matmul(&xs[0]))])).unwrap();
    let expected = bits(&ops::tanh(&x.matmul(&x)));
    std::thread::scope(|scope| {
        for _ in 0..num_threads().max(4) {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(bits(&f.call(std::slice::from_ref(&x)).unwrap()[0]), expected);
                }
            });
        }
    });
}
