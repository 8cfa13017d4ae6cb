//! A node of the graph: the recipe of its values, the values once they are computed, and the mark of a walk.

use crate::array::{Aval, Inputs, Outs};
use crate::buffer::Data;
use crate::primitive::Op;
use crate::trace::{Trace, TraceSet};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// The primitive and the inputs from which a node's values are computed.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) op: Op,
    pub(crate) inputs: Inputs,
}

/// The amount of pending work behind a node, for bounded laziness.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pending {
    /// The length of the longest chain of pending nodes.
    pub(crate) depth: u32,
    /// KiB of evaluated arrays held along such a chain.
    pub(crate) kib: u32,
}

/// The mark of a graph walk in a node: the walk's number, and the node's place in the walk's list. A lookup here is much
/// cheaper than in a map. [`Places`](crate::graph::Places) decides which walk may write marks.
#[derive(Default)]
pub(crate) struct Mark {
    pub(crate) walk: AtomicU64,
    pub(crate) place: AtomicU32,
}

pub(crate) struct Node {
    pub(crate) avals: Outs<Aval>,
    data: OnceLock<Outs<Data>>,
    recipe: Mutex<Option<Recipe>>,
    /// The traces whose leaves the node depends on.
    pub(crate) traces: Option<Arc<TraceSet>>,
    pub(crate) pending: Pending,
    /// Whether the node's evaluation is scheduled. Nodes computed from it count no pending work behind it.
    due: AtomicBool,
    /// Whether the node is a number that is written in a program; see [`Array::literal`](crate::Array::literal).
    pub(crate) literal: bool,
    pub(crate) mark: Mark,
}

impl Node {
    /// A node with values, with a recipe, or with neither as the abstract argument of a function.
    #[inline]
    pub(crate) fn new(
        avals: Outs<Aval>,
        data: Option<Data>,
        recipe: Option<Recipe>,
        traces: Option<Arc<TraceSet>>,
        pending: Pending,
    ) -> Self {
        Self {
            avals,
            data: data.map_or_else(OnceLock::new, |data| OnceLock::from(Outs::from_buf([data]))),
            recipe: Mutex::new(recipe),
            traces,
            pending,
            due: AtomicBool::new(false),
            literal: false,
            mark: Mark::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Recipe>> {
        self.recipe.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The values, if they exist.
    #[inline]
    pub(crate) fn data(&self) -> Option<&Outs<Data>> {
        self.data.get()
    }

    /// The recipe, if the node has one.
    pub(crate) fn recipe(&self) -> Option<Recipe> {
        self.lock().clone()
    }

    /// Reads the recipe in place. `f` must not use the node itself.
    pub(crate) fn peek_recipe<R>(&self, f: impl FnOnce(&Recipe) -> Option<R>) -> Option<R> {
        self.lock().as_ref().and_then(f)
    }

    /// Takes the recipe out in order to compute the values. The node must then get values or another recipe.
    pub(crate) fn take_recipe(&self) -> Option<Recipe> {
        self.lock().take()
    }

    /// Stores a recipe.
    pub(crate) fn put_recipe(&self, recipe: Recipe) {
        *self.lock() = Some(recipe);
    }

    /// Takes the values out of a node that has no other owner.
    pub(crate) fn take_data(&mut self) -> Option<Outs<Data>> {
        self.data.take()
    }

    /// Stores computed values. Drops the recipe unless a live trace may still differentiate through it.
    pub(crate) fn fill(&self, data: Outs<Data>) {
        debug_assert!(
            data.iter().zip(&self.avals).all(|(d, a)| d.shape() == &a.shape[..] && d.dtype() == a.dtype),
            "evaluation disagrees with infer: {:?} against {:?}",
            data.iter().map(|d| (d.dtype(), d.shape().to_vec())).collect::<Vec<_>>(),
            self.avals
        );
        // Another thread may have stored its values first; they are equal.
        let _ = self.data.set(data);
        self.settle();
    }

    /// Drops the recipe of a node that has values and is not traced.
    pub(crate) fn settle(&self) {
        if self.data.get().is_some() && !self.is_live() {
            let mut recipe = self.lock().take();
            if recipe.is_some() {
                bury(&mut recipe);
            }
        }
    }

    /// Records that the node's evaluation is scheduled.
    pub(crate) fn set_due(&self) {
        self.due.store(true, Ordering::Relaxed);
    }

    /// Whether the node's evaluation is scheduled.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.due.load(Ordering::Relaxed)
    }

    /// Whether the node depends on a leaf of a trace that is still alive.
    #[inline]
    pub(crate) fn is_live(&self) -> bool {
        self.traces.as_ref().is_some_and(|t| t.is_live())
    }

    /// Whether the node depends on a leaf of this trace.
    #[inline]
    pub(crate) fn depends_on(&self, trace: &Trace) -> bool {
        self.traces.as_ref().is_some_and(|t| t.contains(trace))
    }
}

/// Recipes that wait to be dropped, and the depth of nested drops on this thread.
struct Graves {
    queue: RefCell<Vec<Recipe>>,
    depth: Cell<u32>,
}

/// Levels of a graph that are dropped by recursion, which costs less than the queue.
const MAX_DROP_DEPTH: u32 = 16;

thread_local! {
    static GRAVES: Graves = const { Graves { queue: RefCell::new(Vec::new()), depth: Cell::new(0) } };
}

/// Drops a recipe without deep recursion: a chain of a million nodes is dropped in one loop, and so are graphs that
/// primitives hold, because recipes further down are queued.
fn bury(recipe: &mut Option<Recipe>) {
    // The queue of a thread that ends may no longer exist; then the recipe is dropped here.
    let _ = GRAVES.try_with(|graves| {
        let depth = graves.depth.get();
        if depth == MAX_DROP_DEPTH {
            graves.queue.borrow_mut().extend(recipe.take());
            return;
        }
        graves.depth.set(depth + 1);
        *recipe = None;
        if depth == 0 {
            let next = || graves.queue.borrow_mut().pop();
            while let Some(recipe) = next() {
                drop(recipe);
            }
        }
        graves.depth.set(depth);
    });
}

impl Drop for Node {
    fn drop(&mut self) {
        let slot = self.recipe.get_mut().unwrap_or_else(|e| e.into_inner());
        if slot.is_some() {
            bury(slot);
        }
    }
}
