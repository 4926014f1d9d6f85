//! Loading: what must not be lost, doubled, or blamed.

use std::time::Duration;

use ids::SagaId;
use saga_core::{Op, Phase, StepError};
use saga_engine::{RequestError, Until};

use crate::world::{Process, Script, World, plan};

const LONG: Duration = Duration::from_secs(600);

async fn start(world: &World, process: &Process, key: &str) -> SagaId {
    let saga = world.saga(&plan(), key);
    process
        .handle
        .start(saga, Until::Durable, LONG)
        .await
        .unwrap()
        .saga
}

/// Starts sagas whose first step answers Pending for long, lets them be asked once, and kills the process.
async fn pending_sagas(world: &World, count: usize) -> Vec<SagaId> {
    world
        .participants
        .script(0, Op::Action, vec![Script::Pending; 100_000]);
    let process = world.process();
    let mut sagas = Vec::new();
    for i in 0..count {
        sagas.push(start(world, &process, &format!("k{i}")).await);
    }
    for saga in &sagas {
        world
            .until(|w| w.kinds(*saga).contains(&"pending").then_some(()))
            .await;
    }
    process.kill();
    sagas
}

fn note() -> StepError {
    StepError {
        code: "CANCELLED".into(),
        reason: "".into(),
        domain: "".into(),
        message: "".into(),
    }
}

fn set_claims(world: &World, sagas: &[SagaId], claims: u32) {
    let mut disk = world.disk.lock().unwrap();
    for saga in sagas {
        disk.sagas.get_mut(saga).unwrap().claims = claims;
    }
}

/// How often each saga's first step was asked.
fn asked(world: &World, saga: SagaId) -> usize {
    let books = world.participants.books.lock().unwrap();
    books.calls.iter().filter(|call| call.0 == saga).count()
}

#[tokio::test(start_paused = true)]
async fn suspects_that_are_listed_twice_do_not_block_those_behind_them() {
    let world = World::new();
    let sagas = pending_sagas(&world, 10).await;
    set_claims(&world, &sagas, 3);
    world.disk.lock().unwrap().taken_over = vec![sagas[6..9].to_vec(); 2];
    let before: Vec<usize> = sagas.iter().map(|saga| asked(&world, *saga)).collect();
    let _process = world.process();
    tokio::time::sleep(Duration::from_secs(8)).await;
    for (saga, before) in sagas.iter().zip(before) {
        assert!(asked(&world, *saga) > before, "{saga} is not driven");
    }
    let disk = world.disk.lock().unwrap();
    for saga in &sagas {
        assert_eq!(disk.sagas[saga].claims, 0, "{saga} is driven and still suspected");
    }
}

#[tokio::test(start_paused = true)]
async fn loads_that_fail_are_not_counted_against_a_suspect() {
    let world = World::new();
    let sagas = pending_sagas(&world, 2).await;
    set_claims(&world, &sagas, 4);
    world.disk.lock().unwrap().failing_single_loads = 20;
    let process = world.process();
    world
        .until(|w| (w.disk.lock().unwrap().failing_single_loads == 0).then_some(()))
        .await;
    process.kill();
    let claims = world.disk.lock().unwrap().sagas[&sagas[0]].claims;
    assert!(claims <= 5, "{claims}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_killed_again_and_again_does_not_park_its_sagas() {
    let world = World::new();
    let sagas = pending_sagas(&world, 20).await;
    for life in 0_u64..200 {
        let process = world.process();
        tokio::time::sleep(Duration::from_millis(20 + life * 37 % 380)).await;
        process.kill();
    }
    let disk = world.disk.lock().unwrap();
    for saga in &sagas {
        assert_eq!(disk.sagas[saga].quarantined, None, "{saga}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_told_to_end_leaves_no_suspicion() {
    let world = World::new();
    let sagas = pending_sagas(&world, 3).await;
    for _ in 0..20 {
        let process = world.process();
        world
            .until(|w| (w.disk.lock().unwrap().sagas[&sagas[2]].claims > 0).then_some(()))
            .await;
        process.stop().await.unwrap();
        let claims = world.disk.lock().unwrap().sagas[&sagas[2]].claims;
        assert_eq!(claims, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn one_saga_that_cannot_be_loaded_does_not_keep_the_others_from_it() {
    let world = World::new();
    let sagas = pending_sagas(&world, 9).await;
    world.disk.lock().unwrap().unloadable = Some(sagas[4]);
    world.participants.script(0, Op::Action, []);
    let _process = world.process();
    for saga in sagas.iter().filter(|saga| **saga != sagas[4]) {
        assert_eq!(world.until_ended(*saga).await, Phase::Completed);
    }
    world.disk.lock().unwrap().unloadable = None;
    assert_eq!(world.until_ended(sagas[4]).await, Phase::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_is_written_in_the_end_and_everybody_who_waits_is_answered() {
    let world = World::new();
    world.participants.script(0, Op::Action, [Script::Panic]);
    world.disk.lock().unwrap().failing_quarantines = 5;
    let process = world.process();
    let seen = process
        .handle
        .start(world.saga(&plan(), "k"), Until::End, LONG)
        .await
        .unwrap();
    assert!(!seen.reached && seen.snapshot.is_none());
    world
        .until(|w| w.disk.lock().unwrap().sagas[&seen.saga].quarantined.clone())
        .await;
    let error = process
        .handle
        .wait(seen.saga, Until::End, LONG)
        .await
        .unwrap_err();
    assert_eq!(error, RequestError::NotHere);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_saga_that_is_parked_is_not_told_that_the_engine_stopped() {
    let world = World::new();
    world
        .participants
        .script(0, Op::Action, [Script::Pending, Script::Panic]);
    let process = world.process();
    let saga = start(&world, &process, "k").await;
    let error = process.handle.wait(saga, Until::End, LONG).await.unwrap_err();
    assert_eq!(error, RequestError::NotHere);
    let cancel = process.handle.cancel(saga, "me".into(), note()).await;
    assert_eq!(cancel.unwrap_err(), RequestError::NotHere);
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_a_call_is_made_parks_one_saga_too() {
    let world = World::new();
    world.participants.script(0, Op::Action, [Script::PanicAtOnce]);
    let process = world.process();
    let bad = start(&world, &process, "bad").await;
    world
        .until(|w| w.disk.lock().unwrap().sagas[&bad].quarantined.clone())
        .await;
    let good = start(&world, &process, "good").await;
    assert_eq!(world.until_ended(good).await, Phase::Completed);
}
