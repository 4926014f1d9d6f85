//! Mutual TLS of a process: one certificate for its gRPC listeners and its channels, and the authorities it trusts.
//!
//! ```text
//!  tls.certificate ─┐                      ┌─► accept: a listener's side, which demands a certificate
//!  tls.key ─────────┼─► Material ─► Mutual ┤
//!  tls.trust ───────┘     ▲ watch          └─► connect: a channel's side, which shows it and checks the server's name
//! ```
//!
//! * [`Config`] names the files; [`Mutual::open`] reads and checks them, [`Mutual::watch`] reads them again.
//! * [`Leaf`] is what a certificate says of its holder. Who that is for us, the crate `token` knows.
//! * `Authority` (feature `authority`) issues certificates for development and tests.
//!
//! What it is not: an authority for production, or a place that knows services, tokens or who may call what.
//!
//! # Invariants
//! * TLS 1.3 and one provider (aws-lc-rs), whatever else is linked in.
//! * No session is resumed: each connection shows a certificate that is checked then and there.
//! * Files that cannot be used never replace ones that can.
//! * A handshake has a bound in time; whoever accepts bounds how many there are.

#[cfg(feature = "authority")]
pub mod authority;
mod config;
mod error;
mod handshake;
mod leaf;
mod material;
mod metric;
mod mutual;

#[cfg(feature = "authority")]
pub use authority::Authority;
pub use config::Config;
pub use error::{Error, Problem};
pub use handshake::ConnectError;
pub use leaf::{Leaf, LeafError};
pub use mutual::{Expected, Mutual};
