//! What clients get when something fails.

use std::collections::HashMap;
use std::time::Duration;

use rpc::error::Reason;
use rstest::rstest;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use transcode::{Lang, Problem};

use crate::world::edit;

fn shown(problem: &Problem) -> Value {
    serde_json::from_slice(&problem.to_json()).unwrap()
}

#[test]
fn a_refusal_of_a_service_keeps_its_reason_text_and_facts() {
    let facts = HashMap::from([("available".to_owned(), "1".to_owned())]);
    let status = Reason::QuotaInsufficient.status_with("quota.evenkeel", "3 wanted, 1 available", facts);
    let problem = Problem::from_status(&status, Lang::ZhCn, "req_1");
    assert_eq!(
        shown(&problem),
        json!({
            "type": "/errors/QUOTA_INSUFFICIENT",
            "title": Reason::QuotaInsufficient.text_zh(),
            "status": 403,
            "detail": "3 wanted, 1 available",
            "code": Reason::QuotaInsufficient.number(),
            "reason": "QUOTA_INSUFFICIENT",
            "domain": "quota.evenkeel",
            "requestId": "req_1",
            "metadata": {"available": "1"},
        })
    );
}

#[test]
fn the_edge_speaks_for_itself() {
    let problem = Problem::new(Reason::RouteNotFound, "there is no such path", Lang::En, "req_1");
    assert_eq!(problem.status(), 404);
    let shown = shown(&problem);
    assert_eq!(
        (&shown["domain"], &shown["title"]),
        (&json!("gateway.evenkeel"), &json!("There is no such path"))
    );
    assert_eq!(shown.get("metadata"), None);
}

#[test]
fn every_reason_keeps_its_status_on_the_way_through() {
    for reason in Reason::ALL {
        let problem = Problem::from_status(&reason.status("x.evenkeel", "text"), Lang::En, "req_1");
        assert_eq!((problem.reason, problem.status()), (reason, reason.http_status()));
    }
}

#[rstest]
#[case(Code::Internal)]
#[case(Code::Unknown)]
#[case(Code::DataLoss)]
fn defects_are_not_described(#[case] code: Code) {
    let secret = "password=hunter2 at 10.0.0.7";
    let facts = HashMap::from([("query".to_owned(), secret.to_owned())]);
    let details = ErrorDetails::with_error_info("INTERNAL", secret, facts);
    for status in [
        Status::new(code, secret),
        Status::with_error_details(code, secret, details),
    ] {
        let problem = Problem::from_status(&status, Lang::En, "req_1");
        assert_eq!(problem.reason, Reason::Internal);
        assert!(!shown(&problem).to_string().contains("hunter2"));
    }
}

#[rstest]
#[case(Code::Ok, 500)]
#[case(Code::Cancelled, 504)]
#[case(Code::InvalidArgument, 400)]
#[case(Code::DeadlineExceeded, 504)]
#[case(Code::NotFound, 404)]
#[case(Code::AlreadyExists, 400)]
#[case(Code::PermissionDenied, 403)]
#[case(Code::ResourceExhausted, 429)]
#[case(Code::FailedPrecondition, 400)]
#[case(Code::Aborted, 503)]
#[case(Code::OutOfRange, 400)]
#[case(Code::Unimplemented, 503)]
#[case(Code::Unavailable, 503)]
#[case(Code::Unauthenticated, 401)]
fn a_status_of_a_transport_says_nothing_but_its_kind(#[case] code: Code, #[case] http: u16) {
    let problem = Problem::from_status(&Status::new(code, "connect to 10.0.0.7:7103"), Lang::En, "req_1");
    assert_eq!(problem.status(), http);
    assert!(!shown(&problem).to_string().contains("10.0.0.7"));
}

#[test]
fn a_reason_that_is_not_in_the_catalogue_counts_as_none() {
    let details = ErrorDetails::with_error_info("WHATEVER", "else.example", HashMap::new());
    let status = Status::with_error_details(Code::NotFound, "text", details);
    let problem = Problem::from_status(&status, Lang::En, "req_1");
    assert_eq!(
        (problem.status(), problem.domain.as_str()),
        (404, "gateway.evenkeel")
    );
}

#[rstest]
#[case(Duration::from_millis(1), 1)]
#[case(Duration::ZERO, 1)]
#[case(Duration::from_secs(30), 30)]
#[case(Duration::from_millis(30_001), 31)]
fn the_time_to_wait_is_rounded_up(#[case] delay: Duration, #[case] seconds: u64) {
    let mut details = ErrorDetails::with_retry_info(Some(delay));
    details.set_error_info("RATE_LIMITED", "auth.evenkeel", HashMap::new());
    let status = Status::with_error_details(Code::ResourceExhausted, "too many", details);
    let problem = Problem::from_status(&status, Lang::En, "req_1");
    assert_eq!(
        (problem.status(), problem.retry_after_seconds()),
        (429, Some(seconds))
    );
}

#[test]
fn a_bad_request_says_where() {
    let problem = Problem::from_bad_request(
        &edit(r#"{"sequel": {"year": "x"}}"#).unwrap_err(),
        Lang::En,
        "req_1",
    );
    assert_eq!(shown(&problem)["metadata"], json!({"field": "sequel.year"}));
    let problem = Problem::from_bad_request(&edit("{\n]").unwrap_err(), Lang::En, "req_1");
    assert_eq!(shown(&problem)["metadata"], json!({"line": "2", "column": "1"}));
    assert_eq!((problem.status(), problem.reason), (400, Reason::MalformedBody));
}
