//! Consuming with acknowledgements.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use lapin::Acker;
use lapin::message::Delivery as Raw;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable};

use super::publish::{DELIVERIES_HEADER, REASON_HEADER, bury};
use super::{DEAD, Open, Rabbit, Role, bind, declare, in_time, unbind};
use crate::consumer::{Delivery, Receipt};
use crate::dead::Corpse;
use crate::{Error, Pattern};

/// Deliveries of dead letters that a keeper holds at once.
const DEAD_PREFETCH: u16 = 16;

/// A subscription to the queue of a consumer.
pub(crate) struct Source {
    queue: &'static str,
    open: Arc<Open>,
    stream: lapin::Consumer,
    /// What has arrived and was not taken; bounded by the prefetch.
    arrived: Vec<Raw>,
}

impl Source {
    /// Declares the queue, lets it take `wanted` as well, and subscribes to it.
    pub(crate) async fn open(
        rabbit: &Rabbit,
        queue: &'static str,
        wanted: &BTreeSet<Pattern>,
        prefetch: u16,
    ) -> Result<Self, Error> {
        let open = rabbit.open(Role::Consume).await?;
        // Dead letters are published on this channel before the message is acknowledged on it.
        in_time(open.channel.confirm_select(ConfirmSelectOptions::default())).await?;
        in_time(declare(&open.channel, queue, wanted)).await?;
        let stream = subscribe(&open, queue, prefetch).await?;
        Ok(Self {
            queue,
            open: Arc::new(open),
            stream,
            arrived: Vec::new(),
        })
    }

    /// Waits for a message; nothing is lost if the wait is given up.
    pub(crate) async fn ready(&mut self) -> Result<(), Error> {
        let raw = self.stream.next().await.ok_or(Error::Ended)??;
        self.arrived.push(raw);
        Ok(())
    }

    pub(crate) fn take(&mut self) -> Vec<Delivery> {
        let queue = self.queue;
        let open = &self.open;
        self.arrived
            .drain(..)
            .map(|raw| Delivery {
                deliveries: deliveries(&raw),
                body: raw.data,
                receipt: Receipt::Rabbit(Message {
                    queue,
                    acker: raw.acker,
                    open: Arc::clone(open),
                }),
            })
            .collect()
    }

    /// Lets the queue take `wanted`, and nothing of `before` that is not wanted any more.
    pub(crate) async fn bind(
        &self,
        before: &BTreeSet<Pattern>,
        wanted: &BTreeSet<Pattern>,
    ) -> Result<(), Error> {
        for pattern in wanted.difference(before) {
            in_time(bind(
                &self.open.channel,
                self.queue,
                super::EXCHANGE,
                pattern.as_str(),
            ))
            .await?;
        }
        for pattern in before.difference(wanted) {
            in_time(unbind(&self.open.channel, self.queue, pattern.as_str())).await?;
        }
        Ok(())
    }
}

async fn subscribe(open: &Open, queue: &str, prefetch: u16) -> Result<lapin::Consumer, Error> {
    in_time(open.channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
    in_time(open.channel.basic_consume(
        queue.into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    ))
    .await
}

/// How often a message has been delivered, this time included: a quorum queue counts the times before.
fn deliveries(raw: &Raw) -> u32 {
    let before = header(raw, "x-delivery-count").and_then(integer).unwrap_or(0);
    u32::try_from(before).unwrap_or(0).saturating_add(1)
}

fn header<'a>(raw: &'a Raw, name: &str) -> Option<&'a AMQPValue> {
    raw.properties.headers().as_ref()?.inner().get(name)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other type is no integer")]
fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(n) => Some(i64::from(*n)),
        AMQPValue::ShortShortUInt(n) => Some(i64::from(*n)),
        AMQPValue::ShortInt(n) => Some(i64::from(*n)),
        AMQPValue::ShortUInt(n) => Some(i64::from(*n)),
        AMQPValue::LongInt(n) => Some(i64::from(*n)),
        AMQPValue::LongUInt(n) => Some(i64::from(*n)),
        AMQPValue::LongLongInt(n) => Some(*n),
        _ => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other type is no text")]
fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// A message that this process holds. If the channel is lost, it goes back to its queue and nothing here changes anything.
pub(crate) struct Message {
    queue: &'static str,
    acker: Acker,
    open: Arc<Open>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

impl Message {
    pub(crate) async fn done(&self) -> Result<(), Error> {
        in_time(self.acker.ack(BasicAckOptions::default())).await?;
        Ok(())
    }

    /// Hands the message to the dead and then acknowledges it. In between it exists twice, which the dead letters notice.
    pub(crate) async fn dead(&self, corpse: &Corpse) -> Result<(), Error> {
        match bury(&self.open.channel, corpse).await {
            Ok(()) => self.done().await,
            Err(error) => {
                self.release().await?;
                Err(error)
            }
        }
    }

    pub(crate) async fn release(&self) -> Result<(), Error> {
        let requeue = BasicNackOptions {
            requeue: true,
            ..BasicNackOptions::default()
        };
        in_time(self.acker.nack(requeue)).await?;
        Ok(())
    }
}

/// The queue of the dead, from which a keeper writes them down.
pub(crate) struct DeadSource {
    stream: lapin::Consumer,
    _open: Open,
}

impl DeadSource {
    pub(crate) async fn open(rabbit: &Rabbit) -> Result<Self, Error> {
        let open = rabbit.open(Role::Consume).await?;
        let stream = subscribe(&open, DEAD, DEAD_PREFETCH).await?;
        Ok(Self { stream, _open: open })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Result<(Corpse, Acker), Error> {
        let raw = self.stream.next().await.ok_or(Error::Ended)??;
        let reason = header(&raw, REASON_HEADER)
            .and_then(text)
            .unwrap_or_else(|| given_up(&raw));
        let deliveries = header(&raw, DELIVERIES_HEADER).and_then(integer).unwrap_or(0);
        let deliveries = u32::try_from(deliveries).unwrap_or(0);
        let corpse = Corpse::of(raw.routing_key.as_str(), raw.data, reason, deliveries);
        Ok((corpse, raw.acker))
    }
}

/// Why the broker itself gave up, from the first entry of `x-death`.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other type is not what the broker writes there"
)]
fn given_up(raw: &Raw) -> String {
    let first = header(raw, "x-death").and_then(|deaths| match deaths {
        AMQPValue::FieldArray(deaths) => deaths.as_slice().first(),
        _ => None,
    });
    let reason = first.and_then(|death| match death {
        AMQPValue::FieldTable(death) => text(death.inner().get("reason")?),
        _ => None,
    });
    let why = reason.unwrap_or_else(|| "unknown".to_owned());
    format!("the broker gave up: {why}")
}
