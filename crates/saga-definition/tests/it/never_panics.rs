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
