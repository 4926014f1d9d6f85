//! Bodies that must be refused: of the wrong type, cut short, too large, with a key twice, not UTF-8, with unknown fields.

use http::Method;
use rpc::error::Reason;
use rstest::rstest;
use transcode::Position;

use crate::world::{edit, request};

#[rstest]
#[case(r#"{"bookID": "7"}"#, "bookID: there is no such field")]
#[case(r#"{"sequel": {"x": 1}}"#, "sequel.x: there is no such field")]
#[case(r#"{"parts": {"3": {"x": 1}}}"#, "parts.3.x: there is no such field")]
#[case(r#"{"weightKg": 1, "weight_kg": 1}"#, "weight_kg: the field is given twice")]
#[case(
    r#"{"weightKg": 1, "weight_kg": null}"#,
    "weight_kg: the field is given twice"
)]
#[case(r#"[]"#, "an object is expected, not an array")]
#[case(r#"null"#, "an object is expected, not null")]
#[case(r#""x""#, "an object is expected, not \"x\"")]
#[case(r#"{"shelf": 1}"#, "shelf: a string is expected, not 1")]
#[case(r#"{"shelf": {}}"#, "shelf: a string is expected, not an object")]
#[case(r#"{"shelf": "\u0000"}"#, "shelf: the character U+0000 is not allowed")]
#[case(r#"{"lent": "true"}"#, "lent: a boolean is expected, not \"true\"")]
#[case(r#"{"lent": 1}"#, "lent: a boolean is expected, not 1")]
#[case(r#"{"year": "x"}"#, "year: a 32-bit integer is expected, not \"x\"")]
#[case(r#"{"year": ""}"#, "year: a 32-bit integer is expected, not \"\"")]
#[case(r#"{"year": " 1"}"#, "year: a 32-bit integer is expected, not \" 1\"")]
#[case(r#"{"year": true}"#, "year: a 32-bit integer is expected, not a boolean")]
#[case(r#"{"year": 1.5}"#, "year: a 32-bit integer has no fraction")]
#[case(
    r#"{"year": 2147483648}"#,
    "year: the number is out of the range of a 32-bit integer"
)]
#[case(
    r#"{"volume": -1}"#,
    "volume: the number is out of the range of an unsigned 32-bit integer"
)]
#[case(
    r#"{"pages": 9223372036854775808}"#,
    "pages: the number is out of the range of a 64-bit integer"
)]
#[case(r#"{"pages": 9007199254740993.5}"#, "pages: a 64-bit integer has no fraction")]
#[case(
    r#"{"copies": 18446744073709551616}"#,
    "copies: the number is out of the range of an unsigned 64-bit integer"
)]
#[case(r#"{"price": 3.5e38}"#, "price: the number is out of range")]
#[case(r#"{"weightKg": 1e400}"#, "weightKg: the number is out of range")]
#[case(r#"{"weightKg": "inf"}"#, "weightKg: a number is expected, not \"inf\"")]
#[case(r#"{"cover": "*"}"#, "cover: base64 is expected, not \"*\"")]
#[case(r#"{"cover": 1}"#, "cover: a base64 string is expected, not 1")]
#[case(
    r#"{"kind": "novel"}"#,
    "kind: one of UNSPECIFIED, NOVEL, SCIENCE is expected, not \"novel\""
)]
#[case(
    r#"{"kind": 9}"#,
    "kind: one of UNSPECIFIED, NOVEL, SCIENCE is expected, not 9"
)]
#[case(
    r#"{"kind": []}"#,
    "kind: one of UNSPECIFIED, NOVEL, SCIENCE is expected, not an array"
)]
#[case(r#"{"odd": "ONE"}"#, "odd: one of NONE, ODD_ONE is expected, not \"ONE\"")]
#[case(r#"{"authors": "a"}"#, "authors: an array is expected, not \"a\"")]
#[case(r#"{"authors": ["a", 2]}"#, "authors[1]: a string is expected, not 2")]
#[case(r#"{"authors": [null]}"#, "authors[0]: a string is expected, not null")]
#[case(r#"{"ratings": []}"#, "ratings: an object is expected, not an array")]
#[case(
    r#"{"ratings": {"a": null}}"#,
    "ratings.a: a 64-bit integer is expected, not null"
)]
#[case(r#"{"parts": {"x": {}}}"#, "parts.x: a 32-bit integer is expected, not \"x\"")]
#[case(
    r#"{"parts": {"1": {}, "1.0": {}}}"#,
    "parts.1.0: the key \"1.0\" is there in another spelling"
)]
#[case(r#"{"flags": {"yes": "y"}}"#, "flags.yes: a boolean is expected, not \"yes\"")]
#[case(
    r#"{"publishedAt": "2026-01-31"}"#,
    "publishedAt: a time as in RFC 3339 is expected, not \"2026-01-31\""
)]
#[case(
    r#"{"publishedAt": "2026-02-30T00:00:00Z"}"#,
    "publishedAt: a time as in RFC 3339 is expected, not \"2026-02-30T00:00:00Z\""
)]
#[case(
    r#"{"publishedAt": "2026-02-01T25:00:00Z"}"#,
    "publishedAt: a time as in RFC 3339 is expected, not \"2026-02-01T25:00:00Z\""
)]
#[case(r#"{"publishedAt": 0}"#, "publishedAt: a string is expected, not 0")]
#[case(
    r#"{"loan": "1h"}"#,
    "loan: a duration in seconds, for example \"1.5s\" is expected, not \"1h\""
)]
#[case(
    r#"{"loan": "999999999999s"}"#,
    "loan: a duration in seconds, for example \"1.5s\" is expected, not \"999999999999s\""
)]
#[case(
    r#"{"isbn": {"value": 1}}"#,
    "isbn: a 64-bit integer is expected, not an object"
)]
#[case(r#"{"extra": []}"#, "extra: an object is expected, not an array")]
#[case(r#"{"extra": {"a": 1e400}}"#, "extra.a: the number is out of range")]
#[case(
    r#"{"extra": {"a": ["\u0000"]}}"#,
    "extra.a[0]: the character U+0000 is not allowed"
)]
#[case(
    r#"{"extra": {"\u0000": 1}}"#,
    "extra.\\u{0}: the character U+0000 is not allowed"
)]
#[case(r#"{"tags": {}}"#, "tags: an array is expected, not an object")]
#[case(r#"{"nothing": 1}"#, "nothing: one of NULL_VALUE is expected, not 1")]
#[case(
    r#"{"room": "a", "floor": 1}"#,
    "floor: it cannot be given together with room"
)]
#[case(
    r#"{"floor": 0, "address": {}}"#,
    "address: it cannot be given together with floor"
)]
#[case(r#"{"attachment": {}}"#, "attachment: an object with \"@type\" is expected")]
#[case(
    r#"{"attachment": {"@type": "t/x.Y"}}"#,
    "attachment.@type: there is no type \"t/x.Y\""
)]
#[case(
    r#"{"attachment": {"@type": "t/library.v1.Address", "x": 1}}"#,
    "attachment.x: there is no such field"
)]
#[case(
    r#"{"attachment": {"@type": "t/google.protobuf.Duration"}}"#,
    "attachment: \"value\" and nothing else is expected beside \"@type\""
)]
fn content_that_does_not_fit_names_the_field(#[case] body: &str, #[case] text: &str) {
    let error = edit(body).unwrap_err();
    assert_eq!(error.to_string(), text);
    assert_eq!((error.reason, error.position), (Reason::InvalidArgument, None));
}

#[rstest]
#[case(b"{".as_slice(), 1, 2)]
#[case(b"{\"shelf\": \"a\"", 1, 14)]
#[case(b"{\n\"shelf\": \"a\",\n}", 3, 1)]
#[case(b"{\"shelf\": \"a\"}}", 1, 15)]
#[case(b"{\"shelf\": \"\xff\"}", 1, 12)]
#[case(b"\xef\xbb\xbf{}", 1, 1)]
#[case(b" ", 1, 2)]
#[case(b"shelf=a", 1, 1)]
#[case(b"{\"shelf\": \"a\", \"shelf\": \"a\"}", 1, 16)]
#[case(b"{\"extra\": {\"a\": [{\"b\": 1, \"b\": 1}]}}", 1, 27)]
#[case(b"{\"shelf\": 'a'}", 1, 11)]
#[case(b"{\"pages\": NaN}", 1, 11)]
#[case(b"{\"pages\": 0x10}", 1, 12)]
fn bad_syntax_has_a_line_and_a_column(#[case] body: &[u8], #[case] line: usize, #[case] column: usize) {
    let error = edit(body).unwrap_err();
    assert_eq!(
        (error.reason, error.position),
        (Reason::MalformedBody, Some(Position { line, column })),
        "{error}"
    );
}

#[test]
fn every_truncation_of_a_body_is_refused() {
    let body = r#"{"shelf":"书","extra":{"a":[1.5,true,null,"\u00e9"]},"sequel":{"year":-12}}"#;
    assert!(edit(body).is_ok());
    for end in 1..body.len() {
        assert_eq!(
            edit(&body.as_bytes()[..end]).unwrap_err().reason,
            Reason::MalformedBody,
            "{end}"
        );
    }
}

#[test]
fn too_many_values_are_too_large() {
    let body = format!(
        "{{\"tags\": [{}]}}",
        vec!["0"; transcode::MAX_JSON_VALUES].join(",")
    );
    assert_eq!(edit(body).unwrap_err().reason, Reason::PayloadTooLarge);
}

#[test]
fn a_body_that_nests_without_end_is_refused() {
    for opening in ["[", "{\"a\":"] {
        let body = format!("{{\"extra\": {{\"a\": {}", opening.repeat(200_000));
        assert_eq!(edit(body).unwrap_err().reason, Reason::MalformedBody);
    }
}

#[test]
fn a_message_that_nests_in_itself_is_bounded() {
    let nested = |depth: usize| format!("{}{}", r#"{"sequel":"#.repeat(depth) + "{}", "}".repeat(depth));
    assert!(edit(nested(60)).is_ok());
    assert_eq!(edit(nested(100)).unwrap_err().reason, Reason::MalformedBody);
}

#[test]
fn a_body_where_there_is_none_is_refused() {
    for (method, path) in [(Method::GET, "/v1/books"), (Method::DELETE, "/v1/books/7")] {
        let error = request(method.clone(), path, None, Some(b"{}")).unwrap_err();
        assert_eq!(error.to_string(), "this request has no body");
        assert!(request(method, path, None, Some(b"")).is_ok());
    }
}

#[test]
fn long_names_and_values_are_not_sent_back_whole() {
    let long = "x".repeat(100_000);
    for body in [
        format!("{{\"{long}\": 1}}"),
        format!("{{\"year\": \"{long}\"}}"),
        format!("{{\"year\": 1{}.5}}", "0".repeat(1000)),
    ] {
        assert!(edit(body).unwrap_err().to_string().len() < 300);
    }
}
