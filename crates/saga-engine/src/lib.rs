//! Drives [`saga_core`] over three traits: [`Journal`], [`Participants`], [`Clock`].
//!
//! One task owns every live saga of an instance. An input (an answer, a cancel, the passing of time) is decided by the
//! state machine at once; its events go to a writer; only when they are durable does anything follow from them: calls
//! go out, waiters are answered (journal before call, rule 7). While a saga's events are being written its further
//! inputs wait, so there is never a decision on a state that may not last.
//!
//! Writers drain whatever is queued into one batch (group commit): nothing lingers, and concurrent sagas share a
//! commit. A batch whose outcome is unknown answers nobody; its sagas are loaded again.
//!
//! What it is not: it knows neither protobuf nor SQL nor gRPC; it registers no definitions and serves no API.
//!
//! # Invariants
//! * Nothing leaves (call, answer) that is not derived from durable state.
//! * At most one batch per lane is being written, and a saga stays on one lane.
//! * A participant that hangs holds back its own calls only: what waits for it holds no place that others need.
//! * A fenced engine stops at once: [`Engine::run`] returns [`Stopped::Fenced`], and no call goes out after it.

mod clock;
mod engine;
mod handle;
mod journal;
mod participants;

pub use clock::SystemClock;
pub use engine::{BreakerConfig, Circuit, Config, Engine, Stopped};
pub use handle::{Handle, OperatorRequest, RequestError, Seen, Snapshot, Status, Until, Wait};
pub use journal::{
    Beat, DefinitionId, Entry, Fate, Identity, Journal, JournalError, Loaded, NewSaga, Noted, Row, Transition,
};
pub use participants::{
    Answer, Call, CallResult, Clock, Participant, ParticipantId, ParticipantStatus, Participants,
};
