//! A participant's neighbour that stands in the line: it passes step calls on, and breaks what it is told to break.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, Uri};
use http_body_util::{BodyExt as _, Full};
use rpc::step::{self, Op, StepCall};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tonic::metadata::MetadataMap;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::{Service as _, ServiceExt as _};

/// Reason of a refusal that is made here.
const REFUSED: &str = "REFUSED_BY_TEST";

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered "no" in the participant's name; the participant never sees it.
    Refuse,
    /// The participant gets it three times, twice at once; the last answer counts.
    Repeat,
    /// The participant gets it; the answer is lost.
    LoseReply,
    /// It is never answered, and whoever watches is told. The participant does not see it.
    StallBefore,
    /// The same, but the participant has done it.
    StallAfter,
    /// Whoever watches is told; the participant gets it when [`Interposer::release`] is called.
    HoldBefore,
    /// The same, but the participant gets it at once, and the answer waits.
    HoldAfter,
}

/// Which calls a fault is for.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Name of the step; every step if absent.
    pub step: Option<String>,
    /// Action or compensation; both if absent.
    pub op: Option<Op>,
    /// So many calls of each operation of each saga, from the first one.
    pub times: u32,
    /// What happens to them.
    pub fault: Fault,
}

/// One operation that was called, in the order of the first calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Name of the step.
    pub step: String,
    /// Action or compensation.
    pub op: Op,
    /// Whether the saga can act on a "no".
    pub refusable: bool,
}

/// Two final answers to one operation that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// Name of the step.
    pub step: String,
    /// Action or compensation.
    pub op: Op,
    /// Both answers: code and body.
    pub answers: String,
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}: {}", self.step, self.op.name(), self.answers)
    }
}

/// A participant behind the interposer.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Where it answers.
    pub channel: rpc::channel::Channel,
    /// Domain of its refusals.
    pub error_domain: String,
}

#[derive(Debug, Default)]
struct Program {
    rules: Vec<Rule>,
    /// Calls so far, by saga, step and operation; and by rule.
    counts: BTreeMap<(String, String, &'static str, usize), u32>,
    seen: Vec<(String, Seen)>,
    disagreements: Vec<Disagreement>,
}

#[derive(Debug)]
struct Shared {
    upstreams: BTreeMap<String, Upstream>,
    program: Mutex<Program>,
    stalled: watch::Sender<u32>,
    released: watch::Sender<()>,
}

/// Stands between the orchestrator and its participants.
#[derive(Debug)]
pub struct Interposer {
    url: String,
    shared: Arc<Shared>,
    stalled: watch::Receiver<u32>,
    _end: mpsc::Sender<()>,
}

impl Interposer {
    /// Serves on a free port of this machine. `upstreams` are by package (or service).
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(upstreams: BTreeMap<String, Upstream>) -> io::Result<Self> {
        let (stalls, stalled) = watch::channel(0);
        let shared = Arc::new(Shared {
            upstreams,
            program: Mutex::default(),
            stalled: stalls,
            released: watch::Sender::new(()),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (end, mut ended) = mpsc::channel::<()>(1);
        let routes = axum::Router::new()
            .fallback(pass_on)
            .with_state(Arc::clone(&shared));
        let serving = tonic::transport::Server::builder()
            .add_routes(tonic::service::Routes::from(routes))
            .serve_with_incoming_shutdown(TcpIncoming::from(listener), async move {
                ended.recv().await;
            });
        tokio::spawn(serving);
        Ok(Self {
            url: format!("http://{address}"),
            shared,
            stalled,
            _end: end,
        })
    }

    /// Where it is reached.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Forgets what was, and breaks this from now on.
    pub fn program(&self, rules: Vec<Rule>) {
        let mut program = self.lock();
        *program = Program {
            rules,
            ..Program::default()
        };
    }

    /// The operations that this saga has called, in the order of their first calls.
    #[must_use]
    pub fn seen(&self, saga_id: &str) -> Vec<Seen> {
        let of_saga = |(saga, seen): &(String, Seen)| (saga == saga_id).then(|| seen.clone());
        self.lock().seen.iter().filter_map(of_saga).collect()
    }

    /// Calls whose repetition was answered otherwise than the call.
    #[must_use]
    pub fn disagreements(&self) -> Vec<Disagreement> {
        self.lock().disagreements.clone()
    }

    /// Lets calls go on that are held.
    pub fn release(&self) {
        self.shared.released.send_replace(());
    }

    /// Waits until so many calls have been stalled or held in all. Returns whether they were in time.
    pub async fn stalled(&mut self, count: u32, patience: Duration) -> bool {
        let reached = self.stalled.wait_for(|stalled| *stalled >= count);
        let waited = tokio::time::timeout(patience, reached).await;
        matches!(waited, Ok(Ok(_)))
    }

    /// How many calls have been stalled or held so far.
    #[must_use]
    pub fn stalls(&self) -> u32 {
        *self.stalled.borrow()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Program> {
        self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Program> {
        self.program.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the call, and says what is to happen to it.
    fn fault(&self, call: &StepCall) -> Option<Fault> {
        let saga = call.saga_id.to_string();
        let mut program = self.lock();
        let seen = Seen {
            step: call.step.clone(),
            op: call.op,
            refusable: call.refusable,
        };
        if !program.seen.contains(&(saga.clone(), seen.clone())) {
            program.seen.push((saga.clone(), seen));
        }
        for number in 0..program.rules.len() {
            let rule = program.rules[number].clone();
            let meant = rule.step.as_ref().is_none_or(|name| *name == call.step)
                && rule.op.is_none_or(|op| op == call.op);
            if !meant {
                continue;
            }
            let key = (saga.clone(), call.step.clone(), call.op.name(), number);
            let count = program.counts.entry(key).or_default();
            *count += 1;
            if *count <= rule.times {
                return Some(rule.fault);
            }
        }
        None
    }
}

/// Whole words: `a.b` covers `/a.b.Svc/Method`, not `/a.bc.Svc/Method`.
fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix('/')
        .and_then(|path| path.strip_prefix(prefix))
        .is_some_and(|rest| rest.starts_with(['.', '/']))
}

/// An answer, taken apart.
#[derive(Clone)]
struct Answer {
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Answer {
    fn code(&self) -> String {
        let code = |headers: &HeaderMap| headers.get("grpc-status").cloned();
        let code = code(&self.headers).or_else(|| self.trailers.as_ref().and_then(code));
        code.and_then(|code| code.to_str().map(str::to_owned).ok())
            .unwrap_or_else(|| "none".to_owned())
    }

    fn pending(&self) -> bool {
        step::pending(&MetadataMap::from_headers(self.headers.clone())).is_some()
    }

    fn into_response(self) -> Response {
        let trailers = self.trailers;
        let body = Full::new(self.body).with_trailers(async move { trailers.map(Ok) });
        let mut response = Response::new(Body::new(body));
        *response.headers_mut() = self.headers;
        response
    }
}

async fn pass_on(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let package = |package: &&String| covers(package, &path);
    let Some(package) = shared.upstreams.keys().filter(package).max_by_key(|p| p.len()) else {
        return Status::unimplemented("nobody answers for this").into_http();
    };
    let Upstream {
        error_domain: domain,
        channel,
    } = &shared.upstreams[package];
    let headers = request.headers().clone();
    let call = match StepCall::read(&MetadataMap::from_headers(headers.clone()), domain) {
        Ok(call) => call,
        Err(status) => return status.into_http(),
    };
    let Ok(body) = request.into_body().collect().await else {
        return Status::cancelled("the caller went away").into_http();
    };
    let body = body.to_bytes();
    let send = || forward(channel.clone(), path.clone(), headers.clone(), body.clone());
    let fault = shared.fault(&call);
    let answer = match fault {
        Some(Fault::Refuse) => {
            let details = ErrorDetails::with_error_info(REFUSED, domain, HashMap::new());
            let text = "refused, as the test asked for";
            return Status::with_error_details(Code::FailedPrecondition, text, details).into_http();
        }
        Some(Fault::StallBefore) => return stall(&shared).await,
        Some(Fault::StallAfter) => {
            // Whatever it answers: nobody will know.
            let _ = send().await;
            return stall(&shared).await;
        }
        Some(Fault::HoldBefore) => {
            hold(&shared).await;
            send().await
        }
        Some(Fault::HoldAfter) => {
            let answer = send().await;
            hold(&shared).await;
            answer
        }
        Some(Fault::LoseReply) => {
            let _ = send().await;
            return Status::unavailable("the reply was lost, as the test asked for").into_http();
        }
        Some(Fault::Repeat) => {
            let (first, second) = tokio::join!(send(), send());
            let third = send().await;
            for other in [&first, &second] {
                note_disagreement(&shared, &call, other, &third);
            }
            third
        }
        None => send().await,
    };
    match answer {
        Ok(answer) => answer.into_response(),
        Err(status) => status.into_http(),
    }
}

/// Two answers to one operation may differ only in that one of them is not final.
fn note_disagreement(
    shared: &Shared,
    call: &StepCall,
    one: &Result<Answer, Status>,
    other: &Result<Answer, Status>,
) {
    let (Ok(one), Ok(other)) = (one, other) else {
        return;
    };
    let busy = |answer: &Answer| {
        let unknown =
            [Code::Unavailable, Code::Aborted, Code::ResourceExhausted].map(|c| (c as i32).to_string());
        answer.pending() || unknown.contains(&answer.code())
    };
    if busy(one) || busy(other) {
        return;
    }
    if one.code() != other.code() || one.body != other.body {
        let answers = format!(
            "{} {:?} and {} {:?}",
            one.code(),
            one.body,
            other.code(),
            other.body
        );
        let disagreement = Disagreement {
            step: call.step.clone(),
            op: call.op,
            answers,
        };
        shared.lock().disagreements.push(disagreement);
    }
}

async fn stall(shared: &Shared) -> Response {
    shared.stalled.send_modify(|stalled| *stalled += 1);
    std::future::pending().await
}

async fn hold(shared: &Shared) {
    let mut released = shared.released.subscribe();
    shared.stalled.send_modify(|stalled| *stalled += 1);
    // The sender lives as long as this.
    let _ = released.changed().await;
}

async fn forward(
    mut channel: rpc::channel::Channel,
    path: String,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Answer, Status> {
    let mut request = http::Request::new(tonic::body::Body::new(Full::new(body)));
    *request.method_mut() = http::Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    *request.uri_mut() = path.parse::<Uri>().map_err(|e| Status::internal(e.to_string()))?;
    *request.headers_mut() = headers;
    let unavailable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
    let ready = channel.ready().await.map_err(unavailable)?;
    let (parts, body) = ready.call(request).await.map_err(unavailable)?.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned();
    Ok(Answer {
        headers: parts.headers,
        body: collected.to_bytes(),
        trailers,
    })
}
