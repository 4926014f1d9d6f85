//! The OpenAPI document.

use std::collections::{BTreeSet, HashSet};

use rstest::rstest;
use serde_json::{Value as Json, json};
use transcode::{Info, OpenApiVersion, Transcoder};

use crate::world::{compile, library};

fn info() -> Info {
    Info {
        title: "Notes".to_owned(),
        version: "1.2.3".to_owned(),
        description: "Keeps *notes*.".to_owned(),
    }
}

fn notes() -> Transcoder {
    Transcoder::new(&compile(include_str!("notes.proto")), &["notes.v1.NoteService"]).unwrap()
}

fn platform() -> Transcoder {
    let pool = proto::descriptor_pool();
    let names: Vec<_> = pool
        .services()
        .map(|service| service.full_name().to_owned())
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    Transcoder::new(&pool, &names).unwrap()
}

fn document(transcoder: &Transcoder, version: OpenApiVersion) -> Json {
    transcoder.openapi(version, &info(), &json!({}))
}

/// Calls `visit` with every object and its place.
fn walk(json: &Json, place: &str, visit: &mut impl FnMut(&str, &serde_json::Map<String, Json>)) {
    match json {
        Json::Object(members) => {
            visit(place, members);
            members
                .iter()
                .for_each(|(name, member)| walk(member, &format!("{place}/{name}"), visit));
        }
        Json::Array(elements) => elements.iter().for_each(|element| walk(element, place, visit)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[test]
fn a_small_service_has_a_document_that_people_can_read() {
    let text = serde_json::to_string_pretty(&document(&notes(), OpenApiVersion::V3_1)).unwrap();
    // The catalogue of reasons is another crate's, and grows.
    let lines = text
        .lines()
        .filter(|line| !line.contains("\"description\": \"Reasons: "));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[rstest]
#[case(OpenApiVersion::V3_1, "3.1.0")]
#[case(OpenApiVersion::V3_0, "3.0.3")]
fn every_binding_is_an_operation_with_an_id_of_its_own(
    #[case] version: OpenApiVersion,
    #[case] number: &str,
) {
    for transcoder in [&platform(), library()] {
        let document = document(transcoder, version);
        assert_eq!(document["openapi"], number);
        let items: Vec<_> = document["paths"].as_object().unwrap().values().collect();
        let operations: Vec<_> = items
            .iter()
            .flat_map(|item| item.as_object().unwrap().values())
            .collect();
        let ids: HashSet<_> = operations
            .iter()
            .map(|operation| operation["operationId"].as_str().unwrap())
            .collect();
        assert_eq!(
            (operations.len(), ids.len()),
            (transcoder.bindings().count(), transcoder.bindings().count())
        );
        for operation in operations {
            assert!(
                operation["summary"]
                    .as_str()
                    .is_some_and(|summary| !summary.is_empty()),
                "{operation}"
            );
            assert!(
                operation["responses"]["200"].is_object() && operation["responses"]["default"].is_object()
            );
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    for transcoder in [&platform(), library()] {
        let document = document(transcoder, OpenApiVersion::V3_1);
        let mut references = 0;
        walk(&document, "", &mut |place, members| {
            if let Some(reference) = members.get("$ref").and_then(Json::as_str) {
                references += 1;
                assert!(
                    document.pointer(reference.trim_start_matches('#')).is_some(),
                    "{place}: {reference}"
                );
            }
        });
        assert!(references > 50, "{references}");
    }
}

#[test]
fn paths_and_their_parameters_agree() {
    for transcoder in [&platform(), library()] {
        let document = document(transcoder, OpenApiVersion::V3_1);
        for (path, item) in document["paths"].as_object().unwrap() {
            let wanted: BTreeSet<_> = path
                .split('{')
                .skip(1)
                .map(|tail| tail.split('}').next().unwrap())
                .collect();
            for operation in item.as_object().unwrap().values() {
                let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
                let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
                let names: Vec<_> = in_path
                    .map(|parameter| parameter["name"].as_str().unwrap())
                    .collect();
                assert_eq!(names.iter().copied().collect::<BTreeSet<_>>(), wanted, "{path}");
                assert_eq!(names.len(), wanted.len(), "{path}");
            }
        }
    }
}

#[test]
fn only_public_methods_need_no_token() {
    let document = document(&platform(), OpenApiVersion::V3_1);
    assert_eq!(document["security"], json!([{"bearerAuth": []}]));
    assert_eq!(
        document["paths"]["/api/v1/auth/login"]["post"]["security"],
        json!([])
    );
    assert_eq!(document["paths"]["/auth/login"]["post"]["security"], json!([]));
    assert_eq!(document["paths"]["/api/v1/tasks"]["post"].get("security"), None);
}

#[test]
fn requests_have_no_other_fields_and_the_body_not_those_of_the_path() {
    let document = document(&platform(), OpenApiVersion::V3_1);
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["CreateTaskRequest"]["additionalProperties"], false);
    assert_eq!(schemas["Task"].get("additionalProperties"), None);
    let cancel = &document["paths"]["/api/v1/tasks/{taskId}/cancel"]["post"];
    let body = &cancel["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["additionalProperties"], false);
    assert_eq!(body["properties"], json!({"reason": {"type": "string"}}));
    assert_eq!(schemas.get("CancelTaskRequest"), None);
}

#[test]
fn names_are_those_of_the_outside() {
    let document = document(&platform(), OpenApiVersion::V3_1);
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        schemas["Task"]["properties"]["status"]["$ref"],
        "#/components/schemas/TaskState"
    );
    assert_eq!(schemas["TaskState"]["enum"][1], "PENDING");
    let list = &document["paths"]["/api/v1/tasks"]["get"]["parameters"];
    let states = list
        .as_array()
        .unwrap()
        .iter()
        .find(|parameter| parameter["name"] == "states")
        .unwrap();
    assert_eq!(
        states["schema"],
        json!({"type": "array", "items": {"$ref": "#/components/schemas/TaskState"}})
    );
    assert_eq!(states["description"], "Empty: any.");
}

#[test]
fn nested_fields_and_several_segments_are_parameters() {
    let document = document(library(), OpenApiVersion::V3_1);
    let list = document["paths"]["/v1/books"]["get"]["parameters"]
        .as_array()
        .unwrap();
    let names: Vec<_> = list
        .iter()
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"filter.since") && names.contains(&"filter.address.city"),
        "{names:?}"
    );
    assert!(
        !names.contains(&"extra") && !names.contains(&"labels") && !names.contains(&"filter"),
        "{names:?}"
    );
    assert!(document["paths"]["/v1/files/{name1}/pages/{name2}"]["get"].is_object());
    assert!(document["paths"]["/v1/shelves/{book.shelf}/books"]["post"].is_object());
    assert!(document["paths"]["/v1/books/{bookId}:edit"]["post"].is_object());
}

#[test]
fn only_what_changes_something_takes_an_idempotency_key() {
    let document = document(library(), OpenApiVersion::V3_1);
    for item in document["paths"].as_object().unwrap().values() {
        for (verb, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let key = json!({"$ref": "#/components/parameters/IdempotencyKey"});
            assert_eq!(
                parameters.contains(&key),
                matches!(verb.as_str(), "post" | "put" | "patch")
            );
        }
    }
}

#[test]
fn equal_names_in_different_packages_stay_apart() {
    let text = r#"syntax = "proto3"; package t; import "google/api/annotations.proto";
        message Problem { Inner.Problem inner = 1; } message Inner { message Problem {} }
        service S { rpc Get(Inner) returns (Problem) { option (google.api.http) = { get: "/a" }; } }"#;
    let document = document(
        &Transcoder::new(&compile(text), &["t.S"]).unwrap(),
        OpenApiVersion::V3_1,
    );
    let names: Vec<_> = document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(
        names.into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from(["Inner.Problem", "Problem", "t.Problem"].map(str::to_owned))
    );
}

#[test]
fn templates_of_one_shape_are_one_path() {
    let text = r#"syntax = "proto3"; package t; import "google/api/annotations.proto";
        message M { string a = 1; string b = 2; }
        service S {
          rpc Get(M) returns (M) { option (google.api.http) = { get: "/x/{a}" }; }
          rpc Put(M) returns (M) { option (google.api.http) = { put: "/x/{b}" body: "*" }; }
        }"#;
    let document = document(
        &Transcoder::new(&compile(text), &["t.S"]).unwrap(),
        OpenApiVersion::V3_1,
    );
    let item = &document["paths"]["/x/{a}"];
    assert!(item["get"].is_object() && item["put"].is_object(), "{item}");
}

#[test]
fn parts_written_by_hand_are_added_and_stay() {
    let extra = json!({
        "paths": {
            "/v1/notes/{noteId}": {"get": {"operationId": "byHand"}},
            "/live": {"get": {"operationId": "live", "responses": {"200": {"content": {"a/b": {"schema": {"type": ["string", "null"]}}}}}}},
        },
        "components": {"schemas": {"Live": {"type": "object"}}},
        "tags": [{"name": "Live"}],
        "externalDocs": {"url": "/docs"},
    });
    let document = notes().openapi(OpenApiVersion::V3_0, &info(), &extra);
    assert_eq!(
        document["paths"]["/v1/notes/{noteId}"]["get"],
        json!({"operationId": "byHand"})
    );
    assert!(document["paths"]["/v1/notes/{noteId}"]["patch"].is_object());
    let schema = &document["paths"]["/live"]["get"]["responses"]["200"]["content"]["a/b"]["schema"];
    assert_eq!(*schema, json!({"type": "string", "nullable": true}));
    assert!(document["components"]["schemas"]["Live"].is_object());
    assert_eq!(document["tags"].as_array().unwrap().len(), 2);
    assert_eq!(document["externalDocs"]["url"], "/docs");
}

#[test]
fn the_older_form_has_nothing_that_it_does_not_know() {
    for transcoder in [&platform(), library()] {
        let document = document(transcoder, OpenApiVersion::V3_0);
        assert_eq!(document.get("jsonSchemaDialect"), None);
        walk(&document, "", &mut |place, members| {
            if place.ends_with("/properties") {
                return;
            }
            assert!(!members.get("type").is_some_and(Json::is_array), "{place}");
            assert!(members.get("type").is_none_or(|name| name != "null"), "{place}");
            assert!(
                !members.contains_key("contentEncoding") && !members.contains_key("const"),
                "{place}"
            );
            assert!(!members.contains_key("examples"), "{place}");
            assert!(!members.contains_key("$ref") || members.len() == 1, "{place}");
        });
    }
}
