//! The binary as people use it: arguments, output, exit codes, against a real platform.

mod alone;
mod bench;
mod billing;
mod devices;
mod doubles;
mod events;
mod fake;
mod operators;
mod platform;

use std::process::{Command, Output};

/// The binary under test, with a clean environment.
fn evenkeel(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(args).env("NO_COLOR", "1");
    for name in [
        "RUST_BACKTRACE",
        "RUST_LOG",
        "DATABASE_URL",
        "AMQP_URL",
        "EVENKEEL_KEYS",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
fn run(args: &[&str]) -> Output {
    evenkeel(args).output().expect("the binary runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("not killed by a signal")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
