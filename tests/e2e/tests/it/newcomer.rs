//! What `docs/api.md` tells a newcomer to do, with curl.

use std::collections::BTreeMap;
use std::process::Command;

use e2e::{LONG, binary};
use test_support::{ChildProcess, Scratch, TestDatabase};

const DOCUMENT: &str = include_str!("../../../../docs/api.md");

/// The fenced blocks of a document, by their name.
fn blocks(document: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut found = BTreeMap::<&str, Vec<&str>>::new();
    for part in document.split("\n```").skip(1).step_by(2) {
        let (name, text) = part.split_once('\n').unwrap_or((part, ""));
        found.entry(name).or_default().push(text);
    }
    found
}

/// True if a line is as shown; `…` stands for anything.
fn is_as_shown(line: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn an_ellipsis_stands_for_anything() {
    assert!(is_as_shown("{\"a\":1,\"b\":2}", "{\"a\":…}"));
    assert!(is_as_shown("id: 7", "id: …"));
    assert!(!is_as_shown("id: 7", "id: 8"));
    assert!(!is_as_shown("{\"a\":1}", "{\"b\":…}"));
    assert!(is_as_shown("x-1-y-2-z", "x…y…z"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_who_follows_the_document_gets_from_an_account_to_a_task_watched_live() {
    let folder = Scratch::new().unwrap();
    let database = TestDatabase::create(&[]).await;
    let mut dev = Command::new(binary());
    dev.args(["dev", "--port-base", "0"])
        .current_dir(folder.path())
        .env("DATABASE_URL", database.url());
    let dev = ChildProcess::spawn(dev);
    let mut script = String::from(
        // Answers have no line break at their end.
        "set -euo pipefail\ncurl() { command curl \"$@\"; local code=$?; echo; return $code; }\n",
    );
    for variable in ["EVENKEEL_GATEWAY_URL", "EVENKEEL_QUOTA_URL"] {
        let line = dev.wait_for_line(LONG, |line| line.contains(variable)).await;
        script.push_str(line.trim());
        script.push('\n');
    }
    let blocks = blocks(DOCUMENT);
    for block in &blocks["sh"] {
        script.push_str(block);
        script.push_str("\necho\n");
    }
    let path = format!(
        "{}:{}",
        binary().parent().unwrap().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("EVENKEEL_KEYS", folder.path().join(".evenkeel/keys"))
        .env("DATABASE_URL", database.url())
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{printed}");
    let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let shown = blocks["json"].iter().chain(&blocks["text"]);
    let mut compared = 0;
    for shown in shown.flat_map(|block| block.lines()) {
        if shown.trim().is_empty() || shown.trim() == "…" {
            continue;
        }
        compared += 1;
        assert!(
            lines.iter().any(|line| is_as_shown(line, shown)),
            "the document shows\n{shown}\nbut this was printed:\n{printed}\n{told}"
        );
    }
    assert!(compared > 10, "{compared}");
}
