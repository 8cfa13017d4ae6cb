//! Random graphs of elementwise operations, reductions, broadcasts and views: evaluated as a whole, where the planner
//! runs them in chains and bands, and one operation at a time.

use covector_core::{Array, Dtype, eval, ops, plan_text};
use covector_kernels::program::{MachineCode, set_machine_code};
use proptest::prelude::*;

/// One operation on the values made so far; numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
enum Step {
    Unary(usize, u8),
    Binary(usize, usize, u8),
    Reduce(usize, u8, u8, bool),
    Transpose(usize),
    Flatten(usize),
    Product(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any::<usize>(), 0u8..4).prop_map(|(x, op)| Step::Unary(x, op)),
        6 => (any::<usize>(), any::<usize>(), 0u8..4).prop_map(|(x, y, op)| Step::Binary(x, y, op)),
        4 => (any::<usize>(), 1u8..8, 0u8..3, any::<bool>()).prop_map(|(x, a, k, keep)| Step::Reduce(x, a, k, keep)),
        1 => any::<usize>().prop_map(Step::Transpose),
        1 => any::<usize>().prop_map(Step::Flatten),
        2 => any::<usize>().prop_map(Step::Product),
    ]
}

/// Late values are more likely to be used than early ones, so that graphs grow deep.
fn pick(values: &[Array], i: usize) -> &Array {
    let n = values.len();
    if i.is_multiple_of(3) { &values[i / 3 % n] } else { &values[n - 1 - i / 3 % n.min(4)] }
}

fn apply(values: &[Array], step: Step) -> Option<Array> {
    match step {
        Step::Unary(x, op) => {
            let x = pick(values, x);
            Some(match op {
                0 => x.tanh(),
                1 => -x,
                2 => x.abs(),
                _ => x * 0.5,
            })
        }
        Step::Binary(x, y, op) => {
            let (x, y) = (pick(values, x), pick(values, y));
            match op {
                0 => ops::try_add(x, y),
                1 => ops::try_subtract(x, y),
                2 => ops::try_maximum(x, y),
                _ => ops::try_multiply(&x.tanh(), y),
            }
            .ok()
        }
        Step::Reduce(x, axes, kind, keep) => {
            let x = pick(values, x);
            let axes: Vec<isize> = (0..x.ndim() as isize).filter(|a| axes >> a & 1 == 1).collect();
            match kind {
                0 => ops::try_max_axes(x, &axes, keep),
                1 => ops::try_mean_axes(x, &axes, keep),
                _ => ops::try_sum_axes(&(x * 0.01), &axes, keep),
            }
            .ok()
        }
        Step::Transpose(x) => {
            let x = pick(values, x);
            (x.ndim() > 1).then(|| ops::swapaxes(x, 0, x.ndim() as isize - 1))
        }
        Step::Flatten(x) => {
            let x = pick(values, x);
            (x.ndim() > 1).then(|| ops::flatten(x, 0, 1))
        }
        Step::Product(x) => {
            let x = pick(values, x);
            let w = &values[6];
            (x.ndim() > 1 && x.shape().last() == w.shape().first()).then(|| x.matmul(w))
        }
    }
}

fn leaves(shape: &[usize], dtype: Dtype) -> Vec<Array> {
    let mut state = 1u64;
    let mut leaf = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        let values: Vec<f32> = (0..n)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 40) as f32 / (1 << 24) as f32 * 2.0 - 1.0
            })
            .collect();
        ops::astype(&Array::from_slice(&values, shape).unwrap(), dtype)
    };
    let last = *shape.last().unwrap();
    let mut rows = shape.to_vec();
    *rows.last_mut().unwrap() = 1;
    let turned: Vec<usize> = shape.iter().rev().copied().collect();
    let turned = ops::transpose(&leaf(&turned), &[]);
    // A matrix that keeps the size of what is multiplied by it; not of so many columns that it takes long.
    let square = if last <= 200 { leaf(&[last, last]) * (1.0 / (last as f64).sqrt()) } else { leaf(&[]) };
    vec![leaf(shape), leaf(&[last]), leaf(&rows), leaf(&[]), turned, leaf(shape), ops::astype(&square, dtype)]
}

fn check(shape: &[usize], dtype: Dtype, steps: &[Step], kept: usize, tolerance: f64) {
    set_machine_code(MachineCode::Never);
    let whole = leaves(shape, dtype);
    eval(&whole).unwrap();
    let mut lazy = whole.clone();
    let mut stepwise = whole;
    for &s in steps {
        let Some(made) = apply(&lazy, s) else { continue };
        // A value of the whole graph may be asked for in the middle of it.
        lazy.push(made);
        let one = apply(&stepwise, s).unwrap();
        one.try_eval().unwrap();
        stepwise.push(one);
    }
    let n = lazy.len();
    let asked = [n - 1, n - 1 - kept % n.min(5)];
    let outputs: Vec<Array> = asked.iter().map(|&i| lazy[i].clone()).collect();
    let expected: Vec<Array> = asked.iter().map(|&i| stepwise[i].clone()).collect();
    drop(lazy);
    let text = plan_text(&outputs).unwrap();
    // The step-by-step values come from the interpreter.
    set_machine_code(MachineCode::AtOnce);
    eval(&outputs).unwrap();
    set_machine_code(MachineCode::Never);
    for (found, expected) in outputs.iter().zip(&expected) {
        assert_eq!(found.shape(), expected.shape());
        let found = ops::astype(found, Dtype::F64).to_vec::<f64>();
        let expected = ops::astype(expected, Dtype::F64).to_vec::<f64>();
        for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
            assert!(
                (a - b).abs() <= tolerance * (1.0 + b.abs()),
                "element {i}: {a} against {b}\n{steps:?}\n{text}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn small_graphs(
        shape in prop::sample::select(vec![vec![6, 5], vec![3, 4, 5], vec![1, 7], vec![7, 1], vec![2, 1, 9]]),
        steps in prop::collection::vec(step(), 2..24),
        kept: usize,
        half: bool,
    ) {
        let (dtype, tolerance) = if half { (Dtype::F16, 0.05) } else { (Dtype::F64, 1e-9) };
        // Half precision rounds at every step, whatever the order of the sums; so few steps.
        let steps = if half { &steps[..steps.len().min(8)] } else { &steps[..] };
        check(&shape, dtype, steps, kept, tolerance);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Large enough for several blocks and several parts.
    #[test]
    fn large_graphs(
        shape in prop::sample::select(vec![
            vec![700, 53], vec![90, 7, 61], vec![900, 170], vec![11, 90, 160], vec![40, 1300], vec![9000, 8],
            vec![3, 20_000],
        ]),
        steps in prop::collection::vec(step(), 3..14),
        kept: usize,
    ) {
        check(&shape, Dtype::F64, &steps, kept, 1e-8);
    }
}

#[test]
fn a_softmax_with_its_loss_and_gradient_is_one_band() {
    let x = leaves(&[1000, 300], Dtype::F32).swap_remove(0);
    let loss = |x: &Array| (ops::softmax(x, &[-1]) * ops::log(&ops::softmax(x, &[-1]))).sum();
    let (value, gradient) = covector_core::transforms::value_and_grad(loss)(&x).unwrap();
    let text = plan_text(&[value, gradient]).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("region of 1000 rows: max"), "{text}");
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let run = |threads: usize| {
        covector_core::set_num_threads(threads);
        let x = leaves(&[5000, 70], Dtype::F32).swap_remove(0);
        let loss = |x: &Array| {
            (ops::softmax(x, &[-1]) * x.sin()).sum() + ops::logsumexp(&ops::sum_axes(&x.exp(), &[0], false))
        };
        let (value, gradient) = covector_core::transforms::value_and_grad(loss)(&x).unwrap();
        let mut bits: Vec<u32> = gradient.to_vec::<f32>().iter().map(|v| v.to_bits()).collect();
        bits.push(value.item::<f32>().to_bits());
        bits
    };
    let one = run(1);
    for threads in [2, 3, 5] {
        assert_eq!(run(threads), one, "{threads} threads");
    }
}

#[test]
fn a_tall_matrix_is_read_once_for_a_value_and_its_gradient() {
    for dtype in [Dtype::F32, Dtype::F64] {
        let mut xs = leaves(&[9001, 23], dtype);
        let (x, rows) = (xs.swap_remove(0), xs.swap_remove(2));
        let w = ops::astype(&Array::from_slice(&[0.25f32; 23], &[23]).unwrap(), dtype);
        let y = ops::squeeze(&rows, &[-1]);
        eval(&[x.clone(), y.clone(), w.clone()]).unwrap();
        let loss = |w: &Array| (x.matmul(w).tanh() - &y).square().mean();
        let (value, gradient) = covector_core::transforms::value_and_grad(loss)(&w).unwrap();
        let text = plan_text(&[value.clone(), gradient.clone()]).unwrap();
        assert_eq!(text.matches("matmul").count(), 2, "{text}");
        assert_eq!(text.lines().filter(|l| l.contains("matmul")).count(), 1, "{text}");
        eval(&[value.clone(), gradient.clone()]).unwrap();
        // By rows and sums, which are no products.
        let z = (&x * &w).sum_axes(&[1], false).tanh();
        z.try_eval().unwrap();
        let due = (&z - &y).square().mean();
        let slope = (&z - &y) * 2.0 * (1.0 - z.square()) * (1.0 / 9001.0);
        let due_gradient = (ops::expand_dims(&slope, &[1]) * &x).sum_axes(&[0], false);
        let near = |a: &Array, b: &Array| {
            let far = ops::astype(&(a - b).abs().max(), Dtype::F64).item::<f64>();
            assert!(far < if dtype == Dtype::F32 { 1e-5 } else { 1e-12 }, "{far}\n{text}");
        };
        near(&value, &due);
        near(&gradient, &due_gradient);
    }
}

#[test]
fn a_product_that_is_only_seen_transposed_is_computed_so() {
    let xs = leaves(&[40, 70], Dtype::F64);
    let (x, y) = (&xs[0], &xs[5]);
    eval(&xs).unwrap();
    let turned = || ops::swapaxes(&x.mt().matmul(y), 0, 1);
    let due: Vec<f64> = {
        let product = x.mt().matmul(y);
        product.try_eval().unwrap();
        (ops::swapaxes(&product, 0, 1) * 2.0).to_vec()
    };
    // For a chain, and as a result.
    let (scaled, plain) = (turned() * 2.0, turned());
    for (outs, factor) in [(vec![scaled], 1.0), (vec![plain], 2.0)] {
        let text = plan_text(&outs).unwrap();
        assert!(text.contains("matmul: (70, 70) of (70, 40), (40, 70)"), "{text}");
        eval(&outs).unwrap();
        let found = outs[0].to_vec::<f64>();
        assert!(found.iter().zip(&due).all(|(a, b)| (a * factor - b).abs() < 1e-12));
        assert!(outs[0].data_if_ready().unwrap().view().is_row_major());
    }
    // Not where it is read both ways.
    let product = x.mt().matmul(y);
    let both = ops::swapaxes(&product, 0, 1) - &product;
    drop(product);
    let found = both.to_vec::<f64>();
    let back = (&ops::swapaxes(&both, 0, 1) + &both).to_vec::<f64>();
    assert!(found.iter().any(|v| v.abs() > 0.1) && back.iter().all(|v| v.abs() < 1e-12));
}
