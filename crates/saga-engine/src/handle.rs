//! The engine's door: requests from the API to the engine's task.

use std::sync::Arc;
use std::time::Duration;

use ids::SagaId;
use saga_core::{Command, Completion, Millis, OpKey, State, StepError};
use tokio::sync::{mpsc, oneshot};

use crate::journal::{Identity, NewSaga};
use crate::participants::ParticipantStatus;

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Nothing: answer when the saga is durable.
    Durable,
    /// Until this step has succeeded, or can no longer succeed.
    Step(u16),
    /// Until the saga has ended.
    End,
    /// Until it has more events than this.
    NewerThan(u32),
}

/// A saga as the engine saw it when its latest change had become durable.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What never changes about it.
    pub identity: Arc<Identity>,
    /// Its state.
    pub state: State,
    /// How many events it has.
    pub events: u32,
    /// Instant of its latest change; of its start if nothing has happened since.
    pub at: Millis,
    /// What each open operation waits for.
    pub waits: Vec<(OpKey, Wait)>,
}

/// What an open operation waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// The answer to a call that is in flight, or about to be.
    Answer,
    /// The time of its next attempt.
    Retry {
        /// When that is.
        at: Millis,
    },
    /// The participant works on it, and is asked again.
    AskAgain {
        /// When that is.
        at: Millis,
    },
    /// The saga unwinds; an attempt from before is waited for.
    Drain {
        /// No longer than this.
        until: Millis,
    },
    /// Its participant has as many calls as it may have.
    Place {
        /// The participant.
        participant: Arc<str>,
    },
    /// Its participant does not answer, so calls are held back.
    Circuit {
        /// The participant.
        participant: Arc<str>,
        /// When one call is let through; absent while that one is in flight.
        until: Option<Millis>,
    },
    /// This instance has as many calls as it may have, or does not hold its lease at the moment.
    Instance,
    /// The type is paused.
    TypePaused,
    /// The saga is paused.
    Paused,
}

/// What an operator wants done about a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorRequest {
    /// Who.
    pub actor: Arc<str>,
    /// Why.
    pub note: Arc<str>,
    /// What proves it; empty where none is needed.
    pub evidence: Arc<str>,
    /// What.
    pub command: Command,
    /// Version of the saga on which it was decided: the number of its events, and one for its end.
    pub expected_version: u32,
}

/// What a request found.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The saga.
    pub saga: SagaId,
    /// Whether this request created it.
    pub created: bool,
    /// Whether what was waited for was reached.
    pub reached: bool,
    /// The saga; `None` if another instance drives it, it had ended before, or the bound passed: read the journal.
    pub snapshot: Option<Box<Snapshot>>,
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The business key is taken by a saga with another input.
    #[error("the business key is taken by {0}, which was started with another input")]
    InputMismatch(SagaId),
    /// Too many live sagas, or too many requests waiting. Nothing was done.
    #[error("too many sagas are live; try again later")]
    Overloaded,
    /// The engine does not drive this saga: another instance does, or it has ended.
    #[error("this instance does not drive the saga")]
    NotHere,
    /// The saga ended before the request's turn came.
    #[error("the saga has ended")]
    Ended,
    /// The saga is past the point where it could be undone.
    #[error("the saga is past the point where it could be undone")]
    PastCommitPoint,
    /// The saga is not as it was when the operator decided. Nothing was done.
    #[error("the saga has changed; it has version {version} now")]
    Changed {
        /// Version that it has.
        version: u32,
    },
    /// The state of the saga does not allow what the operator wants.
    #[error("the state of the saga does not allow this")]
    NotAllowed,
    /// The operation was not called yet, so that nobody can have been asked to answer it.
    #[error("the operation does not wait for an answer yet")]
    NotOpen,
    /// The operation has its answer already.
    #[error("the operation has its answer already")]
    Answered,
    /// The operation was given up; a success is on record, and needs attention.
    #[error("the operation was given up")]
    GivenUp,
    /// It is not known whether it was done: ask again.
    #[error("it is unknown whether the journal took the write; ask again")]
    Unknown,
    /// The journal cannot hold what was asked.
    #[error("the journal cannot hold it: {0}")]
    Unwritable(String),
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
}

/// Where a request is answered.
pub(crate) type Answer = oneshot::Sender<Result<Seen, RequestError>>;

/// A request to the engine.
#[derive(Debug)]
pub(crate) enum Request {
    /// `durable` is answered when the saga is durable, `wait` when its condition is met.
    Start {
        saga: Box<NewSaga>,
        durable: Answer,
        wait: Option<(Until, Answer)>,
    },
    Wait {
        saga: SagaId,
        until: Until,
        answer: Answer,
    },
    Cancel {
        saga: SagaId,
        actor: Arc<str>,
        note: StepError,
        answer: Answer,
    },
    Complete {
        saga: SagaId,
        key: OpKey,
        result: Completion,
        answer: Answer,
    },
    Operate {
        saga: SagaId,
        request: Box<OperatorRequest>,
        answer: Answer,
    },
    Release {
        saga: SagaId,
        actor: Arc<str>,
        note: Arc<str>,
        expected_version: u32,
        answer: Answer,
    },
    AskAgain {
        saga: SagaId,
        answer: oneshot::Sender<Result<(), RequestError>>,
    },
    PauseTypes {
        types: Vec<Arc<str>>,
        answer: oneshot::Sender<()>,
    },
    Status {
        answer: oneshot::Sender<Status>,
    },
}

/// Numbers about a running engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Sagas in memory.
    pub live: usize,
    /// Sagas that wait for long and have left memory until something concerns them.
    pub passive: usize,
    /// Sagas of this instance that wait to be loaded.
    pub to_load: usize,
    /// Calls in flight.
    pub calls: usize,
    /// Entries on the heap of alarms, stale ones included.
    pub alarms: usize,
    /// Whether the lease is held, so that calls may go out.
    pub leased: bool,
    /// Every participant.
    pub participants: Vec<ParticipantStatus>,
    /// Types whose sagas make no calls, sorted.
    pub paused_types: Vec<Arc<str>>,
}

/// A cheap handle to a running engine.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) requests: mpsc::Sender<Request>,
}

impl Handle {
    /// Starts a saga, or finds the one with the same business key, and waits at most `bound` for `until`.
    ///
    /// # Errors
    /// See [`RequestError`]. With `Unknown` the saga may exist: asking again with the same key is safe.
    pub async fn start(&self, saga: NewSaga, until: Until, bound: Duration) -> Result<Seen, RequestError> {
        let (durable, is_durable) = oneshot::channel();
        let (wait, waited) = oneshot::channel();
        let wait = (until != Until::Durable).then_some((until, wait));
        let waits = wait.is_some();
        self.send(Request::Start {
            saga: Box::new(saga),
            durable,
            wait,
        })?;
        // Not bounded by `bound`: whoever started a saga is told whether it is durable. Only the wait after it is.
        let seen = is_durable.await.map_err(|_| RequestError::Stopped)??;
        if !waits {
            return Ok(seen);
        }
        match tokio::time::timeout(bound, waited).await {
            Ok(Ok(Ok(reached))) => Ok(Seen {
                created: seen.created,
                ..reached
            }),
            // It ended before, lives elsewhere, or the bound passed: the caller reads the journal.
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => Ok(Seen {
                reached: false,
                snapshot: None,
                ..seen
            }),
        }
    }

    /// Waits at most `bound` for `until`.
    ///
    /// # Errors
    /// `NotHere` if this instance does not drive the saga; `Overloaded`, `Stopped`.
    pub async fn wait(&self, saga: SagaId, until: Until, bound: Duration) -> Result<Seen, RequestError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Wait { saga, until, answer })?;
        match tokio::time::timeout(bound, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(RequestError::Stopped),
            Err(_) => Ok(Seen {
                saga,
                created: false,
                reached: false,
                snapshot: None,
            }),
        }
    }

    /// Asks a saga to unwind; answered when that is durable.
    ///
    /// # Errors
    /// `NotHere`, `PastCommitPoint`, `Unknown`, `Overloaded`, `Stopped`.
    pub async fn cancel(&self, saga: SagaId, actor: Arc<str>, note: StepError) -> Result<Seen, RequestError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Cancel {
            saga,
            actor,
            note,
            answer,
        })?;
        answered.await.map_err(|_| RequestError::Stopped)?
    }

    /// Brings the final answer of an operation, other than in reply to a call; answered when it is durable.
    ///
    /// # Errors
    /// `NotOpen` before the operation is called; `Answered` if it has an answer; `GivenUp` if the saga no longer waits for
    /// it (a success is then on record and needs attention); `Ended`, `NotHere`, `Unknown`, `Overloaded`, `Stopped`.
    pub async fn complete(&self, saga: SagaId, key: OpKey, result: Completion) -> Result<Seen, RequestError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Complete {
            saga,
            key,
            result,
            answer,
        })?;
        answered.await.map_err(|_| RequestError::Stopped)?
    }

    /// Asks the pending operations of a saga at once, instead of when they wanted to be asked. A hint: nothing is written.
    ///
    /// An operation that is being asked at this moment may have looked too early; it is asked once more.
    ///
    /// # Errors
    /// `NotHere` if this instance does not drive the saga; `Overloaded`, `Stopped`.
    pub async fn ask_again(&self, saga: SagaId) -> Result<(), RequestError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::AskAgain { saga, answer })?;
        answered.await.map_err(|_| RequestError::Stopped)?
    }

    /// Does what an operator wants, if the saga is as the operator saw it; answered when that is durable.
    ///
    /// `Command::Acknowledge` may concern a saga that has ended, wherever it was driven: the answer then has no snapshot.
    ///
    /// # Errors
    /// `Changed` if it is not as the operator saw it; `NotAllowed` if its state does not allow it; `NotHere`, `Ended`,
    /// `Unknown`, `Overloaded`, `Stopped`.
    pub async fn operate(&self, saga: SagaId, request: OperatorRequest) -> Result<Seen, RequestError> {
        let (answer, answered) = oneshot::channel();
        let request = Box::new(request);
        self.send(Request::Operate {
            saga,
            request,
            answer,
        })?;
        answered.await.map_err(|_| RequestError::Stopped)?
    }

    /// Drives a parked saga again; answered, without a snapshot, when it is durable that it is not parked any more.
    ///
    /// # Errors
    /// `Changed` if it is not as the operator saw it; `NotAllowed` if it is not parked or not this instance's; `NotHere`
    /// while it is being parked or loaded: ask again; `Unknown`, `Overloaded`, `Stopped`.
    pub async fn release(
        &self,
        saga: SagaId,
        actor: Arc<str>,
        note: Arc<str>,
        expected_version: u32,
    ) -> Result<Seen, RequestError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Release {
            saga,
            actor,
            note,
            expected_version,
            answer,
        })?;
        answered.await.map_err(|_| RequestError::Stopped)?
    }

    /// Tells which types are paused: their sagas make no calls until another set without them is told. To be called after
    /// the journal has taken note; what a beat brings replaces it.
    ///
    /// # Errors
    /// `Overloaded`, `Stopped`.
    pub async fn set_paused_types(&self, types: Vec<Arc<str>>) -> Result<(), RequestError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::PauseTypes { types, answer })?;
        answered.await.map_err(|_| RequestError::Stopped)
    }

    /// Returns numbers about the engine.
    ///
    /// # Errors
    /// `Overloaded`, `Stopped`.
    pub async fn status(&self) -> Result<Status, RequestError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Status { answer })?;
        answered.await.map_err(|_| RequestError::Stopped)
    }

    fn send(&self, request: Request) -> Result<(), RequestError> {
        self.requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RequestError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => RequestError::Stopped,
        })
    }
}
