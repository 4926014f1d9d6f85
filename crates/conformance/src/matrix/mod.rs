//! Does a definition end as it may, whatever is refused, repeated, lost or killed?
//!
//! A [`World`] brings an orchestrator that can be killed, a definition, and inputs; the [`Interposer`](crate::Interposer) stands between the
//! orchestrator and the participants. Each [`Property`] is tried at every call of the definition, found by running one saga
//! that completes and one that is refused at its last refusable step.

mod properties;
mod stage;

use std::future::Future;
use std::time::{Duration, Instant};

use proto::saga::v1::Saga;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use rpc::step::Op;

use crate::{Seen, Verdict};
use stage::Miss;
pub use stage::Stage;

/// A definition with its orchestrator and its participants.
pub trait World {
    /// Name of the definition, registered and active.
    fn saga(&self) -> &str;

    /// A client of the orchestrator, which is at the same address after a crash.
    fn sagas(&self) -> SagaServiceClient<token::Channel>;

    /// Input of one more saga, which would complete.
    fn next(&mut self) -> Started;

    /// Kills the orchestrator without notice, and starts it again.
    ///
    /// # Errors
    /// In words, if it does not start.
    fn crash(&mut self) -> impl Future<Output = Result<(), String>>;

    /// Checks what must hold when this saga has ended and no other is under way.
    ///
    /// # Errors
    /// In words, if it does not.
    fn settled(&self, saga: &Saga) -> impl Future<Output = Result<(), String>>;

    /// Tells whether the journal keeps that a step said no which cannot be refused, whether or not it has healed since.
    ///
    /// # Errors
    /// In words, if that cannot be known.
    fn was_told(&self, saga_id: &str) -> impl Future<Output = Result<bool, String>>;
}

/// What a saga is started with.
#[derive(Debug, Clone)]
pub struct Started {
    /// New each time.
    pub business_id: String,
    /// As JSON.
    pub input: String,
}

/// How long is waited.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For one saga to end, or one call to come.
    pub patience: Duration,
    /// For everything; what has not been tried by then is not.
    pub until: Instant,
}

/// What is tried at every call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// A step that is refused compensates; one that cannot be refused raises attention and heals.
    Refused,
    /// Every call comes three times, twice at once.
    Repeated,
    /// Every reply is lost once.
    ReplyLost,
    /// The orchestrator is killed before and after every call.
    Crash,
    /// A compensation that says no raises attention and heals.
    CompensationRefused,
    /// Somebody cancels while a call is under way: before the commit point all is undone, past it they are told no.
    Cancelled,
}

impl Property {
    /// Every property.
    pub const ALL: [Self; 6] = [
        Self::Refused,
        Self::Repeated,
        Self::ReplyLost,
        Self::Crash,
        Self::CompensationRefused,
        Self::Cancelled,
    ];
}

/// What one fault at one call led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The step; `*` for all of them in one saga.
    pub step: String,
    /// Its action or its compensation; absent for all.
    pub op: Option<Op>,
    /// What was done to it.
    pub fault: &'static str,
    /// Whether all went as it may.
    pub verdict: Verdict,
    /// How it ended.
    pub saw: String,
    /// What to do about it; empty unless it failed.
    pub next: String,
}

/// Where a definition can be hit.
#[derive(Debug, Clone)]
struct Case {
    /// All calls if absent.
    at: Option<Seen>,
    fault: &'static str,
}

impl Case {
    fn all(fault: &'static str) -> Self {
        Self { at: None, fault }
    }

    fn at(seen: &Seen, fault: &'static str) -> Self {
        Self {
            at: Some(seen.clone()),
            fault,
        }
    }

    fn row(self, found: Result<String, Miss>) -> Row {
        let (verdict, saw, next) = match found {
            Ok(saw) => (Verdict::Pass, saw, String::new()),
            Err(Miss::Failed { saw, next }) => (Verdict::Fail, saw, next),
            Err(Miss::Untried(why)) => (Verdict::Skip, why, String::new()),
        };
        let (step, op) = match self.at {
            None => ("*".to_owned(), None),
            Some(seen) => (seen.step, Some(seen.op)),
        };
        Row {
            step,
            op,
            fault: self.fault,
            verdict,
            saw,
            next,
        }
    }
}

impl<W: World> Stage<W> {
    /// Tries a property at every call, and tells each result.
    pub async fn run(&mut self, property: Property, tell: &mut impl FnMut(&Row)) -> Vec<Row> {
        let mut rows = Rows {
            rows: Vec::new(),
            tell,
        };
        match property {
            Property::Refused => properties::refused(self, &mut rows).await,
            Property::Repeated => properties::repeated(self, &mut rows).await,
            Property::ReplyLost => properties::reply_lost(self, &mut rows).await,
            Property::Crash => properties::crash(self, &mut rows).await,
            Property::CompensationRefused => properties::compensation_refused(self, &mut rows).await,
            Property::Cancelled => properties::cancelled(self, &mut rows).await,
        }
        rows.rows
    }

    /// Runs a saga in a world that has been told to refuse this step, which the interposer cannot since the step is not called.
    pub async fn refused_by_world(&mut self, step: &str, tell: &mut impl FnMut(&Row)) -> Row {
        let seen = Seen {
            step: step.to_owned(),
            op: Op::Action,
            refusable: true,
        };
        let found = properties::refused_by_world(self, step).await;
        let row = Case::at(&seen, properties::REFUSED).row(found);
        tell(&row);
        row
    }

    /// What the definition runs in.
    pub const fn world(&self) -> &W {
        &self.world
    }
}

/// Results, told as they come.
struct Rows<'a, F> {
    rows: Vec<Row>,
    tell: &'a mut F,
}

impl<F: FnMut(&Row)> Rows<'_, F> {
    fn add(&mut self, case: Case, found: Result<String, Miss>) {
        let row = case.row(found);
        (self.tell)(&row);
        self.rows.push(row);
    }
}
