//! `crates/kms` against the double of Tencent Cloud's key management service.

mod fields;
mod outages;
mod silence;
mod walks;
mod world;
