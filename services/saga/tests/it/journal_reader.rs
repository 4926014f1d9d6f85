//! What the API reads.

use saga::journal::{Filter, Reader};
use saga_core::{Event, FailureClass, Input, Outcome, Phase};
use saga_engine::Journal;

use crate::journal_support::{Kind, START, World, complete, error, write};

#[tokio::test]
async fn a_stored_saga_shows_everything_of_it() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let mut saga = world.saga(Kind::Undoable, "k");
    write(&journal, vec![saga.start()]).await;
    saga.at = START.plus(1_000);
    for outcome in [
        Outcome::Pending,
        Outcome::Failed {
            class: FailureClass::Unsent,
            error: error("later"),
        },
    ] {
        let transition = saga.answer(outcome);
        write(&journal, vec![transition]).await;
    }
    saga.at = START.plus(2_000);
    let cancel = Input::Cancel {
        actor: "operator".into(),
        note: error("enough"),
    };
    let transition = saga.handle(cancel, &[], 0).unwrap();
    write(&journal, vec![transition]).await;

    let reader = Reader::new(world.admin().clone());
    let stored = reader.get(saga.id()).await.unwrap().unwrap();
    assert_eq!(
        reader.find("UNDOABLE", "k").await.unwrap().as_ref(),
        Some(&stored)
    );
    assert!(reader.find("PIVOT", "k").await.unwrap().is_none());
    assert!(reader.find("PIVOT", "\0").await.unwrap().is_none());
    assert_eq!(stored.definition.name, "UNDOABLE");
    assert_eq!(stored.definition.steps, ["RESERVE", "CHECK", "WORK", "CLOSE"]);
    assert_eq!(stored.definition.epilogue.as_deref(), Some("FINALLY"));
    assert_eq!(stored.business_id, "k");
    assert_eq!(stored.input, r#"{"amount": 1}"#);
    assert_eq!(
        (stored.owner.as_str(), stored.owner_address.as_deref()),
        ("a", Some("http://a"))
    );
    assert_eq!(stored.actor, "tester");
    assert_eq!(stored.row.phase, Phase::Compensating);
    assert_eq!(stored.row.reason.map(saga_core::Reason::name), Some("CANCELLED"));
    assert_eq!(stored.row.error, Some(error("enough")));
    assert_eq!(stored.current_step.as_deref(), Some("RESERVE"));
    assert_eq!(
        (stored.created_at, stored.updated_at, stored.ended_at),
        (START, START.plus(2_000), None)
    );
    assert_eq!(stored.event_count, 4);
    let events: Vec<&Event> = stored.events.iter().map(|e| &e.recorded.event).collect();
    assert!(matches!(
        events[..],
        [
            Event::Pending { .. },
            Event::Failed { .. },
            Event::Operator { .. },
            Event::Unwinding { .. }
        ]
    ));
    assert_eq!(stored.events[3].recorded.actor.as_deref(), Some("operator"));
    assert_eq!(stored.events[1].request.as_deref(), Some(r#"{"request": true}"#));
    assert_eq!(stored.events[1].duration_ms, Some(7));
}

#[tokio::test]
async fn a_list_is_filtered_and_paged_newest_first() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let mut sagas = Vec::new();
    for i in 0..12 {
        let kind = if i % 3 == 0 { Kind::Undoable } else { Kind::Pivot };
        let mut saga = world.saga(kind, &format!("k{}", i % 6));
        if i >= 6 {
            saga = world.saga(kind, &format!("n{i}"));
        }
        write(&journal, vec![saga.start()]).await;
        if i % 4 == 0 {
            complete(&journal, &mut saga).await;
        }
        sagas.push(saga);
    }
    journal.quarantine(sagas[5].id(), "why".to_owned()).await.unwrap();
    let reader = Reader::new(world.admin().clone());
    let ids = |filter: Filter| {
        let reader = reader.clone();
        async move {
            let (mut all, mut before) = (Vec::new(), None);
            loop {
                let page = reader.list(&filter, 5, before).await.unwrap();
                let Some(last) = page.last() else { return all };
                before = Some(last.id);
                all.extend(page.iter().map(|stored| stored.id));
            }
        }
    };
    let expected = |keep: &dyn Fn(usize) -> bool| -> Vec<_> {
        (0..12)
            .rev()
            .filter(|&i| keep(i))
            .map(|i| sagas[i].id())
            .collect()
    };
    assert_eq!(ids(Filter::default()).await, expected(&|_| true));
    let of_type = Filter {
        saga_type: Some("UNDOABLE".to_owned()),
        ..Filter::default()
    };
    assert_eq!(ids(of_type).await, expected(&|i| i % 3 == 0));
    let running = Filter {
        phases: vec![Phase::Running, Phase::Compensating],
        ..Filter::default()
    };
    assert_eq!(ids(running).await, expected(&|i| i % 4 != 0));
    let by_key = Filter {
        business_id: Some("k3".to_owned()),
        ..Filter::default()
    };
    assert_eq!(ids(by_key.clone()).await, expected(&|i| i == 3));
    let by_both = Filter {
        saga_type: Some("PIVOT".to_owned()),
        ..by_key
    };
    assert!(ids(by_both).await.is_empty());
    let attention = Filter {
        needs_attention: true,
        ..Filter::default()
    };
    assert_eq!(ids(attention).await, expected(&|i| i == 5));
    let unaskable = Filter {
        business_id: Some("\0".to_owned()),
        ..Filter::default()
    };
    assert!(ids(unaskable).await.is_empty());
}
