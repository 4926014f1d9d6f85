//! Sagas that wait for long leave memory, and come back for whatever concerns them.

use std::time::Duration;

use ids::SagaId;
use saga_core::{Command, Completion, Op, OpKey, Payload, Phase, StepError};
use saga_engine::{OperatorRequest, RequestError, Seen, Until, Wait};

use crate::world::{Process, Script, World, plan};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(7_200);

const FIRST: OpKey = OpKey {
    step: 0,
    index: 0,
    op: Op::Action,
};

/// Starts a saga whose first step is pending and wants to be asked in half an hour; returns when it has left memory.
async fn passive(world: &World, process: &Process) -> SagaId {
    world.participants.script(0, Op::Action, [Script::PendingForLong]);
    let seen = process
        .handle
        .start(world.saga(&plan(), "k"), Until::Durable, LONG)
        .await;
    until_passive(process).await;
    seen.unwrap().saga
}

async fn until_passive(process: &Process) {
    for _ in 0..1_000 {
        let status = process.handle.status().await.unwrap();
        if (status.live, status.passive) == (0, 1) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not leave memory");
}

async fn ended(process: &Process, saga: SagaId, bound: Duration) -> Option<Phase> {
    let seen = process.handle.wait(saga, Until::End, bound).await.unwrap();
    let snapshot = seen.snapshot.filter(|_| seen.reached)?;
    Some(snapshot.state.phase())
}

fn calls(world: &World) -> usize {
    world.participants.books.lock().unwrap().calls.len()
}

fn no() -> StepError {
    StepError {
        code: "CANCELLED".into(),
        reason: "NO".into(),
        domain: "test".into(),
        message: "no".into(),
    }
}

fn pause(expected_version: u32, command: Command) -> OperatorRequest {
    OperatorRequest {
        actor: "olga".into(),
        note: "for a reason".into(),
        evidence: "".into(),
        command,
        expected_version,
    }
}

#[tokio::test(start_paused = true)]
async fn a_saga_that_waits_for_long_leaves_memory_and_goes_on_when_it_is_time() {
    let world = World::new();
    let process = world.process();
    let began = tokio::time::Instant::now();
    let saga = passive(&world, &process).await;
    assert_eq!(world.until_ended(saga).await, Phase::Completed);
    let took = began.elapsed();
    assert!(took >= MINUTE * 30 && took < MINUTE * 31, "{took:?}");
    // Asked once, and once more when it wanted to be; two steps and no more after it.
    assert_eq!(calls(&world), 4);
    let status = process.handle.status().await.unwrap();
    assert_eq!((status.live, status.passive), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_less_stays() {
    let mut world = World::new();
    world.config.passive_after = MINUTE * 31;
    let process = world.process();
    world.participants.script(0, Op::Action, [Script::PendingForLong]);
    let new = world.saga(&plan(), "k");
    process.handle.start(new, Until::Durable, LONG).await.unwrap();
    tokio::time::sleep(MINUTE * 10).await;
    let status = process.handle.status().await.unwrap();
    assert_eq!((status.live, status.passive), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_at_it_sees_when_it_will_be_asked_and_does_not_change_that() {
    let world = World::new();
    let process = world.process();
    let saga = passive(&world, &process).await;
    let look = || process.handle.wait(saga, Until::Durable, SECOND);
    let waits = |seen: Seen| seen.snapshot.expect("it is driven here").waits;
    let first = waits(look().await.unwrap());
    assert!(matches!(first[..], [(FIRST, Wait::AskAgain { .. })]), "{first:?}");
    until_passive(&process).await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(waits(look().await.unwrap()), first);
    until_passive(&process).await;
    assert_eq!(calls(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn its_answer_brings_it_back() {
    let world = World::new();
    let process = world.process();
    let saga = passive(&world, &process).await;
    let answer = Completion::Succeeded(Payload::new("{}"));
    process
        .handle
        .complete(saga, FIRST, answer.clone())
        .await
        .unwrap();
    assert_eq!(ended(&process, saga, SECOND).await, Some(Phase::Completed));
    assert_eq!(calls(&world), 3);
    let again = process.handle.complete(saga, FIRST, answer).await;
    assert_eq!(again.unwrap_err(), RequestError::NotHere);
}

#[tokio::test(start_paused = true)]
async fn all_that_it_is_told_at_once_is_heard_in_order() {
    let world = World::new();
    let process = world.process();
    let saga = passive(&world, &process).await;
    world.disk.lock().unwrap().slow.1 = 50;
    let done = Completion::Succeeded(Payload::new("{}"));
    let (first, second, end) = tokio::join!(
        process.handle.complete(saga, FIRST, done.clone()),
        process.handle.complete(saga, FIRST, done),
        process.handle.wait(saga, Until::End, SECOND),
    );
    first.unwrap();
    assert_eq!(second.unwrap_err(), RequestError::Answered);
    assert!(end.unwrap().reached);
}

#[tokio::test(start_paused = true)]
async fn it_can_be_cancelled() {
    let world = World::new();
    let process = world.process();
    let saga = passive(&world, &process).await;
    process.handle.cancel(saga, "olga".into(), no()).await.unwrap();
    assert_eq!(ended(&process, saga, MINUTE).await, Some(Phase::Compensated));
}

#[tokio::test(start_paused = true)]
async fn an_operator_acts_on_the_version_that_was_seen() {
    let world = World::new();
    let process = world.process();
    let saga = passive(&world, &process).await;
    let stale = process.handle.operate(saga, pause(0, Command::Pause)).await;
    assert_eq!(stale.unwrap_err(), RequestError::Changed { version: 1 });
    until_passive(&process).await;
    process
        .handle
        .operate(saga, pause(1, Command::Pause))
        .await
        .unwrap();
    // A saga that is paused waits for nothing but a person.
    until_passive(&process).await;
    assert_eq!(ended(&process, saga, MINUTE * 40).await, None);
    process
        .handle
        .operate(saga, pause(2, Command::Resume))
        .await
        .unwrap();
    assert_eq!(ended(&process, saga, SECOND).await, Some(Phase::Completed));
}

#[tokio::test(start_paused = true)]
async fn it_is_not_parked_and_so_not_released() {
    let world = World::new();
    let process = world.process();
    let saga = passive(&world, &process).await;
    let released = process.handle.release(saga, "olga".into(), "why".into(), 1).await;
    assert_eq!(released.unwrap_err(), RequestError::NotAllowed);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_saga_keeps_it_in_memory_and_who_has_left_does_not() {
    let world = World::new();
    let process = world.process();
    world.participants.script(0, Op::Action, [Script::PendingForLong]);
    let new = world.saga(&plan(), "k");
    let seen = process.handle.start(new, Until::End, MINUTE).await.unwrap();
    assert!(!seen.reached);
    let status = process.handle.status().await.unwrap();
    assert_eq!((status.live, status.passive), (1, 0));
    tokio::time::sleep(MINUTE * 10).await;
    until_passive(&process).await;
    assert_eq!(calls(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_journal_whoever_tells_it_something_is_put_off_and_it_goes_on_later() {
    let world = World::new();
    let process = world.process();
    let saga = passive(&world, &process).await;
    world.disk.lock().unwrap().down = true;
    let done = Completion::Succeeded(Payload::new("{}"));
    let told = tokio::time::timeout(SECOND, process.handle.complete(saga, FIRST, done)).await;
    assert_eq!(told.unwrap().unwrap_err(), RequestError::Unknown);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(calls(&world), 1);
    world.disk.lock().unwrap().down = false;
    assert_eq!(ended(&process, saga, MINUTE * 31).await, Some(Phase::Completed));
    assert_eq!(calls(&world), 4);
}

#[tokio::test(start_paused = true)]
async fn its_process_may_be_killed() {
    let world = World::new();
    let process = world.process();
    let saga = passive(&world, &process).await;
    process.kill();
    let process = world.process();
    assert_eq!(ended(&process, saga, MINUTE).await, Some(Phase::Completed));
}

#[tokio::test(start_paused = true)]
async fn one_that_was_loaded_after_a_restart_leaves_once_the_process_has_shown_that_it_lives() {
    let world = World::new();
    let process = world.process();
    let saga = passive(&world, &process).await;
    process.kill();
    world.participants.script(0, Op::Action, [Script::PendingForLong]);
    let process = world.process();
    tokio::time::sleep(MINUTE * 6).await;
    until_passive(&process).await;
    assert_eq!(world.disk.lock().unwrap().sagas[&saga].claims, 0);
}

#[tokio::test(start_paused = true)]
async fn its_deadline_wakes_it() {
    let world = World::new();
    let process = world.process();
    world
        .participants
        .script(0, Op::Action, [Script::PendingForLong, Script::PendingForLong]);
    let new = world.saga(&plan(), "k");
    let began = tokio::time::Instant::now();
    let seen = process.handle.start(new, Until::Durable, LONG).await.unwrap();
    until_passive(&process).await;
    assert_eq!(world.until_ended(seen.saga).await, Phase::Compensated);
    let took = began.elapsed();
    assert!(took >= MINUTE * 60 && took < MINUTE * 61, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn it_keeps_its_place_among_those_that_may_be_under_way() {
    let mut world = World::new();
    world.config.max_live = 1;
    let process = world.process();
    passive(&world, &process).await;
    let other = process
        .handle
        .start(world.saga(&plan(), "other"), Until::Durable, LONG)
        .await;
    assert_eq!(other.unwrap_err(), RequestError::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn its_alarm_outlasts_those_of_sagas_that_have_ended() {
    let world = World::new();
    let process = world.process();
    let saga = passive(&world, &process).await;
    for i in 0..1_100 {
        let new = world.saga(&plan(), &format!("other {i}"));
        process.handle.start(new, Until::End, LONG).await.unwrap();
    }
    let alarms = process.handle.status().await.unwrap().alarms;
    assert!(alarms < 1_100, "stale alarms are dropped: {alarms}");
    assert_eq!(world.until_ended(saga).await, Phase::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_certainly_had_no_effect_is_known_in_memory_only_and_keeps_its_saga_there() {
    let mut world = World::new();
    world.config.passive_after = Duration::from_millis(10);
    let process = world.process();
    world.participants.script(0, Op::Action, [Script::Unsent]);
    let new = world.saga(&plan(), "k");
    let saga = process
        .handle
        .start(new, Until::Durable, LONG)
        .await
        .unwrap()
        .saga;
    world
        .until(|world| (world.kinds(saga) == ["failed"]).then_some(()))
        .await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let status = process.handle.status().await.unwrap();
    assert_eq!((status.live, status.passive), (1, 0));
}
