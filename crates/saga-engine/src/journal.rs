//! The journal: what the engine asks of durable storage.

use std::future::Future;
use std::sync::Arc;

use ids::SagaId;
use saga_core::{Attention, Clock, Millis, OpKey, Payload, Phase, Plan, Reason, Recorded, Start, StepError};

/// Identifies a registered revision of a definition within a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DefinitionId(pub i64);

/// What never changes about one saga.
#[derive(Debug)]
pub struct Identity {
    /// The saga.
    pub id: SagaId,
    /// Name of the definition.
    pub saga_type: Arc<str>,
    /// Business key.
    pub business_id: String,
    /// Revision that the saga was started with, and keeps.
    pub definition: DefinitionId,
    /// Plan of that revision.
    pub plan: Arc<Plan>,
    /// Input.
    pub input: Payload,
    /// W3C trace context of the start, so that every step belongs to the caller's trace.
    pub traceparent: Option<String>,
    /// What the state machine starts from.
    pub start: Start,
    /// Who started it.
    pub actor: String,
}

/// A saga that is to be started.
#[derive(Debug, Clone)]
pub struct NewSaga {
    /// What never changes about it.
    pub identity: Arc<Identity>,
    /// SHA-256 over the canonical input (rule 10).
    pub input_digest: [u8; 32],
}

/// What the saga's row shows besides its events. Written when it differs from what was written before.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Phase.
    pub phase: Phase,
    /// Why it unwinds, if it does.
    pub reason: Option<Reason>,
    /// Position of the step that made it unwind.
    pub failed_step: Option<u16>,
    /// What made it unwind.
    pub error: Option<StepError>,
    /// Whether the commit point is passed.
    pub committed: bool,
    /// The deadline's clock.
    pub clock: Clock,
    /// What a person should look at.
    pub attention: Vec<Attention>,
}

/// An event together with what people want to read about the attempt it came from.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The event.
    pub recorded: Recorded,
    /// Request of the attempt, where the event ended one.
    pub request: Option<Payload>,
    /// How long the attempt took, in milliseconds, where the event ended one.
    pub duration_ms: Option<u32>,
}

/// One saga's change, all or nothing.
#[derive(Debug, Clone)]
pub struct Transition {
    /// What never changes about the saga.
    pub identity: Arc<Identity>,
    /// Present if this creates the saga.
    pub start: Option<NewSaga>,
    /// Number of the first event in `entries`: how many events the saga had before.
    pub first_seq: u32,
    /// Events, in order, without `Event::Ended` (the row's phase says it).
    pub entries: Vec<Entry>,
    /// New row content, if it changed. `at` of the change is the instant of the last event.
    pub row: Option<Row>,
    /// Instant of the transition.
    pub at: Millis,
    /// Clears the count of loads without progress (rule 11).
    pub progressed: bool,
}

/// How a transition fared within a batch that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is durable.
    Durable,
    /// The business key is taken by this saga, started with the same input.
    Exists(SagaId),
    /// The business key is taken by this saga, started with another input.
    InputMismatch(SagaId),
    /// The database will not take this row, ever; it was left out so that its neighbours could be written.
    Unwritable(String),
}

/// A batch that was not, or perhaps not, committed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// This instance was replaced: its epoch is not the current one. Nothing was written, nothing may be done.
    #[error("this instance was taken over by another")]
    Fenced,
    /// It may or may not be durable. Nobody may be answered; the sagas are to be loaded again.
    #[error("it is unknown whether the journal took the write")]
    Unknown(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What became of an operator's note about a saga that nobody drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It is durable.
    Done,
    /// The saga has another version: somebody was faster.
    Changed {
        /// The one it has.
        version: u32,
    },
    /// The saga is not parked (to release it), has not ended or needs no attention (to acknowledge it), or is not to be
    /// found.
    NotAllowed,
}

/// What a renewal of the lease brings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    /// Types whose sagas make no calls.
    pub paused_types: Vec<Arc<str>>,
}

/// A saga as loaded.
#[derive(Debug)]
pub struct Loaded {
    /// What never changes about it.
    pub identity: Arc<Identity>,
    /// Its events, in order, without an `Ended`.
    pub events: Vec<Recorded>,
    /// Row content as written.
    pub row: Row,
    /// How often it was loaded after a crash without having made progress since.
    pub claims: u32,
    /// It was parked by quarantine and must not be driven.
    pub quarantined: bool,
}

/// Durable storage of sagas, as one instance sees it.
///
/// Every write carries the fence of the instance: it happens only if the instance still has its epoch (rule 8).
pub trait Journal: Send + Sync + 'static {
    /// Returns the epoch of this instance.
    fn epoch(&self) -> u64;

    /// Writes a batch in one transaction, under the fence. Transitions are of different sagas.
    ///
    /// `lane` is the writer's number; one saga is always written by the same lane.
    fn append(
        &self,
        lane: usize,
        batch: &[Transition],
    ) -> impl Future<Output = Result<Vec<Fate>, JournalError>> + Send;

    /// Loads these sagas, if this instance owns them and they have not ended.
    fn load(&self, sagas: Vec<SagaId>) -> impl Future<Output = Result<Vec<Loaded>, JournalError>> + Send;

    /// Lists unfinished sagas of this instance after `after`, oldest first, at most `limit`, with their claims.
    /// Sagas in a format that this program does not know are not listed.
    fn owned(
        &self,
        after: Option<SagaId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(SagaId, u32)>, JournalError>> + Send;

    /// Counts one more load without progress for these sagas, durably, before they are driven.
    fn count_claims(&self, sagas: Vec<SagaId>) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// Forgets earlier loads without progress: these sagas have been driven for a while and nothing broke.
    fn clear_claims(&self, sagas: Vec<SagaId>) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// Parks a saga: it is shown to operators and not driven any more.
    fn quarantine(&self, saga: SagaId, why: String) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// Takes a saga out of quarantine and forgets its loads without progress, if this instance owns it and it has as many
    /// events as `expected_version`; appends `recorded` to its events in the same transaction.
    fn release(
        &self,
        saga: SagaId,
        expected_version: u32,
        recorded: Recorded,
    ) -> impl Future<Output = Result<Noted, JournalError>> + Send;

    /// Clears the attention of a saga that has ended, whoever owned it, if its version (the number of its events and one
    /// for its end) is `expected_version`; appends `recorded` to its events in the same transaction.
    fn acknowledge(
        &self,
        saga: SagaId,
        expected_version: u32,
        recorded: Recorded,
    ) -> impl Future<Output = Result<Noted, JournalError>> + Send;

    /// Renews this instance's lease, and brings what all instances are to know.
    fn beat(&self) -> impl Future<Output = Result<Beat, JournalError>> + Send;

    /// Gives the lease up, so that others may take this instance's sagas over at once. Nothing is written under this
    /// epoch any more.
    fn resign(&self) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// Takes over sagas of instances whose lease has run out, a chunk at a time; returns those now owned by this
    /// instance. Empty when there is nothing to take. Not asked while there is no room for more sagas.
    fn take_over(&self, limit: usize) -> impl Future<Output = Result<Vec<SagaId>, JournalError>> + Send;
}

impl Transition {
    /// Tells which operation keys the transition concerns; for logs.
    pub fn keys(&self) -> impl Iterator<Item = OpKey> + '_ {
        use saga_core::Event;
        self.entries
            .iter()
            .filter_map(|entry| match &entry.recorded.event {
                Event::Succeeded { key, .. }
                | Event::Refused { key, .. }
                | Event::Failed { key, .. }
                | Event::Pending { key, .. }
                | Event::Abandoned { key }
                | Event::Skipped { key }
                | Event::LateSuccess { key, .. } => Some(*key),
                Event::Operator { key, .. } => *key,
                Event::Unwinding { .. } | Event::Committed | Event::DeadlineMissed | Event::Ended { .. } => {
                    None
                }
            })
    }
}
