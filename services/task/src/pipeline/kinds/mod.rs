//! What steps can do. A new kind is a file here and a variant of [`Kind`] with its line in [`Kind::handler`].

pub mod delay;
pub mod http;
pub mod transform;

use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::spec::{Retry, Scope};
use super::template::Context;

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// Calls a provider.
    Http(http::Http),
    /// Builds a value from earlier ones.
    Transform(transform::Transform),
    /// Waits.
    Delay(delay::Delay),
}

impl Kind {
    /// Returns the code of the kind.
    #[must_use]
    pub fn handler(&self) -> &dyn Handler {
        match self {
            Self::Http(kind) => kind,
            Self::Transform(kind) => kind,
            Self::Delay(kind) => kind,
        }
    }
}

/// The code of one kind of step.
pub trait Handler: Send + Sync {
    /// Says what is wrong with the step as configured; empty if nothing is.
    fn problems(&self, scope: &Scope<'_>) -> Vec<String>;

    /// Makes one attempt. Dropped in the middle if the run is stopped or the lease is lost.
    fn attempt<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Outcome>;

    /// Says how the step is repeated after [`Outcome::Again`].
    fn retry(&self) -> Retry {
        Retry::default()
    }
}

/// One attempt of a step.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What templates are filled in from.
    pub context: &'a Context,
    /// Providers to call.
    pub providers: &'a http::Providers,
    /// Id of the attempt, the same if it is repeated after a crash: `<task>/<step>/<attempt>`.
    pub request_id: &'a str,
    /// The step answered [`Outcome::Wait`] before, and that time is over.
    pub waited: bool,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The step is done, with this output.
    Done(Value),
    /// Nothing to do until this time has passed; then the same attempt goes on, with `waited` set.
    Wait(Duration),
    /// It failed in a way that may pass.
    Again(Again),
    /// It failed for good, for this reason. Read by the user: no internals, no secrets.
    Failed(String),
}

/// A failure that may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    /// Why. Read by the user if it is the last one.
    pub cause: String,
    /// Whether the other side certainly knows how the attempt ended. If so the next call is a new attempt with a new
    /// request id; if not, the same one is made again, so that an effect which did happen is not doubled.
    pub ended: bool,
    /// Wait exactly this long, because the other side asked for it; such a failure uses up no retry.
    pub after: Option<Duration>,
}
