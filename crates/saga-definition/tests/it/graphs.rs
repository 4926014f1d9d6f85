//! `after`, `when` and `probe`.

use proptest::prelude::*;
use prost_reflect::DynamicMessage;
use saga_definition::{Context, Definition, MapError, SagaContext, Zone, decode_json};

use crate::lab::{compiled, good, saga};

fn order(definition: &Definition) -> Vec<(&str, Vec<usize>)> {
    let steps = definition.steps().iter();
    steps
        .map(|step| (step.name.as_str(), step.after.clone()))
        .collect()
}

fn read(name: &str, keys: &str) -> String {
    format!("  - {{ name: {name}, call: lab.v1.LabSteps/Read, {keys} }}\n")
}

#[test]
fn steps_are_put_in_an_order_in_which_they_can_run() {
    let saga = good(&saga(
        &[
            read("LAST", "retriable: true, after: [LEFT, RIGHT, FIRST]"),
            read("RIGHT", "no_compensation: n, after: [FIRST]"),
            read("LEFT", "no_compensation: n, after: [FIRST]"),
            read("FIRST", "no_compensation: n, after: []"),
        ]
        .concat(),
    ));
    let expected = [
        ("FIRST", vec![]),
        ("RIGHT", vec![0]),
        ("LEFT", vec![0]),
        ("LAST", vec![1, 2]),
    ];
    assert_eq!(order(&saga), expected);
}

#[test]
fn a_step_without_after_comes_after_the_one_before_it_in_the_text() {
    let saga = good(&saga(
        &[
            read("A", "no_compensation: n"),
            read("B", "no_compensation: n, after: []"),
            read("C", "no_compensation: n"),
            read("P", "pivot: true, after: [A, C]"),
            read("Z", "after: [P]"),
        ]
        .concat(),
    ));
    let expected = [
        ("A", vec![]),
        ("B", vec![]),
        ("C", vec![1]),
        ("P", vec![0, 2]),
        ("Z", vec![3]),
    ];
    assert_eq!(order(&saga), expected);
    let zones: Vec<_> = saga.steps().iter().map(|step| step.zone).collect();
    assert_eq!(zones[2..], [Zone::Compensatable, Zone::Pivot, Zone::Retriable]);
}

#[test]
fn several_ways_to_write_one_order_are_one_definition() {
    let with = |after: &str| {
        good(&saga(
            &[
                read("A", "retriable: true"),
                read("B", "retriable: true"),
                read("C", &format!("retriable: true{after}")),
            ]
            .concat(),
        ))
    };
    for after in [", after: [B]", ", after: [B, A]", ", after: [A, B, B]"] {
        assert_eq!(with(after).canonical(), with("").canonical());
        assert_eq!(with(after).hash(), with("").hash());
    }
    assert_ne!(with(", after: [A]").hash(), with("").hash());
    assert_ne!(with(", after: []").hash(), with("").hash());
}

#[test]
fn the_canonical_text_of_a_graph_says_what_is_not_the_default() {
    let saga = good(&saga(
        &[
            read("Z", "after: [P], when: { from: steps.A.sure, allow_default: true }"),
            "  - { name: A, call: lab.v1.LabSteps/Do, no_compensation: n, after: [], probe: { call: lab.v1.LabSteps/Look, with: { text: input.id } } }\n".to_owned(),
            read("B", "no_compensation: n, after: [], when: input.flag"),
            read("P", "pivot: true, after: [A, B]"),
        ]
        .concat(),
    ));
    let again = good(saga.canonical());
    assert_eq!(again.canonical(), saga.canonical());
    assert_eq!(again.hash(), saga.hash());
    for part in [
        r#""after":["A","B"]"#,
        r#""after":[]"#,
        r#""name":"B""#,
        r#""when":{"from":"input.flag"}"#,
        r#""when":{"allow_default":true,"from":"steps.A.sure"}"#,
        r#""probe":{"call":"lab.v1.LabSteps/Look","with":{"text":{"from":"input.id"}}}"#,
    ] {
        assert!(saga.canonical().contains(part), "{part} in {}", saga.canonical());
    }
    let first = saga.canonical().find(r#""name":"A""#);
    assert!(first < saga.canonical().find(r#""name":"P""#));
    let stored = prost_reflect::DescriptorPool::decode(saga.closure().as_slice()).unwrap();
    let again = saga_definition::compile(saga.canonical(), &stored, &saga.participants()).unwrap();
    assert_eq!(again.hash(), saga.hash());
}

#[test]
fn a_probe_is_called_as_its_action_is() {
    let saga = good(&saga(
        "  - { name: A, call: lab.v1.LabSteps/Do, timeout: 3s, retry: { retries: 7 }, no_compensation: n, probe: { call: lab.v1.LabSteps/Look, with: { text: input.id } } }\n",
    ));
    let step = &saga.steps()[0];
    let probe = step.probe.as_ref().unwrap();
    assert_eq!(probe.name(), "/lab.v1.LabSteps/Look");
    assert_eq!((probe.retry, probe.timeout_ms), (step.call.retry, 3_000));
    assert_eq!(saga.calls().count(), 2);
}

#[test]
fn a_foreign_probe_is_acknowledged() {
    let saga = good(&saga(
        "  - { name: A, call: lab.v1.LabSteps/Undo, pivot: true, probe: { call: lab.v1.LabSteps/Bare, unsafe_ack: it only looks } }\n",
    ));
    assert!(saga.steps()[0].probe.is_some());
}

fn holds(
    definition: &Definition,
    step: usize,
    input: &str,
    replies: &[Option<&DynamicMessage>],
) -> Result<bool, MapError> {
    let input = decode_json(definition.input(), input, 1_000).expect("the input is right");
    let context = Context {
        input: &input,
        replies,
        saga: SagaContext::default(),
    };
    let when = definition.steps()[step].when.as_ref();
    when.expect("the step has a condition").holds(&context)
}

#[test]
fn a_condition_reads_the_input_or_a_reply() {
    let saga = good(&saga(
        "  - { name: A, call: lab.v1.LabSteps/Do, no_compensation: n, when: input.flag }
  - { name: B, call: lab.v1.LabSteps/Do, no_compensation: n, when: { from: steps.A.sure, allow_default: true } }
  - { name: C, call: lab.v1.LabSteps/Do, no_compensation: n, when: input.flag, with: { id: steps.A.id } }
",
    ));
    assert_eq!(holds(&saga, 0, r#"{"flag":true}"#, &[]), Ok(true));
    assert_eq!(holds(&saga, 0, "{}", &[]), Ok(false));
    let reply = |json: &str| decode_json(saga.input(), json, 1_000).unwrap();
    assert_eq!(
        holds(&saga, 1, "{}", &[Some(&reply(r#"{"sure":true}"#))]),
        Ok(true)
    );
    assert_eq!(
        holds(&saga, 1, "{}", &[Some(&reply(r#"{"sure":false}"#))]),
        Ok(false)
    );
    assert_eq!(holds(&saga, 1, "{}", &[Some(&reply("{}"))]), Ok(false));
    assert_eq!(holds(&saga, 1, "{}", &[None]), Ok(false));
    let condition = |step: usize| saga.steps()[step].when.as_ref().unwrap();
    assert_eq!(condition(0).steps_read(), Vec::<usize>::new());
    assert_eq!(condition(1).steps_read(), [0]);
    assert_eq!(condition(1).path().text(), "steps.A.sure");
}

#[test]
fn a_step_on_the_same_condition_may_rely_on_the_reply() {
    let on = |when: &str, reads: &str| {
        compiled(&saga(&format!(
            "  - {{ name: A, call: lab.v1.LabSteps/Do, no_compensation: n, when: input.flag }}
  - {{ name: B, call: lab.v1.LabSteps/Do, {when} compensate: {{ call: lab.v1.LabSteps/Undo, with: {{ id: {reads} }} }}, with: {{ id: {reads} }} }}
"
        )))
        .map_err(|problems| problems.len())
    };
    assert!(on("when: input.flag,", "steps.A.id").is_ok());
    assert_eq!(on("", "steps.A.id").unwrap_err(), 2);
    assert!(on("", "{ from: steps.A.id, allow_default: true }").is_ok());
}

#[test]
fn mistakes_in_the_order_are_not_followed_by_others() {
    let yaml = saga(
        &[
            read("A", "no_compensation: n, after: [NOWHERE]"),
            read("P", "pivot: true, after: [B]"),
            read("B", "after: [P], with: { text: steps.P.text }"),
            read("C", "no_compensation: n, after: []"),
        ]
        .concat(),
    );
    let reasons: Vec<_> = compiled(&yaml)
        .unwrap_err()
        .iter()
        .map(|p| (p.line, p.kind.reason()))
        .collect();
    assert_eq!(reasons, [(6, "UNKNOWN_STEP"), (8, "CYCLE")]);
}

proptest! {
    /// Retriable steps with any edges: they compile exactly if there is no cycle, and then in a topological order that
    /// is its own canonical form.
    #[test]
    fn any_graph_is_ordered_or_refused(edges in prop::collection::vec(prop::option::of(prop::collection::vec(0_usize..7, 0..4)), 1..7)) {
        let names = |after: &Vec<usize>| {
            let known: Vec<String> = after.iter().filter(|i| **i < edges.len()).map(|i| format!("S{i}")).collect();
            known.join(", ")
        };
        let steps: String = edges.iter().enumerate().map(|(i, after)| {
            let after = after.as_ref().map_or_else(String::new, |after| format!(", after: [{}]", names(after)));
            read(&format!("S{i}"), &format!("retriable: true{after}"))
        }).collect();
        match compiled(&saga(&steps)) {
            Ok(definition) => {
                for (index, step) in definition.steps().iter().enumerate() {
                    prop_assert!(step.after.iter().all(|before| *before < index));
                }
                let again = good(definition.canonical());
                prop_assert_eq!(order(&again), order(&definition));
                prop_assert_eq!(again.hash(), definition.hash());
            }
            Err(problems) => prop_assert!(problems.iter().all(|p| p.kind.reason() == "CYCLE"), "{problems:?}"),
        }
    }
}
