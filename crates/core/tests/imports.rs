//! The modules of the crate import each other in one direction, but for the circles that are listed here. What is below
//! (kernels, and the runtime with shapes, buffers and errors) is in crates of its own, so the compiler keeps it apart.
//!
//! `COVECTOR_MODULES=1 cargo test -p covector-core --test imports -- --nocapture` prints lines and imports of each module.

#![allow(clippy::print_stdout, reason = "the table of modules is printed on request")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that may import each other: a node holds a primitive, and primitives speak of arrays; operations apply
/// primitives, whose rules are written in operations.
const CIRCLES: &[&[&str]] = &[&["array", "primitive"], &["ops", "wide"]];

/// Imports that would not close a circle today and are still wrong: (importer, imported, reason).
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("array", "eval", "an array is a handle; evaluation is built on it"),
    ("array", "graph", "walks are built on nodes"),
    ("primitive", "ops", "the trait is below the operations"),
    ("ops", "ad", "operations do not know that they are differentiated"),
    ("ops", "plan", "operations make graph; the planner reads it"),
    ("ops", "eval", "operations make graph and compute nothing"),
    ("ops", "transforms", "transforms are built on operations"),
    ("ad", "eval", "derivatives are graphs"),
    ("ad", "plan", "derivatives are graphs"),
    ("ad", "transforms", "transforms are built on the walks"),
    ("plan", "ad", "the planner knows nothing of derivatives"),
    ("plan", "ops", "the planner reads primitives by what they lower to"),
    ("plan", "transforms", "the planner knows nothing of transforms"),
    ("tree", "ops", "a tree holds arrays"),
];

/// A module: its lines of code (no blank lines, comments or tests) and the files that import each other module.
#[derive(Default)]
struct Module {
    lines: usize,
    imports: BTreeMap<String, BTreeSet<String>>,
}

/// The top-level module of a file. `array/apply.rs` counts by itself: nothing imports it, and it alone evaluates, to bound
/// how much work may wait.
fn module_of(file: &str) -> String {
    match file {
        "array/apply.rs" => "array::apply".to_owned(),
        _ => file.trim_end_matches(".rs").split('/').next().unwrap_or_default().to_owned(),
    }
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The names behind `crate::` in a line of code, also those of a list in braces.
fn imported(line: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut names = Vec::new();
    for rest in line.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => names.push(name(rest)),
            Some(list) => {
                names.push(name(list));
                let mut depth = 0;
                for (i, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => names.push(name(&list[i + 1..])),
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

/// The files that a module declares for tests only.
fn tests_of(module: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(module).unwrap();
    let dir = match module.file_name().unwrap().to_str() {
        Some("mod.rs" | "lib.rs") => module.with_file_name(""),
        _ => module.with_extension(""),
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let names = declared.filter_map(|pair| pair[1].strip_prefix("mod ")?.strip_suffix(';'));
    names.map(|name| dir.join(name).with_extension("rs")).collect()
}

fn modules() -> BTreeMap<String, Module> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    let tests: BTreeSet<PathBuf> = paths.iter().flat_map(|path| tests_of(path)).collect();
    let mut found: BTreeMap<String, Module> = BTreeMap::new();
    let mut texts = Vec::new();
    for path in paths {
        let file = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(&path).unwrap();
        if file == "lib.rs" || tests.contains(&path) {
            continue;
        }
        let code: Vec<String> = text
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default().trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        let module = found.entry(module_of(&file)).or_default();
        module.lines += code.len();
        // A list of imports may take several lines.
        texts.push((file, code.join(" ")));
    }
    let known: BTreeSet<String> = found.keys().cloned().collect();
    for (file, code) in texts {
        let own = module_of(&file);
        for name in imported(&code).into_iter().filter(|name| known.contains(name) && *name != own) {
            let imports = &mut found.get_mut(&own).unwrap().imports;
            imports.entry(name).or_default().insert(file.clone());
        }
    }
    found
}

/// What a module reaches over imports.
fn reached(from: &str, modules: &BTreeMap<String, Module>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![from];
    while let Some(next) = waiting.pop() {
        for name in modules[next].imports.keys() {
            if found.insert(name.clone()) {
                waiting.push(name);
            }
        }
    }
    found
}

#[test]
fn modules_import_in_one_direction() {
    let modules = modules();
    if std::env::var_os("COVECTOR_MODULES").is_some() {
        for (name, module) in &modules {
            let imports: Vec<&str> = module.imports.keys().map(String::as_str).collect();
            println!("{name:14} {:6}  {}", module.lines, imports.join(" "));
        }
    }
    let reach: BTreeMap<&str, BTreeSet<String>> =
        modules.keys().map(|name| (name.as_str(), reached(name, &modules))).collect();
    for (&name, reached) in reach.iter().filter(|(name, reached)| reached.contains(**name)) {
        let circle: Vec<&str> =
            reached.iter().map(String::as_str).filter(|other| reach[other].contains(name)).collect();
        let how: Vec<String> = circle
            .iter()
            .flat_map(|a| modules[*a].imports.iter().map(move |(b, files)| (a, b, files)))
            .filter(|(_, b, _)| circle.contains(&b.as_str()))
            .map(|(a, b, files)| format!("{a} imports {b} in {files:?}"))
            .collect();
        assert!(CIRCLES.contains(&&circle[..]), "a circle of modules:\n{}", how.join("\n"));
    }
    for circle in CIRCLES {
        let closed = circle.iter().all(|a| circle.iter().all(|b| reach[a].contains(*b)));
        assert!(closed, "{circle:?} is no circle any more: take it off the list");
    }
}

#[test]
fn no_module_imports_from_a_layer_above_it() {
    let modules = modules();
    for (from, to, reason) in FORBIDDEN {
        let module = modules.get(*from).unwrap_or_else(|| panic!("there is no module {from}"));
        let files = module.imports.get(*to);
        assert!(files.is_none(), "{from} imports {to} in {files:?}: {reason}");
    }
}

#[test]
fn imports_are_found_in_lists_and_in_expressions() {
    let names = |line: &str| imported(line).join(" ");
    assert_eq!(names("use crate::array::{Array, Aval};"), "array");
    assert_eq!(names("use crate::{array::{Array, Aval}, ops, eval::eval};"), "array ops eval");
    assert_eq!(names("let x = crate::eval::eval(&[crate::ops::zeros()]);"), "eval ops");
    assert_eq!(names("use crate::{ops, plan}; fn f(a: u8, b: u8) {}"), "ops plan");
    assert_eq!(names("pub(crate) fn f() {}"), "");
}
