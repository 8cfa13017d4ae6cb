//! The whole planner: what is done to a graph, in this order, and why in this order.

mod dots;
mod epilogue;
mod join;
mod maps;
mod recompute;
mod regions;
pub(crate) mod rows;
mod schedule;
mod spare;
#[cfg(test)]
mod tests;

use super::memory::placement::Placements;
use crate::ir::{Graph, Stages, verify};
pub(crate) use regions::Region;

/// A graph with all that the passes have decided so far.
pub(crate) struct Plan {
    pub(crate) graph: Graph,
    pub(crate) stages: Stages,
    pub(crate) regions: Vec<Region>,
    /// Of each node, whether its result has memory of its own, and not only a tile or scratch.
    pub(crate) in_memory: Vec<bool>,
    /// Of each node, whether its result is needed outside of its stage.
    pub(crate) stored: Vec<bool>,
    pub(crate) placements: Placements,
}

/// A step of planning: what it does and why it is done there, and the function.
pub(crate) struct Pass(&'static str, fn(&mut Plan));

pub(crate) const PASSES: &[Pass] = &[
    Pass("compact: nodes that nothing wanted depends on go, so that no pass looks at them", compact),
    Pass(
        "dots: transposes absorbed, dots that share a matrix merged; first, because both change what can run together",
        dots::run,
    ),
    Pass(
        "maps: elementwise nodes over one shape are gathered in stages; every other node is a stage",
        maps::run,
    ),
    Pass(
        "recompute: cheap operations are done by the one stage that reads them; before regions, which count what is read",
        recompute::run,
    ),
    Pass(
        "spare: one value is stored in place of several functions of it; after the moves that make readers single",
        spare::run,
    ),
    Pass(
        "regions: stages that need the same rows of each other run together, with a dot in front if there is one",
        regions::run,
    ),
    Pass("join: maps of one region become one stage, now that only the region's order counts", join::run),
    Pass(
        "schedule: regions that free as much memory as they take run first; needs to know what is in memory",
        schedule::run,
    ),
    Pass(
        "placement: values are made inside the larger ones that they are parts of; needs the final stages",
        placement,
    ),
];

fn compact(plan: &mut Plan) {
    plan.graph.compact();
}

fn placement(plan: &mut Plan) {
    plan.placements = Placements::new(plan);
}

/// Runs all passes. Each is verified where plans are; `COVECTOR_PLAN=passes` prints the graph after each.
pub(crate) fn run(graph: Graph) -> Plan {
    let (stages, regions) = (Stages::default(), Vec::new());
    let (in_memory, stored, placements) = (Vec::new(), Vec::new(), Placements::default());
    let mut plan = Plan { graph, stages, regions, in_memory, stored, placements };
    check("lower", &plan);
    for Pass(what, pass) in PASSES {
        pass(&mut plan);
        check(what, &plan);
    }
    plan
}

fn check(what: &str, plan: &Plan) {
    if is_shown() {
        eprintln!("-- {what}\n{plan}");
    }
    if verify::is_on()
        && let Err(why) = verify::verify(plan)
    {
        panic!("[plan] after the pass \"{what}\": {why}; this is a fault of the planner\n{plan}");
    }
}

/// Whether the graph is printed after each pass.
pub(crate) fn is_shown() -> bool {
    static ASKED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ASKED.get_or_init(|| std::env::var_os("COVECTOR_PLAN").is_some_and(|value| value == "passes"))
}
