//! Calls, published requests, and their settings.

use super::{NOWHERE, spanned};
use crate::source::{AwaitSource, CallSource, Expr, RetryPatch, Slot};

/// Builds one call.
#[derive(Clone, Debug)]
pub struct Call(pub(super) CallSource);

impl Call {
    /// Starts a call of `package.Service/Method` with an empty request.
    #[must_use]
    pub fn new(method: &str) -> Self {
        Self(CallSource {
            method: Slot::Given(spanned(method.to_owned())),
            ..empty_call()
        })
    }

    /// Starts an event with this routing key, whose data is a message of this type (a full name), at first empty.
    #[must_use]
    pub fn publish(routing_key: &str, message: &str) -> Self {
        Self(CallSource {
            publish: Slot::Given(spanned(routing_key.to_owned())),
            message: Slot::Given(spanned(message.to_owned())),
            ..empty_call()
        })
    }

    /// Gives the call a completion token, with which its answer may come earlier.
    #[must_use]
    pub fn await_token(mut self) -> Self {
        self.0.awaits = Slot::Given(spanned(AwaitSource::Token));
        self
    }

    /// Waits for the reply to a published request.
    #[must_use]
    pub fn await_reply(mut self, reply: Reply) -> Self {
        self.0.awaits = Slot::Given(spanned(AwaitSource::Reply {
            reply: Slot::Given(spanned(reply.routing_key)),
            message: Slot::Given(spanned(reply.message)),
            failed: reply.failed.map(spanned),
            ask_again: reply.ask_again_ms.map(spanned),
        }));
        self
    }

    pub(super) fn behind(self, prefix: &'static str) -> CallSource {
        CallSource { prefix, ..self.0 }
    }

    /// Sets one field of the request.
    #[must_use]
    pub fn with(mut self, field: &str, value: Expr) -> Self {
        self.0.with.push((spanned(field.to_owned()), value));
        self
    }

    /// Sets the retry settings of this call.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry.0;
        self
    }

    /// Sets the bound of one attempt, in milliseconds.
    #[must_use]
    pub fn timeout_ms(mut self, ms: u64) -> Self {
        self.0.timeout = Some(spanned(ms));
        self
    }

    /// Says why a method without the step option may be called all the same.
    #[must_use]
    pub fn unsafe_ack(mut self, why: &str) -> Self {
        self.0.unsafe_ack = Some(spanned(why.to_owned()));
        self
    }
}

fn empty_call() -> CallSource {
    CallSource {
        at: NOWHERE,
        prefix: "",
        method: Slot::Absent,
        publish: Slot::Absent,
        message: Slot::Absent,
        awaits: Slot::Absent,
        with: Vec::new(),
        retry: RetryPatch::default(),
        timeout: None,
        unsafe_ack: None,
    }
}

/// Describes the reply to a published request.
#[derive(Clone, Debug)]
pub struct Reply {
    routing_key: String,
    message: String,
    failed: Option<String>,
    ask_again_ms: Option<u64>,
}

impl Reply {
    /// Starts a reply with this routing key, whose data is a message of this type (a full name).
    #[must_use]
    pub fn new(routing_key: &str, message: &str) -> Self {
        Self {
            routing_key: routing_key.to_owned(),
            message: message.to_owned(),
            failed: None,
            ask_again_ms: None,
        }
    }

    /// Sets the routing key of "no".
    #[must_use]
    pub fn failed(mut self, routing_key: &str) -> Self {
        self.failed = Some(routing_key.to_owned());
        self
    }

    /// Sets the pause after which the request is published again, in milliseconds.
    #[must_use]
    pub fn ask_again_ms(mut self, ms: u64) -> Self {
        self.ask_again_ms = Some(ms);
        self
    }
}

/// Builds retry settings; what is not set is taken from the settings around them.
#[derive(Clone, Debug, Default)]
pub struct Retry(pub(super) RetryPatch);

impl Retry {
    /// Sets how often a compensatable action is repeated after its first call.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.0.retries = Some(spanned(i128::from(retries)));
        self
    }

    /// Sets the first pause, in milliseconds.
    #[must_use]
    pub fn initial_ms(mut self, ms: u64) -> Self {
        self.0.initial = Some(spanned(ms));
        self
    }

    /// Sets what each pause is multiplied with to get the next.
    #[must_use]
    pub fn factor(mut self, factor: f64) -> Self {
        self.0.factor = Some(spanned(factor));
        self
    }

    /// Sets the longest pause, in milliseconds.
    #[must_use]
    pub fn max_ms(mut self, ms: u64) -> Self {
        self.0.max = Some(spanned(ms));
        self
    }
}
