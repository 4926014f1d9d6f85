//! One request's way to its method and back.

use http::uri::PathAndQuery;
use prost_reflect::{DynamicMessage, FieldDescriptor, MethodDescriptor, Value};
use proto::access::v1::Access;

use crate::bad_request::{At, BadRequest};
use crate::binding::{Binding, Body};
use crate::decode::{self, field_by_key};
use crate::encode::{self, Unwritable};
use crate::json::Json;
use crate::query;

/// A method that answers a path, with what the path says.
#[derive(Debug)]
pub struct Route<'a> {
    pub(crate) binding: &'a Binding,
    /// Texts of the template's variables.
    pub(crate) captured: Vec<String>,
}

impl<'a> Route<'a> {
    /// Returns the gRPC method.
    #[must_use]
    pub const fn method(&self) -> &'a MethodDescriptor {
        &self.binding.method
    }

    /// Returns the path template as in the proto: a name for metrics and traces that holds no ids.
    #[must_use]
    pub fn template(&self) -> &'a str {
        &self.binding.text
    }

    /// Returns the path of the gRPC call, `/package.Service/Method`.
    #[must_use]
    pub const fn grpc_path(&self) -> &'a PathAndQuery {
        &self.binding.grpc_path
    }

    /// Returns who may call the method; `Unspecified` is nobody. Whether the caller is one of them is not known here.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.binding.access
    }

    /// True if the answer is a stream of messages.
    #[must_use]
    pub fn server_streaming(&self) -> bool {
        self.binding.method.is_server_streaming()
    }

    /// Lists the variables of the path: dotted names as in the proto, and decoded texts.
    pub fn variables(&self) -> impl Iterator<Item = (String, &str)> {
        let names = self
            .binding
            .template
            .variables
            .iter()
            .map(|variable| variable.field_path.join("."));
        names.zip(self.captured.iter().map(String::as_str))
    }

    /// Builds the request from path, raw query and body. An empty body is no body. The caller bounds their sizes.
    ///
    /// # Errors
    /// `MALFORMED_BODY` or `PAYLOAD_TOO_LARGE` if the body is not JSON that can be read; `INVALID_ARGUMENT` if it, the
    /// path or the query does not fit the message, or two of them disagree.
    pub fn request(&self, query: Option<&str>, body: Option<&[u8]>) -> Result<DynamicMessage, BadRequest> {
        let json = body
            .filter(|body| !body.is_empty())
            .map(Json::parse)
            .transpose()?;
        let mut message = self.read_body(json.as_ref())?;
        for (path, text) in self.binding.captures.iter().zip(&self.captured) {
            let name = dotted(path);
            let at = At::Name(&At::Root, &name);
            let Some(field) = path.last() else { continue };
            let value = decode::element(&field.kind(), &decode::plain(&field.kind(), text), at, path.len())?;
            if let Some(json) = json.as_ref().and_then(|json| self.given(json, path))
                && decode::field_value(field, json, at, path.len())?.is_some_and(|given| given != value)
            {
                return Err(at.bad("the body has another value than the path"));
            }
            set_in(&mut message, path, value, at)?;
        }
        if let Some(query) = query {
            query::apply(self.binding, query, &mut message)?;
        }
        Ok(message)
    }

    /// Writes what the client gets: the whole reply, or the field that the annotation names as `response_body`.
    ///
    /// # Errors
    /// See [`Unwritable`].
    pub fn response(&self, reply: &DynamicMessage) -> Result<Vec<u8>, Unwritable> {
        match &self.binding.response_body {
            None => encode::to_json(reply),
            Some(field) => encode::field_to_json(reply, field),
        }
    }

    fn read_body(&self, json: Option<&Json<'_>>) -> Result<DynamicMessage, BadRequest> {
        let input = self.binding.method.input();
        let mut message = DynamicMessage::new(input.clone());
        match (&self.binding.body, json) {
            (_, None) => {}
            (Body::None, Some(_)) => return Err(BadRequest::content("this request has no body")),
            (Body::Whole, Some(json)) => message = decode::message(&input, json, At::Root, 0)?,
            (Body::Field(field), Some(json)) => {
                let at = At::Name(&At::Root, field.json_name());
                if let Some(value) = decode::field_value(field, json, at, 0)? {
                    message.set_field(field, value);
                }
            }
        }
        Ok(message)
    }

    /// Returns what the body has for a field that the path fills, if it has it too.
    fn given<'j>(&self, json: &'j Json<'j>, path: &[FieldDescriptor]) -> Option<&'j Json<'j>> {
        let path = match &self.binding.body {
            Body::None => return None,
            Body::Whole => path,
            Body::Field(field) => path.split_first().filter(|(first, _)| *first == field)?.1,
        };
        path.iter().try_fold(json, |json, field| {
            let Json::Object(entries) = json else { return None };
            let named = |key: &str| field_by_key(field.parent_message(), key).as_ref() == Some(field);
            entries.iter().find(|(key, _)| named(key)).map(|(_, json)| json)
        })
    }
}

/// Sets a field somewhere inside of a message; what is on the way comes into being.
pub(crate) fn set_in(
    message: &mut DynamicMessage,
    path: &[FieldDescriptor],
    value: Value,
    at: At<'_>,
) -> Result<(), BadRequest> {
    match path {
        [] => Ok(()),
        [field] => decode::set(message, field, value, at),
        [field, rest @ ..] => {
            decode::distinct(message, field, at)?;
            let inner = message
                .get_field_mut(field)
                .as_message_mut()
                .expect("only messages are on the way");
            set_in(inner, rest, value, at)
        }
    }
}

/// Returns a path in JSON names.
pub(crate) fn dotted(path: &[FieldDescriptor]) -> String {
    path.iter()
        .map(FieldDescriptor::json_name)
        .collect::<Vec<_>>()
        .join(".")
}
