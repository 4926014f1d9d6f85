//! Random messages, against prost-reflect's own JSON, and random bytes.

use http::Method;
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage as _};
use serde_json::{Value, json};

use crate::world::{edit, library, list};

fn name() -> impl Strategy<Value = String> {
    "[^\0]{0,8}"
}

/// A book as JSON that both we and prost-reflect read.
fn book() -> impl Strategy<Value = Value> {
    let scalars = (
        name(),
        prop_oneof![
            Just("GENRE_UNSPECIFIED"),
            Just("GENRE_NOVEL"),
            Just("GENRE_SCIENCE")
        ],
        any::<i64>(),
        any::<u64>(),
        any::<i32>(),
        any::<u32>(),
        -1e9..1e9_f64,
        any::<bool>(),
    );
    let scalars = scalars.prop_map(|(shelf, kind, pages, copies, year, volume, weight, lent)| {
        json!({"shelf": shelf, "kind": kind, "pages": pages, "copies": copies.to_string(), "year": year,
            "volume": volume, "weightKg": weight, "lent": lent})
    });
    let shapes = (
        prop::collection::vec(name(), 0..4),
        prop::collection::btree_map(name(), any::<i64>(), 0..4),
        -62_135_596_800..253_402_300_799_i64,
        0..999_999_999_i32,
        prop::option::of(any::<i64>()),
        prop::collection::btree_map(name(), prop::collection::vec(-1e9..1e9_f64, 0..3), 0..4),
        prop::option::of(name()),
        prop_oneof![
            Just(json!({})),
            Just(json!({"floor": 0})),
            name().prop_map(|room| json!({"room": room}))
        ],
    );
    let shapes = shapes.prop_map(
        |(authors, ratings, seconds, nanos, isbn, extra, subtitle, place)| {
            let time = prost_types::Timestamp { seconds, nanos }.to_string();
            let mut book = json!({"authors": authors, "ratings": ratings, "publishedAt": time, "isbn": isbn,
            "extra": extra, "subtitle": subtitle});
            merge(&mut book, place);
            book
        },
    );
    let leaf = (scalars, shapes).prop_map(|(mut book, shapes)| {
        merge(&mut book, shapes);
        book
    });
    leaf.prop_recursive(3, 8, 2, |inner| {
        (
            inner.clone(),
            prop::collection::btree_map(any::<i32>().prop_map(|key| key.to_string()), inner, 0..2),
        )
            .prop_map(|(sequel, parts)| json!({"sequel": sequel, "parts": parts}))
    })
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

fn theirs(json: &Value) -> DynamicMessage {
    let book = crate::world::pool()
        .get_message_by_name("library.v1.Book")
        .unwrap();
    DynamicMessage::deserialize(book, json).unwrap()
}

/// Compares what goes over the wire, where a default that was set is the same as one that was not. The messages are not
/// shown by `Debug`, which never ends for types that contain themselves.
fn same(ours: &DynamicMessage, theirs: &DynamicMessage) -> bool {
    over_the_wire(ours) == over_the_wire(theirs)
}

fn over_the_wire(message: &DynamicMessage) -> DynamicMessage {
    DynamicMessage::decode(message.descriptor(), message.encode_to_vec().as_slice()).unwrap()
}

proptest! {
    #[test]
    fn we_read_what_prost_reflect_reads(json in book()) {
        let mut expected = theirs(&json);
        expected.set_field_by_name("book_id", prost_reflect::Value::String("7".to_owned()));
        prop_assert!(same(&edit(json.to_string()).unwrap(), &expected));
    }

    #[test]
    fn what_we_write_is_read_the_same_by_us_and_by_the_wire(json in book()) {
        let message = edit(json.to_string()).unwrap();
        let text = transcode::to_json(&message).unwrap();
        prop_assert!(same(&edit(&text).unwrap(), &message));
        prop_assert_eq!(transcode::to_json(&over_the_wire(&message)).unwrap(), text);
    }

    #[test]
    fn prost_reflect_writes_the_same_apart_from_names_and_fractions(json in book()) {
        let message = edit(json.to_string()).unwrap();
        let options = prost_reflect::SerializeOptions::new().skip_default_fields(false).stringify_64_bit_integers(false);
        // As text, since serde_json reads back some floats one step off.
        let theirs = message.serialize_with_options(serde_json::value::Serializer, &options).unwrap().to_string();
        let theirs: Value = serde_json::from_str(&theirs).unwrap();
        let ours: Value = serde_json::from_slice(&transcode::to_json(&message).unwrap()).unwrap();
        prop_assert_eq!(plain(ours), plain(theirs));
    }

    #[test]
    fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..100)) {
        drop(edit(body));
    }

    #[test]
    fn no_json_panics(
        key in "(shelf|kind|pages|price|cover|authors|ratings|parts|loan|publishedAt|mask|note|attachment|extra|sequel|odd)",
        value in r#"([\[\]{}:,]|"[a-zA-Z@0-9./:-]{0,12}"|-?[0-9]{1,25}(\.[0-9]{1,3})?(e[0-9]{1,9})?|null|true|"@type"){1,8}"#,
    ) {
        drop(edit(format!("{{\"{key}\": {value}}}")));
    }

    #[test]
    fn no_path_or_query_panics(path in ".{0,60}", query in ".{0,60}") {
        for method in [Method::GET, Method::POST, Method::PATCH] {
            if let Ok(route) = library().route(&method, &format!("/v1/{path}")) {
                drop(route.request(Some(&query), None));
            }
        }
        drop(list(&query));
    }

    #[test]
    fn any_id_reaches_the_service_as_it_is(id in "[^\0]{1,20}") {
        let encoded: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let route = library().route(&Method::DELETE, &format!("/v1/books/{encoded}")).unwrap();
        let request = route.request(None, None).unwrap();
        let found = request.get_field_by_name("book_id").unwrap();
        prop_assert_eq!(found.as_str(), Some(id.as_str()));
    }
}

/// Takes the prefix off enum values, and the fraction off numbers that have none.
fn plain(json: Value) -> Value {
    match json {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 => {
                json!(format!("{float}").parse::<i64>().unwrap())
            }
            _ => Value::Number(number),
        },
        Value::String(text) => Value::String(text.strip_prefix("GENRE_").map(str::to_owned).unwrap_or(text)),
        Value::Array(elements) => elements.into_iter().map(plain).collect(),
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| (key, plain(value)))
            .collect(),
        same @ (Value::Null | Value::Bool(_)) => same,
    }
}
