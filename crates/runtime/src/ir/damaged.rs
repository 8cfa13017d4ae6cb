//! Planned graphs pass the verifier; damaged, they are refused, with the node or stage and the reason. Each kind of damage
//! is done to each graph in each place where it can be done.

use super::verify::verify;
use super::{Kind, Layout, Operand};
use crate::aval::Aval;
use crate::passes::{self, Plan};
use crate::shape::row_major_strides;
use covector_kernels::Dtype;
use smallvec::smallvec;

fn samples() -> Vec<(&'static str, Plan)> {
    crate::samples::samples().into_iter().map(|sample| (sample.name, passes::run(sample.graph))).collect()
}

#[test]
fn planned_graphs_pass() {
    for (name, plan) in samples() {
        verify(&plan).unwrap_or_else(|why| panic!("{name}: {why}\n{plan}"));
    }
    let samples = samples();
    let any = |f: &dyn Fn(&Plan) -> bool| samples.iter().any(|(_, plan)| f(plan));
    assert!(any(&|plan| plan.regions.iter().any(|region| region.stages.len() > 2)));
    assert!(any(&|plan| plan.regions.iter().any(|region| region.dot.is_some())));
    assert!(any(&|plan| plan.graph.nodes.iter().any(|node| matches!(node.kind, Kind::Place { .. }))));
}

/// Damages a plan in a place; false if there is no such place, or nothing to damage there.
type Damage = fn(&mut Plan, usize) -> bool;

/// An operand of the node at `place`, with its layout written out.
fn spelled_out(plan: &mut Plan, place: usize) -> Option<&mut Layout> {
    let x = plan.graph.nodes.get(place)?.operands.first()?.clone();
    let layout = plan.graph.layout(&x);
    if layout.shape.contains(&0) {
        return None;
    }
    let x = &mut plan.graph.nodes[place].operands[0];
    x.layout = Some(Box::new(layout));
    x.layout.as_deref_mut()
}

/// Whether the region at `place` has several stages.
fn shared(plan: &Plan, place: usize) -> bool {
    plan.regions.get(place).is_some_and(|region| region.stages.len() > 1)
}

const DAMAGES: &[(&str, &[&str], Damage)] = &[
    ("an operand is its own result", &["not an earlier node"], |plan, place| {
        let id = place as u32;
        let Some(x) = plan.graph.nodes.get_mut(place).and_then(|node| node.operands.first_mut()) else {
            return false;
        };
        x.value = id;
        true
    }),
    ("an operand is a later node", &["not an earlier node"], |plan, place| {
        let last = plan.graph.nodes.len() as u32 + 7;
        let Some(x) = plan.graph.nodes.get_mut(place).and_then(|node| node.operands.last_mut()) else {
            return false;
        };
        x.value = last;
        true
    }),
    ("a layout begins past its value", &["reaches"], |plan, place| {
        spelled_out(plan, place).map(|layout| layout.shift += 1 << 30).is_some()
    }),
    ("a layout begins in front of its value", &["reaches"], |plan, place| {
        spelled_out(plan, place).map(|layout| layout.shift -= 1 << 30).is_some()
    }),
    ("a stride of a layout is missing", &["stride for each axis"], |plan, place| {
        spelled_out(plan, place).is_some_and(|layout| layout.strides.pop().is_some())
    }),
    (
        "an operand is dropped",
        &["operands instead of", "at 1 places", "at 3 places", "places"],
        |plan, place| {
            let Some(node) = plan.graph.nodes.get_mut(place) else { return false };
            !matches!(node.kind, Kind::Call(_)) && node.operands.pop().is_some()
        },
    ),
    (
        "a map has a result of another shape",
        &[
            "does not broadcast",
            "belong beside",
            "not listed",
            "rows",
            "give",
            "multiply",
            "noted",
            "part of",
            "inside",
            "reaches",
        ],
        |plan, place| {
            let Some(node) = plan.graph.nodes.get_mut(place) else { return false };
            if !node.is_map() || node.aval.shape.is_empty() || node.aval.shape.iter().product::<usize>() == 1
            {
                return false;
            }
            node.aval.shape[0] = 1;
            node.aval.shape[node.operands.len() - 1..].iter().len() > 0
                && node.operands.iter().all(|x| x.layout.is_none())
        },
    ),
    (
        "a reduction over another axis",
        &["does not give", "rows", "divided", "complete after"],
        |plan, place| {
            let Some(node) = plan.graph.nodes.get_mut(place) else { return false };
            let Kind::Reduce { axes, .. } = &mut node.kind else { return false };
            *axes = smallvec![9];
            true
        },
    ),
    ("the factors of a dot change places", &["do not multiply", "not listed"], |plan, place| {
        let Some(node) = plan.graph.nodes.get_mut(place) else { return false };
        if !matches!(node.kind, Kind::Dot) {
            return false;
        }
        node.operands.swap(0, 1);
        let (a, b) = (node.operands[0].clone(), node.operands[1].clone());
        let shape = |x: &Operand| plan.graph.shape(x).to_vec();
        // Square matrices may change places.
        shape(&a).last() != shape(&b).iter().rev().nth(1)
            || shape(&a)[..shape(&a).len() - 1] != shape(&b)[..1]
    }),
    ("a dot of another element type", &["do not multiply"], |plan, place| {
        let Some(node) = plan.graph.nodes.get_mut(place) else { return false };
        node.aval.dtype = Dtype::F64;
        matches!(node.kind, Kind::Dot)
    }),
    ("parts overlap", &["overlaps", "not inside"], |plan, place| {
        let Some(Kind::Place { starts }) = plan.graph.nodes.get_mut(place).map(|node| &mut node.kind) else {
            return false;
        };
        let Some(start) = starts.last_mut().and_then(|s| s.iter_mut().find(|s| **s > 0)) else {
            return false;
        };
        *start -= 1;
        true
    }),
    ("a part is outside of the whole", &["not inside"], |plan, place| {
        let Some(Kind::Place { starts }) = plan.graph.nodes.get_mut(place).map(|node| &mut node.kind) else {
            return false;
        };
        starts[0][0] += 1 << 20;
        true
    }),
    ("a part is missing", &["the parts have"], |plan, place| {
        let Some(node) = plan.graph.nodes.get_mut(place) else { return false };
        let Kind::Place { starts } = &mut node.kind else { return false };
        starts.pop();
        node.operands.pop();
        true
    }),
    ("a place node of another element type", &["the whole"], |plan, place| {
        let Some(node) = plan.graph.nodes.get_mut(place) else { return false };
        node.aval.dtype = Dtype::I8;
        matches!(node.kind, Kind::Place { .. })
    }),
    ("a leaf of another number", &["not in order", "no such leaf"], |plan, place| {
        let Some(Kind::Leaf(leaf)) = plan.graph.nodes.get_mut(place).map(|node| &mut node.kind) else {
            return false;
        };
        *leaf += 5;
        place > 0
    }),
    ("an output that follows no call", &["does not follow", "operands instead"], |plan, place| {
        let Some(node) = plan.graph.nodes.get_mut(place) else { return false };
        let map = node.is_map();
        node.kind = Kind::Nth(1);
        map
    }),
    ("a node is in two stages", &["two stages", "noted elsewhere", "belong beside"], |plan, place| {
        let Some(&id) = plan.stages.list.get(place).and_then(|stage| stage.nodes.first()) else {
            return false;
        };
        let other = plan.stages.list.iter().position(|s| !s.nodes.is_empty() && s.nodes[0] != id);
        other.map(|other| plan.stages.list[other].nodes.push(id)).is_some()
    }),
    (
        "a node is in no stage",
        &["in no stage", "noted elsewhere", "is empty", "no nodes", "does not read"],
        |plan, place| plan.stages.list.get_mut(place).is_some_and(|stage| stage.nodes.pop().is_some()),
    ),
    ("a stage runs its nodes backwards", &["noted elsewhere", "runs before"], |plan, place| {
        let Some(stage) = plan.stages.list.get_mut(place).filter(|s| s.nodes.len() > 1) else { return false };
        stage.nodes.reverse();
        true
    }),
    ("a stage lists an input that it does not read", &["does not read", "runs before"], |plan, place| {
        let Some(stage) = plan.stages.list.get_mut(place).filter(|stage| !stage.nodes.is_empty()) else {
            return false;
        };
        let strides = row_major_strides(&[1]);
        let layout = Some(Box::new(Layout { shape: smallvec![1], strides, shift: 0 }));
        stage.inputs.add(&Operand { value: 0, layout });
        true
    }),
    ("a stage does not list an input", &["not listed"], |plan, place| {
        let Some(stage) = plan.stages.list.get_mut(place).filter(|stage| !stage.inputs.is_empty()) else {
            return false;
        };
        stage.inputs.retain(|_| false);
        true
    }),
    ("regions change places", &["runs before"], |plan, place| {
        let Some(later) = plan.regions.get(place + 1) else { return false };
        let made = |x: &Operand| {
            plan.stages.maker(x.value).is_some_and(|m| plan.regions[place].all().any(|s| s == m))
        };
        let depends = later.all().any(|s| plan.stages.list[s as usize].inputs.iter().any(made));
        plan.regions.swap(place, place + 1);
        depends
    }),
    ("stages of a region change places", &["runs before"], |plan, place| {
        if !shared(plan, place) {
            return false;
        }
        let stages = &plan.regions[place].stages;
        let made = |x: &Operand| plan.stages.maker(x.value) == Some(stages[0]);
        let depends = plan.stages.list[stages[1] as usize].inputs.iter().any(made);
        plan.regions[place].stages.swap(0, 1);
        depends
    }),
    (
        "a stage is in two regions",
        &["two regions", "runs before", "cannot be divided", "every row", "other rows"],
        |plan, place| {
            let Some(stage) = plan.regions.get(place).and_then(|r| r.stages.first().copied()) else {
                return false;
            };
            let other = (0..plan.regions.len()).find(|&r| r != place);
            other.map(|other| plan.regions[other].stages.push(stage)).is_some()
        },
    ),
    ("a stage is in no region", &["in no region", "runs before"], |plan, place| {
        place < plan.regions.len() && {
            plan.regions.remove(place);
            !plan.regions.is_empty()
        }
    }),
    ("a region waits for itself", &["runs before"], |plan, place| {
        // The first stage of a region runs with a later one, which needs what runs between.
        if !shared(plan, place) {
            return false;
        }
        let last = plan.regions[place].stages.pop();
        let Some(last) = last else { return false };
        let mut region = passes::Region::default();
        region.stages.push(last);
        plan.regions.insert(0, region);
        plan.stages.list[last as usize].inputs.iter().any(|x| plan.stages.maker(x.value).is_some())
    }),
    (
        "a region of another number of rows",
        &["cannot be divided", "other rows", "after the last row", "every row"],
        |plan, place| {
            if !shared(plan, place) {
                return false;
            }
            plan.regions[place].rows = 7;
            true
        },
    ),
    ("a value that another region reads is in no memory", &["not in memory"], |plan, place| {
        let Some(region) = plan.regions.get(place) else { return false };
        let mut inputs = region.all().flat_map(|s| plan.stages.list[s as usize].inputs.iter());
        let outside =
            |x: &&Operand| plan.stages.maker(x.value).is_some_and(|m| !region.all().any(|s| s == m));
        let Some(value) = inputs.find(outside).map(|x| x.value) else { return false };
        plan.in_memory[value as usize] = false;
        true
    }),
    ("a live-out is in no memory", &["not in memory"], |plan, place| {
        let Some(live) = plan.graph.live_outs.get(place) else { return false };
        let value = live.values[0].value;
        plan.in_memory[value as usize] = false;
        true
    }),
    ("a live-out of a missing node", &["not an earlier node"], |plan, place| {
        let nodes = plan.graph.nodes.len() as u32;
        let Some(live) = plan.graph.live_outs.get_mut(place) else { return false };
        live.values[0] = Operand::whole(nodes);
        true
    }),
    (
        "a value for all rows is read by a row",
        &["after the last row", "not in memory", "cannot be divided", "belong beside", "other rows"],
        |plan, place| {
            let Some(node) = plan.graph.nodes.get(place) else { return false };
            let (Kind::Reduce { axes, .. }, [x]) = (&node.kind, &node.operands[..]) else { return false };
            // As if the reduction went over the rows.
            let per_row = !axes.contains(&0);
            let shape = plan.graph.shape(x).to_vec();
            let read = plan.graph.nodes[place + 1..]
                .iter()
                .any(|n| n.operands.iter().any(|o| o.value as usize == place));
            let beside = plan.stages.maker(place as u32).is_some_and(|stage| {
                plan.regions.iter().any(|r| r.stages.len() > 1 && r.stages.contains(&stage))
            });
            if !per_row || !read || !beside || shape.len() != 2 || shape[0] < 2 {
                return false;
            }
            let node = &mut plan.graph.nodes[place];
            node.kind = Kind::Reduce { kind: covector_kernels::Reduce::Sum, axes: smallvec![0, 1] };
            node.aval = Aval::new(node.aval.dtype, [1, 1]);
            let id = place as u32;
            plan.graph.replace(|x| {
                if x.value == id {
                    x.layout = None;
                }
            });
            for stage in &mut plan.stages.list {
                let reads = stage.inputs.iter().any(|x| x.value == id);
                stage.inputs.retain(|x| x.value != id);
                if reads {
                    stage.inputs.add(&Operand::whole(id));
                }
            }
            true
        },
    ),
];

#[test]
fn every_kind_of_damage_to_a_graph_is_named() {
    for (what, words, damage) in DAMAGES {
        let mut done = 0;
        for s in 0..samples().len() {
            for place in 0..48 {
                let (name, mut plan) = samples().swap_remove(s);
                if place >= plan.graph.nodes.len() {
                    break;
                }
                if !damage(&mut plan, place) {
                    continue;
                }
                done += 1;
                let Err(why) = verify(&plan) else {
                    panic!("{what} in {name} at {place} is not refused:\n{plan}");
                };
                assert!(words.iter().any(|word| why.contains(word)), "{what} in {name} at {place}: {why}");
            }
        }
        assert!(done > 0, "nothing to damage: {what}");
    }
}
