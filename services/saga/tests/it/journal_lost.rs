//! Lost connections.

use std::sync::Arc;
use std::time::Duration;

use saga_engine::{Journal, JournalError};
use test_support::eventually;

use crate::journal_support::{Kind, SOON, World, write};

#[tokio::test]
async fn after_a_lost_connection_the_lane_opens_another() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let mut saga = world.saga(Kind::Pivot, "k");
    write(&journal, vec![saga.start()]).await;
    let ended = world
        .number(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where application_name = 'evenkeel/journal/a' and datname = current_database()",
        )
        .await;
    assert_eq!(ended, 1);
    let transition = saga.succeed();
    let result = journal.append(0, std::slice::from_ref(&transition)).await;
    assert!(matches!(result, Err(JournalError::Unknown(_))), "{result:?}");
    let loaded = journal.load(vec![saga.id()]).await.unwrap();
    assert!(loaded[0].events.is_empty());
    write(&journal, vec![transition.clone()]).await;
    // Lanes that did not notice anything go on, too, under the new incarnation.
    let other = world.saga(Kind::Pivot, "o");
    let fates = journal.append(1, &[other.start()]).await.unwrap();
    assert_eq!(fates, [saga_engine::Fate::Durable]);
}

#[tokio::test]
async fn a_load_waits_for_what_may_still_come_of_a_lost_connection() {
    let world = World::new().await;
    let journal = Arc::new(world.open("a").await);
    let saga = world.saga(Kind::Pivot, "k");
    // Somebody holds the business key, so the start waits in the server.
    let mut holder = world.admin().begin().await.unwrap();
    sqlx::query("insert into saga.saga_keys values (gen_random_uuid(), now(), 'PIVOT', 'k', decode(repeat('00', 32), 'hex'))")
        .execute(&mut *holder)
        .await
        .unwrap();
    let append = tokio::spawn({
        let (journal, start) = (Arc::clone(&journal), saga.start());
        async move { journal.append(0, &[start]).await }
    });
    let waiting = "select count(*) from pg_stat_activity
                   where application_name = 'evenkeel/journal/a' and wait_event_type = 'Lock'
                   and datname = current_database()";
    eventually(SOON, || async { world.number(waiting).await == 1 }).await;
    append.abort();
    assert!(append.await.unwrap_err().is_cancelled());

    let mut load = tokio::spawn({
        let (journal, id) = (Arc::clone(&journal), saga.id());
        async move { journal.load(vec![id]).await }
    });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut load).await;
    assert!(early.is_err(), "the write is still under way: {early:?}");
    holder.rollback().await.unwrap();
    let loaded = tokio::time::timeout(SOON, load).await.unwrap().unwrap().unwrap();
    assert_eq!(loaded.len(), 1, "what became durable is seen");
    // The journal goes on.
    let mut saga = saga;
    let transition = saga.succeed();
    write(&*journal, vec![transition]).await;
}

#[tokio::test]
async fn a_write_that_arrives_after_the_load_does_not_happen() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let saga = world.saga(Kind::Pivot, "k");
    // The fence itself is held, so the start waits before it has the fence.
    let mut holder = world.admin().begin().await.unwrap();
    sqlx::query("select 1 from saga.replica for update")
        .execute(&mut *holder)
        .await
        .unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(300), journal.append(0, &[saga.start()])).await;
    assert!(waits.is_err(), "{waits:?}");
    sqlx::query("update saga.replica set incarnation = incarnation + 1")
        .execute(&mut *holder)
        .await
        .unwrap();
    holder.commit().await.unwrap();
    assert!(journal.load(vec![saga.id()]).await.unwrap().is_empty());
    eventually(SOON, || async {
        let backends = "select count(*) from pg_stat_activity
                        where application_name = 'evenkeel/journal/a' and datname = current_database()";
        world.number(backends).await == 0
    })
    .await;
    assert_eq!(world.number("select count(*) from saga.instance").await, 0);
    write(&journal, vec![saga.start()]).await;
}
