//! Paths: what they read, and whether it is there by then.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, Value};

use super::types::Shape;
use super::{Checker, Place, Reply, Site};
use crate::mapping::{Convert, Path, Root, SagaValue};
use crate::problem::{Position, Problem, ProblemKind};
use crate::scalar::is_identifier;
use crate::suggest::did_you_mean;
use crate::yaml::shorten;

/// Longest path, in segments.
const MAX_SEGMENTS: usize = 32;

/// A path that leads somewhere.
pub(super) struct Resolved {
    pub(super) path: Path,
    pub(super) shape: Shape,
    pub(super) absence: Option<Absence>,
}

/// Why the value may be absent at run time.
pub(super) enum Absence {
    Reply(String),
    Skipped(String),
    Field(String),
}

impl Checker<'_> {
    pub(super) fn path(&mut self, text: &str, at: Position, site: Site<'_>, field: &str) -> Option<Resolved> {
        let segments: Vec<&str> = text.split('.').collect();
        if segments.len() > MAX_SEGMENTS || !segments.iter().all(|segment| is_identifier(segment)) {
            let problem = Problem::new(ProblemKind::BadPath, at, "this is not a path; text needs quotes")
                .expected("names joined by single dots")
                .found(format!("`{}`", shorten(text)));
            self.report_field(site, field, problem);
            return None;
        }
        match segments.as_slice() {
            ["input", rest @ ..] => {
                let message = self.input.clone()?;
                self.fields(
                    text,
                    Root::Input(message.clone()),
                    message,
                    rest,
                    None,
                    at,
                    site,
                    field,
                )
            }
            ["steps", step, rest @ ..] => {
                let (index, absence) = self.reply(step, at, site, field)?;
                let message = match self.replies.get(index)? {
                    Reply::Message(message) => message.clone(),
                    Reply::Unknown => return None,
                    Reply::Nothing => {
                        let message = format!("{step} publishes and awaits nothing, so there is no reply");
                        let problem = Problem::new(ProblemKind::ReplyNotAvailable, at, message)
                            .expected("a step that calls, or awaits a reply");
                        self.report_field(site, field, problem);
                        return None;
                    }
                };
                let root = Root::Reply {
                    step: index,
                    name: (*step).to_owned(),
                    message: message.clone(),
                };
                self.fields(text, root, message, rest, absence, at, site, field)
            }
            ["saga", value] => self.saga_value(text, value, at, site, field),
            _ => {
                let problem = Problem::new(ProblemKind::BadPath, at, "this path leads nowhere")
                    .expected("input, input.FIELD, steps.STEP, steps.STEP.FIELD or saga.VALUE")
                    .found(format!("`{}`", shorten(text)));
                self.report_field(site, field, problem);
                None
            }
        }
    }

    fn saga_value(
        &mut self,
        text: &str,
        name: &str,
        at: Position,
        site: Site<'_>,
        field: &str,
    ) -> Option<Resolved> {
        let Some((_, value)) = SagaValue::NAMES.iter().find(|(known, _)| *known == name) else {
            let names = SagaValue::NAMES.map(|(name, _)| name);
            let hint = did_you_mean(name, names);
            let problem = Problem::new(
                ProblemKind::UnknownSagaValue,
                at,
                format!("the saga has no value `{}`{hint}", shorten(name)),
            )
            .expected(names.join(", "));
            self.report_field(site, field, problem);
            return None;
        };
        match site.place {
            Place::Action { .. } if value.only_unwinding() => {
                let message = format!("`{text}` exists only while the saga unwinds");
                let problem = Problem::new(ProblemKind::SagaValueNotAvailable, at, message)
                    .expected("saga.id or saga.business_id in an action");
                self.report_field(site, field, problem);
                return None;
            }
            Place::Saga => {
                self.only_input(at, text, site, field);
                return None;
            }
            Place::Action { .. } | Place::Compensation(_) | Place::AfterCompensation => {}
        }
        let path = Path {
            text: text.to_owned(),
            root: Root::Saga(*value),
            fields: Vec::new(),
            convert: Convert::Keep,
            allow_default: false,
            default: Value::String(String::new()),
        };
        Some(Resolved {
            path,
            shape: Shape::Single(Kind::String),
            absence: None,
        })
    }

    fn only_input(&mut self, at: Position, text: &str, site: Site<'_>, field: &str) {
        let problem = Problem::new(
            ProblemKind::BadPath,
            at,
            "before the saga starts there is only its input",
        )
        .expected("a path that begins with `input.`")
        .found(format!("`{}`", shorten(text)));
        self.report_field(site, field, problem);
    }

    /// Finds a step by name, and whether it can have answered where the path stands.
    fn reply(
        &mut self,
        step: &str,
        at: Position,
        site: Site<'_>,
        field: &str,
    ) -> Option<(usize, Option<Absence>)> {
        if site.place == Place::Saga {
            self.only_input(at, &format!("steps.{step}"), site, field);
            return None;
        }
        let Some(index) = self.index_of(step) else {
            let hint = did_you_mean(step, self.names.iter().flatten().map(String::as_str));
            let message = format!("there is no step `{}`{hint}", shorten(step));
            self.report_field(site, field, Problem::new(ProblemKind::UnknownStep, at, message));
            return None;
        };
        let left_out = |reader: usize| {
            let condition = self.conditions.get(index).and_then(Option::as_ref)?;
            // A step on the same condition runs only where this one runs.
            let same = self.conditions.get(reader).and_then(Option::as_ref) == Some(condition);
            (!same).then(|| Absence::Skipped(step.to_owned()))
        };
        let before = |step: usize, reader: usize| {
            self.ancestors
                .get(reader)
                .is_some_and(|above| above.contains(&step))
        };
        let absence = match site.place {
            Place::Saga => None,
            Place::AfterCompensation => Some(Absence::Reply(step.to_owned())),
            Place::Compensation(reader) if reader == index => Some(Absence::Reply(step.to_owned())),
            Place::Action { step: reader, .. } | Place::Compensation(reader)
                if before(index, reader) || !self.sound =>
            {
                left_out(reader)
            }
            Place::Action { step: reader, .. } | Place::Compensation(reader) => {
                let beside = reader != index && !before(reader, index);
                let word = if beside { "need not" } else { "cannot" };
                let problem = Problem::new(
                    ProblemKind::ReplyNotAvailable,
                    at,
                    format!("{step} {word} have run by then"),
                )
                .expected("a step that comes before this one");
                self.report_field(site, field, problem);
                return None;
            }
        };
        Some((index, absence))
    }

    /// Where a value may be absent, the definition has to say that its default will do.
    pub(super) fn absence_handled(
        &mut self,
        resolved: &Resolved,
        allow_default: bool,
        at: Position,
        site: Site<'_>,
        field: &str,
    ) -> bool {
        let Some(absence) = resolved.absence.as_ref().filter(|_| !allow_default) else {
            return true;
        };
        let text = &resolved.path.text;
        let (kind, why) = match absence {
            Absence::Reply(step) => (ProblemKind::ReplyMayBeAbsent, format!("{step} has not answered")),
            Absence::Skipped(step) => (
                ProblemKind::ReplyMayBeAbsent,
                format!("{step} was left out, as its `when` allows"),
            ),
            Absence::Field(field) => (ProblemKind::NeedsAllowDefault, format!("`{field}` is not set")),
        };
        let message = format!("`{text}` is absent if {why}; say what happens then");
        let expected = format!("{{ from: {text}, allow_default: true }}");
        self.report_field(site, field, Problem::new(kind, at, message).expected(expected));
        false
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one place that builds a path; a struct would be used once"
    )]
    fn fields(
        &mut self,
        text: &str,
        root: Root,
        mut message: MessageDescriptor,
        names: &[&str],
        mut absence: Option<Absence>,
        at: Position,
        site: Site<'_>,
        field: &str,
    ) -> Option<Resolved> {
        let mut fields: Vec<FieldDescriptor> = Vec::with_capacity(names.len());
        let mut shape = Shape::Single(Kind::Message(message.clone()));
        for name in names {
            match &shape {
                Shape::Single(Kind::Message(inner)) => message = inner.clone(),
                Shape::Single(_) | Shape::List(_) | Shape::Map(..) => {
                    let message = format!(
                        "`{}` has no fields, so `{name}` cannot be read from it",
                        last_name(&fields)
                    );
                    let problem = Problem::new(ProblemKind::BadPath, at, message)
                        .expected("a message")
                        .found(shape.name());
                    self.report_field(site, field, problem);
                    return None;
                }
            }
            let Some(next) = message.get_field_by_name(name) else {
                let known: Vec<FieldDescriptor> = message.fields().collect();
                let hint = did_you_mean(name, known.iter().map(FieldDescriptor::name));
                let problem = Problem::new(
                    ProblemKind::UnknownSourceField,
                    at,
                    format!(
                        "`{}`: {} has no field `{}`{hint}",
                        shorten(text),
                        message.full_name(),
                        shorten(name)
                    ),
                );
                self.report_field(site, field, problem);
                return None;
            };
            if next.supports_presence() && absence.is_none() {
                absence = Some(Absence::Field(next.name().to_owned()));
            }
            shape = Shape::of(&next);
            fields.push(next);
        }
        let default = fields.last().map_or_else(
            || Value::Message(prost_reflect::DynamicMessage::new(message)),
            Value::default_value_for_field,
        );
        let path = Path {
            text: text.to_owned(),
            root,
            fields,
            convert: Convert::Keep,
            allow_default: false,
            default,
        };
        Some(Resolved { path, shape, absence })
    }
}

fn last_name(fields: &[FieldDescriptor]) -> &str {
    fields.last().map_or("", FieldDescriptor::name)
}
