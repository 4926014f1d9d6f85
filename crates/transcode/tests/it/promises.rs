//! What is promised of any contract, on one that is smaller and odder than ours.

use std::sync::OnceLock;

use http::Method;
use prost_reflect::{DescriptorPool, DynamicMessage, Value as Field};
use proto::access::v1::Access;
use rpc::error::Reason;
use transcode::{BadRequest, Lang, Miss, Problem, Transcoder};

const SERVICE: &str = "promises.v1.PromiseService";

/// Compiles `text` as a file beside the protos of the workspace.
fn compile(text: &str) -> DescriptorPool {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("promises.proto"), text).unwrap();
    let protos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");
    let mut compiler = protox::Compiler::new([dir.path(), protos.as_ref()]).unwrap();
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file("promises.proto").unwrap();
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap()
}

fn promises() -> &'static Transcoder {
    static PROMISES: OnceLock<Transcoder> = OnceLock::new();
    PROMISES.get_or_init(|| Transcoder::new(&compile(include_str!("promises.proto")), &[SERVICE]).unwrap())
}

fn find(query: &str) -> Result<DynamicMessage, BadRequest> {
    let route = promises().route(&Method::GET, "/v1/things").unwrap();
    route.request(Some(query), None)
}

fn put(body: impl AsRef<[u8]>) -> Result<DynamicMessage, BadRequest> {
    let route = promises().route(&Method::PUT, "/v1/things/a").unwrap();
    route.request(None, Some(body.as_ref()))
}

/// A service of methods with these rules, each on a message with the fields a and b.
fn service_of(rules: &[&str]) -> Result<Transcoder, transcode::Error> {
    let methods: String = rules
        .iter()
        .enumerate()
        .map(|(at, rule)| format!("rpc M{at}(M) returns (M) {{ option (google.api.http) = {{{rule}}}; }}\n"))
        .collect();
    let text = format!(
        "syntax = \"proto3\"; package promises.v1; import \"google/api/annotations.proto\";\n\
         service PromiseService {{ {methods} }} message M {{ string a = 1; string b = 2; }}"
    );
    Transcoder::new(&compile(&text), &[SERVICE])
}

#[test]
fn a_verb_is_not_swallowed_by_a_variable() {
    let route = promises().route(&Method::GET, "/v1/things/7:read").unwrap();
    assert_eq!(route.method().name(), "Read");
}

#[test]
fn a_parameter_that_is_zero_counts_as_given() {
    for query in [
        "size=0&size=5",
        "size=0&size=0",
        "id=&id=x",
        "inner.count=0&inner.count=1",
    ] {
        assert!(find(query).is_err(), "{query}");
    }
    assert!(find("tags=a&tags=b").is_ok());
}

#[test]
fn a_query_does_not_fill_two_members_of_a_oneof() {
    for query in ["room.name=a&street.name=b", "street.name=b&room.name=a"] {
        assert!(find(query).is_err(), "{query}");
    }
    assert!(put(r#"{"room": {}, "street": {}}"#).is_err());
}

#[test]
fn an_integer_is_never_another() {
    for (body, count) in [
        (r#"{"count": 9007199254740993}"#, 9_007_199_254_740_993_i64),
        (r#"{"count": "9007199254740993"}"#, 9_007_199_254_740_993),
        (r#"{"count": 1e2}"#, 100),
        (r#"{"count": 9223372036854775807}"#, i64::MAX),
    ] {
        let count_of = put(body)
            .unwrap()
            .get_field_by_name("count")
            .unwrap()
            .into_owned();
        assert_eq!(count_of, Field::I64(count), "{body}");
    }
    // As a float this is 9007199254740992: exact, or refused.
    let near = put(r#"{"count": 9007199254740993.0}"#);
    if let Ok(message) = near {
        let count = message.get_field_by_name("count").unwrap().into_owned();
        assert_eq!(count, Field::I64(9_007_199_254_740_993));
    }
    for body in [
        r#"{"count": 9223372036854775808}"#,
        r#"{"count": 1.5}"#,
        r#"{"size": -1}"#,
    ] {
        assert!(put(body).is_err(), "{body}");
    }
}

#[test]
fn what_the_body_says_of_the_path_must_agree_even_if_empty() {
    assert!(put(r#"{"id": "a"}"#).is_ok());
    assert!(put(r#"{"id": "b"}"#).is_err());
    assert!(put(r#"{"id": ""}"#).is_err());
}

#[test]
fn keys_are_not_repeated_at_any_depth() {
    for body in [
        r#"{"inner": {"inner": {"count": 1, "count": 1}}}"#,
        r#"{"count": 1, "\u0063ount": 2}"#,
    ] {
        assert!(put(body).is_err(), "{body}");
    }
}

#[test]
fn nesting_ends_in_an_error() {
    for depth in [63, 64, 65, 200, 100_000] {
        let body = format!("{}{{}}{}", r#"{"inner":"#.repeat(depth), "}".repeat(depth));
        let read = put(&body);
        assert!(depth < 64 || read.is_err(), "{depth}");
        // What is read can be decoded by the service.
        if let Ok(message) = read {
            let bytes = prost::Message::encode_to_vec(&message);
            assert!(
                DynamicMessage::decode(
                    prost_reflect::ReflectMessage::descriptor(&message),
                    bytes.as_slice()
                )
                .is_ok()
            );
        }
    }
}

#[test]
fn a_path_is_decoded_strictly() {
    let id = |path: &str| {
        let route = promises().route(&Method::GET, path)?;
        let message = route.request(None, None).unwrap();
        let id = message.get_field_by_name("id").unwrap();
        Ok::<_, Miss>(id.as_str().unwrap().to_owned())
    };
    assert_eq!(id("/v1/things/a%2Fb").unwrap(), "a/b");
    assert_eq!(id("/v1/things/a+b").unwrap(), "a+b");
    for path in [
        "/v1/things/%",
        "/v1/things/%f",
        "/v1/things/%zz",
        "/v1/things/%ff",
    ] {
        assert!(matches!(id(path), Err(Miss::BadPath(_))), "{path}");
    }
    for path in ["/v1/things/", "/v1/things/a/", "/v1//things", "v1/things", ""] {
        assert_eq!(id(path), Err(Miss::NotFound), "{path}");
    }
}

#[test]
fn rules_that_want_the_same_request_are_refused() {
    for rules in [
        [r#"get: "/x/{a}""#, r#"get: "/x/{b}""#],
        [r#"get: "/x/{a}""#, r#"get: "/x/{a=*}""#],
        [r#"get: "/x/{a=y/*}""#, r#"get: "/x/y/{b}""#],
    ] {
        assert!(service_of(&rules).is_err(), "{rules:?}");
    }
    // A literal wins, whatever the order.
    for rules in [
        [r#"get: "/x/{a}""#, r#"get: "/x/y""#],
        [r#"get: "/x/y""#, r#"get: "/x/{a}""#],
    ] {
        let transcoder = service_of(&rules).unwrap();
        assert_eq!(transcoder.route(&Method::GET, "/x/y").unwrap().template(), "/x/y");
    }
}

#[test]
fn a_message_that_contains_itself_can_be_shown_for_debugging() {
    let route = promises().route(&Method::GET, "/v1/things/a").unwrap();
    assert!(format!("{route:?}").len() < 10_000);
    let codec = transcode::codec::DynamicCodec::new(route.method().output());
    assert!(format!("{codec:?}").len() < 10_000);
}

#[test]
fn a_time_that_cannot_be_written_is_not_null() {
    let route = promises().route(&Method::GET, "/v1/things/a").unwrap();
    let mut thing = DynamicMessage::new(route.method().output());
    let Field::Message(at) = thing.get_field_by_name_mut("at").unwrap() else {
        panic!("a message")
    };
    at.set_field_by_name("seconds", Field::I64(i64::MAX));
    // Neither a panic nor another value.
    assert!(route.response(&thing).is_err());
}

#[test]
fn a_route_says_who_may_call_and_no_option_is_nobody() {
    let pool = proto::descriptor_pool();
    let services = ["evenkeel.auth.v1.AuthService", "evenkeel.task.v1.TaskService"];
    let ours = Transcoder::new(&pool, &services).unwrap();
    let login = ours.route(&Method::POST, "/api/v1/auth/login").unwrap();
    assert_eq!(login.access(), Access::Public);
    let tasks = ours.route(&Method::GET, "/api/v1/tasks").unwrap();
    assert_eq!(tasks.access(), Access::User);
    let thing = promises().route(&Method::GET, "/v1/things/a").unwrap();
    assert_eq!(thing.access(), Access::Unspecified);
}

#[test]
fn facts_are_added_to_a_problem() {
    let problem = Problem::new(Reason::PayloadTooLarge, "too large", Lang::En, "req_1")
        .with_fact("limit", "1")
        .with_fact("limit", "2");
    let shown: serde_json::Value = serde_json::from_slice(&problem.to_json()).unwrap();
    assert_eq!(shown["metadata"], serde_json::json!({"limit": "2"}));
}
