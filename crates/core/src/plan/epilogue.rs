//! Products that run together with what follows them: a bias and an activation, a softmax, an optimizer's step.
//!
//! A chain or band that needs, row by row, nothing of a large product but the same rows can begin before the product
//! is complete, on rows that are still in the cache. How that runs is
//! [`Region::run_after_dot`](covector_kernels::rows::Region::run_after_dot); here it is found.

use crate::plan::band::{Grouper, row_counts, worth};
use crate::plan::build::Proto;
use crate::prim::matmul::Matmul;
use covector_kernels::Dtype;
use smallvec::SmallVec;

/// Bytes of a product that are worth it: a smaller one is still in the second-level cache when it is complete, and the
/// pass after it can be divided more evenly.
const MIN_BYTES: usize = 1 << 20;
/// Larger graphs are not searched: who waits for whom is only known of so many units.
const MAX_UNITS: usize = 4096;

impl Grouper<'_> {
    /// Gives large products to the first unit that can run after them part by part.
    pub(crate) fn adopt_products(&mut self) {
        if self.units.len() >= MAX_UNITS {
            return;
        }
        let products: Vec<u32> = (0..self.units.len() as u32).filter(|&w| self.is_large_product(w)).collect();
        if products.is_empty() {
            return;
        }
        let mut read_by: Vec<SmallVec<[u32; 2]>> = vec![SmallVec::new(); self.roots.len()];
        for (p, proto) in (0u32..).zip(self.protos) {
            proto.inputs().iter().for_each(|v| read_by[v.root as usize].push(p));
        }
        for w in products {
            let product = self.units[w as usize].members[0];
            let Proto::Call { first_root: root, .. } = self.protos[product as usize] else { continue };
            let mut readers: SmallVec<[u32; 2]> =
                read_by[root as usize].iter().map(|&p| self.unit_of[p as usize]).collect();
            readers.sort_unstable();
            readers.dedup();
            if let Some((u, rows)) = readers.into_iter().find_map(|u| Some((u, self.rows_after(u, w)?))) {
                self.absorb(u, w);
                let unit = &mut self.units[u as usize];
                (unit.product, unit.rows) = (Some(product), rows);
                self.unit_of[product as usize] = u;
            }
        }
    }

    fn is_large_product(&self, w: u32) -> bool {
        let unit = &self.units[w as usize];
        let (&[member], None) = (&unit.members[..], unit.product) else { return false };
        let Proto::Call { op, avals, pass: None, .. } = &self.protos[member as usize] else {
            return false;
        };
        // Products of other types are not told of before they are complete.
        op.is::<Matmul>()
            && matches!(avals[0].dtype, Dtype::F32 | Dtype::F64)
            && avals[0].shape.iter().product::<usize>() * avals[0].dtype.size() >= MIN_BYTES
    }

    /// The rows for which unit `u` can follow the product that is unit `w`.
    fn rows_after(&mut self, u: u32, w: u32) -> Option<usize> {
        let (unit, product) = (&self.units[u as usize], self.units[w as usize].members[0]);
        let first = &self.protos[*unit.members.first()? as usize];
        if unit.rows == 0 || unit.product.is_some() || self.waits_between(u, w) {
            return None;
        }
        let Proto::Call { avals, .. } = &self.protos[product as usize] else { return None };
        let (columns, outer) = avals[0].shape.split_last()?;
        let all: usize = outer.iter().product();
        let largest = unit.members.iter().map(|&m| self.size(m)).max()?.max(all * columns);
        let counts = row_counts(first.space()?, all.min(unit.rows));
        // As it would be if they were one already.
        self.units[u as usize].product = Some(product);
        self.unit_of[product as usize] = u;
        let rows = counts.into_iter().rev().find(|&rows| {
            let aligned = |&m: &u32| self.aligned(m, u, rows);
            all.is_multiple_of(rows)
                && worth(largest, rows)
                && self.units[u as usize].members.iter().all(aligned)
        });
        self.units[u as usize].product = None;
        self.unit_of[product as usize] = w;
        rows
    }
}
