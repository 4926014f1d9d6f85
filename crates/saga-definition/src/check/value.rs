//! Values of `with`: each must fit the field it is for.

use std::collections::{HashMap, HashSet};

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::types::{self, Class, Shape, kind_name};
use super::{Checker, Site};
use crate::MAX_DEPTH;
use crate::mapping::{Mapping, Path, ValueSource};
use crate::problem::{Position, Problem, ProblemKind};
use crate::scalar::{Literal, parse_duration};
use crate::source::{Expr, ExprNode};
use crate::suggest::did_you_mean;
use crate::yaml::{Spanned, shorten};

/// Largest integers that floating point holds exactly.
const EXACT_F64: i128 = 1 << 53;
const EXACT_F32: i128 = 1 << 24;

impl Checker<'_> {
    /// Checks the fields given for a message. Reports every mistake before it gives up.
    pub(super) fn mapping(
        &mut self,
        message: &MessageDescriptor,
        given: &[(Spanned<String>, Expr)],
        site: Site<'_>,
        place: &str,
        depth: usize,
    ) -> Option<Mapping> {
        let mut fields = Vec::with_capacity(given.len());
        let mut seen = HashSet::new();
        let mut oneofs: HashMap<String, String> = HashMap::new();
        let mut complete = true;
        for (name, expr) in given {
            if self.problems.full() {
                return None;
            }
            let field_place = format!("{place}.{}", shorten(&name.value));
            if !seen.insert(name.value.as_str()) {
                let message = format!("`{}` is given twice", shorten(&name.value));
                self.report_field(
                    site,
                    &field_place,
                    Problem::new(ProblemKind::DuplicateKey, name.at, message),
                );
                complete = false;
                continue;
            }
            let Some(field) = message.get_field_by_name(&name.value) else {
                let known: Vec<FieldDescriptor> = message.fields().collect();
                let hint = did_you_mean(&name.value, known.iter().map(FieldDescriptor::name));
                let text = format!(
                    "{} has no field `{}`{hint}",
                    message.full_name(),
                    shorten(&name.value)
                );
                self.report_field(
                    site,
                    &field_place,
                    Problem::new(ProblemKind::UnknownField, name.at, text),
                );
                complete = false;
                continue;
            };
            if let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic())
                && let Some(other) = oneofs.insert(oneof.name().to_owned(), field.name().to_owned())
            {
                let text = format!(
                    "`{}` and `{other}` exclude each other (oneof {})",
                    field.name(),
                    oneof.name()
                );
                self.report_field(
                    site,
                    &field_place,
                    Problem::new(ProblemKind::OneofConflict, name.at, text),
                );
                complete = false;
            }
            match self.value(expr, &Shape::of(&field), site, &field_place, depth) {
                Some(value) => fields.push((field, value)),
                None => complete = false,
            }
        }
        complete.then(|| Mapping {
            message: message.clone(),
            fields,
        })
    }

    fn value(
        &mut self,
        expr: &Expr,
        target: &Shape,
        site: Site<'_>,
        place: &str,
        depth: usize,
    ) -> Option<ValueSource> {
        if depth > MAX_DEPTH {
            let message = format!("values are nested too deep; at most {MAX_DEPTH} levels are read");
            self.report_field(site, place, Problem::new(ProblemKind::TooDeep, expr.at, message));
            return None;
        }
        let found = match (&expr.node, target) {
            (ExprNode::Path { text, allow_default }, _) => {
                return self
                    .path_value(text, *allow_default, expr.at, target, site, place)
                    .map(ValueSource::Path);
            }
            (ExprNode::Literal(literal), Shape::Single(kind)) => {
                return self
                    .literal(literal, kind, expr.at, site, place)
                    .map(ValueSource::Literal);
            }
            (ExprNode::Fields(fields), Shape::Single(Kind::Message(message))) => {
                return self
                    .mapping(message, fields, site, place, depth + 1)
                    .map(ValueSource::Message);
            }
            (ExprNode::Fields(_), Shape::Single(kind)) => {
                let problem = Problem::new(
                    ProblemKind::TypeMismatch,
                    expr.at,
                    "only a message is written as a mapping",
                )
                .expected(kind_name(kind))
                .found("a mapping");
                self.report_field(site, place, problem);
                return None;
            }
            (ExprNode::List(items), Shape::List(kind)) => {
                return self.list(items, &Shape::Single(kind.clone()), site, place, depth);
            }
            (ExprNode::Fields(entries), Shape::Map(key, value)) => {
                return self.map(entries, key, &Shape::Single(value.clone()), site, place, depth);
            }
            (ExprNode::Literal(literal), Shape::List(_) | Shape::Map(..)) => literal.describe(),
            (ExprNode::Fields(_), Shape::List(_)) => "a mapping".to_owned(),
            (ExprNode::List(_), Shape::Single(_) | Shape::Map(..)) => "a sequence".to_owned(),
        };
        let message = match target {
            Shape::Single(_) => "the field holds one value",
            Shape::List(_) => "the field is repeated; write a sequence",
            Shape::Map(..) => "the field is a map; write a mapping",
        };
        let problem = Problem::new(ProblemKind::CardinalityMismatch, expr.at, message)
            .expected(target.name())
            .found(found);
        self.report_field(site, place, problem);
        None
    }

    fn list(
        &mut self,
        items: &[Expr],
        element: &Shape,
        site: Site<'_>,
        place: &str,
        depth: usize,
    ) -> Option<ValueSource> {
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if self.problems.full() {
                return None;
            }
            values.push(self.value(item, element, site, &format!("{place}[{index}]"), depth + 1));
        }
        values.into_iter().collect::<Option<_>>().map(ValueSource::List)
    }

    fn map(
        &mut self,
        entries: &[(Spanned<String>, Expr)],
        key: &Kind,
        value: &Shape,
        site: Site<'_>,
        place: &str,
        depth: usize,
    ) -> Option<ValueSource> {
        let mut built = Vec::with_capacity(entries.len());
        let mut seen = HashSet::new();
        for (name, expr) in entries {
            if self.problems.full() {
                return None;
            }
            let entry_place = format!("{place}[{}]", shorten(&name.value));
            let map_key = map_key(&name.value, key);
            if map_key.is_none() {
                let problem = Problem::new(
                    ProblemKind::BadLiteral,
                    name.at,
                    "the key cannot be read as the map's key type",
                )
                .expected(kind_name(key))
                .found(format!("`{}`", shorten(&name.value)));
                self.report_field(site, &entry_place, problem);
            } else if !seen.insert(map_key.clone()) {
                let message = format!("`{}` is given twice", shorten(&name.value));
                self.report_field(
                    site,
                    &entry_place,
                    Problem::new(ProblemKind::DuplicateKey, name.at, message),
                );
            }
            let value = self.value(expr, value, site, &entry_place, depth + 1);
            built.push(map_key.zip(value));
        }
        built.into_iter().collect::<Option<_>>().map(ValueSource::Map)
    }

    fn path_value(
        &mut self,
        text: &str,
        allow_default: bool,
        at: Position,
        target: &Shape,
        site: Site<'_>,
        place: &str,
    ) -> Option<Path> {
        let resolved = self.path(text, at, site, place)?;
        let convert = match types::whole(&resolved.shape, target) {
            Ok(convert) => Some(convert),
            Err(kind) => {
                let message = if kind == ProblemKind::Narrowing {
                    format!("`{text}` does not always fit")
                } else if kind == ProblemKind::CardinalityMismatch {
                    format!("`{text}` has another cardinality")
                } else {
                    format!("`{text}` has another type")
                };
                let problem = Problem::new(kind, at, message)
                    .expected(target.name())
                    .found(resolved.shape.name());
                self.report_field(site, place, problem);
                None
            }
        };
        if !self.absence_handled(&resolved, allow_default, at, site, place) {
            return None;
        }
        let mut path = Path {
            allow_default,
            convert: convert?,
            ..resolved.path
        };
        if let Shape::Single(kind) = target {
            path.default = Value::default_value(kind);
        }
        Some(path)
    }

    fn literal(
        &mut self,
        literal: &Literal,
        kind: &Kind,
        at: Position,
        site: Site<'_>,
        place: &str,
    ) -> Option<Value> {
        match literal_value(literal, kind) {
            Ok(value) => Some(value),
            Err((problem_kind, message)) => {
                let problem = Problem::new(problem_kind, at, message)
                    .expected(kind_name(kind))
                    .found(literal.describe());
                self.report_field(site, place, problem);
                None
            }
        }
    }
}

fn map_key(text: &str, kind: &Kind) -> Option<MapKey> {
    match Class::of(kind) {
        Class::Bool => text.parse().ok().map(MapKey::Bool),
        Class::I32 => text.parse().ok().map(MapKey::I32),
        Class::I64 => text.parse().ok().map(MapKey::I64),
        Class::U32 => text.parse().ok().map(MapKey::U32),
        Class::U64 => text.parse().ok().map(MapKey::U64),
        Class::Text => Some(MapKey::String(text.to_owned())),
        Class::F32 | Class::F64 | Class::Bytes | Class::Enum(_) | Class::Message(_) => None,
    }
}

fn literal_value(literal: &Literal, kind: &Kind) -> Result<Value, (ProblemKind, String)> {
    let out_of_range = || {
        (
            ProblemKind::LiteralOutOfRange,
            "the literal is out of range".to_owned(),
        )
    };
    let mismatch = |message: &str| (ProblemKind::TypeMismatch, message.to_owned());
    match (Class::of(kind), literal) {
        (_, Literal::Null) => Err((
            ProblemKind::BadLiteral,
            "null is not a value; leave the field out".to_owned(),
        )),
        (Class::Bool, Literal::Bool(value)) => Ok(Value::Bool(*value)),
        (Class::I32, Literal::Int(n)) => i32::try_from(*n).map(Value::I32).map_err(|_| out_of_range()),
        (Class::I64, Literal::Int(n)) => i64::try_from(*n).map(Value::I64).map_err(|_| out_of_range()),
        (Class::U32, Literal::Int(n)) => u32::try_from(*n).map(Value::U32).map_err(|_| out_of_range()),
        (Class::U64, Literal::Int(n)) => u64::try_from(*n).map(Value::U64).map_err(|_| out_of_range()),
        (Class::F32, Literal::Int(n)) if n.unsigned_abs() <= EXACT_F32.unsigned_abs() => {
            Ok(Value::F32(n.to_string().parse().unwrap_or_default()))
        }
        (Class::F64, Literal::Int(n)) if n.unsigned_abs() <= EXACT_F64.unsigned_abs() => {
            Ok(Value::F64(n.to_string().parse().unwrap_or_default()))
        }
        (Class::F32 | Class::F64, Literal::Int(_)) => Err(out_of_range()),
        (Class::F64, Literal::Float(x)) if x.is_finite() => Ok(Value::F64(*x)),
        (Class::F32, Literal::Float(x)) => {
            // Rounding to the nearest float is what a reader of the text expects; overflow is not.
            let narrow = x.to_string().parse::<f32>().unwrap_or(f32::INFINITY);
            if narrow.is_finite() {
                Ok(Value::F32(narrow))
            } else {
                Err(out_of_range())
            }
        }
        (Class::F64, Literal::Float(_)) => Err(out_of_range()),
        (Class::Text, Literal::Text(text)) => Ok(Value::String(text.clone())),
        (Class::Text, Literal::Int(_) | Literal::Float(_) | Literal::Bool(_)) => {
            Err(mismatch("text that looks like something else needs quotes"))
        }
        (Class::Enum(of), Literal::Text(name)) => match of.get_value_by_name(name) {
            Some(value) => Ok(Value::EnumNumber(value.number())),
            None => {
                let values: Vec<_> = of.values().collect();
                let hint = did_you_mean(name, values.iter().map(prost_reflect::EnumValueDescriptor::name));
                let message = format!("{} has no value `{}`{hint}", of.full_name(), shorten(name));
                Err((ProblemKind::UnknownEnumValue, message))
            }
        },
        (Class::Enum(_), _) => Err(mismatch("an enum value is written by its name")),
        (Class::Message(message), Literal::Text(text)) => text_message(&message, text),
        (Class::Message(_), _) => Err(mismatch("a message is written as a mapping")),
        (Class::Bytes, _) => Err(mismatch("bytes have no literal; they can only be copied")),
        (Class::Bool | Class::I32 | Class::I64 | Class::U32 | Class::U64 | Class::F32 | Class::F64, _) => {
            Err(mismatch("the literal has another type"))
        }
    }
}

/// Durations and times have a text form; no other message has.
fn text_message(message: &MessageDescriptor, text: &str) -> Result<Value, (ProblemKind, String)> {
    let json = match message.full_name() {
        "google.protobuf.Duration" => match parse_duration(text) {
            Some(ms) => format!("{}.{:03}s", ms / 1_000, ms % 1_000),
            None => text.to_owned(),
        },
        "google.protobuf.Timestamp" => text.to_owned(),
        _ => {
            return Err((
                ProblemKind::TypeMismatch,
                "a message is written as a mapping".to_owned(),
            ));
        }
    };
    DynamicMessage::deserialize(message.clone(), serde_json::Value::String(json))
        .map(Value::Message)
        .map_err(|error| {
            (
                ProblemKind::BadLiteral,
                format!("the literal cannot be read: {error}"),
            )
        })
}
