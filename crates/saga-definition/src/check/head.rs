//! What stands before the steps: name, version, input, deadline, business id.

use prost_reflect::{Kind, MessageDescriptor};

use super::types::Shape;
use super::{Checker, Site};
use crate::definition::{Deadline, MAX_DEADLINE_MS, MIN_DEADLINE_MS};
use crate::mapping::Path;
use crate::problem::{Position, Problem, ProblemKind};
use crate::scalar::is_name;
use crate::source::{Slot, Source, StepSource, Time};
use crate::suggest::did_you_mean;
use crate::yaml::{Spanned, shorten};
use crate::{MAX_STEPS, MAX_VERSION};

impl Checker<'_> {
    fn missing(&mut self, at: Position, field: &str, message: &str) {
        self.report_at(
            Site::SAGA,
            field,
            Problem::new(ProblemKind::MissingKey, at, message),
        );
    }

    pub(super) fn saga_name(&mut self, source: &Source) -> Option<String> {
        match &source.name {
            Slot::Given(name) if is_name(&name.value) => return Some(name.value.clone()),
            Slot::Given(name) => self.bad_name(name, Site::SAGA, "saga"),
            Slot::Absent => self.missing(source.at, "saga", "`saga`, the name, is missing"),
            Slot::Invalid => {}
        }
        None
    }

    pub(super) fn bad_name(&mut self, name: &Spanned<String>, site: Site<'_>, field: &str) {
        let problem = Problem::new(ProblemKind::BadName, name.at, "this is not a name")
            .expected("upper-case letters, digits and `_`, a letter first, at most 64")
            .found(format!("`{}`", shorten(&name.value)));
        self.report_at(site, field, problem);
    }

    pub(super) fn version(&mut self, source: &Source) -> Option<u32> {
        let version = match &source.version {
            Slot::Given(version) => version,
            Slot::Absent => {
                self.missing(source.at, "version", "`version` is missing");
                return None;
            }
            Slot::Invalid => return None,
        };
        match u32::try_from(version.value) {
            Ok(number) if (1..=MAX_VERSION).contains(&number) => Some(number),
            Ok(_) | Err(_) => {
                let problem =
                    Problem::new(ProblemKind::BadVersion, version.at, "the version is out of range")
                        .expected(format!("1 to {MAX_VERSION}"))
                        .found(version.value.to_string());
                self.report_at(Site::SAGA, "version", problem);
                None
            }
        }
    }

    pub(super) fn input_type(&mut self, source: &Source) -> Option<MessageDescriptor> {
        let input = match &source.input {
            Slot::Given(input) => input,
            Slot::Absent => {
                self.missing(source.at, "input", "`input`, the type of the input, is missing");
                return None;
            }
            Slot::Invalid => return None,
        };
        self.message_type(input, Site::SAGA, "input")
    }

    /// Finds a message type by its full name.
    pub(super) fn message_type(
        &mut self,
        name: &Spanned<String>,
        site: Site<'_>,
        field: &str,
    ) -> Option<MessageDescriptor> {
        let found = self.pool.get_message_by_name(&name.value);
        if found.is_none() {
            let known: Vec<MessageDescriptor> = self.pool.all_messages().collect();
            let hint = did_you_mean(&name.value, known.iter().map(MessageDescriptor::full_name));
            let message = format!(
                "there is no message `{}` among the descriptors{hint}",
                shorten(&name.value)
            );
            let problem = Problem::new(ProblemKind::UnknownMessage, name.at, message);
            self.report_at(site, field, problem);
        }
        found
    }

    pub(super) fn deadline(&mut self, source: &Source) -> Option<Deadline> {
        match &source.deadline {
            Slot::Given(time) => self.time(time, Site::SAGA, "deadline"),
            Slot::Absent => {
                self.missing(source.at, "deadline", "`deadline` is missing");
                None
            }
            Slot::Invalid => None,
        }
    }

    pub(super) fn time(&mut self, time: &Spanned<Time>, site: Site<'_>, field: &str) -> Option<Deadline> {
        let text = match &time.value {
            Time::Ms(ms) => {
                let ms = Spanned {
                    at: time.at,
                    value: *ms,
                };
                let range = MIN_DEADLINE_MS..=MAX_DEADLINE_MS;
                let fits = self.in_range(&ms, range, site, field, ProblemKind::DurationOutOfRange);
                return fits.then_some(Deadline::Literal(ms.value));
            }
            Time::Path(text) => text,
        };
        let resolved = self.path(text, time.at, site, field)?;
        if let Shape::Single(Kind::Message(message)) = &resolved.shape
            && message.full_name() == "google.protobuf.Duration"
        {
            return Some(Deadline::Path(resolved.path));
        }
        let problem = Problem::new(
            ProblemKind::TypeMismatch,
            time.at,
            format!("`{text}` is not a duration"),
        )
        .expected("google.protobuf.Duration")
        .found(resolved.shape.name());
        self.report_at(site, field, problem);
        None
    }

    /// Checks how long a step waits for a person. The state machine takes every such time when the saga starts.
    pub(super) fn expires(&mut self, time: &Spanned<Time>, site: Site<'_>) -> Option<Deadline> {
        if let Time::Path(text) = &time.value
            && text.starts_with("steps.")
        {
            let message = "`expires` is read when the saga starts, before any step has answered";
            let problem = Problem::new(ProblemKind::ReplyNotAvailable, time.at, message)
                .expected("a literal or a path into the input")
                .found(shorten(text));
            self.report_at(site, "expires", problem);
            return None;
        }
        self.time(time, site, "expires")
    }

    pub(super) fn business_id(&mut self, text: &Spanned<String>) -> Option<Path> {
        let resolved = self.path(&text.value, text.at, Site::SAGA, "business_id")?;
        if resolved.shape == Shape::Single(Kind::String) {
            return Some(resolved.path);
        }
        let message = format!("`{}` is not a string", text.value);
        let problem = Problem::new(ProblemKind::TypeMismatch, text.at, message)
            .expected("string")
            .found(resolved.shape.name());
        self.report_at(Site::SAGA, "business_id", problem);
        None
    }

    pub(super) fn steps<'s>(&mut self, source: &'s Source) -> &'s [StepSource] {
        let steps = match &source.steps {
            Slot::Given(steps) => steps,
            Slot::Absent => {
                self.missing(source.at, "steps", "`steps` is missing");
                return &[];
            }
            Slot::Invalid => return &[],
        };
        if steps.value.is_empty() {
            self.report_at(
                Site::SAGA,
                "steps",
                Problem::new(ProblemKind::NoSteps, steps.at, "a saga needs a step"),
            );
        }
        if let Some(beyond) = steps.value.get(MAX_STEPS) {
            let problem = Problem::new(
                ProblemKind::TooManySteps,
                beyond.at,
                "the saga has too many steps",
            )
            .expected(format!("at most {MAX_STEPS}"))
            .found(steps.value.len().to_string());
            self.report_at(Site::SAGA, "steps", problem);
        }
        steps.value.get(..MAX_STEPS).unwrap_or(&steps.value)
    }
}
