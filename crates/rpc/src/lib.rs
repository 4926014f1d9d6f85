//! Wire conventions between Evenkeel's services, and with anybody's participants.
//!
//! * [`error`]: the one catalogue of reason codes, each with its gRPC code, HTTP status and texts.
//! * [`step`]: the metadata that a saga sends with every step call, and what a participant may answer besides a reply.
//! * [`outcome`]: what a gRPC answer says about the operation (not about the attempt).
//! * [`channel`]: client channels with the settings that matter (TCP_NODELAY, keep-alive, connect timeout), and with the
//!   certificate of the process.
//! * [`repeat`]: making a call again that has one effect however often it is made.
//!
//! What it is not: a transport, the retry policy of steps (the orchestrator's), or a server.

pub mod channel;
pub mod error;
pub mod outcome;
pub mod repeat;
pub mod step;

/// Metadata in which the gateway says from which address its client came: it counts for rate limits and is shown in lists of
/// sessions. The gateway drops what clients send under this name.
pub const CLIENT_IP_HEADER: &str = "evenkeel-client-ip";
