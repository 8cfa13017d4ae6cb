//! Runs programs in a defined environment, and shows each command line so that a person can repeat it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Session, report};

/// Variables that would make a result depend on the shell: those of another Python's environment, and those that cargo sets
/// for the programs it runs (which build scripts would take for their own).
fn is_foreign(name: &str) -> bool {
    matches!(name, "PYTHONPATH" | "PYTHONHOME" | "PYTHONSTARTUP")
        || name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
}

/// A command line that can be shown, then run.
pub(crate) struct Cmd {
    program: PathBuf,
    /// The program as it is shown: `cargo` instead of its path.
    shown_program: String,
    args: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
    /// A folder that is searched for programs before those of `PATH`.
    path_first: Option<PathBuf>,
    dir: PathBuf,
}

impl Cmd {
    pub(crate) fn new(session: &Session, program: &Path) -> Self {
        Cmd {
            program: program.to_path_buf(),
            shown_program: quoted(below_root(program, session).as_os_str()),
            args: Vec::new(),
            env: Vec::new(),
            path_first: None,
            dir: session.root.clone(),
        }
    }

    /// The cargo that runs this task, so that a `+toolchain` on its command line applies to every step.
    pub(crate) fn cargo(session: &Session) -> Self {
        let program = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        Cmd { shown_program: "cargo".to_owned(), ..Cmd::new(session, &program) }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name, value.as_ref().to_owned()));
        self
    }

    pub(crate) fn path_first(mut self, dir: PathBuf) -> Self {
        self.path_first = Some(dir);
        self
    }

    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.dir = dir.to_path_buf();
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.dir).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(is_foreign) {
                command.env_remove(name);
            }
        }
        if !report::fancy() {
            command.env("CARGO_TERM_COLOR", "never").env("CARGO_TERM_PROGRESS_WHEN", "never");
            command.env("NO_COLOR", "1").env_remove("FORCE_COLOR");
        }
        if let Some(first) = &self.path_first {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let folders = [first.clone()].into_iter().chain(std::env::split_paths(&path));
            // Joining fails only for a folder whose name contains the separator, which cannot be on the path.
            if let Ok(joined) = std::env::join_paths(folders) {
                command.env("PATH", joined);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The command line that a person can type to repeat the command.
    fn shown(&self) -> String {
        let env = self.env.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let path = self.path_first.iter().map(|first| format!("PATH=\"{}:$PATH\"", first.display()));
        let args = self.args.iter().map(|arg| quoted(arg));
        env.chain(path).chain([self.shown_program.clone()]).chain(args).collect::<Vec<_>>().join(" ")
    }

    /// Shows the command and runs it with its output passed through. The error names the command and its exit status.
    pub(crate) fn run(&self) -> Result<(), String> {
        println!("$ {}", self.shown());
        let status = self.command().status().map_err(|error| self.did_not_start(&error))?;
        if status.success() {
            return Ok(());
        }
        Err(format!("This command ended with {status}:\n    {}", self.shown()))
    }

    /// Runs the command quietly. Returns its standard output, or an error with its standard error.
    pub(crate) fn capture(&self) -> Result<String, String> {
        let output = self.command().output().map_err(|error| self.did_not_start(&error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(format!(
            "This command ended with {}:\n    {}\n{}",
            output.status,
            self.shown(),
            stderr.trim_end()
        ))
    }

    fn did_not_start(&self, error: &std::io::Error) -> String {
        format!("This command could not be started ({error}):\n    {}", self.shown())
    }
}

/// A path relative to the root, where commands run, if it is below the root.
fn below_root<'p>(path: &'p Path, session: &Session) -> &'p Path {
    path.strip_prefix(&session.root).unwrap_or(path)
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_./:=+,@%<>\\".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into_owned() } else { format!("{word:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_a_person_would_type_it() {
        let session = Session::new();
        let doc = Cmd::cargo(&session).args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(doc.shown(), r#"RUSTDOCFLAGS="-D warnings" cargo doc --no-deps"#);
    }

    #[test]
    fn a_failure_names_the_command() {
        let session = Session::new();
        let missing = Cmd::new(&session, Path::new("no-such-program-anywhere")).arg("x").run().unwrap_err();
        assert!(missing.contains("no-such-program-anywhere x"), "{missing}");
        let refused = Cmd::cargo(&session).arg("no-such-subcommand").capture().unwrap_err();
        assert!(refused.contains("cargo no-such-subcommand"), "{refused}");
    }
}
