//! Whatever is read, nothing panics.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::DynamicMessage;
use saga_definition::{Context, SagaContext, decode_json, digest, encode_json};

use crate::lab::{compiled, good, one_step, saga};

const TASK_RUN: &str = include_str!("TASK_RUN.yaml");

/// Words that make up definitions, and some that break YAML.
const WORDS: &[&str] = &[
    "saga",
    "version",
    "input",
    "steps",
    "name",
    "call",
    "with",
    "compensate",
    "pivot: true",
    "retriable: true",
    "no_compensation",
    "expires",
    "after",
    "retry",
    "when",
    "probe",
    "publish",
    "message",
    "await",
    "token",
    "reply",
    "failed",
    "ask_again: 30s",
    "kind: tcc",
    "tries",
    "try",
    "confirm",
    "cancel",
    "decide",
    "input.flag",
    "steps.B.flag",
    "a.b",
    "lab.v1.LabSteps/Look",
    "lab.v1.Other",
    "B",
    "deadline: 5m",
    "from",
    "allow_default: true",
    "input.inner.text",
    "steps.A.inner",
    "saga.reason",
    "lab.v1.LabSteps/Do",
    "lab.v1.Everything",
    "A",
    "1",
    "-9223372036854775809",
    "1e999",
    "~",
    "{",
    "}",
    "[",
    "]",
    ": ",
    ", ",
    "- ",
    "\n",
    "\n  ",
    "\n    ",
    "\n      ",
    "'",
    "\"",
    "#",
    "&a ",
    "*a",
    "!!str ",
    "---\n",
    "...\n",
    "|\n",
    ">-\n",
    "? ",
    "%YAML 1.2\n",
    "\t",
    "\u{feff}",
    "\u{0}",
    "\u{85}",
    "ä",
    "<<: ",
    "\\x",
    "\r",
];

proptest! {
    #[test]
    fn any_text(text in "\\PC{0,200}") {
        let _ = compiled(&text);
    }

    #[test]
    fn any_words(words in prop::collection::vec(prop::sample::select(WORDS), 0..60)) {
        let _ = compiled(&words.concat());
    }

    #[test]
    fn any_value(words in prop::collection::vec(prop::sample::select(WORDS), 0..20)) {
        let _ = compiled(&one_step(&format!("inner: {}", words.concat())));
        let _ = compiled(&saga(&format!("  - {}\n", words.concat())));
    }

    #[test]
    fn a_definition_with_pieces_replaced(
        edits in prop::collection::vec((0_usize..2_600, 0_usize..40, prop::sample::select(WORDS)), 1..6)
    ) {
        let mut text: Vec<char> = TASK_RUN.chars().collect();
        for (at, length, word) in edits {
            let start = at.min(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, word.chars());
        }
        let text: String = text.into_iter().collect();
        let _ = saga_definition::compile(
            &text,
            &proto::descriptor_pool(),
            &saga_definition::Participants::new(["evenkeel"]),
        );
    }

    #[test]
    fn definitions_of_every_kind_with_pieces_replaced(
        which in 0..EVERY.len(),
        edits in prop::collection::vec((0_usize..1_600, 0_usize..30, prop::sample::select(WORDS)), 1..5)
    ) {
        check_edited(EVERY[which], &edits)?;
    }

    #[test]
    fn definitions_of_every_kind_with_words_swapped(
        which in 0..EVERY.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(WORDS)), 1..4)
    ) {
        let mut words: Vec<&str> = EVERY[which].split_inclusive([' ', ',', '\n']).collect();
        for (at, word) in &edits {
            let at = at.index(words.len());
            words[at] = word;
        }
        check_edited(&words.concat(), &[])?;
    }

    #[test]
    fn what_compiles_has_a_stable_canonical_text(
        amount in any::<i64>(), text in "\\PC{0,40}", flag in any::<bool>(), number in any::<f64>(), ms in 1_000_u64..100_000_000
    ) {
        let quoted = serde_json::to_string(&text).unwrap();
        let number = if number.is_finite() { format!("{number:e}") } else { "0.5".to_owned() };
        let with = format!("id: {quoted}\ni64: {amount}\nflag: {flag}\nf64: {number}\nwait: {ms}ms\nlabels: {{ {quoted}: {quoted} }}");
        if let Ok(first) = compiled(&one_step(&with)) {
            let again = good(first.canonical());
            prop_assert_eq!(first.canonical(), again.canonical());
            prop_assert_eq!(first.hash(), again.hash());
        }
    }

    #[test]
    fn any_message(bytes in prop::collection::vec(any::<u8>(), 0..200), replies in any::<bool>()) {
        let definition = mapping();
        let decoded = DynamicMessage::decode(definition.input().clone(), bytes.as_slice())
            .unwrap_or_else(|_| DynamicMessage::new(definition.input().clone()));
        build_all(&definition, &decoded, replies);
    }

    #[test]
    fn any_json(words in prop::collection::vec(prop::sample::select(JSON), 0..30)) {
        let definition = mapping();
        let text = format!("{{{}}}", words.concat());
        if let Ok(decoded) = decode_json(definition.input(), &text, 10_000) {
            build_all(&definition, &decoded, true);
            let encoded = encode_json(&decoded);
            if let Ok(text) = encoded {
                let again = decode_json(definition.input(), &text, 100_000).unwrap();
                prop_assert_eq!(digest(&decoded).unwrap(), digest(&again).unwrap());
            }
        }
    }
}

/// Definitions that use every key there is.
const EVERY: &[&str] = &[GRAPH, TCC];

const GRAPH: &str = "saga: GRAPH
version: 1
input: lab.v1.Everything
deadline: 5m
steps:
  - name: C
    after: [A, B]
    publish: device.wanted
    message: lab.v1.Requested
    with: { id: steps.A.id, amount: { from: steps.B.i64, allow_default: true } }
    await: { reply: device.found, message: lab.v1.Allocated, failed: device.lost, ask_again: 5s }
    compensate: { publish: device.release, message: lab.v1.Release }
  - name: A
    after: []
    call: lab.v1.LabSteps/Do
    await: token
    probe: { call: lab.v1.LabSteps/Look, with: { text: input.id } }
    compensate: { call: lab.v1.LabSteps/Undo, with: { id: { from: steps.A.id, allow_default: true } } }
  - name: B
    after: []
    when: input.flag
    expires: 10m
    call: lab.v1.LabSteps/Do
    no_compensation: it only looks
  - name: P
    after: [C]
    when: { from: steps.A.sure, allow_default: true }
    call: lab.v1.LabSteps/Do
    pivot: true
  - { name: D, publish: a.b, message: lab.v1.Other, with: { text: steps.C.device } }
  - { name: E, after: [P], when: input.flag, call: lab.v1.LabSteps/Read, with: { text: steps.B.id } }
on_compensated: { publish: c.d, message: lab.v1.Other, with: { text: saga.error } }
";

const TCC: &str = "saga: TCC
version: 1
input: lab.v1.Everything
deadline: 5m
kind: tcc
tries:
  - name: A
    try: { call: lab.v1.LabSteps/Do, with: { id: input.id } }
    confirm: { call: lab.v1.LabSteps/Finish, with: { id: steps.A.id } }
    cancel: { call: lab.v1.LabSteps/Undo, with: { id: { from: steps.A.id, allow_default: true } } }
  - name: B
    when: input.flag
    after: []
    expires: 30m
    probe: { call: lab.v1.LabSteps/Look }
    try: { call: lab.v1.LabSteps/Do }
    confirm: { publish: b.confirm, message: lab.v1.Other, with: { text: steps.B.id } }
    cancel: { publish: b.cancel, message: lab.v1.Other }
decide: { name: P, call: lab.v1.LabSteps/Do, with: { id: steps.A.id }, probe: { call: lab.v1.LabSteps/Look } }
";

#[test]
fn the_definitions_that_are_mutated_are_right() {
    for text in EVERY {
        good(text);
    }
}

/// Whatever still compiles is its own canonical text, also against nothing but its closure.
fn check_edited(text: &str, edits: &[(usize, usize, &str)]) -> Result<(), TestCaseError> {
    let mut text: Vec<char> = text.chars().collect();
    for (at, length, word) in edits {
        let start = (*at).min(text.len());
        let end = (start + length).min(text.len());
        text.splice(start..end, word.chars());
    }
    let text: String = text.into_iter().collect();
    match compiled(&text) {
        Ok(first) => {
            let stored = prost_reflect::DescriptorPool::decode(first.closure().as_slice())
                .map_err(|error| TestCaseError::fail(error.to_string()))?;
            let again = saga_definition::compile(first.canonical(), &stored, &first.participants())
                .map_err(|problems| TestCaseError::fail(format!("{problems:?} in\n{text}")))?;
            prop_assert_eq!(first.canonical(), again.canonical());
            prop_assert_eq!(first.hash(), again.hash());
        }
        Err(problems) => prop_assert!(!problems.is_empty()),
    }
    Ok(())
}

const JSON: &[&str] = &[
    "\"id\":",
    "\"i32\":",
    "\"inner\":",
    "\"extra\":",
    "\"wait\":",
    "\"at\":",
    "\"any\":",
    "\"labels\":",
    "\"tags\":",
    "\"boxed\":",
    "\"color\":",
    "\"byNumber\":",
    "\"x\"",
    "1",
    "-1",
    "1e400",
    "null",
    "true",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"1\":{}",
    "\"5s\"",
    "\"COLOR_RED\"",
    "\"2026-01-01T00:00:00Z\"",
    "\"@type\":\"type.googleapis.com/lab.v1.Other\"",
    "\"NaN\"",
];

/// A definition that reads every kind of source.
fn mapping() -> saga_definition::Definition {
    use std::sync::OnceLock;
    static DEFINITION: OnceLock<saga_definition::Definition> = OnceLock::new();
    DEFINITION
        .get_or_init(|| {
            good(&format!(
                "{}business_id: input.inner.inner.text\n",
                saga(
                    "  - name: A
    call: lab.v1.LabSteps/Do
    expires: input.wait
    compensate: { call: lab.v1.LabSteps/Undo, with: { inner: { from: steps.A.inner, allow_default: true } } }
    with:
      id: { from: input.inner.inner.text, allow_default: true }
      i64: input.i32
      f64: input.f32
      color: input.color
      extra: { from: input.extra, allow_default: true }
      any: { from: input.any, allow_default: true }
      labels: input.labels
      by_number: { 1: { from: input.inner, allow_default: true } }
      tags: [input.id, { from: input.left, allow_default: true }]
      inners: input.inners
  - name: B
    call: lab.v1.LabSteps/Do
    retriable: true
    with: { maybe: { from: steps.A.maybe, allow_default: true }, numbers: steps.A.numbers, raw: steps.A.raw }
"
                )
                .replace("deadline: 5m", "deadline: input.wait")
            ))
        })
        .clone()
}

fn build_all(definition: &saga_definition::Definition, message: &DynamicMessage, replies: bool) {
    let replies = if replies {
        vec![Some(message), None]
    } else {
        Vec::new()
    };
    let context = Context {
        input: message,
        replies: &replies,
        saga: SagaContext::default(),
    };
    for call in definition.calls() {
        if let Ok(built) = call.with.build(&context) {
            let _ = encode_json(&built);
            let _ = digest(&built);
            let _ = built.encode_to_vec();
        }
    }
    let _ = definition.deadline_ms(message);
    let _ = definition.business_id_of(message);
    for step in definition.steps() {
        let _ = step.expires_ms(&context);
    }
}

/// Steps that each come after all before.
fn dense(steps: usize) -> String {
    let names: Vec<String> = (0..steps).map(|n| format!("S{n}")).collect();
    let step = |n: usize| {
        let keys = format!("name: S{n}, after: [{}]", names[..n].join(","));
        format!("  - {{ {keys}, call: lab.v1.LabSteps/Read, retriable: true }}\n")
    };
    saga(&(0..steps).rev().map(step).collect::<String>())
}

#[test]
fn a_dense_graph_is_reduced_to_its_chain() {
    let definition = good(&dense(100));
    let chain = |(n, step): (usize, &saga_definition::Step)| step.after.iter().copied().eq(n.checked_sub(1));
    assert!(definition.steps().iter().enumerate().all(chain));
}

#[test]
fn hostile_texts_of_full_size_are_refused_soon() {
    let full = saga_definition::MAX_SOURCE_BYTES;
    let fill = |piece: &str| piece.repeat(full / piece.len());
    let texts = [
        fill("["),
        fill("{"),
        fill("- "),
        fill("? "),
        fill("a: "),
        fill("a:\n"),
        fill("\""),
        fill("'a' "),
        fill("&a "),
        fill("!a "),
        fill("k: v\n"),
        fill("#"),
        fill("\n"),
        fill(" "),
        fill("|\n "),
        fill("---\n"),
        fill("{a: b}, "),
        format!("steps:\n{}", fill("- a\n").split_at(full - 100).0),
        format!("steps:\n{}", fill("- {}\n").split_at(full - 100).0),
        saga(&fill("  - {name: A}\n")[..full - 200]),
        one_step(&format!("tags: [{}", &fill("a,")[..full - 400])) + "]",
        one_step(&format!("inners: [{}", &fill("{},")[..full - 400])) + "]",
        (0..6_000).map(|n| format!("key{n}: 1\n")).collect(),
        dense(100),
        saga(&format!(
            "  - {{ name: A, after: [{}] }}\n",
            &fill("A,")[..full - 200]
        )),
        saga(&format!(
            "  - {{ name: A, after: [{}] }}\n",
            &fill("B,")[..full - 200]
        )),
        saga(&fill("  - {publish: a.b, message: lab.v1.Othr}\n")[..full - 200]),
        saga("").replace("steps:", "kind: tcc\ntries:") + &fill("  - {name: A}\n")[..full - 200],
    ];
    for text in texts {
        let start = Instant::now();
        let _ = compiled(&text);
        let shown: String = text.chars().take(12).collect();
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{shown:?} took {:?}",
            start.elapsed()
        );
    }
}
