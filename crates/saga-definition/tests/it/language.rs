//! What the language accepts.

use saga_definition::{Barrier, Retry, Zone};

use crate::lab::{barrier, good, saga};

#[test]
fn settings_are_inherited_one_by_one() {
    let yaml = "saga: LAB
version: 1000000
input: lab.v1.Everything
deadline: 30d
retry: { retries: 5, max: 1m }
timeout: 3s
steps:
  - name: A
    call: lab.v1.LabSteps/Do
    retry: { retries: 0, factor: 1.5 }
    compensate: { call: lab.v1.LabSteps/Undo, retry: { initial: 1s }, timeout: 4s }
  - name: B
    call: lab.v1.LabSteps/Read
    pivot: true
  - name: C
    call: lab.v1.LabSteps/Read
    timeout: 1ms
on_compensated: { call: lab.v1.LabSteps/Read }
";
    let saga = good(yaml);
    let settings: Vec<_> = saga.calls().map(|call| (call.retry, call.timeout_ms)).collect();
    let retry = |retries, initial_ms, factor_milli| Retry {
        retries,
        initial_ms,
        factor_milli,
        max_ms: 60_000,
    };
    assert_eq!(
        settings,
        [
            (retry(Some(0), 200, 1_500), 3_000),
            (retry(None, 1_000, 2_000), 4_000),
            (retry(None, 200, 2_000), 3_000),
            (retry(None, 200, 2_000), 1),
            (retry(None, 200, 2_000), 3_000),
        ]
    );
}

#[test]
fn steps_behind_the_pivot_are_retriable_said_or_not() {
    let saga = good(&saga(
        "  - { name: A, call: lab.v1.LabSteps/Read, no_compensation: reads }
  - { name: P, call: lab.v1.LabSteps/Read, pivot: true, retriable: false }
  - { name: B, call: lab.v1.LabSteps/Read }
  - { name: C, call: lab.v1.LabSteps/Read, retriable: true }
",
    ));
    let zones: Vec<_> = saga.steps().iter().map(|step| step.zone).collect();
    assert_eq!(
        zones,
        [Zone::Compensatable, Zone::Pivot, Zone::Retriable, Zone::Retriable]
    );
}

#[test]
fn after_may_name_the_step_before() {
    let saga = good(&saga(
        "  - { name: A, call: lab.v1.LabSteps/Read, pivot: true, after: [] }
  - { name: B, call: lab.v1.LabSteps/Read, after: [A, A] }
",
    ));
    assert_eq!(saga.steps()[1].after, [0]);
}

#[test]
fn barriers_are_read_from_the_methods() {
    let saga = good(&saga(
        "  - { name: A, call: lab.v1.LabSteps/Do, compensate: { call: lab.v1.LabSteps/Undo } }
  - { name: B, call: lab.v1.LabSteps/Read, retriable: true }
  - { name: C, call: lab.v1.LabSteps/Bare, retriable: true, unsafe_ack: only looks }
",
    ));
    let barriers: Vec<_> = saga.calls().map(barrier).collect();
    assert_eq!(
        barriers,
        [
            Barrier::Transactional,
            Barrier::External,
            Barrier::Natural,
            Barrier::Acknowledged
        ]
    );
}

#[test]
fn a_hundred_steps_are_allowed() {
    let steps: String = (0..100)
        .map(|n| format!("  - {{ name: S{n}, call: lab.v1.LabSteps/Read, retriable: true }}\n"))
        .collect();
    assert_eq!(good(&saga(&steps)).steps().len(), 100);
}
