//! Commands that need no server.

use test_support::Scratch;

use crate::{code, evenkeel, run, stderr, stdout};

#[test]
fn a_wrong_command_line_exits_with_2() {
    assert_eq!(code(&run(&["saga", "lst"])), 2);
    assert_eq!(code(&run(&["saga", "start", "TASK_RUN"])), 2);
    let not_json = run(&["saga", "start", "TASK_RUN", "--business-id", "b", "--input", "{"]);
    assert_eq!(code(&not_json), 2);
    assert!(
        stderr(&not_json).contains("the input is not JSON"),
        "{}",
        stderr(&not_json)
    );
}

#[test]
fn a_wrong_configuration_exits_with_64_and_names_the_key() {
    let unset = run(&[
        "serve",
        "quota",
        "--listen",
        "127.0.0.1:0",
        "--steps-listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(code(&unset), 64, "{}", stderr(&unset));
    assert!(stderr(&unset).contains("DATABASE_URL"), "{}", stderr(&unset));

    let wrong = evenkeel(&["serve", "quota"])
        .env("EVENKEEL_QUOTA__PAGE", "3")
        .output()
        .expect("the binary runs");
    assert_eq!(code(&wrong), 64, "{}", stderr(&wrong));
    assert!(stderr(&wrong).contains("page"), "{}", stderr(&wrong));
}

#[test]
fn a_server_without_keys_exits_with_64_and_says_how_to_make_them() {
    let scratch = Scratch::new().expect("a directory");
    let output = evenkeel(&[
        "serve",
        "quota",
        "--listen",
        "127.0.0.1:0",
        "--steps-listen",
        "127.0.0.1:0",
    ])
    .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nowhere")
    .env("EVENKEEL_ADMIN__LISTEN", "127.0.0.1:0")
    .env("EVENKEEL_KEYS", scratch.path())
    .output()
    .expect("the binary runs");
    assert_eq!(code(&output), 64, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("evenkeel keys init DIR"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn keys_are_made_once_and_sign_tokens() {
    let scratch = Scratch::new().expect("a directory");
    let dir = scratch.path().join("keys");
    let dir = dir.to_str().expect("UTF-8");
    let made = run(&["keys", "init", dir]);
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    assert!(stdout(&made).contains("operator: made"), "{}", stdout(&made));
    assert!(
        stdout(&made).contains(&format!("export EVENKEEL_KEYS={dir}")),
        "{}",
        stdout(&made)
    );
    let again = run(&["keys", "init", dir, "storage", "operator"]);
    assert!(
        stdout(&again).contains("operator: kept as it is"),
        "{}",
        stdout(&again)
    );
    assert!(stdout(&again).contains("storage: made"), "{}", stdout(&again));

    let token = run(&["keys", "token", "--as", "storage", "--for", "saga", "--keys", dir]);
    assert_eq!(code(&token), 0, "{}", stderr(&token));
    assert_eq!(stdout(&token).trim().split('.').count(), 3, "{}", stdout(&token));
    let nobody = run(&["keys", "token", "--as", "nobody", "--for", "saga", "--keys", dir]);
    assert_eq!(code(&nobody), 64, "{}", stderr(&nobody));
    let path = run(&["keys", "init", dir, "../x"]);
    assert_eq!(code(&path), 2, "{}", stderr(&path));
}

#[test]
fn a_file_of_keys_that_encrypt_is_made_once_and_a_version_is_added_before_it_seals() {
    let scratch = Scratch::new().expect("a directory");
    let file = scratch.path().join("kms.json");
    let file = file.to_str().expect("UTF-8");
    let with = |flags: &[&str]| run(&[&["keys", "kms-file", "--out", file], flags].concat());
    let absent = with(&["--add"]);
    assert_eq!(code(&absent), 69, "{}", stderr(&absent));
    let made = with(&[]);
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    assert!(
        stdout(&made).contains(&format!("export EVENKEEL_KMS__LOCAL__FILE={file}")),
        "{}",
        stdout(&made)
    );
    let again = with(&[]);
    assert_eq!(code(&again), 1);
    assert!(stderr(&again).contains("--add"), "{}", stderr(&again));
    let added = with(&["--add"]);
    assert!(
        stdout(&added).contains("version 1 seals, 2 is the newest"),
        "{}",
        stdout(&added)
    );
    let current = with(&["--current"]);
    assert!(
        stdout(&current).contains("version 2 seals"),
        "{}",
        stdout(&current)
    );

    let text = std::fs::read_to_string(file).expect("the file is there");
    let keys: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let secret = keys["keys"][0]["key"].as_str().expect("a key");
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("ours");
    let open = with(&["--add"]);
    assert_eq!(code(&open), 64);
    assert!(stderr(&open).contains("chmod 600"), "{}", stderr(&open));
    for output in [made, again, added, current, open] {
        assert!(!stdout(&output).contains(secret) && !stderr(&output).contains(secret));
    }
}

#[test]
fn an_absent_server_exits_with_69_and_says_how_to_start_one() {
    let output = run(&["saga", "list", "--server", "http://127.0.0.1:1"]);
    assert_eq!(code(&output), 69);
    assert!(stderr(&output).contains("evenkeel dev"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
}

#[test]
fn an_absent_database_exits_with_69_and_the_doctor_says_so() {
    let url = "postgres://nobody@127.0.0.1:1/nowhere";
    assert_eq!(code(&run(&["migrate", "--database-url", url])), 69);
    let doctor = run(&["doctor", "--database-url", url, "-o", "json"]);
    assert_eq!(code(&doctor), 1);
    let report: serde_json::Value = serde_json::from_slice(&doctor.stdout).expect("one JSON document");
    assert_eq!(report["well"], false);
    assert_eq!(report["checks"][0]["state"], "wrong");
}

#[test]
fn a_password_is_never_printed() {
    let url = "postgres//user:hunter2@host";
    for args in [
        ["migrate", "--database-url", url],
        ["doctor", "--database-url", url],
    ] {
        let output = run(&args);
        assert!(!stdout(&output).contains("hunter2"), "{}", stdout(&output));
        assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
    }
    let help = evenkeel(&["migrate", "--help"])
        .env("DATABASE_URL", url)
        .output()
        .expect("the binary runs");
    assert!(!stdout(&help).contains("hunter2"));
}

#[test]
fn check_prints_the_mistakes_of_all_files_and_exits_with_1() {
    let scratch = Scratch::new().expect("a directory");
    let (one, two) = (scratch.path().join("one.yaml"), scratch.path().join("two.yaml"));
    std::fs::write(&one, "saga: [\n").expect("written");
    std::fs::write(
        &two,
        "saga: lower\nversion: 0\ninput: no.such.Message\nsteps: []\n",
    )
    .expect("written");
    let (one, two) = (one.display().to_string(), two.display().to_string());
    let output = run(&["saga", "check", &one, &two]);
    assert_eq!(code(&output), 1);
    let text = stdout(&output);
    for wanted in [
        "one.yaml",
        "BAD_YAML",
        "two.yaml",
        "BAD_NAME",
        "BAD_VERSION",
        "NO_STEPS",
        "MISSING_KEY",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing:\n{text}");
    }
    let output = run(&["saga", "check", &one, &two, "-o", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(report["files"].as_array().map(Vec::len), Some(2));
}

#[test]
fn output_into_a_closed_pipe_is_no_failure() {
    let mut child = evenkeel(&["saga", "check", &shipped(), &shipped()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

fn shipped() -> String {
    concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../services/task/sagas/TASK_RUN.yaml"
    )
    .to_owned()
}
