//! The orderly end of a process, and the start of one with more sagas than it may hold.

use std::time::Duration;

use saga_core::{Op, Phase};
use saga_engine::{RequestError, Stopped, Until};

use crate::world::{Fault, Script, World, plan, single};

const LONG: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn a_process_that_is_told_to_end_gives_its_lease_up_when_its_calls_have_ended() {
    let mut world = World::new();
    world.participants.script(1, Op::Action, [Script::Hang]);
    world.config.drain = Duration::from_secs(30);
    let process = world.process();
    let saga = world.saga(&plan(), "k");
    let seen = process.handle.start(saga, Until::Step(0), LONG).await.unwrap();
    world
        .until(|w| (w.participants.books.lock().unwrap().calls.len() == 2).then_some(()))
        .await;
    assert!(!world.disk.lock().unwrap().resigned);
    process.stop().await.unwrap();
    assert!(world.disk.lock().unwrap().resigned);
    assert!(
        world.kinds(seen.saga).contains(&"failed"),
        "what the call brought is recorded"
    );
    let _next = world.process();
    assert_eq!(world.until_ended(seen.saga).await, Phase::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_down_does_not_keep_a_process_from_ending() {
    let world = World::new();
    let process = world.process();
    world.disk.lock().unwrap().down = true;
    let began = tokio::time::Instant::now();
    process.stop().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(13));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_replaced_while_it_ended_says_so() {
    let world = World::new();
    world.participants.script(0, Op::Action, [Script::Hang]);
    let process = world.process();
    process
        .handle
        .start(world.saga(&plan(), "k"), Until::Durable, LONG)
        .await
        .unwrap();
    world.disk.lock().unwrap().epoch += 1;
    assert_eq!(process.stop().await, Err(Stopped::Fenced));
}

#[tokio::test(start_paused = true)]
async fn a_process_without_room_leaves_dead_instances_to_others() {
    let mut world = World::new();
    world
        .participants
        .script(0, Op::Action, vec![Script::Pending; 100]);
    world.config.max_live = 1;
    let process = world.process();
    let saga = world.saga(&single(), "k");
    let seen = process.handle.start(saga, Until::Durable, LONG).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    world.disk.lock().unwrap().taken_over = vec![Vec::new()];
    let left = |world: &World| world.disk.lock().unwrap().taken_over.len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((left(&world), world.phase(seen.saga)), (1, Some(Phase::Running)));
    world.until_ended(seen.saga).await;
    world.until(|w| (left(w) == 0).then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_with_more_sagas_than_it_may_hold_loads_them_as_others_end() {
    let mut world = World::new();
    world
        .participants
        .script(0, Op::Action, vec![Script::Pending; 40]);
    let process = world.process();
    let plan = single();
    let mut sagas = Vec::new();
    for i in 0..40 {
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
    process.kill();
    world.config.max_live = 7;
    world.config.load_chunk = 4;
    world.disk.lock().unwrap().faults.insert(50, Fault::LostAnswer);
    let process = world.process();
    let mut refused = 0;
    loop {
        let status = process.handle.status().await.unwrap();
        assert!(status.live <= 7, "{status:?}");
        let open = sagas
            .iter()
            .filter(|saga| world.phase(**saga) == Some(Phase::Running))
            .count();
        if open == 0 {
            break;
        }
        if status.to_load > 7 {
            let error = process
                .handle
                .start(world.saga(&plan, "late"), Until::Durable, LONG)
                .await
                .unwrap_err();
            assert_eq!(
                error,
                RequestError::Overloaded,
                "those that wait were there first"
            );
            refused += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(refused > 0);
    assert!(world.disk.lock().unwrap().largest_load <= 4);
    let seen = process
        .handle
        .start(world.saga(&plan, "late"), Until::End, LONG)
        .await
        .unwrap();
    assert!(seen.reached);
}
