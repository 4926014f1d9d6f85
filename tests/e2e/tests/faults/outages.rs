//! Postgres gone for half a minute, under load.

use std::time::{Duration, Instant};

use private_postgres::{Config, PrivatePostgres};
use test_support::{Scratch, TestDatabase};

use e2e::Platform;

use crate::load::{Load, program};

/// How long each part is away.
const AWAY: Duration = Duration::from_secs(30);
/// How long the load runs before and after.
const AROUND: Duration = Duration::from_secs(4);
/// Most that the orchestrator's resident memory may grow, in bytes.
const MEMORY_GROWTH_BYTES: u64 = 64 * 1024 * 1024;

/// Watches the orchestrator's resident memory.
struct Memory {
    pid: u32,
    first: u64,
    most: u64,
}

impl Memory {
    fn of(platform: &Platform) -> Self {
        let pid = platform.saga.as_ref().expect("an orchestrator").pid();
        let first = resident_bytes(pid);
        Self {
            pid,
            first,
            most: first,
        }
    }

    fn look(&mut self) {
        self.most = self.most.max(resident_bytes(self.pid));
    }

    fn grown(&self) -> u64 {
        self.most.saturating_sub(self.first)
    }
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
    kib.expect("a size") * 1024
}

async fn under_load(
    platform: &Platform,
    load: &mut Load,
    user: ids::UserId,
    memory: &mut Memory,
    time: Duration,
) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        load.top_up(platform, user).await;
        memory.look();
        tokio::task::yield_now().await;
    }
}

fn server(scratch: &Scratch, port: Option<u16>) -> Config {
    Config {
        port,
        max_connections: 300,
        ..Config::new(scratch.postgres_dir())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_minute_without_postgres_loses_nothing() {
    let scratch = Scratch::new().unwrap();
    let postgres = PrivatePostgres::start(server(&scratch, None)).await.unwrap();
    let port = postgres.port();
    let database = TestDatabase::create_on(&postgres.admin_url(), &[]).await;
    let platform = Platform::start_on(database, Vec::new()).await;
    program(&platform);
    let user = platform.user(1_000_000).await;
    let mut load = Load::default();
    let mut memory = Memory::of(&platform);
    under_load(&platform, &mut load, user, &mut memory, AROUND).await;
    postgres.stop().await;
    under_load(&platform, &mut load, user, &mut memory, AWAY).await;
    let back = Instant::now();
    let postgres = PrivatePostgres::start(server(&scratch, Some(port)))
        .await
        .unwrap();
    let before = load.started.len();
    while load.started.len() == before {
        under_load(&platform, &mut load, user, &mut memory, Duration::from_millis(50)).await;
    }
    eprintln!("first task started {:?} after postgres came back", back.elapsed());
    under_load(&platform, &mut load, user, &mut memory, AROUND).await;
    load.ended(&platform).await;
    platform.assert_conserved().await;
    eprintln!(
        "{} tasks, the orchestrator grew by {} KiB",
        load.started.len(),
        memory.grown() / 1024
    );
    assert!(
        memory.grown() < MEMORY_GROWTH_BYTES,
        "it grew by {} bytes",
        memory.grown()
    );
    drop(platform);
    postgres.stop().await;
}
