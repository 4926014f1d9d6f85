//! `publish`, `message` and `await`.

use prost_reflect::DescriptorPool;
use saga_definition::builder::{Builder, Call, Reply, Step};
use saga_definition::{Await, Definition, Expr, Participants, Target, check, compile, wire_compatible};

use crate::lab::{LAB, good, participants, pool, pool_of, saga};

const STEPS: &str = "  - name: ALLOCATE
    publish: device.allocate.requested
    message: lab.v1.Requested
    with: { id: input.id, amount: 5 }
    await: { reply: device.allocated, message: lab.v1.Allocated, failed: device.allocate.failed }
    compensate: { publish: device.release, message: lab.v1.Release, with: { device: { from: steps.ALLOCATE.device, allow_default: true } } }
  - name: SHIP
    call: lab.v1.LabSteps/Do
    await: token
    pivot: true
    with: { id: steps.ALLOCATE.device }
  - name: TELL
    publish: notification.send
    message: lab.v1.Other
    with: { text: saga.id }
";

fn with_lab(lab: &str) -> Definition {
    compile(&saga(STEPS), &pool_of(lab), &participants()).expect("the saga fits this lab")
}

#[test]
fn requests_and_replies_have_the_types_named() {
    let saga = good(&saga(STEPS));
    let types: Vec<_> = saga
        .calls()
        .map(|call| {
            (
                call.name(),
                call.request_type().full_name(),
                call.reply_type().full_name(),
            )
        })
        .collect();
    assert_eq!(
        types,
        [
            (
                "device.allocate.requested",
                "lab.v1.Requested",
                "lab.v1.Allocated"
            ),
            ("device.release", "lab.v1.Release", "google.protobuf.Empty"),
            ("/lab.v1.LabSteps/Do", "lab.v1.Everything", "lab.v1.Everything"),
            ("notification.send", "lab.v1.Other", "google.protobuf.Empty"),
        ]
    );
    let targets: Vec<_> = saga
        .calls()
        .map(|call| matches!(call.target(), Target::Publish { .. }))
        .collect();
    assert_eq!(targets, [true, true, false, true]);
    let awaits: Vec<_> = saga.calls().map(|call| call.awaits().cloned()).collect();
    let reply = Await::Reply {
        routing_key: "device.allocated".to_owned(),
        failed: Some("device.allocate.failed".to_owned()),
        ask_again_ms: 30_000,
    };
    assert_eq!(awaits, [Some(reply), None, Some(Await::Token), None]);
    let keys: Vec<_> = saga.reply_keys().into_iter().collect();
    assert_eq!(keys, ["device.allocate.failed", "device.allocated"]);
}

#[test]
fn publishing_needs_no_participant() {
    let only = "  - { name: TELL, publish: notification.send, message: lab.v1.Other, retriable: true }\n";
    let saga = compile(&saga(only), &pool(), &Participants::default()).unwrap();
    assert_eq!(saga.participants(), Participants::default());
}

#[test]
fn the_types_published_and_awaited_are_stored_with_the_definition() {
    let first = good(&saga(STEPS));
    let stored = DescriptorPool::decode(first.closure().as_slice()).unwrap();
    for name in ["Requested", "Allocated", "Release", "Other"] {
        assert!(
            stored.get_message_by_name(&format!("lab.v1.{name}")).is_some(),
            "{name}"
        );
    }
    for source in [&saga(STEPS), first.canonical()] {
        let again = compile(source, &stored, &first.participants()).unwrap();
        assert_eq!(again.canonical(), first.canonical());
        assert_eq!(again.hash(), first.hash());
        assert_eq!(wire_compatible(&first, &again), Ok(()));
    }
}

#[test]
fn the_canonical_text_has_the_defaults() {
    let text = good(&saga(STEPS)).canonical().to_owned();
    for part in [
        r#""await":{"ask_again":"30s","failed":"device.allocate.failed","message":"lab.v1.Allocated","reply":"device.allocated"}"#,
        r#""message":"lab.v1.Requested","name":"ALLOCATE","publish":"device.allocate.requested""#,
        r#""await":"token","call":"lab.v1.LabSteps/Do""#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn any_change_of_what_is_published_changes_the_hash() {
    let hash = good(&saga(STEPS)).hash();
    for (from, to) in [
        ("device.allocate.requested", "device.allocate.wanted"),
        ("reply: device.allocated", "reply: device.found"),
        (", failed: device.allocate.failed", ""),
        (
            "failed: device.allocate.failed",
            "failed: device.allocate.failed, ask_again: 31s",
        ),
        ("    await: token\n", ""),
        ("message: lab.v1.Other", "message: lab.v1.Inner"),
    ] {
        assert!(STEPS.contains(from), "{from}");
        assert_ne!(
            good(&saga(&STEPS.replace(from, to))).hash(),
            hash,
            "{from} -> {to}"
        );
    }
    for (from, to) in [
        ("string device = 1;", "string device = 2;"),
        ("int64 amount = 2;", ""),
    ] {
        assert!(LAB.contains(from), "{from}");
        let steps = STEPS.replace(", amount: 5", "");
        let of = |lab: &str| {
            compile(&saga(&steps), &pool_of(lab), &participants())
                .unwrap()
                .hash()
        };
        assert_ne!(of(&LAB.replace(from, to)), of(LAB), "{from} -> {to}");
    }
}

#[test]
fn a_published_type_may_grow_but_not_change() {
    let old = good(&saga(STEPS));
    let grown = with_lab(&LAB.replace("message Allocated {", "message Allocated {\n  string more = 7;"));
    assert_ne!(old.hash(), grown.hash());
    assert_eq!(wire_compatible(&old, &grown), Ok(()));
    let changed = with_lab(&LAB.replace("int64 amount = 2;", "int32 amount = 2;"));
    assert_eq!(
        wire_compatible(&old, &changed),
        Err(vec![
            "field lab.v1.Requested.amount was int64 and is int32".to_owned()
        ])
    );
}

#[test]
fn the_builder_gives_the_same_definition() {
    let reply = Reply::new("device.allocated", "lab.v1.Allocated").failed("device.allocate.failed");
    let source = Builder::new("LAB", 1, "lab.v1.Everything")
        .deadline_ms(300_000)
        .step(
            Step::new(
                "ALLOCATE",
                Call::publish("device.allocate.requested", "lab.v1.Requested")
                    .with("id", Expr::path("input.id"))
                    .with("amount", Expr::int(5))
                    .await_reply(reply.ask_again_ms(30_000)),
            )
            .compensate(
                Call::publish("device.release", "lab.v1.Release")
                    .with("device", Expr::path_or_default("steps.ALLOCATE.device")),
            ),
        )
        .step(
            Step::new(
                "SHIP",
                Call::new("lab.v1.LabSteps/Do")
                    .with("id", Expr::path("steps.ALLOCATE.device"))
                    .await_token(),
            )
            .pivot(),
        )
        .step(Step::new(
            "TELL",
            Call::publish("notification.send", "lab.v1.Other").with("text", Expr::path("saga.id")),
        ))
        .build();
    let built = check(&source, &pool(), &participants()).unwrap();
    assert_eq!(built.canonical(), good(&saga(STEPS)).canonical());
}
