//! Regions over the rows of a matrix product, each part run as soon as its rows are there: a bias, an activation, a
//! softmax or an optimizer's step finds them in the cache.

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
    /// Computes `product = a · b` as [`matmul`](crate::matmul()) does, and runs the stages as [`Region::run`] does, with
    /// the same results. Some of the inputs are the product, which outputs may be written over.
    ///
    /// A row of the region needs of the product only rows of its own: as many for each, all batches one after the other.
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
        // Elements of the product that a part waits for.
        let waits: Vec<AtomicUsize> =
            (0..self.parts()).map(|p| AtomicUsize::new(rows(p).len() * columns)).collect();
        let callback = |callback: Range<usize>, columns: usize| {
            for (p, waits) in waits.iter().enumerate().skip(callback.start / (self.part * step)) {
                let own = rows(p);
                if own.start >= callback.end {
                    break;
                }
                let there = (callback.end.min(own.end) - callback.start.max(own.start)) * columns;
                // Who brings the last of them has seen what the others wrote.
                if waits.fetch_sub(there, AcqRel) == there {
                    run.part(p);
                }
            }
        };
        matmul_reporting(a, b, product, OnRows::new(&callback));
        let left: Vec<usize> = (0..waits.len()).filter(|&p| waits[p].load(Acquire) > 0).collect();
        parallel(left.len(), &|i| run.part(left[i]));
        run.finish();
    }
}
