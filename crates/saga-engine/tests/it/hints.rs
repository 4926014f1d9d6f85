//! Hints that a pending step may have an answer.

use std::sync::Arc;
use std::time::Duration;

use ids::SagaId;
use saga_core::{Op, Payload};
use saga_engine::{RequestError, Until};

use crate::world::{Process, Script, World, plan};

const MINUTE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(600);

/// A saga whose first step is pending, and wants to be asked in half an hour; its answer came 100 ms after its call.
async fn pending_for_long(world: &World, process: &Process) -> SagaId {
    world.participants.script(0, Op::Action, [Script::PendingForLong]);
    let seen = process
        .handle
        .start(world.saga(&plan(), "k"), Until::Durable, LONG)
        .await;
    seen.unwrap().saga
}

/// Tells whether a saga ends long before its participant wants to be asked.
async fn ends_soon(process: &Process, saga: SagaId) -> bool {
    let second = Duration::from_secs(1);
    let seen = process.handle.wait(saga, Until::End, second).await;
    seen.is_ok_and(|seen| seen.reached)
}

#[tokio::test(start_paused = true)]
async fn without_a_hint_a_pending_step_is_asked_when_it_wants() {
    let world = World::new();
    let process = world.process();
    let saga = pending_for_long(&world, &process).await;
    let early = process.handle.wait(saga, Until::End, MINUTE * 29).await;
    assert!(!early.is_ok_and(|seen| seen.reached));
    let seen = process.handle.wait(saga, Until::End, MINUTE * 2).await.unwrap();
    assert!(seen.reached);
}

#[tokio::test(start_paused = true)]
async fn a_saga_that_waits_in_memory_keeps_its_input_as_text_only() {
    let mut world = World::new();
    world.config.passive_after = LONG * 10;
    let process = world.process();
    world.participants.script(0, Op::Action, [Script::PendingForLong]);
    let decoded = Arc::new(7_u32);
    let mut new = world.saga(&plan(), "k");
    let identity = Arc::get_mut(&mut new.identity).expect("nobody else has it");
    identity.input = Payload::with_decoded("7", Arc::clone(&decoded) as _);
    let saga = process
        .handle
        .start(new, Until::Durable, LONG)
        .await
        .unwrap()
        .saga;
    world
        .until(|_| (Arc::strong_count(&decoded) == 1).then_some(()))
        .await;
    assert!(!ends_soon(&process, saga).await);
    process.handle.ask_again(saga).await.unwrap();
    assert!(ends_soon(&process, saga).await);
}

#[tokio::test(start_paused = true)]
async fn after_a_hint_a_pending_step_is_asked_at_once() {
    let world = World::new();
    let process = world.process();
    let saga = pending_for_long(&world, &process).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    process.handle.ask_again(saga).await.unwrap();
    assert!(ends_soon(&process, saga).await);
}

#[tokio::test(start_paused = true)]
async fn a_hint_during_a_call_asks_once_more_since_the_call_may_have_looked_too_early() {
    let world = World::new();
    let process = world.process();
    let saga = pending_for_long(&world, &process).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    process.handle.ask_again(saga).await.unwrap();
    assert!(ends_soon(&process, saga).await);
}

#[tokio::test(start_paused = true)]
async fn a_hint_about_a_saga_that_is_not_driven_here_is_refused() {
    let world = World::new();
    let process = world.process();
    let hint = process.handle.ask_again(SagaId::new()).await;
    assert_eq!(hint.unwrap_err(), RequestError::NotHere);
    // One that has ended is not driven any more.
    let seen = process
        .handle
        .start(world.saga(&plan(), "k"), Until::End, LONG)
        .await
        .unwrap();
    let hint = process.handle.ask_again(seen.saga).await;
    assert_eq!(hint.unwrap_err(), RequestError::NotHere);
}
