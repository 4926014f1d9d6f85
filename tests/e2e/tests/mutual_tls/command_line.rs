//! What people see: servers that do not start, and commands that show a certificate.

use std::process::{Command, Output};

use e2e::{Certificates, LONG, binary};
use test_support::{ChildProcess, Scratch, TestDatabase, identities};

/// `evenkeel serve quota` with these variables, until it ends by itself.
fn serve_quota(variables: &[(&str, std::path::PathBuf)]) -> (Option<i32>, String) {
    let output = Command::new(binary())
        .args([
            "serve",
            "quota",
            "--listen",
            "127.0.0.1:0",
            "--steps-listen",
            "127.0.0.1:0",
        ])
        .args(["--admin-listen", "127.0.0.1:0"])
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .env("EVENKEEL_KEYS", identities().dir())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    (output.status.code(), text(&output))
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr]
        .map(String::from_utf8_lossy)
        .concat()
}

#[tokio::test]
async fn a_server_does_not_start_with_certificates_that_cannot_be_used() {
    let certificates = Certificates::make();
    let (code, text) = serve_quota(&certificates.environment("task"));
    assert_eq!(code, Some(64), "{text}");
    assert!(
        text.contains("tls.certificate is of task, and this is quota"),
        "{text}"
    );

    let mut mixed = certificates.environment("quota");
    mixed[1].1 = certificates.file("task", "cert-key.pem");
    let (code, text) = serve_quota(&mixed);
    assert_eq!(code, Some(64), "{text}");
    assert!(
        text.contains("tls.key") && text.contains("task.cert-key.pem") && text.contains("does not fit"),
        "{text}"
    );

    let (code, text) = serve_quota(&mixed[..1]);
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("tls.key is missing"), "{text}");
}

#[tokio::test]
async fn dev_speaks_mutual_tls_and_says_what_commands_need() {
    let (database, scratch) = (TestDatabase::create(&[]).await, Scratch::new().unwrap());
    let mut command = Command::new(binary());
    command
        .args(["dev", "--tls", "--port-base", "0", "--data-dir"])
        .arg(scratch.path())
        .env_remove("EVENKEEL_KEYS")
        .env("DATABASE_URL", database.url());
    let dev = ChildProcess::spawn(command);
    dev.wait_for_line(LONG, |line| line.contains("export EVENKEEL_TLS__TRUST="))
        .await;
    let exports: Vec<(String, String)> = dev
        .stdout()
        .iter()
        .filter_map(|line| line.trim().strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let saga = exports
        .iter()
        .find(|(name, _)| name == "EVENKEEL_SAGA_URL")
        .unwrap();
    assert!(saga.1.starts_with("https://127.0.0.1:"), "{saga:?}");

    let list = |variables: &[(String, String)]| {
        Command::new(binary())
            .args(["saga", "definitions", "-o", "json"])
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap()
    };
    let listed = list(&exports);
    assert!(listed.status.success(), "{}", text(&listed));
    assert!(text(&listed).contains("TASK_RUN"), "{}", text(&listed));

    let without: Vec<_> = exports
        .into_iter()
        .filter(|(name, _)| !name.starts_with("EVENKEEL_TLS"))
        .collect();
    let refused = list(&without);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(
        text(&refused).contains("needs TLS: set tls.certificate"),
        "{}",
        text(&refused)
    );
}
