//! Requests built from messages.

use prost_reflect::{DynamicMessage, Value};
use saga_definition::{Context, Definition, MapError, SagaContext, decode_json, encode_json};

use crate::lab::{LAB, good, one_step, pool_of, saga};

fn input(definition: &Definition, json: &str) -> DynamicMessage {
    decode_json(definition.input(), json, 100_000).expect("the input is right")
}

fn build(definition: &Definition, step: usize, json: &str) -> Result<String, MapError> {
    let input = input(definition, json);
    let context = Context {
        input: &input,
        replies: &[],
        saga: SagaContext {
            id: "s",
            ..SagaContext::default()
        },
    };
    definition.steps()[step]
        .call
        .with
        .build(&context)
        .map(|message| encode_json(&message).expect("JSON can say it"))
}

fn built(with: &str, json: &str) -> Result<String, MapError> {
    build(&good(&one_step(with)), 0, json)
}

#[test]
fn literals_of_every_type_are_set() {
    let with = r#"id: "input.id"
i32: -5
i64: 9007199254740993
u32: 7
u64: 18446744073709551615
f32: 0.5
f64: 3
flag: true
color: COLOR_BLUE
maybe: ""
inner: { text: plain words, inner: { count: 1 } }
tags: [a, "b"]
numbers: []
by_number: { -3: { text: x } }
counts: { a: 1 }
left: l
wait: 1m
at: "2026-01-02T03:04:05Z"
boxed: { value: 0.25 }"#;
    assert_eq!(
        built(with, "{}").unwrap(),
        concat!(
            r#"{"at":"2026-01-02T03:04:05Z","boxed":0.25,"byNumber":{"-3":{"text":"x"}},"color":"COLOR_BLUE","#,
            r#""counts":{"a":"1"},"f32":0.5,"f64":3.0,"flag":true,"i32":-5,"i64":"9007199254740993","id":"input.id","#,
            r#""inner":{"inner":{"count":"1"},"text":"plain words"},"left":"l","maybe":"","tags":["a","b"],"u32":7,"#,
            r#""u64":"18446744073709551615","wait":"60s"}"#
        )
    );
}

#[test]
fn values_are_widened_without_loss() {
    let with = "i64: input.i32\nu64: input.u32\nf64: input.f32";
    let json = r#"{"i32":-2147483648,"u32":4294967295,"f32":0.5}"#;
    assert_eq!(
        built(with, json).unwrap(),
        r#"{"i64":"-2147483648","u64":"4294967295","f64":0.5}"#
    );
    assert_eq!(built("i64: input.u32", json).unwrap(), r#"{"i64":"4294967295"}"#);
}

#[test]
fn whole_messages_lists_and_maps_are_copied() {
    let with = "tags: input.tags\nlabels: input.labels\ninner: { from: input.inner, allow_default: true }\nother: { text: input.id }";
    let json = r#"{"id":"x","inner":{"inner":{"text":"deep"}},"labels":{"a":"b"},"tags":["1","2"]}"#;
    assert_eq!(
        built(with, json).unwrap(),
        r#"{"inner":{"inner":{"text":"deep"}},"labels":{"a":"b"},"other":{"text":"x"},"tags":["1","2"]}"#
    );
    let all = good(&saga(
        "  - { name: A, call: lab.v1.LabSteps/Read, pivot: true }\n  - { name: B, call: lab.v1.LabSteps/Do, with: { inner: steps.A, inners: [steps.A, { text: two }] } }\n",
    ));
    let input = input(&all, "{}");
    let reply = decode_json(all.steps()[0].call.reply_type(), r#"{"text":"one"}"#, 100).unwrap();
    let context = Context {
        input: &input,
        replies: &[Some(&reply)],
        saga: SagaContext::default(),
    };
    let message = all.steps()[1].call.with.build(&context).unwrap();
    assert_eq!(
        encode_json(&message).unwrap(),
        r#"{"inner":{"text":"one"},"inners":[{"text":"one"},{"text":"two"}]}"#
    );
    let none = Context {
        replies: &[],
        ..context
    };
    assert_eq!(
        all.steps()[1].call.with.build(&none).unwrap_err().to_string(),
        "steps.A is absent: step A has no reply"
    );
}

#[test]
fn paths_read_through_nested_messages() {
    let with = "id: { from: input.inner.inner.text, allow_default: true }";
    assert_eq!(
        built(with, r#"{"inner":{"inner":{"text":"deep"}}}"#).unwrap(),
        r#"{"id":"deep"}"#
    );
    assert_eq!(built(with, r#"{"inner":{"inner":{}}}"#).unwrap(), "{}");
    assert_eq!(built(with, r#"{"inner":{}}"#).unwrap(), "{}");
    assert_eq!(built(with, "{}").unwrap(), "{}");
}

#[test]
fn an_absent_source_with_allow_default_leaves_the_target_unset() {
    let with =
        "maybe: { from: input.maybe, allow_default: true }\nright: { from: input.left, allow_default: true }";
    assert_eq!(built(with, "{}").unwrap(), "{}");
    assert_eq!(
        built(with, r#"{"maybe":"","left":""}"#).unwrap(),
        r#"{"maybe":"","right":""}"#
    );
}

#[test]
fn an_absent_source_in_a_list_or_map_becomes_the_default() {
    let with = "tags: [a, { from: input.maybe, allow_default: true }]\ncounts: { n: { from: input.inner.count, allow_default: true } }\ninners: [{ from: input.inner, allow_default: true }]";
    assert_eq!(
        built(with, "{}").unwrap(),
        r#"{"counts":{"n":"0"},"inners":[{}],"tags":["a",""]}"#
    );
}

#[test]
fn a_field_without_presence_always_has_a_value() {
    assert_eq!(built("maybe: input.id", "{}").unwrap(), r#"{"maybe":""}"#);
}

#[test]
fn a_field_called_from_can_be_set() {
    let with = "inner: { from: { from: input.id } }";
    assert_eq!(built(with, r#"{"id":"x"}"#).unwrap(), r#"{"inner":{"from":"x"}}"#);
    assert_eq!(
        built("inner: { from: input.id, text: t }", r#"{"id":"x"}"#),
        Ok(r#"{"inner":{"text":"t","from":"x"}}"#.to_owned())
    );
}

#[test]
fn a_compensation_may_read_its_own_reply_where_absence_is_handled() {
    let definition = good(&saga(
        "  - name: A\n    call: lab.v1.LabSteps/Do\n    compensate:\n      call: lab.v1.LabSteps/Undo\n      with: { id: { from: steps.A.id, allow_default: true }, left: saga.reason }\n",
    ));
    let with = &definition.steps()[0].compensate.as_ref().unwrap().with;
    let (input, reply) = (input(&definition, "{}"), input(&definition, r#"{"id":"r"}"#));
    let saga = SagaContext {
        reason: "TIMEOUT",
        ..SagaContext::default()
    };
    let known = Context {
        input: &input,
        replies: &[Some(&reply)],
        saga,
    };
    assert_eq!(
        encode_json(&with.build(&known).unwrap()).unwrap(),
        r#"{"id":"r","left":"TIMEOUT"}"#
    );
    let unknown = Context {
        input: &input,
        replies: &[None],
        saga,
    };
    assert_eq!(
        encode_json(&with.build(&unknown).unwrap()).unwrap(),
        r#"{"left":"TIMEOUT"}"#
    );
}

#[test]
fn expires_is_read_from_a_message() {
    let definition = good(&saga(
        "  - { name: A, call: lab.v1.LabSteps/Do, no_compensation: none, expires: input.wait }\n  - { name: B, call: lab.v1.LabSteps/Do, no_compensation: none, expires: 30m }\n  - { name: C, call: lab.v1.LabSteps/Do, no_compensation: none }\n",
    ));
    let input = input(&definition, r#"{"wait":"90s"}"#);
    let context = Context {
        input: &input,
        replies: &[],
        saga: SagaContext::default(),
    };
    let expires: Vec<_> = definition
        .steps()
        .iter()
        .map(|step| step.expires_ms(&context).unwrap())
        .collect();
    assert_eq!(expires, [Some(90_000), Some(1_800_000), None]);
}

#[test]
fn a_message_of_another_type_or_pool_is_refused() {
    let definition = good(&one_step("id: input.id"));
    let other_pool = pool_of(LAB);
    for name in ["lab.v1.Everything", "lab.v1.Inner"] {
        let foreign = DynamicMessage::new(other_pool.get_message_by_name(name).unwrap());
        let context = Context {
            input: &foreign,
            replies: &[],
            saga: SagaContext::default(),
        };
        let error = definition.steps()[0].call.with.build(&context).unwrap_err();
        assert!(
            matches!(&error, MapError::ForeignMessage { found, .. } if found == name),
            "{error}"
        );
    }
}

#[test]
fn a_message_put_together_by_hand_is_no_panic() {
    let tampered = |definition: &Definition, field: &str, value: Value| {
        let mut input = input(definition, r#"{"id":"x","inner":{}}"#);
        let field = definition.input().get_field_by_name(field).unwrap();
        *input.get_field_mut(&field) = value;
        let context = Context {
            input: &input,
            replies: &[],
            saga: SagaContext::default(),
        };
        definition.steps()[0].call.with.build(&context)
    };
    let nested = good(&one_step(
        "id: { from: input.inner.inner.text, allow_default: true }",
    ));
    let built = tampered(&nested, "inner", Value::Bool(true)).unwrap();
    assert_eq!(encode_json(&built).unwrap(), "{}");
    let direct = good(&one_step("id: input.id"));
    assert_eq!(
        tampered(&direct, "id", Value::Bool(true))
            .unwrap_err()
            .to_string(),
        "lab.v1.Everything.id cannot hold the value read for it"
    );
}
