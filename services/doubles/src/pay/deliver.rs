//! Notifications: sent until the merchant takes them, at the provider's intervals.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::program::{Behaviour, Operation, Rule};
use super::rows::{Order, Refund, Transfer};
use super::{Core, Lie, now};

/// How long a merchant may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Deliveries that are kept; older ones are forgotten.
const KEPT: usize = 100_000;
/// Largest part of a merchant's answer that is looked at, in bytes.
const MAX_ANSWER_BYTES: usize = 4096;

/// What a notification is about.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Payment(Order),
    /// The refund, its order, and what was refunded of it so far.
    Refund(Refund, Order, i64),
    Transfer(Transfer),
}

/// An event, the same in every delivery.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) at: DateTime<Utc>,
    pub(crate) told: Told,
}

/// What goes over the wire.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

/// One attempt to deliver a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Id of the event.
    pub id: String,
    /// What it is about.
    pub operation: Operation,
    /// The merchant's number of what it is about.
    pub number: String,
    /// HTTP status of the answer; absent if there was none.
    pub status: Option<u16>,
    /// The merchant took it.
    pub taken: bool,
}

/// What was sent, and what is held back.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    pub(super) sent: VecDeque<Delivery>,
    held: Vec<Event>,
}

impl Told {
    pub(crate) fn operation(&self) -> Operation {
        match self {
            Self::Payment(_) => Operation::NotifyPayment,
            Self::Refund(..) => Operation::NotifyRefund,
            Self::Transfer(_) => Operation::NotifyTransfer,
        }
    }

    fn number(&self) -> &str {
        match self {
            Self::Payment(order) => &order.number,
            Self::Refund(refund, ..) => &refund.number,
            Self::Transfer(transfer) => &transfer.number,
        }
    }

    fn url(&self) -> &str {
        match self {
            Self::Payment(order) => &order.notify_url,
            Self::Refund(refund, ..) => &refund.notify_url,
            Self::Transfer(transfer) => &transfer.notify_url,
        }
    }
}

impl Core {
    /// Tells the merchant, as the programme says.
    pub(crate) fn tell(self: &Arc<Self>, told: Told) {
        if told.url().is_empty() {
            return;
        }
        let rule = self.take(told.operation());
        let event = Event {
            id: format!("EV-{}", crate::random_text()),
            at: now(),
            told,
        };
        let held = {
            let mut deliveries = self.deliveries();
            if rule.behaviour == Behaviour::Lose {
                return;
            }
            if rule.behaviour == Behaviour::Reorder {
                deliveries.held.push(event);
                drop(deliveries);
                self.release_later();
                return;
            }
            std::mem::take(&mut deliveries.held)
        };
        self.deliver_all(vec![(event, rule)], held);
    }

    /// Nothing that was held back stays so for longer than until the first repetition would come.
    fn release_later(self: &Arc<Self>) {
        let first = self.protocol.schedule().first().copied().unwrap_or_default();
        let pause = Duration::from_secs(first).mul_f64(self.options.schedule_scale);
        let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.later(pause, |core| {
            let held = std::mem::take(&mut core.deliveries().held);
            core.deliver_all(Vec::new(), held);
        });
    }

    /// Delivers one after the other.
    fn deliver_all(self: &Arc<Self>, mut events: Vec<(Event, Rule)>, held: Vec<Event>) {
        events.extend(held.into_iter().map(|event| {
            let rule = Rule::once(event.told.operation(), Behaviour::Answer);
            (event, rule)
        }));
        let core = Arc::clone(self);
        tokio::spawn(async move {
            let deliver = async {
                for (event, rule) in &events {
                    core.deliver(event, rule).await;
                }
            };
            tokio::select! {
                () = core.stop.cancelled() => {}
                () = deliver => {}
            }
        });
    }

    async fn deliver(&self, event: &Event, rule: &Rule) {
        tokio::time::sleep(Duration::from_millis(rule.delay_ms)).await;
        let mut lie = rule.lie();
        if let Behaviour::Duplicate(times) = rule.behaviour {
            for _ in 1..times {
                self.attempt(event, lie).await;
            }
        }
        let schedule = self.protocol.schedule();
        for pause in schedule.iter().copied().map(Some).chain([None]) {
            if self.attempt(event, lie).await {
                return;
            }
            if let Lie::Probe = lie {
                lie = Lie::None;
            }
            if let Some(seconds) = pause {
                tokio::time::sleep(Duration::from_secs(seconds).mul_f64(self.options.schedule_scale)).await;
            }
        }
    }

    /// Sends once; says whether the merchant took it.
    async fn attempt(&self, event: &Event, lie: Lie) -> bool {
        let message = self.protocol.message(event, lie, now());
        let mut request = self
            .client
            .post(event.told.url())
            .timeout(ANSWER)
            .body(message.body);
        for (name, value) in message.headers {
            request = request.header(name, value);
        }
        let (status, body) = match request.send().await {
            Ok(mut answer) => {
                let status = answer.status().as_u16();
                let mut body = Vec::new();
                while let Ok(Some(chunk)) = answer.chunk().await {
                    body.extend_from_slice(&chunk);
                    if body.len() > MAX_ANSWER_BYTES {
                        break;
                    }
                }
                (Some(status), body)
            }
            Err(error) => {
                tracing::debug!(%error, "a notification was not answered");
                (None, Vec::new())
            }
        };
        let taken = status.is_some_and(|status| self.protocol.is_taken(status, &body));
        let mut deliveries = self.deliveries();
        if deliveries.sent.len() == KEPT {
            deliveries.sent.pop_front();
        }
        deliveries.sent.push_back(Delivery {
            id: event.id.clone(),
            operation: event.told.operation(),
            number: event.told.number().to_owned(),
            status,
            taken,
        });
        taken
    }
}
