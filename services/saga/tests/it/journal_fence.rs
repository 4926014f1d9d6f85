//! Nothing is written by an instance that was replaced.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ids::SagaId;
use saga::journal::PgJournal;
use saga_core::Outcome;
use saga_engine::{Journal, JournalError};
use tokio::task::JoinHandle;

use crate::journal_support::{Driven, Kind, Plans, SOON, World, until, write};

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
    assert!(fenced(old.append(0, &[only_events]).await));
    assert!(fenced(old.append(0, std::slice::from_ref(&ending)).await));
    assert!(fenced(old.append(1, &[late.start()]).await));
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

/// Events of a saga in each batch of the race: statements that take some milliseconds leave a window to look through.
const WIDE: usize = 40;

/// Takeovers, or starts, that are raced: by count and not by time, so that a slow machine proves as much. `make test-recovery`
/// has 30.
fn rounds() -> usize {
    std::env::var("SAGA_FENCE_ROUNDS").map_or(10, |rounds| rounds.parse().expect("a number"))
}

/// One writer task: appends to its sagas as fast as it can until it is fenced, and never renews its lease.
async fn hammer(journal: Arc<PgJournal<Plans>>, lane: usize, mut sagas: Vec<Driven>) {
    for round in 1.. {
        let batch: Vec<_> = sagas
            .iter_mut()
            .map(|saga| {
                let mut transition = saga.clone().answer(Outcome::Pending);
                transition.first_seq = saga.events;
                transition.progressed = round % 5 == 0;
                transition.entries = vec![transition.entries[0].clone(); WIDE];
                saga.events += u32::try_from(WIDE).unwrap();
                transition
            })
            .collect();
        match journal.append(lane, &batch).await {
            Ok(_) => {}
            Err(JournalError::Fenced) => return,
            Err(JournalError::Unknown(why)) => panic!("{why:?}"),
        }
    }
}

/// Starts sagas on `writer` and hammers on them from four lanes.
async fn set_going(
    world: &World,
    writer: &Arc<PgJournal<Plans>>,
    round: usize,
) -> (Vec<SagaId>, Vec<JoinHandle<()>>) {
    let sagas: Vec<Driven> = (0..24)
        .map(|i| world.saga(Kind::Pivot, &format!("{round}/{i}")))
        .collect();
    write(&**writer, sagas.iter().map(Driven::start).collect()).await;
    let hammers = sagas
        .chunks(6)
        .enumerate()
        .map(|(lane, sagas)| tokio::spawn(hammer(Arc::clone(writer), lane, sagas.to_vec())))
        .collect();
    (sagas.iter().map(Driven::id).collect(), hammers)
}

/// Counts events that were added after `seen`, once every hammer has been fenced.
async fn late(
    successor: &PgJournal<Plans>,
    hammers: Vec<JoinHandle<()>>,
    seen: &HashMap<SagaId, usize>,
) -> usize {
    for hammer in hammers {
        tokio::time::timeout(SOON, hammer).await.unwrap().unwrap();
    }
    let now = successor.load(seen.keys().copied().collect()).await.unwrap();
    assert_eq!(now.len(), seen.len());
    now.iter()
        .map(|loaded| loaded.events.len() - seen[&loaded.identity.id])
        .sum()
}

/// The race that decides which lock the fence needs: without one, rows of the old epoch become visible after the takeover
/// has read.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_writer_that_was_taken_over_from_adds_nothing_after_the_takeover() {
    const LEASE: Duration = Duration::from_millis(100);
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
    let (mut takeovers, mut too_late) = (0, 0);
    while takeovers < rounds() {
        let writer = Arc::new(world.open_with(&format!("writer-{takeovers}"), LEASE).await);
        let (sagas, hammers) = set_going(&world, &writer, takeovers).await;
        let mut seen: HashMap<SagaId, usize> = HashMap::new();
        until(async || {
            let taken = taker.take_over(5).await.unwrap();
            for loaded in taker.load(taken).await.unwrap() {
                seen.insert(loaded.identity.id, loaded.events.len());
            }
            seen.len() == sagas.len()
        })
        .await;
        too_late += late(&taker, hammers, &seen).await;
        takeovers += 1;
    }
    beating.abort();
    assert_eq!(too_late, 0, "rows of an old epoch after {takeovers} takeovers");
}

/// The same for a second process under the same name. Its start only updates the row, which `for key share` would not
/// wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_writer_that_was_started_again_adds_nothing_after_the_new_start() {
    let world = World::new().await;
    let (mut starts, mut too_late) = (0, 0);
    while starts < rounds() {
        let name = format!("writer-{starts}");
        let writer = Arc::new(world.open(&name).await);
        let (sagas, hammers) = set_going(&world, &writer, starts).await;
        until(async || world.number("select count(*) from saga.event").await > 2_000).await;
        let successor = world.open(&name).await;
        let loaded = successor.load(sagas).await.unwrap();
        let seen = loaded.iter().map(|l| (l.identity.id, l.events.len())).collect();
        too_late += late(&successor, hammers, &seen).await;
        sqlx::query("truncate saga.event")
            .execute(world.admin())
            .await
            .unwrap();
        starts += 1;
    }
    assert_eq!(too_late, 0, "rows of an old epoch after {starts} starts");
}
