//! What is checked when files are read, and what happens when they change.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use tls::{Config, Error, Mutual, Problem};
use tokio_util::sync::CancellationToken;

use crate::support::{Files, HOUR, authority, fresh, issue};

fn refused(config: &Config) -> String {
    Mutual::open(config, "task").unwrap_err().to_string()
}

#[test]
fn each_mistake_names_the_setting_and_the_file() {
    let (ours, theirs) = (authority(), authority());
    let good = fresh(&ours, "task");
    let now = SystemTime::now();
    let cases = [
        (
            "certificate",
            "".to_owned(),
            "tls.certificate",
            "no certificate in PEM",
        ),
        (
            "certificate",
            good.key.to_string(),
            "tls.certificate",
            "no certificate in PEM",
        ),
        (
            "certificate",
            issue(&ours, "task", now - HOUR).certificate,
            "tls.certificate",
            "has expired: 2",
        ),
        (
            "certificate",
            issue(&ours, "task", now + 4 * HOUR).certificate,
            "tls.certificate",
            "not valid before 2",
        ),
        (
            "certificate",
            fresh(&theirs, "task").certificate,
            "tls.certificate",
            "not believed",
        ),
        (
            "certificate",
            ours.certificate().to_owned(),
            "tls.certificate",
            "authority",
        ),
        (
            "certificate",
            good.certificate.repeat(11),
            "tls.certificate",
            "more than 10",
        ),
        (
            "certificate",
            "x".repeat(600_000),
            "tls.certificate",
            "more than 524288 bytes",
        ),
        (
            "key",
            good.certificate.clone(),
            "tls.key",
            "no private key in PEM",
        ),
        (
            "key",
            fresh(&ours, "task").key.to_string(),
            "tls.key",
            "does not fit",
        ),
        ("trust", good.key.to_string(), "tls.trust", "no authority in PEM"),
        (
            "trust",
            theirs.certificate().to_owned(),
            "tls.certificate",
            "not believed",
        ),
    ];
    for (file, text, setting, why) in cases {
        let files = Files::new(&good, ours.certificate());
        fs::write(files.path(file), text).unwrap();
        let error = refused(&files.config());
        let path = files.path(setting.trim_start_matches("tls."));
        assert!(
            error.contains(setting) && error.contains(why) && error.contains(path.to_str().unwrap()),
            "{error}, not {setting}: {why}"
        );
    }
}

#[test]
fn the_three_files_go_together() {
    let files = Files::new(&fresh(&authority(), "task"), "");
    for missing in ["certificate", "key", "trust"] {
        let mut config = files.config();
        match missing {
            "certificate" => config.certificate = None,
            "key" => config.key = None,
            _ => config.trust = None,
        }
        assert!(config.is_set());
        assert!(refused(&config).starts_with(&format!("tls.{missing} is missing")));
    }
    assert!(!Config::default().is_set());
    let hasty = Config {
        reload: Duration::from_millis(99),
        ..files.config()
    };
    assert!(matches!(Mutual::open(&hasty, "task"), Err(Error::TooOften)));
    fs::remove_file(files.path("key")).unwrap();
    assert!(matches!(
        Mutual::open(&files.config(), "task"),
        Err(Error::File {
            setting: "tls.key",
            problem: Problem::Unreadable(_),
            ..
        })
    ));
}

/// Runs until the condition holds.
async fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "it does not come about"
        );
        tick.tick().await;
    }
}

#[tokio::test]
async fn changed_files_are_used_until_the_watch_is_told_to_end() {
    let ours = authority();
    let files = Files::new(&fresh(&ours, "task"), ours.certificate());
    let mutual = files.open();
    let stop = CancellationToken::new();
    let watching = tokio::spawn(mutual.clone().watch(stop.clone()));
    let later = SystemTime::now() + HOUR / 2;
    files.write(&issue(&ours, "task", later));
    until(|| mutual.generation() == 1).await;
    assert!(!mutual.leaf().is_valid_at(later + HOUR / 4));
    stop.cancel();
    watching.await.unwrap();
}
