//! Where the time goes: every instruction that runs while a [`Profiler`] lives, with its bytes and operations.
//!
//! ```
//! use covector_core::{Array, profile::Profiler};
//! let x = Array::new([[1.0f32, 2.0], [3.0, 4.0]]);
//! let profiler = Profiler::start();
//! x.matmul(&x).try_eval()?;
//! let trace = profiler.finish();
//! let product = &trace.events().iter().find(|e| e.name.contains("matmul")).unwrap();
//! assert_eq!(product.flops, 16);
//! println!("{}", trace.summary());
//! # Ok::<(), covector_core::Error>(())
//! ```
//!
//! [`Trace::save`] writes what Perfetto (<https://ui.perfetto.dev>) and `chrome://tracing` open, or a picture.

mod chrome;
mod svg;

use crate::error::{Error, Result};
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A profiler keeps this many events and counts the rest.
const MAX_EVENTS: usize = 1 << 21;

/// How many profilers are alive. Read once for each run of a plan; all else is behind the lock.
static ALIVE: AtomicUsize = AtomicUsize::new(0);
static RUNNING: Mutex<Vec<Running>> = Mutex::new(Vec::new());

thread_local! {
    static THREAD: u32 = {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        NEXT.fetch_add(1, Relaxed)
    };
    /// Events that this thread has recorded so far.
    static RECORDED: Cell<u64> = const { Cell::new(0) };
}

/// What an [`Event`] is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// An instruction of a plan: a map (elementwise operations), a region of maps and reductions, or one other operation.
    Kernel,
    /// A call that ran a plan of its own, such as that of a compiled function. Its kernels are events themselves, so
    /// it counts neither bytes nor operations.
    Nested,
    /// Planning a graph of a structure that was not known.
    Plan,
    /// Tracing a function for `compile`.
    Trace,
}

impl EventKind {
    /// The kind as a word: `kernel`, `nested`, `plan` or `trace`.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Kernel => "kernel",
            EventKind::Nested => "nested",
            EventKind::Plan => "plan",
            EventKind::Trace => "trace",
        }
    }
}

/// Something that ran, or that got something ready to run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// What ran: the line that `plan_text` has for an instruction.
    pub name: Arc<str>,
    /// What it is.
    pub kind: EventKind,
    /// When it started, in microseconds after the profiler did.
    pub start_us: f64,
    /// How long it took, in microseconds.
    pub duration_us: f64,
    /// The number of the thread that asked for the value; the pool's threads work for it and have no events.
    pub thread: u32,
    /// Bytes of the inputs, each memory counted once. What a broadcast repeats counts once, too.
    pub bytes_read: u64,
    /// Bytes of the outputs.
    pub bytes_written: u64,
    /// Arithmetic operations on elements, counted from the shapes: `2·m·n·k` for a matrix product, two for each
    /// product in a convolution, one for each element and operation of a map, one for each element that is reduced.
    /// Moving, sorting and drawing numbers count none.
    pub flops: u64,
}

impl Event {
    /// Bytes read and written.
    pub fn bytes(&self) -> u64 {
        self.bytes_read + self.bytes_written
    }
}

#[derive(Clone)]
struct Raw {
    name: Arc<str>,
    kind: EventKind,
    start: Instant,
    duration: Duration,
    thread: u32,
    traffic: Traffic,
    flops: u64,
}

/// Bytes that an instruction reads and writes.
#[derive(Clone, Copy, Default)]
pub struct Traffic {
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

struct Running {
    id: u64,
    since: Instant,
    events: Vec<Raw>,
    dropped: u64,
}

fn running() -> MutexGuard<'static, Vec<Running>> {
    RUNNING.lock().unwrap_or_else(|e| e.into_inner())
}

/// Whether a profiler collects events.
pub fn is_recording() -> bool {
    ALIVE.load(Relaxed) != 0
}

fn record(event: &Raw) {
    RECORDED.set(RECORDED.get() + 1);
    for profiler in running().iter_mut().filter(|p| event.start >= p.since) {
        if profiler.events.len() < MAX_EVENTS {
            profiler.events.push(event.clone());
        } else {
            profiler.dropped += 1;
        }
    }
}

/// Measures one instruction.
pub struct Timer {
    start: Instant,
    before: u64,
}

impl Timer {
    /// Starts the clock.
    pub fn start() -> Self {
        Self { before: RECORDED.get(), start: Instant::now() }
    }

    /// The instruction is done.
    pub fn stop(self, name: &Arc<str>, traffic: Traffic, flops: u64) {
        let duration = self.start.elapsed();
        let nested = RECORDED.get() != self.before;
        let (kind, traffic, flops) = match nested {
            true => (EventKind::Nested, Traffic::default(), 0),
            false => (EventKind::Kernel, traffic, flops),
        };
        let name = name.clone();
        record(&Raw { name, kind, start: self.start, duration, thread: THREAD.with(|t| *t), traffic, flops });
    }
}

/// Measures from its making to its end.
pub struct Span {
    name: &'static str,
    kind: EventKind,
    start: Instant,
}

/// A span, if a profiler collects events.
pub fn span(kind: EventKind, name: &'static str) -> Option<Span> {
    is_recording().then(|| Span { name, kind, start: Instant::now() })
}

impl Drop for Span {
    fn drop(&mut self) {
        record(&Raw {
            duration: self.start.elapsed(),
            name: self.name.into(),
            kind: self.kind,
            start: self.start,
            thread: THREAD.with(|t| *t),
            traffic: Traffic::default(),
            flops: 0,
        });
    }
}

/// Collects what all threads run from [`Profiler::start`] until it is finished or dropped.
///
/// Arrays are lazy: their work is done, and seen, where their values are asked for. Several profilers may live at once,
/// each with the events of its own time. While none lives, nothing is measured and nothing is slower.
#[derive(Debug)]
#[must_use = "it records until it is dropped; finish it for the trace"]
pub struct Profiler {
    id: u64,
    since: Instant,
}

impl Profiler {
    /// Starts to collect.
    pub fn start() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Relaxed);
        let mut all = running();
        let since = Instant::now();
        all.push(Running { id, since, events: Vec::new(), dropped: 0 });
        ALIVE.store(all.len(), Relaxed);
        Self { id, since }
    }

    /// What was collected so far; it goes on.
    pub fn so_far(&self) -> Trace {
        let all = running();
        let found = all.iter().find(|p| p.id == self.id);
        let (events, dropped) = found.map_or_else(Default::default, |p| (p.events.clone(), p.dropped));
        drop(all);
        Trace::new(self.since, events, dropped)
    }

    /// Stops, and gives what was collected.
    pub fn finish(self) -> Trace {
        let (events, dropped) = self.leave();
        Trace::new(self.since, events, dropped)
    }

    fn leave(&self) -> (Vec<Raw>, u64) {
        let mut all = running();
        let place = all.iter().position(|p| p.id == self.id);
        let found = place.map(|i| all.remove(i));
        ALIVE.store(all.len(), Relaxed);
        found.map_or_else(Default::default, |p| (p.events, p.dropped))
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What a [`Profiler`] has collected.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    events: Vec<Event>,
    /// The time of each event without that of events inside it, in microseconds.
    own_us: Vec<f64>,
    duration_us: f64,
    dropped: u64,
}

/// All events of one name and kind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Total {
    /// Their name.
    pub name: Arc<str>,
    /// What they are.
    pub kind: EventKind,
    /// How many there were.
    pub count: usize,
    /// Their time without that of events inside them, in microseconds.
    pub own_us: f64,
    /// Bytes read and written.
    pub bytes: u64,
    /// Arithmetic operations; see [`Event::flops`].
    pub flops: u64,
}

/// Billions in a second, of so many in so many microseconds; `None` where there are none, or no time.
fn rate(count: u64, us: f64) -> Option<f64> {
    (count > 0 && us > 0.0).then(|| count as f64 / (us * 1e3))
}

impl Total {
    /// GB/s: bytes for the time.
    pub fn bandwidth(&self) -> Option<f64> {
        rate(self.bytes, self.own_us)
    }

    /// GFLOP/s: operations for the time.
    pub fn flop_rate(&self) -> Option<f64> {
        rate(self.flops, self.own_us)
    }
}

impl Trace {
    fn new(since: Instant, raw: Vec<Raw>, dropped: u64) -> Self {
        let us = |d: Duration| d.as_nanos() as f64 / 1e3;
        let duration_us = us(since.elapsed());
        let mut events: Vec<Event> = raw
            .into_iter()
            .map(|r| Event {
                name: r.name,
                kind: r.kind,
                start_us: us(r.start.saturating_duration_since(since)),
                duration_us: us(r.duration),
                thread: r.thread,
                bytes_read: r.traffic.read,
                bytes_written: r.traffic.written,
                flops: r.flops,
            })
            .collect();
        // What encloses others before these, also where the clock cannot tell their starts apart.
        events
            .sort_by(|a, b| a.start_us.total_cmp(&b.start_us).then(b.duration_us.total_cmp(&a.duration_us)));
        let own_us = own_times(&events);
        Self { events, own_us, duration_us, dropped }
    }

    /// What ran, by start.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The same, by value.
    pub fn into_events(self) -> Vec<Event> {
        self.events
    }

    /// How long the profiler collected, in microseconds.
    pub fn duration_us(&self) -> f64 {
        self.duration_us
    }

    /// How many events were not kept, because there were more than two million.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// One entry for each kernel, and for planning and tracing; what took longest first.
    pub fn totals(&self) -> Vec<Total> {
        let mut place: FxHashMap<(&str, EventKind), usize> = FxHashMap::default();
        let mut totals: Vec<Total> = Vec::new();
        for (event, own_us) in self.events.iter().zip(&self.own_us) {
            let i = *place.entry((&event.name, event.kind)).or_insert_with(|| {
                let (name, kind) = (event.name.clone(), event.kind);
                totals.push(Total { name, kind, count: 0, own_us: 0.0, bytes: 0, flops: 0 });
                totals.len() - 1
            });
            totals[i].count += 1;
            totals[i].own_us += own_us;
            totals[i].bytes += event.bytes();
            totals[i].flops += event.flops;
        }
        totals.sort_by(|a, b| b.own_us.total_cmp(&a.own_us));
        totals
    }

    /// A table with a line for each kernel: how often it ran, its time, its share of all kernels' time, the rates at
    /// which it moved bytes and did arithmetic. What took longest comes first.
    pub fn summary(&self) -> String {
        const NAME: usize = 72;
        let totals = self.totals();
        let all: f64 = totals.iter().map(|t| t.own_us).sum();
        let mut text =
            format!("{:>7} {:>10} {:>7} {:>8} {:>8}  kernel\n", "count", "ms", "share", "GB/s", "GFLOP/s");
        let shown = |rate: Option<f64>| rate.map_or_else(|| "-".into(), |r| format!("{r:.1}"));
        for t in &totals {
            let share = if all > 0.0 { t.own_us / all * 100.0 } else { 0.0 };
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{:>7} {:>10.3} {share:>6.1}% {:>8} {:>8}  {}",
                t.count,
                t.own_us / 1e3,
                shown(t.bandwidth()),
                shown(t.flop_rate()),
                shortened(&t.name, NAME)
            );
        }
        let _ = writeln!(
            text,
            "{:>7} {:>10.3}  in all, of {:.3} ms that were watched",
            self.events.len(),
            all / 1e3,
            self.duration_us / 1e3
        );
        if self.dropped > 0 {
            let _ = writeln!(text, "{} more events were not kept; watch a shorter time", self.dropped);
        }
        text
    }

    /// The trace in Chrome's Trace Event Format, which Perfetto opens: a group for each thread, in it a row for each
    /// kernel, and for each time it ran its bytes, operations and rates.
    pub fn to_chrome_json(&self) -> String {
        chrome::render(self)
    }

    /// The trace as a picture: a row for each kernel over time, what took longest on top.
    pub fn to_svg(&self) -> String {
        svg::render(self)
    }

    /// Writes the trace to a file, by its ending: `.json` for [`Trace::to_chrome_json`], `.svg` for
    /// [`Trace::to_svg`], `.txt` for [`Trace::summary`].
    ///
    /// # Errors
    /// [`Error::Value`] for another ending; [`Error::External`] with a [`std::io::Error`] for a file that cannot be
    /// written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let text = match Form::of(path)? {
            Form::Json => self.to_chrome_json(),
            Form::Svg => self.to_svg(),
            Form::Text => self.summary(),
        };
        std::fs::write(path, text).map_err(|e| {
            let message = format!("[profile] {} cannot be written: {e}", path.display());
            Error::external(std::io::Error::new(e.kind(), message))
        })
    }
}

/// What a file of a given name holds.
enum Form {
    Json,
    Svg,
    Text,
}

impl Form {
    fn of(path: &Path) -> Result<Self> {
        let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        match ending.as_deref() {
            Some("json") => Ok(Form::Json),
            Some("svg") => Ok(Form::Svg),
            Some("txt") => Ok(Form::Text),
            _ => Err(Error::value(
                "profile",
                format!(
                    "{} does not say what to write; end it with .json for Perfetto, .svg for a picture, or .txt \
                     for a table",
                    path.display()
                ),
            )),
        }
    }
}

/// Whether [`Trace::save`] can write to a file of this name; to be asked before there is a trace.
///
/// # Errors
/// [`Error::Value`] for an unknown ending.
pub fn check_path(path: impl AsRef<Path>) -> Result<()> {
    Form::of(path.as_ref()).map(drop)
}

/// The duration of each event less that of the events directly inside it. The events are in order.
fn own_times(events: &[Event]) -> Vec<f64> {
    let mut own: Vec<f64> = events.iter().map(|e| e.duration_us).collect();
    // Events of each thread that have not ended yet, the innermost last.
    let mut open: FxHashMap<u32, Vec<usize>> = FxHashMap::default();
    for (i, event) in events.iter().enumerate() {
        let stack = open.entry(event.thread).or_default();
        while let Some(&outer) = stack.last() {
            if event.start_us < events[outer].start_us + events[outer].duration_us {
                own[outer] = (own[outer] - event.duration_us).max(0.0);
                break;
            }
            stack.pop();
        }
        stack.push(i);
    }
    own
}

/// The text, cut to at most `most` characters.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, start_us: f64, duration_us: f64, thread: u32) -> Event {
        Event {
            name: name.into(),
            kind: EventKind::Kernel,
            start_us,
            duration_us,
            thread,
            bytes_read: 0,
            bytes_written: 0,
            flops: 0,
        }
    }

    pub(super) fn trace(events: Vec<Event>) -> Trace {
        let own_us = own_times(&events);
        Trace { events, own_us, duration_us: 100.0, dropped: 0 }
    }

    pub(super) fn sample(name: &str) -> Trace {
        let mut inner = event(name, 12.0, 5.0, 1);
        (inner.bytes_read, inner.bytes_written, inner.flops) = (6_000, 4_000, 20_000);
        let mut outer = event("call (): compiled", 10.0, 20.0, 1);
        outer.kind = EventKind::Nested;
        trace(vec![outer, inner, event("other", 12.0, 40.0, 0)])
    }

    #[test]
    fn own_time_leaves_out_what_ran_inside_and_other_threads() {
        let events = vec![
            event("outer", 0.0, 100.0, 0),
            event("elsewhere", 5.0, 50.0, 1),
            event("inner", 10.0, 40.0, 0),
            event("innermost", 20.0, 10.0, 0),
            event("inner", 50.0, 20.0, 0),
            event("after", 100.0, 7.0, 0),
        ];
        assert_eq!(own_times(&events), [40.0, 50.0, 30.0, 10.0, 20.0, 7.0]);
        let totals = trace(events).totals();
        let inner = totals.iter().find(|t| &*t.name == "inner").unwrap();
        assert_eq!((inner.count, inner.own_us), (2, 50.0));
        assert!(totals.windows(2).all(|w| w[0].own_us >= w[1].own_us));
    }

    #[test]
    fn the_summary_shows_rates_of_own_time() {
        let text = sample("matmul").summary();
        let line = text.lines().find(|l| l.ends_with("matmul")).unwrap();
        let fields: Vec<&str> = line.split_whitespace().collect();
        // 5 of 60 µs; 10 kB and 20 kFLOP in 5 µs.
        assert_eq!(fields, ["1", "0.005", "8.3%", "2.0", "4.0", "matmul"]);
        let nested = text.lines().find(|l| l.ends_with("compiled")).unwrap();
        assert!(nested.contains("0.015"), "{nested}");
        assert!(text.contains("0.060  in all, of 0.100 ms"), "{text}");
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(shortened("ααααα", 5), "ααααα");
        assert_eq!(shortened("αααααα", 5), "αααα…");
    }
}
