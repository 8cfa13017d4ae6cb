//! Compiled programs against the interpreter, bit for bit.

use crate::dtype::Dtype;
use crate::program::{Builder, Code, Program, Reg, TileFn};
use crate::simd::{Level, level};
use crate::strided::{Out, View};
use crate::{tile1, tile2, tile3};
use std::ops::Range;

/// Runs a program's machine code; false if it has to be interpreted.
fn run(p: &Program, shape: &[usize], inputs: &[View<'_>], outputs: &[Out<'_>], range: Range<usize>) -> bool {
    super::run(&p.inputs, &p.compilable, shape, inputs, outputs, range)
}

/// A small generator of numbers, so that failures can be reproduced.
struct Rng(u64);
impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }
}

macro_rules! operations {
    ($t:ident, $math:ident) => {
        (
            vec![
                (TileFn::Two(tile2!($t, $t => $t, |a, b| a + b)), Some(Code::Add)),
                (TileFn::Two(tile2!($t, $t => $t, |a, b| a - b)), Some(Code::Subtract)),
                (TileFn::Two(tile2!($t, $t => $t, |a, b| a * b)), Some(Code::Multiply)),
                (TileFn::Two(tile2!($t, $t => $t, |a, b| a / b)), Some(Code::Divide)),
                (TileFn::Two(tile2!($t, $t => $t, |a, b| if a > b || a.is_nan() { a } else { b })), Some(Code::Maximum)),
                (TileFn::Two(tile2!($t, $t => $t, |a, b| if a < b || a.is_nan() { a } else { b })), Some(Code::Minimum)),
                (TileFn::Two(tile2!($t, $t => $t, |a, b| crate::math::$math::pow(a, b))), None),
            ],
            vec![
                (TileFn::One(tile1!($t => $t, |x| x * x)), Some(Code::Square)),
                (TileFn::One(tile1!($t => $t, |x| x.sqrt())), Some(Code::SquareRoot)),
                (TileFn::One(tile1!($t => $t, |x| 1.0 / x)), Some(Code::Reciprocal)),
                (TileFn::One(tile1!($t => $t, |x| -x)), Some(Code::Negative)),
                (TileFn::One(tile1!($t => $t, |x| x.abs())), Some(Code::Absolute)),
                (
                    TileFn::One(tile1!($t => $t, |x| if x.is_sign_negative() { 1.0 + x } else { x })),
                    Some(Code::SigmoidOfTail),
                ),
                (TileFn::One(tile1!($t => $t, |x| (-x).mul_add(x, x.abs()))), Some(Code::SlopeOfTail)),
                (TileFn::One(tile1!($t => $t, |x| crate::math::$math::tanh(x))), None),
                (TileFn::One(tile1!($t => $t, |x| crate::math::$math::exp(x))), None),
            ],
            vec![
                (TileFn::Two(tile2!($t, $t => bool, |a, b| a == b)), Some(Code::Equal)),
                (TileFn::Two(tile2!($t, $t => bool, |a, b| a != b)), Some(Code::NotEqual)),
                (TileFn::Two(tile2!($t, $t => bool, |a, b| a < b)), Some(Code::Less)),
                (TileFn::Two(tile2!($t, $t => bool, |a, b| a <= b)), Some(Code::LessEqual)),
                (TileFn::Two(tile2!($t, $t => bool, |a, b| a > b)), Some(Code::Greater)),
                (TileFn::Two(tile2!($t, $t => bool, |a, b| a >= b)), Some(Code::GreaterEqual)),
            ],
            (
                TileFn::Three(tile3!(bool, $t, $t => $t, |c, a, b| if c { a } else { b })),
                TileFn::One(tile1!(bool => $t, |c| if c { 1.0 } else { 0.0 })),
            ),
        )
    };
}

type Choice = (TileFn, Option<Code>);

/// A random program over `inputs`, and its outputs' types.
fn random_program(rng: &mut Rng, inputs: &[Dtype], double: bool, steps: usize) -> (Program, Vec<Dtype>) {
    let (two, one, compare, (select, from_bool)) =
        if double { operations!(f64, f64) } else { operations!(f32, f32) };
    let logic: [Choice; 3] = [
        (TileFn::Two(tile2!(bool, bool => bool, |a, b| a & b)), Some(Code::And)),
        (TileFn::Two(tile2!(bool, bool => bool, |a, b| a | b)), Some(Code::Or)),
        (TileFn::Two(tile2!(bool, bool => bool, |a, b| a ^ b)), Some(Code::Xor)),
    ];
    let not: Choice = (TileFn::One(tile1!(bool => bool, |a| !a)), Some(Code::Not));
    let integers: [Choice; 2] = match double {
        true => [
            (TileFn::Two(tile2!(i64, i64 => bool, |a, b| a <= b)), Some(Code::LessEqual)),
            (TileFn::Two(tile2!(i64, i64 => bool, |a, b| a == b)), Some(Code::Equal)),
        ],
        false => [
            (TileFn::Two(tile2!(i32, i32 => bool, |a, b| a > b)), Some(Code::Greater)),
            (TileFn::Two(tile2!(i32, i32 => bool, |a, b| a == b)), Some(Code::Equal)),
        ],
    };
    let number = if double { Dtype::F64 } else { Dtype::F32 };
    let mut b = Builder::default();
    let (mut numbers, mut truths): (Vec<Reg>, Vec<Reg>) = (Vec::new(), Vec::new());
    let mut whole: Vec<Reg> = Vec::new();
    for &dtype in inputs {
        let reg = b.input(dtype);
        match dtype {
            Dtype::Bool => truths.push(reg),
            Dtype::I32 | Dtype::I64 => whole.push(reg),
            _ => numbers.push(reg),
        }
    }
    let mut made: Vec<(Reg, Dtype)> = Vec::new();
    for _ in 0..steps {
        let n = |rng: &mut Rng, numbers: &[Reg]| numbers[rng.below(numbers.len())];
        let (a, c) = (n(rng, &numbers), n(rng, &numbers));
        let reg = match rng.below(10) {
            0..=4 => {
                let most = two.len() - usize::from(rng.below(4) > 0);
                let (f, code) = two[rng.below(most)];
                b.apply(f, code, &[a, c], number)
            }
            5 | 6 => {
                let (f, code) = one[rng.below(one.len())];
                b.apply(f, code, &[a], number)
            }
            7 if truths.len() > 1 => {
                let (x, y) = (truths[rng.below(truths.len())], truths[rng.below(truths.len())]);
                match rng.below(4) {
                    3 => b.apply(from_bool, Some(Code::FromBool), &[x], number),
                    2 => b.apply(not.0, not.1, &[x], Dtype::Bool),
                    _ => {
                        let (f, code) = logic[rng.below(3)];
                        b.apply(f, code, &[x, y], Dtype::Bool)
                    }
                }
            }
            8 if !truths.is_empty() => {
                b.apply(select, Some(Code::Select), &[truths[rng.below(truths.len())], a, c], number)
            }
            9 if whole.len() > 1 => {
                let (f, code) = integers[rng.below(2)];
                b.apply(f, code, &[whole[rng.below(whole.len())], whole[0]], Dtype::Bool)
            }
            _ => {
                let (f, code) = compare[rng.below(compare.len())];
                b.apply(f, code, &[a, c], Dtype::Bool)
            }
        };
        let dtype = b.dtype(reg);
        if dtype == Dtype::Bool {
            truths.push(reg)
        } else {
            numbers.push(reg)
        }
        made.push((reg, dtype));
    }
    let mut outputs: Vec<(Reg, Dtype)> = vec![*made.last().unwrap()];
    for _ in 0..rng.below(4) {
        let pick = made[rng.below(made.len())];
        if !outputs.contains(&pick) {
            outputs.push(pick);
        }
    }
    for (reg, _) in &outputs {
        b.output(*reg);
    }
    (b.finish(), outputs.into_iter().map(|o| o.1).collect())
}

/// Memory with values of all kinds, and a layout that broadcasts to `shape`.
struct Input {
    bytes: Vec<u64>,
    dtype: Dtype,
    shape: Vec<usize>,
    strides: Vec<isize>,
}

impl Input {
    fn new(rng: &mut Rng, dtype: Dtype, shape: &[usize]) -> Self {
        let mut own: Vec<usize> = shape.to_vec();
        match rng.below(5) {
            0 => own.fill(1),
            1 | 2 => own.iter_mut().for_each(|n| *n = if rng.below(2) == 0 { *n } else { 1 }),
            _ => {}
        }
        let mut strides = vec![0isize; own.len()];
        let mut order: Vec<usize> = (0..own.len()).rev().collect();
        if rng.below(4) == 0 {
            order.reverse();
        }
        let gap = if rng.below(6) == 0 { 2 } else { 1 };
        let mut step = gap;
        for k in order {
            strides[k] = step;
            step *= own[k] as isize;
        }
        let special = [0.0, -0.0, f64::NAN, f64::INFINITY, -1.0, 1.0, 1e-30, -2.5e20];
        let bytes = (0..step.max(1) as usize)
            .map(|_| {
                let v = match rng.below(8) {
                    0 => special[rng.below(special.len())],
                    _ => (rng.below(2001) as f64 - 1000.0) / 250.0,
                };
                match dtype {
                    Dtype::Bool => u64::from(rng.below(2) == 0),
                    Dtype::I32 => u64::from((rng.below(7) as i32 - 3) as u32),
                    Dtype::I64 => (rng.below(7) as i64 - 3) as u64,
                    Dtype::F64 => v.to_bits(),
                    _ => u64::from((v as f32).to_bits()),
                }
            })
            .collect::<Vec<u64>>();
        // Elements of the type's own size, without gaps.
        let mut packed = vec![0u64; bytes.len()];
        let at: *mut u8 = packed.as_mut_ptr().cast();
        for (i, &v) in bytes.iter().enumerate() {
            // SAFETY: at most eight bytes for each element.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    v.to_le_bytes().as_ptr(),
                    at.add(i * dtype.size()),
                    dtype.size(),
                )
            };
        }
        Self { bytes: packed, dtype, shape: own, strides }
    }

    fn view(&self) -> View<'_> {
        // SAFETY: `new` allocated all elements that the layout reaches.
        unsafe { View::new(self.bytes.as_ptr().cast(), self.dtype, &self.shape, &self.strides) }
    }
}

type Run<'a> = &'a dyn Fn(&Program, &[usize], &[View<'_>], &[Out<'_>]) -> bool;

/// The bytes of all outputs, with one bit pattern for every NaN: the compiler chooses which of two NaN operands an instruction
/// returns.
fn outputs(
    program: &Program,
    dtypes: &[Dtype],
    shape: &[usize],
    views: &[View<'_>],
    run: Run<'_>,
) -> Option<Vec<Vec<u8>>> {
    outputs_in_rows(program, dtypes, shape, views, &[], run)
}

const UNTOUCHED: u64 = 0x5555_5555_5555_5555;

/// As [`outputs`], with gaps between rows of some outputs: elements of a row, and from row to row.
fn outputs_in_rows(
    program: &Program,
    dtypes: &[Dtype],
    shape: &[usize],
    views: &[View<'_>],
    rows: &[Option<(usize, usize)>],
    run: Run<'_>,
) -> Option<Vec<Vec<u8>>> {
    let size: usize = shape.iter().product();
    let rows = |k: usize| rows.get(k).copied().flatten();
    let space = |k: usize| rows(k).map_or(size, |(row, apart)| size / row * apart) + 1;
    let mut memory: Vec<Vec<u64>> = (0..dtypes.len()).map(|k| vec![UNTOUCHED; space(k)]).collect();
    let done = {
        let out = |(k, (m, &dtype)): (usize, (&mut Vec<u64>, &Dtype))| {
            let at = m.as_mut_ptr().cast();
            // SAFETY: room for all elements, of up to eight bytes, and for the gaps.
            unsafe {
                match rows(k) {
                    Some(rows) => Out::in_rows(at, dtype, shape, rows),
                    None => Out::new(at, dtype, shape),
                }
            }
        };
        let outs: Vec<Out<'_>> = memory.iter_mut().zip(dtypes).enumerate().map(out).collect();
        run(program, shape, views, &outs)
    };
    for (k, m) in memory.iter_mut().enumerate() {
        let Some((row, apart)) = rows(k) else { continue };
        let size = dtypes[k].size();
        let bytes: Vec<u8> = m.iter().flat_map(|w| w.to_le_bytes()).collect();
        let (mut kept, mut gaps) = (Vec::new(), Vec::new());
        for one in bytes.chunks_exact(apart * size).take(if row == 0 { 0 } else { space(k) / apart }) {
            kept.extend_from_slice(&one[..row * size]);
            gaps.extend_from_slice(&one[row * size..]);
        }
        assert!(gaps.iter().all(|&b| b == UNTOUCHED as u8), "a gap of output {k} was written to");
        kept.resize(kept.len().next_multiple_of(8) + 8, UNTOUCHED as u8);
        *m = kept.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().unwrap())).collect();
    }
    let plain = |(m, dtype): (Vec<u64>, &Dtype)| {
        let mut bytes: Vec<u8> = m.iter().flat_map(|w| w.to_le_bytes()).collect();
        match dtype {
            Dtype::F32 => bytes.chunks_exact_mut(4).take(size).for_each(|c| {
                if f32::from_le_bytes(c.try_into().unwrap()).is_nan() {
                    c.copy_from_slice(&f32::NAN.to_le_bytes());
                }
            }),
            Dtype::F64 => bytes.chunks_exact_mut(8).take(size).for_each(|c| {
                if f64::from_le_bytes(c.try_into().unwrap()).is_nan() {
                    c.copy_from_slice(&f64::NAN.to_le_bytes());
                }
            }),
            _ => {}
        }
        bytes
    };
    done.then(|| memory.into_iter().zip(dtypes).map(plain).collect())
}

#[test]
fn compiled_chains_are_the_interpreted_ones() {
    if level() != Level::Avx512 {
        eprintln!("skipped: no AVX-512");
        return;
    }
    let mut rng = Rng(20261125);
    let shapes: [&[usize]; 14] = [
        &[],
        &[1],
        &[5],
        &[16],
        &[1000],
        &[3, 7],
        &[40, 10],
        &[64, 16],
        &[5, 700],
        &[4, 3, 33],
        &[130, 4, 8],
        &[2, 3, 2, 9],
        &[7, 5, 10],
        &[3, 4, 6, 17],
    ];
    let mut compiled = 0;
    for case in 0..1500 {
        let double = rng.below(4) == 0;
        let number = if double { Dtype::F64 } else { Dtype::F32 };
        let shape = shapes[rng.below(shapes.len())];
        let many = 1 + rng.below(if case % 10 == 0 { 24 } else { 5 });
        let inputs: Vec<Input> = (0..many)
            .map(|k| {
                let dtype = match rng.below(if k > 0 { 6 } else { 1 }) {
                    1 => Dtype::Bool,
                    2 if double => Dtype::I64,
                    2 => Dtype::I32,
                    _ => number,
                };
                Input::new(&mut rng, dtype, shape)
            })
            .collect();
        let dtypes: Vec<Dtype> = inputs.iter().map(|x| x.dtype).collect();
        let steps = 1 + rng.below(if case % 7 == 0 { 150 } else { 12 });
        let (program, results) = random_program(&mut rng, &dtypes, double, steps);
        let views: Vec<View<'_>> = inputs.iter().map(Input::view).collect();
        let size: usize = shape.iter().product();
        let cut = rng.below(size + 1);
        let expected = outputs(&program, &results, shape, &views, &|p, shape, x, o| {
            p.interpret(shape, x, o, 0, size);
            true
        });
        // In two pieces, as when a job is divided into parts or blocks.
        let got = outputs(&program, &results, shape, &views, &|p, shape, x, o| {
            p.compilable.variants.use_at_once();
            [(0, cut), (cut, size)].iter().all(|&(a, b)| a == b || run(p, shape, x, o, a..b))
        });
        let Some(got) = got else { continue };
        compiled += 1;
        for (k, (got, expected)) in got.iter().zip(expected.unwrap()).enumerate() {
            let bytes = results[k].size();
            let wrong = got.chunks(bytes).zip(expected.chunks(bytes)).position(|(g, e)| g != e);
            assert!(
                wrong.is_none(),
                "case {case}, {shape:?}, output {k} ({}): element {wrong:?} of {size}",
                results[k]
            );
        }
    }
    assert!(compiled > 1200, "only {compiled} programs were compiled");
}

#[test]
fn rows_may_have_gaps_between_them() {
    let mut rng = Rng(20261126);
    let shapes: [&[usize]; 8] =
        [&[1], &[16], &[1300], &[40, 10], &[5, 700], &[4, 3, 33], &[32, 128], &[130, 4, 8]];
    let mut compiled = 0;
    for case in 0..600 {
        let shape = shapes[rng.below(shapes.len())];
        let inputs: Vec<Input> =
            (0..1 + rng.below(4)).map(|_| Input::new(&mut rng, Dtype::F32, shape)).collect();
        let views: Vec<View<'_>> = inputs.iter().map(Input::view).collect();
        let steps = 1 + rng.below(12);
        let (program, results) = random_program(&mut rng, &vec![Dtype::F32; inputs.len()], false, steps);
        let size: usize = shape.iter().product();
        let mut rows: Vec<Option<(usize, usize)>> = Vec::new();
        for _ in &results {
            let row = shape[rng.below(shape.len())..].iter().product::<usize>();
            rows.push((rng.below(3) > 0).then_some((row, row + rng.below(40))));
        }
        let cut = rng.below(size + 1);
        let pieces = [(0, cut), (cut, size)];
        let expected = outputs(&program, &results, shape, &views, &|p, shape, x, o| {
            p.interpret(shape, x, o, 0, size);
            true
        });
        let expected = expected.unwrap();
        let same = |got: Vec<Vec<u8>>, how: &str| {
            for (k, (got, expected)) in got.iter().zip(&expected).enumerate() {
                let n = size * results[k].size();
                assert!(
                    got[..n] == expected[..n],
                    "case {case}, {how}: output {k} in {:?} of {shape:?}",
                    rows[k]
                );
            }
        };
        let interpreted = outputs_in_rows(&program, &results, shape, &views, &rows, &|p, shape, x, o| {
            pieces.iter().filter(|p| p.0 < p.1).for_each(|&(a, b)| p.interpret(shape, x, o, a, b));
            true
        });
        same(interpreted.unwrap(), "interpreted");
        let machine = outputs_in_rows(&program, &results, shape, &views, &rows, &|p, shape, x, o| {
            p.compilable.variants.use_at_once();
            pieces.iter().all(|&(a, b)| a == b || run(p, shape, x, o, a..b))
        });
        if let Some(got) = machine {
            compiled += 1;
            same(got, "compiled");
        }
    }
    assert!(compiled > 300 || level() != Level::Avx512, "only {compiled} programs were compiled");
}

#[test]
fn long_chains_are_written_past_the_caches() {
    if level() != Level::Avx512 {
        return;
    }
    let mut rng = Rng(7);
    let n = (5 << 20) + 3;
    for shape in [&[n][..], &[n / 128, 128], &[n / 48, 48]] {
        let size: usize = shape.iter().product();
        let x: Vec<f32> = (0..size).map(|_| rng.below(1000) as f32 / 100.0).collect();
        let strides: Vec<isize> =
            (0..shape.len()).map(|k| shape[k + 1..].iter().product::<usize>() as isize).collect();
        let column: Vec<usize> =
            shape.iter().enumerate().map(|(k, &n)| if k == 0 && shape.len() > 1 { n } else { 1 }).collect();
        // SAFETY: row-major memory of this shape, and its first elements as a column.
        let views = unsafe {
            [
                View::new(x.as_ptr().cast(), Dtype::F32, shape, &strides),
                View::new(x.as_ptr().cast(), Dtype::F32, &column, &strides),
            ]
        };
        let (program, results) = random_program(&mut rng, &[Dtype::F32; 2], false, 6);
        let expected = outputs(&program, &results, shape, &views, &|p, shape, x, o| {
            p.interpret(shape, x, o, 0, size);
            true
        });
        let got = outputs(&program, &results, shape, &views, &|p, shape, x, o| run(p, shape, x, o, 0..size));
        assert!(got.is_some() && got == expected, "{shape:?}");
    }
}

#[test]
fn sums_are_those_of_the_stored_values() {
    if level() != Level::Avx512 {
        return;
    }
    let mut rng = Rng(11);
    let mut summed = 0;
    for case in 0..200 {
        let double = case % 3 == 0;
        let number = if double { Dtype::F64 } else { Dtype::F32 };
        let n = [32, 33, 100, 4096, 4097, 9000, 40_001][rng.below(7)];
        let inputs: Vec<Input> = (0..3).map(|_| Input::new(&mut rng, number, &[n])).collect();
        let views: Vec<View<'_>> = inputs.iter().map(Input::view).collect();
        let steps = 1 + rng.below(9);
        let (program, results) = random_program(&mut rng, &[number; 3], double, steps);
        if results[0] == Dtype::Bool {
            continue;
        }
        let start = rng.below(2) * rng.below(n - 31);
        let stored = outputs(&program, &results, &[n], &views, &|p, shape, x, o| {
            p.interpret(shape, x, o, 0, n);
            true
        });
        let stored = stored.unwrap();
        let mut sum = [0u64; 1];
        let done = outputs(&program, &results, &[n], &views, &|p, shape, x, o| {
            p.compilable.variants.use_at_once();
            let to = sum.as_ptr().cast_mut().cast();
            // SAFETY: room for an element.
            unsafe { super::run_and_sum(&p.inputs, &p.compilable, shape, x, o, start..n, (0, to)) }
        });
        let Some(rest) = done else { continue };
        summed += 1;
        let size = number.size();
        for (k, dtype) in results.iter().enumerate().skip(1) {
            let bytes = dtype.size();
            assert_eq!(rest[k][start * bytes..n * bytes], stored[k][start * bytes..n * bytes], "case {case}");
        }
        let mut expected = [0u64; 1];
        let (shape, out) = ([n - start], expected.as_mut_ptr().cast());
        // SAFETY: the stored elements, and room for one.
        unsafe {
            let view = View::new(stored[0].as_ptr().add(start * size), number, &shape, &[1]);
            crate::reduce::reduce(crate::reduce::Reduce::Sum, view, &[0], Out::new(out, number, &[]));
        }
        let read = |word: &mut [u64; 1]| match double {
            true => f64::from_bits(word[0]),
            false => f64::from(f32::from_bits(word[0] as u32)),
        };
        let (sum, expected) = (read(&mut sum), read(&mut expected));
        assert!(
            sum == expected || sum.is_nan() && expected.is_nan(),
            "case {case}: {sum} is not {expected}, {n} from {start}"
        );
    }
    assert!(summed > 50, "only {summed} sums");
}
