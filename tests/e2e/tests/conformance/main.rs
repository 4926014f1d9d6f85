//! `evenkeel participant check` and `evenkeel saga test`: what is right passes, what is broken fails where it is broken.

mod agency;
mod definitions;
mod python;
mod rust;
mod shop;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

/// What a command printed as JSON, and its exit code.
#[derive(Debug)]
struct Report {
    code: Option<i32>,
    json: Value,
}

/// Runs `evenkeel` in a directory; servers of this process go on answering.
async fn evenkeel(directory: &Path, args: &[&str]) -> Report {
    let output = Command::new(e2e::binary())
        .args(args)
        .args(["-o", "json"])
        .current_dir(directory)
        .env_remove("EVENKEEL_KEYS")
        .kill_on_drop(true)
        .output()
        .await
        .expect("the binary runs");
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    Report {
        code: output.status.code(),
        json,
    }
}

impl Report {
    /// Result and what was seen, by check.
    fn checks(&self) -> BTreeMap<String, (String, String)> {
        let checks = self.json["checks"].as_array().expect("checks");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        checks
            .iter()
            .map(|row| (text(&row["check"]), (text(&row["result"]), text(&row["saw"]))))
            .collect()
    }

    /// Names of the checks with this result.
    fn with(&self, result: &str) -> Vec<String> {
        let checks = self.checks().into_iter();
        checks
            .filter(|(_, (found, _))| found == result)
            .map(|(name, _)| name)
            .collect()
    }

    /// Everything that could be tried holds; only these could not be.
    fn assert_passed(&self, untried: &[&str]) {
        assert_eq!(self.with("FAIL"), Vec::<String>::new(), "{:#}", self.json);
        assert_eq!(self.with("SKIP"), untried, "{:#}", self.json);
        assert_eq!(self.code, Some(0));
    }

    /// This check failed, and says what to do.
    fn assert_broken(&self, check: &str) {
        assert!(
            self.with("FAIL").iter().any(|name| name == check),
            "{check} holds: {:#}",
            self.json
        );
        let rows = self.json["checks"].as_array().expect("checks");
        let row = rows
            .iter()
            .find(|row| row["check"] == check)
            .expect("it is there");
        assert_ne!(row["next"], "", "{row}");
        assert_eq!(self.code, Some(1));
    }
}

fn example(file: &str) -> PathBuf {
    Path::new(EXAMPLES).join(file)
}
