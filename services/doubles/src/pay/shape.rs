//! What becomes of an answer on its way out.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use futures::{StreamExt, stream};

use super::Lie;
use super::program::{Behaviour, Rule};

/// An answer of the API before it is signed: an HTTP status and a body.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Runs a call and answers as a rule says. `run` has the effect and makes the answer, `refuse` makes a refusal, `sign`
/// signs: not at all, or with the key of the [`Lie`].
pub(crate) async fn shape(
    rule: &Rule,
    run: impl FnOnce(Lie) -> Made,
    refuse: impl FnOnce(u16, &str) -> Made,
    sign: impl FnOnce(Made, Option<Lie>) -> Response,
) -> Response {
    let lie = rule.lie();
    let made = rule.has_effect().then(|| run(lie));
    tokio::time::sleep(Duration::from_millis(rule.delay_ms)).await;
    match (&rule.behaviour, made) {
        (Behaviour::Status(status), _) => status_of(*status).into_response(),
        (Behaviour::Code { code, status }, _) => sign(refuse(*status, code), Some(Lie::None)),
        (Behaviour::Hang, _) => std::future::pending().await,
        (Behaviour::Garbage, _) => "<html>upstream says hello</html>".into_response(),
        (Behaviour::Huge, _) => " ".repeat(4 * 1024 * 1024).into_response(),
        (Behaviour::Redirect(url), _) => Redirect::temporary(url).into_response(),
        (Behaviour::Cut, Some(made)) => cut(&made),
        (Behaviour::Unsigned, Some(made)) => sign(made, None),
        (_, Some(made)) => sign(made, Some(lie)),
        // Only a programme that takes the effect away from an answer comes here.
        (_, None) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

pub(crate) fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Announces the whole answer, sends half of it, and breaks the connection.
fn cut(made: &Made) -> Response {
    let half = Bytes::copy_from_slice(&made.body[..made.body.len() / 2]);
    let broken = stream::iter([Ok(half), Err(std::io::Error::other("cut on purpose"))]);
    Response::builder()
        .status(status_of(made.status))
        .header("content-length", made.body.len().max(1))
        .body(Body::from_stream(broken.boxed()))
        .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}
