//! Who owns what after an instance died, or seemed to.

use std::collections::BTreeSet;
use std::time::Duration;

use ids::SagaId;
use saga::journal::PgJournal;
use saga_engine::{Journal, JournalError};
use test_support::eventually;

use crate::journal_support::{Driven, Kind, Plans, SOON, World, until, write};

const LEASE: Duration = Duration::from_millis(200);

async fn started(world: &World, journal: &PgJournal<Plans>, count: usize) -> Vec<SagaId> {
    let sagas: Vec<Driven> = (0..count)
        .map(|i| world.saga(Kind::Pivot, &format!("{}/{i}", journal.epoch())))
        .collect();
    write(journal, sagas.iter().map(Driven::start).collect()).await;
    sagas.iter().map(Driven::id).collect()
}

/// Renews the lease. On a busy machine that may take longer than the short leases here, which is no error.
async fn beat(journal: &PgJournal<Plans>) {
    assert!(!matches!(journal.beat().await, Err(JournalError::Fenced)));
}

/// Takes over until `count` sagas have arrived.
async fn take(journal: &PgJournal<Plans>, limit: usize, count: usize) -> Vec<SagaId> {
    let mut all = Vec::new();
    until(async || {
        beat(journal).await;
        all.extend(journal.take_over(limit).await.unwrap());
        all.len() >= count
    })
    .await;
    all
}

#[tokio::test]
async fn sagas_of_a_dead_instance_arrive_in_chunks_and_once() {
    let world = World::new().await;
    let (dead, heir) = (
        world.open_with("dead", LEASE).await,
        world.open_with("heir", LEASE).await,
    );
    let mut ended = world.saga(Kind::Pivot, "ended");
    write(&dead, vec![ended.start()]).await;
    crate::journal_support::complete(&dead, &mut ended).await;
    let sagas = started(&world, &dead, 25).await;
    let mut taken = Vec::new();
    until(async || {
        beat(&heir).await;
        let chunk = heir.take_over(10).await.unwrap();
        assert!(chunk.len() <= 10);
        taken.extend(chunk);
        taken.len() >= 25
    })
    .await;
    assert_eq!(taken, sagas, "all of them, oldest first");
    beat(&heir).await;
    assert!(heir.take_over(10).await.unwrap().is_empty());
    let owned: Vec<SagaId> = heir
        .owned(None, 100)
        .await
        .unwrap()
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    assert_eq!(owned, sagas);
    assert!(matches!(dead.beat().await, Err(JournalError::Fenced)));
}

#[tokio::test]
async fn a_living_instance_is_left_alone() {
    let world = World::new().await;
    let living = world.open_with("living", Duration::from_secs(60)).await;
    let other = world.open_with("other", Duration::from_millis(100)).await;
    let sagas = started(&world, &living, 3).await;
    let dead = world.open_with("dead", Duration::from_millis(20)).await;
    let lost = started(&world, &dead, 1).await;
    assert_eq!(
        take(&other, 10, 1).await,
        lost,
        "others are taken over at this moment"
    );
    assert!(other.take_over(10).await.unwrap().is_empty());
    assert_eq!(living.owned(None, 10).await.unwrap().len(), sagas.len());
    living.beat().await.unwrap();
}

#[tokio::test]
async fn nobody_takes_over_before_its_own_lease_has_held_for_its_length() {
    let world = World::new().await;
    let dead = world.open_with("dead", Duration::from_millis(20)).await;
    started(&world, &dead, 1).await;
    let heir = world.open_with("heir", Duration::from_secs(60)).await;
    eventually(SOON, || async {
        world
            .number("select count(*) from saga.replica where id = 'dead' and expires_at < clock_timestamp()")
            .await
            == 1
    })
    .await;
    assert!(
        heir.take_over(10).await.unwrap().is_empty(),
        "as after an outage: everybody may renew first"
    );
    sqlx::query(
        "update saga.replica set leased_since = leased_since - interval '1 minute' where id = 'heir'",
    )
    .execute(world.admin())
    .await
    .unwrap();
    assert_eq!(heir.take_over(10).await.unwrap().len(), 1);
    // A gap in the lease starts the time again.
    sqlx::query("update saga.replica set expires_at = clock_timestamp() - interval '1 s' where id = 'heir'")
        .execute(world.admin())
        .await
        .unwrap();
    heir.beat().await.unwrap();
    let fresh = "select count(*) from saga.replica
                 where id = 'heir' and leased_since > clock_timestamp() - interval '10 s'";
    assert_eq!(world.number(fresh).await, 1);
}

#[tokio::test]
async fn whoever_kept_its_lease_through_an_outage_lets_the_others_renew() {
    let world = World::new().await;
    let minute = Duration::from_secs(60);
    let (other, lucky) = (
        world.open_with("other", minute).await,
        world.open_with("lucky", minute).await,
    );
    started(&world, &other, 1).await;
    // The database was away for almost a lease: one was renewed just before that, the other some time earlier.
    sqlx::query(
        "update saga.replica set
            leased_since = leased_since - interval '1 hour',
            heartbeat_at = clock_timestamp() - interval '1 s' * case id when 'other' then 61 else 59 end,
            expires_at = clock_timestamp() - interval '1 s' * case id when 'other' then 1 else -1 end",
    )
    .execute(world.admin())
    .await
    .unwrap();
    lucky.beat().await.unwrap();
    assert!(lucky.take_over(10).await.unwrap().is_empty());
    other.beat().await.unwrap();
}

#[tokio::test]
async fn what_was_given_up_is_taken_over_by_an_instance_that_has_just_started() {
    let world = World::new().await;
    let minute = Duration::from_secs(60);
    let leaving = world.open_with("leaving", minute).await;
    let dead = world.open_with("dead", LEASE).await;
    let (sagas, lost) = (
        started(&world, &leaving, 3).await,
        started(&world, &dead, 1).await,
    );
    leaving.resign().await.unwrap();
    let heir = world.open_with("heir", minute).await;
    assert_eq!(heir.take_over(10).await.unwrap(), sagas);
    let expired = "select count(*) from saga.replica where id = 'dead' and expires_at < clock_timestamp()";
    eventually(SOON, || async { world.number(expired).await == 1 }).await;
    assert!(
        heir.take_over(10).await.unwrap().is_empty(),
        "{lost:?} may be of an instance that cannot renew"
    );
    // Whoever comes back under the name has given nothing up.
    let again = world.open_with("leaving", LEASE).await;
    started(&world, &again, 1).await;
    let expired = "select count(*) from saga.replica where id = 'leaving' and expires_at < clock_timestamp()";
    eventually(SOON, || async { world.number(expired).await == 1 }).await;
    assert!(heir.take_over(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn two_heirs_share_without_taking_the_same() {
    let world = World::new().await;
    let dead = world.open_with("dead", LEASE).await;
    let (left, right) = (
        world.open_with("left", LEASE).await,
        world.open_with("right", LEASE).await,
    );
    let sagas = started(&world, &dead, 60).await;
    let (mut by_left, mut by_right) = (Vec::new(), Vec::new());
    until(async || {
        let (a, b) = tokio::join!(
            async {
                beat(&left).await;
                left.take_over(7).await.unwrap()
            },
            async {
                beat(&right).await;
                right.take_over(7).await.unwrap()
            }
        );
        by_left.extend(a);
        by_right.extend(b);
        by_left.len() + by_right.len() >= sagas.len()
    })
    .await;
    let all: BTreeSet<SagaId> = by_left.iter().chain(&by_right).copied().collect();
    assert_eq!(all, sagas.iter().copied().collect());
    assert_eq!(by_left.len() + by_right.len(), sagas.len(), "none twice");
}

#[tokio::test]
async fn an_owner_that_comes_back_keeps_what_was_not_moved_yet() {
    let world = World::new().await;
    for round in 0..12 {
        let name = format!("owner-{round}");
        let first = world.open_with(&name, LEASE).await;
        let heir = world.open_with(&format!("heir-{round}"), LEASE).await;
        let sagas = started(&world, &first, 40).await;
        let mut taken = take(&heir, 4, 1).await;
        // In the middle of the takeover the owner starts again, while the heir goes on.
        let (second, more) = tokio::join!(world.open_with(&name, Duration::from_secs(60)), async {
            let mut more = Vec::new();
            for _ in 0..6 {
                beat(&heir).await;
                more.extend(heir.take_over(4).await.unwrap());
            }
            more
        });
        taken.extend(more);
        beat(&heir).await;
        assert!(heir.take_over(4).await.unwrap().is_empty(), "the owner is back");
        let kept = second.owned(None, 100).await.unwrap();
        let all: BTreeSet<SagaId> = taken
            .iter()
            .copied()
            .chain(kept.iter().map(|(id, _)| *id))
            .collect();
        assert_eq!(all, sagas.iter().copied().collect());
        assert_eq!(taken.len() + kept.len(), sagas.len(), "each has one owner");
        // The heir of this round is dead in the next, and not what that one is about.
        sqlx::query("delete from saga.instance")
            .execute(world.admin())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_saga_in_a_format_of_the_future_is_left_alone() {
    let world = World::new().await;
    let dead = world.open_with("dead", LEASE).await;
    let heir = world.open_with("heir", LEASE).await;
    let sagas = started(&world, &dead, 2).await;
    sqlx::query("update saga.instance set format = 32000 where id = $1")
        .bind(sagas[0].uuid())
        .execute(world.admin())
        .await
        .unwrap();
    assert_eq!(dead.owned(None, 10).await.unwrap(), [(sagas[1], 0)]);
    assert_eq!(dead.load(sagas.clone()).await.unwrap().len(), 1);
    assert_eq!(take(&heir, 10, 1).await, [sagas[1]]);
    let owner = world
        .number("select count(*) from saga.instance where owner = 'dead'")
        .await;
    assert_eq!(owner, 1);
}

#[tokio::test]
async fn rows_of_instances_that_are_long_dead_go_and_their_epochs_do_not_come_back() {
    let world = World::new().await;
    let old = world.open_with("old", LEASE).await;
    let empty = world.open_with("empty", LEASE).await;
    let heir = world.open_with("heir", Duration::from_secs(60)).await;
    started(&world, &old, 1).await;
    sqlx::query("update saga.replica set expires_at = expires_at - interval '2 days' where id <> 'heir'")
        .execute(world.admin())
        .await
        .unwrap();
    assert!(heir.take_over(10).await.unwrap().is_empty());
    let names: Vec<String> = sqlx::query_scalar("select id from saga.replica order by id")
        .fetch_all(world.admin())
        .await
        .unwrap();
    assert_eq!(names, ["heir", "old"], "one that still owns something stays");
    let again = world.open_with("empty", LEASE).await;
    assert!(again.epoch() > empty.epoch());
    assert!(matches!(empty.beat().await, Err(JournalError::Fenced)));
}
