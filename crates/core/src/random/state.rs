//! The generator behind calls without a key.
//!
//! It belongs to a thread: another thread's draws cannot come in between, so that a seeded program gives the same
//! numbers every time, and no lock is taken. The key is kept as two plain numbers and split on the spot; only where
//! a transform has put a traced array in its place (a compiled function that takes the state as an input) does
//! splitting build graph.

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
    /// A function is being traced that takes what it draws as inputs.
    Recorded(Rc<Recorder>),
    /// A function is being traced that must not draw; this is the state around it.
    Refused(Rc<State>),
}

/// What a recorded function asked of the generator.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Draw {
    /// The next key.
    Next,
    /// The state itself.
    State,
}

impl Draw {
    /// Asks the same of the generator as it is now.
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

/// Puts placeholders in the place of everything this thread's generator gives, until dropped.
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

    /// What was drawn, with the placeholder each draw was given, and the state that the function has set, if it has.
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
        // Unless the function has set another state.
        if let State::Refused(around) = STATE.with_borrow(State::clone) {
            STATE.set(State::clone(&around));
        }
    }
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new(State::Key(clock_key()));
}

/// The key a thread starts with: the clock, and the number of the thread for those that start together.
fn clock_key() -> [u32; 2] {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    let thread = THREADS.fetch_add(1, Ordering::Relaxed);
    threefry2x32([now as u32, (now >> 32) as u32], [thread as u32, (thread >> 32) as u32])
}

/// Starts this thread's generator anew. Until then it starts from the clock.
pub fn seed(seed: u64) {
    STATE.set(State::Key([(seed >> 32) as u32, seed as u32]));
}

/// The key that this thread's next call without a key starts from.
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

/// Puts this thread's generator where [`state`] has found it, or at any other key. The key may be traced: that is how
/// a compiled function takes the generator's state as an input.
///
/// # Errors
/// When `key` is no key.
pub fn set_state(key: &Array) -> Result<()> {
    check_key("random.state", key)?;
    let state = match key.values::<u32>("random.state") {
        Ok(words) => State::Key([words[0], words[1]]),
        Err(_) => State::Traced(key.clone()),
    };
    STATE.set(state);
    Ok(())
}

/// Splits the state in two: one half stays, the other is the next key.
pub(super) fn next_key() -> Result<Array> {
    match STATE.with_borrow(State::clone) {
        State::Key(key) => {
            // The words of split(key, 2), by row.
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
            "the function under vmap draws random numbers without a key, and randomness is \"error\"; map over keys that split has made, \
             or choose \"same\" (one draw for all examples) or \"different\" (one for each)",
        )),
    }
}
