//! Wherever memory ends, the caller gets an error, and the next call is right: each request for memory that some work
//! makes fails once, the kernels' own requests and those of other threads included.

mod support;
use covector_core::buffer::{self, testing};
use covector_core::catalog::entries;
use covector_core::transforms::value_and_grad;
use covector_core::{Array, Dtype, Error, Result, eval, ops, random};
use covector_kernels::program::{MachineCode, set_machine_code};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use support::{all_of, digits, large, samples};

/// Requests are counted for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `work` with each of its requests failing, at most `most` of them, and once more after each. Gives how many failed.
fn each_fails<T: PartialEq + std::fmt::Debug>(
    what: &str,
    most: usize,
    work: impl Fn() -> Result<T>,
) -> usize {
    // What an earlier evaluation has prepared is not prepared again.
    let due = work().unwrap_or_else(|e| panic!("{what}: {e}"));
    let mut failures = 0;
    for n in 0..most {
        testing::fail_after(Some(n));
        let found = catch_unwind(AssertUnwindSafe(&work));
        let failed = testing::failed();
        testing::fail_after(None);
        if !failed {
            break;
        }
        failures += 1;
        match found {
            Err(_) => panic!("{what}: request {n} ends in a panic"),
            Ok(Err(Error::Memory { .. })) => {}
            Ok(Err(error)) => panic!("{what}: request {n} ends with another error: {error}"),
            // A value that was computed for later may fail without being needed now.
            Ok(Ok(found)) => assert_eq!(found, due, "{what}: after request {n}"),
        }
        assert_eq!(
            work().unwrap_or_else(|e| panic!("{what}: after request {n}: {e}")),
            due,
            "{what}: after request {n}"
        );
    }
    failures
}

#[test]
fn every_entry_of_the_catalogue_survives_the_want_of_any_memory() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    set_machine_code(MachineCode::AtOnce);
    let mut failures = 0;
    for entry in entries() {
        for dtype in [Dtype::F32, Dtype::Bf16] {
            let x = samples(&entry, dtype);
            failures += each_fails(&format!("{} of {dtype}", entry.name), 200, || {
                random::seed(3);
                all_of(&entry, &x)
            });
        }
    }
    assert!(failures > 2 * entries().len(), "{failures} requests");
}

#[test]
fn work_on_large_arrays_survives_the_want_of_any_memory() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    for dtype in [Dtype::F32, Dtype::F16, Dtype::I32] {
        let count = large(dtype).len();
        let mut failures = 0;
        for k in 0..count {
            // Sums of the values tell wrong results apart, and are compared quickly.
            failures += each_fails(&format!("result {k} of {dtype}"), 60, || {
                let y = &large(dtype)[k];
                eval(std::slice::from_ref(y))?;
                let y = ops::astype(y, Dtype::F64);
                digits(
                    &(&y * &ops::arange(1.0, y.size() as f64 + 1.0, 1.0, Dtype::F64)
                        .reshape(&[-1])
                        .reshape(&y.shape().iter().map(|&n| n as isize).collect::<Vec<_>>()))
                        .sum(),
                )
            });
        }
        assert!(failures > 2 * count, "{failures} requests of {dtype}");
    }
}

fn sample(seed: u64, shape: &[usize]) -> Result<Array> {
    let x = random::normal(shape, Dtype::F32, 0.0, 0.3, Some(&random::key(seed)))?;
    eval(std::slice::from_ref(&x))?;
    Ok(x)
}

/// A step of gradient descent with momentum, for a network with a hidden layer.
fn step(
    params: &[Array],
    momentum: &[Array],
    x: &Array,
    y: &Array,
) -> Result<(Array, Vec<Array>, Vec<Array>)> {
    let loss = |p: &Vec<Array>| {
        let hidden = ops::tanh(&(x.matmul(&p[0]) + &p[1]));
        ops::square(&(hidden.matmul(&p[2]) + &p[3] - y)).mean()
    };
    let (value, grads) = value_and_grad(loss)(&params.to_vec())?;
    let momentum: Vec<Array> = momentum.iter().zip(&grads).map(|(m, g)| m * 0.9 + g).collect();
    let params: Vec<Array> = params.iter().zip(&momentum).map(|(p, m)| p - &(m * 0.1)).collect();
    Ok((value, params, momentum))
}

type Network = (Vec<Array>, Vec<Array>, Array, Array);

fn network() -> Result<Network> {
    let params = vec![sample(1, &[20, 30])?, sample(2, &[30])?, sample(3, &[30, 5])?, sample(4, &[5])?];
    let momentum: Vec<Array> = params.iter().map(|p| p * 0.0).collect();
    eval(&momentum)?;
    Ok((params, momentum, sample(5, &[64, 20])?, sample(6, &[64, 5])?))
}

#[test]
fn a_step_of_training_survives_the_want_of_any_memory() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let (params, momentum, x, y) = network().unwrap();
    let failures = each_fails("a step", 300, || {
        let (value, params, momentum) = step(&params, &momentum, &x, &y)?;
        let all = [&[value], &params[..], &momentum[..]].concat();
        eval(&all)?;
        all.iter().map(digits).collect::<Result<Vec<_>>>()
    });
    assert!(failures > 10, "{failures} requests");
}

#[test]
fn a_step_that_writes_over_its_arguments_fails_as_a_whole_or_not_at_all() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    // The values after each step; `due`, where they are known.
    let run = |due: Option<&[Vec<String>]>| -> Result<Vec<Vec<String>>> {
        let (mut params, mut momentum, x, y) = network()?;
        let mut out = Vec::new();
        for k in 0..3 {
            // The old parameters are let go, so that the new ones are written over them.
            let value;
            (value, params, momentum) = step(&params, &momentum, &x, &y)?;
            let all = [&[value], &params[..], &momentum[..]].concat();
            if let Err(error) = eval(&all) {
                // Asked again, each is right or says why it is not there.
                for (i, array) in all.iter().enumerate() {
                    match array.try_eval() {
                        Ok(_) => assert!(due.is_none_or(|due| due[k][i] == digits(array).unwrap())),
                        Err(error) => assert!(matches!(error, Error::Memory { .. }), "{error}"),
                    }
                }
                return Err(error);
            }
            out.push(all.iter().map(digits).collect::<Result<Vec<_>>>()?);
        }
        Ok(out)
    };
    let due = run(None).unwrap();
    let mut failures = 0;
    for n in 0..400 {
        testing::fail_after(Some(n));
        let found = catch_unwind(AssertUnwindSafe(|| run(Some(&due))));
        let failed = testing::failed();
        testing::fail_after(None);
        if !failed {
            break;
        }
        failures += 1;
        match found.unwrap_or_else(|_| panic!("request {n} ends in a panic")) {
            Ok(found) => assert_eq!(found, due, "request {n}"),
            Err(error) => assert!(matches!(error, Error::Memory { .. }), "request {n}: {error}"),
        }
        assert_eq!(run(None).unwrap(), due, "after request {n}");
    }
    assert!(failures > 10, "{failures} requests");
}

#[test]
fn values_that_leave_the_library_ask_for_memory_too() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let x = sample(1, &[40, 50]).unwrap();
    let mask = ops::greater(&x, &Array::scalar(0.1f32));
    eval(std::slice::from_ref(&mask)).unwrap();
    let values = x.to_vec::<f32>();
    type Work<'a> = (&'a str, Box<dyn Fn() -> Result<String> + 'a>);
    let works: Vec<Work<'_>> = vec![
        ("to_vec", Box::new(|| Ok(format!("{:?}", x.try_to_vec::<f32>()?)))),
        ("to_vec of a view", Box::new(|| Ok(format!("{:?}", ops::transpose(&x, &[]).try_to_vec::<f32>()?)))),
        ("item", Box::new(|| Ok(format!("{:?}", x.sum().try_item::<f32>()?)))),
        ("new", Box::new(|| digits(&Array::try_new(&values[..])?))),
        ("from_slice", Box::new(|| digits(&Array::from_slice(&values, &[50, 40])?))),
        ("print", Box::new(|| covector_core::fmt::text(&ops::transpose(&x, &[])))),
        ("a mask", Box::new(|| digits(&ops::try_index(&x, &[ops::Index::Array(mask.clone())])?))),
    ];
    for (what, work) in works {
        assert!(each_fails(what, 50, work) > 0, "{what} asks for no memory");
    }
}

#[test]
fn an_error_says_what_was_asked_for_and_what_to_do() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let x = sample(1, &[64, 64]).unwrap();
    testing::fail_after(Some(0));
    let error = ops::try_matmul(&x, &x).unwrap().try_eval().map(drop).unwrap_err().to_string();
    testing::fail_after(None);
    assert!(
        error.starts_with("[matmul] could not allocate 16384 bytes") && error.contains("let go"),
        "{error}"
    );
    // Room for more than there is.
    assert!(buffer::room::<u64>("test", 1 << 60).is_err());
    assert_eq!(buffer::room::<u64>("test", 3).unwrap().capacity(), 3);
}
