//! Traces: the transforms that a node belongs to, and whether they are still running.
//!
//! A transform makes fresh leaves, marks them with a [`Trace`] of its own, and runs the user's function. Every node that
//! depends on a leaf carries the mark. Therefore a walk of the transform visits only nodes that depend on its leaves,
//! and nested transforms cannot confuse their perturbations. Evaluation keeps the recipe of a marked node while the
//! transform lives.

use smallvec::{SmallVec, smallvec};
use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// A place in a program at which a value was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of Rust.
    Rust(&'static Location<'static>),
    /// A line of another language, written as in that language's messages.
    Other(String),
}

impl Place {
    /// The line that called the function that calls this.
    #[track_caller]
    pub(crate) fn here() -> impl Fn() -> Place {
        let location = Location::caller();
        move || Place::Rust(location)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Rust(location) => location.fmt(f),
            Place::Other(place) => f.write_str(place),
        }
    }
}

/// One run of a transform.
#[derive(Debug)]
pub(crate) struct Trace {
    live: AtomicBool,
    /// Whether the traced function is still running.
    running: AtomicBool,
    /// Traces are numbered as they start: the innermost has the largest number.
    number: u64,
    /// The first place at which a value that depends on the trace's leaves was read.
    read: OnceLock<Place>,
}

impl Trace {
    pub(crate) fn read(&self) -> Option<&Place> {
        self.read.get()
    }
}

/// The traces a node depends on.
#[derive(Debug)]
pub(crate) struct TraceSet {
    traces: SmallVec<[Arc<Trace>; 2]>,
}

impl TraceSet {
    /// Whether any of the traces is alive.
    pub(crate) fn is_live(&self) -> bool {
        self.traces.iter().any(|t| t.live.load(Ordering::Acquire))
    }

    pub(crate) fn contains(&self, trace: &Trace) -> bool {
        self.traces.iter().any(|t| std::ptr::eq(&**t, trace))
    }

    /// Records in the innermost running trace that a value was read. Outer traces do not record it: for them, the function
    /// that read the value has a derivative, and a constant derivative is no mistake.
    pub(crate) fn note_read(&self, place: impl FnOnce() -> Place) {
        let running = self.traces.iter().filter(|t| t.running.load(Ordering::Relaxed));
        if let Some(innermost) = running.max_by_key(|t| t.number) {
            innermost.read.get_or_init(place);
        }
    }

    /// All live traces of several sets; an existing set is shared if it contains them all.
    pub(crate) fn union<'a>(sets: impl Iterator<Item = Option<&'a Arc<TraceSet>>>) -> Option<Arc<TraceSet>> {
        let mut union: Option<Arc<TraceSet>> = None;
        for set in sets.flatten() {
            match &union {
                None => {
                    if set.is_live() {
                        union = Some(set.clone());
                    }
                }
                Some(have) if Arc::ptr_eq(have, set) => {}
                Some(have) => {
                    let fresh: SmallVec<[Arc<Trace>; 2]> = set
                        .traces
                        .iter()
                        .filter(|t| t.live.load(Ordering::Acquire) && !have.contains(t))
                        .cloned()
                        .collect();
                    if !fresh.is_empty() {
                        let traces = have.traces.iter().cloned().chain(fresh).collect();
                        union = Some(Arc::new(TraceSet { traces }));
                    }
                }
            }
        }
        union
    }
}

static TRACES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread is inside a function that some transform is tracing.
pub fn is_tracing() -> bool {
    DEPTH.get() > 0
}

/// Counts this thread as tracing until dropped, also when the function panics or fails.
pub(crate) struct Tracing(std::marker::PhantomData<*const ()>);

impl Tracing {
    pub(crate) fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self(std::marker::PhantomData)
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Owns a trace: while this lives, nodes that depend on the trace's leaves keep their recipes.
#[derive(Debug)]
pub(crate) struct TraceGuard {
    pub(crate) set: Arc<TraceSet>,
}

impl TraceGuard {
    pub(crate) fn new() -> Self {
        let trace = Arc::new(Trace {
            live: AtomicBool::new(true),
            running: AtomicBool::new(true),
            number: TRACES.fetch_add(1, Ordering::Relaxed),
            read: OnceLock::new(),
        });
        Self { set: Arc::new(TraceSet { traces: smallvec![trace] }) }
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.set.traces[0]
    }

    /// Records that the traced function has returned. Later reads do not belong to it.
    pub(crate) fn returned(&self) {
        self.trace().running.store(false, Ordering::Relaxed);
    }
}

impl Drop for TraceGuard {
    fn drop(&mut self) {
        self.returned();
        self.set.traces[0].live.store(false, Ordering::Release);
    }
}
