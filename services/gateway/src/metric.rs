//! What is counted. Labels are route templates and closed sets; ids never.

use std::time::Duration;

use http::{Method, StatusCode};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const REQUESTS: &str = "http_requests_total";
const SECONDS: &str = "http_request_duration_seconds";
const IN_FLIGHT: &str = "http_requests_in_flight";
const CONNECTIONS: &str = "http_connections";
const WATCHES: &str = "http_watches";
const WATCHES_ENDED: &str = "http_watches_ended_total";
const FRAMES: &str = "http_watch_frames_total";

/// Describes what is counted, and begins gauges at 0; again does no harm.
pub(crate) fn describe() {
    describe_counter!(
        REQUESTS,
        "Requests answered, by method, route template and status."
    );
    describe_histogram!(
        SECONDS,
        Unit::Seconds,
        "From the head of a request to the head of its answer, by method and route template."
    );
    describe_gauge!(
        IN_FLIGHT,
        "Requests that are being answered; open watches do not count."
    );
    describe_gauge!(CONNECTIONS, "Open connections of clients.");
    describe_gauge!(WATCHES, "Open watches, by transport.");
    describe_counter!(WATCHES_ENDED, "Watches that have ended, by cause.");
    describe_counter!(FRAMES, "Frames sent to watchers, by transport.");
    gauge!(IN_FLIGHT).set(0);
    gauge!(CONNECTIONS).set(0);
    for transport in [Transport::WebSocket, Transport::Sse] {
        gauge!(WATCHES, "transport" => transport.name()).set(0);
        counter!(FRAMES, "transport" => transport.name()).absolute(0);
    }
}

/// How a watcher is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    Sse,
}

impl Transport {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
        }
    }
}

/// Counts an answer. `route` is a template.
pub(crate) fn answered(method: &Method, route: String, status: StatusCode, took: Duration) {
    let method = name(method);
    counter!(REQUESTS, "method" => method, "route" => route.clone(), "status" => status.as_u16().to_string())
        .increment(1);
    histogram!(SECONDS, "method" => method, "route" => route).record(took.as_secs_f64());
}

/// A method as a label: clients can send any word.
const fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

pub(crate) fn watch_ended(cause: &'static str) {
    counter!(WATCHES_ENDED, "cause" => cause).increment(1);
}

pub(crate) fn frame_sent(transport: Transport) {
    counter!(FRAMES, "transport" => transport.name()).increment(1);
}

/// Counts something that is there until this is dropped.
#[derive(Debug)]
pub(crate) struct Present(metrics::Gauge);

impl Present {
    fn new(gauge: metrics::Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }

    pub(crate) fn request() -> Self {
        Self::new(gauge!(IN_FLIGHT))
    }

    pub(crate) fn connection() -> Self {
        Self::new(gauge!(CONNECTIONS))
    }

    pub(crate) fn watch(transport: Transport) -> Self {
        Self::new(gauge!(WATCHES, "transport" => transport.name()))
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
