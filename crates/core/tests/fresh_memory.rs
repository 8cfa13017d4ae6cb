//! No result depends on memory that nobody wrote: every entry of the catalogue, forward and backward and in every
//! element type, gives the same bits whatever fresh memory was filled with.

mod support;
use covector_core::buffer::testing::{Fill, set_fill};
use covector_core::catalog::entries;
use covector_core::{Array, Dtype, ops, random};
use covector_kernels::program::{MachineCode, set_machine_code};
use std::sync::Mutex;
use support::{all_of, digits, large, samples};

/// What memory is filled with holds for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// The results of `work`, to the last digit, with memory filled in two ways.
fn both<T>(work: impl Fn() -> T) -> (T, T) {
    let of = |fill: Fill| {
        let before = set_fill(fill);
        random::seed(3);
        let out = work();
        set_fill(before);
        out
    };
    (of(Fill::Signal), of(Fill::Large))
}

fn check_catalogue(mode: MachineCode) {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    set_machine_code(mode);
    let mut runs = 0;
    for entry in entries() {
        for dtype in Dtype::ALL {
            let x = samples(&entry, dtype);
            let (one, other) = both(|| all_of(&entry, &x).map_err(|e| e.to_string()));
            assert_eq!(one, other, "{} of {dtype} depends on memory that was not written", entry.name);
            runs += usize::from(one.is_ok());
            // Floats are taken everywhere.
            assert!(one.is_ok() || !dtype.is_float(), "{} of {dtype}: {one:?}", entry.name);
        }
    }
    assert!(runs > 7 * entries().len(), "{runs} runs");
}

#[test]
fn no_entry_of_the_catalogue_reads_fresh_memory() {
    check_catalogue(MachineCode::AtOnce);
}

#[test]
fn no_entry_of_the_catalogue_reads_fresh_memory_when_interpreted() {
    check_catalogue(MachineCode::Never);
}

#[test]
fn large_arrays_do_not_read_fresh_memory_either() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    set_machine_code(MachineCode::AtOnce);
    for dtype in Dtype::ALL {
        if matches!(dtype, Dtype::C64 | Dtype::Bool) {
            continue; // not ordered, or not added
        }
        let (one, other) = both(|| large(dtype).iter().map(|x| digits(x).unwrap()).collect::<Vec<_>>());
        for (k, (one, other)) in one.iter().zip(&other).enumerate() {
            assert!(one == other, "result {k} of {dtype} depends on memory that was not written");
        }
    }
}

#[test]
fn what_is_made_of_nothing_is_not_what_memory_held() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    for dtype in Dtype::ALL {
        let work = || -> Vec<String> {
            let mut out = Vec::new();
            for (m, n) in [(0usize, 50usize), (50, 0), (0, 0)] {
                let x = ops::zeros(&[m, n], dtype);
                x.try_eval().unwrap();
                let y = if dtype.is_inexact() { ops::tanh(&x) * 2.0 } else { x.clone() };
                out.extend([
                    y.sum(),
                    y.sum_axes(&[0], false),
                    y.sum_axes(&[1], true),
                    ops::prod_axes(&y, &[0], false),
                    ops::all_axes(&y, &[1], false),
                    ops::any_axes(&y, &[0], false),
                    ops::concatenate(&[y.clone(), ops::ones(&[m, 3], dtype)], 1),
                    ops::pad(&y, &[1, 1], &[2, 2], &ops::constant(1.0, dtype)),
                ]);
                if dtype.is_inexact() {
                    let z = ops::transpose(&x, &[]);
                    out.extend([x.matmul(&z), z.matmul(&x) + 1.0]);
                }
            }
            out.iter().map(|x| digits(x).unwrap()).collect()
        };
        let (one, other) = both(work);
        assert_eq!(one, other, "{dtype}");
    }
}

#[test]
fn memory_is_filled_with_what_it_should_be() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let before = set_fill(Fill::Signal);
    for size in [1usize, 2, 5, 1000] {
        for dtype in Dtype::ALL {
            let fresh = covector_core::buffer::Data::alloc("test", dtype, &[size]).unwrap();
            let x = Array::from_data(fresh);
            let signals = match dtype {
                _ if dtype.is_inexact() => ops::isnan(&x),
                Dtype::Bool => x,
                _ if dtype.is_signed_integer() => ops::less(&x, &Array::scalar(-127i8)),
                _ => ops::equal(&ops::bitwise_invert(&x), &ops::zeros_like(&x)),
            };
            assert!(signals.all().item::<bool>(), "{size} of {dtype}");
        }
    }
    set_fill(before);
    assert!(!cfg!(debug_assertions) || before == Fill::Signal, "tests run with memory filled");
}
