//! The checked definition.

use std::collections::BTreeSet;

use prost_reflect::{DynamicMessage, MessageDescriptor, Value};
use sha2::{Digest as _, Sha256};

use crate::call::{Await, Call, Target};
use crate::closure;
use crate::condition::Condition;
use crate::mapping::{Context, MapError, Path, SagaContext};

/// Shortest deadline and `expires`, in milliseconds.
pub const MIN_DEADLINE_MS: u64 = 1_000;
/// Longest deadline and `expires`, in milliseconds: 30 days.
pub const MAX_DEADLINE_MS: u64 = 30 * 86_400_000;

/// Holds a definition whose every name and type was found right.
#[derive(Clone, Debug)]
pub struct Definition {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) input: MessageDescriptor,
    pub(crate) business_id: Option<Path>,
    pub(crate) deadline: Deadline,
    pub(crate) steps: Vec<Step>,
    pub(crate) on_compensated: Option<Call>,
    pub(crate) canonical: String,
}

/// Holds a duration: a literal, or a path to a `google.protobuf.Duration`.
#[derive(Clone, Debug)]
pub enum Deadline {
    /// Milliseconds, [`MIN_DEADLINE_MS`] to [`MAX_DEADLINE_MS`].
    Literal(u64),
    /// Where the duration is read from.
    Path(Path),
}

/// Says what may happen to a step that succeeded or may have succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Zone {
    /// Undone when the saga unwinds.
    Compensatable,
    /// Its success commits the saga.
    Pivot,
    /// After the commit point: repeated until it succeeds.
    Retriable,
}

/// Holds one checked step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Unique name, `^[A-Z][A-Z0-9_]{0,63}$`.
    pub name: String,
    /// Zone of the step.
    pub zone: Zone,
    /// Indexes of the steps that must have succeeded, or been left out, before this one starts; ascending, each below
    /// this step's own index, none that follows from the others.
    pub after: Vec<usize>,
    /// What decides whether the step runs; absent if it always does.
    pub when: Option<Condition>,
    /// The action.
    pub call: Call,
    /// The call that finds out what became of the action: the same reply type, retries and timeout, and without effect.
    pub probe: Option<Call>,
    /// The compensation; only on compensatable steps.
    pub compensate: Option<Call>,
    /// Why there is no compensation; only on compensatable steps.
    pub no_compensation: Option<String>,
    /// How long the step may wait for a person; only on compensatable steps.
    pub expires: Option<Deadline>,
}

/// Holds the packages and services that may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Participants(BTreeSet<String>);

impl Participants {
    /// Allows the packages and services with these names, and everything below them.
    pub fn new<S: Into<String>>(prefixes: impl IntoIterator<Item = S>) -> Self {
        Self(prefixes.into_iter().map(Into::into).collect())
    }

    /// Returns the longest prefix that covers the service, in whole words: `a.b` covers `a.b.Svc`, not `a.bc.Svc`.
    #[must_use]
    pub fn resolve(&self, service: &str) -> Option<&str> {
        let covers = |prefix: &&String| {
            service
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.0
            .iter()
            .filter(covers)
            .max_by_key(|prefix| prefix.len())
            .map(String::as_str)
    }

    /// Lists the prefixes, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Definition {
    /// Returns the saga's name, `^[A-Z][A-Z0-9_]{0,63}$`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the version, 1 to 1,000,000.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns the type of the input.
    #[must_use]
    pub fn input(&self) -> &MessageDescriptor {
        &self.input
    }

    /// Returns where the business id is read from, if the definition says so.
    #[must_use]
    pub fn business_id(&self) -> Option<&Path> {
        self.business_id.as_ref()
    }

    /// Returns the deadline.
    #[must_use]
    pub fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// Returns the steps, at least one, in order: every step stands behind those it comes after.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the call made after the last compensation.
    #[must_use]
    pub fn on_compensated(&self) -> Option<&Call> {
        self.on_compensated.as_ref()
    }

    /// Returns every call: actions, compensations, probes and the last one.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        let steps = self.steps.iter().flat_map(|step| {
            std::iter::once(&step.call)
                .chain(&step.compensate)
                .chain(&step.probe)
        });
        steps.chain(&self.on_compensated)
    }

    /// Returns the participants that are called. A stored definition checks again with these.
    #[must_use]
    pub fn participants(&self) -> Participants {
        Participants::new(self.calls().filter_map(|call| match call.target() {
            Target::Method { participant, .. } => Some(participant.clone()),
            Target::Publish { .. } => None,
        }))
    }

    /// Returns the routing keys of all replies that are awaited, sorted.
    #[must_use]
    pub fn reply_keys(&self) -> BTreeSet<&str> {
        let keys = self.calls().filter_map(|call| match call.awaits()? {
            Await::Token => None,
            Await::Reply {
                routing_key, failed, ..
            } => Some(std::iter::once(routing_key).chain(failed)),
        });
        keys.flatten().map(String::as_str).collect()
    }

    /// Returns the machine time this input allows, in milliseconds.
    ///
    /// # Errors
    /// [`MapError`] if the path leads nowhere in this input, or to a duration outside 1 s to 30 d.
    pub fn deadline_ms(&self, input: &DynamicMessage) -> Result<u64, MapError> {
        self.deadline.resolve(&start_context(input))
    }

    /// Returns the business id this input holds; `None` if the definition does not say where.
    ///
    /// # Errors
    /// [`MapError`] if the path leads nowhere in this input.
    pub fn business_id_of(&self, input: &DynamicMessage) -> Result<Option<String>, MapError> {
        let Some(path) = &self.business_id else {
            return Ok(None);
        };
        Ok(path
            .read(&start_context(input))?
            .as_ref()
            .and_then(Value::as_str)
            .map(str::to_owned))
    }

    /// Returns the definition as JSON: defaults filled in, keys sorted, independent of comments and layout.
    ///
    /// The text is itself a definition: parsed and checked with the same descriptors it gives the same text again.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// Returns an encoded `FileDescriptorSet` with the methods called and the transitive closure of their types and
    /// of the input, without comments, unused declarations and foreign options. Deterministic.
    ///
    /// The definition checks again with the pool decoded from it, so a stored definition outlives the configuration.
    /// Not contained: types that appear only inside `google.protobuf.Any`, and extensions.
    #[must_use]
    pub fn closure(&self) -> Vec<u8> {
        closure::encode(self)
    }

    /// Returns SHA-256 over [`canonical`](Self::canonical) and [`closure`](Self::closure): the identity of a revision.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        // The length keeps the border between the two parts.
        hasher.update(self.canonical.len().to_be_bytes());
        hasher.update(self.canonical.as_bytes());
        hasher.update(self.closure());
        hasher.finalize().into()
    }
}

impl Step {
    /// Returns how long the step may wait for a person, in milliseconds; `None` if it has no `expires`.
    ///
    /// # Errors
    /// [`MapError`] if the path leads nowhere in this context, or to a duration outside 1 s to 30 d.
    pub fn expires_ms(&self, context: &Context<'_>) -> Result<Option<u64>, MapError> {
        self.expires
            .as_ref()
            .map(|expires| expires.resolve(context))
            .transpose()
    }
}

impl Deadline {
    fn resolve(&self, context: &Context<'_>) -> Result<u64, MapError> {
        let path = match self {
            Self::Literal(ms) => return Ok(*ms),
            Self::Path(path) => path,
        };
        let value = path.read(context)?;
        let part = |number| {
            let field = value
                .as_ref()
                .and_then(Value::as_message)?
                .get_field_by_number(number)?;
            field.as_i64().or_else(|| field.as_i32().map(i64::from))
        };
        let (seconds, nanos) = (part(1).unwrap_or(0), part(2).unwrap_or(0));
        let ms = seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000);
        match u64::try_from(ms) {
            Ok(ms) if (MIN_DEADLINE_MS..=MAX_DEADLINE_MS).contains(&ms) => Ok(ms),
            Ok(_) | Err(_) => Err(MapError::DurationOutOfRange {
                path: path.text.clone(),
                found: format!("{seconds}s"),
            }),
        }
    }
}

/// Before the start there is only the input.
fn start_context(input: &DynamicMessage) -> Context<'_> {
    Context {
        input,
        replies: &[],
        saga: SagaContext::default(),
    }
}
