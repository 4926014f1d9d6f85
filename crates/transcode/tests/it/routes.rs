//! Which method answers which path.

use http::Method;
use rstest::rstest;
use transcode::{Error, Miss, Transcoder};

use crate::world::{LIBRARY, compile, library, pool};

#[rstest]
#[case("GET", "/v1/shelves/a/books/7", "GetBook", &["shelf=a", "book_id=7"])]
#[case("GET", "/v1/shelves/a%2Fb/books/%E4%B9%A6", "GetBook", &["shelf=a/b", "book_id=书"])]
#[case("GET", "/v1/files/x/pages/1/2", "GetBook", &["name=files/x/pages/1/2"])]
#[case("GET", "/v1/files/x%2Fy/pages/1%202", "GetBook", &["name=files/x%2Fy/pages/1 2"])]
#[case("GET", "/v1/files/x/pages", "GetBook", &["name=files/x/pages"])]
#[case("GET", "/v1/books", "ListBooks", &[])]
#[case("GET", "/v%31/books", "ListBooks", &[])]
#[case("GET", "/v1/books:watch", "WatchBooks", &[])]
#[case("PATCH", "/v1/books/a:b", "EditBook", &["book_id=a:b"])]
#[case("POST", "/v1/books/a:b:edit", "EditBook", &["book_id=a:b"])]
#[case("DELETE", "/v1/books/%2e%2e", "DeleteBook", &["book_id=.."])]
fn a_path_finds_its_method_and_fills_its_variables(
    #[case] method: &str,
    #[case] path: &str,
    #[case] name: &str,
    #[case] variables: &[&str],
) {
    let route = library().route(&method.parse().unwrap(), path).unwrap();
    assert_eq!(route.method().name(), name);
    assert_eq!(*route.grpc_path(), *format!("/{LIBRARY}/{name}"));
    assert_eq!(route.server_streaming(), name == "WatchBooks");
    let found: Vec<_> = route
        .variables()
        .map(|(name, text)| format!("{name}={text}"))
        .collect();
    assert_eq!(found, variables);
}

#[test]
fn the_template_names_a_route_without_ids() {
    let route = library().route(&Method::GET, "/v1/files/x/pages/1/2").unwrap();
    assert_eq!(route.template(), "/v1/{name=files/*/pages/**}");
}

#[rstest]
#[case("")]
#[case("/")]
#[case("*")]
#[case("v1/books")]
#[case("/v1/books/")]
#[case("//v1/books")]
#[case("/v1//books")]
#[case("/v1/books/7/8")]
#[case("/v1/files/x/pages/")]
#[case("/v1/files/x/pages//1")]
#[case("/V1/books")]
#[case("/v1/books%2F7")]
#[case("/v1/books%3Awatch")]
#[case("/v1/:watch")]
fn a_path_that_fits_no_template_is_not_found(#[case] path: &str) {
    assert_eq!(library().route(&Method::GET, path).unwrap_err(), Miss::NotFound);
}

#[rstest]
#[case("DELETE", "/v1/books", &["GET", "HEAD"])]
#[case("GET", "/v1/books/7", &["DELETE", "PATCH"])]
#[case("GET", "/v1/books/7:edit", &["POST"])]
#[case("OPTIONS", "/v1/books", &["GET", "HEAD"])]
#[case("HEAD", "/v1/books", &["GET", "HEAD"])]
#[case("BREW", "/v1/books", &["GET", "HEAD"])]
fn another_method_learns_which_there_are(#[case] method: &str, #[case] path: &str, #[case] allowed: &[&str]) {
    let miss = library().route(&method.parse().unwrap(), path).unwrap_err();
    let allowed = allowed.iter().map(|name| name.parse().unwrap()).collect();
    assert_eq!(miss, Miss::MethodNotAllowed(allowed));
}

#[rstest]
#[case("/v1/books/%")]
#[case("/v1/books/%4")]
#[case("/v1/books/%zz")]
#[case("/v1/books/%ff")]
#[case("/v1/books/%00")]
#[case("/nowhere/%zz")]
fn a_path_that_is_not_encoded_properly_is_a_bad_request(#[case] path: &str) {
    let miss = library().route(&Method::PATCH, path).unwrap_err();
    assert!(
        matches!(&miss, Miss::BadPath(bad) if bad.reason.http_status() == 400),
        "{miss:?}"
    );
}

#[test]
fn every_service_of_the_platform_can_be_served() {
    let pool = proto::descriptor_pool();
    let names: Vec<_> = pool
        .services()
        .map(|service| service.full_name().to_owned())
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let transcoder = Transcoder::new(&pool, &names).unwrap();
    for (method, template, _) in transcoder.bindings() {
        let path = template.replace(['{', '}'], "");
        let route = transcoder.route(method, &path).unwrap();
        // A variable's text may be a literal elsewhere, but not with this name.
        assert_eq!(route.template(), template);
    }
    assert!(transcoder.bindings().count() > 30);
}

#[test]
fn a_list_does_not_hide_behind_a_variable() {
    let pool = proto::descriptor_pool();
    let transcoder = Transcoder::new(
        &pool,
        &["evenkeel.saga.v1.SagaService", "evenkeel.saga.v1.OperatorService"],
    )
    .unwrap();
    let metrics = transcoder
        .route(&Method::GET, "/api/v1/admin/sagas/metrics")
        .unwrap();
    assert_eq!(metrics.method().name(), "GetStatus");
    let saga = transcoder
        .route(&Method::GET, "/api/v1/admin/sagas/saga_7")
        .unwrap();
    assert_eq!(saga.method().name(), "GetSaga");
}

/// A service `t.S` with these methods over messages with some fields.
fn service(methods: &str) -> Result<Transcoder, Error> {
    let text = format!(
        r#"syntax = "proto3"; package t; import "google/api/annotations.proto";
        message M {{ string a = 1; M m = 2; repeated string r = 3; map<string, string> p = 4; oneof o {{ string x = 5; string y = 6; }} }}
        service S {{ {methods} }}"#
    );
    Transcoder::new(&compile(&text), &["t.S"])
}

fn unary(rules: &[&str]) -> String {
    let method = |(index, rule): (usize, &&str)| {
        format!("rpc M{index}(M) returns (M) {{ option (google.api.http) = {{ {rule} }}; }}\n")
    };
    rules.iter().enumerate().map(method).collect()
}

#[rstest]
#[case(&["body: \"*\""], "it has no method")]
#[case(&["get: \"/a\" additional_bindings { get: \"/b\" additional_bindings { get: \"/c\" } }"], "do not nest")]
#[case(&["get: \"a\""], "begins with a slash")]
#[case(&["get: \"/{a\""], "brace")]
#[case(&["get: \"/a\" body: \"*\""], "have no body")]
#[case(&["delete: \"/a\" body: \"m\""], "have no body")]
#[case(&["post: \"/a\" body: \"q\""], "t.M has no field q")]
#[case(&["get: \"/a\" response_body: \"q\""], "t.M has no field q")]
#[case(&["get: \"/{q}\""], "t.M has no field q")]
#[case(&["get: \"/{m.q}\""], "t.M has no field q")]
#[case(&["get: \"/{m}\""], "cannot fill m")]
#[case(&["get: \"/{r}\""], "cannot fill r")]
#[case(&["get: \"/{p}\""], "cannot fill p")]
#[case(&["get: \"/{a.b}\""], "cannot fill a.b")]
#[case(&["get: \"/{x}/{y}\""], "oneof")]
#[case(&["get: \"/b/{a}\"", "get: \"/b/{x}\""], "t.S.M0 and t.S.M1 both want GET")]
#[case(&["get: \"/b/{a}\"", "get: \"/{x=b/*}\""], "both want")]
#[case(&["get: \"/b\" additional_bindings { get: \"/b\" }"], "t.S.M0 and t.S.M0 both want")]
fn what_cannot_be_served_is_refused_at_the_start(#[case] rules: &[&str], #[case] problem: &str) {
    let error = service(&unary(rules)).unwrap_err().to_string();
    assert!(error.contains(problem), "{error}");
}

#[test]
fn a_stream_of_requests_cannot_be_served() {
    let error = service(r#"rpc Put(stream M) returns (M) { option (google.api.http) = { put: "/a" }; }"#)
        .unwrap_err();
    assert!(error.to_string().contains("streams requests"), "{error}");
}

#[test]
fn unknown_services_and_descriptors_without_annotations_are_refused() {
    let error = Transcoder::new(&pool(), &["library.v1.Nowhere"]).unwrap_err();
    assert_eq!(error, Error::UnknownService("library.v1.Nowhere".to_owned()));
    let bare = compile("syntax = \"proto3\"; package t; service S {}");
    assert_eq!(
        Transcoder::new(&bare, &["t.S"]).unwrap_err(),
        Error::NoAnnotations
    );
}

#[test]
fn routes_of_types_that_contain_themselves_can_be_shown() {
    let route = library().route(&Method::DELETE, "/v1/books/7").unwrap();
    let codec = transcode::codec::DynamicCodec::new(
        library()
            .route(&Method::GET, "/v1/books")
            .unwrap()
            .method()
            .output(),
    );
    let shown = format!("{:?} {route:?} {codec:?}", library());
    assert!(
        shown.contains("DELETE /v1/books/{book_id} -> library.v1.LibraryService.DeleteBook"),
        "{shown}"
    );
}
