//! JSON over HTTP to gRPC and back, and the OpenAPI document, from descriptors.
//!
//! A [`Transcoder`] is built once from the annotations `google.api.http` of the protos. [`Transcoder::route`] finds the
//! method of a path, [`Route::request`] makes its request of path, query and body, [`Route::response`] writes the reply,
//! [`codec::DynamicCodec`] is what tonic needs for the call between, and a [`Problem`] is what the client gets if any of
//! it fails.
//!
//! What it is not: it does no I/O and keeps no clock; headers, sizes, compression, deadlines and HEAD (to be routed as
//! GET) are the caller's.
//!
//! # JSON in
//! Strict, since what is read otherwise than meant does harm: UTF-8; no key twice, at any depth, in either spelling; no
//! unknown field; nothing behind the value; bounded depth, number of values and nesting of messages.
//! - Names are the JSON name (`status`) or the proto's (`state`). null is absence.
//! - Enum values have their name with or without the prefix of their type, or their number, which must exist.
//! - Integers are numbers or strings that hold one; `1e2` and `100.0` are 100; nothing is rounded or cut to fit.
//! - bytes are base64 in both alphabets; times RFC 3339; durations `1.5s`. No string holds U+0000.
//! - Of a oneof one member is given. A field that the path fills may be in a body of `*` with the same value.
//!
//! # Query in
//! Whatever neither path nor body fills: nested fields with dots, repeated fields by repetition, no other key twice, no
//! unknown key. Messages with fields of their own, maps, and `google.protobuf.Struct` cannot stand there.
//!
//! # JSON out
//! Names are the JSON names. Fields without presence are always written; absent messages and optional fields never.
//! Enum values lose the prefix of their type (`TASK_STATE_PENDING` is `PENDING`, the zero value `UNSPECIFIED`) unless one
//! of the type lacks it; a value that these descriptors do not have is its number. 64-bit integers are numbers, and so
//! are floats, without fraction if they have none; what is not finite is a string. A field named by `response_body` is
//! the whole answer, null if it is absent.
//!
//! # Invariants
//! - Nothing here panics on any path, query, body or reply.
//! - A [`Transcoder`] exists only if every binding can work and no two want the same request.
//! - What [`Route::request`] returns can be encoded, and prost decodes it: [`MAX_MESSAGE_DEPTH`].
//! - Which template answers depends on the path alone, then the method decides between it and "not allowed".
//! - Work and memory are linear in the size of path, query and body.

mod access;
mod bad_request;
mod binding;
pub mod codec;
mod decode;
mod encode;
mod enums;
mod error;
mod json;
mod lang;
mod matcher;
mod openapi;
mod percent;
pub mod problem;
mod query;
mod route;
mod rule;
mod template;
mod transcoder;
mod well_known;

pub use crate::bad_request::{BadRequest, Position};
pub use crate::decode::MAX_MESSAGE_DEPTH;
pub use crate::encode::{Unwritable, to_json};
pub use crate::error::{Error, Mistake};
pub use crate::json::{MAX_JSON_DEPTH, MAX_JSON_VALUES};
pub use crate::lang::Lang;
pub use crate::openapi::{Info, OpenApiVersion};
pub use crate::problem::Problem;
pub use crate::route::Route;
pub use crate::template::TemplateError;
pub use crate::transcoder::{Miss, Transcoder};
