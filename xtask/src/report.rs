//! The output: a title before each step, its time after it, and one closing line.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use crate::steps::Step;

/// Whether to use colours: on a terminal, outside of continuous integration.
pub(crate) fn fancy() -> bool {
    let ci = std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    !ci && std::env::var_os("NO_COLOR").is_none() && std::io::stdout().is_terminal()
}

pub(crate) struct Report {
    fancy: bool,
    total: usize,
    number: usize,
    begun: Instant,
    step_begun: Instant,
}

impl Report {
    pub(crate) fn new(total: usize) -> Self {
        let now = Instant::now();
        Report { fancy: fancy(), total, number: 0, begun: now, step_begun: now }
    }

    pub(crate) fn start(&mut self, title: &str) {
        self.number += 1;
        self.step_begun = Instant::now();
        let gap = if self.number == 1 { "" } else { "\n" };
        println!("{gap}{}", self.bold(&format!("[{}/{}] {title}", self.number, self.total)));
    }

    pub(crate) fn passed(&self) {
        println!("{}", self.coloured(32, &format!("passed in {}", seconds(self.step_begun.elapsed()))));
    }

    pub(crate) fn failed(&self, step: &Step, why: &str) {
        let headline = format!(
            "FAILED: step `{}` ({}), after {}",
            step.name,
            step.title,
            seconds(self.step_begun.elapsed())
        );
        println!("\n{}", self.coloured(31, &headline));
        println!("{why}");
        println!("To run this step alone: cargo xtask test {}", step.name);
    }

    pub(crate) fn finish(&self) {
        let steps = if self.total == 1 { "The step".to_owned() } else { format!("All {} steps", self.total) };
        let line = format!("{steps} passed in {}.", seconds(self.begun.elapsed()));
        println!("\n{}", self.coloured(32, &line));
    }

    fn bold(&self, text: &str) -> String {
        self.coloured(1, text)
    }

    fn coloured(&self, code: u8, text: &str) -> String {
        if self.fancy { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn seconds(time: Duration) -> String {
    let tenths = (time.as_secs_f64() * 10.0).round() / 10.0;
    if tenths < 60.0 {
        return format!("{tenths:.1} s");
    }
    let whole = time.as_secs_f64().round() as u64;
    format!("{} min {:02} s", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_and_have_units() {
        assert_eq!(seconds(Duration::from_millis(40)), "0.0 s");
        assert_eq!(seconds(Duration::from_millis(3_240)), "3.2 s");
        assert_eq!(seconds(Duration::from_millis(59_970)), "1 min 00 s");
        assert_eq!(seconds(Duration::from_millis(125_400)), "2 min 05 s");
    }
}
