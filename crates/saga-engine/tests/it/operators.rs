//! Operators, completions, probes, conditions.

use std::time::Duration;

use ids::SagaId;
use saga_core::{Command, Completion, Event, Op, OpKey, OperatorAction, Payload, Phase, StepError};
use saga_engine::{Handle, OperatorRequest, RequestError, Seen, Until, Wait};

use crate::world::{Fault, Process, Script, World, plan, single_with};

const LONG: Duration = Duration::from_secs(600);

const fn key(step: u16, op: Op) -> OpKey {
    OpKey { step, index: 0, op }
}

fn request(command: Command, expected_version: u32) -> OperatorRequest {
    OperatorRequest {
        actor: "ann".into(),
        note: "because".into(),
        evidence: "ticket 7".into(),
        command,
        expected_version,
    }
}

async fn operate(
    handle: &Handle,
    saga: SagaId,
    command: Command,
    version: u32,
) -> Result<Seen, RequestError> {
    handle.operate(saga, request(command, version)).await
}

fn no() -> StepError {
    StepError {
        code: "FAILED_PRECONDITION".into(),
        reason: "NO".into(),
        domain: "test".into(),
        message: "no".into(),
    }
}

/// A saga whose second step answers Pending for ever; it has the events `succeeded` and `pending`.
async fn pending(world: &World, process: &Process) -> SagaId {
    world
        .participants
        .script(1, Op::Action, vec![Script::Pending; 100_000]);
    let saga = world.saga(&plan(), "k");
    let seen = process.handle.start(saga, Until::Step(0), LONG).await.unwrap();
    world
        .until(|w| w.kinds(seen.saga).contains(&"pending").then_some(()))
        .await;
    // Until it is durable for the engine, too.
    tokio::time::sleep(Duration::from_millis(5)).await;
    seen.saga
}

fn asked(world: &World, saga: SagaId) -> usize {
    let books = world.participants.books.lock().unwrap();
    books.calls.iter().filter(|call| call.0 == saga).count()
}

#[tokio::test(start_paused = true)]
async fn of_two_operators_at_once_one_wins_and_the_other_is_told_what_the_version_is() {
    let world = World::new();
    let process = world.process();
    let saga = pending(&world, &process).await;
    let (a, b) = (process.handle.clone(), process.handle.clone());
    let (a, b) = tokio::join!(
        operate(&a, saga, Command::Pause, 2),
        operate(&b, saga, Command::Compensate, 2)
    );
    assert_eq!(a.unwrap().snapshot.unwrap().events, 3);
    assert_eq!(b.unwrap_err(), RequestError::Changed { version: 3 });
    assert_eq!(
        world.phase(saga),
        Some(Phase::Running),
        "the other one did nothing"
    );
    let disk = world.disk.lock().unwrap();
    let last = disk.sagas[&saga].events.last().unwrap();
    assert_eq!(last.actor.as_deref(), Some("ann"));
    assert!(matches!(
        last.event,
        Event::Operator {
            action: OperatorAction::Pause,
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn what_the_state_does_not_allow_is_refused_and_leaves_nothing_behind() {
    let world = World::new();
    let process = world.process();
    let saga = pending(&world, &process).await;
    for command in [
        Command::Resume,
        Command::Skip(key(1, Op::Action)),
        Command::Acknowledge,
    ] {
        let error = operate(&process.handle, saga, command, 2).await.unwrap_err();
        assert_eq!(error, RequestError::NotAllowed);
    }
    assert_eq!(world.kinds(saga), ["succeeded", "pending"]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_saga_makes_no_calls_until_it_is_resumed() {
    let world = World::new();
    let process = world.process();
    let saga = pending(&world, &process).await;
    let seen = operate(&process.handle, saga, Command::Pause, 2).await.unwrap();
    let waits = seen.snapshot.unwrap().waits;
    assert!(
        matches!(&waits[..], [(_, Wait::Paused | Wait::Answer)]),
        "{waits:?}"
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = asked(&world, saga);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(asked(&world, saga), before);
    world.participants.script(1, Op::Action, []);
    operate(&process.handle, saga, Command::Resume, 3).await.unwrap();
    assert_eq!(world.until_ended(saga).await, Phase::Completed);
}

#[tokio::test(start_paused = true)]
async fn retry_now_calls_at_once_what_waits_for_its_time() {
    let world = World::new();
    // Misconfigured operations wait for a minute.
    world.participants.script(2, Op::Action, [Script::Refuse]);
    let process = world.process();
    let saga = world.saga(&plan(), "k");
    let seen = process.handle.start(saga, Until::Step(1), LONG).await.unwrap();
    world
        .until(|w| w.kinds(seen.saga).contains(&"failed").then_some(()))
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = asked(&world, seen.saga);
    let retry = Command::RetryNow(Some(key(2, Op::Action)));
    operate(&process.handle, seen.saga, retry, 4).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(asked(&world, seen.saga), before + 1);
}

#[tokio::test(start_paused = true)]
async fn retry_now_asks_a_pending_participant_at_once() {
    let world = World::new();
    let process = world.process();
    let saga = pending(&world, &process).await;
    operate(&process.handle, saga, Command::Pause, 2).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    operate(&process.handle, saga, Command::Resume, 3).await.unwrap();
    world.until(|w| (asked(w, saga) >= 3).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let before = asked(&world, saga);
    // It is asked every 50 ms.
    operate(&process.handle, saga, Command::RetryNow(None), 4)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(asked(&world, saga), before + 1);
}

#[tokio::test(start_paused = true)]
async fn resolving_ends_a_saga_and_whoever_comes_later_is_told() {
    let world = World::new();
    let process = world.process();
    let saga = pending(&world, &process).await;
    let handle = &process.handle;
    let (resolved, cancelled, completed) = tokio::join!(
        operate(handle, saga, Command::Resolve, 2),
        operate(handle, saga, Command::Compensate, 2),
        handle.complete(
            saga,
            key(1, Op::Action),
            Completion::Succeeded(Payload::new("{}"))
        )
    );
    assert_eq!(resolved.unwrap().snapshot.unwrap().state.phase(), Phase::Resolved);
    assert_eq!(cancelled.unwrap_err(), RequestError::Changed { version: 4 });
    assert_eq!(completed.unwrap_err(), RequestError::Ended);
    assert_eq!(world.phase(saga), Some(Phase::Resolved));
    let before = asked(&world, saga);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(asked(&world, saga), before);
    let error = operate(handle, saga, Command::Pause, 4).await.unwrap_err();
    assert_eq!(error, RequestError::NotHere);
}

#[tokio::test(start_paused = true)]
async fn a_completion_answers_a_pending_operation_once() {
    let world = World::new();
    let process = world.process();
    let saga = pending(&world, &process).await;
    let complete = |step, result| process.handle.complete(saga, key(step, Op::Action), result);
    let yes = || Completion::Succeeded(Payload::new(r#"{"by":"token"}"#));
    assert_eq!(complete(2, yes()).await.unwrap_err(), RequestError::NotOpen);
    assert_eq!(complete(0, yes()).await.unwrap_err(), RequestError::Answered);
    let seen = complete(1, yes()).await.unwrap();
    assert_eq!(
        seen.snapshot.unwrap().state.reply(1),
        Some(&Payload::new(r#"{"by":"token"}"#))
    );
    let again = complete(1, yes()).await.unwrap_err();
    assert!(matches!(
        again,
        RequestError::Answered | RequestError::NotHere | RequestError::Ended
    ));
    assert_eq!(world.until_ended(saga).await, Phase::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_completion_that_fails_unwinds_the_saga() {
    let world = World::new();
    let process = world.process();
    let saga = pending(&world, &process).await;
    let result = Completion::Failed(no());
    process
        .handle
        .complete(saga, key(1, Op::Action), result)
        .await
        .unwrap();
    assert_eq!(world.until_ended(saga).await, Phase::Compensated);
    assert!(
        !world.effects(saga).contains(&(1, Op::Compensation)),
        "it never had an effect"
    );
}

#[tokio::test(start_paused = true)]
async fn a_success_after_giving_up_is_on_record_and_needs_attention() {
    let world = World::new();
    let process = world.process();
    let saga = pending(&world, &process).await;
    world
        .participants
        .script(1, Op::Compensation, vec![Script::Hang; 3]);
    let note = no();
    process.handle.cancel(saga, "me".into(), note).await.unwrap();
    world
        .until(|w| w.kinds(saga).contains(&"unwinding").then_some(()))
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let complete = |result| process.handle.complete(saga, key(1, Op::Action), result);
    let yes = || Completion::Succeeded(Payload::new("{}"));
    assert_eq!(
        complete(Completion::Failed(no())).await.unwrap_err(),
        RequestError::GivenUp
    );
    assert_eq!(complete(yes()).await.unwrap_err(), RequestError::GivenUp);
    assert!(world.kinds(saga).contains(&"late_success"));
    assert_eq!(complete(yes()).await.unwrap_err(), RequestError::Answered);
    assert_eq!(world.until_ended(saga).await, Phase::Compensated);
    let version = {
        let disk = world.disk.lock().unwrap();
        assert_eq!(disk.sagas[&saga].row.attention.len(), 1, "also after the end");
        u32::try_from(disk.sagas[&saga].events.len()).unwrap() + 1
    };
    let handle = &process.handle;
    let stale = operate(handle, saga, Command::Acknowledge, version - 1).await;
    assert_eq!(stale.unwrap_err(), RequestError::Changed { version });
    operate(handle, saga, Command::Acknowledge, version)
        .await
        .unwrap();
    assert!(world.disk.lock().unwrap().sagas[&saga].row.attention.is_empty());
    let again = operate(handle, saga, Command::Acknowledge, version + 1).await;
    assert_eq!(again.unwrap_err(), RequestError::NotHere);
}

/// A step is written off while its attempt is in flight, and the write's outcome is unknown: the success may come while the
/// write is under way, while the saga is loaded again, or after that.
#[tokio::test(start_paused = true)]
async fn the_success_of_a_step_that_was_written_off_is_on_record_whenever_it_comes() {
    for fault in [Fault::LostAnswer, Fault::LostWrite] {
        for wait_ms in [1, 2, 3, 4, 5, 100, 250, 300] {
            let world = World::new();
            world.participants.script(0, Op::Action, [Script::Slow(wait_ms)]);
            world.disk.lock().unwrap().faults.insert(2, fault);
            let process = world.process();
            let saga = world.saga(&plan(), "k");
            let seen = process.handle.start(saga, Until::Durable, LONG).await.unwrap();
            world.until(|w| (asked(w, seen.saga) == 1).then_some(())).await;
            let command = Command::ResolveFailed(key(0, Op::Action));
            let _ = operate(&process.handle, seen.saga, command, 0).await;
            let phase = world.until_ended(seen.saga).await;
            let (kinds, effects) = (world.kinds(seen.saga), world.effects(seen.saga));
            let known = phase == Phase::Completed
                || effects.contains(&(0, Op::Compensation))
                || kinds.contains(&"late_success");
            assert!(known, "{fault:?} {wait_ms} ms: {phase:?} {kinds:?} {effects:?}");
        }
    }
}

/// A saga that is parked with one event, its first step's success.
async fn parked(world: &World, process: &Process) -> SagaId {
    world.participants.script(1, Op::Action, [Script::Panic]);
    let saga = world.saga(&plan(), "k");
    let seen = process.handle.start(saga, Until::Durable, LONG).await.unwrap();
    world
        .until(|w| w.disk.lock().unwrap().sagas[&seen.saga].quarantined.clone())
        .await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    seen.saga
}

#[tokio::test(start_paused = true)]
async fn a_released_saga_goes_on_where_it_was_parked() {
    let world = World::new();
    let process = world.process();
    let saga = parked(&world, &process).await;
    let release = |version| {
        process
            .handle
            .release(saga, "ann".into(), "mended".into(), version)
    };
    assert_eq!(
        release(0).await.unwrap_err(),
        RequestError::Changed { version: 1 }
    );
    release(1).await.unwrap();
    assert_eq!(world.until_ended(saga).await, Phase::Completed);
    assert_eq!(world.kinds(saga)[..2], ["succeeded", "operator"]);
    let version = world.kinds(saga).len();
    let again = release(u32::try_from(version).unwrap()).await;
    assert_eq!(again.unwrap_err(), RequestError::NotAllowed);
}

#[tokio::test(start_paused = true)]
async fn of_two_who_release_one_is_told_that_it_has_changed() {
    let world = World::new();
    let process = world.process();
    let saga = parked(&world, &process).await;
    let release = || process.handle.release(saga, "ann".into(), "mended".into(), 1);
    let (a, b) = tokio::join!(release(), release());
    a.unwrap();
    assert_eq!(b.unwrap_err(), RequestError::Changed { version: 2 });
    assert_eq!(world.until_ended(saga).await, Phase::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_answer_is_lost_is_found_out_by_loading() {
    let world = World::new();
    let process = world.process();
    let saga = parked(&world, &process).await;
    world.disk.lock().unwrap().lose_note = true;
    let lost = process
        .handle
        .release(saga, "ann".into(), "mended".into(), 1)
        .await;
    assert_eq!(lost.unwrap_err(), RequestError::Unknown);
    assert_eq!(world.until_ended(saga).await, Phase::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_as_it_releases_leaves_the_rest_to_the_next() {
    let world = World::new();
    let process = world.process();
    let saga = parked(&world, &process).await;
    let handle = process.handle.clone();
    let release = tokio::spawn(async move { handle.release(saga, "ann".into(), "mended".into(), 1).await });
    world
        .until(|w| {
            w.disk.lock().unwrap().sagas[&saga]
                .quarantined
                .is_none()
                .then_some(())
        })
        .await;
    process.kill();
    let _ = release.await;
    let _next = world.process();
    assert_eq!(world.until_ended(saga).await, Phase::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_saga_that_is_released_while_it_is_loaded_is_loaded_again() {
    let world = World::new();
    let process = world.process();
    let saga = parked(&world, &process).await;
    process.kill();
    // Asked before the saga is listed, written after it has been looked up, answered before it is loaded.
    world.disk.lock().unwrap().slow = (10, 40, 20);
    let next = world.process();
    let release = next.handle.release(saga, "ann".into(), "mended".into(), 1);
    release.await.unwrap();
    assert_eq!(world.until_ended(saga).await, Phase::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_saga_that_is_driven_cannot_be_released() {
    let world = World::new();
    let process = world.process();
    let saga = pending(&world, &process).await;
    let error = process
        .handle
        .release(saga, "ann".into(), "why not".into(), 2)
        .await;
    assert_eq!(error.unwrap_err(), RequestError::NotAllowed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_finds_out_what_became_of_a_call_without_repeating_it() {
    let world = World::new();
    world.participants.script(0, Op::Action, [Script::LoseAnswer]);
    let process = world.process();
    let saga = world.saga(&single_with(|step| step.probe = true), "k");
    let seen = process.handle.start(saga, Until::End, LONG).await.unwrap();
    assert_eq!(world.phase(seen.saga), Some(Phase::Completed));
    assert_eq!(asked(&world, seen.saga), 1);
    assert_eq!(world.participants.books.lock().unwrap().probes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_probe_has_not_seen_is_called_again() {
    let world = World::new();
    world.participants.script(0, Op::Action, [Script::Fail]);
    let process = world.process();
    let saga = world.saga(&single_with(|step| step.probe = true), "k");
    let seen = process.handle.start(saga, Until::End, LONG).await.unwrap();
    assert_eq!(world.phase(seen.saga), Some(Phase::Completed));
    let books = world.participants.books.lock().unwrap();
    assert_eq!((books.calls.len(), books.probes.len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_an_operation_with_a_probe_is_asked_about_first() {
    let world = World::new();
    world.participants.script(0, Op::Action, [Script::Hang]);
    let process = world.process();
    let saga = world.saga(&single_with(|step| step.probe = true), "k");
    let seen = process.handle.start(saga, Until::Durable, LONG).await.unwrap();
    world.until(|w| (asked(w, seen.saga) == 1).then_some(())).await;
    process.kill();
    let _next = world.process();
    assert_eq!(world.until_ended(seen.saga).await, Phase::Completed);
    let books = world.participants.books.lock().unwrap();
    assert_eq!((books.calls.len(), books.probes.len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_condition_does_not_hold_is_left_out() {
    let world = World::new();
    world.participants.script(0, Op::Action, [Script::Skip]);
    let process = world.process();
    let saga = world.saga(&single_with(|step| step.conditional = true), "k");
    let seen = process.handle.start(saga, Until::End, LONG).await.unwrap();
    assert_eq!(world.phase(seen.saga), Some(Phase::Completed));
    assert_eq!(world.kinds(seen.saga), ["skipped", "committed"]);
}
