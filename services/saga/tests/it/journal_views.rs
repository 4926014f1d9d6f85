//! The views say what the state machine says.

use std::collections::BTreeMap;

use saga_core::{Event, FailureClass, Input, OpKey, OpState, Outcome, Payload, Phase, Recorded, State};
use saga_engine::{Journal, Loaded};

use crate::journal_support::{Dice, Driven, Kind, World, error, write};

/// The status of a step in `saga_steps`, from the state.
fn status(saga: &Driven, step: usize) -> &'static str {
    let run = &saga.state.runs()[step];
    let phase = saga.state.phase();
    match &run.compensation {
        OpState::Succeeded(_) => return "COMPENSATED",
        OpState::Open(_) => return "COMPENSATING",
        OpState::NotStarted | OpState::Refused(_) | OpState::Abandoned | OpState::Skipped => {}
    }
    match &run.action {
        OpState::NotStarted if phase == Phase::Running => "PENDING",
        OpState::NotStarted | OpState::Skipped => "SKIPPED",
        OpState::Open(open) if open.drain_until.is_some() => "RUNNING",
        OpState::Open(open) if open.next_at.is_some() => "RETRYING",
        OpState::Open(open) if open.pending => "WAITING",
        OpState::Open(_) => "RUNNING",
        OpState::Succeeded(_) => "SUCCEEDED",
        OpState::Refused(_) => "REFUSED",
        OpState::Abandoned => "FAILED",
    }
}

/// The step that `saga_instances` calls the current one, from the state.
fn current_step(saga: &Driven) -> Option<String> {
    let runs = saga.state.runs();
    let name = |step: u16| Some(saga.identity.plan.name(step).to_owned());
    match saga.state.phase() {
        Phase::Running => runs
            .iter()
            .find(|r| !r.action.succeeded())
            .and_then(|r| name(r.step)),
        Phase::Compensating => runs
            .iter()
            .rev()
            .find(|r| r.compensation.open().is_some() || r.action.open().is_some())
            .and_then(|r| name(r.step)),
        Phase::Completed | Phase::Compensated | Phase::Resolved => None,
    }
}

async fn check(world: &World, saga: &Driven, walked: &[String]) {
    let id = saga.id().to_string();
    let (phase, current, reason): (String, Option<String>, Option<String>) =
        sqlx::query_as("select status, current_step, reason from saga_instances where id = $1")
            .bind(&id)
            .fetch_one(world.admin())
            .await
            .unwrap();
    assert_eq!(phase, saga.state.phase().name(), "{walked:#?}");
    assert_eq!(current, current_step(saga), "{walked:#?}");
    assert_eq!(
        reason.as_deref(),
        saga.state.reason().map(saga_core::Reason::name),
        "{walked:#?}"
    );

    let steps: Vec<(i32, String, String)> = sqlx::query_as(
        "select step_order, step_name, status from saga_steps where saga_id = $1 order by step_order",
    )
    .bind(&id)
    .fetch_all(world.admin())
    .await
    .unwrap();
    let names: Vec<&str> = steps.iter().map(|(_, name, _)| &**name).collect();
    assert_eq!(names[..4], ["RESERVE", "CHECK", "WORK", "CLOSE"]);
    for (i, (order, name, shown)) in steps.iter().enumerate() {
        assert_eq!(usize::try_from(*order).unwrap(), i + 1);
        assert_eq!(*shown, status(saga, i), "{name} after {walked:#?}");
    }
    let state: String = sqlx::query_scalar("select status from saga_state where id = $1")
        .bind(&id)
        .fetch_one(world.admin())
        .await
        .unwrap();
    let expected = if saga.state.attention().next().is_some() {
        "FAILED"
    } else if saga.state.reason() == Some(saga_core::Reason::Timeout) {
        "TIMEOUT"
    } else {
        saga.state.phase().name()
    };
    assert_eq!(state, expected, "{walked:#?}");
}

/// What a load gives must lead to the same state.
fn replayed(saga: &Driven, loaded: &Loaded) -> State {
    let plan = &loaded.identity.plan;
    let mut state = State::start(plan, &loaded.identity.start);
    for recorded in &loaded.events {
        state.apply(plan, recorded);
    }
    if loaded.row.phase.is_ended() {
        let phase = loaded.row.phase;
        state.apply(plan, &Recorded::new(saga.at, None, Event::Ended { phase }));
    }
    state
}

/// One step of a walk: mostly answers, sometimes a cancel, sometimes nothing but time.
fn input(saga: &Driven, dice: &mut Dice) -> Input {
    let plan = &saga.identity.plan;
    let mut open: Vec<(OpKey, u32)> = saga.state.due(plan).map(|due| (due.key, due.attempt)).collect();
    for run in saga.state.runs() {
        // Actions that are only waited for are not due, but their answers still come.
        let key = OpKey {
            step: run.step,
            index: 0,
            op: saga_core::Op::Action,
        };
        if let Some(action) = run.action.open()
            && open.iter().all(|(other, _)| *other != key)
        {
            open.push((key, action.attempt));
        }
    }
    let choice = dice.roll(100);
    if choice < 5 || open.is_empty() {
        return Input::Tick;
    }
    if choice < 12 {
        return Input::Cancel {
            actor: "tester".into(),
            note: error("cancelled"),
        };
    }
    let (key, attempt) = open[usize::try_from(dice.roll(u64::try_from(open.len()).unwrap())).unwrap()];
    let outcome = match dice.roll(10) {
        0..=4 => Outcome::Succeeded(Payload::new(r#"{"reply": true}"#)),
        5 => Outcome::Refused {
            error: error("refused"),
            stored: dice.roll(2) == 0,
        },
        6 => Outcome::Pending,
        7 => Outcome::Failed {
            class: FailureClass::Unsent,
            error: error("unsent"),
        },
        8 => Outcome::Failed {
            class: FailureClass::Misconfigured,
            error: error("misconfigured"),
        },
        _ => Outcome::Failed {
            class: FailureClass::Unknown,
            error: error("unknown"),
        },
    };
    Input::Replied {
        key,
        attempt,
        outcome,
    }
}

#[tokio::test]
async fn the_views_and_a_load_agree_with_the_state_machine_after_every_transition() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let mut seen: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in 1..=120 {
        let mut dice = Dice(seed * 0x9e37_79b9);
        let kind = if seed % 2 == 0 {
            Kind::Undoable
        } else {
            Kind::Pivot
        };
        let mut saga = world.saga(kind, &format!("walk {seed}"));
        write(&journal, vec![saga.start()]).await;
        let mut walked = vec![format!("seed {seed}, {kind:?}")];
        check(&world, &saga, &walked).await;
        for _ in 0..30 {
            if saga.state.phase().is_ended() {
                break;
            }
            saga.at = saga.at.plus(1 + dice.roll(1_500));
            let due: Vec<OpKey> = saga.state.due(&saga.identity.plan).map(|due| due.key).collect();
            let in_flight: Vec<OpKey> = due.into_iter().filter(|_| dice.roll(2) == 0).collect();
            let input = input(&saga, &mut dice);
            walked.push(format!("{input:?}, in flight {in_flight:?}"));
            let Some(transition) = saga.handle(input, &in_flight, u32::MAX / 2) else {
                continue;
            };
            write(&journal, vec![transition]).await;
            check(&world, &saga, &walked).await;
            for step in 0..4 {
                *seen.entry(status(&saga, step)).or_default() += 1;
            }
            if !saga.state.phase().is_ended() {
                let loaded = journal.load(vec![saga.id()]).await.unwrap().remove(0);
                assert_eq!(replayed(&saga, &loaded), saga.state, "{walked:#?}");
                assert_eq!(loaded.identity.business_id, saga.identity.business_id);
                assert_eq!(loaded.row.clock, saga.state.clock());
                assert_eq!(loaded.row.attention, saga.state.attention().collect::<Vec<_>>());
            }
        }
        *seen.entry(saga.state.phase().name()).or_default() += 1;
    }
    for wanted in [
        "PENDING",
        "RUNNING",
        "RETRYING",
        "WAITING",
        "SUCCEEDED",
        "REFUSED",
        "FAILED",
        "COMPENSATING",
        "COMPENSATED",
        "SKIPPED",
        "COMPLETED",
    ] {
        assert!(
            seen.get(wanted).copied().unwrap_or(0) > 0,
            "the walks never met {wanted}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn operators_find_running_sagas_without_naming_the_schema() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let mut saga = world.saga(Kind::Undoable, "k");
    let other = world.saga(Kind::Pivot, "o");
    write(&journal, vec![saga.start(), other.start()]).await;
    crate::journal_support::complete(&journal, &mut saga).await;
    let rows = sqlx::query("SELECT * FROM saga_instances WHERE status = 'RUNNING'")
        .fetch_all(world.admin())
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    let none = sqlx::query("SELECT * FROM saga_instances WHERE status = 'anything' AND id = 'at all'")
        .fetch_all(world.admin())
        .await
        .unwrap();
    assert!(none.is_empty());
    let ended: (bool, bool, Option<String>) = sqlx::query_as(
        "SELECT completed_at = updated_at, compensated_at IS NULL, current_step FROM saga_instances WHERE business_id = 'k'",
    )
    .fetch_one(world.admin())
    .await
    .unwrap();
    assert_eq!(ended, (true, true, None));
}

#[tokio::test]
async fn steps_show_requests_replies_and_retries() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let mut saga = world.saga(Kind::Undoable, "k");
    write(&journal, vec![saga.start()]).await;
    let first = saga.succeed();
    write(&journal, vec![first]).await;
    for _ in 0..2 {
        let failed = saga.answer(Outcome::Failed {
            class: FailureClass::Unknown,
            error: error("slow"),
        });
        write(&journal, vec![failed]).await;
    }
    let (retries, most, next): (i32, i32, bool) = sqlx::query_as(
        "select retry_count, max_retry_count, next_retry_at > now() - interval '100 years'
         from saga_steps where step_name = 'CHECK'",
    )
    .fetch_one(world.admin())
    .await
    .unwrap();
    assert_eq!((retries, most, next), (2, 3, true));
    let (asked, answered): (String, String) = sqlx::query_as(
        "select execute_data ->> 'request', result ->> 'reply' from saga_steps where step_name = 'RESERVE'",
    )
    .fetch_one(world.admin())
    .await
    .unwrap();
    assert_eq!((asked.as_str(), answered.as_str()), ("true", "true"));
    let state: String = sqlx::query_scalar("select state::text from saga_state")
        .fetch_one(world.admin())
        .await
        .unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["input"]["amount"], 1);
    assert_eq!(state["results"]["RESERVE"]["reply"], true);
}

#[tokio::test]
async fn every_table_and_view_says_what_it_is() {
    let world = World::new().await;
    let silent: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c
         where c.relnamespace = 'saga'::regnamespace and c.relkind in ('r', 'v') and c.relname not like '\\_%'
            and obj_description(c.oid) is null",
    )
    .fetch_all(world.admin())
    .await
    .unwrap();
    assert!(silent.is_empty(), "{silent:?}");
}
