//! Requests that are repeated under one key have one effect and one answer. For clients and operators:
//! docs/idempotency.md.
//!
//! Two layers share one decision: [`http::Layer`] for POST, PUT and PATCH with a header `Idempotency-Key`, and
//! [`grpc::Layer`] for unary methods with metadata `idempotency-key`. The first request with a key takes a lease in the
//! [key-value store](kv); its answer takes the place of the lease and is replayed to repetitions for a day.
//!
//! ```text
//!           put_if_absent(lease)                 replace(lease, answer)
//!  absent ───────────────────────► running ──────────────────────────────► done ──► absent after 24 h
//!    ▲                               │  ▲                                    │
//!    └── remove_if(lease), or 60 s ──┘  └─ renewed every 20 s                └─ replayed: 200; other request: 422
//! ```
//!
//! # What it is not
//! The place where it is decided whether an effect happens. That is the database of the service, by the request id that the
//! key becomes; the store may be flushed or lost at any moment without doubling anything. This crate spares repetitions
//! the work, and gives them the first answer.
//!
//! # Invariants
//! * Nothing is run under a key whose lease was not taken.
//! * A lease holds a random token; ending, renewing and giving it up compare it. So whoever has lost a lease
//!   changes nothing that its successor wrote.
//! * A request that has begun is run to its end, also when its client has gone.
//! * Keys are per caller ([`Scope`]); one caller never sees the answer of another.
//! * Bounds: keys of 255 bytes, bodies of [`Config::max_body_bytes`], records of [`MAX_RECORD_BYTES`].

mod answer;
mod capture;
mod config;
mod exchange;
mod fingerprint;
pub mod grpc;
pub mod http;
mod key;
mod lease;
mod metric;
mod record;
mod store;

pub use answer::Answer;
pub use config::{Config, ConfigError};
pub use fingerprint::Fingerprint;
pub use key::{InvalidKey, Key, MAX_KEY_BYTES};
pub use lease::Lease;
pub use store::{Begin, Store, Unavailable};

/// Largest record of a finished request: its fingerprint, status, headers and body. The answer to a request whose record would
/// be larger is not kept; a repetition runs again, and the database decides.
pub const MAX_RECORD_BYTES: usize = 5 * 1024;

/// Who is calling, as a request extension set by the layer that authenticates: a user id, a service's name, or
/// `anonymous:<ip>`. A request with a key and without this is refused as a defect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope(pub String);
