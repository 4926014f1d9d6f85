//! Any bytes as input and replies of a saga: requests are built from them or refused, and JSON goes there and back.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _};
use saga_definition::{Context, Definition, Participants, SagaContext, compile, decode_json, digest, encode_json};

/// Longest JSON that is read, in bytes.
const MAX_JSON: usize = 16 * 1024;

const TEXTS: [&str; 5] = [
    include_str!("../../services/task/sagas/TASK_RUN.yaml"),
    include_str!("../../services/billing/sagas/PAYMENT.yaml"),
    include_str!("../../services/billing/sagas/PAYMENT_PURCHASE.yaml"),
    include_str!("../../services/billing/sagas/PAYMENT_REFUND.yaml"),
    include_str!("../../services/billing/sagas/WITHDRAWAL.yaml"),
];

static DEFINITIONS: LazyLock<Vec<Definition>> = LazyLock::new(|| {
    let pool = proto::descriptor_pool();
    let compiled = TEXTS.map(|text| compile(text, &pool, &Participants::new(["evenkeel"])));
    compiled.map(|definition| definition.expect("it is registered like this")).into()
});

/// JSON if it begins like an object, the binary encoding otherwise.
fn message(descriptor: &MessageDescriptor, bytes: &[u8]) -> Option<DynamicMessage> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.starts_with('{'));
    let Some(text) = text else {
        return DynamicMessage::decode(descriptor.clone(), bytes).ok();
    };
    let message = decode_json(descriptor, text, MAX_JSON).ok()?;
    if let Ok(text) = encode_json(&message) {
        let again = decode_json(descriptor, &text, 16 * MAX_JSON).expect("what was written can be read");
        assert_eq!(digest(&message).ok(), digest(&again).ok(), "{text}");
    }
    Some(message)
}

// The first byte chooses the definition; the rest is the input and, behind each line break, a reply.
fuzz_target!(|bytes: &[u8]| {
    let Some((which, rest)) = bytes.split_first() else {
        return;
    };
    let definition = &DEFINITIONS[usize::from(*which) % DEFINITIONS.len()];
    let mut parts = rest.split(|byte| *byte == b'\n');
    let Some(input) = parts.next().and_then(|part| message(definition.input(), part)) else {
        return;
    };
    let replies: Vec<Option<DynamicMessage>> = definition
        .steps()
        .iter()
        .map(|step| parts.next().and_then(|part| message(step.call.reply_type(), part)))
        .collect();
    let replies: Vec<Option<&DynamicMessage>> = replies.iter().map(Option::as_ref).collect();
    let context = Context {
        input: &input,
        replies: &replies,
        saga: SagaContext::default(),
    };
    for call in definition.calls() {
        if let Ok(built) = call.with.build(&context) {
            let bytes = built.encode_to_vec();
            DynamicMessage::decode(built.descriptor(), bytes.as_slice()).expect("a request can be read");
        }
    }
    drop(definition.deadline_ms(&input));
    drop(definition.business_id_of(&input));
});
