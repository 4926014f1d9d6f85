//! A watcher on Server-Sent Events (HTML Living Standard, 9.2).

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Response, header};

use super::Session;
use super::end::End;
use super::frame::Frame;
use super::queue::{Outlet, queue};
use crate::metric::{self, Present, Transport};

pub(super) fn respond(session: Session) -> Response<Body> {
    let (inlet, outlet) = queue(session.config.buffer_messages, session.config.buffer_bytes);
    let end = Arc::<OnceLock<End>>::default();
    let told = Arc::clone(&end);
    // Ends when the client goes, which closes the queue, and at the latest when the token does.
    tokio::spawn(async move {
        let _present = Present::watch(Transport::Sse);
        let Session {
            mut feed,
            seat: _seat,
            open: _open,
            until,
            stop,
            config: _,
        } = session;
        let life = until.duration_since(SystemTime::now()).unwrap_or_default();
        let why = tokio::select! {
            why = feed.fill(&inlet) => why,
            () = inlet.closed() => End::Gone,
            () = tokio::time::sleep(life) => End::TokenExpired,
            () = stop.cancelled() => End::Drain,
        };
        metric::watch_ended(why.label());
        // Set once, here.
        let _ = told.set(why);
        drop(inlet);
    });
    let mut response = Response::new(Body::from_stream(stream::unfold(Some((outlet, end)), step)));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    // For proxies that would wait for more.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

type State = Option<(Outlet, Arc<OnceLock<End>>)>;

async fn step(state: State) -> Option<(Result<Bytes, Infallible>, State)> {
    let (mut outlet, end) = state?;
    match outlet.take().await {
        Some(frame) => {
            metric::frame_sent(Transport::Sse);
            Some((Ok(event(&frame)), Some((outlet, end))))
        }
        None => {
            let end = end.get().copied().unwrap_or(End::Unavailable);
            Some((Ok(farewell(end)), None))
        }
    }
}

/// Writes a frame. JSON has no line breaks outside of strings, and none inside.
fn event(frame: &Frame) -> Bytes {
    let mut text = Vec::with_capacity(frame.json.len() + 64);
    if frame.seq > 0 {
        text.extend_from_slice(format!("id: {}\n", frame.seq).as_bytes());
    }
    text.extend_from_slice(format!("event: {}\ndata: ", frame.kind).as_bytes());
    text.extend_from_slice(&frame.json);
    text.extend_from_slice(b"\n\n");
    text.into()
}

fn farewell(end: End) -> Bytes {
    let (code, reason) = (end.code(), end.reason());
    format!("event: close\ndata: {{\"code\":{code},\"reason\":\"{reason}\"}}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_one_event_with_its_number() {
        let frame = |seq| Frame {
            seq,
            kind: "task".to_owned(),
            json: Bytes::from_static(b"{}"),
        };
        assert_eq!(&event(&frame(7))[..], b"id: 7\nevent: task\ndata: {}\n\n");
        assert_eq!(&event(&frame(0))[..], b"event: task\ndata: {}\n\n");
        assert_eq!(
            &farewell(End::TokenExpired)[..],
            b"event: close\ndata: {\"code\":4001,\"reason\":\"TOKEN_EXPIRED\"}\n\n"
        );
    }
}
