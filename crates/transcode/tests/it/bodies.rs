//! What bodies mean.

use http::Method;
use rstest::rstest;
use serde_json::json;

use crate::world::{edit, request, set_fields};

#[rstest]
#[case(r#"{}"#, json!({}))]
#[case("", json!({}))]
#[case(r#" {"shelf" : "a" } "#, json!({"shelf": "a"}))]
#[case(r#"{"kind": "NOVEL"}"#, json!({"genre": "GENRE_NOVEL"}))]
#[case(r#"{"genre": "GENRE_NOVEL"}"#, json!({"genre": "GENRE_NOVEL"}))]
#[case(r#"{"kind": 2}"#, json!({"genre": "GENRE_SCIENCE"}))]
#[case(r#"{"kind": "UNSPECIFIED"}"#, json!({}))]
#[case(r#"{"odd": "ODD_ONE"}"#, json!({"odd": "ODD_ONE"}))]
#[case(r#"{"pages": 9223372036854775807}"#, json!({"pages": i64::MAX}))]
#[case(r#"{"pages": "-9223372036854775808"}"#, json!({"pages": i64::MIN}))]
#[case(r#"{"pages": 9007199254740993}"#, json!({"pages": 9_007_199_254_740_993_i64}))]
#[case(r#"{"copies": "18446744073709551615"}"#, json!({"copies": u64::MAX}))]
#[case(r#"{"year": 1e3, "volume": 3.0}"#, json!({"year": 1000, "volume": 3}))]
#[case(r#"{"weightKg": 1.5, "price": "2.5"}"#, json!({"weight_kg": 1.5, "price": 2.5}))]
#[case(r#"{"weight_kg": "NaN", "price": "-Infinity"}"#, json!({"weight_kg": "NaN", "price": "-Infinity"}))]
#[case(r#"{"price": 3.4028235e38}"#, json!({"price": f32::MAX}))]
#[case(r#"{"lent": true}"#, json!({"lent": true}))]
#[case(r#"{"cover": "+/8="}"#, json!({"cover": "+/8="}))]
#[case(r#"{"cover": "-_8"}"#, json!({"cover": "+/8="}))]
#[case(r#"{"authors": ["a", "b"]}"#, json!({"authors": ["a", "b"]}))]
#[case(r#"{"authors": null, "ratings": null, "lent": null, "sequel": null}"#, json!({}))]
#[case(r#"{"ratings": {"x": 1}}"#, json!({"ratings": {"x": 1}}))]
#[case(r#"{"parts": {"-1": {"year": 5}}}"#, json!({"parts": {"-1": {"year": 5}}}))]
#[case(r#"{"flags": {"true": "y"}}"#, json!({"flags": {"true": "y"}}))]
#[case(r#"{"publishedAt": "2026-01-31T08:00:00.5+08:00"}"#, json!({"published_at": "2026-01-31T00:00:00.500Z"}))]
#[case(r#"{"loan": "-1.5s"}"#, json!({"loan": "-1.500s"}))]
#[case(r#"{"isbn": "7"}"#, json!({"isbn": 7}))]
#[case(r#"{"isbn": 0}"#, json!({"isbn": 0}))]
#[case(r#"{"mask": "bookId,sequel.weightKg"}"#, json!({"mask": "bookId,sequel.weightKg"}))]
#[case(r#"{"extra": {"a": [1, "b", null, {"c": true}]}}"#, json!({"extra": {"a": [1.0, "b", null, {"c": true}]}}))]
#[case(r#"{"note": null}"#, json!({"note": null}))]
#[case(r#"{"note": [1.5]}"#, json!({"note": [1.5]}))]
#[case(r#"{"tags": [null]}"#, json!({"tags": [null]}))]
#[case(r#"{"subtitle": ""}"#, json!({"subtitle": ""}))]
#[case(r#"{"room": "a", "floor": null}"#, json!({"room": "a"}))]
#[case(r#"{"address": {"city": "x"}}"#, json!({"address": {"city": "x"}}))]
fn a_body_fills_the_request(#[case] body: &str, #[case] mut fields: serde_json::Value) {
    fields["book_id"] = json!("7");
    assert_eq!(set_fields(&edit(body).unwrap()), fields);
}

#[test]
fn an_any_is_read_by_the_type_it_names() {
    let body = r#"{"attachment": {"city": "x", "@type": "type.googleapis.com/library.v1.Address"}}"#;
    let fields = set_fields(&edit(body).unwrap());
    assert_eq!(fields["attachment"]["city"], "x");
    let body = r#"{"attachment": {"@type": "t/google.protobuf.Duration", "value": "3s"}}"#;
    assert_eq!(set_fields(&edit(body).unwrap())["attachment"]["value"], "3s");
}

#[test]
fn a_field_that_the_path_fills_may_say_the_same_in_the_body() {
    for same in [r#"{"bookId": "7"}"#, r#"{"book_id": "7"}"#, r#"{"bookId": null}"#] {
        assert_eq!(set_fields(&edit(same).unwrap()), json!({"book_id": "7"}));
    }
    for other in [r#"{"bookId": "8"}"#, r#"{"book_id": ""}"#] {
        let error = edit(other).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bookId: the body has another value than the path"
        );
    }
}

#[test]
fn a_body_may_fill_one_field_and_the_query_the_others() {
    let create =
        |query, body: &str| request(Method::POST, "/v1/shelves/a/books", query, Some(body.as_bytes()));
    let fields = set_fields(&create(Some("dryRun=true"), r#"{"year": 5}"#).unwrap());
    assert_eq!(
        fields,
        json!({"book": {"shelf": "a", "year": 5}, "dry_run": true})
    );
    let fields = set_fields(&create(None, "").unwrap());
    assert_eq!(fields, json!({"book": {"shelf": "a"}}));

    let error = create(None, r#"{"shelf": "b"}"#).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("book.shelf"));
    let error = create(None, r#"{"sequel": {"year": "x"}}"#).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("book.sequel.year"));
    let error = create(Some("book.year=5"), "{}").unwrap_err();
    assert!(error.message.contains("not a query parameter"), "{error}");
}

#[test]
fn nesting_as_deep_as_allowed_survives_the_wire() {
    use prost::Message as _;
    use prost_reflect::{DynamicMessage, ReflectMessage as _};
    let body = |depth: usize| {
        format!(
            "{{\"extra\": {}0{}}}",
            r#"{"a":"#.repeat(depth),
            "}".repeat(depth)
        )
    };
    let deepest = (1..64)
        .take_while(|depth| edit(body(*depth)).is_ok())
        .last()
        .unwrap();
    assert!(deepest >= 20, "{deepest}");
    let message = edit(body(deepest)).unwrap();
    let again = DynamicMessage::decode(message.descriptor(), message.encode_to_vec().as_slice()).unwrap();
    assert!(again == message);
    let error = edit(body(deepest + 1)).unwrap_err();
    assert_eq!(error.message, "the value is nested too deep");
}
