//! Each pass on a small graph: the text before and the text after.

use super::{PASSES, Pass, Plan, Region};
use crate::ir::{Operand, Stages};
use crate::memory::placement::Placements;
use crate::samples::{Builder, sample};
use covector_kernels::Reduce;

/// The plan of a sample before and after the pass of this name, as text.
fn around(name: &'static str, build: impl FnOnce(&mut Builder)) -> [String; 2] {
    let graph = sample(name, build).graph;
    let (stages, regions, placements) = (Stages::default(), Vec::<Region>::new(), Placements::default());
    let mut plan = Plan { graph, stages, regions, in_memory: Vec::new(), stored: Vec::new(), placements };
    for Pass(what, pass) in PASSES {
        let before = plan.to_string();
        pass(&mut plan);
        if what.starts_with(name) {
            return [before, plan.to_string()];
        }
    }
    panic!("there is no pass {name}")
}

/// Compares lines without their indentation.
fn same(found: &str, expected: &str) {
    let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n");
    assert_eq!(lines(found.trim()), lines(expected.trim()));
}

#[test]
fn a_transpose_of_a_dot_is_absorbed() {
    let [before, after] = around("dots", |b| {
        let (x, y) = (b.leaf(&[40, 30]), b.leaf(&[30, 50]));
        let product = b.dot(&x, &y);
        let turned = b.transposed(&product);
        let z = b.exp(&turned);
        b.want(&[&z]);
    });
    same(
        &before,
        "%0: float32 (40, 30) = leaf 0
         %1: float32 (30, 50) = leaf 1
         %2: float32 (40, 50) = matmul of %0, %1
         %3: float32 (50, 40) = exp of %2[(50, 40):(1, 50)]
         live-out of step 0: %3",
    );
    same(
        &after,
        "%0: float32 (40, 30) = leaf 0
         %1: float32 (30, 50) = leaf 1
         %2: float32 (50, 40) = matmul of %1[(50, 30):(1, 50)], %0[(30, 40):(1, 30)]
         %3: float32 (50, 40) = exp of %2
         live-out of step 0: %3",
    );
}

#[test]
fn dots_of_slices_with_one_matrix_are_merged() {
    let [_, after] = around("dots", |b| {
        let (x, w) = (b.leaf(&[6, 20]), b.leaf(&[20, 30]));
        let outs: Vec<Operand> = (0..3)
            .map(|t| {
                let step = b.rows(&x, 2 * t, 2 * t + 2);
                let product = b.dot(&step, &w);
                b.exp(&product)
            })
            .collect();
        b.want(&[&outs[0], &outs[2]]);
        b.want(&[&outs[1]]);
    });
    same(
        &after,
        "%0: float32 (6, 20) = leaf 0
         %1: float32 (20, 30) = leaf 1
         %2: float32 (3, 2, 30) = matmul of %0[(3, 2, 20):(40, 20, 1)], %1
         %3: float32 (2, 30) = exp of %2[(2, 30):(30, 1)]
         %4: float32 (2, 30) = exp of %2[(2, 30):(30, 1)+60]
         %5: float32 (2, 30) = exp of %2[(2, 30):(30, 1)+120]
         live-out of step 0: %3
         live-out of step 1: %5
         live-out of step 2: %4",
    );
}

#[test]
fn a_matrix_that_several_dots_read_transposed_is_copied_once() {
    let [_, after] = around("dots", |b| {
        let (mut h, w) = (b.leaf(&[12, 20]), b.leaf(&[20, 20]));
        let turned = b.transposed(&w);
        for _ in 0..3 {
            let product = b.dot(&h, &turned);
            h = b.tanh(&product);
        }
        b.want(&[&h]);
    });
    same(
        &after,
        "%0: float32 (12, 20) = leaf 0
         %1: float32 (20, 20) = leaf 1
         %2: float32 (20, 20) = place at (0, 0) of %1[(20, 20):(1, 20)]
         %3: float32 (12, 20) = matmul of %0, %2
         %4: float32 (12, 20) = tanh of %3
         %5: float32 (12, 20) = matmul of %4, %2
         %6: float32 (12, 20) = tanh of %5
         %7: float32 (12, 20) = matmul of %6, %2
         %8: float32 (12, 20) = tanh of %7
         live-out of step 0: %8",
    );
}

#[test]
fn nodes_that_nothing_wanted_needs_go() {
    let [_, after] = around("compact", |b| {
        let x = b.leaf(&[4]);
        let (y, z) = (b.exp(&x), b.tanh(&x));
        b.exp(&z);
        b.want(&[&y]);
    });
    same(
        &after,
        "%0: float32 (4,) = leaf 0
         %1: float32 (4,) = exp of %0
         live-out of step 0: %1",
    );
}

#[test]
fn maps_over_one_shape_are_one_stage() {
    let [_, after] = around("maps", |b| {
        let (x, k) = (b.leaf(&[8, 4]), b.leaf(&[]));
        let y = b.exp(&x);
        let sum = b.reduce(Reduce::Sum, &y, &[1]);
        let shifted = b.add(&y, &k);
        let z = b.multiply(&shifted, &sum);
        b.want(&[&z]);
    });
    // The last map needs the sum, which needs the first.
    same(
        &after,
        "%0: float32 (8, 4) = leaf 0
         %1: float32 () = leaf 1
         stage 0
         %2: float32 (8, 4) = exp of %0
         %3: float32 (8, 4) = add of %2, %1
         stage 1
         %4: float32 (8, 1) = sum axes=[1] of %2
         stage 2
         %5: float32 (8, 4) = multiply of %3, %4
         live-out of step 0: %5",
    );
}

#[test]
fn a_cheap_operation_is_done_by_the_stage_that_reads_it() {
    let [_, after] = around("recompute", |b| {
        let (x, k) = (b.leaf(&[8, 4]), b.leaf(&[]));
        let y = b.exp(&x);
        let shifted = b.add(&y, &k);
        let sorted = b.call("sort", &y, 1);
        let z = b.multiply(&shifted, &sorted[0]);
        b.want(&[&z]);
    });
    // Not the sum but `exp`, which is in memory anyway, is read by the last stage.
    same(
        &after,
        "%0: float32 (8, 4) = leaf 0
         %1: float32 () = leaf 1
         stage 0
         %2: float32 (8, 4) = exp of %0
         stage 1
         %3: float32 (8, 4) = sort of %2
         stage 2
         %4: float32 (8, 4) = add of %2, %1
         %5: float32 (8, 4) = multiply of %4, %3
         live-out of step 0: %5",
    );
}

#[test]
fn one_value_is_stored_in_place_of_two_functions_of_it() {
    let [_, after] = around("spare", |b| {
        let x = b.leaf(&[64, 32]);
        let t = b.tanh(&x);
        let (square, opposite) = (b.square(&t), b.negative(&t));
        let y = b.multiply(&square, &opposite);
        let sorted = b.call("sort", &y, 1);
        let z = b.multiply(&sorted[0], &square);
        let w = b.multiply(&z, &opposite);
        b.want(&[&w]);
    });
    same(
        &after,
        "%0: float32 (64, 32) = leaf 0
         stage 0
         %1: float32 (64, 32) = tanh of %0
         %2: float32 (64, 32) = square of %1
         %3: float32 (64, 32) = negative of %1
         %4: float32 (64, 32) = multiply of %2, %3
         stage 1
         %5: float32 (64, 32) = sort of %4
         stage 2
         %6: float32 (64, 32) = square of %1
         %7: float32 (64, 32) = negative of %1
         %8: float32 (64, 32) = multiply of %5, %6
         %9: float32 (64, 32) = multiply of %8, %7
         live-out of step 0: %9",
    );
}

#[test]
fn stages_over_the_same_rows_are_one_region() {
    let [_, after] = around("regions", |b| {
        let x = b.leaf(&[64, 32]);
        let e = b.exp(&x);
        let sum = b.reduce(Reduce::Sum, &e, &[1]);
        let y = b.multiply(&e, &sum);
        let total = b.reduce(Reduce::Sum, &y, &[0]);
        b.want(&[&y, &total]);
    });
    same(
        &after,
        "%0: float32 (64, 32) = leaf 0
         region of 64 rows
         stage 0
         %1: float32 (64, 32) = exp of %0
         stage 1
         %2: float32 (64, 1) = sum axes=[1] of %1
         stage 2
         %3: float32 (64, 32) = multiply of %1, %2
         stage 3
         %4: float32 (1, 32) = sum axes=[0] of %3
         live-out of step 0: %3
         live-out of step 1: %4",
    );
}

#[test]
fn a_region_follows_a_large_dot() {
    let [_, after] = around("regions", |b| {
        let (x, w, bias) = (b.leaf(&[1024, 512]), b.leaf(&[512, 512]), b.leaf(&[512]));
        let product = b.dot(&x, &w);
        let y = b.add(&product, &bias);
        b.want(&[&y]);
    });
    same(
        &after,
        "%0: float32 (1024, 512) = leaf 0
         %1: float32 (512, 512) = leaf 1
         %2: float32 (512,) = leaf 2
         region of 1024 rows
         stage 0, followed part by part
         %3: float32 (1024, 512) = matmul of %0, %1
         stage 1
         %4: float32 (1024, 512) = add of %3, %2
         live-out of step 0: %4",
    );
}

#[test]
fn maps_of_one_region_are_joined() {
    let [before, after] = around("join", |b| {
        let (x, k) = (b.leaf(&[64, 32]), b.leaf(&[64, 32]));
        let e = b.exp(&x);
        let sorted = b.call("sort", &k, 1);
        let y = b.multiply(&e, &sorted[0]);
        b.want(&[&e, &y]);
    });
    let leaves = "%0: float32 (64, 32) = leaf 0
         %1: float32 (64, 32) = leaf 1
         stage 1 alone
         %3: float32 (64, 32) = sort of %1";
    let wanted = "live-out of step 0: %2
         live-out of step 1: %4";
    same(
        &before,
        &format!(
            "{leaves}
             region of 2048 rows
             stage 0
             %2: float32 (64, 32) = exp of %0
             stage 2
             %4: float32 (64, 32) = multiply of %2, %3
             {wanted}"
        ),
    );
    same(
        &after,
        &format!(
            "{leaves}
             stage 0 alone
             %2: float32 (64, 32) = exp of %0
             %4: float32 (64, 32) = multiply of %2, %3
             {wanted}"
        ),
    );
}

#[test]
fn a_region_that_frees_memory_runs_first() {
    let [before, after] = around("schedule", |b| {
        let (x, k) = (b.leaf(&[64, 32]), b.leaf(&[]));
        // Two results of calls, each used up by a small sum: in the order of the graph both would exist at once.
        let first = b.call("sort", &x, 1);
        let second = b.call("flip", &x, 1);
        let (one, two) = (b.call("count", &first[0], 1), b.call("count", &second[0], 1));
        let (p, q) = (b.reduce(Reduce::Sum, &one[0], &[0, 1]), b.reduce(Reduce::Sum, &two[0], &[0, 1]));
        let sum = b.add(&p, &q);
        let y = b.multiply(&sum, &k);
        b.want(&[&y]);
    });
    let order = |text: &str| {
        let made = text.lines().filter_map(|line| line.trim().split(" = ").nth(1));
        made.map(|what| what.split(' ').next().unwrap_or_default().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(order(&before), "leaf leaf sort flip count count sum sum add multiply");
    assert_eq!(order(&after), "leaf leaf sort count sum flip count sum add multiply");
}

#[test]
fn maps_write_into_the_concatenation_of_their_results() {
    let build = |b: &mut Builder| {
        let x = b.leaf(&[64, 48]);
        let (y, z) = (b.exp(&x), b.tanh(&x));
        let joined = b.concatenate(&[&y, &x, &z], 0);
        b.want(&[&joined]);
    };
    let sample = sample("placement", build);
    let executable = crate::compile(sample.graph, &sample.leaves, &sample.wanted);
    // The map writes two parts of slot 1, the copy the third.
    same(
        &format!("{executable:#}"),
        "map (64, 48): exp, tanh [1 in, 2 out] | 0 → 1 1
         concatenate: (192, 48) of (64, 48), (64, 48), (64, 48) [1 of 3 copied] | 0 → 1, frees 0",
    );
}

#[test]
fn a_result_is_written_over_an_input_that_is_read_for_the_last_time() {
    let sample = sample("reuse", |b| {
        let (x, k) = (b.leaf(&[512, 64]), b.leaf(&[]));
        let sorted = b.call("sort", &x, 1);
        let shifted = b.add(&sorted[0], &k);
        let y = b.exp(&shifted);
        b.want(&[&y]);
    });
    let executable = crate::compile(sample.graph, &sample.leaves, &sample.wanted);
    same(
        &format!("{executable:#}"),
        "sort: (512, 64) of (512, 64) | 0 → 2, frees 0
         map (512, 64): add, exp [2 in, 1 out] | 2 1 → 3, 3 over 2, frees 1 2",
    );
}
