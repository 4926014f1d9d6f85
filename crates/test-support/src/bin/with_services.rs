//! Runs a command with the services tests need: one private Postgres, RabbitMQ and Redis for all test processes it starts.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use private_postgres::{Config, Error, PrivatePostgres};
use process::exit::{EXIT_CONFIG, EXIT_OS, EXIT_UNAVAILABLE};
use test_support::{
    BROKER_API_VARIABLE, BROKER_VARIABLE, PrivateBroker, PrivateRedis, REDIS_VARIABLE, SERVER_VARIABLE,
    Scratch, Signal, has_broker_binaries, has_redis_binary, signal,
};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal as listen};

const HELP: &str = "\
Runs a command with a private Postgres, RabbitMQ and Redis for tests.

Usage: with-services -- COMMAND [ARGUMENTS...]

Starts one Postgres server (fsync off, a free port on 127.0.0.1, 300 connections, data in a
temporary directory), sets EVENKEEL_TEST_POSTGRES to its URL, runs the command, stops the
server, removes the data and ends with the command's exit code (128 + n after signal n).
If EVENKEEL_TEST_POSTGRES is set already, that server is used and none is started.
The same for RabbitMQ: EVENKEEL_TEST_AMQP (amqp://guest:guest@127.0.0.1:PORT) and
EVENKEEL_TEST_AMQP_API (127.0.0.1:PORT of its HTTP API). And for Redis, if there is a
redis-server: EVENKEEL_TEST_REDIS (redis://127.0.0.1:PORT, 4,096 databases).

Postgres binaries are taken from PG_BIN, /usr/lib/postgresql/*/bin or PATH, RabbitMQ's
from /usr/lib/rabbitmq or /opt/rabbitmq.
Exit codes of its own: 64 wrong usage, 69 binaries are absent, 71 anything else.
";

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments
        .first()
        .is_some_and(|first| first == "--help" || first == "-h")
    {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    if arguments.first().is_some_and(|first| first == "--") {
        arguments.remove(0);
    }
    let mut arguments = arguments.into_iter();
    let Some(program) = arguments.next() else {
        eprint!("{HELP}");
        return ExitCode::from(EXIT_CONFIG);
    };
    let mut command = Command::new(program);
    command.args(arguments);
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| fail(EXIT_OS, &error))
        .and_then(|runtime| runtime.block_on(with_server(command)));
    outcome.unwrap_or_else(|code| code)
}

async fn with_server(mut command: Command) -> Result<ExitCode, ExitCode> {
    let (postgres, broker, redis) = tokio::join!(postgres(), broker(), redis());
    let (postgres, broker) = (postgres?, broker?);
    if let Some((server, _)) = &postgres {
        command.env(SERVER_VARIABLE, server.admin_url());
    }
    if let Some(broker) = &broker {
        command
            .env(BROKER_VARIABLE, broker.url())
            .env(BROKER_API_VARIABLE, broker.api());
    }
    if let Some(redis) = &redis {
        command.env(REDIS_VARIABLE, redis.url());
    }
    let outcome = run(command).await;
    drop((broker, redis));
    if let Some((server, _scratch)) = postgres {
        server.stop().await;
    }
    outcome
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Starts a broker, unless one is named.
async fn broker() -> Result<Option<PrivateBroker>, ExitCode> {
    if is_set(BROKER_VARIABLE) {
        return Ok(None);
    }
    if !has_broker_binaries() {
        eprintln!("with-services: no RabbitMQ binaries; run deploy/ensure-rabbitmq.sh");
        return Err(ExitCode::from(EXIT_UNAVAILABLE));
    }
    Ok(Some(PrivateBroker::start().await))
}

/// Starts a Redis, unless one is named. Tests that need one say so if there is none.
async fn redis() -> Option<PrivateRedis> {
    if is_set(REDIS_VARIABLE) || !has_redis_binary() {
        return None;
    }
    Some(PrivateRedis::start().await)
}

/// Starts a server, unless one is named.
async fn postgres() -> Result<Option<(PrivatePostgres, Scratch)>, ExitCode> {
    if is_set(SERVER_VARIABLE) {
        return Ok(None);
    }
    let scratch = Scratch::new().map_err(|error| fail(EXIT_OS, &error))?;
    let config = Config {
        fsync: false,
        max_connections: 300,
        ..Config::new(scratch.postgres_dir())
    };
    let server = PrivatePostgres::start(config)
        .await
        .map_err(|error| match &error {
            Error::NoBinaries { .. } | Error::BadPgBin { .. } => fail(EXIT_UNAVAILABLE, &error),
            Error::Version { .. }
            | Error::NotSearchable { .. }
            | Error::NoAccount
            | Error::Initdb { .. }
            | Error::Start { .. }
            | Error::NotReady { .. }
            | Error::InUse { .. }
            | Error::Io { .. } => fail(EXIT_OS, &error),
        })?;
    Ok(Some((server, scratch)))
}

/// Runs the command to its end. Ctrl-C reaches it directly; SIGTERM is passed on.
async fn run(mut command: Command) -> Result<ExitCode, ExitCode> {
    let failed = |error: std::io::Error| fail(EXIT_OS, &error);
    let mut interrupt = listen(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = listen(SignalKind::terminate()).map_err(failed)?;
    let mut child = command.spawn().map_err(|error| {
        let program = command.as_std().get_program().display();
        eprintln!("with-services: cannot run {program}: {error}");
        ExitCode::from(EXIT_OS)
    })?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(code_of(status.map_err(failed)?)),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {
                if let Some(pid) = child.id() {
                    signal(pid, Signal::Term);
                }
            }
        }
    }
}

fn code_of(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    eprint!("with-services: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
    ExitCode::from(code)
}
