//! The planner's graph: nodes in SSA form, the layouts through which operands see values, and how nodes are grouped.

#[cfg(test)]
mod damaged;
mod graph;
mod layout;
mod operands;
mod stages;
pub(crate) mod text;
pub(crate) mod verify;

pub use graph::{Callable, Graph, Kind, LiveOut, Node, NodeId, Operand};
pub(crate) use layout::reach;
pub use layout::{Layout, reshape_strides};
pub(crate) use operands::Operands;
pub(crate) use stages::{NO_STAGE, Stage, Stages};
