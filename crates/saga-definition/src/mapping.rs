//! Building a request from the saga's input and the replies of earlier steps.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, MessageDescriptor, Value};

/// Builds one message: each field from a literal or a path, compiled to descriptors.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub(crate) message: MessageDescriptor,
    pub(crate) fields: Vec<(FieldDescriptor, ValueSource)>,
}

#[derive(Clone, Debug)]
pub(crate) enum ValueSource {
    Literal(Value),
    Path(Path),
    Message(Mapping),
    List(Vec<ValueSource>),
    Map(Vec<(MapKey, ValueSource)>),
}

/// Reads one value from a [`Context`]: a compiled path such as `steps.PAY.receipt.id`.
#[derive(Clone, Debug)]
pub struct Path {
    pub(crate) text: String,
    pub(crate) root: Root,
    pub(crate) fields: Vec<FieldDescriptor>,
    pub(crate) convert: Convert,
    pub(crate) allow_default: bool,
    /// What a list element or map entry becomes when the source is absent.
    pub(crate) default: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Root {
    Input(MessageDescriptor),
    Reply {
        step: usize,
        name: String,
        message: MessageDescriptor,
    },
    Saga(SagaValue),
}

/// A value of the saga itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SagaValue {
    Id,
    BusinessId,
    Reason,
    FailedStep,
    Error,
}

/// A lossless conversion between scalar types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Convert {
    Keep,
    I32ToI64,
    U32ToI64,
    U32ToU64,
    F32ToF64,
}

/// Holds what paths read from.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Input of the saga, of the definition's input type.
    pub input: &'a DynamicMessage,
    /// Replies by step index; absent where the step has not (or not knowably) succeeded. May be shorter than the
    /// list of steps: what is missing is absent.
    pub replies: &'a [Option<&'a DynamicMessage>],
    /// Values of the saga itself.
    pub saga: SagaContext<'a>,
}

/// Holds the values behind `saga.` paths. The last three are empty while the saga goes forward.
#[derive(Clone, Copy, Debug, Default)]
pub struct SagaContext<'a> {
    /// `saga.id`.
    pub id: &'a str,
    /// `saga.business_id`.
    pub business_id: &'a str,
    /// `saga.reason`: REFUSED, TIMEOUT, CANCELLED, OPERATOR or EXHAUSTED.
    pub reason: &'a str,
    /// `saga.failed_step`: the step whose failure began the unwinding; empty if there is none.
    pub failed_step: &'a str,
    /// `saga.error`: the failure in words.
    pub error: &'a str,
}

/// Says why a value could not be read or a request not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// A message on the way to the value, or the value itself, is not set.
    #[error("{path} is absent: `{field}` is not set")]
    AbsentField {
        /// The path as written.
        path: String,
        /// The unset field.
        field: String,
    },
    /// The step has no reply.
    #[error("{path} is absent: step {step} has no reply")]
    AbsentReply {
        /// The path as written.
        path: String,
        /// The step without a reply.
        step: String,
    },
    /// The context holds a message of another type (or of another descriptor pool) than the definition was checked with.
    #[error(
        "{path} cannot be read: expected a message of type {expected} of the definition's descriptor pool, found {found}"
    )]
    ForeignMessage {
        /// The path as written.
        path: String,
        /// Full name of the type checked.
        expected: String,
        /// Full name of the type given.
        found: String,
    },
    /// A message in the context was put together by hand and holds a value its field cannot have.
    #[error("{field} cannot hold the value read for it")]
    WrongValue {
        /// Full name of the target field, or the path of a condition.
        field: String,
    },
    /// A duration read from a message is outside its range.
    #[error("{path} is out of range: expected 1s to 30d, found {found}")]
    DurationOutOfRange {
        /// The path as written.
        path: String,
        /// The value found, in seconds.
        found: String,
    },
}

impl Mapping {
    /// Returns the type of the message that is built.
    #[must_use]
    pub fn message(&self) -> &MessageDescriptor {
        &self.message
    }

    /// Builds the message. Never panics, whatever the messages in the context hold.
    ///
    /// # Errors
    /// [`MapError`] if a source is absent where nothing allows it, or the context holds a message of a foreign type.
    pub fn build(&self, context: &Context<'_>) -> Result<DynamicMessage, MapError> {
        let mut message = DynamicMessage::new(self.message.clone());
        for (field, source) in &self.fields {
            if let Some(value) = source.value(context)? {
                message
                    .try_set_field(field, value)
                    .map_err(|_| MapError::WrongValue {
                        field: field.full_name().to_owned(),
                    })?;
            }
        }
        Ok(message)
    }

    /// Tries everything that the mapping reads of one step's reply, on this reply; `None` is a step without a reply.
    ///
    /// # Errors
    /// [`MapError`] for the first source that is absent where nothing allows it.
    pub fn check_reply(&self, step: usize, reply: Option<&DynamicMessage>) -> Result<(), MapError> {
        self.fields
            .iter()
            .try_for_each(|(_, source)| source.check_reply(step, reply))
    }

    /// Returns the indexes of the steps whose replies are read, ascending.
    #[must_use]
    pub fn steps_read(&self) -> Vec<usize> {
        let mut steps = Vec::new();
        self.fields
            .iter()
            .for_each(|(_, source)| source.collect_steps(&mut steps));
        steps.sort_unstable();
        steps.dedup();
        steps
    }
}

impl ValueSource {
    /// `Ok(None)` leaves the field unset.
    fn value(&self, context: &Context<'_>) -> Result<Option<Value>, MapError> {
        match self {
            Self::Path(path) => path.read(context),
            Self::Literal(_) | Self::Message(_) | Self::List(_) | Self::Map(_) => {
                self.element(context).map(Some)
            }
        }
    }

    /// A list or map has no place for "absent": the element's default stands in.
    fn element(&self, context: &Context<'_>) -> Result<Value, MapError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Path(path) => Ok(path.read(context)?.unwrap_or_else(|| path.default.clone())),
            Self::Message(mapping) => Ok(Value::Message(mapping.build(context)?)),
            Self::List(elements) => Ok(Value::List(
                elements
                    .iter()
                    .map(|e| e.element(context))
                    .collect::<Result<_, _>>()?,
            )),
            Self::Map(entries) => {
                let entry = |(key, e): &(MapKey, Self)| Ok((key.clone(), e.element(context)?));
                Ok(Value::Map(
                    entries
                        .iter()
                        .map(entry)
                        .collect::<Result<HashMap<_, _>, MapError>>()?,
                ))
            }
        }
    }

    fn check_reply(&self, step: usize, reply: Option<&DynamicMessage>) -> Result<(), MapError> {
        match self {
            Self::Literal(_) => Ok(()),
            Self::Path(path) => path.check_reply(step, reply),
            Self::Message(mapping) => mapping.check_reply(step, reply),
            Self::List(elements) => elements.iter().try_for_each(|e| e.check_reply(step, reply)),
            Self::Map(entries) => entries.iter().try_for_each(|(_, e)| e.check_reply(step, reply)),
        }
    }

    fn collect_steps(&self, steps: &mut Vec<usize>) {
        match self {
            Self::Literal(_) => {}
            Self::Path(path) => steps.extend(path.step_read()),
            Self::Message(mapping) => mapping
                .fields
                .iter()
                .for_each(|(_, source)| source.collect_steps(steps)),
            Self::List(elements) => elements.iter().for_each(|e| e.collect_steps(steps)),
            Self::Map(entries) => entries.iter().for_each(|(_, e)| e.collect_steps(steps)),
        }
    }
}

impl Path {
    /// Returns the path as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the index of the step whose reply is read.
    pub(crate) fn step_read(&self) -> Option<usize> {
        match &self.root {
            Root::Reply { step, .. } => Some(*step),
            Root::Input(_) | Root::Saga(_) => None,
        }
    }

    /// Reads the value. `Ok(None)`: absent, and the definition allows the default.
    pub(crate) fn read(&self, context: &Context<'_>) -> Result<Option<Value>, MapError> {
        let root = match &self.root {
            Root::Saga(value) => return Ok(Some(Value::String(context.saga.get(*value).to_owned()))),
            Root::Input(message) => self.own(context.input, message)?,
            Root::Reply { step, name, message } => {
                let reply = context.replies.get(*step).copied().flatten();
                return self.of_reply(name, message, reply);
            }
        };
        self.follow(root)
    }

    /// Tries to read this step's reply, if the path reads that step's.
    pub(crate) fn check_reply(&self, step: usize, reply: Option<&DynamicMessage>) -> Result<(), MapError> {
        match &self.root {
            Root::Reply {
                step: own,
                name,
                message,
            } if *own == step => self.of_reply(name, message, reply).map(drop),
            Root::Reply { .. } | Root::Input(_) | Root::Saga(_) => Ok(()),
        }
    }

    fn of_reply(
        &self,
        step: &str,
        expected: &MessageDescriptor,
        reply: Option<&DynamicMessage>,
    ) -> Result<Option<Value>, MapError> {
        match reply {
            Some(reply) => self.follow(self.own(reply, expected)?),
            None if self.allow_default => Ok(None),
            None => Err(MapError::AbsentReply {
                path: self.text.clone(),
                step: step.to_owned(),
            }),
        }
    }

    /// Refuses messages whose fields the compiled descriptors do not describe.
    fn own<'m>(
        &self,
        found: &'m DynamicMessage,
        expected: &MessageDescriptor,
    ) -> Result<&'m DynamicMessage, MapError> {
        use prost_reflect::ReflectMessage as _;
        let descriptor = found.descriptor();
        if descriptor == *expected {
            return Ok(found);
        }
        Err(MapError::ForeignMessage {
            path: self.text.clone(),
            expected: expected.full_name().to_owned(),
            found: descriptor.full_name().to_owned(),
        })
    }

    fn follow(&self, root: &DynamicMessage) -> Result<Option<Value>, MapError> {
        let Some((last, way)) = self.fields.split_last() else {
            return Ok(Some(Value::Message(root.clone())));
        };
        let mut message = root;
        for field in way {
            // Every message field has presence, so what is set is borrowed and never a default.
            message = match message.get_field(field) {
                Cow::Borrowed(Value::Message(inner)) if message.has_field(field) => inner,
                Cow::Borrowed(_) | Cow::Owned(_) => return self.absent(field),
            };
        }
        if last.supports_presence() && !message.has_field(last) {
            return self.absent(last);
        }
        Ok(Some(self.convert.apply(message.get_field(last).into_owned())))
    }

    fn absent(&self, field: &FieldDescriptor) -> Result<Option<Value>, MapError> {
        if self.allow_default {
            return Ok(None);
        }
        Err(MapError::AbsentField {
            path: self.text.clone(),
            field: field.full_name().to_owned(),
        })
    }
}

impl Convert {
    fn apply(self, value: Value) -> Value {
        match (self, value) {
            (Self::I32ToI64, Value::I32(n)) => Value::I64(n.into()),
            (Self::U32ToI64, Value::U32(n)) => Value::I64(n.into()),
            (Self::U32ToU64, Value::U32(n)) => Value::U64(n.into()),
            (Self::F32ToF64, Value::F32(x)) => Value::F64(x.into()),
            (_, value) => value,
        }
    }
}

impl SagaContext<'_> {
    fn get(&self, value: SagaValue) -> &str {
        match value {
            SagaValue::Id => self.id,
            SagaValue::BusinessId => self.business_id,
            SagaValue::Reason => self.reason,
            SagaValue::FailedStep => self.failed_step,
            SagaValue::Error => self.error,
        }
    }
}

impl SagaValue {
    /// Every value by its name after `saga.`.
    pub(crate) const NAMES: [(&'static str, Self); 5] = [
        ("id", Self::Id),
        ("business_id", Self::BusinessId),
        ("reason", Self::Reason),
        ("failed_step", Self::FailedStep),
        ("error", Self::Error),
    ];

    /// Tells whether the value exists only once the saga unwinds.
    pub(crate) fn only_unwinding(self) -> bool {
        match self {
            Self::Id | Self::BusinessId => false,
            Self::Reason | Self::FailedStep | Self::Error => true,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
