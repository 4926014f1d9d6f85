//! Clients that watch.

use futures::{SinkExt as _, StreamExt as _};
use proto::task::v1::watch_response::Event;
use proto::task::v1::{Task, WatchHeartbeat, WatchResponse};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::support::{Call, World, within};

pub(crate) const WATCH: &str = "/api/v1/tasks/watch";

/// What a watcher gets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Got {
    Frame(Value),
    /// Code and reason of the end; none if the connection broke off.
    End(Option<(u16, String)>),
}

impl Got {
    pub(crate) fn end(code: u16, reason: &str) -> Self {
        Self::End(Some((code, reason.to_owned())))
    }
}

/// A WebSocket.
#[derive(Debug)]
pub(crate) struct Watcher<S = TcpStream>(pub(crate) WebSocketStream<S>);

impl Watcher {
    /// Opens one with a token.
    pub(crate) async fn open(world: &World, bearer: &str) -> Self {
        Self::at(world, "", Some(bearer)).await
    }

    /// Opens one with a query, and a token if there is one.
    pub(crate) async fn at(world: &World, query: &str, bearer: Option<&str>) -> Self {
        let url = format!("ws://{}{WATCH}{query}", world.addr);
        let mut request = url.into_client_request().unwrap();
        if let Some(bearer) = bearer {
            let value = bearer.parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        let stream = TcpStream::connect(world.addr).await.unwrap();
        let opening = tokio_tungstenite::client_async(request, stream);
        let (socket, _) = within("a WebSocket opens", opening).await.unwrap();
        Self(socket)
    }
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Watcher<S> {
    /// Returns the next frame or the end.
    pub(crate) async fn next(&mut self) -> Got {
        loop {
            match within("a frame comes", self.0.next()).await {
                Some(Ok(Message::Text(text))) => return Got::Frame(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(close)))) => {
                    return Got::end(close.code.into(), &close.reason);
                }
                Some(Ok(Message::Close(None)) | Err(_)) | None => return Got::End(None),
                Some(Ok(_)) => {}
            }
        }
    }

    pub(crate) async fn frame(&mut self) -> Value {
        match self.next().await {
            Got::Frame(frame) => frame,
            Got::End(end) => panic!("the watch ended: {end:?}"),
        }
    }

    /// Reads on until the end and returns it.
    pub(crate) async fn end(&mut self) -> Got {
        loop {
            if let end @ Got::End(_) = self.next().await {
                return end;
            }
        }
    }

    /// Sends something; the gateway may have gone.
    pub(crate) async fn say(&mut self, message: Message) {
        let _ = within("the gateway listens", self.0.send(message)).await;
    }
}

/// An EventSource.
#[derive(Debug)]
pub(crate) struct Events {
    response: reqwest::Response,
    text: String,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: Value,
}

impl Events {
    pub(crate) async fn open(call: Call) -> Self {
        let response = call.open().await;
        assert_eq!(response.status(), 200);
        Self {
            response,
            text: String::new(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap())
    }

    /// Returns the next event; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = read(event);
                self.text = rest.to_owned();
                return Some(event);
            }
            let chunk = within("an event comes", self.response.chunk()).await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

fn read(text: &str) -> Told {
    let field = |name: &str| {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
        let value = values.next().map(ToOwned::to_owned);
        assert_eq!(values.next(), None, "{text}");
        value
    };
    Told {
        id: field("id: "),
        event: field("event: ").unwrap(),
        data: serde_json::from_str(&field("data: ").unwrap()).unwrap(),
    }
}

/// A frame about a task.
pub(crate) fn task(seq: u64) -> WatchResponse {
    large_task(seq, 0)
}

/// A frame of so many bytes and some more.
pub(crate) fn large_task(seq: u64, bytes: usize) -> WatchResponse {
    let task = Task {
        task_id: format!("task_{seq}"),
        error_message: "x".repeat(bytes),
        ..Task::default()
    };
    WatchResponse {
        seq,
        event: Some(Event::Task(task)),
    }
}

pub(crate) fn heartbeat(seq: u64) -> WatchResponse {
    WatchResponse {
        seq,
        event: Some(Event::Heartbeat(WatchHeartbeat::default())),
    }
}
