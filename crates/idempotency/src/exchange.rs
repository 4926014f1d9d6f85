//! What both layers do with a request that has a key.

use std::panic::resume_unwind;
use std::time::Duration;

use ::http::{HeaderMap, Response, response::Parts};
use bytes::Bytes;
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use rpc::error::Reason;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::answer::{self, Answer, Head};
use crate::capture::{BoxError, Captured, capture};
use crate::metric::{self, Outcome};
use crate::{Begin, Fingerprint, InvalidKey, Key, Lease, MAX_RECORD_BYTES, Scope, Store};

/// When a client may ask again whose request is running, or whose key could not be looked up.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A body of an answer, whoever made it.
pub(crate) type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// What the protocols do not have in common.
pub(crate) trait Protocol: 'static {
    /// Headers and trailers that are kept of an answer.
    const FIELDS: &'static [&'static str];

    /// Says whether an answer that begins like this may be kept. If not, it is passed on as it comes.
    fn begins_well(head: &Parts) -> bool;

    /// Says whether an answer that ended like this is kept.
    fn ends_well(head: &Parts, trailers: Option<&HeaderMap>) -> bool;
}

/// Why a request is not run.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    const fn new(reason: Reason, retry_after: Option<Duration>) -> Self {
        Self { reason, retry_after }
    }
}

/// What is done with a request that has a key.
pub(crate) enum Opening {
    Run(Running),
    Replay(Answer),
    Refuse(Refusal),
}

/// A request whose key was taken.
pub(crate) struct Running {
    lease: Lease,
    /// Time it took to take the key.
    spent: Duration,
}

/// Refuses what is no key.
pub(crate) fn invalid(error: InvalidKey) -> Refusal {
    metric::request(Outcome::Invalid);
    tracing::debug!(%error, "a request is refused");
    Refusal::new(Reason::IdempotencyKeyInvalid, None)
}

/// Reads the body of a request.
pub(crate) async fn read<B>(body: B, most: usize) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => {
            metric::request(Outcome::Invalid);
            let reason = if error.is::<LengthLimitError>() {
                Reason::PayloadTooLarge
            } else {
                Reason::MalformedBody
            };
            Err(Refusal::new(reason, None))
        }
    }
}

/// Takes the key, or says what is done instead.
pub(crate) async fn open(
    store: &Store,
    scope: Option<&Scope>,
    space: &str,
    key: &Key,
    fingerprint: Fingerprint,
) -> Opening {
    let Some(scope) = scope else {
        tracing::error!(
            space,
            "a request with an idempotency key has no scope; a layer is missing"
        );
        return Opening::Refuse(Refusal::new(Reason::Internal, None));
    };
    let begun = Instant::now();
    let begin = store.begin(scope, space, key, fingerprint).await;
    let spent = begun.elapsed();
    let (outcome, opening) = match begin {
        Ok(Begin::Begun(lease)) => (Outcome::New, Opening::Run(Running { lease, spent })),
        Ok(Begin::Replay(answer)) => (Outcome::Replayed, Opening::Replay(answer)),
        Ok(Begin::InFlight) => {
            let refusal = Refusal::new(Reason::IdempotencyKeyInUse, Some(ASK_AGAIN));
            (Outcome::InFlight, Opening::Refuse(refusal))
        }
        Ok(Begin::Mismatch) => {
            let refusal = Refusal::new(Reason::IdempotencyKeyReused, None);
            (Outcome::Mismatch, Opening::Refuse(refusal))
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a request is refused: its idempotency key cannot be looked up"
            );
            let refusal = Refusal::new(Reason::IdempotencyUnavailable, Some(ASK_AGAIN));
            (Outcome::Unavailable, Opening::Refuse(refusal))
        }
    };
    metric::request(outcome);
    if !matches!(opening, Opening::Run(_)) {
        metric::added(spent);
    }
    opening
}

/// Runs the request to its end, in a task of its own: a client that goes away must not leave it half done, nor its key taken.
/// A panic goes on in the caller.
pub(crate) async fn run<P, B, E>(
    running: Running,
    call: impl Future<Output = Result<Response<B>, E>> + Send + 'static,
) -> Result<Response<AnyBody>, E>
where
    P: Protocol,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError> + Unpin + Send,
    E: Send + 'static,
{
    let work = Box::pin(call_and_finish::<P, B, E>(running, Box::pin(call)));
    match tokio::spawn(work.in_current_span()).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Nobody aborts it but a runtime that ends, and we end with that.
            Err(_) => std::future::pending().await,
        },
    }
}

async fn call_and_finish<P, B, E>(
    Running { lease, spent }: Running,
    call: impl Future<Output = Result<Response<B>, E>>,
) -> Result<Response<AnyBody>, E>
where
    P: Protocol,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError> + Unpin + Send,
{
    let work = async {
        let (head, body) = call.await?.into_parts();
        if !P::begins_well(&head) {
            return Ok((Response::from_parts(head, boxed(body)), None));
        }
        Ok(match capture(body, MAX_RECORD_BYTES).await {
            Captured::Partial(rest) => (Response::from_parts(head, boxed(rest)), None),
            Captured::Whole { data, trailers } => {
                let keep = P::ends_well(&head, trailers.as_ref());
                let answer = keep.then(|| kept::<P>(&head, &data, trailers.as_ref()));
                (Response::from_parts(head, whole(data, trailers)), answer)
            }
        })
    };
    let result: Result<(Response<AnyBody>, Option<Answer>), E> = tokio::select! {
        result = work => result,
        never = lease.keep() => match never {},
    };
    let ended = Instant::now();
    let (response, finished) = match result {
        Ok((response, Some(answer))) => (Ok(response), lease.finish(&answer).await.map(drop)),
        Ok((response, None)) => (Ok(response), lease.release().await),
        Err(error) => (Err(error), lease.release().await),
    };
    if let Err(error) = finished {
        // The effect has happened or not; the client gets its answer. A repetition meets the database.
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "an answer was not kept; its key is free again when its lease ends"
        );
    }
    metric::added(spent + ended.elapsed());
    response
}

fn kept<P: Protocol>(head: &Parts, data: &Bytes, trailers: Option<&HeaderMap>) -> Answer {
    let trailers = trailers.map(|fields| answer::pick(fields, P::FIELDS));
    Answer {
        head: Head {
            status: head.status.as_u16(),
            headers: answer::pick(&head.headers, P::FIELDS),
            trailers: trailers.unwrap_or_default(),
        },
        body: data.clone(),
    }
}

/// Makes a response of an answer that was kept.
pub(crate) fn replay(answer: Answer) -> Response<AnyBody> {
    let Answer { head, body } = answer;
    let trailers = answer::unpick(&head.trailers);
    let trailers = (!trailers.is_empty()).then_some(trailers);
    let mut response = Response::new(whole(body, trailers));
    // A record that was written here has a status that was one.
    *response.status_mut() = ::http::StatusCode::from_u16(head.status).unwrap_or_default();
    *response.headers_mut() = answer::unpick(&head.headers);
    response
        .headers_mut()
        .insert("idempotency-replayed", ::http::HeaderValue::from_static("true"));
    response
}

/// Makes a body of any kind the same.
pub(crate) fn boxed<B>(body: B) -> AnyBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

fn whole(data: Bytes, trailers: Option<HeaderMap>) -> AnyBody {
    let body = Full::new(data).map_err(|never| match never {});
    match trailers {
        None => body.boxed_unsync(),
        Some(fields) => body
            .with_trailers(std::future::ready(Some(Ok(fields))))
            .boxed_unsync(),
    }
}
