//! What the tree must not have: edges between our crates (DESIGN section 2), read from `cargo metadata`, and statements that read
//! a whole table to find the little that is due.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Where a package lives, which decides what it may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    Crates,
    Services,
    Examples,
    EndToEnd,
}

/// One dependency as a manifest states it.
#[derive(Debug, Clone)]
struct Edge {
    from: String,
    from_home: Home,
    to: String,
    /// `None` for packages that are not ours.
    to_home: Option<Home>,
    dev: bool,
}

/// Says what is wrong with an edge, if anything.
fn verdict(edge: &Edge) -> Option<&'static str> {
    if edge.to.contains("opentelemetry") && edge.from != "telemetry" {
        return Some("only telemetry names opentelemetry");
    }
    let to_home = edge.to_home?;
    match (edge.from_home, to_home) {
        (Home::EndToEnd, _) if edge.from == "model" => (!["saga-core", "barrier", "rpc"]
            .contains(&edge.to.as_str()))
        .then_some("the model knows what decides, and nothing that acts"),
        (Home::EndToEnd, _) => None,
        (_, Home::EndToEnd) => Some("nothing depends on the end-to-end tests"),
        (_, Home::Examples) => Some("nothing depends on an example"),
        (Home::Examples, Home::Services) => Some("an example uses what outsiders have: crates"),
        (Home::Crates, Home::Services) if edge.from != "evenkeel" => {
            Some("crates do not depend on services; only the binary wires them")
        }
        (Home::Services, Home::Services) if edge.to != "doubles" => {
            Some("services talk to each other through proto only")
        }
        (Home::Services, Home::Services) if !edge.dev => Some("doubles are for tests: a dev-dependency"),
        (Home::Crates | Home::Services | Home::Examples, Home::Crates) => crate_edge(edge),
        (Home::Crates | Home::Services, Home::Services) => None,
    }
}

fn crate_edge(edge: &Edge) -> Option<&'static str> {
    if edge.to == "test-support" {
        return (!edge.dev).then_some("test-support is a dev-dependency");
    }
    if edge.to == "evenkeel" {
        return Some("nothing depends on the binary");
    }
    match edge.from.as_str() {
        "saga-core" if edge.to != "ids" => Some("the saga core is pure: of ours it may use ids only"),
        "saga-definition" if !["ids", "proto", "rpc"].contains(&edge.to.as_str()) => {
            Some("definitions are checked without I/O and without the engine")
        }
        "conformance" if ["barrier", "saga-core", "saga-engine"].contains(&edge.to.as_str()) => {
            Some("participants and definitions are checked from outside, without what makes them work")
        }
        "proto" | "ids" => Some("proto and ids are the ground: they use none of ours"),
        _ => None,
    }
}

fn home(manifest_path: &str) -> Option<Home> {
    let path = std::path::Path::new(manifest_path);
    match path.parent()?.parent()?.file_name()?.to_str()? {
        "crates" => Some(Home::Crates),
        "services" => Some(Home::Services),
        "examples" => Some(Home::Examples),
        "tests" => Some(Home::EndToEnd),
        _ => None,
    }
}

/// Reads every edge of the workspace.
fn edges() -> Vec<Edge> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--manifest-path",
        ])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo runs this test, so it is there");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let home_of = |name: &str| {
        let package = packages.iter().find(|package| package["name"] == name)?;
        home(package["manifest_path"].as_str()?)
    };
    let mut edges = Vec::new();
    for package in packages {
        let from = text(&package["name"]);
        let from_home =
            home_of(&from).unwrap_or_else(|| panic!("{from} is not in crates, services or tests"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = text(&dependency["name"]);
            edges.push(Edge {
                from: from.clone(),
                from_home,
                to_home: home_of(&to),
                dev: dependency["kind"] == "dev",
                to,
            });
        }
    }
    edges
}

#[test]
fn no_edge_between_our_crates_is_forbidden() {
    let edges = edges();
    assert!(
        edges.iter().any(|edge| edge.to_home.is_some()),
        "the workspace was not read"
    );
    let wrong: Vec<String> = edges
        .iter()
        .filter_map(|edge| verdict(edge).map(|why| format!("{} -> {}: {why}", edge.from, edge.to)))
        .collect();
    assert!(wrong.is_empty(), "forbidden edges:\n{}", wrong.join("\n"));
}

#[test]
fn the_rules_catch_what_they_forbid() {
    let edge = |from: &str, from_home, to: &str, to_home, dev| Edge {
        from: from.to_owned(),
        from_home,
        to: to.to_owned(),
        to_home,
        dev,
    };
    let (crates, services) = (Home::Crates, Home::Services);
    let forbidden = [
        edge("task", services, "quota", Some(services), false),
        edge("task", services, "quota", Some(services), true),
        edge("task", services, "doubles", Some(services), false),
        edge("saga-core", crates, "rpc", Some(crates), false),
        edge("model", Home::EndToEnd, "saga-engine", Some(crates), false),
        edge("saga-engine", crates, "saga", Some(services), false),
        edge("rpc", crates, "quota", Some(services), true),
        edge("quota", services, "test-support", Some(crates), false),
        edge("quota", services, "evenkeel", Some(crates), false),
        edge("process", crates, "opentelemetry", None, false),
        edge("ids", crates, "rpc", Some(crates), false),
        edge("conformance", crates, "barrier", Some(crates), false),
    ];
    for edge in forbidden {
        assert!(verdict(&edge).is_some(), "{edge:?}");
    }
    let allowed = [
        edge("evenkeel", crates, "quota", Some(services), false),
        edge("task", services, "doubles", Some(services), true),
        edge("saga-core", crates, "ids", Some(crates), false),
        edge("quota", services, "test-support", Some(crates), true),
        edge("telemetry", crates, "opentelemetry", None, false),
        edge("e2e", Home::EndToEnd, "quota", Some(services), true),
    ];
    for edge in allowed {
        assert!(verdict(&edge).is_none(), "{edge:?}");
    }
}

/// Returns the Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Says whether a statement takes some of the rows on one side of `clock_timestamp()`. That clock differs from row to row, so
/// it cannot be the bound of an index scan, and all rows in the order are read to find those few. `statement_timestamp()` can.
fn reads_everything(sql: &str) -> bool {
    let words = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    let bounded = ["<", "<=", ">", ">="]
        .iter()
        .any(|sign| words.contains(&format!(" {sign} clock_timestamp()")));
    bounded && words.contains(" limit $")
}

#[test]
fn what_is_due_is_found_without_reading_what_is_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["crates", "services"] {
        sources(&root.join(folder), &mut files);
    }
    let (mut read, mut wrong) = (0, Vec::new());
    for file in files
        .iter()
        .filter(|file| file.components().any(|part| part.as_os_str() == "src"))
    {
        let text = std::fs::read_to_string(file).expect("it can be read");
        // Every second part stands between quotes, or does not if something else had one: looked at are all.
        for part in text.split('"') {
            read += usize::from(part.contains(" limit $"));
            if reads_everything(part) {
                let file = file.strip_prefix(&root).unwrap_or(file);
                wrong.push(format!("{}: {part}", file.display()));
            }
        }
    }
    assert!(read > 20, "the statements were not found: {read}");
    assert!(
        wrong.is_empty(),
        "use statement_timestamp():\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_statement_that_reads_everything_is_caught() {
    assert!(reads_everything(
        "select id from t where at <=\n clock_timestamp() order by at limit $1"
    ));
    assert!(!reads_everything(
        "select id from t where at <= statement_timestamp() order by at limit $1"
    ));
    assert!(!reads_everything(
        "update t set at = clock_timestamp() where id = $1 and at < clock_timestamp()"
    ));
}
