//! One method, found for one request.

use http::Method;
use http::uri::PathAndQuery;
use prost_reflect::{DynamicMessage, MethodDescriptor, Value as Field};
use proto::access::v1::Access;
use serde_json::{Map, Value};

use crate::BadRequest;
use crate::json::{self, FieldPath};
use crate::query;
use crate::transcoder::{Binding, Body};

/// The method that a request means, with what its path says.
#[derive(Debug)]
pub struct Route<'t> {
    pub(crate) binding: &'t Binding,
    /// Fields that the path fills, decoded.
    pub(crate) values: Vec<(&'t [String], String)>,
}

impl Route<'_> {
    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &MethodDescriptor {
        &self.binding.method
    }

    /// Returns the HTTP method.
    #[must_use]
    pub fn verb(&self) -> &Method {
        &self.binding.verb
    }

    /// Returns the path template, for metrics and logs: `/api/v1/tasks/{task_id}`.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.binding.text
    }

    /// Returns the method's path in gRPC: `/evenkeel.task.v1.TaskService/GetTask`.
    #[must_use]
    pub fn grpc_path(&self) -> &PathAndQuery {
        &self.binding.grpc_path
    }

    /// Returns who may call the method.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.binding.access
    }

    /// Tells whether the method takes a body.
    #[must_use]
    pub fn takes_body(&self) -> bool {
        self.binding.body != Body::Nothing
    }

    /// Makes the method's message.
    ///
    /// # Errors
    /// What does not fit, with the name of the field.
    pub fn request(&self, query: Option<&str>, body: Option<&[u8]>) -> Result<DynamicMessage, BadRequest> {
        let body = body.filter(|body| !body.is_empty());
        let mut message = self.read_body(body)?;
        let in_body = message.clone();
        for (name, value) in query::parameters(query.unwrap_or(""))? {
            if self.binding.body == Body::Everything {
                return Err(BadRequest::field(
                    &shown(&name),
                    "is to be given in the body, not in the query",
                ));
            }
            let names: Vec<&str> = name.split('.').collect();
            if self.is_taken(&names, &message)? {
                return Err(BadRequest::field(&shown(&name), "comes twice"));
            }
            query::set(&mut message, &names, value, &shown(&name))?;
        }
        for (names, value) in &self.values {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let dotted = names.join(".");
            let mut alone = DynamicMessage::new(self.binding.method.input());
            query::set(&mut alone, &names, value.clone(), &dotted)?;
            let wanted = value_at(&alone, &names);
            if let Some(given) = value_at(&in_body, &names).filter(|given| Some(given) != wanted.as_ref()) {
                drop(given);
                return Err(BadRequest::field(
                    &dotted,
                    "is another in the path than in the body",
                ));
            }
            query::set(&mut message, &names, value.clone(), &dotted)?;
        }
        Ok(message)
    }

    /// Tells whether a parameter repeats what is given already; lists may be.
    fn is_taken(&self, names: &[&str], message: &DynamicMessage) -> Result<bool, BadRequest> {
        let canonical = canonical(message, names);
        let Some(canonical) = canonical else {
            return Ok(false);
        };
        let path: Vec<&str> = canonical.iter().map(String::as_str).collect();
        let bound = self
            .values
            .iter()
            .any(|(field, _)| field.iter().map(String::as_str).eq(path.iter().copied()));
        if let Body::Field(field) = &self.binding.body
            && path.first() == Some(&field.as_str())
        {
            return Err(BadRequest::field(
                &shown(&names.join(".")),
                "is to be given in the body, not in the query",
            ));
        }
        let given = value_at(message, &path);
        Ok(bound || given.is_some_and(|value| !matches!(value, Field::List(_))))
    }

    fn read_body(&self, body: Option<&[u8]>) -> Result<DynamicMessage, BadRequest> {
        let input = self.binding.method.input();
        match (&self.binding.body, body) {
            (_, None) => Ok(DynamicMessage::new(input)),
            (Body::Nothing, Some(_)) => Err(BadRequest {
                reason: rpc::error::Reason::InvalidArgument,
                message: "this method takes no body".to_owned(),
                field: None,
            }),
            (Body::Everything, Some(body)) => json::message(&input, json::parse(body)?, &FieldPath::ROOT),
            (Body::Field(name), Some(body)) => {
                let value = Value::Object([(name.clone(), json::parse(body)?)].into_iter().collect());
                json::message(&input, value, &FieldPath::ROOT)
            }
        }
    }

    /// Writes the answer.
    #[must_use]
    pub fn response(&self, message: &DynamicMessage) -> Vec<u8> {
        let value = json::value(message);
        let value = match &self.binding.response_body {
            None => value,
            Some(name) => {
                let field = self.binding.method.output().get_field_by_name(name);
                let name = field
                    .map(|field| field.json_name().to_owned())
                    .unwrap_or_default();
                // An absent message is shown as one without fields.
                let shown = value.as_object().and_then(|fields| fields.get(&name)).cloned();
                shown.unwrap_or_else(|| Value::Object(Map::new()))
            }
        };
        value.to_string().into_bytes()
    }
}

/// A name that came from outside, up to a bound.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

/// Names of a field path as in the contract, whichever spelling was used.
fn canonical(message: &DynamicMessage, names: &[&str]) -> Option<Vec<String>> {
    use prost_reflect::ReflectMessage as _;
    let mut descriptor = Some(message.descriptor());
    let mut path = Vec::new();
    for name in names {
        let inside = descriptor?;
        let field = inside
            .get_field_by_json_name(name)
            .or_else(|| inside.get_field_by_name(name))?;
        path.push(field.name().to_owned());
        descriptor = field.kind().as_message().cloned();
    }
    Some(path)
}

/// The value of a field that is set.
fn value_at(message: &DynamicMessage, names: &[&str]) -> Option<Field> {
    let (name, deeper) = names.split_first()?;
    if !message.has_field_by_name(name) {
        return None;
    }
    let value = message.get_field_by_name(name)?.into_owned();
    if deeper.is_empty() {
        return Some(value);
    }
    value_at(value.as_message()?, deeper)
}
