//! Programmes from files.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::cmd::input;
use crate::exit::{Code, Failure};

/// Reads the rules of a file, and checks what JSON alone does not; no file is no rules.
///
/// # Errors
/// It cannot be read, or is no programme; line and column, or the number of the rule, are named.
pub(super) fn read<T: DeserializeOwned>(
    path: Option<&Path>,
    check: impl FnOnce(&[T]) -> Result<(), String>,
) -> Result<Vec<T>, Failure> {
    let Some(path) = path else {
        return Ok(Vec::new());
    };
    let wrong = |error: &dyn std::error::Error| {
        Failure::new(Code::Usage, format!("{} is not a programme", path.display()))
            .because(error)
            .next("docs/doubles.md has the rules of every double")
    };
    let rules: Vec<T> = serde_json::from_str(&input::file_text(path)?).map_err(|error| wrong(&error))?;
    check(&rules).map_err(|problem| wrong(&std::io::Error::other(problem)))?;
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use ::doubles::pay;

    use super::*;

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let scratch = test_support::Scratch::new().unwrap();
        let path = scratch.path().join("rules.json");
        for (text, place) in [
            ("[\n  {\"on\": \"refund\", \"do\": \"dance\"}\n]", "line 2 column"),
            ("[{\"on\": \"refund\", \"do\": \"lose\"}]", "rule 0"),
            ("[", "line 1 column 1"),
        ] {
            std::fs::write(&path, text).unwrap();
            let failure = read(Some(&path), pay::check).unwrap_err();
            assert_eq!(failure.code(), Code::Usage);
            let said = failure.to_string();
            assert!(said.contains("rules.json") && said.contains(place), "{said}");
        }
        assert_eq!(read(None, pay::check).unwrap(), []);
    }
}
