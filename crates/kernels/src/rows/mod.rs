//! Regions: maps, reductions and narrow products that share their outer axes, run together over a few rows at a time.
//!
//! A softmax, a norm or a loss makes several passes over the same rows: a maximum, a map that uses it, a sum, a map
//! that uses the sum. Run one after the other, each pass reads from main memory the result of the pass before. A
//! [`Region`] runs all its stages over one block of rows, then over the next block. Values that only stages of the
//! region read are kept in scratch memory for one block, which stays in the cache.
//!
//! A *row* is one index of the outer axes that all stages share. The planner chooses these axes so that each row of a
//! stage's result needs the same row of earlier results and no other. Reductions over the rows themselves (bias
//! gradients, losses) come last: each part of the rows has accumulators of its own, which are combined in order.
//! The division of rows into parts and blocks depends on the region alone, so results are the same for any number of
//! threads.

mod after_dot;
mod block;
mod region;
mod stage;

pub use region::Region;
#[doc(hidden)]
pub use region::divide_more;
pub use stage::{ReducedOutput, Stage, StageInput, StageOutput, Storage};
