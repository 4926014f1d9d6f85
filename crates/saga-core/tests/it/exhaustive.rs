//! Every story of a few inputs, over small plans.

use std::collections::HashSet;

use saga_core::{Event, FailureClass, OpState, Outcome, Payload, Phase, Zone};

use crate::dsl::*;

/// Everything that can happen next, each as a saga of its own.
fn futures(saga: &Saga) -> Vec<Saga> {
    let mut futures = Vec::new();
    let mut add = |future: Saga| futures.push(future);
    if saga.state.phase().is_ended() {
        return futures;
    }
    let mut names = saga.due();
    // While unwinding, an action that was in flight may still be answered.
    for run in saga.state.runs().iter().filter(|run| run.action.open().is_some()) {
        names.push(saga.plan.name(run.step).to_owned());
    }
    names.sort();
    names.dedup();
    for name in &names {
        for outcome in outcomes() {
            add(saga.clone().answer(name, outcome));
        }
    }
    if saga.state.cancellable(&saga.plan) {
        let due = saga.due();
        let in_flight: Vec<&str> = due.iter().map(String::as_str).collect();
        add(saga.clone().in_flight(&in_flight).cancel().in_flight(&[]));
        add(saga.clone().cancel());
    }
    if let Some(ms) = saga.alarm_in() {
        add(saga.clone().pass(ms));
    }
    add(saga.clone().crash());
    futures
}

fn outcomes() -> Vec<Outcome> {
    let failed = |class| Outcome::Failed {
        class,
        error: error("?"),
    };
    let refused = |stored| Outcome::Refused {
        error: error("no"),
        stored,
    };
    vec![
        Outcome::Succeeded(Payload::new("1")),
        Outcome::Pending,
        refused(false),
        refused(true),
        failed(FailureClass::Unknown),
        failed(FailureClass::Unsent),
        failed(FailureClass::Misconfigured),
    ]
}

/// Tries every story of at most `inputs` inputs; each must be finishable from wherever it is. Returns how many
/// different states there are. (The invariants and the replay are checked by every input.)
fn explore(saga: Saga, inputs: usize) -> usize {
    let mut seen = HashSet::new();
    let mut frontier = vec![saga];
    for depth in 0..=inputs {
        let mut next = Vec::new();
        for saga in frontier {
            if !seen.insert(format!("{:?} {:?}", saga.now, saga.state)) {
                continue;
            }
            check_end(&saga.clone().finish());
            if depth < inputs {
                next.extend(futures(&saga));
            }
        }
        frontier = next;
    }
    seen.len()
}

/// What every ended saga must look like, told by its history alone.
fn check_end(saga: &Saga) {
    let position = |wanted: &dyn Fn(&Event) -> bool| saga.events().position(wanted);
    let committed = position(&|event| matches!(event, Event::Committed));
    let turned = position(&|event| matches!(event, Event::Unwinding { .. }));
    match saga.state.phase() {
        Phase::Completed => assert!(turned.is_none()),
        Phase::Compensated => assert!(turned.is_some() && committed.is_none()),
        Phase::Running | Phase::Compensating | Phase::Resolved => unreachable!("it has ended"),
    }
    for (run, step) in saga.state.runs().iter().zip(saga.plan.steps()) {
        let undone = run.compensation.succeeded();
        match (saga.state.phase(), &run.action) {
            (Phase::Completed, action) => assert!(action.succeeded() && !undone),
            (_, OpState::Succeeded(_) | OpState::Abandoned) => {
                assert_eq!(undone, step.compensated);
                assert_eq!(step.zone, Zone::Compensatable);
            }
            (_, OpState::NotStarted | OpState::Refused(_) | OpState::Skipped) => assert!(!undone),
            (_, OpState::Open(_)) => panic!("{} is open", step.name),
        }
    }
}

#[test]
fn every_short_story_of_two_steps_and_a_pivot_ends_well() {
    let steps = [work("A").retries(1), pivot("P"), onward("R")];
    let states = explore(Saga::with_epilogue(&steps, "E"), 5);
    assert!(states > 1_000, "{states} states");
}

#[test]
fn every_short_story_of_branches_without_a_pivot_ends_well() {
    let steps = [
        work("A").after(&[]).retries(0),
        work("B").after(&[]).compensated(false).retries(0),
        work("C").after(&["B"]).retries(0),
    ];
    let states = explore(Saga::of(&steps), 4);
    assert!(states > 1_000, "{states} states");
}

#[test]
fn every_short_story_with_a_person_ends_well() {
    let steps = [work("A").after(&[]).retries(0), person("H").after(&[]).retries(0)];
    let states = explore(Saga::of(&steps), 4);
    assert!(states > 500, "{states} states");
}
