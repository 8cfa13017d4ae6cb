//! The compiler behind evaluation, and the executor. It knows no arrays and no derivatives.
//!
//! ```text
//! graph --lower--> ir::Graph --passes--> ir::Graph --codegen--> Executable --exec--> values
//! ```
//!
//! [`ir`] holds the graph, its text and its verifier; [`passes`] is the list of everything that is done to it;
//! [`memory`] decides where values are stored; [`codegen`] makes the instructions of an [`executable`], and [`exec`] runs
//! them. All constants of the decisions are in [`cost`].

pub(crate) mod codegen;
pub(crate) mod cost;
pub(crate) mod exec;
pub(crate) mod executable;
pub(crate) mod ir;
pub(crate) mod memory;
pub(crate) mod passes;
mod traffic;

use crate::array::Aval;
use crate::buffer::Data;
use executable::Executable;
use ir::Graph;
use smallvec::SmallVec;

/// Compiles a graph for leaves of these layouts: all passes, then code. `wanted` says the element types and shapes that
/// the live-outs must have.
pub(crate) fn compile(graph: Graph, leaves: &[Data], wanted: &[(u32, SmallVec<[Aval; 1]>)]) -> Executable {
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
