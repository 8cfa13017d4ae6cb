//! The registry: the specifications of all public operations.

use crate::ops::elementwise::RowFn;
use crate::ops::spec::{OpSpec, Registered, Visitor};
use std::sync::LazyLock;

/// Visits all operations, family by family.
pub fn visit(visitor: &mut impl Visitor) {
    crate::ops::visit(visitor);
    crate::random::visit_all(visitor);
}

/// The specifications of all operations.
pub fn specs() -> &'static [&'static OpSpec] {
    struct All(Vec<&'static OpSpec>);
    impl Visitor for All {
        fn op<T: Registered>(&mut self) {
            self.0.push(T::spec());
        }
    }
    static SPECS: LazyLock<Vec<&'static OpSpec>> = LazyLock::new(|| {
        let mut all = All(Vec::new());
        visit(&mut all);
        all.0
    });
    &SPECS
}

/// The elementwise operations: their specifications and functions.
pub fn elementwise() -> impl Iterator<Item = (&'static OpSpec, RowFn)> {
    specs().iter().filter_map(|spec| Some((*spec, spec.elementwise?)))
}
