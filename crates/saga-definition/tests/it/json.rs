//! Proto-JSON: bounds, determinism, digests.

use saga_definition::{JsonError, decode_json, digest, encode_json};

use crate::lab::pool;

fn everything() -> prost_reflect::MessageDescriptor {
    pool()
        .get_message_by_name("lab.v1.Everything")
        .expect("the lab has it")
}

#[test]
fn a_message_survives_the_way_there_and_back() {
    let text = concat!(
        r#"{"any":{"@type":"type.googleapis.com/lab.v1.Other","text":"x"},"at":"2026-01-02T03:04:05Z","#,
        r#""byNumber":{"1":{"text":"a"},"2":{}},"color":"COLOR_RED","extra":{"a":[1.0,null,{"b":true}]},"f32":0.1,"#,
        r#""i64":"-9007199254740993","labels":{"a":"1","b":"2"},"raw":"AAE=","wait":"1.500s"}"#
    );
    let message = decode_json(&everything(), text, 10_000).unwrap();
    assert_eq!(encode_json(&message).unwrap(), text);
}

#[test]
fn equal_messages_give_equal_texts_and_digests() {
    let forward: String = (0..50).map(|n| format!(r#""k{n}":"{n}","#)).collect();
    let backward: String = (0..50).rev().map(|n| format!(r#""k{n}":"{n}","#)).collect();
    let of = |entries: &str| {
        let text = format!(r#"{{"labels":{{{}}},"id":"x"}}"#, entries.trim_end_matches(','));
        decode_json(&everything(), &text, 10_000).unwrap()
    };
    let (a, b) = (of(&forward), of(&backward));
    assert_eq!(encode_json(&a).unwrap(), encode_json(&b).unwrap());
    assert_eq!(digest(&a).unwrap(), digest(&b).unwrap());
    let other = decode_json(&everything(), r#"{"id":"y"}"#, 100).unwrap();
    assert_ne!(digest(&a).unwrap(), digest(&other).unwrap());
}

#[test]
fn the_digest_is_over_sorted_keys() {
    use sha2::Digest as _;
    let message = decode_json(&everything(), r#"{"u32":3,"i32":2,"flag":true}"#, 100).unwrap();
    let expected: [u8; 32] = sha2::Sha256::digest(br#"{"flag":true,"i32":2,"u32":3}"#).into();
    assert_eq!(digest(&message).unwrap(), expected);
}

#[test]
fn a_text_above_the_bound_is_not_read() {
    let text = format!(r#"{{"id":"{}"}}"#, "x".repeat(100));
    let error = decode_json(&everything(), &text, 50).unwrap_err();
    assert!(matches!(
        error,
        JsonError::TooLarge {
            found_bytes: 109,
            max_bytes: 50
        }
    ));
    assert_eq!(
        error.to_string(),
        "the JSON text has 109 bytes; at most 50 are read"
    );
}

#[test]
fn what_is_not_of_the_type_is_an_error() {
    for text in [
        "",
        "{",
        "null",
        "[]",
        "1",
        r#"{"nope":1}"#,
        r#"{"i32":"x"}"#,
        r#"{"i32":3000000000}"#,
        r#"{"id":1}"#,
        r#"{"id":"a"} {}"#,
        r#"{"left":"a","right":"b"}"#,
        r#"{"wait":"x"}"#,
        r#"{"color":"NO_COLOR"}"#,
    ] {
        assert!(
            matches!(
                decode_json(&everything(), text, 1_000),
                Err(JsonError::Malformed { .. })
            ),
            "{text}"
        );
    }
    let deep = format!(
        r#"{{"extra":{{"a":{}1{}}}}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    assert!(matches!(
        decode_json(&everything(), &deep, 100_000),
        Err(JsonError::Malformed { .. })
    ));
}

#[test]
fn what_json_cannot_say_is_an_error_and_no_panic() {
    use prost_reflect::{DynamicMessage, Value};
    // Duration of 2^62 seconds; Any of unknown type; NaN inside a Struct.
    let wait = {
        let mut wait = DynamicMessage::new(pool().get_message_by_name("google.protobuf.Duration").unwrap());
        wait.set_field_by_name("seconds", Value::I64(1 << 62));
        ("wait", wait)
    };
    let any = {
        let mut any = DynamicMessage::new(pool().get_message_by_name("google.protobuf.Any").unwrap());
        any.set_field_by_name(
            "type_url",
            Value::String("type.googleapis.com/no.Such".to_owned()),
        );
        ("any", any)
    };
    for (field, value) in [wait, any] {
        let mut message = DynamicMessage::new(everything());
        message.set_field_by_name(field, Value::Message(value));
        assert!(
            matches!(encode_json(&message), Err(JsonError::Unwritable { .. })),
            "{field}"
        );
        assert!(
            matches!(digest(&message), Err(JsonError::Unwritable { .. })),
            "{field}"
        );
    }
}
