//! A checked way of reaching a method.

use std::fmt;

use http::Method;
use http::uri::PathAndQuery;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use proto::access::v1::Access;

use crate::access;
use crate::error::Mistake;
use crate::rule::Rule;
use crate::template::{Template, Variable};
use crate::well_known::WellKnown;

/// One HTTP method and path template of a gRPC method. Its names are resolved.
pub(crate) struct Binding {
    pub(crate) method: MethodDescriptor,
    pub(crate) verb: Method,
    /// As written in the proto.
    pub(crate) text: String,
    pub(crate) template: Template,
    /// Fields that the path fills, in the order of `template.variables`.
    pub(crate) captures: Vec<Vec<FieldDescriptor>>,
    pub(crate) body: Body,
    pub(crate) response_body: Option<FieldDescriptor>,
    pub(crate) grpc_path: PathAndQuery,
    pub(crate) access: Access,
}

/// What the body of a request fills.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// Nothing; there must be none.
    None,
    /// The whole message, apart from what the path fills. There are no query parameters then.
    Whole,
    /// One field; the query fills the others.
    Field(FieldDescriptor),
}

impl Binding {
    /// Resolves a rule.
    ///
    /// # Errors
    /// See [`Mistake`].
    pub(crate) fn new(method: &MethodDescriptor, rule: &Rule) -> Result<Self, Mistake> {
        if method.is_client_streaming() {
            return Err(Mistake::ClientStreaming);
        }
        let template = Template::parse(&rule.template)?;
        let captures: Vec<_> = template
            .variables
            .iter()
            .map(|variable| capture(&method.input(), variable))
            .collect::<Result<_, _>>()?;
        distinct_oneofs(&captures)?;
        let body = match rule.body.as_str() {
            "" => Body::None,
            _ if matches!(rule.verb, Method::GET | Method::DELETE) => return Err(Mistake::BodyNotAllowed),
            "*" => Body::Whole,
            name => Body::Field(field(&method.input(), name)?),
        };
        let response_body = match rule.response_body.as_str() {
            "" => None,
            name => Some(field(&method.output(), name)?),
        };
        let grpc_path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        Ok(Self {
            method: method.clone(),
            verb: rule.verb.clone(),
            text: rule.template.clone(),
            template,
            captures,
            body,
            response_body,
            access: access::of(method),
            grpc_path: grpc_path
                .parse()
                .expect("names of services and methods are path segments"),
        })
    }

    /// True if the path or the body fills the field of the request that `path` leads to, or something inside of it, so
    /// that no query parameter may.
    pub(crate) fn fills(&self, path: &[FieldDescriptor]) -> bool {
        let by_body = match &self.body {
            Body::None => false,
            Body::Whole => true,
            Body::Field(field) => path.first() == Some(field),
        };
        by_body || self.captures.iter().any(|capture| capture == path)
    }
}

/// Follows a variable's names; all but the last are messages, the last is one value.
fn capture(input: &MessageDescriptor, variable: &Variable) -> Result<Vec<FieldDescriptor>, Mistake> {
    let dotted = variable.field_path.join(".");
    let mut message = Some(input.clone());
    let mut path = Vec::with_capacity(variable.field_path.len());
    for name in &variable.field_path {
        let Some(parent) = message else {
            return Err(Mistake::NotPlain(dotted));
        };
        let field = field(&parent, name)?;
        if field.is_list() || field.is_map() {
            return Err(Mistake::NotPlain(dotted));
        }
        message = structured(&field);
        path.push(field);
    }
    // What is still a message has no text.
    let plain = path.last().is_some_and(|field| is_plain(&field.kind()));
    if plain {
        Ok(path)
    } else {
        Err(Mistake::NotPlain(dotted))
    }
}

/// Shows names only: descriptors show what they refer to, without end for types that contain themselves.
impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.verb, self.text, self.method.full_name())
    }
}

/// Returns the type of a field that is one message with fields of its own, so that a dotted name may go on.
pub(crate) fn structured(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let kind = field.kind();
    let message = kind
        .as_message()
        .filter(|message| WellKnown::of(message).is_none());
    message.filter(|_| !field.is_list() && !field.is_map()).cloned()
}

/// True if one piece of text can be a value of this kind.
pub(crate) fn is_plain(kind: &Kind) -> bool {
    kind.as_message()
        .is_none_or(|message| WellKnown::of(message).is_some_and(WellKnown::is_plain))
}

fn distinct_oneofs(captures: &[Vec<FieldDescriptor>]) -> Result<(), Mistake> {
    for (index, path) in captures.iter().enumerate() {
        for other in &captures[..index] {
            let fork = path.iter().zip(other).find(|(a, b)| a != b);
            if let Some((a, b)) = fork
                && a.containing_oneof().is_some()
                && a.containing_oneof() == b.containing_oneof()
            {
                return Err(Mistake::Oneof(a.full_name().to_owned()));
            }
        }
    }
    Ok(())
}

fn field(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, Mistake> {
    message
        .get_field_by_name(name)
        .ok_or_else(|| Mistake::UnknownField {
            message: message.full_name().to_owned(),
            field: name.to_owned(),
        })
}
