//! Calling a step as the orchestrator does.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use http::uri::PathAndQuery;
use ids::SagaId;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use rpc::error::{self, Reason, code_name};
use rpc::outcome::{Verdict, classify};
use rpc::step::{self, Op, StepCall};
use token::Bearer;
use tonic::{Code, Request, Response, Status};
use transcode::codec::DynamicCodec;

/// Pause before a call that met a busy participant comes again.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause that "not yet" is taken at.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A way to the participant, and who calls over it.
#[derive(Clone)]
pub struct Line {
    /// Where it answers.
    pub channel: rpc::channel::Channel,
    /// What says that the orchestrator calls; absent if the participant does not ask.
    pub bearer: Option<Bearer>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("bearer", &self.bearer.is_some())
            .finish_non_exhaustive()
    }
}

/// The idempotency key, but for the operation, and what else a call carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) saga: SagaId,
    pub(super) step: &'static str,
    pub(super) index: u32,
    pub(super) refusable: bool,
}

/// What one attempt was answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// Done, for good.
    Reply(DynamicMessage),
    /// Not yet; the header's value, and the pause it stands for.
    Pending { header: String, pause: Duration },
    /// A definite no.
    Refused { told: Told, stored: bool },
    /// A compensation came first.
    Superseded,
    /// The key was used with another request.
    Mismatch,
    /// Nobody can know: busy, broken, or gone.
    Unknown { told: Told, busy: bool },
}

/// An error in the participant's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) code: &'static str,
    pub(super) reason: String,
    pub(super) domain: String,
    pub(super) message: String,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)?;
        if !self.reason.is_empty() {
            write!(f, " {} ({})", self.reason, self.domain)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

impl Answer {
    /// The reply, if it is one; else the answer.
    pub(super) fn reply(self) -> Result<DynamicMessage, Self> {
        if let Self::Reply(reply) = self {
            Ok(reply)
        } else {
            Err(self)
        }
    }

    /// Whether the same call may be answered otherwise later.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Pending { .. } | Self::Unknown { busy: true, .. })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(reply) => match saga_definition::encode_json(reply) {
                Ok(json) => write!(f, "OK {json}"),
                Err(_) => f.write_str("OK"),
            },
            Self::Pending { header, .. } => write!(f, "OK, not yet ({}: {header})", step::PENDING_HEADER),
            Self::Refused { told, stored: true } => write!(f, "{told}, marked as stored"),
            Self::Refused { told, stored: false } => write!(f, "{told}, not marked as stored"),
            Self::Superseded => f.write_str(Reason::Superseded.name()),
            Self::Mismatch => f.write_str(Reason::BarrierMismatch.name()),
            Self::Unknown { told, .. } => write!(f, "{told}"),
        }
    }
}

/// Calls a step once.
pub(super) async fn attempt(
    line: &Line,
    method: &MethodDescriptor,
    (key, op): (Key, Op),
    message: DynamicMessage,
    domain: &str,
    limit: Duration,
) -> Answer {
    let mut request = Request::new(message);
    StepCall {
        saga_id: key.saga,
        step: key.step.to_owned(),
        index: key.index,
        op,
        attempt: 1,
        epoch: 1,
        refusable: key.refusable,
    }
    .write(request.metadata_mut());
    match send(line, method, request, limit).await {
        Ok(response) => of_reply(response),
        Err(status) => of_status(&status, domain),
    }
}

/// The same until the answer is final, or the patience is over: then the last one. Counts the answers that were not final.
pub(super) async fn until_final(
    line: &Line,
    method: &MethodDescriptor,
    (key, op): (Key, Op),
    message: &DynamicMessage,
    domain: &str,
    patience: Duration,
) -> (Answer, Vec<String>) {
    let begun = Instant::now();
    let mut pending = Vec::new();
    loop {
        let left = patience.saturating_sub(begun.elapsed());
        let answer = attempt(line, method, (key, op), message.clone(), domain, left).await;
        let pause = match &answer {
            Answer::Pending { header, pause } => {
                pending.push(header.clone());
                (*pause).min(LONGEST_PAUSE)
            }
            Answer::Unknown { busy: true, .. } => BUSY_PAUSE,
            Answer::Unknown { busy: false, .. }
            | Answer::Reply(_)
            | Answer::Refused { .. }
            | Answer::Superseded
            | Answer::Mismatch => return (answer, pending),
        };
        if begun.elapsed() + pause >= patience {
            return (answer, pending);
        }
        tokio::time::sleep(pause).await;
    }
}

/// Calls a method without the metadata of a step.
pub(super) async fn plain(
    line: &Line,
    method: &MethodDescriptor,
    message: DynamicMessage,
    limit: Duration,
) -> Result<DynamicMessage, Status> {
    send(line, method, Request::new(message), limit)
        .await
        .map(Response::into_inner)
}

async fn send(
    line: &Line,
    method: &MethodDescriptor,
    mut request: Request<DynamicMessage>,
    limit: Duration,
) -> Result<Response<DynamicMessage>, Status> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path: PathAndQuery = path
        .parse()
        .map_err(|_| Status::internal("the method's name is no path"))?;
    request.set_timeout(limit);
    if let Some(bearer) = &line.bearer {
        let header = bearer.header(SystemTime::now());
        request.metadata_mut().insert("authorization", header);
    }
    let sending = async {
        let mut client = tonic::client::Grpc::new(line.channel.clone());
        client.ready().await.map_err(|error| {
            Status::try_from_error(Box::new(error))
                .unwrap_or_else(|error| Status::unavailable(error.to_string()))
        })?;
        client
            .unary(request, path, DynamicCodec::new(method.output()))
            .await
    };
    tokio::time::timeout(limit, sending)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded(format!("no answer within {limit:?}"))))
}

fn of_reply(response: Response<DynamicMessage>) -> Answer {
    let Some(pause) = step::pending(response.metadata()) else {
        return Answer::Reply(response.into_inner());
    };
    let header = response.metadata().get(step::PENDING_HEADER);
    let header = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    Answer::Pending {
        header: header.to_owned(),
        pause,
    }
}

fn of_status(status: &Status, domain: &str) -> Answer {
    let told = told(status);
    match classify(status, domain) {
        Verdict::Superseded => Answer::Superseded,
        Verdict::Refused { stored } => Answer::Refused { told, stored },
        Verdict::Unknown | Verdict::Unsent | Verdict::Misconfigured => {
            if told.reason == Reason::BarrierMismatch.name() {
                return Answer::Mismatch;
            }
            let busy = [
                Code::Unavailable,
                Code::Aborted,
                Code::ResourceExhausted,
                Code::DeadlineExceeded,
                Code::Cancelled,
            ];
            Answer::Unknown {
                told,
                busy: busy.contains(&status.code()),
            }
        }
    }
}

fn told(status: &Status) -> Told {
    let (reason, domain) =
        error::info(status).map_or_else(Default::default, |info| (info.reason, info.domain));
    Told {
        code: code_name(status.code()),
        reason,
        domain,
        message: status.message().to_owned(),
    }
}

/// What a call without metadata was answered; `Err` if it was taken.
pub(super) async fn bare(
    line: &Line,
    method: &MethodDescriptor,
    message: DynamicMessage,
    domain: &str,
    limit: Duration,
) -> Result<Answer, DynamicMessage> {
    match plain(line, method, message, limit).await {
        Ok(reply) => Err(reply),
        Err(status) => Ok(of_status(&status, domain)),
    }
}
