//! Every story of a few inputs, over small plans.

use std::collections::HashSet;

use saga_core::{
    Command, Completion, Event, FailureClass, OpState, OperatorAction, Outcome, Payload, Phase, Zone,
};

use crate::dsl::*;

/// Who else has a say besides the participants and somebody who cancels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    Nobody,
    /// Operators, who may be wrong, and those who hold completion tokens.
    People,
}

/// Everything that can happen next, each as a saga of its own.
fn futures(saga: &Saga, others: Others) -> Vec<Saga> {
    let mut futures = Vec::new();
    if others == Others::People {
        futures.extend(people(saga));
    }
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

/// Everything that people can do next.
fn people(saga: &Saga) -> Vec<Saga> {
    let mut futures = Vec::new();
    let runs = saga.state.runs().iter();
    let names: Vec<String> = runs
        .flat_map(|run| {
            let name = saga.plan.name(run.step);
            [name.to_owned(), format!("~{name}")]
        })
        .collect();
    for name in &names {
        for result in [
            Completion::Succeeded(Payload::new("2")),
            Completion::Failed(error("no")),
        ] {
            let mut future = saga.clone();
            futures.extend(future.try_complete(name, result).is_ok().then_some(future));
        }
        // An answer to the call that is no longer waited for.
        let mut future = saga.clone();
        let late = Outcome::Succeeded(Payload::new("3"));
        let late = saga.op(name).open().is_none() && future.try_answer(name, 1, late).is_ok();
        futures.extend(late.then_some(future));
    }
    let due = saga.due();
    let in_flight: Vec<&str> = due.iter().map(String::as_str).collect();
    for allowed in saga.state.allowed(&saga.plan) {
        let key = || allowed.key.unwrap();
        let command = match allowed.action {
            OperatorAction::RetryNow => Command::RetryNow(allowed.key),
            OperatorAction::ResolveSucceeded => Command::ResolveSucceeded(key(), Payload::new("4")),
            OperatorAction::ResolveFailed => Command::ResolveFailed(key()),
            OperatorAction::Skip => Command::Skip(key()),
            OperatorAction::Compensate => Command::Compensate,
            OperatorAction::Resolve => Command::Resolve,
            OperatorAction::Pause => Command::Pause,
            OperatorAction::Resume => Command::Resume,
            OperatorAction::Acknowledge => Command::Acknowledge,
            OperatorAction::Cancel | OperatorAction::Release => continue,
        };
        futures.push(saga.clone().operate(command.clone()));
        futures.push(saga.clone().in_flight(&in_flight).operate(command).in_flight(&[]));
    }
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
        Outcome::NotSeen,
        Outcome::Skipped,
    ]
}

/// Tries every story of at most `inputs` inputs; each must be finishable from wherever it is. Returns how many
/// different states there are. (The invariants and the replay are checked by every input.)
fn explore(saga: Saga, inputs: usize, others: Others) -> usize {
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
                next.extend(futures(&saga, others));
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
        // An operator ended it as it was.
        Phase::Resolved => return,
        Phase::Running | Phase::Compensating => unreachable!("it has ended"),
    }
    for (run, step) in saga.state.runs().iter().zip(saga.plan.steps()) {
        let undone = run.compensation.done();
        match (saga.state.phase(), &run.action) {
            (Phase::Completed, action) => assert!(action.done() && !undone),
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
    let states = explore(Saga::with_epilogue(&steps, "E"), 5, Others::Nobody);
    assert!(states > 1_000, "{states} states");
}

#[test]
fn every_short_story_of_branches_without_a_pivot_ends_well() {
    let steps = [
        work("A").after(&[]).retries(0),
        work("B").after(&[]).compensated(false).retries(0),
        work("C").after(&["B"]).retries(0),
    ];
    let states = explore(Saga::of(&steps), 4, Others::Nobody);
    assert!(states > 1_000, "{states} states");
}

#[test]
fn every_short_story_with_a_person_ends_well() {
    let steps = [work("A").after(&[]).retries(0), person("H").after(&[]).retries(0)];
    let states = explore(Saga::of(&steps), 4, Others::Nobody);
    assert!(states > 500, "{states} states");
}

#[test]
fn every_short_story_with_people_in_it_ends_well() {
    let steps = [
        work("A").after(&[]).retries(0).when(),
        work("B").after(&[]).probed(),
        pivot("P").after(&["A", "B"]).probed(),
        onward("R").after(&["P"]),
    ];
    let states = explore(Saga::with_epilogue(&steps, "E"), 3, Others::People);
    assert!(states > 1_000, "{states} states");
    // The same from the commit point, from the pivot, and from the turn on.
    let at_pivot = Saga::with_epilogue(&steps, "E").succeed("A").succeed("B");
    let states = explore(at_pivot.clone(), 3, Others::People);
    assert!(states > 1_000, "{states} states");
    explore(at_pivot.clone().succeed("P"), 3, Others::People);
    let states = explore(at_pivot.in_flight(&["P"]).resolve_failed("P"), 4, Others::People);
    assert!(states > 500, "{states} states");
    let turned = Saga::with_epilogue(&steps, "E")
        .succeed("A")
        .pending("B")
        .in_flight(&["B"])
        .cancel();
    let states = explore(turned, 4, Others::People);
    assert!(states > 1_000, "{states} states");
}
