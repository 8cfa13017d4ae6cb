//! Dots that run together with what follows them: a bias and an activation, a softmax, an optimizer's step.
//!
//! A region that needs, row by row, nothing of a large dot but the same rows can begin before the dot is complete, on rows
//! that are still in the cache. [`Region::run_after_dot`](covector_kernels::rows::Region::run_after_dot) says how that runs; here it is
//! found.

use super::regions::Grouper;
use super::rows::{Form, row_counts, worth};
use crate::cost::{MAX_TRACKED, MIN_EPILOGUE_BYTES};
use crate::ir::Kind;
use covector_kernels::Dtype;
use smallvec::SmallVec;

impl Grouper<'_> {
    /// Puts large dots in front of the first region that can run after them part by part. Skipped for larger graphs:
    /// dependences are tracked for this many regions only.
    pub(super) fn adopt_dots(&mut self) {
        if self.regions.len() >= MAX_TRACKED {
            return;
        }
        let dots: Vec<u32> = (0..self.regions.len() as u32).filter(|&w| self.is_large_dot(w)).collect();
        if dots.is_empty() {
            return;
        }
        let readers = self.stages.readers(self.graph);
        for w in dots {
            let dot = self.regions[w as usize].stages[0];
            let result = self.stages.list[dot as usize].nodes[0];
            let mut regions: SmallVec<[u32; 2]> =
                readers[result as usize].iter().map(|&s| self.region_of[s as usize]).collect();
            regions.sort_unstable();
            regions.dedup();
            if let Some((r, rows)) = regions.into_iter().find_map(|r| Some((r, self.rows_after(r, w)?))) {
                self.absorb(r, w);
                let region = &mut self.regions[r as usize];
                (region.dot, region.rows) = (Some(dot), rows);
                self.region_of[dot as usize] = r;
            }
        }
    }

    fn is_large_dot(&self, w: u32) -> bool {
        let Some(stage) = self.regions.get(w as usize).and_then(|region| region.alone()) else {
            return false;
        };
        let node = self.graph.node(self.stages.list[stage as usize].nodes[0]);
        // Only f32 and f64 dots report finished rows.
        matches!(node.kind, Kind::Dot)
            && self.passes[stage as usize].form == Form::Alone
            && matches!(node.aval.dtype, Dtype::F32 | Dtype::F64)
            && node.bytes() >= MIN_EPILOGUE_BYTES
    }

    /// The rows for which region `r` can follow the dot that is region `w`.
    fn rows_after(&mut self, r: u32, w: u32) -> Option<usize> {
        let (region, dot) = (&self.regions[r as usize], self.regions[w as usize].stages[0]);
        let first = *region.stages.first()?;
        if region.rows == 0 || region.dot.is_some() || self.waits_between(r, w) {
            return None;
        }
        let result = self.graph.node(self.stages.list[dot as usize].nodes[0]);
        let (columns, outer) = result.aval.shape.split_last()?;
        let all: usize = outer.iter().product();
        let largest = region.stages.iter().map(|&s| self.passes[s as usize].size()).max()?.max(all * columns);
        let counts = row_counts(&self.passes[first as usize].space, all.min(region.rows));
        // As it would be if they were one already.
        self.regions[r as usize].dot = Some(dot);
        self.region_of[dot as usize] = r;
        let rows = counts.into_iter().rev().find(|&rows| {
            let aligned = |&s: &u32| self.aligned(s, r, rows);
            all.is_multiple_of(rows)
                && worth(largest, rows)
                && self.regions[r as usize].stages.iter().all(aligned)
        });
        self.regions[r as usize].dot = None;
        self.region_of[dot as usize] = w;
        rows
    }
}
