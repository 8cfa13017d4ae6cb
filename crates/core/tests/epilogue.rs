//! Matrix products with what follows them: run part by part while the product is made, with the values of one after the
//! other.

use covector_core::{Array, Dtype, buffer, eval, ops, plan_text, set_num_threads};
use std::sync::Mutex;

/// The tests here change the number of threads and look at process-wide counters.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|e| e.into_inner())
}

/// Numbers between -1 and 1.
fn numbers(shape: &[usize], seed: u64, dtype: Dtype) -> Array {
    let mut state = seed;
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    let x = ops::astype(&Array::from_slice(&values, shape).unwrap(), dtype);
    x.try_eval().unwrap();
    x
}

fn bits(x: &Array) -> Vec<u64> {
    ops::astype(x, Dtype::F64).to_vec::<f64>().iter().map(|v| v.to_bits()).collect()
}

/// What follows a product.
type After = dyn Fn(&Array, &Array) -> Array;

/// `after(a · b, bias)` as one instruction and as two, bit for bit.
fn check(a: &Array, b: &Array, after: &After, what: &str) {
    let bias = numbers(&[*b.shape().last().unwrap()], 5, b.dtype());
    let product = a.matmul(b);
    product.try_eval().unwrap();
    let due = after(&product, &bias);
    due.try_eval().unwrap();
    for threads in [1, 2, 3] {
        set_num_threads(threads);
        let found = after(&a.matmul(b), &bias);
        let text = plan_text(std::slice::from_ref(&found)).unwrap();
        let joined = text.lines().filter(|l| l.contains("matmul") && l.contains("followed in")).count();
        assert_eq!(joined, 1, "{what}: {text}");
        found.try_eval().unwrap();
        assert!(bits(&found) == bits(&due), "{what} with {threads} threads\n{text}");
    }
    set_num_threads(2);
}

#[test]
fn bias_activation_and_softmax_follow_part_by_part() {
    let _alone = alone();
    let relu: &After = &|y, b| ops::maximum(&(y + b), &Array::scalar(0.0f32));
    let softmax: &After = &|y, b| ops::softmax(&(y * 0.1 + b), &[-1]);
    let within: &After = &|y, b| (y + b).square().sum_axes(&[-1], true).sqrt();
    for (name, after) in [("relu", relu), ("softmax", softmax), ("norm", within)] {
        // One block of the summed axis and several; more columns than a block has; rows that no tile divides.
        for (m, k, n) in [(1024, 64, 256), (517, 1000, 531), (130, 40, 2300), (4099, 3, 65), (256, 784, 1024)]
        {
            let (a, b) = (numbers(&[m, k], 1, Dtype::F32), numbers(&[k, n], 2, Dtype::F32));
            check(&a, &b, after, &format!("{name} {m}x{k}x{n}"));
            let turned = ops::swapaxes(&numbers(&[n, k], 2, Dtype::F32), 0, 1);
            check(&a, &turned, after, &format!("{name} {m}x{k}x{n}, turned"));
        }
        let (a, b) = (numbers(&[300, 70], 1, Dtype::F64), numbers(&[70, 500], 2, Dtype::F64));
        check(&a, &b, after, name);
        // Batches of small and of large products, and one matrix for a batch.
        for (a, b) in [
            ([40, 70, 9], vec![40, 9, 130]),
            ([3, 300, 150], vec![3, 150, 400]),
            ([7, 90, 33], vec![33, 500]),
        ] {
            let (a, b) = (numbers(&a, 1, Dtype::F32), numbers(&b, 2, Dtype::F32));
            check(&a, &b, after, &format!("{name} {:?}x{:?}", a.shape(), b.shape()));
        }
    }
}

#[test]
fn columns_of_a_last_block_that_some_parts_have_none_of() {
    let _alone = alone();
    // With many threads a product is divided both ways, and its last block has fewer panels than there are parts.
    for n in [2060, 2100] {
        let (a, b) = (numbers(&[300, 100], 1, Dtype::F32), numbers(&[100, n], 2, Dtype::F32));
        let bias = numbers(&[n], 5, Dtype::F32);
        let product = a.matmul(&b);
        product.try_eval().unwrap();
        let due = bits(&((&product + &bias) * 2.0));
        set_num_threads(8);
        for _ in 0..200 {
            // Written over the product, so that a part that ran twice would show.
            let found = (a.matmul(&b) + &bias) * 2.0;
            found.try_eval().unwrap();
            let wrong = bits(&found).iter().zip(&due).filter(|(x, y)| x != y).count();
            assert_eq!(wrong, 0, "of {n} columns");
        }
        set_num_threads(2);
    }
}

#[test]
fn sums_over_the_rows_follow_too() {
    let _alone = alone();
    let (a, b) = (numbers(&[1500, 60], 1, Dtype::F64), numbers(&[60, 320], 2, Dtype::F64));
    let run = |threads: usize| {
        set_num_threads(threads);
        let y = ops::tanh(&a.matmul(&b));
        let outs = [y.sum_axes(&[0], false), y];
        assert!(plan_text(&outs).unwrap().contains("followed in"), "{}", plan_text(&outs).unwrap());
        eval(&outs).unwrap();
        outs
    };
    let one = run(1);
    for threads in [2, 3, 5] {
        let outs = run(threads);
        assert!(outs.iter().zip(&one).all(|(x, y)| bits(x) == bits(y)), "{threads} threads");
    }
    set_num_threads(2);
    let due = one[1].sum_axes(&[0], false);
    let far = (&due - &one[0]).abs().max().item::<f64>();
    assert!(far < 1e-10, "{far}");
}

#[test]
fn a_factor_that_what_follows_reads_is_not_written_over() {
    let _alone = alone();
    let w = numbers(&[700, 700], 2, Dtype::F32) * 0.05;
    w.try_eval().unwrap();
    let due = {
        let x = numbers(&[700, 700], 1, Dtype::F32);
        let product = x.matmul(&w);
        product.try_eval().unwrap();
        let first = ops::tanh(&(&product + &x));
        [bits(&ops::sin(&first)), bits(&first)]
    };
    for _ in 0..5 {
        // Only the graph holds what is both a factor and added. Of two results the one takes the product's memory.
        let found = {
            let x = numbers(&[700, 700], 1, Dtype::F32);
            let first = ops::tanh(&(x.matmul(&w) + &x));
            [ops::sin(&first), first]
        };
        let text = plan_text(&found).unwrap();
        assert!(text.contains("followed in"), "{text}");
        eval(&found).unwrap();
        assert!(found.iter().zip(&due).all(|(x, due)| bits(x) == *due));
    }
}

#[test]
fn what_follows_takes_the_memory_of_the_product() {
    let _alone = alone();
    let (a, b) = (numbers(&[1024, 64], 1, Dtype::F32), numbers(&[64, 1024], 2, Dtype::F32));
    let taken = |outs: &[Array]| {
        let before = buffer::active_memory();
        buffer::reset_peak_memory();
        eval(outs).unwrap();
        (buffer::peak_memory() - before) as f64 / (4 << 20) as f64
    };
    let y = ops::softmax(&a.matmul(&b), &[-1]);
    let most = taken(std::slice::from_ref(&y));
    assert!(most < 1.1, "{most}");
    // Where the product is a result too, it keeps its own.
    let product = a.matmul(&b);
    let y = ops::softmax(&product, &[-1]);
    let most = taken(&[y.clone(), product.clone()]);
    assert!((1.9..2.1).contains(&most), "{most}");
    let alone = a.matmul(&b);
    alone.try_eval().unwrap();
    assert!(bits(&product) == bits(&alone));
    assert!(bits(&y) == bits(&ops::softmax(&alone, &[-1])));
}

#[test]
fn what_waits_for_another_reader_does_not_follow() {
    let _alone = alone();
    let (a, b) = (numbers(&[600, 40], 1, Dtype::F32), numbers(&[40, 600], 2, Dtype::F32));
    // Every row needs the largest element of all.
    let run = || {
        let y = a.matmul(&b);
        ops::exp(&(&y - y.max()))
    };
    let found = run();
    let text = plan_text(std::slice::from_ref(&found)).unwrap();
    found.try_eval().unwrap();
    let product = a.matmul(&b);
    product.try_eval().unwrap();
    let due = ops::exp(&(&product - product.max()));
    assert!(bits(&found) == bits(&due), "{text}");
    // Nor what reads other rows.
    let (x, w) = (numbers(&[600, 40], 1, Dtype::F32), numbers(&[40, 600], 2, Dtype::F32));
    let y = x.matmul(&w);
    let sum = ops::tanh(&(&y + &ops::swapaxes(&y, 0, 1)));
    drop(y);
    let text = plan_text(std::slice::from_ref(&sum)).unwrap();
    assert!(!text.contains("followed in"), "{text}");
    assert!(bits(&sum) == bits(&ops::tanh(&(&product + &ops::swapaxes(&product, 0, 1)))));
}
