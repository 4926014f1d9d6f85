//! Crashes, lost commits, and processes that should be dead.

use std::time::Duration;

use saga_core::{Op, Phase};
use saga_engine::{RequestError, Stopped, Until};

use crate::world::{Fault, Process, Script, World, plan};

const LONG: Duration = Duration::from_secs(600);

type Story = (&'static str, Option<Script>, Phase, Vec<(u16, Op)>);

/// How a saga of these tests is to end, and what must have happened then.
fn stories() -> Vec<Story> {
    let forward = vec![(0, Op::Action), (1, Op::Action), (2, Op::Action)];
    let undone = vec![(0, Op::Action), (0, Op::Compensation), (3, Op::Action)];
    vec![
        ("completed", None, Phase::Completed, forward),
        ("refused", Some(Script::Refuse), Phase::Compensated, undone),
    ]
}

/// Starts as a client does who retries until it knows.
async fn start_until_known(world: &World, process: &Process) -> ids::SagaId {
    loop {
        match process
            .handle
            .start(world.saga(&plan(), "k"), Until::Durable, LONG)
            .await
        {
            Ok(seen) => return seen.saga,
            Err(RequestError::Unknown) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_every_commit_recovers() {
    for (name, script, phase, effects) in stories() {
        for crash_after in 1..=6 {
            let world = World::new();
            world.participants.script(1, Op::Action, script.clone());
            let process = world.process();
            let saga = start_until_known(&world, &process).await;
            world
                .until(|w| {
                    (w.disk.lock().unwrap().appends >= crash_after || w.phase(saga) == Some(phase))
                        .then_some(())
                })
                .await;
            process.kill();
            let _next = world.process();
            assert_eq!(
                world.until_ended(saga).await,
                phase,
                "{name}, crash after commit {crash_after}"
            );
            assert_eq!(
                world.effects(saga),
                effects,
                "{name}, crash after commit {crash_after}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_commit_whose_outcome_is_unknown_is_settled_by_the_journal() {
    for (name, script, phase, effects) in stories() {
        for fault in [Fault::LostAnswer, Fault::LostWrite] {
            for number in 1..=6 {
                let world = World::new();
                world.participants.script(1, Op::Action, script.clone());
                world.disk.lock().unwrap().faults.insert(number, fault);
                let process = world.process();
                let saga = start_until_known(&world, &process).await;
                let what = format!("{name}, {fault:?} at append {number}");
                assert_eq!(world.until_ended(saga).await, phase, "{what}");
                assert_eq!(world.effects(saga), effects, "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_down_for_long_costs_time_and_nothing_else() {
    let world = World::new();
    let process = world.process();
    let plan = plan();
    let mut sagas = Vec::new();
    for i in 0..50 {
        let saga = world.saga(&plan, &format!("k{i}"));
        sagas.push(
            process
                .handle
                .start(saga, Until::Durable, LONG)
                .await
                .unwrap()
                .saga,
        );
    }
    world.disk.lock().unwrap().down = true;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let error = process
        .handle
        .start(world.saga(&plan, "new"), Until::Durable, LONG)
        .await
        .unwrap_err();
    assert_eq!(error, RequestError::Unknown);
    world.disk.lock().unwrap().down = false;
    for saga in sagas {
        assert_eq!(world.until_ended(saga).await, Phase::Completed);
        assert_eq!(world.effects(saga).len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_zombie_writes_nothing_and_stops() {
    let world = World::new();
    world
        .participants
        .script(1, Op::Action, vec![Script::Pending; 1_000]);
    let zombie = world.process();
    let saga = start_until_known(&world, &zombie).await;
    world
        .until(|w| w.kinds(saga).contains(&"pending").then_some(()))
        .await;
    let _next = world.process();
    let zombie_handle = zombie.handle.clone();
    assert_eq!(zombie.ended().await, Err(Stopped::Fenced));
    let error = zombie_handle
        .start(world.saga(&plan(), "late"), Until::Durable, LONG)
        .await
        .unwrap_err();
    assert_eq!(error, RequestError::Stopped);
    world.participants.script(1, Op::Action, []);
    assert_eq!(world.until_ended(saga).await, Phase::Completed);
    assert_eq!(world.disk.lock().unwrap().sagas.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_the_lease_no_call_goes_out() {
    let world = World::new();
    let process = world.process();
    world.disk.lock().unwrap().beats_fail = true;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let saga = start_until_known(&world, &process).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(world.participants.books.lock().unwrap().calls.is_empty());
    world.disk.lock().unwrap().beats_fail = false;
    assert_eq!(world.until_ended(saga).await, Phase::Completed);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_repeated_under_their_number_after_a_crash() {
    let world = World::new();
    world
        .participants
        .script(1, Op::Action, [Script::Fail, Script::Hang]);
    let process = world.process();
    let saga = start_until_known(&world, &process).await;
    let calls = |world: &World| world.participants.books.lock().unwrap().calls.len();
    world.until(|world| (calls(world) == 3).then_some(())).await;
    process.kill();
    let _next = world.process();
    assert_eq!(world.until_ended(saga).await, Phase::Completed);
    let books = world.participants.books.lock().unwrap();
    let attempts: Vec<u32> = books
        .calls
        .iter()
        .filter(|c| c.1.step == 1)
        .map(|c| c.2)
        .collect();
    assert_eq!(
        attempts,
        [1, 2, 2],
        "attempt 2 may have arrived, so it is repeated as attempt 2"
    );
}
