//! The OpenAPI document of the routes, in 3.1 and in 3.0.
//!
//! Everything in it comes from the descriptors: paths, fields, types, comments. What is written by hand elsewhere (a WebSocket,
//! say) is handed in as finished path items.

mod operation;
mod schema;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::Transcoder;
use schema::Schemas;

/// Version of the OpenAPI specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1, with JSON Schema 2020-12.
    V3_1,
    /// 3.0, for older tools.
    V3_0,
}

/// What the document says of the whole.
#[derive(Debug, Clone)]
pub struct Info {
    /// Name of the API.
    pub title: String,
    /// Its version.
    pub version: String,
    /// What it is, in Markdown.
    pub description: String,
}

impl Transcoder {
    /// Writes the document. `more` are path items by path, in the same version; they win over nothing, since no two may have
    /// the same path and method.
    #[must_use]
    pub fn openapi(&self, version: Version, info: &Info, more: &Map<String, Value>) -> Value {
        let mut schemas = Schemas::new(version);
        let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        let mut tags: BTreeMap<String, String> = BTreeMap::new();
        for binding in &self.bindings {
            let service = binding.method.parent_service();
            tags.entry(service.name().to_owned()).or_insert_with(|| {
                operation::first_line(&operation::comments(
                    service.parent_file().file_descriptor_proto(),
                    service.path(),
                ))
            });
            let (path, operation) = operation::write(binding, &mut schemas);
            let verb = binding.verb.as_str().to_ascii_lowercase();
            paths.entry(path).or_default().insert(verb, operation);
        }
        for (path, item) in more {
            let item = item.as_object().cloned().unwrap_or_default();
            paths.entry(path.clone()).or_default().extend(item);
        }
        let tags: Vec<Value> = tags
            .iter()
            .map(|(name, text)| json!({"name": name, "description": text}))
            .collect();
        let mut components = schemas.finish();
        components.insert("Problem".to_owned(), problem());
        json!({
            "openapi": match version { Version::V3_1 => "3.1.0", Version::V3_0 => "3.0.3" },
            "info": {"title": info.title, "version": info.version, "description": info.description},
            "tags": tags,
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token of a login."}
                }
            }
        })
    }
}

/// The one shape of errors (RFC 9457).
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "An error. The catalogue of reasons is docs/errors.md.",
        "required": ["type", "title", "status", "code", "reason", "domain", "requestId"],
        "properties": {
            "type": {"type": "string", "description": "Address of the reason's page."},
            "title": {"type": "string", "description": "For people, in the language of Accept-Language (en, zh-CN)."},
            "status": {"type": "integer", "description": "The HTTP status."},
            "code": {"type": "integer", "description": "Number of the reason."},
            "reason": {"type": "string", "description": "The reason, for machines."},
            "domain": {"type": "string", "description": "Who says it."},
            "requestId": {"type": "string", "description": "For whoever looks into the logs."},
            "detail": {"type": "string", "description": "What exactly is wrong."},
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Facts for machines."}
        }
    })
}
