//! The thread pool of the kernels.
//!
//! A job is divided into parts by its size alone, never by the number of threads, so that results are bit-identical for
//! any number of threads. Every thread starts with a share of the parts. The first parts are always the caller's, so that
//! a job finds in a processor's caches the results that the job before left there, and claiming a part of one's own share
//! touches no memory that another thread writes. A thread that has finished its share takes parts from the ends of other
//! shares. The caller waits only for claimed parts, never for a sleeping thread to wake. After a job, workers spin for some
//! tens of microseconds, because the next job usually follows at once, and then sleep. A general work-stealing pool was
//! measured: it takes longer to start a job than most of these jobs last.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Mutex, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long a worker looks for the next job before it sleeps.
const SPIN: Duration = Duration::from_micros(60);

/// A thread's share of the current job. It has two cache lines of its own, because the processor fetches lines in pairs.
#[repr(align(128))]
struct Share {
    /// The job's number, the next part to claim, and the end of the share.
    parts: AtomicU64,
    /// The number of parts that the thread has run, of all jobs.
    done: AtomicUsize,
}

/// The caller's share, then the workers' shares.
static SHARES: [Share; MAX_THREADS] =
    [const { Share { parts: AtomicU64::new(0), done: AtomicUsize::new(0) } }; MAX_THREADS];
/// The number of threads that have shares of the current job.
static THREADS: AtomicUsize = AtomicUsize::new(1);
/// The number of workers that were started.
static STARTED: AtomicUsize = AtomicUsize::new(0);
/// The two words of the reference to the current job's task.
static TASK: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];
/// The panic of a part of the current job.
static PANIC: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);
/// Whether a job is running. Another job that starts meanwhile runs on its caller's thread alone.
static BUSY: AtomicBool = AtomicBool::new(false);
/// The number of threads; 0 before it is known.
static LIMIT: AtomicUsize = AtomicUsize::new(0);
static WORKERS: Mutex<Vec<&'static Worker>> = Mutex::new(Vec::new());

struct Worker {
    asleep: AtomicBool,
    /// Whether the thread has started to run.
    runs: AtomicBool,
    thread: OnceLock<Thread>,
}

/// The number of threads that run one kernel, including the caller's: the value of [`set_num_threads`], else that of the
/// environment variable `COVECTOR_NUM_THREADS`, else one for each processor.
pub fn num_threads() -> usize {
    match LIMIT.load(Relaxed) {
        0 => {
            let asked = std::env::var("COVECTOR_NUM_THREADS").ok().and_then(|v| v.parse().ok());
            let n = asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
            LIMIT.store(n.clamp(1, MAX_THREADS), Relaxed);
            num_threads()
        }
        n => n,
    }
}

const MAX_THREADS: usize = 256;

/// Sets the number of threads that run one kernel, at least 1.
pub fn set_num_threads(n: usize) {
    LIMIT.store(n.clamp(1, MAX_THREADS), Relaxed);
}

/// Runs `task(0)`, …, `task(parts − 1)`, each once, on several threads if possible; returns when all are done.
///
/// # Panics
/// If a part panics; the panic is resumed on the caller's thread after the other parts have ended.
pub fn parallel(parts: usize, task: &(dyn Fn(usize) + Sync)) {
    let threads = num_threads();
    if parts <= 1 || threads <= 1 || parts > u16::MAX as usize || BUSY.swap(true, Acquire) {
        (0..parts).for_each(task);
        return;
    }
    let threads = threads.min(parts);
    // A worker that has not started has run no parts.
    let done = || {
        let all = SHARES.iter().take(1 + STARTED.load(Acquire));
        all.fold(0, |n: usize, share| n.wrapping_add(share.done.load(Acquire)))
    };
    let target = done().wrapping_add(parts);
    wake(threads - 1, || {
        // SAFETY: the two words of the reference are stored, and are used only before this function returns, see `help`.
        let raw: [usize; 2] = unsafe { std::mem::transmute(std::ptr::from_ref(task)) };
        TASK[0].store(raw[0], Relaxed);
        TASK[1].store(raw[1], Relaxed);
        THREADS.store(threads, Relaxed);
        let epoch = (SHARES[0].parts.load(Relaxed) >> 32).wrapping_add(1);
        for (t, share) in SHARES.iter().enumerate().take(threads) {
            let (next, end) = (t * parts / threads, (t + 1) * parts / threads);
            share.parts.store(epoch << 32 | (next as u64) << 16 | end as u64, Release);
        }
    });
    while help(0) {}
    let mut turns = 0u32;
    while done() != target {
        turns += 1;
        if turns < 20_000 { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
    let panic = PANIC.lock().unwrap_or_else(|e| e.into_inner()).take();
    BUSY.store(false, Release);
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
}

impl Share {
    /// Whether there are unclaimed parts.
    fn is_open(&self, order: std::sync::atomic::Ordering) -> bool {
        let state = self.parts.load(order);
        (state >> 16 & 0xffff) < (state & 0xffff)
    }

    /// Claims a part: the first for the share's own thread (`own`), the last for others.
    fn claim(&self, own: bool) -> Option<usize> {
        let mut state = self.parts.load(Acquire);
        loop {
            let (next, end) = (state >> 16 & 0xffff, state & 0xffff);
            if next >= end {
                return None;
            }
            let (left, part) = if own { (state + (1 << 16), next) } else { (state - 1, end - 1) };
            match self.parts.compare_exchange_weak(state, left, AcqRel, Acquire) {
                Err(now) => state = now,
                Ok(_) => return Some(part as usize),
            }
        }
    }
}

/// Claims one part of the job for thread `me` and runs it; false if none is left.
fn help(me: usize) -> bool {
    let threads = THREADS.load(Relaxed);
    if me >= threads {
        return false;
    }
    let part = (0..threads).find_map(|k| SHARES[(me + k) % threads].claim(k == 0));
    let Some(part) = part else { return false };
    let raw = [TASK[0].load(Relaxed), TASK[1].load(Relaxed)];
    // SAFETY: `parallel` stored a valid reference before it published the share that the part was claimed from. It neither
    // returns nor stores another reference until that part is counted as done.
    let task: &(dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(raw) };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| task(part))) {
        *PANIC.lock().unwrap_or_else(|e| e.into_inner()) = Some(panic);
    }
    SHARES[me].done.fetch_add(1, Release);
    true
}

/// Starts workers until there are `wanted`, publishes a job, and wakes the workers that sleep.
fn wake(wanted: usize, publish: impl FnOnce()) {
    let mut workers = WORKERS.lock().unwrap_or_else(|e| e.into_inner());
    while workers.len() < wanted {
        let worker: &'static Worker = Box::leak(Box::new(Worker {
            asleep: AtomicBool::new(false),
            runs: AtomicBool::new(false),
            thread: OnceLock::new(),
        }));
        let number = workers.len() + 1;
        let started = std::thread::Builder::new().name("covector".into()).spawn(move || work(worker, number));
        match started {
            Ok(handle) => {
                let _ = worker.thread.set(handle.thread().clone());
                workers.push(worker);
                STARTED.store(number, Release);
                // If there is no memory for a new thread's thread-local data, the C library ends the process. A thread that
                // runs has that memory, so later allocations may fail without harm.
                while !worker.runs.load(Acquire) {
                    std::thread::yield_now();
                }
            }
            // With fewer threads the job is slower but correct.
            Err(_) => break,
        }
    }
    publish();
    std::sync::atomic::fence(SeqCst);
    for worker in workers.iter().take(wanted) {
        if worker.asleep.swap(false, SeqCst)
            && let Some(thread) = worker.thread.get()
        {
            thread.unpark();
        }
    }
}

fn work(me: &'static Worker, number: usize) {
    me.runs.store(true, Release);
    let mut since = Instant::now();
    let share = &SHARES[number];
    loop {
        if help(number) {
            while help(number) {}
            since = Instant::now();
        }
        // Reading the clock takes as long as a pause, ten nanoseconds or more; checking for a job takes less.
        let waiting = (0..64).all(|_| {
            std::hint::spin_loop();
            !share.is_open(Relaxed)
        });
        if !waiting || since.elapsed() < SPIN {
            continue;
        }
        me.asleep.store(true, SeqCst);
        std::sync::atomic::fence(SeqCst);
        // A job may have been published between the last check and the flag.
        if !share.is_open(SeqCst) {
            while me.asleep.load(SeqCst) {
                std::thread::park();
            }
        }
        me.asleep.store(false, SeqCst);
        since = Instant::now();
    }
}

/// An address that the parts of a job share. It is an address only; each use of it says why no other part uses the same
/// elements.
pub(crate) struct Shared<T>(*mut T);

// SAFETY: an address may be known to any thread.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Shared<T> {}

impl<T> Shared<T> {
    /// The address of elements that parts read and write.
    pub(crate) fn new(ptr: *mut T) -> Self {
        Self(ptr)
    }

    /// The address of elements that parts only read.
    pub(crate) fn read(ptr: *const T) -> Self {
        Self(ptr.cast_mut())
    }

    /// The address of element `i`.
    #[inline(always)]
    pub(crate) fn at(self, i: usize) -> *mut T {
        self.0.wrapping_add(i)
    }

    /// The address of the element at an offset that may be negative.
    #[inline(always)]
    pub(crate) fn by(self, offset: isize) -> *mut T {
        self.0.wrapping_offset(offset)
    }
}

/// Divides `0..n` into parts of at least `least` elements and calls `task` with each; the division depends on `n` alone.
pub fn parallel_ranges(n: usize, least: usize, task: &(dyn Fn(std::ops::Range<usize>) + Sync)) {
    // More parts than threads, so that one delayed thread does not delay the whole job.
    let parts = (n / least.max(1)).clamp(1, 16);
    if parts == 1 {
        task(0..n);
        return;
    }
    // Boundaries at multiples of 64 elements, so that no two threads write to one cache line.
    let step = n.div_ceil(parts).next_multiple_of(64);
    let parts = n.div_ceil(step);
    parallel(parts, &|k| task(k * step..((k + 1) * step).min(n)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_runs_once_from_any_caller() {
        set_num_threads(4);
        let callers: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    for n in [1usize, 2, 7, 100, 1000] {
                        let seen: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
                        parallel(n, &|i| {
                            seen[i].fetch_add(1, Relaxed);
                        });
                        assert!(seen.iter().all(|s| s.load(Relaxed) == 1));
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        for _ in 0..200 {
            let sum = AtomicUsize::new(0);
            parallel_ranges(100_000, 1000, &|r| {
                sum.fetch_add(r.sum::<usize>(), Relaxed);
            });
            assert_eq!(sum.load(Relaxed), 100_000 * 99_999 / 2);
            std::thread::sleep(Duration::from_micros(97));
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let caught = catch_unwind(|| parallel(8, &|i| assert!(i != 5, "part five")));
        assert!(caught.is_err());
        let count = AtomicUsize::new(0);
        parallel(8, &|_| {
            count.fetch_add(1, Relaxed);
        });
        assert_eq!(count.load(Relaxed), 8);
    }
}
