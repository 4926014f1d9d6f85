//! One way to reach one method.

use http::Method;
use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use proto::access::v1::Access;
use serde_json::{Map, Value, json};

use super::schema::Schemas;
use crate::transcoder::{Binding, Body};

/// Statuses that any method may answer, besides 200: what is wrong with a request, with its caller, with us.
const ERRORS: [(u16, &str); 11] = [
    (400, "The request is wrong."),
    (401, "There is no token, or it is not good."),
    (403, "The caller may not, or has not enough."),
    (404, "There is no such thing."),
    (409, "The state does not allow it, or somebody else has the name."),
    (413, "The body is too large."),
    (415, "The body is not JSON."),
    (
        422,
        "It cannot be carried out, or the Idempotency-Key was used for something else.",
    ),
    (
        429,
        "Too often, or too much at once. `Retry-After` says when to try again.",
    ),
    (
        503,
        "Something is not available. `Retry-After` says when to try again.",
    ),
    (504, "It took too long; it may or may not have taken effect."),
];
/// Levels of nested messages that a query may fill.
const QUERY_LEVELS: usize = 3;

/// Returns the path and the operation.
pub(super) fn write(binding: &Binding, schemas: &mut Schemas) -> (String, Value) {
    let method = &binding.method;
    let comments = comments(method.parent_file().file_descriptor_proto(), method.path());
    let mut operation = Map::new();
    let suffix = if binding.place == 0 {
        String::new()
    } else {
        format!("_{}", binding.place)
    };
    let service = method.parent_service();
    operation.insert(
        "operationId".to_owned(),
        format!("{}_{}{suffix}", service.name(), method.name()).into(),
    );
    operation.insert("tags".to_owned(), json!([service.name()]));
    operation.insert("summary".to_owned(), first_line(&comments).into());
    operation.insert("description".to_owned(), comments.into());
    let parameters = parameters(binding, schemas);
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), parameters.into());
    }
    if let Some(schema) = body(binding, schemas) {
        operation.insert(
            "requestBody".to_owned(),
            json!({"content": {"application/json": {"schema": schema}}}),
        );
    }
    operation.insert("responses".to_owned(), responses(binding, schemas));
    let security = if binding.access == Access::Public {
        json!([])
    } else {
        json!([{"bearer": []}])
    };
    operation.insert("security".to_owned(), security);
    (path(binding), Value::Object(operation))
}

/// The path with its variables as OpenAPI writes them; a variable of several segments is shown by its name alone.
fn path(binding: &Binding) -> String {
    let mut path = String::new();
    let mut rest = binding.text.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, after) = after.split_once('}').unwrap_or((after, ""));
        let name = inside.split('=').next().unwrap_or(inside);
        path.push_str(&format!("{before}{{{name}}}"));
        rest = after;
    }
    path + rest
}

fn parameters(binding: &Binding, schemas: &mut Schemas) -> Vec<Value> {
    let mut found = Vec::new();
    let input = binding.method.input();
    for variable in &binding.template.variables {
        let name = variable.field.join(".");
        let field = field_at(&input, &variable.field);
        let schema = field
            .as_ref()
            .map_or_else(|| json!({"type": "string"}), |field| schemas.of(&field.kind()));
        let text = field.map(|field| field_comments(&field)).unwrap_or_default();
        found.push(
            json!({"name": name, "in": "path", "required": true, "description": text, "schema": schema}),
        );
    }
    if binding.body != Body::Everything {
        query(binding, &input, "", &[], QUERY_LEVELS, schemas, &mut found);
    }
    if matches!(binding.verb, Method::POST | Method::PUT | Method::PATCH) {
        found.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "1 to 255 visible ASCII characters. A repetition with the same key has no second effect.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        }));
    }
    found
}

fn query(
    binding: &Binding,
    message: &MessageDescriptor,
    prefix: &str,
    names: &[String],
    levels: usize,
    schemas: &mut Schemas,
    found: &mut Vec<Value>,
) {
    for field in message.fields() {
        let mut names = names.to_vec();
        names.push(field.name().to_owned());
        let in_path = binding
            .template
            .variables
            .iter()
            .any(|variable| variable.field == names);
        if in_path || binding.body == Body::Field(names.join(".")) || field.is_map() {
            continue;
        }
        let shown = format!("{prefix}{}", field.json_name());
        if let Kind::Message(inner) = field.kind()
            && !inner.full_name().starts_with("google.protobuf.")
        {
            if levels > 1 && !field.is_list() {
                query(
                    binding,
                    &inner,
                    &format!("{shown}."),
                    &names,
                    levels - 1,
                    schemas,
                    found,
                );
            }
            continue;
        }
        let mut schema = schemas.of(&field.kind());
        if field.is_list() {
            schema = json!({"type": "array", "items": schema});
        }
        found.push(json!({
            "name": shown, "in": "query", "required": false, "description": field_comments(&field), "schema": schema
        }));
    }
}

fn body(binding: &Binding, schemas: &mut Schemas) -> Option<Value> {
    let input = binding.method.input();
    match &binding.body {
        Body::Nothing => None,
        Body::Everything => {
            // What the path says need not be said again.
            let bound: Vec<&str> = binding
                .template
                .variables
                .iter()
                .filter(|variable| variable.field.len() == 1)
                .map(|variable| variable.field[0].as_str())
                .collect();
            Some(schemas.request(&input, &bound))
        }
        Body::Field(name) => input
            .get_field_by_name(name)
            .map(|field| schemas.field(&field, true)),
    }
}

fn responses(binding: &Binding, schemas: &mut Schemas) -> Value {
    let output = binding.method.output();
    let shown = binding
        .response_body
        .as_ref()
        .and_then(|name| output.get_field_by_name(name));
    let schema = match shown {
        Some(field) => schemas.field(&field, false),
        None => schemas.response(&output),
    };
    let mut responses = Map::new();
    responses.insert(
        "200".to_owned(),
        json!({"description": "Done.", "content": {"application/json": {"schema": schema}}}),
    );
    let error = |text: &str| {
        json!({
            "description": text,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        })
    };
    for (status, text) in ERRORS {
        responses.insert(status.to_string(), error(text));
    }
    responses.insert("default".to_owned(), error("Anything else that goes wrong."));
    Value::Object(responses)
}

fn field_at(message: &MessageDescriptor, names: &[String]) -> Option<FieldDescriptor> {
    let (name, deeper) = names.split_first()?;
    let field = message.get_field_by_name(name)?;
    if deeper.is_empty() {
        return Some(field);
    }
    field_at(field.kind().as_message()?, deeper)
}

/// Comments of a field.
pub(super) fn field_comments(field: &FieldDescriptor) -> String {
    comments(field.parent_file().file_descriptor_proto(), field.path())
}

/// Comments before what has this path in its file, without the line breaks of the source.
pub(super) fn comments(file: &FileDescriptorProto, path: &[i32]) -> String {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    let found = locations
        .filter(|location| location.path == path)
        .find_map(|location| {
            let text = location.leading_comments.as_deref()?;
            Some(
                text.split('\n')
                    .map(str::trim)
                    .collect::<Vec<_>>()
                    .join(" ")
                    .trim()
                    .to_owned(),
            )
        });
    found.unwrap_or_default()
}

/// First sentence of a text.
pub(super) fn first_line(text: &str) -> String {
    let end = text.find(". ").unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_owned()
}
