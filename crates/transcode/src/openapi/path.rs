//! Templates as OpenAPI writes them: every variable is one segment.

use prost_reflect::Kind;
use serde_json::{Value as Json, json};

use super::schema::Schemas;
use crate::binding::Binding;
use crate::route::dotted;
use crate::template::{Segment, Variable};

/// A variable of an OpenAPI path.
pub(super) struct Parameter {
    pub(super) name: String,
    schema: Json,
    description: Option<String>,
}

impl Parameter {
    pub(super) fn to_json(&self) -> Json {
        let mut json = json!({"name": self.name, "in": "path", "required": true, "schema": self.schema});
        if let Some(description) = &self.description {
            json["description"] = description.as_str().into();
        }
        json
    }
}

/// Lists the variables of a template, in the order of the path.
pub(super) fn parameters(binding: &Binding, schemas: &Schemas<'_>) -> Vec<Parameter> {
    let wild = |segment: &Segment| !matches!(segment, Segment::Literal(_));
    let places = binding
        .template
        .segments
        .iter()
        .enumerate()
        .filter(|(_, segment)| wild(segment));
    places
        .enumerate()
        .map(|(nth, (at, segment))| parameter(binding, schemas, nth, at, segment))
        .collect()
}

fn parameter(
    binding: &Binding,
    schemas: &Schemas<'_>,
    nth: usize,
    at: usize,
    segment: &Segment,
) -> Parameter {
    let variables = &binding.template.variables;
    let Some(index) = variables
        .iter()
        .position(|variable| variable.covers.contains(&at))
    else {
        return Parameter {
            name: format!("segment{}", nth + 1),
            schema: json!({"type": "string"}),
            description: None,
        };
    };
    let (variable, capture) = (&variables[index], &binding.captures[index]);
    let name = dotted(capture);
    let wildcards: Vec<_> = places(binding, variable).collect();
    let field = capture.last();
    let comment = field.and_then(|field| schemas.comments.of(&field.parent_file(), field.path()));
    if !variable.several {
        let schema = field.map_or_else(
            || json!({}),
            |field| filled(schemas.kind(&field.kind()), &field.kind()),
        );
        return Parameter {
            name,
            schema,
            description: comment.map(str::to_owned),
        };
    }
    let nth = wildcards
        .iter()
        .position(|place| *place == at)
        .unwrap_or_default();
    let what = match segment {
        Segment::Rest => "One or more segments",
        Segment::One | Segment::Literal(_) => "A segment",
    };
    let shape: Vec<_> = binding.template.segments[variable.covers.clone()]
        .iter()
        .map(ToString::to_string)
        .collect();
    let description = format!("{what} of `{name}`, which is `{}`.", shape.join("/"));
    let name = if wildcards.len() > 1 {
        format!("{name}{}", nth + 1)
    } else {
        name
    };
    Parameter {
        name,
        schema: json!({"type": "string"}),
        description: Some(description),
    }
}

/// No segment of a path is empty.
fn filled(mut schema: Json, kind: &Kind) -> Json {
    if *kind == Kind::String {
        schema["minLength"] = 1.into();
    }
    schema
}

fn places<'a>(binding: &'a Binding, variable: &'a Variable) -> impl Iterator<Item = usize> + 'a {
    variable
        .covers
        .clone()
        .filter(|at| !matches!(binding.template.segments[*at], Segment::Literal(_)))
}

/// Writes the path with these names for its variables.
pub(super) fn path<'a>(binding: &Binding, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let mut path = String::new();
    for segment in &binding.template.segments {
        path.push('/');
        match segment {
            Segment::Literal(text) => path.push_str(text),
            Segment::One | Segment::Rest => {
                path.push('{');
                path.push_str(names.next().unwrap_or_default());
                path.push('}');
            }
        }
    }
    if let Some(verb) = &binding.template.verb {
        path.push(':');
        path.push_str(verb);
    }
    path
}
