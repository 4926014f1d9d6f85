//! JSON over HTTP to gRPC and back, from descriptors alone.
//!
//! A [`Transcoder`] reads the `google.api.http` annotations of services. [`Transcoder::route`] finds the method a request means,
//! [`Route::request`] makes its message from path, query and body, [`Route::response`] writes the answer, and [`problem`] the
//! errors. [`openapi`] describes all of it, so that description and behaviour cannot disagree.
//!
//! # Invariants
//! * Nothing that comes from outside makes it panic, and nothing is guessed: an unknown field, a key that comes twice, a value
//!   of another type is an error with the field's name.
//! * JSON goes out in one spelling (lowerCamelCase) and comes in in both.
//! * No network, no clock, no state.
//!
//! # What it is not
//! A server. It does not know who is calling; it can say who may ([`Route::access`]).

pub mod codec;
mod error;
mod json;
pub mod openapi;
pub mod problem;
mod query;
mod route;
mod template;
mod transcoder;

pub use error::{BadRequest, Error, Miss};
pub use json::value as to_json;
pub use problem::{Lang, Problem};
pub use route::Route;
pub use transcoder::Transcoder;
