//! A user's feed: a stream of the task service that is opened again where it broke.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::uri::PathAndQuery;
use ids::UserId;
use prost_reflect::{DynamicMessage, MessageDescriptor, Value};
use rpc::error::{Reason, info};
use telemetry::trace;
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::{Code, Request, Status, Streaming};
use transcode::codec::DynamicCodec;

use super::end::End;
use super::frame::Frame;
use super::queue::{Inlet, Refused};

const METHOD: &str = "/evenkeel.task.v1.WatchService/Watch";
const REQUEST: &str = "evenkeel.task.v1.WatchRequest";
const RESPONSE: &str = "evenkeel.task.v1.WatchResponse";
/// Largest frame of the task service: a snapshot.
const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;
/// Longest wait for a stream to begin.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// A stream that says nothing for longer is taken for broken: heartbeats come every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// Pauses before a broken stream is opened again: doubled from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// A feed that cannot be had for so long ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where feeds come from. Clones share the connections.
#[derive(Clone)]
pub(super) struct Source(Arc<Shared>);

struct Shared {
    connections: Vec<Connection>,
    request: MessageDescriptor,
    response: MessageDescriptor,
}

struct Connection {
    channel: token::Channel,
    streams: AtomicUsize,
}

// Descriptors show what they refer to, without end for types that contain themselves.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("connections", &self.0.connections.len())
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Takes connections to the task service.
    pub(super) fn new(channels: &[token::Channel]) -> Self {
        let pool = proto::descriptor_pool();
        let message = |name| pool.get_message_by_name(name).expect("the contract has it");
        let connection = |channel: &token::Channel| Connection {
            channel: channel.clone(),
            streams: AtomicUsize::new(0),
        };
        Self(Arc::new(Shared {
            connections: channels.iter().map(connection).collect(),
            request: message(REQUEST),
            response: message(RESPONSE),
        }))
    }

    /// Opens a stream on the connection that has the fewest.
    async fn open(&self, user_id: UserId, last_seq: Option<u64>) -> Result<Stream, Status> {
        let none = || Reason::Unavailable.status(transcode::problem::DOMAIN, "no task service is configured");
        let counts = self.0.connections.iter().enumerate();
        let (at, connection) = counts
            .min_by_key(|(_, connection)| connection.streams.load(Ordering::Relaxed))
            .ok_or_else(none)?;
        connection.streams.fetch_add(1, Ordering::Relaxed);
        let held = Held {
            source: self.clone(),
            at,
        };
        let mut message = DynamicMessage::new(self.0.request.clone());
        message.set_field_by_name("user_id", Value::String(user_id.to_string()));
        if let Some(last_seq) = last_seq {
            message.set_field_by_name("last_seq", Value::U64(last_seq));
        }
        let mut request = Request::new(message);
        trace::inject(request.metadata_mut());
        let opening = async {
            let mut client = Grpc::new(connection.channel.clone()).max_decoding_message_size(MAX_FRAME_BYTES);
            client
                .ready()
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = DynamicCodec::new(self.0.response.clone());
            let path = PathAndQuery::from_static(METHOD);
            client.server_streaming(request, path, codec).await
        };
        let opened = tokio::time::timeout(OPEN_TIMEOUT, opening)
            .await
            .map_err(|_| Status::unavailable("the task service does not answer"))?;
        Ok(Stream {
            messages: opened?.into_inner(),
            _held: held,
        })
    }
}

/// A stream's place on its connection.
struct Held {
    source: Source,
    at: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        let connection = &self.source.0.connections[self.at];
        connection.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Stream {
    messages: Streaming<DynamicMessage>,
    _held: Held,
}

/// The feed of one user from one point on.
pub(super) struct Feed {
    source: Source,
    user_id: UserId,
    last_seq: Option<u64>,
    stream: Option<Stream>,
    /// Since when there is none.
    broken: Option<Instant>,
    pause: Duration,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("user_id", &self.user_id)
            .field("last_seq", &self.last_seq)
            .finish_non_exhaustive()
    }
}

impl Feed {
    pub(super) fn new(source: Source, user_id: UserId, last_seq: Option<u64>) -> Self {
        Self {
            source,
            user_id,
            last_seq,
            stream: None,
            broken: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Opens the stream for the first time.
    ///
    /// # Errors
    /// The task service's refusal, or it cannot be reached.
    pub(super) async fn open(&mut self) -> Result<(), Status> {
        self.stream = Some(self.source.open(self.user_id, self.last_seq).await?);
        Ok(())
    }

    /// Puts frames into a queue until there are no more, or it takes no more; returns why.
    pub(super) async fn fill(&mut self, inlet: &Inlet) -> End {
        loop {
            match self.next().await.map(|frame| inlet.put(frame)) {
                Ok(Ok(())) => {}
                Ok(Err(Refused::Full)) => return End::TooSlow,
                Ok(Err(Refused::Closed)) => return End::Gone,
                Err(end) => return end,
            }
        }
    }

    /// Returns the next frame. Not to be called again after a failure. Dropping the future loses nothing.
    ///
    /// # Errors
    /// `Unavailable` if the feed cannot be had for 30 s, or the task service refuses it.
    async fn next(&mut self) -> Result<Frame, End> {
        loop {
            let Some(stream) = &mut self.stream else {
                self.reopen().await?;
                continue;
            };
            let message = match tokio::time::timeout(SILENCE, stream.messages.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => {
                    self.lost(&Status::unavailable("the stream has ended"));
                    continue;
                }
                Ok(Err(status)) => {
                    self.lost(&status);
                    continue;
                }
                Err(_) => {
                    self.lost(&Status::unavailable("the stream is silent"));
                    continue;
                }
            };
            (self.broken, self.pause) = (None, FIRST_PAUSE);
            match Frame::new(&message) {
                Ok(Some(frame)) => {
                    if frame.seq > 0 {
                        self.last_seq = Some(frame.seq);
                    }
                    return Ok(frame);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, user_id = %self.user_id, "an event cannot be written as JSON");
                    return Err(End::Unavailable);
                }
            }
        }
    }

    fn lost(&mut self, status: &Status) {
        tracing::debug!(user_id = %self.user_id, error = status.message(), "a feed broke off; opening it again");
        self.stream = None;
        self.broken.get_or_insert_with(Instant::now);
    }

    async fn reopen(&mut self) -> Result<(), End> {
        let since = *self.broken.get_or_insert_with(Instant::now);
        if since.elapsed() > PATIENCE {
            return Err(End::Unavailable);
        }
        tokio::time::sleep(self.pause).await;
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        match self.source.open(self.user_id, self.last_seq).await {
            Ok(stream) => {
                self.stream = Some(stream);
                Ok(())
            }
            Err(status) if passing(&status) => Ok(()),
            Err(status) => {
                tracing::warn!(user_id = %self.user_id, error = status.message(), "the task service refuses a feed");
                Err(End::Unavailable)
            }
        }
    }
}

/// True for what time may heal.
fn passing(status: &Status) -> bool {
    // A stream that this process has just lost may still count there.
    let counted = info(status).is_some_and(|info| info.reason == Reason::TooManyWatches.name());
    counted
        || matches!(
            status.code(),
            Code::Unavailable
                | Code::Unknown
                | Code::Internal
                | Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::ResourceExhausted
        )
}

#[cfg(test)]
mod tests {
    use test_support::identities;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_feed_that_cannot_be_had_ends_when_patience_does() {
        let url = format!("http://127.0.0.1:{}", test_support::free_port());
        let source = Source::new(&[identities().channel(&url, "gateway", "task")]);
        let mut feed = Feed::new(source, UserId::new(), Some(7));
        let begun = Instant::now();
        assert_eq!(feed.next().await.unwrap_err(), End::Unavailable);
        let took = begun.elapsed();
        assert!(took > PATIENCE, "{took:?}");
        assert!(took < PATIENCE + LONGEST_PAUSE + OPEN_TIMEOUT, "{took:?}");
    }
}
