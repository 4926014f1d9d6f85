//! A channel that follows the certificate of its process.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tls::Mutual;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::transport;

/// A channel that connects on first use and reconnects by itself. When the certificate of the process changes, calls that begin
/// from then on go over a new connection, which shows the new one; calls in flight end on the old one.
///
/// A server believes a connection no longer than the certificate it was made with, so that a connection for ever would not do.
#[derive(Clone)]
pub struct Channel(Kind);

enum Kind {
    Plain(transport::Channel),
    Mutual {
        renewing: Arc<Renewing>,
        /// The connection for the next call, from its readiness to the call. None else is held, so that an idle handle does not
        /// keep an old one open.
        next: Option<transport::Channel>,
    },
}

impl Clone for Kind {
    fn clone(&self) -> Self {
        match self {
            Self::Plain(channel) => Self::Plain(channel.clone()),
            // Readiness is not shared.
            Self::Mutual { renewing, .. } => Self::Mutual {
                renewing: Arc::clone(renewing),
                next: None,
            },
        }
    }
}

impl From<transport::Channel> for Channel {
    fn from(channel: transport::Channel) -> Self {
        Self(Kind::Plain(channel))
    }
}

impl From<Renewing> for Channel {
    fn from(renewing: Renewing) -> Self {
        Self(Kind::Mutual {
            renewing: Arc::new(renewing),
            next: None,
        })
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Plain(_) => "plain",
            Kind::Mutual { .. } => "mutual TLS",
        };
        write!(f, "Channel({kind})")
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = transport::Error;
    type Future = transport::channel::ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), transport::Error>> {
        match &mut self.0 {
            Kind::Plain(channel) => channel.poll_ready(cx),
            Kind::Mutual { renewing, next } => {
                let channel = next.get_or_insert_with(|| renewing.current());
                if let Err(error) = ready!(channel.poll_ready(cx)) {
                    *next = None;
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match &mut self.0 {
            Kind::Plain(channel) => channel.call(request),
            Kind::Mutual { next, .. } => next
                .take()
                .expect("a service is called after it was ready")
                .call(request),
        }
    }
}

/// Makes a connection for each certificate that the process has had.
pub(super) struct Renewing {
    mutual: Mutual,
    dial: Box<dyn Fn() -> transport::Channel + Send + Sync>,
    made: Mutex<Option<Made>>,
}

struct Made {
    generation: u64,
    channel: transport::Channel,
}

impl Renewing {
    pub(super) fn new(mutual: Mutual, dial: impl Fn() -> transport::Channel + Send + Sync + 'static) -> Self {
        Self {
            mutual,
            dial: Box::new(dial),
            made: Mutex::new(None),
        }
    }

    /// Returns the channel of the certificate as it is now.
    fn current(&self) -> transport::Channel {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.mutual.generation();
        match &*made {
            Some(made) if made.generation == generation => made.channel.clone(),
            Some(_) | None => {
                let channel = (self.dial)();
                *made = Some(Made {
                    generation,
                    channel: channel.clone(),
                });
                channel
            }
        }
    }
}
