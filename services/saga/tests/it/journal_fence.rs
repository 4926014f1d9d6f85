//! Nothing is written by an instance that was replaced.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ids::SagaId;
use saga_core::Outcome;
use saga_engine::{Journal, JournalError};

use crate::journal_support::{Driven, Kind, SOON, World, until, write};

fn fenced<T: std::fmt::Debug>(result: Result<T, JournalError>) -> bool {
    match result {
        Err(JournalError::Fenced) => true,
        Err(JournalError::Unknown(why)) => panic!("unknown: {why:?}"),
        Ok(value) => panic!("not fenced: {value:?}"),
    }
}

#[tokio::test]
async fn an_instance_that_was_replaced_writes_nothing_and_is_told() {
    let world = World::new().await;
    let old = world.open("a").await;
    let mut saga = world.saga(Kind::Pivot, "k");
    write(&old, vec![saga.start()]).await;
    let new = world.open("a").await;
    assert!(new.epoch() > old.epoch());

    let late = world.saga(Kind::Pivot, "late");
    let mut ending = saga.succeed();
    ending.row = Some(saga.start().row.unwrap());
    let only_events = saga.clone().answer(Outcome::Pending);
    assert!(fenced(old.append(0, vec![only_events]).await));
    assert!(fenced(old.append(0, vec![ending.clone()]).await));
    assert!(fenced(old.append(1, vec![late.start()]).await));
    assert!(fenced(old.beat().await));
    assert!(fenced(old.load(vec![saga.id()]).await));
    assert!(fenced(old.count_claims(vec![saga.id()]).await));
    assert!(fenced(old.clear_claims(vec![saga.id()]).await));
    assert!(fenced(old.quarantine(saga.id(), "why".to_owned()).await));
    assert!(fenced(old.take_over(10).await));
    assert_eq!(world.number("select count(*) from saga.event").await, 0);
    assert_eq!(world.number("select count(*) from saga.saga_keys").await, 1);
    assert_eq!(
        world
            .number("select count(*) from saga.instance where quarantined or claims > 0")
            .await,
        0
    );

    // The successor goes on where the other stopped.
    assert_eq!(new.owned(None, 10).await.unwrap(), [(saga.id(), 0)]);
    write(&new, vec![ending]).await;
}

/// One writer task: appends to its sagas as fast as it can until it is fenced, and never renews its lease.
async fn hammer(journal: Arc<impl Journal>, lane: usize, mut sagas: Vec<Driven>, stop: Arc<AtomicBool>) {
    for attempt in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let batch = sagas
            .iter_mut()
            .map(|saga| {
                let mut transition = saga.clone().answer(Outcome::Pending);
                transition.first_seq = saga.events;
                saga.events += 1;
                transition.progressed = attempt % 5 == 0;
                transition
            })
            .collect();
        match journal.append(lane, batch).await {
            Ok(_) => {}
            Err(JournalError::Fenced) => return,
            Err(JournalError::Unknown(why)) => panic!("{why:?}"),
        }
    }
}

/// The race that decides which lock the fence needs: with a weaker one than `for share`, rows of the old epoch become
/// visible after the takeover has read.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_writer_that_was_taken_over_from_adds_nothing_after_the_takeover() {
    const LEASE: Duration = Duration::from_millis(40);
    let world = World::new().await;
    let taker = Arc::new(world.open_with("taker", LEASE).await);
    let beating = tokio::spawn({
        let taker = Arc::clone(&taker);
        async move {
            loop {
                assert!(!matches!(taker.beat().await, Err(JournalError::Fenced)));
                tokio::time::sleep(LEASE / 8).await;
            }
        }
    });
    let end = Instant::now() + Duration::from_secs(5);
    let (mut takeovers, mut late) = (0, 0);
    while Instant::now() < end {
        let writer = Arc::new(world.open_with(&format!("writer-{takeovers}"), LEASE).await);
        let sagas: Vec<Driven> = (0..24)
            .map(|i| world.saga(Kind::Pivot, &format!("{takeovers}/{i}")))
            .collect();
        write(&*writer, sagas.iter().map(Driven::start).collect()).await;
        let stop = Arc::new(AtomicBool::new(false));
        let hammers: Vec<_> = sagas
            .chunks(6)
            .enumerate()
            .map(|(lane, sagas)| {
                tokio::spawn(hammer(
                    Arc::clone(&writer),
                    lane,
                    sagas.to_vec(),
                    Arc::clone(&stop),
                ))
            })
            .collect();
        let mut seen: HashMap<SagaId, usize> = HashMap::new();
        until(async || {
            let taken = taker.take_over(5).await.unwrap();
            for loaded in taker.load(taken).await.unwrap() {
                seen.insert(loaded.identity.id, loaded.events.len());
            }
            seen.len() == sagas.len()
        })
        .await;
        // By themselves: fenced, every one of them.
        for hammer in hammers {
            tokio::time::timeout(SOON, hammer).await.unwrap().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        let ids: Vec<SagaId> = sagas.iter().map(Driven::id).collect();
        for loaded in taker.load(ids).await.unwrap() {
            late += loaded.events.len() - seen[&loaded.identity.id];
        }
        takeovers += 1;
    }
    beating.abort();
    assert_eq!(late, 0, "rows of an old epoch after {takeovers} takeovers");
    assert!(
        takeovers >= 10,
        "only {takeovers} takeovers: the machine is too slow for this to prove anything"
    );
    println!("{takeovers} takeovers");
}
