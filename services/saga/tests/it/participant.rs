//! A participant that answers what a test tells it to, bytes that are no message included.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use proto::bench::v1::{UndoRequest, UndoResponse, WorkRequest, WorkResponse};
use rpc::step::{self, StepCall};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Domain of this participant's own refusals.
pub(crate) const DOMAIN: &str = "bench.evenkeel";

/// What the participant does with a call.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Answers as a well-behaved participant would.
    Work,
    /// Answers these bytes as if they were the message.
    Bytes(Vec<u8>),
    /// Works on it; ask again in so many milliseconds.
    Pending(u64),
    /// Answers this status.
    Status(Status),
    /// Never answers.
    Hang,
}

/// A call as the participant saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Metadata of the step; `None` if it was not a step's.
    pub(crate) step: Option<StepCall>,
    /// Name of the method.
    pub(crate) method: String,
    /// The request, undecoded.
    pub(crate) body: Bytes,
    /// `grpc-timeout` as sent.
    pub(crate) timeout: Option<String>,
    /// Completion token as sent.
    pub(crate) token: Option<String>,
    /// `traceparent` as sent.
    pub(crate) traceparent: Option<String>,
}

impl Seen {
    pub(crate) fn work(&self) -> WorkRequest {
        WorkRequest::decode(self.body.clone()).expect("a WorkRequest")
    }

    /// `STEP/op`, for asserting on orders.
    pub(crate) fn label(&self) -> String {
        let step = self.step.as_ref().expect("a step call");
        format!("{}/{}", step.step, step.op.name())
    }
}

type Script = Arc<dyn Fn(&Seen) -> Act + Send + Sync>;

/// A running participant.
#[derive(Clone)]
pub(crate) struct Participant {
    pub(crate) addr: SocketAddr,
    script: Arc<Mutex<Script>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Participant {
    /// Serves on a free port; every call is put to `script`.
    pub(crate) async fn serve(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let participant = Self {
            addr: listener.local_addr().unwrap(),
            script: Arc::new(Mutex::new(Arc::new(script))),
            seen: Arc::default(),
        };
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        tokio::spawn(
            Server::builder()
                .add_service(participant.clone())
                .serve_with_incoming(incoming),
        );
        participant
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Answers differently from now on.
    pub(crate) fn play(&self, script: impl Fn(&Seen) -> Act + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Labels of all calls so far, in order.
    pub(crate) fn labels(&self) -> Vec<String> {
        self.seen().iter().map(Seen::label).collect()
    }
}

impl NamedService for Participant {
    const NAME: &'static str = "evenkeel.bench.v1.BenchSteps";
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl tonic::codegen::Service<http::Request<Body>> for Participant {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request
            .uri()
            .path()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let one = One {
            participant: self.clone(),
            method,
        };
        Box::pin(async move { Ok(Grpc::new(RawCodec).unary(one, request).await) })
    }
}

struct One {
    participant: Participant,
    method: String,
}

impl UnaryService<Bytes> for One {
    type Response = Vec<u8>;
    type Future = BoxFuture<Result<Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let header = |name: &str| Some(request.metadata().get(name)?.to_str().ok()?.to_owned());
        let seen = Seen {
            step: StepCall::read(request.metadata(), DOMAIN).ok(),
            method: self.method.clone(),
            timeout: header("grpc-timeout"),
            token: header(step::COMPLETION_TOKEN_HEADER),
            traceparent: header("traceparent"),
            body: request.into_inner(),
        };
        let script = Arc::clone(&self.participant.script.lock().unwrap());
        self.participant.seen.lock().unwrap().push(seen.clone());
        let act = script(&seen);
        Box::pin(async move {
            match act {
                Act::Work => work(&seen),
                Act::Bytes(bytes) => Ok(Response::new(bytes)),
                Act::Pending(ms) => {
                    let mut response = Response::new(Vec::new());
                    step::set_pending(response.metadata_mut(), Duration::from_millis(ms));
                    Ok(response)
                }
                Act::Status(status) => Err(status),
                Act::Hang => std::future::pending().await,
            }
        })
    }
}

fn work(seen: &Seen) -> Result<Response<Vec<u8>>, Status> {
    let reply = match seen.method.as_str() {
        "Work" => {
            let payload = seen.work().payload;
            WorkResponse { payload }.encode_to_vec()
        }
        "Undo" => {
            UndoRequest::decode(seen.body.clone()).expect("an UndoRequest");
            UndoResponse {}.encode_to_vec()
        }
        _ => return Err(Status::unimplemented("no such method")),
    };
    Ok(Response::new(reply))
}

#[derive(Debug, Clone, Copy)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, bytes: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&bytes);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }
}
