//! One checked call: what it goes to, with what, and when it is repeated.

use prost_reflect::{MessageDescriptor, MethodDescriptor};

use crate::mapping::Mapping;

/// Holds one checked call.
#[derive(Clone, Debug)]
pub struct Call {
    pub(crate) target: Target,
    pub(crate) reply: MessageDescriptor,
    pub(crate) awaits: Option<Await>,
    /// How the request is built.
    pub with: Mapping,
    /// When the call is repeated.
    pub retry: Retry,
    /// Bound of one attempt, in milliseconds: the `grpc-timeout`.
    pub timeout_ms: u64,
}

/// Says what a call goes to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A gRPC method.
    Method {
        /// The method.
        method: MethodDescriptor,
        /// gRPC path, `/package.Service/Method`.
        path: String,
        /// The prefix of [`Participants`](crate::Participants) that answers for the method.
        participant: String,
        /// What makes the method safe to repeat.
        barrier: Barrier,
        /// Why a method without the step option is called all the same.
        unsafe_ack: Option<String>,
    },
    /// An event with the request as its data.
    Publish {
        /// Routing key, `^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$`, at most 200 bytes.
        routing_key: String,
    },
}

/// Says how the final answer may come earlier than it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Await {
    /// The call carries a completion token; the answer comes with it.
    Token,
    /// The request is published with a completion token; the answer is an event that brings it back.
    Reply {
        /// Routing key of the reply; its data is of the call's reply type.
        routing_key: String,
        /// Routing key of "no": data `{reason, message}`.
        failed: Option<String>,
        /// Pause after which the request is published again, in milliseconds, 1 s to 1 h.
        ask_again_ms: u64,
    },
}

/// Says what makes a step method safe to call twice, late, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Barrier {
    /// Behind a barrier row in the participant's own transaction.
    Transactional,
    /// An effect outside the database, bounded by a claim row.
    External,
    /// Harmless by nature.
    Natural,
    /// The method does not say; the definition acknowledges it (`unsafe_ack`).
    Acknowledged,
}

/// Says when a call is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Retry {
    /// Repetitions after the first call. `None`: for ever (everything but compensatable actions).
    pub retries: Option<u32>,
    /// First pause, in milliseconds.
    pub initial_ms: u64,
    /// What each pause is multiplied with to get the next, in thousandths: 2000 doubles.
    pub factor_milli: u32,
    /// Longest pause, in milliseconds.
    pub max_ms: u64,
}

impl Call {
    /// Returns what the call goes to.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the method, unless the call publishes.
    #[must_use]
    pub fn method(&self) -> Option<&MethodDescriptor> {
        match &self.target {
            Target::Method { method, .. } => Some(method),
            Target::Publish { .. } => None,
        }
    }

    /// Returns the type of the request.
    #[must_use]
    pub fn request_type(&self) -> &MessageDescriptor {
        self.with.message()
    }

    /// Returns the type of the reply; `google.protobuf.Empty` where something is published and not awaited.
    #[must_use]
    pub fn reply_type(&self) -> &MessageDescriptor {
        &self.reply
    }

    /// Returns how the final answer may come earlier than it is asked for.
    #[must_use]
    pub fn awaits(&self) -> Option<&Await> {
        self.awaits.as_ref()
    }

    /// Returns the gRPC path or the routing key.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.target {
            Target::Method { path, .. } => path,
            Target::Publish { routing_key } => routing_key,
        }
    }
}
