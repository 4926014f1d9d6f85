//! What a batch does.

use saga::journal::Reader;
use saga_core::{FailureClass, Input, Outcome, Payload, Phase};
use saga_engine::{Fate, Journal, JournalError};

use crate::journal_support::{Dice, Kind, World, complete, error, write};

#[tokio::test]
async fn a_batch_of_starts_events_and_changes_is_written_together() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let (mut going, mut ending) = (
        world.saga(Kind::Pivot, "going"),
        world.saga(Kind::Undoable, "ending"),
    );
    write(&journal, vec![going.start(), ending.start()]).await;
    for _ in 0..3 {
        let transition = ending.succeed();
        write(&journal, vec![transition]).await;
    }
    let fresh = world.saga(Kind::Pivot, "fresh");
    let batch = vec![ending.succeed(), fresh.start(), going.succeed()];
    write(&journal, batch).await;

    let reader = Reader::new(world.admin().clone());
    let ended = reader.get(ending.id()).await.unwrap().unwrap();
    assert_eq!(ended.row.phase, Phase::Completed);
    assert_eq!(ended.events.len(), 5, "four successes and the commit point");
    assert_eq!(reader.get(going.id()).await.unwrap().unwrap().events.len(), 1);
    assert_eq!(reader.get(fresh.id()).await.unwrap().unwrap().events.len(), 0);
    assert_eq!(world.number("select count(*) from saga.saga_keys").await, 3);
}

#[tokio::test]
async fn the_same_start_is_one_saga_within_a_batch_and_across_batches() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let (first, again) = (world.saga(Kind::Pivot, "k"), world.saga(Kind::Pivot, "k"));
    let other = world.saga_with(Kind::Pivot, "k", r#"{"amount": 2}"#);
    let fates = journal
        .append(0, &[first.start(), again.start(), other.start()])
        .await
        .unwrap();
    let won = [&first, &again, &other]
        .iter()
        .zip(&fates)
        .find(|(_, fate)| **fate == Fate::Durable)
        .map(|(saga, _)| saga.id())
        .unwrap();
    assert_eq!(won, first.id(), "the first in the batch wins");
    assert_eq!(
        fates,
        [Fate::Durable, Fate::Exists(won), Fate::InputMismatch(won)]
    );

    let later = journal
        .append(1, &[other.start(), again.start(), first.start()])
        .await
        .unwrap();
    assert_eq!(
        later,
        [Fate::InputMismatch(won), Fate::Exists(won), Fate::Exists(won)]
    );
    assert_eq!(world.number("select count(*) from saga.instance").await, 1);
}

#[tokio::test]
async fn the_same_business_key_of_another_type_is_another_saga() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let batch = vec![
        world.saga(Kind::Pivot, "k").start(),
        world.saga(Kind::Undoable, "k").start(),
    ];
    write(&journal, batch).await;
    assert_eq!(world.number("select count(*) from saga.instance").await, 2);
}

#[tokio::test]
async fn a_start_that_lost_its_key_writes_nothing() {
    let world = World::new().await;
    let journal = world.open("a").await;
    write(&journal, vec![world.saga(Kind::Pivot, "k").start()]).await;
    let mut late = world.saga(Kind::Pivot, "k");
    let mut start = late.start();
    // A start that brings events and ends at once, so that every table would get something of it.
    let followed = late.handle(
        Input::Cancel {
            actor: "tester".into(),
            note: error("no"),
        },
        &[],
        0,
    );
    start.entries = followed.unwrap().entries;
    start.row.as_mut().unwrap().phase = Phase::Compensated;
    let fates = journal.append(0, &[start]).await.unwrap();
    assert!(matches!(fates[..], [Fate::Exists(_)]));
    assert_eq!(world.number("select count(*) from saga.event").await, 0);
    assert_eq!(world.number("select count(*) from saga.outbox").await, 0);
    assert_eq!(world.number("select count(*) from saga.instance").await, 1);
}

#[tokio::test]
async fn a_row_that_cannot_be_written_is_left_out_alone() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let bad = [
        world.saga(Kind::Pivot, "nul \0"),
        world.saga_with(Kind::Pivot, "no json", "{"),
        world.saga(Kind::Pivot, &incompressible(40_000)),
    ];
    let mut batch: Vec<_> = (0..13)
        .map(|i| world.saga(Kind::Pivot, &format!("good {i}")).start())
        .collect();
    for (at, saga) in [2, 3, 11].into_iter().zip(&bad) {
        batch.insert(at, saga.start());
    }
    let fates = journal.append(0, &batch).await.unwrap();
    for (i, fate) in fates.iter().enumerate() {
        let unwritable = matches!(fate, Fate::Unwritable(_));
        assert_eq!(unwritable, [2, 3, 11].contains(&i), "{i}: {fate:?}");
    }
    assert_eq!(world.number("select count(*) from saga.instance").await, 13);
}

fn incompressible(bytes: usize) -> String {
    let mut dice = Dice(7);
    (0..bytes)
        .map(|_| char::from(b'a' + u8::try_from(dice.roll(26)).unwrap()))
        .collect()
}

#[tokio::test]
async fn a_second_driver_of_a_saga_is_told_to_load_it_again() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let mut saga = world.saga(Kind::Pivot, "k");
    write(&journal, vec![saga.start()]).await;
    let mut second = saga.clone();
    let neighbour = world.saga(Kind::Pivot, "n");
    let transition = saga.succeed();
    write(&journal, vec![transition]).await;
    let batch = vec![second.answer(Outcome::Pending), neighbour.start()];
    let result = journal.append(1, &batch).await;
    assert!(matches!(result, Err(JournalError::Unknown(_))), "{result:?}");
    assert_eq!(world.number("select count(*) from saga.event").await, 1);
    // The lane goes on.
    write(&journal, vec![neighbour.start()]).await;
}

#[tokio::test]
async fn batches_that_start_the_same_sagas_do_not_wait_in_a_circle() {
    let world = World::new().await;
    let journals = [world.open("a").await, world.open("b").await];
    let mut dice = Dice(42);
    for round in 0..15 {
        let batches: Vec<_> = (0..8)
            .map(|_| {
                let mut batch: Vec<_> = (0..40)
                    .map(|key| world.saga(Kind::Pivot, &format!("{round}/{key}")).start())
                    .collect();
                for i in (1..batch.len()).rev() {
                    let other = usize::try_from(dice.roll(u64::try_from(i + 1).unwrap())).unwrap();
                    batch.swap(i, other);
                }
                batch
            })
            .collect();
        let all = futures::future::join_all(
            batches
                .iter()
                .enumerate()
                .map(|(i, batch)| journals[i % 2].append(i / 2, batch)),
        )
        .await;
        let won = all
            .into_iter()
            .flat_map(Result::unwrap)
            .filter(|fate| *fate == Fate::Durable)
            .count();
        assert_eq!(won, 40);
    }
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(world.number(deadlocks).await, 0);
}

#[tokio::test]
async fn the_outbox_tells_each_end_and_the_beginning_of_attention() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let (mut good, mut bad) = (world.saga(Kind::Pivot, "good"), world.saga(Kind::Undoable, "bad"));
    write(&journal, vec![good.start(), bad.start()]).await;
    for _ in 0..3 {
        // A participant that does not let us in wants attention at once, and only the first time is news.
        let transition = good.answer(Outcome::Failed {
            class: FailureClass::Misconfigured,
            error: error("who are you"),
        });
        write(&journal, vec![transition]).await;
    }
    complete(&journal, &mut good).await;
    let refused = bad.answer(Outcome::Refused {
        error: error("no"),
        stored: true,
    });
    write(&journal, vec![refused]).await;
    complete(&journal, &mut bad).await;

    let told: Vec<(String, String, serde_json::Value)> =
        sqlx::query_as("select topic, key, data from saga.outbox where published_at is null order by id")
            .fetch_all(world.admin())
            .await
            .unwrap();
    let topics: Vec<&str> = told.iter().map(|(topic, ..)| &**topic).collect();
    assert_eq!(topics, ["saga.attention", "saga.completed", "saga.compensated"]);
    assert_eq!(told[0].2["cause"], "MISCONFIGURED");
    assert_eq!(told[1].1, good.id().to_string());
    assert_eq!(told[2].2["sagaId"], bad.id().to_string());
    assert_eq!(told[2].2["type"], "UNDOABLE");
    assert_eq!(told[2].2["businessId"], "bad");
    assert_eq!(told[2].2["reason"], "REFUSED");
    assert!(told[2].2["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn nul_in_what_a_participant_says_does_not_break_the_views() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let mut saga = world.saga(Kind::Pivot, "k");
    write(&journal, vec![saga.start()]).await;
    let failed = saga.answer(Outcome::Failed {
        class: FailureClass::Unknown,
        error: error("a\0b"),
    });
    write(&journal, vec![failed]).await;
    let replied = saga.answer(Outcome::Succeeded(Payload::new(r#"{"text": "\u0000"}"#)));
    write(&journal, vec![replied]).await;
    let (message, state): (String, String) =
        sqlx::query_as("select error_message, state::text from saga_state")
            .fetch_one(world.admin())
            .await
            .unwrap();
    assert!(message.contains("a\u{fffd}b"), "{message}");
    assert!(state.contains(r"\u0000"), "{state}");
}

#[tokio::test]
async fn loads_without_progress_are_counted_and_forgotten() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let (mut saga, other) = (world.saga(Kind::Pivot, "k"), world.saga(Kind::Pivot, "o"));
    write(&journal, vec![saga.start(), other.start()]).await;
    let both = vec![saga.id(), other.id()];
    for _ in 0..3 {
        journal.count_claims(both.clone()).await.unwrap();
    }
    assert_eq!(
        journal.owned(None, 10).await.unwrap(),
        [(saga.id(), 3), (other.id(), 3)]
    );
    assert_eq!(journal.load(vec![saga.id()]).await.unwrap()[0].claims, 3);
    let mut progress = saga.answer(Outcome::Pending);
    assert!(progress.row.is_none());
    progress.progressed = true;
    write(&journal, vec![progress]).await;
    assert_eq!(journal.owned(None, 1).await.unwrap(), [(saga.id(), 0)]);
    assert_eq!(
        journal.owned(Some(saga.id()), 10).await.unwrap(),
        [(other.id(), 3)]
    );
    journal.clear_claims(both).await.unwrap();
    assert_eq!(
        journal.owned(Some(saga.id()), 10).await.unwrap(),
        [(other.id(), 0)]
    );
    // The row was left as it was.
    let loaded = journal.load(vec![saga.id()]).await.unwrap();
    assert_eq!(loaded[0].row.clock, saga.state.clock());
}

#[tokio::test]
async fn a_parked_saga_is_shown_and_told_once() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let saga = world.saga(Kind::Pivot, "k");
    write(&journal, vec![saga.start()]).await;
    for _ in 0..2 {
        journal
            .quarantine(saga.id(), "it panicked: \0".to_owned())
            .await
            .unwrap();
    }
    let loaded = journal.load(vec![saga.id()]).await.unwrap();
    assert!(loaded[0].quarantined);
    let status: String = sqlx::query_scalar("select status from saga_state")
        .fetch_one(world.admin())
        .await
        .unwrap();
    assert_eq!(status, "FAILED");
    assert_eq!(
        world
            .number("select count(*) from saga.outbox where topic = 'saga.attention'")
            .await,
        1
    );
    let stored = Reader::new(world.admin().clone())
        .get(saga.id())
        .await
        .unwrap()
        .unwrap();
    assert!(stored.needs_attention);
    assert_eq!(stored.row.attention.len(), 1);
}

#[tokio::test]
async fn a_batch_larger_than_one_statement_is_written_in_several() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let input = format!("\"{}\"", "x".repeat(256 * 1024));
    let sagas: Vec<_> = (0..80)
        .map(|i| world.saga_with(Kind::Pivot, &format!("{i}"), &input))
        .collect();
    write(
        &journal,
        sagas.iter().map(crate::journal_support::Driven::start).collect(),
    )
    .await;
    assert_eq!(world.number("select count(*) from saga.instance").await, 80);
}

#[tokio::test]
async fn a_write_that_lands_after_the_saga_was_parked_does_not_hide_that() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let mut saga = world.saga(Kind::Pivot, "k");
    write(&journal, vec![saga.start()]).await;
    let first = saga.succeed();
    write(&journal, vec![first]).await;
    journal.quarantine(saga.id(), "why".to_owned()).await.unwrap();
    let refused = saga.answer(Outcome::Refused {
        error: error("no"),
        stored: true,
    });
    write(&journal, vec![refused]).await;
    let shown = "select count(*) from saga.instance
                 where phase = 'COMPENSATING' and needs_attention and attention::text like '%QUARANTINED%'";
    assert_eq!(world.number(shown).await, 1);
}
