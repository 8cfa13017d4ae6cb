//! Reading the fixtures, and comparing with them.
#![allow(dead_code, reason = "each test file uses a part")]

use covector_core::{Array, Dtype, f16};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// The cases of one group of `fixtures/mlx.txt`: those whose names begin with `group/`.
pub(crate) struct Fixtures {
    group: &'static str,
    arrays: BTreeMap<String, Array>,
    used: RefCell<BTreeSet<String>>,
}

impl Fixtures {
    pub(crate) fn of(group: &'static str) -> Self {
        let lines = include_str!("../fixtures/mlx.txt").lines().filter(|line| !line.starts_with('#'));
        let arrays = lines.filter_map(|line| {
            let [name, dtype, shape, values] = line.split('|').collect::<Vec<_>>()[..] else {
                panic!("a line of the fixtures has not four fields: {line}");
            };
            let name = name.strip_prefix(group)?.strip_prefix('/')?;
            Some((name.to_owned(), array(dtype, shape, values)))
        });
        Self { group, arrays: arrays.collect(), used: RefCell::default() }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.arrays.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> Array {
        self.used.borrow_mut().insert(name.to_owned());
        let array = self.arrays.get(name);
        array.unwrap_or_else(|| panic!("there is no fixture {}/{name}", self.group)).clone()
    }

    /// Compares in shape, type and value, within `tolerance` of the larger of 1 and the value.
    #[track_caller]
    pub(crate) fn check(&self, name: &str, actual: &Array, tolerance: f64) {
        let expected = self.get(name);
        assert_eq!(actual.shape(), expected.shape(), "shape of {}/{name}", self.group);
        assert_eq!(actual.dtype(), expected.dtype(), "type of {}/{name}", self.group);
        let (actual, expected) = (numbers(actual), numbers(&expected));
        for (i, (a, e)) in actual.iter().zip(&expected).enumerate() {
            let near = (a - e).abs() <= tolerance * e.abs().max(1.0);
            assert!(near, "{}/{name}: element {i} is {a}, not {e}\n{actual:?}\n{expected:?}", self.group);
        }
    }

    /// Fails if a case was not looked at.
    pub(crate) fn all_used(&self) {
        let used = self.used.borrow();
        let missed: Vec<&String> = self.arrays.keys().filter(|name| !used.contains(*name)).collect();
        assert!(missed.is_empty(), "fixtures of {} without a test: {missed:?}", self.group);
    }
}

pub(crate) fn numbers(x: &Array) -> Vec<f64> {
    x.astype(Dtype::F64).to_vec()
}

fn array(dtype: &str, shape: &str, values: &str) -> Array {
    let shape: Vec<usize> = shape.split(',').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect();
    let values = values.split_whitespace();
    let array = match dtype {
        "f32" => Array::from_slice(&values.map(|v| v.parse().unwrap()).collect::<Vec<f32>>(), &shape),
        "f16" => {
            Array::from_slice(&values.map(|v| f16::from_f32(v.parse().unwrap())).collect::<Vec<_>>(), &shape)
        }
        "i32" => Array::from_slice(&values.map(|v| v.parse().unwrap()).collect::<Vec<i32>>(), &shape),
        _ => panic!("the fixtures have the unknown type {dtype}"),
    };
    array.unwrap()
}
