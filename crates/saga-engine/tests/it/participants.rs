//! Places at participants, and what becomes of those that do not answer.

use std::sync::Arc;
use std::time::Duration;

use ids::SagaId;
use saga_core::{Op, OpKey, Phase, Plan, Start};
use saga_engine::{BreakerConfig, Circuit, Clock as _, Identity, NewSaga, Until, Wait};

use crate::world::{Process, Script, World, as_written, plan, single};

const LONG: Duration = Duration::from_secs(600);
const FIRST: OpKey = OpKey {
    step: 0,
    index: 0,
    op: Op::Action,
};

async fn start(world: &World, process: &Process, plan: &Arc<Plan>, key: &str) -> SagaId {
    let saga = world.saga(plan, key);
    process
        .handle
        .start(saga, Until::Durable, LONG)
        .await
        .unwrap()
        .saga
}

async fn waits(process: &Process, saga: SagaId) -> Vec<(OpKey, Wait)> {
    let seen = process.handle.wait(saga, Until::Durable, LONG).await.unwrap();
    seen.snapshot.unwrap().waits
}

fn unsent(world: &World, step: u16, times: usize) {
    world
        .participants
        .script(step, Op::Action, vec![Script::Unsent; times]);
}

fn breaker(failures: u32) -> BreakerConfig {
    BreakerConfig {
        failures,
        ..BreakerConfig::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_participant_that_hangs_does_not_slow_sagas_that_do_not_use_it() {
    let mut world = World::new();
    // Few places in all: without places of their own the calls that hang would take every one.
    world.config.max_calls = 8;
    // No help from the breaker.
    world.config.breaker = breaker(u32::MAX);
    world
        .participants
        .script(1, Op::Action, vec![Script::Hang; 100_000]);
    let process = world.process();
    let (with, without) = (plan(), single());
    for i in 0..200 {
        start(&world, &process, &with, &format!("hangs{i}")).await;
    }
    world
        .until(|w| (w.participants.books.lock().unwrap().most_at_once(1) > 0).then_some(()))
        .await;
    for i in 0..200 {
        let began = world.clock.now();
        let saga = world.saga(&without, &format!("quick{i}"));
        let seen = process.handle.start(saga, Until::End, LONG).await.unwrap();
        assert_eq!(seen.snapshot.unwrap().state.phase(), Phase::Completed);
        let took_ms = world.clock.now().since(began);
        assert!(took_ms <= 20, "saga {i} took {took_ms} ms");
    }
    let status = process.handle.status().await.unwrap();
    let hanging = &status.participants[1];
    assert_eq!(
        (hanging.in_flight, hanging.limit),
        (2, 2),
        "its share of the places"
    );
    assert!(hanging.waiting > 100, "{hanging:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_of_a_participant_wait_their_turn() {
    let mut world = World::new();
    world.config.participant_limit = 1;
    let process = world.process();
    let plan = single();
    let mut sagas = Vec::new();
    for i in 0..50 {
        sagas.push(start(&world, &process, &plan, &format!("k{i}")).await);
    }
    for saga in &sagas {
        assert_eq!(world.until_ended(*saga).await, Phase::Completed);
    }
    let books = world.participants.books.lock().unwrap();
    assert_eq!(books.most_at_once(0), 1);
    let order: Vec<SagaId> = books.calls.iter().map(|call| call.0).collect();
    assert_eq!(order, sagas);
}

/// Two steps of one saga want the same place: one has waited for it, the other is due again in the very moment in which
/// it becomes free.
#[tokio::test(start_paused = true)]
async fn a_place_is_given_once_even_if_two_steps_of_a_saga_want_it_at_once() {
    let step = plan().steps()[0].clone();
    let two = Arc::new(Plan::new(vec![step.clone(), step], None, 60_000).unwrap());
    for held_ms in 50..200 {
        let mut world = World::new();
        world.config.participant_limit = 1;
        world.participants.books.lock().unwrap().one_for_all = true;
        world
            .participants
            .script(0, Op::Action, [Script::Fail, Script::Slow(held_ms)]);
        let process = world.process();
        let saga = start(&world, &process, &two, "two").await;
        // Takes the place as soon as the first call has failed, before the second step's turn comes.
        let other = start(&world, &process, &single(), "one").await;
        assert_eq!(world.until_ended(saga).await, Phase::Completed);
        assert_eq!(world.until_ended(other).await, Phase::Completed);
        let most = world.participants.books.lock().unwrap().most_at_once(0);
        assert_eq!(most, 1, "held for {held_ms} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_circuit_is_open_calls_wait_and_no_attempt_is_used_up() {
    let mut world = World::new();
    world.config.participant_limit = 1;
    world.config.breaker = breaker(3);
    unsent(&world, 0, 5);
    let process = world.process();
    let plan = single();
    let mut sagas = Vec::new();
    for i in 0..30 {
        sagas.push(start(&world, &process, &plan, &format!("k{i}")).await);
    }
    let opened = world.clock.now();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let status = process.handle.status().await.unwrap();
    assert!(
        matches!(status.participants[0].circuit, Circuit::Open { .. }),
        "{status:?}"
    );
    let last = *sagas.last().unwrap();
    assert!(matches!(
        &waits(&process, last).await[..],
        [(FIRST, Wait::Circuit { until: Some(_), .. })]
    ));
    for saga in &sagas {
        assert_eq!(world.until_ended(*saga).await, Phase::Completed);
    }
    // Opened for 1 s, and for 2 and 4 s after trials that failed.
    let took_ms = world.clock.now().since(opened);
    assert!((6_900..=9_000).contains(&took_ms), "{took_ms} ms");
    let failed: usize = sagas
        .iter()
        .map(|saga| {
            world
                .kinds(*saga)
                .iter()
                .filter(|kind| **kind == "failed")
                .count()
        })
        .sum();
    assert_eq!(failed, 5, "only calls that were made");
    assert_eq!(world.participants.books.lock().unwrap().calls.len(), 35);
    let status = process.handle.status().await.unwrap();
    assert_eq!(
        (status.participants[0].circuit, status.participants[0].waiting),
        (Circuit::Closed, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_half_open_circuit_lets_one_call_through() {
    let mut world = World::new();
    world.config.breaker = breaker(1);
    world
        .participants
        .script(0, Op::Action, [Script::Unsent, Script::Hang]);
    let process = world.process();
    let plan = single();
    start(&world, &process, &plan, "first").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut sagas = Vec::new();
    for i in 0..20 {
        sagas.push(start(&world, &process, &plan, &format!("k{i}")).await);
    }
    let calls = |world: &World| world.participants.books.lock().unwrap().calls.len();
    world.until(|w| (calls(w) == 2).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(calls(&world), 2, "the trial hangs, the others wait for it");
    let waiting = waits(&process, *sagas.last().unwrap()).await;
    assert!(
        matches!(&waiting[..], [(FIRST, Wait::Circuit { until: None, .. })]),
        "{waiting:?}"
    );
    for saga in &sagas {
        assert_eq!(world.until_ended(*saga).await, Phase::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_saga_whose_deadline_passes_at_an_open_circuit_unwinds_without_a_call() {
    let mut world = World::new();
    world.config.breaker = breaker(1);
    unsent(&world, 0, 6);
    let process = world.process();
    let plan = plan();
    start(&world, &process, &plan, "first").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let saga = world.saga(&plan, "hasty");
    let identity = Identity {
        start: Start {
            deadline_ms: 300,
            ..saga.identity.start.clone()
        },
        ..as_written(&saga.identity)
    };
    let saga = NewSaga {
        identity: Arc::new(identity),
        ..saga
    };
    let seen = process.handle.start(saga, Until::End, LONG).await.unwrap();
    let snapshot = seen.snapshot.unwrap();
    assert_eq!(snapshot.state.phase(), Phase::Compensated);
    assert!(!world.effects(seen.saga).contains(&(0, Op::Action)));
    let status = process.handle.status().await.unwrap();
    assert!(status.participants[0].waiting <= 1, "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_says_what_each_operation_waits_for() {
    let mut world = World::new();
    world.config.participant_limit = 1;
    world
        .participants
        .script(0, Op::Action, [Script::Hang, Script::Pending, Script::Fail]);
    let process = world.process();
    let plan = single();
    let hangs = start(&world, &process, &plan, "hangs").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(waits(&process, hangs).await, [(FIRST, Wait::Answer)]);
    let next = start(&world, &process, &plan, "next").await;
    let place = Wait::Place {
        participant: "p0".into(),
    };
    assert_eq!(waits(&process, next).await, [(FIRST, place)]);
    world
        .until(|w| w.kinds(next).contains(&"pending").then_some(()))
        .await;
    assert!(matches!(
        &waits(&process, next).await[..],
        [(FIRST, Wait::AskAgain { .. })]
    ));
    world
        .until(|w| w.kinds(next).contains(&"failed").then_some(()))
        .await;
    let waiting = waits(&process, next).await;
    assert!(
        matches!(&waiting[..], [(FIRST, Wait::Retry { .. })]),
        "{waiting:?}"
    );
}
