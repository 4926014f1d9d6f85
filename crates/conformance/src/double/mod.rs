//! Participants made from descriptors: they answer every method of a definition, keep the rules, and remember what they did.
//!
//! A reply is filled from its type ([`filled`]). A method marked `BARRIER_EXTERNAL`, and a
//! call with a completion token, is answered "not yet" first; the token is used, too. What they remember is in memory: they are
//! not what crashes.

mod books;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use ids::SagaId;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use proto::saga::v1::completion_service_client::CompletionServiceClient;
use proto::saga::v1::{CompleteStepRequest, complete_step_request};
use rpc::error::Reason;
use rpc::step::{self, COMPLETION_TOKEN_HEADER, Op, StepCall};
use saga_definition::{Barrier, Call, Definition, Target};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::metadata::MetadataMap;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};

pub use books::Effect;

use crate::filled;
use books::{Books, Manner, Said};

/// Domain of the doubles' errors.
pub const DOMAIN: &str = "double.evenkeel";
/// After this time a call that was answered "not yet" is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// The same where the answer comes with a token.
const ASK_AGAIN_TOKEN: Duration = Duration::from_secs(1);
/// How often a completion is tried, and the pause between.
const COMPLETIONS: u32 = 20;
const COMPLETION_PAUSE: Duration = Duration::from_millis(50);
/// Bytes before each message of gRPC: whether it is compressed, and its length.
const FRAME_BYTES: usize = 5;

/// Participants that answer. They end when this is dropped.
#[derive(Debug)]
pub struct Doubles {
    url: String,
    shared: Arc<Shared>,
    _end: mpsc::Sender<()>,
}

struct Shared {
    /// By gRPC path.
    methods: BTreeMap<String, Method>,
    books: Mutex<Books>,
    /// Where completions go, once it is known.
    orchestrator: Mutex<Option<rpc::channel::Channel>>,
}

// A descriptor shows all that it refers to.
impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("methods", &self.methods.keys())
            .finish_non_exhaustive()
    }
}

struct Method {
    descriptor: MethodDescriptor,
    manner: Manner,
    /// It asks what became of an action.
    probe: bool,
}

impl Doubles {
    /// Answers every method that the definition calls, on a free port of this machine.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(definition: &Definition) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            methods: methods(definition),
            books: Mutex::default(),
            orchestrator: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (end, mut ended) = mpsc::channel::<()>(1);
        let routes = axum::Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let serving = tonic::transport::Server::builder()
            .add_routes(tonic::service::Routes::from(routes))
            .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async move {
                ended.recv().await;
            });
        tokio::spawn(serving);
        Ok(Self {
            url: format!("http://{address}"),
            shared,
            _end: end,
        })
    }

    /// Where they are reached.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lets them bring answers with completion tokens to this orchestrator.
    pub fn complete_at(&self, orchestrator: rpc::channel::Channel) {
        *lock(&self.shared.orchestrator) = Some(orchestrator);
    }

    /// What the steps of a saga came to, by name. A step that was never called is absent.
    #[must_use]
    pub fn effects(&self, saga: SagaId) -> BTreeMap<String, Effect> {
        lock(&self.shared.books).effects(saga)
    }

    /// Notes a request that came as an event instead of a call. Returns whether it is to be answered: an action that was given
    /// up already is not.
    pub fn published(&self, call: &StepCall, request: &DynamicMessage, reply: &DynamicMessage) -> bool {
        let said =
            lock(&self.shared.books).call(call, request, Manner::AtOnce, || reply.clone(), || reply.clone());
        matches!(said, Said::Reply(_))
    }
}

fn methods(definition: &Definition) -> BTreeMap<String, Method> {
    let mut methods = BTreeMap::new();
    for call in definition.calls() {
        insert(&mut methods, call, false);
    }
    for probe in definition.steps().iter().filter_map(|step| step.probe.as_ref()) {
        insert(&mut methods, probe, true);
    }
    methods
}

fn insert(methods: &mut BTreeMap<String, Method>, call: &Call, probe: bool) {
    let Target::Method {
        method,
        path,
        barrier,
        ..
    } = call.target()
    else {
        return;
    };
    let method = Method {
        descriptor: method.clone(),
        manner: match barrier {
            Barrier::External => Manner::Later,
            Barrier::Transactional | Barrier::Natural | Barrier::Acknowledged => Manner::AtOnce,
        },
        probe,
    };
    methods.insert(path.clone(), method);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match of(&shared, request).await {
        Ok(response) => response,
        Err(status) => status.into_http(),
    }
}

async fn of(shared: &Arc<Shared>, request: Request) -> Result<Response, Status> {
    let path = request.uri().path().to_owned();
    let unknown = || Status::unimplemented(format!("the definition does not call {path}"));
    let method = shared.methods.get(&path).ok_or_else(unknown)?;
    let metadata = MetadataMap::from_headers(request.headers().clone());
    let call = StepCall::read(&metadata, DOMAIN)?;
    let body = request.into_body().collect().await;
    let body = body
        .map_err(|error| Status::cancelled(error.to_string()))?
        .to_bytes();
    let message = body.get(FRAME_BYTES..).unwrap_or_default();
    let message = DynamicMessage::decode(method.descriptor.input(), message)
        .map_err(|error| Status::internal(format!("the request cannot be read: {error}")))?;
    let token = metadata.get(COMPLETION_TOKEN_HEADER);
    let token = token.and_then(|token| token.to_str().ok());
    let output = method.descriptor.output();
    let reply = || filled(&output, &call.step.to_lowercase());
    let said = {
        let mut books = lock(&shared.books);
        if method.probe {
            books.look(&call)
        } else {
            let manner = if token.is_some() {
                Manner::Later
            } else {
                method.manner
            };
            books.call(&call, &message, manner, reply, || {
                DynamicMessage::new(output.clone())
            })
        }
    };
    match said {
        Said::Reply(reply) => Ok(frame(&reply, None)),
        Said::Later => {
            if let Some(token) = token {
                tokio::spawn(complete(
                    Arc::clone(shared),
                    token.to_owned(),
                    call.clone(),
                    reply(),
                ));
            }
            let pause = if token.is_some() {
                ASK_AGAIN_TOKEN
            } else {
                ASK_AGAIN
            };
            Ok(frame(&DynamicMessage::new(output.clone()), Some(pause)))
        }
        Said::Superseded => Err(Reason::Superseded.status(DOMAIN, "a compensation of this step came first")),
        Said::Mismatch => {
            let text = "this step was called before with another request";
            Err(Reason::BarrierMismatch.status(DOMAIN, text))
        }
        Said::NotSeen => Err(Reason::TaskNotFound.status(DOMAIN, "this step was never called")),
    }
}

/// Brings the answer with the token; the step is asked for again if that fails.
async fn complete(shared: Arc<Shared>, token: String, call: StepCall, reply: DynamicMessage) {
    let Ok(json) = saga_definition::encode_json(&reply) else {
        return;
    };
    for _ in 0..COMPLETIONS {
        let Some(channel) = lock(&shared.orchestrator).clone() else {
            return;
        };
        // Given up meanwhile: a late success would have to raise attention.
        let gone = call.op == Op::Action && lock(&shared.books).look(&call) == Said::Superseded;
        if gone {
            return;
        }
        let request = CompleteStepRequest {
            token: token.clone(),
            reply: Some(complete_step_request::Reply::Json(json.clone())),
        };
        let completed = CompletionServiceClient::new(channel).complete_step(request).await;
        let again = completed.is_err_and(|status| status.code() == Code::Unavailable);
        if !again {
            return;
        }
        tokio::time::sleep(COMPLETION_PAUSE).await;
    }
}

fn frame(message: &DynamicMessage, pending: Option<Duration>) -> Response {
    let encoded = message.encode_to_vec();
    let length = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
    let mut body = Vec::with_capacity(FRAME_BYTES + encoded.len());
    body.push(0);
    body.extend(length.to_be_bytes());
    body.extend(encoded);
    let mut metadata = MetadataMap::new();
    match pending {
        Some(pause) => step::set_pending(&mut metadata, pause),
        None => step::set_stored(&mut metadata),
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(axum::body::Bytes::from(body)).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    *response.headers_mut() = metadata.into_headers();
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}
