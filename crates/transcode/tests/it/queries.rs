//! What queries mean.

use http::Method;
use rstest::rstest;
use serde_json::json;

use crate::world::{list, request, set_fields};

#[rstest]
#[case("", json!({}))]
#[case("&&", json!({}))]
#[case("pageSize=10&page_token=a%20b+c%2B", json!({"page_size": 10, "page_token": "a b c+"}))]
#[case("pageToken=", json!({}))]
#[case("pageToken=a=b", json!({"page_token": "a=b"}))]
#[case("kinds=NOVEL&genres=GENRE_SCIENCE&kinds=0", json!({"genres": ["GENRE_NOVEL", "GENRE_SCIENCE", "GENRE_UNSPECIFIED"]}))]
#[case("filter.author=x&filter.years=1&filter.years=-2", json!({"filter": {"author": "x", "years": [1, -2]}}))]
#[case("filter.since=2026-01-31T08:00:00%2B08:00", json!({"filter": {"since": "2026-01-31T00:00:00Z"}}))]
#[case("filter.address.city=x", json!({"filter": {"address": {"city": "x"}}}))]
#[case("lent=false", json!({"lent": false}))]
#[case("loan=1.5s", json!({"loan": "1.500s"}))]
#[case("year=0", json!({"year": 0}))]
#[case("mask=bookId,shelf", json!({"mask": "bookId,shelf"}))]
#[case("cover=-_8", json!({"cover": "+/8="}))]
#[case("weight=1e2", json!({"weight": 100.0}))]
#[case("weight=Infinity", json!({"weight": "Infinity"}))]
#[case("after=9223372036854775807", json!({"after": i64::MAX}))]
fn a_query_fills_what_nothing_else_does(#[case] query: &str, #[case] fields: serde_json::Value) {
    assert_eq!(set_fields(&list(query).unwrap()), fields);
}

#[rstest]
#[case("x=1", "x: there is no such query parameter")]
#[case("PageSize=1", "PageSize: there is no such query parameter")]
#[case("filter.x=1", "filter.x: there is no such query parameter")]
#[case("pageSize.x=1", "pageSize.x: there is no such query parameter")]
#[case(
    "filter.since.seconds=1",
    "filter.since.seconds: there is no such query parameter"
)]
#[case("=1", "there is no such query parameter")]
#[case("filter=x", "filter: a query cannot hold this field")]
#[case("extra=x", "extra: a query cannot hold this field")]
#[case("labels.a=x", "labels.a: there is no such query parameter")]
#[case("labels=x", "labels: a query cannot hold this field")]
#[case(
    "pageSize=1&page_size=2",
    "pageSize: it is given twice, the second time as \"2\""
)]
#[case(
    "pageSize=0&pageSize=0",
    "pageSize: it is given twice, the second time as \"0\""
)]
#[case(
    "filter.author=a&filter.author=b",
    "filter.author: it is given twice, the second time as \"b\""
)]
#[case("pageSize=", "pageSize: an unsigned 32-bit integer is expected, not \"\"")]
#[case(
    "pageSize=-1",
    "pageSize: the number is out of the range of an unsigned 32-bit integer"
)]
#[case("pageSize=1.5", "pageSize: an unsigned 32-bit integer has no fraction")]
#[case(
    "pageSize=%201",
    "pageSize: an unsigned 32-bit integer is expected, not \" 1\""
)]
#[case("lent=1", "lent: a boolean is expected, not \"1\"")]
#[case("lent", "lent: a boolean is expected, not \"\"")]
#[case("kinds=x", "kinds: one of UNSPECIFIED, NOVEL, SCIENCE is expected, not \"x\"")]
#[case(
    "kinds=NOVEL,SCIENCE",
    "kinds: one of UNSPECIFIED, NOVEL, SCIENCE is expected, not \"NOVEL,SCIENCE\""
)]
#[case(
    "filter.room=a&filter.address.city=b",
    "filter.address.city: it cannot be given together with room"
)]
#[case(
    "filter.address.city=b&filter.room=a",
    "filter.room: it cannot be given together with address"
)]
#[case(
    "pageToken=%",
    "pageToken: a percent sign must be followed by two hexadecimal digits"
)]
#[case("pageToken=%ff", "pageToken: the decoded text is not UTF-8")]
#[case("pageToken=%00", "pageToken: the character U+0000 is not allowed")]
#[case("%ff=1", "a key of the query is malformed: the decoded text is not UTF-8")]
fn a_query_that_does_not_fit_names_the_parameter(#[case] query: &str, #[case] text: &str) {
    let error = list(query).unwrap_err();
    let shown = error.to_string();
    assert_eq!(shown.trim_start_matches(": "), text);
    assert_eq!(error.reason.http_status(), 400);
}

#[rstest]
#[case(Method::PATCH, "/v1/books/7", "shelf=a")]
#[case(Method::DELETE, "/v1/books/7", "bookId=7")]
#[case(Method::DELETE, "/v1/books/7", "book_id=8")]
#[case(Method::POST, "/v1/shelves/a/books", "book.shelf=a")]
#[case(Method::POST, "/v1/shelves/a/books", "book.year=5")]
fn a_query_cannot_fill_what_path_or_body_do(#[case] method: Method, #[case] path: &str, #[case] query: &str) {
    let error = request(method, path, Some(query), None).unwrap_err();
    assert!(error.message.contains("not a query parameter here"), "{error}");
}
