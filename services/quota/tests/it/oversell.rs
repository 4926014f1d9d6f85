//! Several real processes serve one user at once.

use std::process::Command;

use futures::future::join_all;
use ids::{TaskId, UserId};
use test_support::{ChildProcess, eventually};

use crate::support::{DEADLINE, Fixture, Quota};

const PROCESSES: usize = 8;
const RESERVES_EACH: usize = 25;
const GRANTED: i64 = 100;

/// Key of the advisory lock that holds the workers back until all of them are ready.
const START_LINE: i64 = 8_100;

const DATABASE: &str = "QUOTA_OVERSELL_DATABASE";
const USER: &str = "QUOTA_OVERSELL_USER";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_parallel_reserves_against_one_hundred_from_eight_processes_grant_exactly_one_hundred() {
    let f = Fixture::new().await;
    let user = f.user_with(GRANTED).await;
    let mut start_line = f.database.admin().acquire().await.unwrap();
    sqlx::query("select pg_advisory_lock($1)")
        .bind(START_LINE)
        .execute(&mut *start_line)
        .await
        .unwrap();

    let mut workers: Vec<ChildProcess> = (0..PROCESSES)
        .map(|_| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command
                .args(["--exact", "oversell::worker_process", "--nocapture"])
                .env(DATABASE, f.database.url())
                .env(USER, user.to_string());
            ChildProcess::spawn(command)
        })
        .collect();
    let waiting = "select count(*) from pg_locks l join pg_database d on d.oid = l.database \
         where d.datname = current_database() and l.locktype = 'advisory' and not l.granted";
    eventually(DEADLINE, || async {
        let found: i64 = sqlx::query_scalar(waiting)
            .fetch_one(f.database.admin())
            .await
            .unwrap();
        found == i64::try_from(PROCESSES).unwrap()
    })
    .await;
    sqlx::query("select pg_advisory_unlock($1)")
        .bind(START_LINE)
        .execute(&mut *start_line)
        .await
        .unwrap();

    let (mut reserved, mut refused) = (0, 0);
    for worker in &mut workers {
        let status = worker.wait(DEADLINE).await;
        assert!(status.success(), "{:?}", worker.stderr());
        let line = worker
            .wait_for_line(DEADLINE, |line| line.contains("reserved="))
            .await;
        let number = |name: &str| -> usize {
            let rest = line.split_once(name).unwrap().1;
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        reserved += number("reserved=");
        refused += number("refused=");
    }
    assert_eq!((reserved, refused), (100, 100));
    assert_eq!(f.quota.balance(user).await, [GRANTED, 0, GRANTED, 0]);
    f.quota.assert_no_drift().await;
}

/// One of the processes: serves quota and reserves 25 times at once. Does nothing unless started by the test above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_process() {
    let (Ok(url), Ok(user)) = (std::env::var(DATABASE), std::env::var(USER)) else {
        return;
    };
    let config = process::PoolConfig {
        url,
        min: 0,
        max: 10,
        ..process::PoolConfig::default()
    };
    let pool = process::pool::connect("oversell", quota::SCHEMA, &config)
        .await
        .unwrap();
    let quota = Quota::serve(pool.clone()).await;
    let user: UserId = user.parse().unwrap();
    sqlx::query("select pg_advisory_xact_lock_shared($1)")
        .bind(START_LINE)
        .execute(&pool)
        .await
        .unwrap();
    let answers = join_all((0..RESERVES_EACH).map(|_| quota.reserve(user, TaskId::new(), 1))).await;
    let (reserved, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let reserved = reserved.len();
    for answer in &refused {
        let info = rpc::error::info(answer.as_ref().unwrap_err()).unwrap();
        assert_eq!(info.reason, "QUOTA_INSUFFICIENT");
    }
    println!("\nreserved={reserved} refused={}", refused.len());
}
