//! What replies look like.

use http::Method;
use prost_reflect::{DynamicMessage, Value};
use serde_json::json;

use crate::world::{edit, library, pool};

fn message(name: &str) -> DynamicMessage {
    DynamicMessage::new(pool().get_message_by_name(name).unwrap())
}

fn text(message: &DynamicMessage) -> String {
    String::from_utf8(transcode::to_json(message).unwrap()).unwrap()
}

#[test]
fn fields_without_presence_are_written_and_absent_ones_are_not() {
    insta::assert_snapshot!(text(&message("library.v1.Book")));
}

#[test]
fn everything_is_written_in_its_outside_form() {
    let body = r#"{
        "kind": "SCIENCE", "pages": "9007199254740993", "copies": 18446744073709551615, "weightKg": 2, "price": 0.1,
        "lent": true, "cover": "AP8=", "authors": ["\u0001\"é"], "ratings": {"b": 1, "a": 2}, "parts": {"10": {}, "9": {}},
        "publishedAt": "2026-01-31T08:00:00.120Z", "loan": "1.5s", "isbn": 0, "mask": "bookId,sequel.weightKg",
        "note": null, "tags": [1, 1.5, -0.0, 1e300], "nothing": null, "subtitle": "", "address": {}, "odd": "ODD_ONE",
        "extra": {"z": 1, "a": {"list": [true]}}, "attachment": {"@type": "t/google.protobuf.Duration", "value": "3s"}
    }"#;
    // One member a line.
    insta::assert_snapshot!(text(&edit(body).unwrap()).replace(",\"", ",\n\""));
}

#[test]
fn numbers_are_as_short_as_they_can_be() {
    for (given, written) in [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (-12.5, "-12.5"),
        (9_007_199_254_740_991.0, "9007199254740991"),
        (1e21, "1e+21"),
        (5e-324, "5e-324"),
        (f64::INFINITY, "\"Infinity\""),
        (f64::NEG_INFINITY, "\"-Infinity\""),
        (f64::NAN, "\"NaN\""),
    ] {
        let mut book = message("library.v1.Book");
        book.set_field_by_name("weight_kg", Value::F64(given));
        assert!(
            text(&book).contains(&format!("\"weightKg\":{written},")),
            "{given} {}",
            text(&book)
        );
    }
    let mut book = message("library.v1.Book");
    book.set_field_by_name("price", Value::F32(0.1));
    assert!(text(&book).contains("\"price\":0.1,"));
}

#[test]
fn an_enum_value_of_a_later_version_is_its_number() {
    let mut book = message("library.v1.Book");
    book.set_field_by_name("genre", Value::EnumNumber(77));
    assert!(text(&book).contains("\"kind\":77"));
}

#[test]
fn a_response_body_is_the_whole_answer() {
    let route = library().route(&Method::GET, "/v1/shelves/a/books/7").unwrap();
    let mut reply = message("library.v1.GetBookResponse");
    assert_eq!(route.response(&reply).unwrap(), b"null");
    let mut book = message("library.v1.Book");
    book.set_field_by_name("book_id", Value::String("7".to_owned()));
    reply.set_field_by_name("book", Value::Message(book));
    let answer: serde_json::Value = serde_json::from_slice(&route.response(&reply).unwrap()).unwrap();
    assert_eq!(answer["bookId"], "7");

    let further = library().route(&Method::GET, "/v1/files/x/pages/1").unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&further.response(&reply).unwrap()).unwrap();
    assert_eq!(answer["book"]["bookId"], "7");
}

#[test]
fn an_empty_reply_is_an_empty_object() {
    assert_eq!(text(&message("library.v1.DeleteBookResponse")), "{}");
    assert_eq!(text(&message("google.protobuf.Any")), "{}");
    assert_eq!(text(&message("google.protobuf.Value")), "null");
    assert_eq!(text(&message("google.protobuf.Struct")), "{}");
}

#[test]
fn what_json_cannot_say_is_an_error() {
    let mut time = message("google.protobuf.Timestamp");
    time.set_field_by_name("seconds", Value::I64(i64::MAX));
    assert!(transcode::to_json(&time).is_err());

    let mut any = message("google.protobuf.Any");
    any.set_field_by_name("type_url", Value::String("t/x.Y".to_owned()));
    assert!(
        transcode::to_json(&any)
            .unwrap_err()
            .to_string()
            .contains("its type is unknown")
    );

    let mut value = message("google.protobuf.Value");
    value.set_field_by_name("number_value", Value::F64(f64::NAN));
    assert!(
        transcode::to_json(&value)
            .unwrap_err()
            .to_string()
            .contains("not finite")
    );
}

#[test]
fn anys_inside_of_each_other_are_bounded() {
    use prost::Message as _;
    let wrap = |inner: &DynamicMessage| {
        let mut any = message("google.protobuf.Any");
        any.set_field_by_name("type_url", Value::String("t/google.protobuf.Any".to_owned()));
        any.set_field_by_name("value", Value::Bytes(inner.encode_to_vec().into()));
        any
    };
    let mut any = message("google.protobuf.Any");
    for _ in 0..4 {
        any = wrap(&any);
    }
    assert!(transcode::to_json(&any).is_ok());
    for _ in 0..500 {
        any = wrap(&any);
    }
    assert!(transcode::to_json(&any).is_err());
}

#[test]
fn a_task_says_status_without_prefix() {
    let pool = proto::descriptor_pool();
    let transcoder = transcode::Transcoder::new(&pool, &["evenkeel.task.v1.TaskService"]).unwrap();
    let route = transcoder.route(&Method::POST, "/api/v1/tasks").unwrap();
    let mut task = DynamicMessage::new(pool.get_message_by_name("evenkeel.task.v1.Task").unwrap());
    task.set_field_by_name("state", Value::EnumNumber(1));
    task.set_field_by_name("amount", Value::I64(3));
    let mut reply = DynamicMessage::new(route.method().output());
    reply.set_field_by_name("task", Value::Message(task));
    let answer: serde_json::Value = serde_json::from_slice(&route.response(&reply).unwrap()).unwrap();
    assert_eq!(
        (&answer["status"], &answer["amount"]),
        (&json!("PENDING"), &json!(3))
    );
}
