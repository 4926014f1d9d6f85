//! The views say what the state machine says, for plans of every shape and whatever happens to a saga.

use std::collections::BTreeMap;

use saga_core::{
    Allowed, Command, Completion, Event, FailureClass, Input, Op, OpKey, OpState, OperatorAction, Outcome,
    Payload, Phase, Plan, Recorded, Run, State, StepPlan, Zone,
};
use saga_engine::{Journal, Loaded, Transition};

use crate::journal_support::{Dice, Driven, Kind, World, epilogue, error, step, write};

const NAMES: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];

/// A graph of up to eight steps: some that are undone, perhaps a pivot, some that follow; with conditions, probes, and
/// steps that wait for a person.
fn graph(dice: &mut Dice) -> (Plan, Vec<Option<u64>>) {
    let mut steps: Vec<StepPlan> = Vec::new();
    let mut expires_ms = Vec::new();
    let some = |dice: &mut Dice, from: usize, to: usize| -> Vec<u16> {
        (from..to)
            .filter(|_| dice.roll(3) == 0)
            .map(|i| u16::try_from(i).unwrap())
            .collect()
    };
    let before = usize::try_from(1 + dice.roll(5)).unwrap();
    for (i, name) in NAMES.iter().enumerate().take(before) {
        let after = some(dice, 0, i);
        let mut step = step(name, &after, Zone::Compensatable, dice.roll(4) > 0);
        step.expires = dice.roll(8) == 0;
        steps.push(step);
    }
    let all_before: Vec<u16> = (0..u16::try_from(before).unwrap()).collect();
    let mut gate = all_before.clone();
    if dice.roll(2) == 0 {
        gate = vec![u16::try_from(before).unwrap()];
        steps.push(step(NAMES[before], &all_before, Zone::Pivot, false));
    }
    let first_after = steps.len();
    for _ in 0..dice.roll(3) {
        let mut after = gate.clone();
        after.extend(some(dice, first_after, steps.len()));
        steps.push(step(NAMES[steps.len()], &after, Zone::Retriable, false));
    }
    for step in &mut steps {
        step.conditional = dice.roll(4) == 0;
        step.probe = dice.roll(3) == 0;
        expires_ms.push(step.expires.then(|| 500 + dice.roll(20_000)));
    }
    let epilogue = (dice.roll(2) == 0).then(epilogue);
    (Plan::new(steps, epilogue, 60_000).unwrap(), expires_ms)
}

/// The status of a step in `saga_steps`, from the state.
fn status(saga: &Driven, run: &Run) -> &'static str {
    let phase = saga.state.phase();
    match &run.compensation {
        OpState::Succeeded(_) => return "COMPENSATED",
        OpState::Skipped => return "COMPENSATION_SKIPPED",
        OpState::Open(_) if !phase.is_ended() => return "COMPENSATING",
        OpState::Open(_) | OpState::NotStarted | OpState::Refused(_) | OpState::Abandoned => {}
    }
    match &run.action {
        OpState::NotStarted if phase == Phase::Running => "PENDING",
        OpState::NotStarted | OpState::Skipped => "SKIPPED",
        OpState::Open(_) if phase.is_ended() => "FAILED",
        OpState::Open(open) if open.drain_until.is_some() => "RUNNING",
        OpState::Open(open) if open.next_at.is_some() => "RETRYING",
        OpState::Open(open) if open.pending => "WAITING",
        OpState::Open(_) => "RUNNING",
        OpState::Succeeded(_) => "SUCCEEDED",
        OpState::Refused(_) => "REFUSED",
        OpState::Abandoned => "FAILED",
    }
}

/// The open operation of a step in the view that lists are filtered by: which, attempts made, whether it is called again,
/// whether the participant works on it.
fn open(saga: &Driven, run: &Run) -> Option<(&'static str, i32, bool, bool)> {
    let (name, open) = match (run.compensation.open(), run.action.open()) {
        _ if saga.state.phase().is_ended() => return None,
        (Some(open), _) => ("compensation", open),
        (None, Some(open)) => ("action", open),
        (None, None) => return None,
    };
    let again = open.next_at.is_some() && open.drain_until.is_none();
    let attempts = open.attempt - u32::from(again);
    Some((name, i32::try_from(attempts).unwrap(), again, open.pending))
}

/// The step that `saga_instances` calls the current one, from the state.
fn current_step(saga: &Driven) -> Option<String> {
    let runs = saga.state.runs();
    let name = |step: u16| Some(saga.identity.plan.name(step).to_owned());
    match saga.state.phase() {
        Phase::Running => runs.iter().find(|r| !r.action.done()).and_then(|r| name(r.step)),
        Phase::Compensating => runs
            .iter()
            .rev()
            .find(|r| {
                let waits = r.action.open().is_some() || r.watched_until.is_some();
                waits || r.compensation.open().is_some()
            })
            .and_then(|r| name(r.step)),
        Phase::Completed | Phase::Compensated | Phase::Resolved => None,
    }
}

async fn check(world: &World, saga: &Driven, failures: &Failures, walked: &[String]) {
    let id = saga.id().to_string();
    let (phase, current, reason, paused): (String, Option<String>, Option<String>, bool) =
        sqlx::query_as("select status, current_step, reason, paused from saga_instances where id = $1")
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
    assert_eq!(paused, saga.state.paused().is_some(), "{walked:#?}");

    let steps: Vec<(i32, String, String)> = sqlx::query_as(
        "select step_order, step_name, status from saga_steps where saga_id = $1 order by step_order",
    )
    .bind(&id)
    .fetch_all(world.admin())
    .await
    .unwrap();
    let plan = &saga.identity.plan;
    assert!(steps.len() >= plan.steps().len());
    for (i, ((order, name, shown), run)) in steps.iter().zip(saga.state.runs()).enumerate() {
        assert_eq!(usize::try_from(*order).unwrap(), i + 1);
        assert_eq!(*name, plan.name(run.step));
        assert_eq!(*shown, status(saga, run), "{name} after {walked:#?}");
    }
    type OpenRow = (
        i16,
        Option<String>,
        Option<i32>,
        Option<String>,
        Option<bool>,
        Option<bool>,
    );
    let ops: Vec<OpenRow> = sqlx::query_as(
        "select step::int2, open_op, open_attempts, open_class, open_failing, open_pending
         from saga.step_states where saga_uuid = $1 order by step",
    )
    .bind(saga.id().uuid())
    .fetch_all(world.admin())
    .await
    .unwrap();
    for ((step, op, attempts, class, failing, pending), run) in ops.iter().zip(saga.state.runs()) {
        let shown = op
            .as_deref()
            .map(|op| (op, attempts.unwrap(), failing.unwrap(), pending.unwrap()));
        assert_eq!(shown, open(saga, run), "step {step} after {walked:#?}");
        let expected = op
            .as_deref()
            .and_then(|op| failures.get(&(run.step, op.to_owned())));
        assert_eq!(
            class.as_deref(),
            expected.copied(),
            "step {step} after {walked:#?}"
        );
    }
    let state: String = sqlx::query_scalar("select status from saga_state where id = $1")
        .bind(&id)
        .fetch_one(world.admin())
        .await
        .unwrap();
    let expected = if saga.state.attention().next().is_some() || saga.state.phase() == Phase::Resolved {
        "FAILED"
    } else if saga.state.reason() == Some(saga_core::Reason::Timeout) {
        "TIMEOUT"
    } else {
        saga.state.phase().name()
    };
    assert_eq!(state, expected, "{walked:#?}");
}

/// Class of the last failure of each operation.
type Failures = BTreeMap<(u16, String), &'static str>;

fn note_failures(failures: &mut Failures, transition: &Transition) {
    for entry in &transition.entries {
        if let Event::Failed { key, failure, .. } = &entry.recorded.event {
            let op = match key.op {
                Op::Action => "action",
                Op::Compensation => "compensation",
            };
            failures.insert((key.step, op.to_owned()), failure.class.name());
        }
    }
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

fn pick<T: Clone>(dice: &mut Dice, from: &[T]) -> T {
    from[usize::try_from(dice.roll(u64::try_from(from.len()).unwrap())).unwrap()].clone()
}

fn reply() -> Payload {
    Payload::new(r#"{"reply": true}"#)
}

/// One of the commands that the state allows.
fn command(saga: &Driven, dice: &mut Dice) -> Option<Command> {
    // Ending the saga by hand is always allowed, and ends the walk.
    let allowed: Vec<Allowed> = saga
        .state
        .allowed(&saga.identity.plan)
        .into_iter()
        .filter(|a| a.action != OperatorAction::Resolve || dice.roll(4) == 0)
        .collect();
    if allowed.is_empty() {
        return None;
    }
    let Allowed { action, key } = pick(dice, &allowed);
    Some(match action {
        OperatorAction::RetryNow => Command::RetryNow(key),
        OperatorAction::ResolveSucceeded => Command::ResolveSucceeded(key?, reply()),
        OperatorAction::ResolveFailed => Command::ResolveFailed(key?),
        OperatorAction::Skip => Command::Skip(key?),
        OperatorAction::Compensate => Command::Compensate,
        OperatorAction::Resolve => Command::Resolve,
        OperatorAction::Pause => Command::Pause,
        OperatorAction::Resume => Command::Resume,
        OperatorAction::Acknowledge => Command::Acknowledge,
        OperatorAction::Release | OperatorAction::Cancel => return None,
    })
}

/// Whether a step's condition holds; the same whenever it is asked.
fn is_left_out(saga: &Driven, key: OpKey) -> bool {
    let steps = saga.identity.plan.steps();
    let conditional = steps.get(usize::from(key.step)).is_some_and(|s| s.conditional);
    let salt = saga.identity.saga_type.bytes().map(u32::from).sum::<u32>();
    conditional && key.op == Op::Action && (salt + u32::from(key.step)).is_multiple_of(2)
}

/// One step of a walk: mostly answers, sometimes an operator, a cancel, or nothing but time.
fn input(saga: &Driven, dice: &mut Dice) -> Input {
    let plan = &saga.identity.plan;
    let mut open: Vec<(OpKey, u32)> = saga.state.due(plan).map(|due| (due.key, due.attempt)).collect();
    for run in saga.state.runs() {
        // Actions that are only waited for are not due, but their answers still come; those given up may still succeed.
        let key = OpKey {
            step: run.step,
            index: 0,
            op: Op::Action,
        };
        if let Some(action) = run.action.open()
            && open.iter().all(|(other, _)| *other != key)
        {
            open.push((key, action.attempt));
        }
        if run.action == OpState::Abandoned && dice.roll(4) == 0 && !is_left_out(saga, key) {
            return Input::Replied {
                key,
                attempt: 1,
                outcome: Outcome::Succeeded(reply()),
            };
        }
    }
    let choice = dice.roll(100);
    if choice < 12
        && let Some(command) = command(saga, dice)
    {
        return Input::Operator {
            actor: "ann".into(),
            note: "because".into(),
            evidence: "".into(),
            command,
        };
    }
    if choice < 17 || open.is_empty() {
        return Input::Tick;
    }
    if choice < 22 {
        return Input::Cancel {
            actor: "tester".into(),
            note: error("cancelled"),
        };
    }
    let (key, attempt) = pick(dice, &open);
    if is_left_out(saga, key) {
        return Input::Replied {
            key,
            attempt,
            outcome: Outcome::Skipped,
        };
    }
    if choice < 27 {
        let result = match dice.roll(2) {
            0 => Completion::Succeeded(reply()),
            _ => Completion::Failed(error("none free")),
        };
        return Input::Completed { key, result };
    }
    let probed = saga.state.due(plan).any(|due| due.key == key && due.probe);
    let outcome = match dice.roll(10) {
        0..=4 => Outcome::Succeeded(reply()),
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
        _ if probed => Outcome::NotSeen,
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

/// Whether anything in the saga's history is of the second format.
fn is_of_second_format(events: &[Recorded]) -> bool {
    events.iter().any(|recorded| match &recorded.event {
        Event::Skipped { .. } | Event::LateSuccess { .. } | Event::Operator { .. } => true,
        Event::Failed { failure, .. } => failure.class == FailureClass::NotSeen,
        _ => false,
    })
}

async fn walk(
    world: &World,
    journal: &impl Journal,
    mut saga: Driven,
    mut dice: Dice,
    seen: &mut BTreeMap<&'static str, usize>,
    title: String,
) {
    let mut failures = Failures::new();
    let mut recorded = Vec::new();
    write(journal, vec![saga.start()]).await;
    let mut walked = vec![title];
    check(world, &saga, &failures, &walked).await;
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
        note_failures(&mut failures, &transition);
        recorded.extend(transition.entries.iter().map(|entry| entry.recorded.clone()));
        write(journal, vec![transition]).await;
        check(world, &saga, &failures, &walked).await;
        for run in saga.state.runs() {
            *seen.entry(status(&saga, run)).or_default() += 1;
        }
        if !saga.state.phase().is_ended() {
            let loaded = journal.load(vec![saga.id()]).await.unwrap().remove(0);
            assert_eq!(loaded.events, recorded, "{walked:#?}");
            assert_eq!(replayed(&saga, &loaded), saga.state, "{walked:#?}");
            assert_eq!(loaded.identity.business_id, saga.identity.business_id);
            assert_eq!(loaded.row.clock, saga.state.clock());
            assert_eq!(loaded.row.attention, saga.state.attention().collect::<Vec<_>>());
        }
    }
    *seen.entry(saga.state.phase().name()).or_default() += 1;
    let format: i16 = sqlx::query_scalar("select format from saga.instance where id = $1")
        .bind(saga.id().uuid())
        .fetch_one(world.admin())
        .await
        .unwrap();
    assert_eq!(format == 2, is_of_second_format(&recorded), "{walked:#?}");
    if saga
        .state
        .attention()
        .any(|a| a.cause == saga_core::Cause::LateSuccess)
    {
        *seen.entry("LATE").or_default() += 1;
    }
}

const MET: [&str; 14] = [
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
    "COMPENSATION_SKIPPED",
    "RESOLVED",
    "LATE",
];

/// Walks of each kind: enough to meet every situation of [`MET`].
const WALKS: u64 = 40;

fn all_were_met(seen: &BTreeMap<&'static str, usize>) {
    for wanted in MET {
        let times = seen.get(wanted).copied().unwrap_or(0);
        assert!(times > 0, "the walks never met {wanted}: {seen:?}");
    }
}

#[tokio::test]
async fn the_views_and_a_load_agree_with_the_state_machine_after_every_transition() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let mut seen = BTreeMap::new();
    for seed in 1..=WALKS {
        let dice = Dice(seed * 0x9e37_79b9);
        let kind = if seed % 2 == 0 {
            Kind::Undoable
        } else {
            Kind::Pivot
        };
        let saga = world.saga(kind, &format!("walk {seed}"));
        walk(
            &world,
            &journal,
            saga,
            dice,
            &mut seen,
            format!("seed {seed}, {kind:?}"),
        )
        .await;
    }
    all_were_met(&seen);
}

#[tokio::test]
async fn the_views_agree_with_the_state_machine_for_graphs_of_any_shape() {
    let mut world = World::new().await;
    let mut graphs = Vec::new();
    for seed in 1..=WALKS {
        let mut dice = Dice(seed * 0x9e37_79b9);
        let (plan, expires_ms) = graph(&mut dice);
        graphs.push((
            world.define(&format!("GRAPH_{seed}"), plan, expires_ms).await,
            dice,
        ));
    }
    let journal = world.open("a").await;
    let mut seen = BTreeMap::new();
    for (known, dice) in graphs {
        let saga = world.saga_of(&known, "k", "{}");
        let edges: Vec<&[u16]> = saga.identity.plan.steps().iter().map(|s| &*s.after).collect();
        let title = format!("{} {edges:?}", saga.identity.saga_type);
        walk(&world, &journal, saga.clone(), dice, &mut seen, title).await;
    }
    all_were_met(&seen);
}
