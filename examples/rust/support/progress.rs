//! A progress bar on standard error, so that standard output has only the example's result.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

/// The progress of a loop of known length: on a terminal one line that is drawn again, elsewhere (such as in a log) a line for
/// every tenth.
pub(crate) struct Progress {
    label: &'static str,
    total: usize,
    done: usize,
    begun: Instant,
    drawn: Option<Instant>,
    terminal: bool,
    open_line: bool,
}

impl Progress {
    pub(crate) fn new(label: &'static str, total: usize) -> Self {
        let terminal = stderr().is_terminal();
        Progress { label, total, done: 0, begun: Instant::now(), drawn: None, terminal, open_line: false }
    }

    /// Counts a finished step. `message` is called only if its result is shown, so it may be slow, such as reading a value of
    /// an array that is not computed yet.
    pub(crate) fn step(&mut self, message: impl FnOnce() -> String) {
        self.done += 1;
        if !self.is_due() {
            return;
        }
        let line = self.line(&message());
        // If standard error is closed, the loop goes on.
        let _ =
            if self.terminal { write!(stderr(), "\r\x1b[2K{line}") } else { writeln!(stderr(), "{line}") };
        let _ = stderr().flush();
        self.drawn = Some(Instant::now());
        self.open_line = self.terminal;
        if self.done >= self.total {
            self.close_line();
        }
    }

    /// Whether to show the current state; the last state is always shown.
    fn is_due(&self) -> bool {
        const REDRAW: Duration = Duration::from_millis(60);
        let due = if self.terminal {
            self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW)
        } else {
            self.done.is_multiple_of(self.total.div_ceil(10).max(1))
        };
        due || self.done >= self.total
    }

    fn line(&self, message: &str) -> String {
        let share = self.done as f64 / self.total.max(1) as f64;
        let bar = if self.terminal { format!(" {}", bar(share, 24)) } else { String::new() };
        let elapsed = self.begun.elapsed().as_secs_f64();
        let time = if self.done >= self.total {
            format!("{elapsed:.1} s")
        } else {
            format!("{:.1} s left", elapsed / share - elapsed)
        };
        let width = self.total.to_string().len();
        format!("{}{bar} {:>width$}/{}  {message}  {time}", self.label, self.done, self.total)
    }

    fn close_line(&mut self) {
        if self.open_line {
            let _ = writeln!(stderr());
            self.open_line = false;
        }
    }
}

/// If a loop ends early, its last line remains, and later output starts on a new line.
impl Drop for Progress {
    fn drop(&mut self) {
        self.close_line();
    }
}

/// A bar of `width` characters, precise to an eighth of one.
fn bar(share: f64, width: usize) -> String {
    const PARTS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
    let eighths = (share.clamp(0.0, 1.0) * (width * 8) as f64).round() as usize;
    let cell = |i: usize| PARTS[eighths.saturating_sub(i * 8).min(8)];
    format!("▕{}▏", (0..width).map(cell).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_by_eighths() {
        assert_eq!(bar(0.0, 4), "▕    ▏");
        assert_eq!(bar(0.5, 4), "▕██  ▏");
        assert_eq!(bar(17.0 / 32.0, 4), "▕██▏ ▏");
        assert_eq!(bar(1.5, 4), "▕████▏");
    }

    #[test]
    fn a_log_gets_a_line_a_tenth_and_the_last() {
        let shown = |total: usize| -> Vec<usize> {
            let at = |done| Progress { terminal: false, done, ..Progress::new("test", total) };
            (1..=total).filter(|&done| at(done).is_due()).collect()
        };
        assert_eq!(shown(95), [10, 20, 30, 40, 50, 60, 70, 80, 90, 95]);
        assert_eq!(shown(3), [1, 2, 3]);
    }
}
