//! The same document for tools that know OpenAPI 3.0 only: its schemas are not JSON Schema.

use serde_json::{Map, Value as Json, json};

/// Rewrites a document for OpenAPI 3.0.
pub(super) fn downgrade(document: &mut Json) {
    document["openapi"] = "3.0.3".into();
    if let Some(members) = document.as_object_mut() {
        members.remove("jsonSchemaDialect");
        members.remove("webhooks");
    }
    if let Some(schemas) = document
        .pointer_mut("/components/schemas")
        .and_then(Json::as_object_mut)
    {
        schemas.values_mut().for_each(schema);
    }
    within(document);
}

/// Finds the schemas of parameters, headers and bodies.
fn within(part: &mut Json) {
    match part {
        Json::Object(members) => {
            for (name, member) in members {
                match name.as_str() {
                    "schema" => schema(member),
                    // Done already; a property may be called `schema`.
                    "schemas" => {}
                    _ => within(member),
                }
            }
        }
        Json::Array(elements) => elements.iter_mut().for_each(within),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

fn schema(schema: &mut Json) {
    let Json::Object(members) = schema else {
        // `true` is any value.
        if *schema == Json::Bool(true) {
            *schema = json!({});
        }
        return;
    };
    inner(members);
    types(members);
    bounds(members, "exclusiveMinimum", "minimum");
    bounds(members, "exclusiveMaximum", "maximum");
    if let Some(value) = members.remove("const") {
        members.insert("enum".to_owned(), json!([value]));
    }
    if let Some(Json::Array(examples)) = members.remove("examples")
        && let Some(example) = examples.into_iter().next()
    {
        members.insert("example".to_owned(), example);
    }
    if members.remove("contentEncoding").is_some() {
        members.insert("format".to_owned(), "byte".into());
    }
    // A reference has no siblings.
    if members.len() > 1
        && let Some(reference) = members.remove("$ref")
    {
        members.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
    }
}

/// Rewrites the schemas inside of a schema.
fn inner(members: &mut Map<String, Json>) {
    for (keyword, value) in members {
        match (keyword.as_str(), value) {
            ("properties", Json::Object(properties)) => properties.values_mut().for_each(schema),
            ("allOf" | "anyOf" | "oneOf", Json::Array(schemas)) => schemas.iter_mut().for_each(schema),
            // `false` and `true` stay here.
            ("additionalProperties", value @ Json::Object(_)) | ("items" | "not", value) => schema(value),
            _ => {}
        }
    }
}

/// Rewrites `null` and lists of types.
fn types(members: &mut Map<String, Json>) {
    let names = match members.get("type") {
        Some(Json::Array(names)) => names.clone(),
        Some(Json::String(name)) if name == "null" => vec!["null".into()],
        _ => return,
    };
    let (null, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name == "null");
    members.remove("type");
    if !null.is_empty() {
        members.insert("nullable".to_owned(), true.into());
    }
    match others.as_slice() {
        [] => {
            // A value that is never anything but null.
            members.insert("type".to_owned(), "string".into());
            members.insert("enum".to_owned(), json!([null]));
        }
        [one] => {
            members.insert("type".to_owned(), one.clone());
        }
        several => {
            let any: Vec<_> = several.iter().map(|name| json!({"type": name})).collect();
            members.insert("anyOf".to_owned(), any.into());
        }
    }
}

/// Rewrites a bound that is not allowed itself.
fn bounds(members: &mut Map<String, Json>, exclusive: &str, inclusive: &str) {
    if let Some(bound) = members.get(exclusive).filter(|bound| bound.is_number()).cloned() {
        members.insert(inclusive.to_owned(), bound);
        members.insert(exclusive.to_owned(), true.into());
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(json!({"type": ["string", "null"]}), json!({"type": "string", "nullable": true}))]
    #[case(json!({"type": ["string", "integer"]}), json!({"anyOf": [{"type": "string"}, {"type": "integer"}]}))]
    #[case(json!({"type": "null"}), json!({"type": "string", "nullable": true, "enum": [null]}))]
    #[case(json!({"type": "integer", "exclusiveMinimum": 3}), json!({"type": "integer", "minimum": 3, "exclusiveMinimum": true}))]
    #[case(json!({"const": 3}), json!({"enum": [3]}))]
    #[case(json!({"examples": [1, 2]}), json!({"example": 1}))]
    #[case(json!({"type": "string", "contentEncoding": "base64"}), json!({"type": "string", "format": "byte"}))]
    #[case(json!({"$ref": "#/a"}), json!({"$ref": "#/a"}))]
    #[case(json!({"$ref": "#/a", "description": "b"}), json!({"allOf": [{"$ref": "#/a"}], "description": "b"}))]
    #[case(
        json!({"properties": {"type": {"type": ["string", "null"]}, "const": {"const": 1}}}),
        json!({"properties": {"type": {"type": "string", "nullable": true}, "const": {"enum": [1]}}})
    )]
    #[case(json!({"additionalProperties": false, "items": true}), json!({"additionalProperties": false, "items": {}}))]
    fn schemas_say_the_same_in_the_older_form(#[case] mut newer: Json, #[case] older: Json) {
        schema(&mut newer);
        assert_eq!(newer, older);
    }

    #[test]
    fn schemas_are_found_wherever_they_are() {
        let newer = json!({"type": ["string", "null"]});
        let mut document = json!({
            "openapi": "3.1.0",
            "jsonSchemaDialect": "x",
            "paths": {"/a": {"get": {"parameters": [{"name": "type", "schema": newer}]}}},
            "components": {"schemas": {"A": {"properties": {"schema": newer}}}},
        });
        downgrade(&mut document);
        let older = json!({"type": "string", "nullable": true});
        assert_eq!(
            document,
            json!({
                "openapi": "3.0.3",
                "paths": {"/a": {"get": {"parameters": [{"name": "type", "schema": older}]}}},
                "components": {"schemas": {"A": {"properties": {"schema": older}}}},
            })
        );
    }
}
