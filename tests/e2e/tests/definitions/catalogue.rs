//! No definition is forgotten.

use std::collections::BTreeSet;
use std::path::Path;

/// Folders whose definitions are material of tests, not sagas that anybody runs.
const MATERIAL: [&str; 1] = ["crates/saga-definition/tests"];

fn definitions(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("an entry").path();
        let inside = path
            .strip_prefix(root)
            .expect("below the root")
            .to_string_lossy()
            .into_owned();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') && !MATERIAL.contains(&inside.as_str()) {
                definitions(root, &path, found);
            }
        } else if name.ends_with(".yaml") {
            let text = std::fs::read_to_string(&path).expect("it can be read");
            let saga = text.lines().find_map(|line| line.strip_prefix("saga: "));
            found.extend(saga.map(|saga| saga.trim().to_owned()));
        }
    }
}

#[test]
fn every_definition_of_the_repository_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = BTreeSet::new();
    definitions(&root, &root, &mut found);
    let tested: BTreeSet<String> = crate::TESTED.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(found, tested, "each definition needs its line in main.rs");
}
