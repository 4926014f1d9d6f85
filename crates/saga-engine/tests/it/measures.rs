//! What the engine counts, and that it adds up.

use std::time::Duration;

use saga_core::{Event, Op, Phase, Recorded, StepError};
use saga_engine::{BreakerConfig, Clock as _, Until};

use crate::recorder::measured;
use crate::world::{Disk, Fault, Script, World, plan, single};

const LONG: Duration = Duration::from_secs(600);

#[test]
fn every_series_of_a_type_is_there_as_soon_as_one_of_its_sagas_is() {
    measured(|metrics| async move {
        let world = World::new();
        let process = world.process();
        process.handle.status().await.unwrap();
        for name in ["in_flight", "waiting", "circuit"] {
            assert!(
                metrics
                    .gauge(&format!("saga_participant_{name}{{participant=p3}}"))
                    .abs()
                    < 0.5
            );
        }
        assert_eq!(metrics.counter("saga_fenced_writes_total{}"), 0);
        assert!(!metrics.series().iter().any(|series| series.contains("type=")));
        process
            .handle
            .start(world.saga(&plan(), "k"), Until::Durable, LONG)
            .await
            .unwrap();
        let mut series = metrics.series();
        series.retain(|series| series.contains("type=TEST"));
        // 6 counters, 2 phases, ages, durations, 7 causes; for each of 4 steps retries and its outcomes.
        let of_steps = 4 + 4 * 7 + 2 * 6;
        assert_eq!(series.len(), 6 + 2 + 1 + 1 + 7 + of_steps, "{series:#?}");
        for name in [
            "started",
            "adopted",
            "completed",
            "compensated",
            "resolved",
            "released",
        ] {
            metrics.counter(&format!("saga_{name}_total{{type=TEST}}"));
        }
        metrics.counter("saga_step_retries_total{type=TEST,step=AFTER}");
        metrics.samples("saga_step_duration_seconds{type=TEST,step=B,op=compensation,outcome=unknown}");
        metrics.gauge("saga_attention{type=TEST,cause=late_success}");
        let described = metrics.described();
        for series in metrics.series() {
            let name = series.split('{').next().unwrap().to_owned();
            assert!(described.contains(&name), "{name} does not say what it is");
        }
    });
}

#[test]
fn no_label_holds_anything_that_is_not_of_a_closed_set() {
    measured(|metrics| async move {
        let world = World::new();
        let process = world.process();
        for i in 0..5 {
            let saga = world.saga(&plan(), &format!("k{i}"));
            process.handle.start(saga, Until::End, LONG).await.unwrap();
        }
        let known = [
            "type",
            "phase",
            "cause",
            "step",
            "op",
            "outcome",
            "participant",
            "invariant",
        ];
        let predicates = |series: &String| series.starts_with("saga_invariant_violations_total");
        for series in metrics.series().into_iter().filter(|series| !predicates(series)) {
            let labels = series.split_once('{').unwrap().1.trim_end_matches('}');
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (name, value) = label.split_once('=').unwrap();
                assert!(known.contains(&name), "{series}");
                assert!(!value.contains("saga_") && value.len() < 30, "{series}");
            }
        }
    });
}

#[test]
fn sagas_are_counted_by_how_they_begin_and_how_they_end() {
    measured(|metrics| async move {
        let world = World::new();
        world
            .participants
            .script(1, Op::Action, [Script::Refuse, Script::Fail]);
        let process = world.process();
        for key in ["refused", "retried", "plain"] {
            let saga = world.saga(&plan(), key);
            process.handle.start(saga, Until::End, LONG).await.unwrap();
        }
        let counter = |name: &str| metrics.counter(&format!("saga_{name}_total{{type=TEST}}"));
        assert_eq!(
            (counter("started"), counter("completed"), counter("compensated")),
            (3, 2, 1)
        );
        assert_eq!(metrics.samples("saga_duration_seconds{type=TEST}").len(), 3);
        assert_eq!(metrics.counter("saga_step_retries_total{type=TEST,step=B}"), 1);
        let calls = |step: &str, outcome: &str| {
            let labels = format!("type=TEST,step={step},op=action,outcome={outcome}");
            metrics
                .samples(&format!("saga_step_duration_seconds{{{labels}}}"))
                .len()
        };
        assert_eq!(
            (
                calls("A", "succeeded"),
                calls("B", "refused"),
                calls("B", "unknown")
            ),
            (3, 1, 1)
        );
        assert_eq!(calls("B", "succeeded"), 2);
        assert!(!metrics.samples("saga_commit_batch_size{}").is_empty());
        assert_eq!(metrics.imbalance("TEST"), 0);
    });
}

#[test]
fn active_sagas_show_their_phase_their_age_and_their_attention() {
    measured(|metrics| async move {
        let world = World::new();
        world
            .participants
            .script(1, Op::Action, vec![Script::Pending; 100_000]);
        world
            .participants
            .script(0, Op::Compensation, vec![Script::Refuse; 100_000]);
        let process = world.process();
        let mut sagas = Vec::new();
        for i in 0..3 {
            let saga = world.saga(&plan(), &format!("k{i}"));
            sagas.push(
                process
                    .handle
                    .start(saga, Until::Step(0), LONG)
                    .await
                    .unwrap()
                    .saga,
            );
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        let active = |phase: &str| metrics.gauge(&format!("saga_active{{type=TEST,phase={phase}}}"));
        assert!((active("running") - 3.0).abs() < 0.1);
        let oldest = metrics.gauge("saga_oldest_active_seconds{type=TEST}");
        assert!((28.0..31.0).contains(&oldest), "{oldest}");
        let note = StepError {
            code: "CANCELLED".into(),
            reason: "".into(),
            domain: "".into(),
            message: "".into(),
        };
        process.handle.cancel(sagas[0], "me".into(), note).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!((active("running") - 2.0).abs() < 0.1 && (active("compensating") - 1.0).abs() < 0.1);
        let objected = || metrics.gauge("saga_attention{type=TEST,cause=cannot_be_refused}");
        assert!((objected() - 1.0).abs() < 0.1, "{}", objected());
        assert_eq!(metrics.imbalance("TEST"), 0);
        // The next process adopts what this one leaves.
        process.stop().await.unwrap();
        assert!((active("running") + active("compensating")).abs() < 0.1 && objected().abs() < 0.1);
        assert_eq!(metrics.counter("saga_released_total{type=TEST}"), 3);
        let _next = world.process();
        world
            .until(|_| (metrics.counter("saga_adopted_total{type=TEST}") == 3).then_some(()))
            .await;
        assert!((objected() - 1.0).abs() < 0.1, "{}", objected());
        assert_eq!(metrics.imbalance("TEST"), 0);
    });
}

#[test]
fn a_parked_saga_is_released_from_the_books_and_shown_as_attention() {
    measured(|metrics| async move {
        let world = World::new();
        world.participants.script(0, Op::Action, [Script::Panic]);
        let process = world.process();
        let saga = world.saga(&plan(), "k");
        let seen = process.handle.start(saga, Until::Durable, LONG).await.unwrap();
        world
            .until(|w| w.disk.lock().unwrap().sagas[&seen.saga].quarantined.clone())
            .await;
        let parked = || metrics.gauge("saga_attention{type=TEST,cause=quarantined}");
        assert!((parked() - 1.0).abs() < 0.1);
        assert_eq!(metrics.imbalance("TEST"), 0);
        process.kill();
        let next = world.process();
        world.until(|_| (parked() > 0.9).then_some(())).await;
        assert_eq!(
            metrics.counter("saga_adopted_total{type=TEST}"),
            0,
            "nobody drives it"
        );
        next.handle
            .release(seen.saga, "me".into(), "mended".into(), 0)
            .await
            .unwrap();
        assert_eq!(world.until_ended(seen.saga).await, Phase::Completed);
        assert!(parked().abs() < 0.1);
        assert_eq!(metrics.counter("saga_adopted_total{type=TEST}"), 1);
        assert_eq!(metrics.imbalance("TEST"), 0);
    });
}

#[test]
fn writes_whose_outcome_is_unknown_do_not_upset_the_books() {
    for fault in [Fault::LostAnswer, Fault::LostWrite] {
        for number in 1..=6 {
            measured(|metrics| async move {
                let world = World::new();
                world.disk.lock().unwrap().faults.insert(number, fault);
                let process = world.process();
                let saga = world.saga(&plan(), "k");
                // Whether it exists is what nobody knows at first.
                let _ = process.handle.start(saga, Until::Durable, LONG).await;
                tokio::time::sleep(Duration::from_secs(10)).await;
                assert_eq!(metrics.imbalance("TEST"), 0, "{fault:?} at append {number}");
                let on_disk = world.disk.lock().unwrap().sagas.len();
                let started = metrics.counter("saga_started_total{type=TEST}");
                assert_eq!(
                    usize::try_from(started).unwrap(),
                    on_disk,
                    "{fault:?} at append {number}"
                );
            });
        }
    }
}

#[test]
fn a_fenced_write_is_counted_and_everything_is_somebody_elses_then() {
    measured(|metrics| async move {
        let world = World::new();
        world
            .participants
            .script(0, Op::Action, [Script::Pending, Script::Pending]);
        let process = world.process();
        let saga = world.saga(&plan(), "k");
        process.handle.start(saga, Until::Durable, LONG).await.unwrap();
        world.disk.lock().unwrap().epoch += 1;
        process.ended().await.unwrap_err();
        assert_eq!(metrics.counter("saga_fenced_writes_total{}"), 1);
        assert_eq!(metrics.counter("saga_released_total{type=TEST}"), 1);
        assert_eq!(metrics.imbalance("TEST"), 0);
    });
}

#[test]
fn what_waits_at_a_participant_and_how_long_is_shown() {
    measured(|metrics| async move {
        let mut world = World::new();
        world.config.breaker = BreakerConfig {
            failures: 1,
            ..BreakerConfig::default()
        };
        world.participants.script(0, Op::Action, [Script::Unsent]);
        let process = world.process();
        let plan = single();
        let first = world.saga(&plan, "first");
        process.handle.start(first, Until::Durable, LONG).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let second = world.saga(&plan, "second");
        let second = process.handle.start(second, Until::Durable, LONG).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let gauge = |name: &str| metrics.gauge(&format!("saga_participant_{name}{{participant=p0}}"));
        assert!((gauge("circuit") - 2.0).abs() < 0.1 && gauge("waiting") > 0.9);
        world.until_ended(second.saga).await;
        assert!(gauge("circuit").abs() < 0.1 && gauge("in_flight").abs() < 0.1);
        let lags = metrics.samples("saga_claim_lag_seconds{}");
        assert!(lags[0] < 0.1, "{lags:?}");
        assert!(
            lags.iter().any(|lag| (0.8..1.1).contains(lag)),
            "one waited for the circuit: {lags:?}"
        );
    });
}

#[test]
fn a_journal_that_nobody_can_have_written_is_counted_when_it_is_loaded() {
    measured(|metrics| async move {
        let world = World::new();
        world.participants.script(1, Op::Action, Some(Script::Hang));
        let process = world.process();
        let started = process
            .handle
            .start(world.saga(&plan(), "k"), Until::Durable, LONG)
            .await
            .unwrap();
        world
            .until(|w| (!w.disk.lock().unwrap().sagas[&started.saga].events.is_empty()).then_some(()))
            .await;
        process.kill();
        let series = "saga_invariant_violations_total{invariant=committed_means_everything_before_succeeded}";
        assert_eq!(metrics.counter(series), 0);
        let committed = Recorded::new(world.clock.now(), None, Event::Committed);
        let spoil = |disk: &mut Disk| {
            let stored = disk.sagas.get_mut(&started.saga).unwrap();
            stored.events.push(committed);
        };
        spoil(&mut world.disk.lock().unwrap());
        let _next = world.process();
        world
            .until(|_| (metrics.counter(series) == 1).then_some(()))
            .await;
    });
}
