//! Which method a request means.

use std::fmt;

use http::Method;
use http::uri::PathAndQuery;
use prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, MethodDescriptor, Value as Field};
use proto::access::v1::Access;

use crate::query::decode;
use crate::template::Template;
use crate::{Error, Miss, Route};

const HTTP: &str = "google.api.http";
const ACCESS: &str = "evenkeel.access.v1.access";
/// The methods of `google.api.HttpRule`, as fields.
const VERBS: [(&str, Method); 5] = [
    ("get", Method::GET),
    ("put", Method::PUT),
    ("post", Method::POST),
    ("delete", Method::DELETE),
    ("patch", Method::PATCH),
];

/// One way to reach a method.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) verb: Method,
    /// The template as written.
    pub(crate) text: String,
    pub(crate) template: Template,
    pub(crate) body: Body,
    /// Field that the answer shows instead of the whole message.
    pub(crate) response_body: Option<String>,
    pub(crate) method: MethodDescriptor,
    pub(crate) grpc_path: PathAndQuery,
    pub(crate) access: Access,
    /// Place among the ways of its method.
    pub(crate) place: usize,
}

/// What the body of a request fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Nothing,
    Everything,
    Field(String),
}

/// The routes of services.
pub struct Transcoder {
    /// More literal templates first, so that the first match is the right one.
    pub(crate) bindings: Vec<Binding>,
}

impl fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transcoder")
            .field("bindings", &self.bindings.len())
            .finish()
    }
}

impl Transcoder {
    /// Reads the HTTP rules of services, by their full names. Methods without a rule are not reached.
    ///
    /// # Errors
    /// A service is unknown, a rule is wrong, or two methods want the same requests.
    pub fn new(pool: &DescriptorPool, services: &[&str]) -> Result<Self, Error> {
        let http = pool.get_extension_by_name(HTTP);
        let access = pool.get_extension_by_name(ACCESS);
        let mut bindings = Vec::new();
        for name in services {
            let service = pool.get_service_by_name(name);
            let service = service.ok_or_else(|| Error::NoService((*name).to_owned()))?;
            for method in service.methods() {
                let Some(rule) = http.as_ref().and_then(|http| option(&method, http)) else {
                    continue;
                };
                let Field::Message(rule) = rule else { continue };
                let may = access.as_ref().and_then(|access| option(&method, access));
                let may = may.and_then(|value| value.as_enum_number()).unwrap_or_default();
                let may = Access::try_from(may).unwrap_or(Access::Unspecified);
                bindings.push(Binding::new(&method, &rule, may, 0)?);
                let more = rule.get_field_by_name("additional_bindings");
                let more = more
                    .as_ref()
                    .and_then(|value| value.as_list())
                    .unwrap_or_default();
                for (place, rule) in more.iter().filter_map(Field::as_message).enumerate() {
                    bindings.push(Binding::new(&method, rule, may, place + 1)?);
                }
            }
        }
        bindings.sort_by(|a, b| {
            (&a.template.segments, &a.template.verb).cmp(&(&b.template.segments, &b.template.verb))
        });
        let same = |a: &Binding, b: &Binding| {
            a.verb == b.verb
                && a.template.segments == b.template.segments
                && a.template.verb == b.template.verb
        };
        for (at, binding) in bindings.iter().enumerate() {
            if let Some(other) = bindings[at + 1..].iter().find(|other| same(binding, other)) {
                return Err(Error::Conflict {
                    first: binding.method.full_name().to_owned(),
                    second: other.method.full_name().to_owned(),
                });
            }
        }
        Ok(Self { bindings })
    }

    /// Finds the method that a request means. `path` is as it came, without the query.
    ///
    /// # Errors
    /// There is none.
    pub fn route(&self, verb: &Method, path: &str) -> Result<Route<'_>, Miss> {
        let bare = path.strip_prefix('/').ok_or(Miss::NotFound)?;
        let segments: Vec<&str> = bare.split('/').collect();
        let mut allowed = Vec::new();
        for binding in &self.bindings {
            let Some(taken) = match_verb(&binding.template, &segments) else {
                continue;
            };
            if binding.verb != verb {
                if !allowed.contains(&binding.verb) {
                    allowed.push(binding.verb.clone());
                }
                continue;
            }
            let mut values = Vec::with_capacity(taken.len());
            for (variable, parts) in binding.template.variables.iter().zip(taken) {
                let decoded: Option<Vec<String>> = parts.iter().map(|part| decode(part, false)).collect();
                let decoded = decoded.ok_or(Miss::BadPath("the path is not UTF-8 in percent encoding"))?;
                values.push((variable.field.as_slice(), decoded.join("/")));
            }
            return Ok(Route { binding, values });
        }
        if allowed.is_empty() {
            return Err(Miss::NotFound);
        }
        Err(Miss::MethodNotAllowed(allowed))
    }
}

/// Compares a path with a template; a custom verb is the end of the last segment.
fn match_verb<'p>(template: &Template, segments: &[&'p str]) -> Option<Vec<Vec<&'p str>>> {
    let Some(verb) = template.verb.as_deref() else {
        return template.matches(segments, None);
    };
    let (last, before) = segments.split_last()?;
    let (last, found) = last.rsplit_once(':')?;
    let mut segments = before.to_vec();
    segments.push(last);
    template.matches(&segments, Some(found)).filter(|_| found == verb)
}

fn option(method: &MethodDescriptor, extension: &ExtensionDescriptor) -> Option<Field> {
    let options: DynamicMessage = method.options();
    options
        .has_extension(extension)
        .then(|| options.get_extension(extension).into_owned())
}

impl Binding {
    fn new(
        method: &MethodDescriptor,
        rule: &DynamicMessage,
        access: Access,
        place: usize,
    ) -> Result<Self, Error> {
        let wrong = |problem: String| Error::Rule {
            method: method.full_name().to_owned(),
            problem,
        };
        let text = |name: &str| {
            let value = rule.get_field_by_name(name);
            value
                .and_then(|value| value.as_str().map(str::to_owned))
                .unwrap_or_default()
        };
        let found = VERBS.iter().find(|(name, _)| rule.has_field_by_name(name));
        let (name, verb) = found.ok_or_else(|| wrong("has no get, put, post, delete or patch".to_owned()))?;
        let path = text(name);
        let template = Template::parse(&path).map_err(|problem| wrong(format!("{path:?} {problem}")))?;
        let input = method.input();
        for variable in &template.variables {
            let mut inside = Some(input.clone());
            for name in &variable.field {
                let field = inside
                    .as_ref()
                    .and_then(|message| message.get_field_by_name(name));
                let field = field.ok_or_else(|| wrong(format!("{path:?} names no field {name}")))?;
                if field.is_list() || field.is_map() {
                    return Err(wrong(format!(
                        "{path:?} puts a part of the path into the repeated field {name}"
                    )));
                }
                inside = field.kind().as_message().cloned();
            }
        }
        let has = |message: &prost_reflect::MessageDescriptor, name: &str| {
            message.get_field_by_name(name).is_some()
        };
        let body = match text("body").as_str() {
            "" => Body::Nothing,
            "*" => Body::Everything,
            field if has(&input, field) => Body::Field(field.to_owned()),
            field => return Err(wrong(format!("body: there is no field {field}"))),
        };
        if body != Body::Nothing && matches!(*verb, Method::GET | Method::DELETE) {
            return Err(wrong(format!("{verb} has no body")));
        }
        let response_body = Some(text("response_body")).filter(|field| !field.is_empty());
        if let Some(field) = response_body.iter().find(|field| !has(&method.output(), field)) {
            return Err(wrong(format!("response_body: there is no field {field}")));
        }
        let grpc_path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let grpc_path = grpc_path
            .parse()
            .map_err(|_| wrong("has a name that is no path".to_owned()))?;
        Ok(Self {
            verb: verb.clone(),
            text: path,
            template,
            body,
            response_body,
            method: method.clone(),
            grpc_path,
            access,
            place,
        })
    }
}
