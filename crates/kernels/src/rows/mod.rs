//! Regions: chains and reductions that share their outer axes, run together over a few rows at a time.
//!
//! A softmax, a norm or a loss is a handful of passes over the same rows: a maximum, a chain that uses it, a sum, a
//! chain that uses that. Run one after the other, each pass reads from memory what the one before wrote there. A
//! [`Region`] runs all its stages over a block of rows, then over the next block; what only its own stages read lives
//! in scratch memory the size of a block, which stays in the cache.
//!
//! A *row* is any outer part of the iteration space, chosen by the planner so that every stage needs, for a row of
//! its result, nothing but the same row of what earlier stages made. Reductions over the rows themselves (bias
//! gradients, losses) end a region: each part of the rows keeps a result of its own, and these are joined in order.
//! How rows are split into parts and blocks depends on the region alone, so results are the same for any number of
//! threads.

mod after_dot;
mod block;
mod region;
mod stage;

pub use region::Region;
pub use stage::{ReducedOutput, Stage, StageInput, StageOutput, Storage};
