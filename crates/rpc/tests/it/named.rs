//! Every reason is produced by a test: some test of the repository names it in an assertion.
//!
//! Read from the sources: those of `tests/` and the unit tests of `src/`, which stand at the end of their file. An assertion
//! that names a reason does so as `Reason::Variant` or `"NAME"`, within a few lines of a word that compares.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rpc::error::Reason;

/// What makes a line, and the lines around it, an assertion.
const COMPARES: &[&str] = &["assert", "reason(", "expect", "matches!", "refus"];
/// Lines around the name, before and after, among which the comparison is: tables of cases are compared after them.
const BEFORE: usize = 12;
const AFTER: usize = 40;

/// Returns every Rust source below a directory, build output and this file aside.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") && !path.ends_with("rpc/tests/it/named.rs") {
            found.push(path);
        }
    }
}

/// Returns the part of a source that is tests.
fn tests<'a>(path: &Path, text: &'a str) -> &'a str {
    if path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs") {
        return text;
    }
    text.find("#[cfg(test)]").map_or("", |at| &text[at..])
}

/// Tells whether a line names a reason: the whole name, not a part of a longer one.
fn names(line: &str, reason: Reason) -> bool {
    let quoted = format!("\"{}\"", reason.name());
    let variant = format!("Reason::{}", reason.variant());
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    line.contains(&quoted)
        || line
            .match_indices(&variant)
            .any(|(at, _)| ends(&line[at + variant.len()..]))
}

/// Returns the reasons that a test source names where something is compared.
fn named(source: &str) -> BTreeSet<&'static str> {
    let lines: Vec<&str> = source.lines().collect();
    let compared = |at: usize| {
        let around = lines[at.saturating_sub(BEFORE)..lines.len().min(at + AFTER)].iter();
        around
            .clone()
            .any(|line| COMPARES.iter().any(|word| line.contains(word)))
    };
    let mut found = BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if !code.contains("Reason::") && !code.contains('"') {
            continue;
        }
        let here = Reason::ALL.into_iter().filter(|reason| names(code, *reason));
        for reason in here {
            if compared(at) {
                found.insert(reason.name());
            }
        }
    }
    found
}

#[test]
fn every_reason_is_named_by_a_test() {
    let root = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap();
    let mut paths = Vec::new();
    for dir in ["crates", "services", "examples", "tests"] {
        sources(&root.join(dir), &mut paths);
    }
    let mut found = BTreeSet::new();
    for path in &paths {
        let path = path.strip_prefix(&root).unwrap();
        // The catalogue's own tests look at all reasons and produce none.
        if !path.starts_with("crates/rpc/src/error") {
            let source = fs::read_to_string(root.join(path)).unwrap();
            found.extend(named(tests(path, &source)));
        }
    }
    let all: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    let missing: Vec<&&str> = all.difference(&found).collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
}

#[test]
fn a_name_counts_in_an_assertion_only() {
    let asserted = "let status = call();\nassert_eq!(reason(&status), \"TASK_NOT_FOUND\");";
    assert_eq!(named(asserted), BTreeSet::from(["TASK_NOT_FOUND"]));
    let table =
        "for (input, wanted) in [\n    (1, Reason::UserBanned),\n] {\n    assert_eq!(f(input), wanted);\n}";
    assert_eq!(named(table), BTreeSet::from(["USER_BANNED"]));
    assert!(named("let status = Reason::UserBanned.status(\"x\", \"y\");").is_empty());
    assert!(named("// assert_eq!(reason, \"TASK_NOT_FOUND\")\nassert!(true);").is_empty());
    let longer = "assert_eq!(r, Reason::StepAnsweredTwice); assert_eq!(r, \"XSTEP_ANSWERED\");";
    assert!(named(longer).is_empty());
}

#[test]
fn of_a_source_only_its_tests_count() {
    let source = "fn f() { assert_eq!(1, Reason::Internal) }\n#[cfg(test)]\nmod tests { /* here */ }";
    assert!(tests(Path::new("crates/x/src/lib.rs"), source).starts_with("#[cfg(test)]"));
    assert_eq!(tests(Path::new("crates/x/src/lib.rs"), "fn f() {}"), "");
    assert_eq!(tests(Path::new("crates/x/tests/it/main.rs"), source), source);
}
