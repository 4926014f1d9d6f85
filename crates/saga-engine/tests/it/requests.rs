//! What callers see: start, wait, cancel.

use std::time::Duration;

use saga_core::{Op, Phase, StepError};
use saga_engine::{RequestError, Until};

use crate::world::{Script, World, plan};

const LONG: Duration = Duration::from_secs(600);

fn note() -> StepError {
    StepError {
        code: "CANCELLED".into(),
        reason: "CANCELLED".into(),
        domain: "test".into(),
        message: "enough".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_saga_runs_to_its_end_and_nothing_is_called_before_it_is_durable() {
    let world = World::new();
    let process = world.process();
    let seen = process
        .handle
        .start(world.saga(&plan(), "k"), Until::End, LONG)
        .await
        .unwrap();
    assert!(seen.created && seen.reached);
    assert_eq!(seen.snapshot.unwrap().state.phase(), Phase::Completed);
    assert_eq!(world.phase(seen.saga), Some(Phase::Completed));
    assert_eq!(
        world.effects(seen.saga),
        [(0, Op::Action), (1, Op::Action), (2, Op::Action)]
    );
    assert_eq!(
        world.kinds(seen.saga),
        ["succeeded", "succeeded", "committed", "succeeded"]
    );
    // Each call found every earlier step's success on disk.
    assert_eq!(
        world.participants.books.lock().unwrap().durable_at_call,
        [0, 1, 3]
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_compensated_in_reverse_order_and_the_epilogue_comes_last() {
    let world = World::new();
    world.participants.script(1, Op::Action, [Script::Refuse]);
    let process = world.process();
    let seen = process
        .handle
        .start(world.saga(&plan(), "k"), Until::End, LONG)
        .await
        .unwrap();
    assert_eq!(world.phase(seen.saga), Some(Phase::Compensated));
    assert_eq!(
        world.effects(seen.saga),
        [(0, Op::Action), (0, Op::Compensation), (3, Op::Action)]
    );
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_step_is_compensated_because_it_may_have_run() {
    let world = World::new();
    world
        .participants
        .script(1, Op::Action, vec![Script::LoseAnswer; 4]);
    let process = world.process();
    let seen = process
        .handle
        .start(world.saga(&plan(), "k"), Until::End, LONG)
        .await
        .unwrap();
    let effects = world.effects(seen.saga);
    assert_eq!(
        effects,
        [
            (0, Op::Action),
            (1, Op::Action),
            (1, Op::Compensation),
            (0, Op::Compensation),
            (3, Op::Action)
        ]
    );
    let calls = world.participants.books.lock().unwrap().calls.clone();
    let attempts: Vec<u32> = calls
        .iter()
        .filter(|(_, key, _)| key.step == 1 && key.op == Op::Action)
        .map(|c| c.2)
        .collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn starting_twice_finds_the_same_saga_and_another_input_is_refused() {
    let world = World::new();
    let process = world.process();
    let plan = plan();
    let first = process
        .handle
        .start(world.saga(&plan, "k"), Until::End, LONG)
        .await
        .unwrap();
    let again = process
        .handle
        .start(world.saga(&plan, "k"), Until::End, LONG)
        .await
        .unwrap();
    assert!(!again.created);
    assert_eq!(again.saga, first.saga);
    let mut other = world.saga(&plan, "k");
    other.input_digest = [8; 32];
    let error = process
        .handle
        .start(other, Until::Durable, LONG)
        .await
        .unwrap_err();
    assert_eq!(error, RequestError::InputMismatch(first.saga));
    assert_eq!(world.disk.lock().unwrap().sagas.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_step_ends_when_it_can_no_longer_succeed() {
    let world = World::new();
    world.participants.script(0, Op::Action, [Script::Refuse]);
    world.participants.script(3, Op::Action, [Script::Hang]);
    let process = world.process();
    let seen = process
        .handle
        .start(world.saga(&plan(), "k"), Until::Step(1), LONG)
        .await
        .unwrap();
    assert!(seen.reached);
    let state = seen.snapshot.unwrap().state;
    assert_eq!(state.phase(), Phase::Compensating);
    assert_eq!(&*state.error().unwrap().reason, "NO");
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_bounded_and_says_so() {
    let world = World::new();
    world
        .participants
        .script(0, Op::Action, vec![Script::Pending; 10_000]);
    let process = world.process();
    let bound = Duration::from_secs(1);
    let seen = process
        .handle
        .start(world.saga(&plan(), "k"), Until::End, bound)
        .await
        .unwrap();
    assert!(seen.created && !seen.reached);
    let again = process
        .handle
        .wait(seen.saga, Until::Step(0), bound)
        .await
        .unwrap();
    assert!(!again.reached);
}

#[tokio::test(start_paused = true)]
async fn a_pending_step_is_asked_until_it_answers_and_recorded_once() {
    let world = World::new();
    world
        .participants
        .script(1, Op::Action, vec![Script::Pending; 20]);
    let process = world.process();
    let seen = process
        .handle
        .start(world.saga(&plan(), "k"), Until::End, LONG)
        .await
        .unwrap();
    assert_eq!(world.phase(seen.saga), Some(Phase::Completed));
    assert_eq!(
        world.kinds(seen.saga),
        ["succeeded", "pending", "succeeded", "committed", "succeeded"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancel_unwinds_a_pending_step() {
    let world = World::new();
    world
        .participants
        .script(1, Op::Action, vec![Script::Pending; 10_000]);
    let process = world.process();
    let seen = process
        .handle
        .start(world.saga(&plan(), "k"), Until::Step(0), LONG)
        .await
        .unwrap();
    let cancelled = process
        .handle
        .cancel(seen.saga, "me".into(), note())
        .await
        .unwrap();
    assert!(cancelled.reached);
    assert_eq!(world.until_ended(seen.saga).await, Phase::Compensated);
    assert_eq!(
        world.effects(seen.saga),
        [
            (0, Op::Action),
            (1, Op::Compensation),
            (0, Op::Compensation),
            (3, Op::Action)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancel_waits_for_the_call_in_flight_and_undoes_it() {
    let world = World::new();
    world.participants.script(1, Op::Action, [Script::Hang]);
    let process = world.process();
    let seen = process
        .handle
        .start(world.saga(&plan(), "k"), Until::Step(0), LONG)
        .await
        .unwrap();
    let calls = |world: &World| world.participants.books.lock().unwrap().calls.len();
    world.until(|world| (calls(world) == 2).then_some(())).await;
    process
        .handle
        .cancel(seen.saga, "me".into(), note())
        .await
        .unwrap();
    assert_eq!(world.until_ended(seen.saga).await, Phase::Compensated);
    let kinds = world.kinds(seen.saga);
    assert_eq!(kinds[..4], ["succeeded", "operator", "unwinding", "abandoned"]);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_after_the_commit_point_is_refused() {
    let world = World::new();
    world.participants.script(2, Op::Action, vec![Script::Fail; 3]);
    let process = world.process();
    let seen = process
        .handle
        .start(world.saga(&plan(), "k"), Until::Step(1), LONG)
        .await
        .unwrap();
    let error = process
        .handle
        .cancel(seen.saga, "me".into(), note())
        .await
        .unwrap_err();
    assert_eq!(error, RequestError::PastCommitPoint);
    assert_eq!(world.until_ended(seen.saga).await, Phase::Completed);
}

#[tokio::test(start_paused = true)]
async fn too_many_live_sagas_are_refused_and_nothing_is_done() {
    let mut world = World::new();
    world.config.max_live = 3;
    world
        .participants
        .script(0, Op::Action, vec![Script::Pending; 100_000]);
    let process = world.process();
    let plan = plan();
    for i in 0..3 {
        let saga = world.saga(&plan, &format!("k{i}"));
        process.handle.start(saga, Until::Durable, LONG).await.unwrap();
    }
    let error = process
        .handle
        .start(world.saga(&plan, "k3"), Until::Durable, LONG)
        .await
        .unwrap_err();
    assert_eq!(error, RequestError::Overloaded);
    assert_eq!(world.disk.lock().unwrap().sagas.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn concurrent_sagas_share_commits() {
    let world = World::new();
    let process = world.process();
    let plan = plan();
    let starts = (0..100).map(|i| {
        let (handle, saga) = (process.handle.clone(), world.saga(&plan, &format!("k{i}")));
        tokio::spawn(async move { handle.start(saga, Until::End, LONG).await.unwrap() })
    });
    for start in starts.collect::<Vec<_>>() {
        assert!(start.await.unwrap().reached);
    }
    let disk = world.disk.lock().unwrap();
    assert_eq!(disk.transitions, 400, "one commit for the start and one a step");
    assert!(disk.appends < 60, "{} batches for 400 transitions", disk.appends);
}

#[tokio::test(start_paused = true)]
async fn the_next_batch_is_on_its_way_before_what_the_last_one_allows_is_called() {
    let world = World::new();
    let process = world.process();
    let plan = plan();
    let begun = || world.disk.lock().unwrap().appends_begun;
    let start = |name: &str| {
        let (handle, saga) = (process.handle.clone(), world.saga(&plan, name));
        tokio::spawn(async move { handle.start(saga, Until::Durable, LONG).await.unwrap() })
    };
    let first = start("first");
    while begun() == 0 {
        tokio::task::yield_now().await;
    }
    let second = start("second");
    first.await.unwrap();
    second.await.unwrap();
    // The second start is being written when the first call is made.
    let at_first_call = world
        .until(|world| {
            world
                .participants
                .books
                .lock()
                .unwrap()
                .appends_at_call
                .first()
                .copied()
        })
        .await;
    assert_eq!(at_first_call, 2);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_calls_delays_sagas_but_loses_none() {
    let mut world = World::new();
    world.config.max_calls = 2;
    let process = world.process();
    let plan = plan();
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
    for saga in sagas {
        assert_eq!(world.until_ended(saga).await, Phase::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopping_engine_takes_no_more_and_loses_nothing() {
    let world = World::new();
    world.participants.script(1, Op::Action, [Script::Hang]);
    let process = world.process();
    let handle = process.handle.clone();
    let saga = handle
        .start(world.saga(&plan(), "k"), Until::Step(0), LONG)
        .await
        .unwrap()
        .saga;
    process.stop().await.unwrap();
    let error = handle
        .start(world.saga(&plan(), "k2"), Until::Durable, LONG)
        .await
        .unwrap_err();
    assert_eq!(error, RequestError::Stopped);
    let _next = world.process();
    assert_eq!(world.until_ended(saga).await, Phase::Completed);
}

#[tokio::test(start_paused = true)]
async fn alarms_of_ended_sagas_do_not_pile_up() {
    let world = World::new();
    let process = world.process();
    let plan = plan();
    for round in 0..30 {
        let starts = (0..100).map(|i| {
            let saga = world.saga(&plan, &format!("k{round}-{i}"));
            process.handle.start(saga, Until::End, LONG)
        });
        for seen in futures::future::join_all(starts).await {
            assert!(seen.unwrap().reached);
        }
    }
    let status = process.handle.status().await.unwrap();
    assert_eq!(status.live, 0);
    assert!(status.alarms < 2_000, "{} alarms for no saga", status.alarms);
}

#[tokio::test(start_paused = true)]
async fn alarms_of_a_pending_saga_do_not_pile_up() {
    let world = World::new();
    world
        .participants
        .script(0, Op::Action, vec![Script::Pending; 5_000]);
    let process = world.process();
    let saga = world.saga(&plan(), "k");
    process.handle.start(saga, Until::Durable, LONG).await.unwrap();
    let calls = |world: &World| world.participants.books.lock().unwrap().calls.len();
    world.until(|world| (calls(world) > 4_000).then_some(())).await;
    let status = process.handle.status().await.unwrap();
    assert!(status.alarms < 2_000, "{} alarms for one saga", status.alarms);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_says_when_the_saga_changed_last() {
    let world = World::new();
    let process = world.process();
    let saga = world.saga(&plan(), "k");
    let seen = process.handle.start(saga, Until::End, LONG).await.unwrap();
    let snapshot = seen.snapshot.unwrap();
    let disk = world.disk.lock().unwrap();
    assert_eq!(snapshot.at, disk.sagas[&seen.saga].events.last().unwrap().at);
}
