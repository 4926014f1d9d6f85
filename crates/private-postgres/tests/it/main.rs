//! Runs real servers. Needs Postgres binaries.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use private_postgres::{Config, Error, PrivatePostgres};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

/// A directory the server's user can search, unlike the 0700 of `tempdir`.
fn scratch() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .unwrap()
}

fn config(dir: &Path) -> Config {
    Config {
        fsync: false,
        max_connections: 20,
        ..Config::new(dir.join("pg"))
    }
}

async fn one(url: &str, sql: &'static str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let (value,): (String,) = sqlx::query_as(sql).fetch_one(&mut connection).await.unwrap();
    value
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A zombie counts as gone: whoever inherits orphans may be slow to reap them.
fn is_gone(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('Z'))
    })
}

#[tokio::test]
async fn data_survives_a_restart_and_the_port_is_closed_after_a_stop() {
    let dir = scratch();
    let first = PrivatePostgres::start(config(dir.path())).await.unwrap();
    let mut connection = PgConnection::connect(&first.admin_url()).await.unwrap();
    sqlx::raw_sql("create table kept (v text); insert into kept values ('here')")
        .execute(&mut connection)
        .await
        .unwrap();
    let (url, pid) = (first.admin_url(), first.pid());
    assert_eq!(
        one(&url, "select current_setting('listen_addresses')").await,
        "127.0.0.1"
    );
    assert_eq!(one(&url, "select current_setting('fsync')").await, "off");
    first.stop().await;
    assert!(is_gone(pid));
    assert!(PgConnection::connect(&url).await.is_err());

    let second = PrivatePostgres::start(config(dir.path())).await.unwrap();
    assert_eq!(one(&second.admin_url(), "select v from kept").await, "here");
}

#[tokio::test]
async fn a_second_start_uses_the_living_server_and_does_not_stop_it() {
    let dir = scratch();
    let first = PrivatePostgres::start(config(dir.path())).await.unwrap();
    let second = PrivatePostgres::start(config(dir.path())).await.unwrap();
    assert!(second.is_shared() && !first.is_shared());
    assert_eq!((first.port(), first.pid()), (second.port(), second.pid()));
    second.stop().await;
    assert_eq!(one(&first.admin_url(), "select 'alive'").await, "alive");
    let pid = first.pid();
    drop(first);
    assert!(is_gone(pid));
}

#[tokio::test]
async fn many_starts_at_once_give_one_server() {
    let dir = scratch();
    let starts = (0..6).map(|_| PrivatePostgres::start(config(dir.path())));
    let mut servers = Vec::new();
    for server in futures_all(starts).await {
        servers.push(server.unwrap());
    }
    assert_eq!(servers.iter().filter(|s| !s.is_shared()).count(), 1);
    assert!(servers.iter().all(|s| s.pid() == servers[0].pid()));
}

async fn futures_all<F: Future + Send + 'static>(all: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F::Output: Send + 'static,
{
    let tasks: Vec<_> = all.map(tokio::spawn).collect();
    let mut outputs = Vec::new();
    for task in tasks {
        outputs.push(task.await.unwrap());
    }
    outputs
}

#[tokio::test]
async fn a_killed_server_can_be_started_again_with_committed_data() {
    let dir = scratch();
    let first = PrivatePostgres::start(config(dir.path())).await.unwrap();
    let mut connection = PgConnection::connect(&first.admin_url()).await.unwrap();
    sqlx::raw_sql("create table kept (v text); insert into kept values ('here')")
        .execute(&mut connection)
        .await
        .unwrap();
    assert!(
        Command::new("kill")
            .args(["-KILL", &first.pid().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let pid = first.pid();
    until("the killed postmaster is gone", || is_gone(pid)).await;
    drop(first);
    let second = PrivatePostgres::start(config(dir.path())).await.unwrap();
    assert_eq!(one(&second.admin_url(), "select v from kept").await, "here");
}

#[tokio::test]
async fn an_orphan_whose_watchdog_was_killed_is_ended_by_the_next_start() {
    let dir = scratch();
    let first = PrivatePostgres::start(config(dir.path())).await.unwrap();
    let orphan = first.pid();
    let stat = std::fs::read_to_string(format!("/proc/{orphan}/stat")).unwrap();
    let watchdog = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .to_owned();
    // The group holds the shell that reads the pipe as well; the server has left it only if it made its own session.
    for pid in children_of(&watchdog)
        .into_iter()
        .filter(|pid| *pid != orphan.to_string())
        .chain([watchdog])
    {
        assert!(
            Command::new("kill")
                .args(["-KILL", &pid])
                .status()
                .unwrap()
                .success()
        );
    }
    drop(first);
    assert!(!is_gone(orphan));
    let second = PrivatePostgres::start(config(dir.path())).await.unwrap();
    assert!(is_gone(orphan));
    assert!(!second.is_shared());
    assert_eq!(one(&second.admin_url(), "select 'alive'").await, "alive");
}

fn children_of(pid: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn an_interrupted_initdb_is_not_taken_for_data() {
    let dir = scratch();
    let half = dir.path().join("pg/cluster.init");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("PG_VERSION"), "15\n").unwrap();
    let server = PrivatePostgres::start(config(dir.path())).await.unwrap();
    assert_eq!(one(&server.admin_url(), "select 'alive'").await, "alive");
}

#[tokio::test]
async fn a_server_that_cannot_start_quotes_its_log() {
    let dir = scratch();
    let mut config = config(dir.path());
    config
        .settings
        .push(("shared_buffers".to_owned(), "nonsense".to_owned()));
    let error = PrivatePostgres::start(config).await.unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error}");
    assert!(error.to_string().contains("shared_buffers"), "{error}");
}

#[tokio::test]
async fn data_of_another_version_is_refused_and_named() {
    let dir = scratch();
    let data = dir.path().join("pg/cluster");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("PG_VERSION"), "9\n").unwrap();
    let error = PrivatePostgres::start(config(dir.path())).await.unwrap_err();
    assert!(error.to_string().contains("was made by Postgres 9"), "{error}");
}

#[tokio::test]
async fn as_root_a_closed_parent_directory_is_named() {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    let closed = tempfile::Builder::new()
        .permissions(PermissionsExt::from_mode(0o700))
        .tempdir()
        .unwrap();
    let error = PrivatePostgres::start(config(closed.path())).await.unwrap_err();
    assert!(matches!(error, Error::NotSearchable { .. }), "{error}");
    assert!(error.to_string().contains("chmod o+x"), "{error}");
}
