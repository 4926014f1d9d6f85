//! Runs real servers and processes. Needs Postgres binaries.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; allow-unwrap-in-tests sees only test functions"
)]

use std::borrow::Cow;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection, PgConnection, SqlSafeStr};
use test_support::{
    BROKER_VARIABLE, ChildProcess, PrivateBroker, PrivateRedis, REDIS_VARIABLE, SERVER_VARIABLE, Scratch,
    Signal, TestDatabase, TestRedis, eventually,
};

const LONG: Duration = Duration::from_secs(30);

fn with_services(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_with-services"));
    command
        .args(arguments)
        .env_remove(SERVER_VARIABLE)
        .env_remove("PG_BIN")
        // A broker takes seconds to start; the test that wants one takes this away.
        .env(BROKER_VARIABLE, "amqp://nobody")
        .env(REDIS_VARIABLE, "redis://nobody");
    command
}

/// A shell command whose first line of output tells the server's URL.
fn telling(rest: &str) -> Command {
    with_services(&[
        "--",
        "/bin/sh",
        "-c",
        &format!("echo url=$EVENKEEL_TEST_POSTGRES; {rest}"),
    ])
}

async fn url_of(child: &ChildProcess) -> String {
    let line = child.wait_for_line(LONG, |line| line.starts_with("url=")).await;
    line["url=".len()..].to_owned()
}

async fn data_directory(url: &str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let (path,): (String,) = sqlx::query_as("select current_setting('data_directory')")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    path
}

async fn is_gone(url: &str, data: &str) {
    eventually(LONG, || async {
        PgConnection::connect(url).await.is_err() && !Path::new(data).exists()
    })
    .await;
}

#[tokio::test]
async fn with_services_gives_a_server_passes_the_exit_code_and_cleans_up() {
    let mut child = ChildProcess::spawn(telling("sleep 0.5; exit 7"));
    let url = url_of(&child).await;
    let data = data_directory(&url).await;
    assert_eq!(child.wait(LONG).await.code(), Some(7));
    assert!(PgConnection::connect(&url).await.is_err());
    assert!(!Path::new(&data).exists());
}

#[tokio::test]
async fn the_server_dies_when_its_parent_is_killed() {
    let mut child = ChildProcess::spawn(telling("exec sleep 60"));
    let url = url_of(&child).await;
    let data = data_directory(&url).await;
    child.signal(Signal::Kill);
    child.wait(LONG).await;
    is_gone(&url, &data).await;
}

#[tokio::test]
async fn with_services_passes_sigterm_on_and_reports_the_signal() {
    let mut child = ChildProcess::spawn(telling("exec sleep 60"));
    let url = url_of(&child).await;
    child.signal(Signal::Term);
    assert_eq!(child.wait(LONG).await.code(), Some(128 + 15));
    assert!(PgConnection::connect(&url).await.is_err());
}

#[tokio::test]
async fn without_postgres_binaries_with_services_says_what_to_install() {
    let mut command = with_services(&["--", "true"]);
    command.env("PG_BIN", "/nonexistent");
    let mut child = ChildProcess::spawn(command);
    assert_eq!(child.wait(LONG).await.code(), Some(69));
    child
        .wait_for_line(LONG, |line| line.contains("PG_BIN is /nonexistent"))
        .await;
    child
        .wait_for_line(LONG, |line| line.contains("apt-get install -y postgresql"))
        .await;
}

#[tokio::test]
async fn with_services_explains_itself_and_refuses_an_empty_command() {
    let mut help = ChildProcess::spawn(with_services(&["--help"]));
    assert_eq!(help.wait(LONG).await.code(), Some(0));
    help.wait_for_line(LONG, |line| line.contains("Usage: with-services -- COMMAND"))
        .await;
    let mut empty = ChildProcess::spawn(with_services(&["--"]));
    assert_eq!(empty.wait(LONG).await.code(), Some(64));
    let mut absent = ChildProcess::spawn(with_services(&["--", "/nonexistent-program"]));
    assert_eq!(absent.wait(LONG).await.code(), Some(71));
}

fn migrator(sql: &'static str) -> Migrator {
    Migrator::with_migrations(vec![Migration::new(
        1,
        Cow::Borrowed("first"),
        MigrationType::Simple,
        sql.into_sql_str(),
        false,
    )])
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own_with_its_schemas() {
    let quota = migrator("create table account (id int primary key)");
    let task = migrator("create table task (id int primary key)");
    let first = TestDatabase::create(&[("quota", &quota), ("task", &task)]).await;
    let second = TestDatabase::create(&[("quota", &quota)]).await;
    assert_ne!(first.name(), second.name());

    let pool = first.pool("quota").await;
    sqlx::query("insert into account values (1)")
        .execute(&pool)
        .await
        .unwrap();
    assert!(
        sqlx::query("select * from task").execute(&pool).await.is_err(),
        "a service sees its own schema only"
    );
    let count = "select count(*) from account, task";
    let (seen,): (i64,) = sqlx::query_as("select count(*) from account")
        .fetch_one(first.admin())
        .await
        .unwrap();
    assert_eq!(seen, 1);
    assert!(sqlx::query(count).execute(first.admin()).await.is_ok());
    let (other,): (i64,) = sqlx::query_as("select count(*) from account")
        .fetch_one(second.admin())
        .await
        .unwrap();
    assert_eq!(other, 0);
}

#[tokio::test]
async fn a_dropped_test_database_is_gone_although_connections_are_open() {
    let database = TestDatabase::create(&[]).await;
    let url = database.url();
    let _open = PgConnection::connect(&url).await.unwrap();
    drop(database);
    let error = PgConnection::connect(&url).await.unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
}

#[tokio::test]
async fn a_child_can_be_paused_continued_and_is_killed_when_dropped() {
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        "echo begun; i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done",
    ]);
    let child = ChildProcess::spawn(command);
    child.wait_for_line(LONG, |line| line == "begun").await;
    child.signal(Signal::Stop);
    let pid = child.pid();
    eventually(LONG, || async { state_of(pid) == Some('T') }).await;
    let paused_at = child.stdout().len();
    child.signal(Signal::Cont);
    eventually(LONG, || async { child.stdout().len() > paused_at + 3 }).await;
    drop(child);
    assert_eq!(state_of(pid), None);
}

/// Says whether somebody listens at `host:port`.
fn answers(address: &str) -> bool {
    std::net::TcpStream::connect(address).is_ok()
}

#[tokio::test]
async fn with_services_gives_a_broker_that_ends_with_it() {
    let database = TestDatabase::create(&[]).await;
    let mut command = with_services(&[
        "--",
        "/bin/sh",
        "-c",
        "echo api=$EVENKEEL_TEST_AMQP_API; exec sleep 600",
    ]);
    command
        .env(SERVER_VARIABLE, database.url())
        .env_remove(BROKER_VARIABLE);
    let child = ChildProcess::spawn(command);
    let line = child
        .wait_for_line(LONG * 4, |line| line.starts_with("api="))
        .await;
    let api = line["api=".len()..].to_owned();
    assert!(answers(&api));
    // Killed: nothing of it can clean up.
    drop(child);
    eventually(LONG, || async { !answers(&api) }).await;
}

#[tokio::test]
async fn a_private_broker_can_be_killed_and_started_again_on_its_ports() {
    let mut broker = PrivateBroker::start().await;
    let address = broker.url().replace("amqp://guest:guest@", "");
    broker.kill().await;
    assert!(!answers(&address));
    broker.restart().await;
    assert!(answers(&address));
    broker.stop().await;
    assert!(!answers(&address));
}

#[tokio::test]
async fn with_services_gives_a_redis_that_ends_with_it() {
    let database = TestDatabase::create(&[]).await;
    let mut command = with_services(&[
        "--",
        "/bin/sh",
        "-c",
        "echo url=$EVENKEEL_TEST_REDIS; exec sleep 600",
    ]);
    command
        .env(SERVER_VARIABLE, database.url())
        .env_remove(REDIS_VARIABLE);
    let child = ChildProcess::spawn(command);
    let address = url_of(&child).await.replace("redis://", "");
    assert!(answers(&address));
    // Killed: nothing of it can clean up.
    drop(child);
    eventually(LONG, || async { !answers(&address) }).await;
}

#[tokio::test]
async fn a_private_redis_can_be_killed_and_started_again_on_its_port() {
    let mut redis = PrivateRedis::start().await;
    let address = redis.url().replace("redis://", "");
    redis.kill().await;
    assert!(!answers(&address));
    redis.restart().await;
    assert!(answers(&address));
    redis.stop().await;
    assert!(!answers(&address));
    redis.restart().await;
    redis.pause();
    // One that hangs ends with its owner, too.
    drop(redis);
    assert!(!answers(&address));
}

#[tokio::test]
async fn each_test_has_a_redis_database_of_its_own() {
    let (first, second) = (TestRedis::create().await, TestRedis::create().await);
    assert_ne!(first.url(), second.url());
    assert!(first.url().starts_with("redis://127.0.0.1:"), "{}", first.url());
}

fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

#[tokio::test]
async fn a_scratch_directory_is_removed_with_its_content() {
    let scratch = Scratch::new().unwrap();
    let path = scratch.path().to_owned();
    std::fs::create_dir_all(path.join("a/b")).unwrap();
    drop(scratch);
    assert!(!path.exists());
}
