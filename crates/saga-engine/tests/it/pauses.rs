//! Types whose sagas make no calls for a while.

use std::time::Duration;

use saga_core::{Op, OpKey, Phase, StepError};
use saga_engine::{Until, Wait};

use crate::world::{Script, World, plan};

const LONG: Duration = Duration::from_secs(600);

fn calls(world: &World) -> usize {
    world.participants.books.lock().unwrap().calls.len()
}

fn pause(world: &World, types: &[&str]) {
    world.disk.lock().unwrap().paused_types = types.iter().map(|name| (*name).into()).collect();
}

#[tokio::test(start_paused = true)]
async fn a_paused_type_is_started_and_makes_no_calls_until_it_is_let_go() {
    let world = World::new();
    pause(&world, &["TEST", "OTHER"]);
    let process = world.process();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let saga = world.saga(&plan(), "k");
    let seen = process.handle.start(saga, Until::Durable, LONG).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(calls(&world), 0);
    let waiting = process
        .handle
        .wait(seen.saga, Until::Durable, LONG)
        .await
        .unwrap();
    let first = OpKey {
        step: 0,
        index: 0,
        op: Op::Action,
    };
    assert_eq!(waiting.snapshot.unwrap().waits, [(first, Wait::TypePaused)]);
    let status = process.handle.status().await.unwrap();
    assert_eq!(status.paused_types, ["OTHER".into(), "TEST".into()]);
    pause(&world, &["OTHER"]);
    assert_eq!(world.until_ended(seen.saga).await, Phase::Completed);
}

/// A process that has just started has loaded its sagas before its first beat tells which types are paused.
#[tokio::test(start_paused = true)]
async fn a_process_that_starts_makes_no_calls_before_it_knows_what_is_paused() {
    let world = World::new();
    world
        .participants
        .script(0, Op::Action, vec![Script::Pending; 100_000]);
    let process = world.process();
    let saga = world.saga(&plan(), "k");
    process.handle.start(saga, Until::Durable, LONG).await.unwrap();
    world.until(|world| (calls(world) > 0).then_some(())).await;
    process.kill();
    pause(&world, &["TEST"]);
    world.disk.lock().unwrap().beats_fail = true;
    let before = calls(&world);
    let process = world.process();
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.disk.lock().unwrap().beats_fail = false;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(process.handle.status().await.unwrap().live, 1);
    assert_eq!(calls(&world), before);
}

#[tokio::test(start_paused = true)]
async fn whoever_pauses_a_type_here_does_not_wait_for_the_next_beat() {
    let mut world = World::new();
    world.config.heartbeat = Duration::from_secs(3_600);
    world.config.lease = Duration::from_secs(7_200);
    let process = world.process();
    tokio::time::sleep(Duration::from_millis(10)).await;
    process
        .handle
        .set_paused_types(vec!["TEST".into()])
        .await
        .unwrap();
    let saga = world.saga(&plan(), "k");
    let seen = process.handle.start(saga, Until::Durable, LONG).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(calls(&world), 0);
    process.handle.set_paused_types(Vec::new()).await.unwrap();
    assert_eq!(world.until_ended(seen.saga).await, Phase::Completed);
}

#[tokio::test(start_paused = true)]
async fn answers_and_the_deadline_go_on_while_a_type_is_paused() {
    let world = World::new();
    world.participants.script(1, Op::Action, [Script::Hang]);
    let process = world.process();
    let saga = world.saga(&plan(), "k");
    let seen = process.handle.start(saga, Until::Step(0), LONG).await.unwrap();
    world.until(|w| (calls(w) == 2).then_some(())).await;
    pause(&world, &["TEST"]);
    process
        .handle
        .set_paused_types(vec!["TEST".into()])
        .await
        .unwrap();
    world
        .until(|w| w.kinds(seen.saga).contains(&"failed").then_some(()))
        .await;
    tokio::time::sleep(Duration::from_secs(7_200)).await;
    assert_eq!(
        world.phase(seen.saga),
        Some(Phase::Compensating),
        "the deadline has passed"
    );
    assert_eq!(calls(&world), 2, "and nothing is called, not even to undo it");
    pause(&world, &[]);
    assert_eq!(world.until_ended(seen.saga).await, Phase::Compensated);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_a_paused_saga_is_recorded_and_undone_later() {
    let world = World::new();
    world
        .participants
        .script(1, Op::Action, vec![Script::Pending; 1_000]);
    let process = world.process();
    let saga = world.saga(&plan(), "k");
    let seen = process.handle.start(saga, Until::Step(0), LONG).await.unwrap();
    pause(&world, &["TEST"]);
    process
        .handle
        .set_paused_types(vec!["TEST".into()])
        .await
        .unwrap();
    let note = StepError {
        code: "CANCELLED".into(),
        reason: "".into(),
        domain: "".into(),
        message: "enough".into(),
    };
    process.handle.cancel(seen.saga, "me".into(), note).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.phase(seen.saga), Some(Phase::Compensating));
    pause(&world, &[]);
    assert_eq!(world.until_ended(seen.saga).await, Phase::Compensated);
}
