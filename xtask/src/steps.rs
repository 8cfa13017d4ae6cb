//! The table of checks, in the order in which they run: cheap ones first, so that mistakes are found early.

use crate::command::Cmd;
use crate::{Session, python};

type Run = fn(&mut Session) -> Result<(), String>;

/// One check.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) run: Run,
    /// The parts that include the step.
    parts: &'static [&'static str],
    /// The steps that must run before it; they are above it in the table.
    needs: &'static [&'static str],
}

/// The parts that can be selected by name, with their meaning.
pub(crate) const PARTS: [(&str, &str); 3] = [
    ("rust", "all checks that need no Python"),
    ("lint", "formatting, lints, documentation and types, in both languages"),
    ("python", "the Python package: environment, style, types, build, tests and examples"),
];

#[rustfmt::skip] // a table
pub(crate) static STEPS: [Step; 11] = [
    step("tools",   "The tools of the checks are installed",    tools,           &["rust", "lint", "python"], &[]),
    step("fmt",     "Rust formatting",                        fmt,             &["rust", "lint"],   &["tools"]),
    step("clippy",  "Rust lints, every crate and target",     clippy,          &["rust", "lint"],   &["tools"]),
    step("test",    "Rust tests and documentation examples",  test,            &["rust"],           &[]),
    step("fuzz",    "Random programs, each instruction set",  fuzz,            &["rust"],           &[]),
    step("doc",     "Rust documentation has no warnings",     doc,             &["rust", "lint"],   &[]),
    step("venv",    "A Python environment for the checks",    python::create,  &["python", "lint"], &["tools"]),
    step("ruff",    "Python lints and formatting",            python::ruff,    &["python", "lint"], &["venv"]),
    step("mypy",    "Python types",                           python::mypy,    &["python", "lint"], &["venv"]),
    step("install", "The Python package builds and installs", python::install, &["python"],         &["venv"]),
    step("pytest",  "Python tests and examples",              python::pytest,  &["python"],         &["install"]),
];

const fn step(
    name: &'static str,
    title: &'static str,
    run: Run,
    parts: &'static [&'static str],
    needs: &'static [&'static str],
) -> Step {
    Step { name, title, run, parts, needs }
}

/// The selected steps and the steps that these need, in the table's order; without arguments, all steps. The error is the first
/// argument that is not the name of a part or step.
pub(crate) fn select(args: &[String]) -> Result<Vec<&'static Step>, &str> {
    let is_part = |arg: &str| PARTS.iter().any(|(part, _)| *part == arg);
    if let Some(unknown) = args.iter().find(|arg| !is_part(arg) && index_of(arg).is_none()) {
        return Err(unknown);
    }
    let asked = |step: &Step| args.iter().any(|arg| arg == step.name || step.parts.contains(&arg.as_str()));
    let mut chosen: Vec<bool> = STEPS.iter().map(|step| args.is_empty() || asked(step)).collect();
    // From the end, so that the needs of needs are found in the same pass.
    for (at, step) in STEPS.iter().enumerate().rev() {
        for need in step.needs.iter().filter(|_| chosen[at]).collect::<Vec<_>>() {
            chosen[index_of(need).expect("a needed step is in the table")] = true;
        }
    }
    Ok(STEPS.iter().zip(chosen).filter_map(|(step, chosen)| chosen.then_some(step)).collect())
}

fn index_of(name: &str) -> Option<usize> {
    STEPS.iter().position(|step| step.name == name)
}

/// Checks all tools first, so that a missing Python is reported at once and not after minutes of compiling.
fn tools(session: &mut Session) -> Result<(), String> {
    let mut missing = Vec::new();
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        match Cmd::cargo(session).args([subcommand, "--version"]).capture() {
            Ok(version) => println!("{version}"),
            Err(_) => missing
                .push(format!("Missing: `cargo {subcommand}`. Install it: rustup component add {component}")),
        }
    }
    if session.wants_python {
        match python::find(session) {
            Ok(interpreter) => {
                println!("{}", interpreter.describe());
                session.interpreter = Some(interpreter);
            }
            Err(why) => missing.push(why),
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(missing.join("\n")) }
}

fn fmt(session: &mut Session) -> Result<(), String> {
    Cmd::cargo(session).args(["fmt", "--all", "--check"]).run()
}

fn clippy(session: &mut Session) -> Result<(), String> {
    Cmd::cargo(session)
        .args(["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])
        .run()
}

/// The workspace's default members do not include this package, nor the Python binding, which only maturin can link.
fn test(session: &mut Session) -> Result<(), String> {
    Cmd::cargo(session).args(["test", "--all-features"]).run()?;
    Cmd::cargo(session).args(["test", "--package", "xtask"]).run()
}

/// More of the random programs than the tests run, other ones for each instruction set. What the machine lacks is the
/// next narrower set.
fn fuzz(session: &mut Session) -> Result<(), String> {
    for (set, from) in [("", "10000"), ("avx2", "20000"), ("portable", "30000")] {
        Cmd::cargo(session)
            .args([
                "test",
                "--package",
                "covector-core",
                "--all-features",
                "--test",
                "random_programs",
                "agree",
            ])
            .env("COVECTOR_SIMD", set)
            .env("COVECTOR_FUZZ", "1000")
            .env("COVECTOR_FUZZ_SEED", from)
            .run()?;
    }
    Ok(())
}

fn doc(session: &mut Session) -> Result<(), String> {
    Cmd::cargo(session).args(["doc", "--no-deps", "--all-features"]).env("RUSTDOCFLAGS", "-D warnings").run()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(args: &[&str]) -> Vec<&'static str> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        select(&args).expect("known arguments").iter().map(|step| step.name).collect()
    }

    #[test]
    fn without_arguments_all_steps_run_in_order() {
        assert_eq!(names(&[]), STEPS.iter().map(|step| step.name).collect::<Vec<_>>());
    }

    #[test]
    fn needed_steps_come_first() {
        assert_eq!(names(&["pytest"]), ["tools", "venv", "install", "pytest"]);
        assert_eq!(names(&["doc", "fmt"]), ["tools", "fmt", "doc"]);
        for (at, step) in STEPS.iter().enumerate() {
            assert!(step.needs.iter().all(|need| index_of(need).is_some_and(|needed| needed < at)));
        }
    }

    #[test]
    fn parts_have_their_steps() {
        assert_eq!(names(&["rust"]), ["tools", "fmt", "clippy", "test", "fuzz", "doc"]);
        assert_eq!(names(&["lint"]), ["tools", "fmt", "clippy", "doc", "venv", "ruff", "mypy"]);
        assert_eq!(names(&["python"]), ["tools", "venv", "ruff", "mypy", "install", "pytest"]);
        for step in &STEPS {
            assert!(step.parts.iter().all(|part| PARTS.iter().any(|(known, _)| known == part)));
        }
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let args = ["rust".to_owned(), "rusty".to_owned()];
        assert_eq!(select(&args).err(), Some("rusty"));
    }
}
