//! Tokens as they are sent, keys as they are had, and the layer as it is served.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; allow-unwrap-in-tests sees only test functions"
)]

mod fetching;
mod layer;
mod mutual_tls;
mod support;
mod tampering;
mod tokens;
