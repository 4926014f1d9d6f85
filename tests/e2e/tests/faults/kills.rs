//! SIGKILL of the real orchestrator at random moments, under load.

use std::time::{Duration, Instant};

use proto::task::v1::TaskState;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use test_support::{Signal, eventually};

use e2e::{LONG, Mode, Platform, reason};

use crate::load::{Load, count, program};

const KILLS: u32 = 50;
/// Restart to first resumed step; the goal of row S7 is 2 s.
const RESUMED_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_nothing_and_double_nothing() {
    let mut platform = Platform::start(Mode::Serve).await;
    program(&platform);
    let user = platform.user(1_000_000).await;
    let seed: u64 = std::env::var("EVENKEEL_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(rand::random);
    eprintln!("EVENKEEL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut load = Load::default();
    let mut slowest = Duration::ZERO;
    for kill in 1..=KILLS {
        let until = Instant::now() + Duration::from_millis(random.random_range(20..400));
        while Instant::now() < until {
            load.top_up(&platform, user).await;
            tokio::task::yield_now().await;
        }
        let saga = platform.saga.take().expect("an orchestrator");
        saga.signal(Signal::Kill);
        drop(saga);
        let open: i64 = count(
            &platform,
            "select count(*) from saga_instances where completed_at is null and compensated_at is null",
        )
        .await;
        let events: i64 = count(&platform, "select count(*) from saga.event").await;
        let killed = Instant::now();
        platform.start_orchestrator();
        if open > 0 {
            eventually(LONG, || async {
                count(&platform, "select count(*) from saga.event").await > events
            })
            .await;
            slowest = slowest.max(killed.elapsed());
            assert!(
                killed.elapsed() <= RESUMED_WITHIN,
                "kill {kill}: first step after {:?}",
                killed.elapsed()
            );
        }
    }
    eprintln!(
        "{} tasks, slowest restart to first recorded step: {slowest:?}",
        load.started.len()
    );
    load.ended(&platform).await;
    let parked = count(
        &platform,
        "select count(*) from saga_instances where needs_attention",
    )
    .await;
    assert_eq!(parked, 0);
    platform.assert_conserved().await;
    let balance = platform.balance(user).await;
    assert_eq!(
        balance.granted,
        balance.available + balance.reserved + balance.consumed
    );
    assert_eq!(balance.reserved, 0);
    assert!(
        load.started.len() >= 100,
        "only {} tasks were started",
        load.started.len()
    );
    let late = platform
        .create_task(user, "summarize", "fine", "late")
        .await
        .map_err(|s| reason(&s))
        .unwrap();
    assert_eq!(platform.ended(&late.task_id).await.state(), TaskState::Completed);
}
