//! Regions over the rows of a matrix product. Each part runs as soon as its rows of the product are written, while they
//! are still in the cache: a bias, an activation, a softmax or an optimizer's step.

use super::Region;
use super::region::Run;
use crate::dot::{OnRows, matmul_reporting};
use crate::strided::{Out, View};
use crate::threads::parallel;
use std::ops::Range;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Acquire},
};

impl Region {
    /// Computes `product = a · b` as [`matmul`](crate::matmul()) does and runs the stages as [`Region::run`] does, with
    /// the same results. Some of the inputs are the product; outputs may be written over it.
    ///
    /// Each row of the region reads its own rows of the product and no others. All rows of the region have equally many
    /// rows of the product, counted over all batches.
    pub fn run_after_dot(
        &self,
        (a, b, product): (View<'_>, View<'_>, Out<'_>),
        inputs: &[View<'_>],
        outputs: &[Out<'_>],
    ) {
        let columns = product.shape().last().copied().unwrap_or(1);
        let all = product.size() / columns.max(1);
        debug_assert!(all.is_multiple_of(self.rows), "a row of the region has whole rows of the product");
        let run = Run::new(self, inputs, outputs);
        let step = all / self.rows;
        let rows = |p: usize| self.part_rows(p).start * step..self.part_rows(p).end * step;
        // For each part, the elements of its rows of the product that are not written yet.
        let missing: Vec<AtomicUsize> =
            (0..self.parts()).map(|p| AtomicUsize::new(rows(p).len() * columns)).collect();
        let on_rows = |written: Range<usize>, columns: usize| {
            for (p, missing) in missing.iter().enumerate().skip(written.start / (self.part * step)) {
                let own = rows(p);
                if own.start >= written.end {
                    break;
                }
                let new = (written.end.min(own.end) - written.start.max(own.start)) * columns;
                // The thread that writes the last elements has seen the elements of the others.
                if missing.fetch_sub(new, AcqRel) == new {
                    run.part(p);
                }
            }
        };
        matmul_reporting(a, b, product, OnRows::new(&on_rows));
        let left: Vec<usize> = (0..missing.len()).filter(|&p| missing[p].load(Acquire) > 0).collect();
        parallel(left.len(), &|i| run.part(left[i]));
        run.finish();
    }
}
