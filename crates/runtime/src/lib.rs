//! The compiler behind evaluation, and the executor. It knows no arrays and no derivatives.
//!
//! ```text
//! graph --lower--> ir::Graph --passes--> ir::Graph --codegen--> Executable --exec--> values
//! ```
//!
//! [`ir`] holds the graph, its text and its verifier; `passes` is the list of everything that is done to it; `memory`
//! decides where values are stored; `codegen` makes the instructions of an [`executable`], and `exec` runs them. All
//! constants of the decisions are in `cost`.

pub mod aval;
pub mod buffer;
mod codegen;
mod cost;
pub mod error;
mod exec;
pub mod executable;
pub mod ir;
mod memory;
mod passes;
pub mod profile;
#[cfg(test)]
mod samples;
pub mod shape;
mod traffic;

use aval::Avals;
use buffer::Data;
use executable::Executable;
use ir::Graph;

/// Compiles a graph for leaves of these layouts: all passes, then code. `wanted` gives, by step of the listed graph, the
/// element types and shapes that the live-outs must have.
///
/// # Panics
/// Where plans are verified (builds with debug assertions, and `COVECTOR_VERIFY_PLANS=1`): a fault of the planner.
pub fn compile(graph: Graph, leaves: &[Data], wanted: &[(u32, Avals)]) -> Executable {
    let mut executable = codegen::generate(passes::run(graph));
    executable.note_donations(leaves);
    if passes::is_shown() {
        eprintln!("-- instructions, with the slots of memory that they read and write\n{executable:#}");
    }
    if ir::verify::is_on()
        && let Err(why) = memory::verify::verify(&executable, leaves, wanted)
    {
        panic!("[plan] {why}; this is a fault of the planner\n{executable:#}");
    }
    executable
}
