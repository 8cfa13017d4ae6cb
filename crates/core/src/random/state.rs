//! The generator behind calls without a key.
//!
//! Each thread has its own: draws of other threads do not change the sequence, so that a seeded program gives the same
//! numbers every time, and no lock is needed. The key is two plain numbers, which are split at once. Splitting builds
//! a graph only if a transform has replaced the key by a traced array, as in a compiled function that takes the state as
//! an input.

use super::{check_key, key_array, split};
use crate::array::Array;
use crate::array::Aval;
use crate::error::{Error, Result};
use crate::ops;
use crate::trace::TraceSet;
use covector_kernels::Dtype;
use covector_kernels::random::threefry2x32;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone)]
enum State {
    Key([u32; 2]),
    Traced(Array),
    /// A function is being traced that takes its draws as inputs.
    Recorded(Rc<Recorder>),
    /// A function is being traced that must not draw. The value is the state to restore.
    Refused(Rc<State>),
}

/// A request of a recorded function to the generator.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Draw {
    /// The next key.
    Next,
    /// The state itself.
    State,
}

impl Draw {
    /// Makes the same request to the generator in its present state.
    pub(crate) fn again(self) -> Result<Array> {
        match self {
            Draw::Next => next_key(),
            Draw::State => Ok(state()),
        }
    }
}

struct Recorder {
    traces: Arc<TraceSet>,
    draws: RefCell<Vec<(Draw, Array)>>,
}

impl Recorder {
    fn draw(&self, draw: Draw) -> Array {
        let key = Array::placeholder(Aval::new(Dtype::U32, [2]), Some(self.traces.clone()));
        self.draws.borrow_mut().push((draw, key.clone()));
        key
    }
}

/// Records the requests to this thread's generator and answers them with placeholders, until dropped.
pub(crate) struct Recording {
    recorder: Rc<Recorder>,
    saved: Option<State>,
}

impl Recording {
    pub(crate) fn start(traces: Arc<TraceSet>) -> Self {
        let recorder = Rc::new(Recorder { traces, draws: RefCell::default() });
        let saved = STATE.replace(State::Recorded(recorder.clone()));
        Self { recorder, saved: Some(saved) }
    }

    /// The draws with their placeholders, and the state if the function has set one.
    pub(crate) fn finish(self) -> (Vec<(Draw, Array)>, Option<Array>) {
        let untouched =
            STATE.with_borrow(|s| matches!(s, State::Recorded(r) if Rc::ptr_eq(r, &self.recorder)));
        let set = (!untouched).then(state);
        (self.recorder.draws.take(), set)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(saved) = self.saved.take() {
            STATE.set(saved);
        }
    }
}

/// Makes calls without a key an error on this thread, until dropped.
pub(crate) struct Refusing(());

impl Refusing {
    pub(crate) fn start() -> Self {
        let around = STATE.with_borrow(State::clone);
        STATE.set(State::Refused(Rc::new(around)));
        Self(())
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        // The function may have set another state, which stays.
        if let State::Refused(around) = STATE.with_borrow(State::clone) {
            STATE.set(State::clone(&around));
        }
    }
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new(State::Key(clock_key()));
}

/// The first key of a thread, from the clock. The number of the thread tells threads apart that start together.
fn clock_key() -> [u32; 2] {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    let thread = THREADS.fetch_add(1, Ordering::Relaxed);
    threefry2x32([now as u32, (now >> 32) as u32], [thread as u32, (thread >> 32) as u32])
}

/// Restarts this thread's generator from a seed. Without a call, it starts from the clock.
pub fn seed(seed: u64) {
    STATE.set(State::Key([(seed >> 32) as u32, seed as u32]));
}

/// The key from which this thread's next call without a key draws.
pub fn state() -> Array {
    let mut state = STATE.with_borrow(State::clone);
    loop {
        state = match state {
            State::Key(key) => return key_array(key),
            State::Traced(array) => return array,
            State::Recorded(recorder) => return recorder.draw(Draw::State),
            State::Refused(around) => State::clone(&around),
        }
    }
}

/// Sets this thread's generator to a key, such as an earlier result of [`state`]. The key may be traced, so that a
/// compiled function can take the generator's state as an input.
///
/// # Errors
/// When `key` is not a key.
pub fn set_state(key: &Array) -> Result<()> {
    check_key("random.state", key)?;
    let state = match key.values::<u32>("random.state") {
        Ok(words) => State::Key([words[0], words[1]]),
        Err(_) => State::Traced(key.clone()),
    };
    STATE.set(state);
    Ok(())
}

/// Splits the state in two keys: the new state, and the next key.
pub(super) fn next_key() -> Result<Array> {
    match STATE.with_borrow(State::clone) {
        State::Key(key) => {
            // The rows of split(key, 2).
            let [stay0, next0] = threefry2x32(key, [0, 2]);
            let [stay1, next1] = threefry2x32(key, [1, 3]);
            STATE.set(State::Key([stay0, stay1]));
            Ok(key_array([next0, next1]))
        }
        State::Traced(key) => {
            let rows = ops::try_split(&split(&key, 2)?, 2, 0)?;
            let row = |i: usize| ops::try_squeeze(&rows[i], &[0]);
            STATE.set(State::Traced(row(0)?));
            row(1)
        }
        State::Recorded(recorder) => Ok(recorder.draw(Draw::Next)),
        State::Refused(_) => Err(Error::value(
            "vmap",
            "the function under vmap draws random numbers without a key, and randomness is \"error\"; map over keys made with split, \
            or choose \"same\" (one draw for all examples) or \"different\" (one for each)",
        )),
    }
}
