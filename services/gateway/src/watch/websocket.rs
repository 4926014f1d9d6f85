//! A watcher on a WebSocket (RFC 6455).

use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::FromRequestParts as _;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use http::request::Parts;
use http::{Method, Response, header};
use rpc::error::Reason;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::tungstenite::{self, error::ProtocolError};

use super::Session;
use super::end::End;
use super::queue::{Outlet, queue};
use crate::context::Context;
use crate::metric::{self, Present, Transport};

/// Largest message of a client: there is nothing to say.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;
/// Messages of a client, pongs aside, in one watch.
const MAX_MESSAGES: usize = 100;
/// Buffers of the protocol, for each connection; a frame that is larger is written in parts.
const BUFFER_BYTES: usize = 4 * 1024;
/// How long a client may take to hear why it is sent away.
const FAREWELL: Duration = Duration::from_secs(1);

/// Returns the upgrade that a request asks for; `None` if it asks for none.
///
/// # Errors
/// It asks for one in a way that cannot be granted.
pub(super) async fn requested(
    head: &mut Parts,
    context: &Context,
) -> Result<Option<WebSocketUpgrade>, Response<Body>> {
    let asks = head.method == Method::CONNECT || head.headers.contains_key(header::UPGRADE);
    if !asks {
        return Ok(None);
    }
    let upgrade = WebSocketUpgrade::from_request_parts(head, &()).await;
    upgrade
        .map(Some)
        .map_err(|error| context.refuse(Reason::InvalidArgument, error.body_text()))
}

pub(super) fn respond(upgrade: WebSocketUpgrade, session: Session) -> Response<Body> {
    upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .on_upgrade(move |socket| run(socket, session))
}

async fn run(socket: WebSocket, session: Session) {
    let _present = Present::watch(Transport::WebSocket);
    let Session {
        mut feed,
        seat: _seat,
        open: _open,
        until,
        stop,
        config,
    } = session;
    let (mut sink, mut incoming) = socket.split();
    let (inlet, mut outlet) = queue(config.buffer_messages, config.buffer_bytes);
    let life = until.duration_since(SystemTime::now()).unwrap_or_default();
    let end = tokio::select! {
        end = feed.fill(&inlet) => end,
        end = send(&mut sink, &mut outlet, config.write_timeout, config.silence / 3) => end,
        end = listen(&mut incoming, config.silence) => end,
        () = tokio::time::sleep(life) => End::TokenExpired,
        () = stop.cancelled() => End::Drain,
    };
    metric::watch_ended(end.label());
    // The task service need not wait for the farewell.
    drop(feed);
    if end != End::Gone {
        let close = CloseFrame {
            code: end.code(),
            reason: Utf8Bytes::from_static(end.reason()),
        };
        // It may have gone, or be stuck.
        let _ = tokio::time::timeout(FAREWELL, async {
            sink.send(Message::Close(Some(close))).await?;
            sink.close().await
        })
        .await;
    }
}

/// Writes frames, and a ping from time to time.
async fn send(
    sink: &mut SplitSink<WebSocket, Message>,
    outlet: &mut Outlet,
    patience: Duration,
    ping_every: Duration,
) -> End {
    let mut ping = tokio::time::interval_at(Instant::now() + ping_every, ping_every);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            frame = outlet.take() => match frame {
                // What becomes JSON is UTF-8.
                Some(frame) => match Utf8Bytes::try_from(frame.json) {
                    Ok(text) => Message::Text(text),
                    Err(_) => return End::Unavailable,
                },
                None => return End::Gone,
            },
            _ = ping.tick() => Message::Ping(bytes::Bytes::new()),
        };
        let is_frame = matches!(message, Message::Text(_));
        match tokio::time::timeout(patience, sink.send(message)).await {
            Ok(Ok(())) if is_frame => metric::frame_sent(Transport::WebSocket),
            Ok(Ok(())) => {}
            Ok(Err(_)) => return End::Gone,
            Err(_) => return End::TooSlow,
        }
    }
}

/// Reads what the client sends, which is nothing but answers to pings and, in the end, its farewell.
async fn listen(incoming: &mut SplitStream<WebSocket>, silence: Duration) -> End {
    let mut messages = 0;
    loop {
        match tokio::time::timeout(silence, incoming.next()).await {
            Ok(Some(Ok(Message::Close(_))) | None) | Err(_) => return End::Gone,
            Ok(Some(Err(error))) => return broken(error),
            Ok(Some(Ok(Message::Pong(_)))) => {}
            Ok(Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_)))) => {
                messages += 1;
                if messages > MAX_MESSAGES {
                    return End::Misbehaved;
                }
            }
        }
    }
}

/// Tells a client that breaks the protocol, or sends too much at once, from one that has gone.
fn broken(error: axum::Error) -> End {
    let error = error.into_inner();
    match error.downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => End::Gone,
        Some(
            tungstenite::Error::Capacity(_) | tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_),
        ) => End::Misbehaved,
        _ => End::Gone,
    }
}
