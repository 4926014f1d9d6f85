//! All bindings, and which of them answers a request.

use http::Method;
use prost_reflect::{DescriptorPool, MethodDescriptor};

use crate::bad_request::BadRequest;
use crate::binding::Binding;
use crate::error::Error;
use crate::matcher::{End, Matcher};
use crate::percent::{Place, decode};
use crate::route::Route;
use crate::rule;
use crate::template::Segment;

/// The HTTP face of a set of gRPC services. Built once at the start; lookups borrow from it.
#[derive(Debug)]
pub struct Transcoder {
    pub(crate) bindings: Vec<Binding>,
    matcher: Matcher,
}

/// Why no method answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// No template fits the path. A slash at the end and empty segments fit none.
    #[error("there is no such path")]
    NotFound,
    /// The path is known; these are its methods, in alphabetical order. HEAD is with GET, since the caller serves it so.
    #[error("the path does not have this method")]
    MethodNotAllowed(Vec<Method>),
    /// The path is not properly percent-encoded.
    #[error(transparent)]
    BadPath(#[from] BadRequest),
}

impl Transcoder {
    /// Reads the annotations of every method of `services`, by full names. Methods without annotation have no route.
    ///
    /// # Errors
    /// See [`Error`]: nothing that is ambiguous or cannot work is left for a request to find.
    pub fn new(pool: &DescriptorPool, services: &[&str]) -> Result<Self, Error> {
        let extension = rule::extension(pool)?;
        let mut transcoder = Self {
            bindings: Vec::new(),
            matcher: Matcher::default(),
        };
        for name in services {
            let service = pool
                .get_service_by_name(name)
                .ok_or_else(|| Error::UnknownService((*name).to_owned()))?;
            for method in service.methods() {
                let error = |template: &str, mistake| Error::Binding {
                    method: method.full_name().to_owned(),
                    template: template.to_owned(),
                    mistake,
                };
                for rule in rule::rules(&method, &extension).map_err(|mistake| error("", mistake))? {
                    let binding =
                        Binding::new(&method, &rule).map_err(|mistake| error(&rule.template, mistake))?;
                    transcoder.add(binding)?;
                }
            }
        }
        Ok(transcoder)
    }

    fn add(&mut self, binding: Binding) -> Result<(), Error> {
        let inserted = self
            .matcher
            .insert(&binding.template, &binding.verb, self.bindings.len());
        inserted.map_err(|first| Error::Duplicate {
            first: self.bindings[first].method.full_name().to_owned(),
            second: binding.method.full_name().to_owned(),
            verb: binding.verb.clone(),
            template: binding.text.clone(),
        })?;
        self.bindings.push(binding);
        Ok(())
    }

    /// Lists what is served: HTTP method, path template as in the proto, gRPC method; in the order of the services and
    /// of their protos.
    pub fn bindings(&self) -> impl Iterator<Item = (&Method, &str, &MethodDescriptor)> {
        self.bindings
            .iter()
            .map(|binding| (&binding.verb, binding.text.as_str(), &binding.method))
    }

    /// Finds the method for a path as it came, percent-encoded and without query.
    ///
    /// The most specific template decides, from left to right: a literal beats a variable, a verb beats a colon in a
    /// variable. If that template does not have the HTTP method, another one is not tried: `DELETE /users/me` must never
    /// become `DELETE /users/{user_id}`.
    ///
    /// # Errors
    /// See [`Miss`].
    pub fn route(&self, method: &Method, raw_path: &str) -> Result<Route<'_>, Miss> {
        let raw: Vec<&str> = raw_path
            .strip_prefix('/')
            .ok_or(Miss::NotFound)?
            .split('/')
            .collect();
        if raw.contains(&"") {
            return Err(Miss::NotFound);
        }
        let decoded: Vec<_> = raw.iter().map(|raw| segment(raw)).collect::<Result<_, _>>()?;
        let segments: Vec<&str> = decoded.iter().map(AsRef::as_ref).collect();
        // An escaped colon is data.
        let split = raw.last().and_then(|last| last.rsplit_once(':'));
        let verb = match split {
            Some((before, verb)) => Some((segment(before)?, segment(verb)?)),
            None => None,
        };
        let verb = verb
            .as_ref()
            .map(|(before, verb)| (before.as_ref(), verb.as_ref()));
        let end = self.matcher.find(&segments, verb).ok_or(Miss::NotFound)?;
        let binding = end
            .get(crate::matcher::name(method))
            .ok_or_else(|| not_allowed(end))?;
        let binding = &self.bindings[*binding];
        Ok(Route {
            binding,
            captured: captured(binding, raw)?,
        })
    }
}

/// Returns the text of each variable.
fn captured(binding: &Binding, mut raw: Vec<&str>) -> Result<Vec<String>, BadRequest> {
    if binding.template.verb.is_some()
        && let Some(last) = raw.last_mut()
        && let Some((before, _)) = last.rsplit_once(':')
    {
        *last = before;
    }
    let text = |variable: &crate::template::Variable| {
        let rest = binding.template.segments[variable.covers.clone()].contains(&Segment::Rest);
        let end = if rest { raw.len() } else { variable.covers.end };
        let place = if variable.several {
            Place::Segments
        } else {
            Place::Segment
        };
        let decoded: Result<Vec<_>, _> = raw[variable.covers.start..end]
            .iter()
            .map(|raw| decode(raw, place))
            .collect();
        decoded
            .map(|segments| segments.join("/"))
            .map_err(|error| BadRequest::content(error.to_string()))
    };
    binding.template.variables.iter().map(text).collect()
}

fn segment(raw: &str) -> Result<std::borrow::Cow<'_, str>, BadRequest> {
    decode(raw, Place::Segment)
        .map_err(|error| BadRequest::content(format!("the path is malformed: {error}")))
}

fn not_allowed(end: &End) -> Miss {
    let head = end.contains_key("GET").then_some("HEAD");
    let mut names: Vec<_> = end.keys().copied().chain(head).collect();
    names.sort_unstable();
    let method = |name: &str| Method::from_bytes(name.as_bytes()).expect("names of methods are methods");
    Miss::MethodNotAllowed(names.into_iter().map(method).collect())
}
