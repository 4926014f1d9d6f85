//! One saga's trouble stays its own (rule 11).

use std::time::Duration;

use saga_core::{Op, Phase};
use saga_engine::{RequestError, Until};

use crate::world::{Fault, Script, World, plan};

const LONG: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn a_panic_parks_one_saga_and_its_neighbours_go_on() {
    let world = World::new();
    world.participants.script(0, Op::Action, [Script::Panic]);
    let process = world.process();
    let plan = plan();
    let bad = process
        .handle
        .start(world.saga(&plan, "bad"), Until::Durable, LONG)
        .await
        .unwrap()
        .saga;
    world
        .until(|w| w.disk.lock().unwrap().sagas[&bad].quarantined.clone())
        .await;
    let good = process
        .handle
        .start(world.saga(&plan, "good"), Until::End, LONG)
        .await
        .unwrap();
    assert_eq!(world.phase(good.saga), Some(Phase::Completed));
    process.kill();
    let _next = world.process();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(
        world.phase(bad),
        Some(Phase::Running),
        "a parked saga is not driven after a restart"
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_that_the_journal_cannot_hold_is_refused_and_its_neighbours_are_written() {
    let world = World::new();
    world.disk.lock().unwrap().faults.insert(2, Fault::Unwritable);
    let process = world.process();
    let plan = plan();
    let handle = process.handle.clone();
    // The first start occupies the lanes; the others share a batch.
    let starts: Vec<_> = (0..20)
        .map(|i| {
            let (handle, saga) = (handle.clone(), world.saga(&plan, &format!("k{i}")));
            tokio::spawn(async move { handle.start(saga, Until::End, LONG).await })
        })
        .collect();
    let mut refused = 0;
    for start in starts {
        match start.await.unwrap() {
            Ok(seen) => assert!(seen.reached),
            Err(RequestError::Unwritable(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(refused, 1);
    assert_eq!(world.disk.lock().unwrap().sagas.len(), 19);
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_stays_superseded_is_not_asked_in_a_hot_loop() {
    let world = World::new();
    world
        .participants
        .script(1, Op::Action, vec![Script::Superseded; 1_000]);
    let process = world.process();
    let saga = process
        .handle
        .start(world.saga(&plan(), "k"), Until::Durable, LONG)
        .await
        .unwrap()
        .saga;
    assert_eq!(world.until_ended(saga).await, Phase::Compensated);
    let books = world.participants.books.lock().unwrap();
    let calls = books
        .calls
        .iter()
        .filter(|c| c.1.step == 1 && c.1.op == Op::Action)
        .count();
    assert!(calls <= 6, "{calls} calls");
}

#[tokio::test(start_paused = true)]
async fn a_saga_loaded_often_without_progress_is_driven_alone_and_then_parked() {
    let world = World::new();
    world
        .participants
        .script(0, Op::Action, vec![Script::Hang; 1_000]);
    let process = world.process();
    let plan = plan();
    let poison = process
        .handle
        .start(world.saga(&plan, "k"), Until::Durable, LONG)
        .await
        .unwrap()
        .saga;
    process.kill();
    // Each process dies as soon as it drives the saga.
    for death in 1..=12 {
        let calls = |world: &World| world.participants.books.lock().unwrap().calls.len();
        let before = calls(&world);
        let process = world.process();
        let parked = |world: &World| world.disk.lock().unwrap().sagas[&poison].quarantined.is_some();
        world
            .until(|w| (calls(w) > before || parked(w)).then_some(()))
            .await;
        process.kill();
        if parked(&world) {
            assert!(death > 7, "parked at death {death}");
            return;
        }
    }
    panic!("never parked");
}

#[tokio::test(start_paused = true)]
async fn surviving_a_while_clears_the_suspicion() {
    let world = World::new();
    world
        .participants
        .script(0, Op::Action, vec![Script::Pending; 100_000]);
    let process = world.process();
    let saga = process
        .handle
        .start(world.saga(&plan(), "k"), Until::Durable, LONG)
        .await
        .unwrap()
        .saga;
    process.kill();
    for _ in 0..20 {
        let process = world.process();
        tokio::time::sleep(Duration::from_secs(12)).await;
        process.kill();
    }
    let stored = world.disk.lock().unwrap().sagas[&saga].clone();
    assert_eq!(stored.quarantined, None);
    assert!(stored.claims <= 1, "{}", stored.claims);
}
