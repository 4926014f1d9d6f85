//! A merchant: clients of both providers, and a place where notifications arrive.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use chrono::{TimeDelta, Utc};
use pay::{
    Event, HttpClient, Money, NewPayment, NewRefund, NewTransfer, Notification, NotifyError, Number,
    Provider, Recipient, Subject, Timeouts,
};

/// Longest wait for anything.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// What arrives, as the client reads it.
#[derive(Clone)]
pub(crate) struct Inbox {
    addr: SocketAddr,
    read: Arc<Mutex<Vec<Result<Notification, NotifyError>>>>,
}

impl Inbox {
    /// Listens for the notifications of a provider. What cannot be verified is not taken.
    pub(crate) async fn start(provider: Arc<dyn Provider>) -> Self {
        let read: Arc<Mutex<Vec<_>>> = Arc::default();
        let kept = Arc::clone(&read);
        let router = Router::new().route(
            "/notify",
            post(async move |headers: HeaderMap, body: Bytes| {
                let found = provider.read_notify(&headers, &body).await;
                let ack = provider.acknowledge(found.is_ok());
                kept.lock().unwrap().push(found);
                (StatusCode::from_u16(ack.status).unwrap(), ack.body).into_response()
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { addr, read }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/notify", self.addr)
    }

    pub(crate) fn all(&self) -> Vec<Result<Notification, NotifyError>> {
        self.read.lock().unwrap().clone()
    }

    pub(crate) fn good(&self) -> Vec<Notification> {
        self.all().into_iter().filter_map(Result::ok).collect()
    }

    /// Waits for so many notifications that can be read.
    pub(crate) async fn wait(&self, count: usize) -> Vec<Notification> {
        test_support::eventually(LONG, async || self.good().len() >= count).await;
        self.good()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.good().into_iter().map(|found| found.event).collect()
    }
}

/// A client that does not wait long for those who never answer.
pub(crate) fn http() -> HttpClient {
    HttpClient::new(Timeouts {
        connect: Duration::from_secs(1),
        answer: Duration::from_millis(700),
        file: Duration::from_secs(5),
    })
    .unwrap()
}

pub(crate) fn number(text: &str) -> Number {
    Number::new(text).unwrap()
}

pub(crate) fn payment(name: &str, fen: i64, notify_url: &str) -> NewPayment {
    NewPayment {
        number: number(name),
        amount: Money::cny(fen),
        subject: Subject::new("会员 12 个月").unwrap(),
        expires_at: Utc::now() + TimeDelta::minutes(30),
        notify_url: notify_url.to_owned(),
    }
}

pub(crate) fn refund(name: &str, order: &NewPayment, fen: i64) -> NewRefund {
    NewRefund {
        number: number(name),
        payment: order.number.clone(),
        amount: Money::cny(fen),
        total: order.amount,
        reason: Subject::new("a change of mind").unwrap(),
        notify_url: order.notify_url.clone(),
    }
}

pub(crate) fn transfer(name: &str, fen: i64, notify_url: &str) -> NewTransfer {
    NewTransfer {
        number: number(name),
        recipient: Recipient {
            id: "2088000000000001".to_owned(),
            name: None,
        },
        amount: Money::cny(fen),
        remark: Subject::new("commission").unwrap(),
        notify_url: notify_url.to_owned(),
    }
}
