//! Reads `google.api.http` off a method.

use http::Method;
use prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, MethodDescriptor, Value};

use crate::error::{Error, Mistake};

/// Number of the extension of `google.protobuf.MethodOptions`.
const HTTP: u32 = 72_295_728;

/// One way of reaching a method, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) verb: Method,
    pub(crate) template: String,
    pub(crate) body: String,
    pub(crate) response_body: String,
}

/// Finds the extension.
///
/// # Errors
/// [`Error::NoAnnotations`] if these descriptors do not have it.
pub(crate) fn extension(pool: &DescriptorPool) -> Result<ExtensionDescriptor, Error> {
    pool.get_message_by_name("google.protobuf.MethodOptions")
        .and_then(|options| options.get_extension(HTTP))
        .ok_or(Error::NoAnnotations)
}

/// Returns every way of reaching a method; none if it is not annotated.
///
/// # Errors
/// A rule without method, or with further rules inside of further rules.
pub(crate) fn rules(
    method: &MethodDescriptor,
    extension: &ExtensionDescriptor,
) -> Result<Vec<Rule>, Mistake> {
    let options = method.options();
    if !options.has_extension(extension) {
        return Ok(Vec::new());
    }
    let first = options.get_extension(extension);
    let first = first.as_message().expect("google.api.http is a message");
    let mut rules = vec![rule(first)?];
    for further in bindings(first) {
        let further = further.as_message().expect("further bindings are messages");
        if !bindings(further).is_empty() {
            return Err(Mistake::NestedBindings);
        }
        rules.push(rule(further)?);
    }
    Ok(rules)
}

fn rule(rule: &DynamicMessage) -> Result<Rule, Mistake> {
    let verbs = [
        ("get", Method::GET),
        ("put", Method::PUT),
        ("post", Method::POST),
        ("delete", Method::DELETE),
        ("patch", Method::PATCH),
    ];
    let (name, verb) = verbs
        .into_iter()
        .find(|(name, _)| rule.has_field_by_name(name))
        .ok_or(Mistake::NoPattern)?;
    Ok(Rule {
        verb,
        template: text(rule, name),
        body: text(rule, "body"),
        response_body: text(rule, "response_body"),
    })
}

fn bindings(rule: &DynamicMessage) -> Vec<Value> {
    let bindings = rule.get_field_by_name("additional_bindings");
    bindings
        .as_deref()
        .and_then(Value::as_list)
        .map(<[Value]>::to_vec)
        .unwrap_or_default()
}

fn text(rule: &DynamicMessage, name: &str) -> String {
    let value = rule.get_field_by_name(name);
    value
        .as_deref()
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
