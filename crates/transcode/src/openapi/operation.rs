//! One binding as an operation.

use http::Method;
use prost_reflect::{FieldDescriptor, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use super::comments::summary;
use super::path::Parameter;
use super::schema::Schemas;
use crate::binding::{Binding, Body, is_plain, structured};
use crate::route::dotted;

/// Statuses that any operation may answer with, from the catalogue and the edge.
const ALWAYS: [u16; 8] = [400, 401, 403, 404, 429, 500, 503, 504];
/// Those of operations with a body.
const WITH_BODY: [u16; 2] = [413, 415];
/// Those of operations that change something: conflicts, and keys that were used for something else.
const CHANGING: [u16; 2] = [409, 422];

/// Every status that a document describes.
pub(super) fn statuses() -> impl Iterator<Item = u16> {
    ALWAYS.into_iter().chain(WITH_BODY).chain(CHANGING)
}

/// Writes an operation. `path` are its path parameters.
pub(super) fn operation(
    binding: &Binding,
    id: &str,
    path: &[Parameter],
    public: bool,
    schemas: &Schemas<'_>,
) -> Json {
    let method = &binding.method;
    let mut parameters: Vec<_> = path.iter().map(Parameter::to_json).collect();
    query(
        binding,
        &method.input(),
        &mut Vec::new(),
        schemas,
        &mut parameters,
    );
    if takes_key(&binding.verb) {
        parameters.push(json!({"$ref": "#/components/parameters/IdempotencyKey"}));
    }
    let mut operation = json!({
        "operationId": id,
        "tags": [method.parent_service().name()],
        "responses": responses(binding, schemas),
    });
    if let Some(comment) = schemas.comments.of(&method.parent_file(), method.path()) {
        operation["summary"] = summary(comment).into();
        operation["description"] = comment.into();
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(schema) = body(binding, schemas) {
        // An empty body is an empty message.
        operation["requestBody"] =
            json!({"required": false, "content": {"application/json": {"schema": schema}}});
    }
    if public {
        operation["security"] = json!([]);
    }
    operation
}

/// True for methods whose requests may carry `Idempotency-Key`.
fn takes_key(verb: &Method) -> bool {
    matches!(*verb, Method::POST | Method::PUT | Method::PATCH)
}

/// Adds a parameter for each field that a query may fill.
fn query(
    binding: &Binding,
    message: &MessageDescriptor,
    above: &mut Vec<FieldDescriptor>,
    schemas: &Schemas<'_>,
    parameters: &mut Vec<Json>,
) {
    for field in message.fields() {
        above.push(field.clone());
        if binding.fills(above) {
            // The path or the body has it.
        } else if let Some(inner) = structured(&field) {
            // A type that contains itself would go on without end.
            let again = above.iter().any(|outer| *outer.parent_message() == inner);
            if !again {
                query(binding, &inner, above, schemas, parameters);
            }
        } else if !field.is_map() && is_plain(&field.kind()) {
            let mut schema = schemas.field(&field);
            let description = schema
                .as_object_mut()
                .and_then(|schema| schema.remove("description"));
            let mut parameter = json!({"name": dotted(above), "in": "query", "schema": schema});
            if let Some(description) = description {
                parameter["description"] = description;
            }
            parameters.push(parameter);
        }
        above.pop();
    }
}

fn body(binding: &Binding, schemas: &Schemas<'_>) -> Option<Json> {
    match &binding.body {
        Body::None => None,
        Body::Field(field) => Some(schemas.field(field)),
        Body::Whole if binding.captures.is_empty() => Some(schemas.message(&binding.method.input())),
        // What the path fills need not be in the body.
        Body::Whole => {
            let in_path =
                |field: &FieldDescriptor| binding.captures.iter().any(|path| *path == [field.clone()]);
            Some(schemas.object(&binding.method.input(), true, |field| !in_path(field)))
        }
    }
}

fn responses(binding: &Binding, schemas: &Schemas<'_>) -> Json {
    let schema = match &binding.response_body {
        Some(field) => schemas.field(field),
        None => schemas.message(&binding.method.output()),
    };
    // A stream is a message a line.
    let streaming = binding.method.is_server_streaming();
    let media_type = if streaming {
        "application/x-ndjson"
    } else {
        "application/json"
    };
    let mut responses = Map::new();
    responses.insert(
        "200".to_owned(),
        json!({"description": "OK", "content": {media_type: {"schema": schema}}}),
    );
    let body: &[u16] = if binding.body == Body::None {
        &[]
    } else {
        &WITH_BODY
    };
    let changing: &[u16] = if binding.verb == Method::GET {
        &[]
    } else {
        &CHANGING
    };
    for status in ALWAYS.iter().chain(body).chain(changing) {
        responses.insert(
            status.to_string(),
            json!({"$ref": format!("#/components/responses/Problem{status}")}),
        );
    }
    responses.insert(
        "default".to_owned(),
        json!({"$ref": "#/components/responses/Problem"}),
    );
    responses.into()
}
