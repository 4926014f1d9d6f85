//! What operators do about sagas that nobody drives, and an instance that gives its sagas up.

use std::time::Duration;

use ids::SagaId;
use saga::journal::PgJournal;
use saga_core::{Event, Millis, OperatorAction, Recorded};
use saga_engine::{Beat, Journal, JournalError, Loaded, Noted};

use crate::journal_support::{Kind, Plans, START, World, complete, until, write};

fn note(action: OperatorAction) -> Recorded {
    let event = Event::Operator {
        action,
        key: None,
        note: "mended\0".into(),
        evidence: "".into(),
    };
    Recorded::new(Millis(START.0 + 5), Some("ann".into()), event)
}

async fn release(journal: &PgJournal<Plans>, saga: SagaId, version: u32) -> Noted {
    let recorded = note(OperatorAction::Release);
    journal.release(saga, version, recorded).await.unwrap()
}

async fn acknowledge(journal: &PgJournal<Plans>, saga: SagaId, version: u32) -> Noted {
    let recorded = note(OperatorAction::Acknowledge);
    journal.acknowledge(saga, version, recorded).await.unwrap()
}

async fn load(journal: &PgJournal<Plans>, saga: SagaId) -> Loaded {
    let mut loaded = journal.load(vec![saga]).await.unwrap();
    assert_eq!(loaded.len(), 1);
    loaded.remove(0)
}

/// A saga with one event, parked.
async fn parked(world: &World, journal: &PgJournal<Plans>) -> SagaId {
    let mut saga = world.saga(Kind::Pivot, "parked");
    write(journal, vec![saga.start()]).await;
    let first = saga.succeed();
    write(journal, vec![first]).await;
    journal.count_claims(vec![saga.id()]).await.unwrap();
    journal
        .quarantine(saga.id(), "it panicked".to_owned())
        .await
        .unwrap();
    saga.id()
}

#[tokio::test]
async fn a_parked_saga_is_released_on_the_version_that_was_seen_and_with_a_record_of_it() {
    let world = World::new().await;
    let journal = world.open("one").await;
    let saga = parked(&world, &journal).await;
    assert_eq!(release(&journal, saga, 0).await, Noted::Changed { version: 1 });
    assert!(load(&journal, saga).await.quarantined, "nothing has happened");
    assert_eq!(release(&journal, saga, 1).await, Noted::Done);
    let loaded = load(&journal, saga).await;
    assert!(!loaded.quarantined);
    assert_eq!((loaded.claims, loaded.events.len()), (0, 2));
    let last = loaded.events.last().unwrap();
    assert_eq!(last.actor.as_deref(), Some("ann"));
    let Event::Operator { action, note, .. } = &last.event else {
        panic!("{last:?}");
    };
    assert_eq!((*action, note.contains('\0')), (OperatorAction::Release, false));
    assert_eq!(release(&journal, saga, 1).await, Noted::Changed { version: 2 });
    assert_eq!(
        release(&journal, saga, 2).await,
        Noted::NotAllowed,
        "it is not parked any more"
    );
    let shown =
        "select count(*) from saga.instance where needs_attention or attention is not null or format <> 2";
    assert_eq!(world.number(shown).await, 0);
}

#[tokio::test]
async fn what_else_needs_attention_stays_when_a_saga_is_released() {
    let world = World::new().await;
    let journal = world.open("one").await;
    let saga = parked(&world, &journal).await;
    sqlx::query(
        r#"update saga.instance set attention =
            ('[{"cause":"DEADLINE_PASSED","since":"2026-11-21T00:00:00Z"}]'::jsonb || attention::jsonb)::json"#,
    )
    .execute(world.admin())
    .await
    .unwrap();
    assert_eq!(release(&journal, saga, 1).await, Noted::Done);
    let kept = "select count(*) from saga.instance
                where needs_attention and json_array_length(attention) = 1
                    and attention -> 0 ->> 'cause' = 'DEADLINE_PASSED'";
    assert_eq!(world.number(kept).await, 1);
}

#[tokio::test]
async fn of_operators_at_the_same_time_one_releases_and_the_others_are_told() {
    let world = World::new().await;
    let journal = world.open("one").await;
    for round in 0..10 {
        let mut saga = world.saga(Kind::Pivot, &format!("k{round}"));
        write(&journal, vec![saga.start()]).await;
        let first = saga.succeed();
        write(&journal, vec![first]).await;
        journal.quarantine(saga.id(), "no".to_owned()).await.unwrap();
        let (a, b, c) = tokio::join!(
            release(&journal, saga.id(), 1),
            release(&journal, saga.id(), 1),
            release(&journal, saga.id(), 1)
        );
        let done = [a, b, c].iter().filter(|noted| **noted == Noted::Done).count();
        let told = [a, b, c]
            .iter()
            .filter(|noted| **noted == Noted::Changed { version: 2 })
            .count();
        assert_eq!((done, told), (1, 2));
    }
}

#[tokio::test]
async fn only_the_owner_releases_and_only_under_its_epoch() {
    let world = World::new().await;
    let journal = world.open("one").await;
    let saga = parked(&world, &journal).await;
    let other = world.open("two").await;
    assert_eq!(release(&other, saga, 1).await, Noted::NotAllowed);
    let next = world.open("one").await;
    let fenced = journal.release(saga, 1, note(OperatorAction::Release)).await;
    assert!(matches!(fenced, Err(JournalError::Fenced)));
    assert_eq!(release(&next, saga, 1).await, Noted::Done);
}

#[tokio::test]
async fn anybody_takes_note_of_an_ended_saga_once() {
    let world = World::new().await;
    let journal = world.open("one").await;
    let mut saga = world.saga(Kind::Pivot, "k");
    write(&journal, vec![saga.start()]).await;
    assert_eq!(
        acknowledge(&journal, saga.id(), 1).await,
        Noted::NotAllowed,
        "it goes on"
    );
    complete(&journal, &mut saga).await;
    let version = saga.events + 1;
    let other = world.open("two").await;
    assert_eq!(acknowledge(&other, saga.id(), version).await, Noted::NotAllowed);
    sqlx::query(
        r#"update saga.instance set needs_attention = true,
            attention = '[{"cause":"LATE_SUCCESS","step":0,"since":"2026-11-21T00:00:00Z"}]'"#,
    )
    .execute(world.admin())
    .await
    .unwrap();
    let changed = Noted::Changed { version };
    assert_eq!(acknowledge(&other, saga.id(), version - 1).await, changed);
    assert_eq!(acknowledge(&other, saga.id(), version).await, Noted::Done);
    let clear = "select count(*) from saga.instance where not needs_attention and attention is null";
    assert_eq!(world.number(clear).await, 1);
    let recorded = "select count(*) from saga.event where kind = 'operator' and class = 'acknowledge'";
    assert_eq!(world.number(recorded).await, 1);
    let changed = Noted::Changed { version: version + 1 };
    assert_eq!(acknowledge(&journal, saga.id(), version).await, changed);
}

#[tokio::test]
async fn sagas_of_an_instance_that_resigned_are_taken_over_long_before_its_lease_ends() {
    let world = World::new().await;
    let leaving = world.open_with("leaving", Duration::from_secs(3_600)).await;
    let heir = world.open_with("heir", Duration::from_millis(200)).await;
    let saga = world.saga(Kind::Pivot, "k");
    write(&leaving, vec![saga.start()]).await;
    leaving.resign().await.unwrap();
    assert!(matches!(leaving.beat().await, Err(JournalError::Fenced)));
    let late = world.saga(Kind::Pivot, "late");
    let written = leaving.append(0, &[late.start()]).await;
    assert!(
        matches!(written, Err(JournalError::Fenced)),
        "nothing is written any more"
    );
    assert!(matches!(leaving.resign().await, Err(JournalError::Fenced)));
    let mut taken = Vec::new();
    until(async || {
        // On a busy machine a renewal may come too late for so short a lease, which is no error.
        assert!(!matches!(heir.beat().await, Err(JournalError::Fenced)));
        taken.extend(heir.take_over(10).await.unwrap());
        !taken.is_empty()
    })
    .await;
    assert_eq!(taken, [saga.id()]);
}

#[tokio::test]
async fn an_instance_that_comes_back_after_it_resigned_has_its_sagas_at_once() {
    let world = World::new().await;
    let before = world.open("one").await;
    let saga = world.saga(Kind::Pivot, "k");
    write(&before, vec![saga.start()]).await;
    before.resign().await.unwrap();
    let after = world.open("one").await;
    assert_eq!(after.owned(None, 10).await.unwrap(), [(saga.id(), 0)]);
    assert!(after.epoch() > before.epoch());
}

#[tokio::test]
async fn every_beat_tells_which_types_are_paused() {
    let world = World::new().await;
    let journal = world.open("one").await;
    assert_eq!(journal.beat().await.unwrap(), Beat::default());
    sqlx::query(
        "insert into saga.paused_type (since, type, actor, reason)
         values (now(), 'REFUND', 'ann', 'a bad rollout'), (now(), 'PURCHASE', 'ann', 'a bad rollout')",
    )
    .execute(world.admin())
    .await
    .unwrap();
    let paused_types = vec!["PURCHASE".into(), "REFUND".into()];
    assert_eq!(journal.beat().await.unwrap(), Beat { paused_types });
}
