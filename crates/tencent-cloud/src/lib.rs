//! Calls of Tencent Cloud's API 3.0: a POST of JSON, signed with TC3-HMAC-SHA256.
//!
//! What it is not: a client of any one product. Which actions there are, what their codes mean, and whether a call may be
//! repeated, is known where it is made.
//!
//! # Invariants
//! * A call ends in one of three ways: an answer, a [refusal](Failure::Refused) by a code of the API, or nobody
//!   [knows](Failure::Unknown).
//! * Time and size of an answer are bounded. Redirects are not followed: a signed request goes where it was signed for.
//! * Neither the key nor anything that was sent or answered is in an error or a `Debug`; of an answer, only its code. The
//!   key, what is derived from it, and answers are zeroised here; what is sent, and the buffers of HTTP and TLS below, are
//!   not ours to clear.

mod answer;
mod clock;
mod http;
mod signature;

use std::time::Duration;

pub use answer::{Doubt, Failure, answer};
pub use clock::Clock;
pub use http::{Account, Client, ConfigError, Endpoint};
pub use signature::{Call, authorization};

/// Largest answer that is read, in bytes.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How long a connection may take; the whole call has the [`Endpoint`]'s time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
