//! Finds a CPython, and keeps an environment for the checks below the target directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Session;
use crate::command::Cmd;

/// The oldest minor version of Python 3 that the package supports (`requires-python` says the same to pip).
const OLDEST_MINOR: u32 = 11;

/// A script with which an interpreter describes itself, one line an answer. Any Python 3, and even Python 2, can run it.
const DESCRIBE: &str = r#"
import platform, sys
print(platform.python_implementation())
print("%d.%d.%d" % sys.version_info[:3])
print(sys.executable)
try:
    import ensurepip, venv
    print("venv")
except ImportError:
    print("no venv")
"#;

#[derive(Debug)]
pub(crate) struct Interpreter {
    exe: PathBuf,
    version: String,
}

/// The interpreter of this answer, or the reason why it cannot be used.
fn judge(answer: &str) -> Result<Interpreter, String> {
    let mut lines = answer.lines().map(str::trim);
    let (implementation, version, exe, venv) = match (lines.next(), lines.next(), lines.next(), lines.next())
    {
        (Some(implementation), Some(version), Some(exe), Some(venv)) => (implementation, version, exe, venv),
        _ => return Err(format!("gave an unexpected answer: {answer:?}")),
    };
    if implementation != "CPython" {
        return Err(format!("is {implementation} {version}, not CPython"));
    }
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(3)), Some(Ok(minor))) if minor >= OLDEST_MINOR => {}
        _ => return Err(format!("is CPython {version}, too old")),
    }
    if venv != "venv" {
        return Err(format!(
            "is CPython {version} without the `venv` and `ensurepip` modules (Debian and Ubuntu: install the package \
             python3-venv)"
        ));
    }
    Ok(Interpreter { exe: exe.into(), version: version.to_owned() })
}

/// The first usable CPython: only the one named by `COVECTOR_PYTHON` if that is set, else `python3`, then `python`.
pub(crate) fn find(session: &Session) -> Result<Interpreter, String> {
    let named = std::env::var("COVECTOR_PYTHON").ok().filter(|name| !name.is_empty());
    let candidates: Vec<&str> = match &named {
        Some(name) => vec![name],
        None => vec!["python3", "python"],
    };
    let mut refused = Vec::new();
    for name in candidates {
        // Python's messages about a failed start are long and do not help: the next candidate may be usable.
        let answer = Cmd::new(session, Path::new(name)).args(["-c", DESCRIBE]).capture();
        match answer.map_err(|_| "cannot be run".to_owned()).and_then(|answer| judge(&answer)) {
            Ok(interpreter) => return Ok(interpreter),
            Err(reason) => refused.push(format!("    `{name}` {reason}")),
        }
    }
    Err(format!(
        "Missing: CPython 3.{OLDEST_MINOR} or newer with the `venv` module. Tried:\n{}\n\
         Install one, or set COVECTOR_PYTHON to the interpreter to use. \
         The Rust checks alone need no Python: cargo xtask test rust",
        refused.join("\n")
    ))
}

impl Interpreter {
    pub(crate) fn describe(&self) -> String {
        format!("CPython {} ({})", self.version, self.exe.display())
    }
}

fn home(session: &Session) -> PathBuf {
    session.target.join("venv-test")
}

/// The environment's own interpreter.
pub(crate) fn exe(session: &Session) -> PathBuf {
    let relative = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
    home(session).join(relative)
}

/// A command of the environment's interpreter. It ignores an environment that the shell has activated.
pub(crate) fn command(session: &Session) -> Cmd {
    Cmd::new(session, &exe(session))
}

/// Creates the environment, unless it exists and was created by the same interpreter from the same requirements.
pub(crate) fn create(session: &mut Session) -> Result<(), String> {
    let interpreter = session.interpreter.as_ref().expect("the `tools` step has found Python");
    let (home, requirements) = (home(session), session.root.join("python/requirements-test.txt"));
    let wanted = fs::read_to_string(&requirements)
        .map_err(|error| format!("cannot read {}: {error}", requirements.display()))?;
    let stamp = format!("{}\n{wanted}", interpreter.describe());
    // Written last, so that an incomplete environment is created again.
    let stamp_file = home.join("made-from.txt");
    if fs::read_to_string(&stamp_file).is_ok_and(|there| there == stamp) && exe(session).exists() {
        println!("{} is up to date", home.display());
        return Ok(());
    }
    if home.exists() {
        fs::remove_dir_all(&home).map_err(|error| format!("cannot remove {}: {error}", home.display()))?;
    }
    Cmd::new(session, &interpreter.exe).args(["-m", "venv"]).arg(&home).run()?;
    pip_install(session).arg("--requirement").arg(&requirements).run()?;
    fs::write(&stamp_file, stamp).map_err(|error| format!("cannot write {}: {error}", stamp_file.display()))
}

/// Builds the package from the root, as a user's `pip install .` does, in the release profile that users get.
///
/// There is one difference: the build backend is the pinned one from the environment, checked against `pyproject.toml`. So
/// it is not downloaded each time.
pub(crate) fn install(session: &mut Session) -> Result<(), String> {
    // Without isolation, pip does not add the backend's program to the path.
    let programs = exe(session).parent().map(Path::to_path_buf).unwrap_or_default();
    pip_install(session)
        .args(["--no-build-isolation", "--check-build-dependencies", "."])
        .path_first(programs)
        .run()?;
    let import = "import covector.core; print(covector.__file__)";
    let found = command(session).args(["-I", "-W", "error", "-c", import]).capture()?;
    println!("covector is imported from {found}");
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if real(Path::new(&found)).starts_with(real(&home(session))) {
        return Ok(());
    }
    Err("This is outside of the environment, so the tests would not test the installed package.".to_owned())
}

fn pip_install(session: &Session) -> Cmd {
    command(session)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"])
        .args(["--progress-bar", "off"])
}

/// Runs the tests on the installed package. They run in an empty folder, so that no folder of the repository can be imported by
/// accident, and every warning is an error.
pub(crate) fn pytest(session: &mut Session) -> Result<(), String> {
    let dir = session.target.join("pytest");
    fs::create_dir_all(&dir).map_err(|error| format!("cannot create {}: {error}", dir.display()))?;
    command(session)
        .args(["-W", "error", "-m", "pytest", "-q"])
        .arg("-c")
        .arg(session.root.join("pyproject.toml"))
        .arg("--rootdir")
        .arg(&session.root)
        .arg(session.root.join("python/tests"))
        .env("COVECTOR_VERIFY_PLANS", "1")
        .dir(&dir)
        .run()
}

/// Checks style and formatting of every Python file in the repository.
pub(crate) fn ruff(session: &mut Session) -> Result<(), String> {
    let folders = ["python", "examples/python", "benches"].map(|folder| (folder, session.root.join(folder)));
    let folders = || folders.iter().filter(|(_, path)| path.is_dir()).map(|(folder, _)| folder);
    let ruff = || command(session).args(["-m", "ruff"]);
    ruff().arg("check").args(folders()).run()?;
    ruff().args(["format", "--check"]).args(folders()).run()
}

/// Checks the types of the package and of the extension module's stubs; files and strictness are set in `pyproject.toml`.
pub(crate) fn mypy(session: &mut Session) -> Result<(), String> {
    command(session).args(["-m", "mypy"]).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(answer: &str) -> String {
        judge(answer).expect_err("this interpreter cannot be used")
    }

    #[test]
    fn a_usable_interpreter_is_taken() {
        let found = judge("CPython\n3.12.4\n/opt/py/bin/python3\nvenv\n").expect("usable");
        assert_eq!(found.describe(), "CPython 3.12.4 (/opt/py/bin/python3)");
        assert!(judge("CPython\r\n3.11.0\r\nC:\\Python\\python.exe\r\nvenv\r\n").is_ok());
    }

    #[test]
    fn an_unusable_interpreter_is_refused_with_the_reason() {
        assert!(reason("CPython\n3.10.18\n/usr/bin/python3\nvenv\n").contains("3.10.18, too old"));
        assert!(reason("CPython\n2.7.18\n/usr/bin/python\nno venv\n").contains("2.7.18, too old"));
        assert!(reason("PyPy\n3.11.1\n/usr/bin/pypy3\nvenv\n").contains("not CPython"));
        assert!(reason("CPython\n3.11.2\n/usr/bin/python3\nno venv\n").contains("python3-venv"));
        assert!(reason("hello").contains("unexpected answer"));
    }
}
