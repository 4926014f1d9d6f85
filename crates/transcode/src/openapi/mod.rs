//! The OpenAPI document of a [`Transcoder`].

mod comments;
mod operation;
mod path;
mod schema;
mod v3_0;

use std::collections::{BTreeMap, HashMap, HashSet};

use prost_reflect::MethodDescriptor;
use proto::access::v1::Access;
use rpc::error::Reason;
use serde_json::{Map, Value as Json, json};

use self::comments::Comments;
use self::path::Parameter;
use self::schema::{PROBLEM, Schemas, Types};
use crate::binding::{Binding, Body};
use crate::problem::MEDIA_TYPE;
use crate::template::Segment;
use crate::transcoder::Transcoder;

/// Version of the OpenAPI specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenApiVersion {
    /// 3.1, whose schemas are JSON Schema.
    V3_1,
    /// 3.0, for older tools.
    V3_0,
}

/// What a document says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Name of the API.
    pub title: String,
    /// Version of the API.
    pub version: String,
    /// More about it, in Markdown.
    pub description: String,
}

impl Transcoder {
    /// Writes the document: an operation for each binding, a schema for each type in it. Keys are sorted, so that equal
    /// protos give equal texts.
    ///
    /// `extra` is a part of an OpenAPI 3.1 document with what is not made from protos: its operations,
    /// components and tags are added, any other member replaces the document's. Where both have the same operation or
    /// component, the one written by hand stays. Its operation ids must differ from `Service_Method`.
    #[must_use]
    pub fn openapi(&self, version: OpenApiVersion, info: &Info, extra: &Json) -> Json {
        let comments = match self.bindings.first() {
            Some(binding) => Comments::new(binding.method.parent_pool()),
            None => Comments::default(),
        };
        let types = types(&self.bindings);
        let schemas = Schemas {
            names: types.names(),
            comments: &comments,
        };
        let mut document = json!({
            "openapi": "3.1.0",
            "info": {"title": info.title, "version": info.version, "description": info.description},
            "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
            "servers": [{"url": "/"}],
            "security": [{"bearerAuth": []}],
            "tags": tags(&self.bindings, &comments),
            "paths": paths(&self.bindings, &schemas),
            "components": components(&types, &schemas),
        });
        add(&mut document, extra);
        if version == OpenApiVersion::V3_0 {
            v3_0::downgrade(&mut document);
        }
        sorted(document)
    }
}

fn types(bindings: &[Binding]) -> Types {
    let mut types = Types::default();
    for binding in bindings {
        let input = binding.method.input();
        match &binding.body {
            Body::Whole if binding.captures.is_empty() => types.add_message(&input, true),
            // The message itself is written where it is used.
            Body::Whole | Body::Field(_) | Body::None => {
                input.fields().for_each(|field| types.add_field(&field, true));
            }
        }
        match &binding.response_body {
            Some(field) => types.add_field(field, false),
            None => types.add_message(&binding.method.output(), false),
        }
    }
    types
}

fn tags(bindings: &[Binding], comments: &Comments) -> Json {
    let mut seen = HashSet::new();
    let services = bindings.iter().map(|binding| binding.method.parent_service());
    let services = services.filter(|service| seen.insert(service.full_name().to_owned()));
    let tag = |service: &prost_reflect::ServiceDescriptor| {
        let mut tag = json!({"name": service.name()});
        if let Some(comment) = comments.of(&service.parent_file(), service.path()) {
            tag["description"] = comment.into();
        }
        tag
    };
    services.map(tag).collect()
}

fn paths(bindings: &[Binding], schemas: &Schemas<'_>) -> Map<String, Json> {
    let mut paths = Map::new();
    let mut ids = HashSet::new();
    // Templates of one shape are one path, whatever their variables are called.
    let mut names: HashMap<(&[Segment], Option<&str>), Vec<String>> = HashMap::new();
    for binding in bindings {
        let mut parameters = path::parameters(binding, schemas);
        let shape = (
            binding.template.segments.as_slice(),
            binding.template.verb.as_deref(),
        );
        let own = || {
            parameters
                .iter()
                .map(|parameter| parameter.name.clone())
                .collect()
        };
        let names = names.entry(shape).or_insert_with(own).clone();
        for (parameter, name) in parameters.iter_mut().zip(names) {
            parameter.name = name;
        }
        let path = path::path(
            binding,
            parameters
                .iter()
                .map(|parameter: &Parameter| parameter.name.as_str()),
        );
        let id = unique_id(&binding.method, &mut ids);
        let operation = operation::operation(
            binding,
            &id,
            &parameters,
            binding.access == Access::Public,
            schemas,
        );
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[binding.verb.as_str().to_ascii_lowercase()] = operation;
    }
    paths
}

/// `TaskService_GetTask`; further bindings of it have a number behind.
fn unique_id(method: &MethodDescriptor, taken: &mut HashSet<String>) -> String {
    let first = format!("{}_{}", method.parent_service().name(), method.name());
    let further = (2..).map(|nth: u32| format!("{first}_{nth}"));
    let mut ids = std::iter::once(first.clone()).chain(further);
    let id = ids
        .find(|id| !taken.contains(id))
        .expect("the numbers do not end");
    taken.insert(id.clone());
    id
}

fn components(types: &Types, schemas: &Schemas<'_>) -> Json {
    let mut all = schemas.all(types);
    all.insert(PROBLEM.to_owned(), problem());
    let mut responses = Map::from_iter([(
        "Problem".to_owned(),
        response("Any other failure.".to_owned(), false),
    )]);
    for status in operation::statuses() {
        let reasons: Vec<_> = Reason::ALL
            .into_iter()
            .filter(|reason| reason.http_status() == status)
            .map(Reason::name)
            .collect();
        let description = format!("Reasons: `{}`.", reasons.join("`, `"));
        responses.insert(
            format!("Problem{status}"),
            response(description, matches!(status, 429 | 503)),
        );
    }
    json!({
        "schemas": all,
        "responses": responses,
        "parameters": {
            "IdempotencyKey": {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Makes the request safe to repeat: the same key with the same request gets the same answer.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
            },
        },
        "securitySchemes": {"bearerAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
    })
}

fn response(description: String, retry: bool) -> Json {
    let reference = json!({"$ref": format!("#/components/schemas/{PROBLEM}")});
    let mut response = json!({"description": description, "content": {MEDIA_TYPE: {"schema": reference}}});
    if retry {
        let text = "Seconds after which it makes sense to try again.";
        response["headers"] =
            json!({"Retry-After": {"description": text, "schema": {"type": "integer", "minimum": 1}}});
    }
    response
}

fn problem() -> Json {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "type": "object",
        "description": "A failure (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code", "reason", "domain", "requestId"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "description": "`/errors/` and the reason."},
            "title": text("What the reason means, in English or Chinese by `Accept-Language`."),
            "status": {"type": "integer", "description": "The HTTP status."},
            "detail": text("What went wrong this time."),
            "code": {"type": "integer", "description": "The number of the reason."},
            "reason": text("The name of what went wrong; stable."),
            "domain": text("Who gave the reason."),
            "requestId": text("Id of the request, for questions about it."),
            "metadata": {
                "type": "object",
                "description": "Further facts, for example `field`.",
                "additionalProperties": {"type": "string"},
            },
        },
    })
}

/// Adds a part of a document. An operation, schema or other component in it takes the place of one that is known.
fn add(document: &mut Json, extra: &Json) {
    for (name, part) in extra.as_object().into_iter().flatten() {
        match (name.as_str(), document.get_mut(name), part) {
            ("paths" | "components", Some(Json::Object(known)), Json::Object(part)) => {
                for (name, members) in part
                    .iter()
                    .filter_map(|(name, part)| Some((name, part.as_object()?)))
                {
                    let known = known.entry(name).or_insert_with(|| json!({}));
                    members
                        .iter()
                        .for_each(|(name, member)| known[name] = member.clone());
                }
            }
            ("tags", Some(Json::Array(known)), Json::Array(part)) => known.extend(part.iter().cloned()),
            (name, _, part) => document[name] = part.clone(),
        }
    }
}

/// Puts keys in order, since whether serde_json does it depends on the features of the build.
fn sorted(json: Json) -> Json {
    match json {
        Json::Object(members) => {
            let ordered: BTreeMap<_, _> = members
                .into_iter()
                .map(|(name, part)| (name, sorted(part)))
                .collect();
            ordered.into_iter().collect()
        }
        Json::Array(elements) => elements.into_iter().map(sorted).collect(),
        scalar @ (Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_)) => scalar,
    }
}
