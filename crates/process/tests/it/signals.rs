//! The order to end as a signal gives it. The test binary runs itself as the process that gets the signal.

use std::process::Command;
use std::time::Duration;

use process::exit::{EXIT_CONFIG, Failure};
use process::{Shutdown, run};
use test_support::{ChildProcess, Signal};

const LONG: Duration = Duration::from_secs(30);
/// Set in the process that gets the signal.
const ROLE: &str = "EVENKEEL_SIGNAL_TEST_ROLE";

/// Is nothing unless started by the tests below.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let code = run(Duration::from_secs(60), |shutdown: Shutdown| async move {
        println!("\nready");
        shutdown.requested().await;
        println!("\nasked");
        match &*role {
            "drains" => Ok(()),
            "fails" => Err(Failure::new(EXIT_CONFIG, "as told")),
            _ => std::future::pending().await,
        }
    });
    // Libtest would turn any code into its own.
    std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS) * i32::from(EXIT_CONFIG));
}

async fn started(role: &str) -> ChildProcess {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "signals::child", "--nocapture"])
        .env(ROLE, role);
    let child = ChildProcess::spawn(command);
    child.wait_for_line(LONG, |line| line == "ready").await;
    child
}

#[tokio::test]
async fn sigterm_and_sigint_ask_for_a_drain() {
    for which in [Signal::Term, Signal::Int] {
        let mut child = started("drains").await;
        child.signal(which);
        assert_eq!(child.wait(LONG).await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_failure_is_printed_and_becomes_the_exit_code() {
    let mut child = started("fails").await;
    child.signal(Signal::Term);
    assert_eq!(child.wait(LONG).await.code(), Some(64));
    child.wait_for_line(LONG, |line| line == "error: as told").await;
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut child = started("hangs").await;
    child.signal(Signal::Int);
    child.wait_for_line(LONG, |line| line == "asked").await;
    child.signal(Signal::Int);
    assert_eq!(child.wait(LONG).await.code(), Some(130));
}
