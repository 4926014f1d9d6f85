//! The OpenAPI document.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use transcode::openapi::{Info, Version};

use crate::transcoder;

fn document(version: Version) -> Value {
    let info = Info {
        title: "Evenkeel".to_owned(),
        version: "1".to_owned(),
        description: "d".to_owned(),
    };
    transcoder().openapi(version, &info, &Map::new())
}

fn operations(document: &Value) -> Vec<(&String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .values()
                .map(move |operation| (path, operation))
        })
        .collect()
}

fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[rstest::rstest]
fn every_reference_has_its_schema(#[values(Version::V3_1, Version::V3_0)] version: Version) {
    let document = document(version);
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 20);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(
            document.pointer(pointer).is_some_and(Value::is_object),
            "{reference}"
        );
    }
}

#[test]
fn every_operation_has_an_id_of_its_own_and_says_what_it_does() {
    let document = document(Version::V3_1);
    let operations = operations(&document);
    let ids: BTreeSet<&str> = operations
        .iter()
        .map(|(_, o)| o["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), operations.len());
    for (path, operation) in operations {
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{path}");
        let named = path.matches('{').count();
        let bound = operation["parameters"]
            .as_array()
            .map_or(0, |all| all.iter().filter(|p| p["in"] == "path").count());
        assert_eq!(named, bound, "{path}");
    }
}

#[test]
fn who_may_call_and_what_comes_back_is_said() {
    let document = document(Version::V3_1);
    let login = &document["paths"]["/api/v1/auth/login"]["post"];
    assert_eq!(login["security"], serde_json::json!([]));
    let create = &document["paths"]["/api/v1/tasks"]["post"];
    assert_eq!(create["security"][0]["bearer"], serde_json::json!([]));
    let schema = &create["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(schema["$ref"], "#/components/schemas/Task");
    let task = &document["components"]["schemas"]["Task"];
    assert_eq!(
        task["properties"]["status"]["$ref"],
        "#/components/schemas/TaskState"
    );
    let states = &document["components"]["schemas"]["TaskState"]["enum"];
    assert!(states.as_array().unwrap().contains(&"PENDING".into()));
    let input = &document["components"]["schemas"]["CreateTaskRequest"];
    assert_eq!(input["additionalProperties"], false);
}

#[test]
fn nothing_of_3_1_is_in_3_0() {
    fn look(value: &Value) {
        if let Some(fields) = value.as_object() {
            assert!(!fields.get("type").is_some_and(Value::is_array), "{value}");
            assert!(fields.len() == 1 || !fields.contains_key("$ref"), "{value}");
        }
        match value {
            Value::Object(fields) => fields.values().for_each(look),
            Value::Array(items) => items.iter().for_each(look),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    look(&document(Version::V3_0));
}
