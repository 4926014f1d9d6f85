//! Two thousand readers at once.

use std::time::Duration;

use futures::future::join_all;
use ids::UserId;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::watch::{Reader, append, task_of, world};

/// Users, and streams of each.
const USERS: usize = 400;
const STREAMS: usize = 5;
/// Events a second, and seconds.
const RATE: u32 = 200;
const SECONDS: u32 = 4;
/// Everything together, after the readers have connected.
const BOUND: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_readers_lose_nothing_at_two_hundred_events_a_second() {
    let world = world().await;
    let process = world.process().await;
    let users: Vec<UserId> = (0..USERS).map(|_| UserId::new()).collect();
    let task = task_of(&process, UserId::new()).await.task_id;
    let before = resident_kib();
    let mut readers = Vec::new();
    for some in users.repeat(STREAMS).chunks(100) {
        let opened = some.iter().map(|user| Reader::open(&process, *user, Some(0)));
        readers.extend(join_all(opened).await.into_iter().map(|reader| reader.unwrap()));
    }

    // Both ends of each stream are in this process.
    let each_kib = resident_kib().saturating_sub(before) / (USERS * STREAMS);
    println!("{each_kib} KiB a stream, its client included");

    let began = Instant::now();
    let events = RATE * SECONDS;
    // Event n is of user n, round and round.
    let each = u64::from(events) / u64::try_from(USERS).unwrap();
    let reading: Vec<_> = readers
        .into_iter()
        .map(|mut reader| {
            tokio::spawn(async move {
                let seqs = reader.seqs_until(each).await;
                (seqs, reader)
            })
        })
        .collect();
    let mut tick = interval(Duration::from_secs(1) / RATE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut conn = world.pool.acquire().await.unwrap();
    for n in 0..events {
        tick.tick().await;
        let user = users[usize::try_from(n).unwrap() % USERS];
        append(&mut conn, user, task).await;
    }
    let written = began.elapsed();
    let expected: Vec<u64> = (1..=each).collect();
    for read in join_all(reading).await {
        assert_eq!(read.unwrap().0, expected);
    }
    println!(
        "{events} events written in {written:?}, read by {} streams in {:?}",
        USERS * STREAMS,
        began.elapsed()
    );
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
}

/// Memory of this process.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap()
}
