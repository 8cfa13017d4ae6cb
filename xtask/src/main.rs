//! Project tasks, run as `cargo xtask <task>`.
//!
//! One command runs every check of a change. It needs only Rust, CPython and the package registries. It is plain Rust over
//! `std` instead of a shell script or a make file: it behaves the same on every platform, builds in a second, and its table
//! of steps can be tested.
#![allow(clippy::print_stdout, reason = "a task's report is its standard output")]

mod command;
mod python;
mod report;
mod steps;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use report::Report;

const USAGE: &str = "\
Usage: cargo xtask test [PART | STEP]...

Runs the project's checks in order and stops at the first that fails.
With no argument it runs all of them.
";

/// The state that steps share: folders, and the Python interpreter once it is found.
struct Session {
    /// The repository root, where every command runs unless its step says otherwise.
    root: PathBuf,
    /// Cargo's target directory. The checks create files only below it.
    target: PathBuf,
    /// Whether a step of this run needs Python.
    wants_python: bool,
    /// The interpreter that the `tools` step found.
    interpreter: Option<python::Interpreter>,
}

impl Session {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the package is one level below the repository root")
            .to_path_buf();
        // `join` keeps an absolute path; a relative one is relative to the folder that cargo runs in, the root.
        let target = root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
        Session { root, target, wants_python: false, interpreter: None }
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (task, rest) = match args.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("help", &[][..]),
    };
    if matches!(task, "help" | "--help" | "-h") || rest.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    if task != "test" {
        eprint!("xtask: there is no task {task:?}\n\n{}", help());
        return ExitCode::from(2);
    }
    match steps::select(rest) {
        Ok(selected) => run(&selected),
        Err(unknown) => {
            eprint!("xtask: there is no part or step {unknown:?}\n\n{}", help());
            ExitCode::from(2)
        }
    }
}

fn run(selected: &[&steps::Step]) -> ExitCode {
    let mut session = Session::new();
    // Selected alone, the `tools` step checks all tools.
    session.wants_python = selected.len() == 1 || selected.iter().any(|step| step.name == "venv");
    let mut report = Report::new(selected.len());
    for step in selected {
        report.start(step.title);
        match (step.run)(&mut session) {
            Ok(()) => report.passed(),
            Err(why) => {
                report.failed(step, &why);
                return ExitCode::FAILURE;
            }
        }
    }
    report.finish();
    ExitCode::SUCCESS
}

fn help() -> String {
    use std::fmt::Write as _;
    let mut text = String::from(USAGE);
    text.push_str("\nParts:\n");
    for (part, meaning) in steps::PARTS {
        let _ = writeln!(text, "  {part:<8} {meaning}");
    }
    text.push_str("\nSteps (the steps that a step needs run before it):\n");
    for step in &steps::STEPS {
        let _ = writeln!(text, "  {:<8} {}", step.name, step.title);
    }
    text.push_str(
        "\nEnvironment:\n  \
         COVECTOR_PYTHON   the CPython to test with (default: `python3`, then `python`)\n  \
         CI=true           plain output, without colour\n",
    );
    text
}
