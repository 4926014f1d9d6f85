//! Publishing with confirms.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};

use super::{DEAD, EXCHANGE, Open, PATIENCE, Rabbit, Role, in_time};
use crate::Error;
use crate::cloudevent::CONTENT_TYPE;
use crate::dead::Corpse;
use crate::relay::{Outgoing, Verdict, can_be_sent};

/// Longest wait for the confirmations of a batch.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(15);
/// Headers of a message that a consumer has given up on.
pub(super) const REASON_HEADER: &str = "evenkeel-reason";
pub(super) const DELIVERIES_HEADER: &str = "evenkeel-deliveries";
/// Longest reason on the wire, in characters; a header must fit into one frame.
const MAX_REASON_CHARS: usize = 1_000;
const PERSISTENT: u8 = 2;

/// Publishes on a channel of its own, which is replaced when it is lost.
pub(crate) struct Publisher {
    rabbit: Arc<Rabbit>,
    open: Option<Open>,
}

impl Publisher {
    pub(crate) fn new(rabbit: Arc<Rabbit>) -> Self {
        Self { rabbit, open: None }
    }

    /// Connects if need be. An error also while the broker takes nothing: what is handed to the client then piles up in
    /// memory.
    pub(crate) async fn ready(&mut self) -> Result<(), Error> {
        if let Some(open) = self.open.as_ref().filter(|open| open.is_usable()) {
            return if open.is_blocked() {
                Err(Error::Blocked)
            } else {
                Ok(())
            };
        }
        self.open = None;
        let open = self.rabbit.open(Role::Publish).await?;
        in_time(open.channel.confirm_select(ConfirmSelectOptions::default())).await?;
        self.open = Some(open);
        Ok(())
    }

    /// Publishes a batch and waits for the broker's word on every message.
    pub(crate) async fn publish(&mut self, messages: &[Outgoing]) -> Vec<Verdict> {
        let Some(open) = &self.open else {
            return vec![Verdict::Unknown; messages.len()];
        };
        let sending = messages.iter().map(|message| send(&open.channel, message));
        let waiting = tokio::time::timeout(CONFIRM_PATIENCE, join_all(sending));
        let verdicts = waiting
            .await
            .unwrap_or_else(|_| vec![Verdict::Unknown; messages.len()]);
        if verdicts.contains(&Verdict::Unknown) {
            self.open = None;
        }
        verdicts
    }

    /// Puts messages into queues directly; false for those whose queue is gone.
    pub(crate) async fn send_to(&self, messages: &[(&str, &[u8])]) -> Result<Vec<bool>, Error> {
        let Some(open) = &self.open else {
            return Err(Error::Ended);
        };
        let sending = messages.iter().map(|(queue, body)| {
            let properties = BasicProperties::default();
            confirmed(&open.channel, "", queue, true, body, properties)
        });
        let waiting = tokio::time::timeout(CONFIRM_PATIENCE, join_all(sending));
        let Ok(answers) = waiting.await else {
            return Err(Error::Slow(CONFIRM_PATIENCE.as_secs()));
        };
        answers
            .into_iter()
            .map(|answer| match verdict(answer?) {
                Verdict::Confirmed => Ok(true),
                Verdict::Unroutable => Ok(false),
                Verdict::Refused | Verdict::Unknown => Err(Error::Ended),
            })
            .collect()
    }
}

async fn send(channel: &Channel, message: &Outgoing) -> Verdict {
    if !can_be_sent(message) {
        return Verdict::Refused;
    }
    let properties = BasicProperties::default().with_message_id(message.id.to_string().into());
    let topic = message.topic.as_str();
    let answer = confirmed(
        channel,
        EXCHANGE,
        topic,
        message.mandatory,
        &message.body,
        properties,
    )
    .await;
    answer.map_or(Verdict::Unknown, verdict)
}

async fn confirmed(
    channel: &Channel,
    exchange: &str,
    routing_key: &str,
    mandatory: bool,
    body: &[u8],
    properties: BasicProperties,
) -> Result<Confirmation, lapin::Error> {
    let options = BasicPublishOptions {
        mandatory,
        ..BasicPublishOptions::default()
    };
    let properties = properties
        .with_content_type(CONTENT_TYPE.into())
        .with_delivery_mode(PERSISTENT);
    channel
        .basic_publish(exchange.into(), routing_key.into(), options, body, properties)
        .await?
        .await
}

fn verdict(confirmation: Confirmation) -> Verdict {
    match confirmation {
        Confirmation::Ack(None) => Verdict::Confirmed,
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Verdict::Unroutable,
        Confirmation::Nack(None) => Verdict::Refused,
        // Confirms are on, so this is no answer.
        Confirmation::NotRequested => Verdict::Unknown,
    }
}

/// Hands a message to the dead, with the reason; returns once the broker has it.
pub(super) async fn bury(channel: &Channel, corpse: &Corpse) -> Result<(), Error> {
    let reason: String = corpse.reason.chars().take(MAX_REASON_CHARS).collect();
    let mut headers = FieldTable::default();
    headers.insert(REASON_HEADER.into(), AMQPValue::LongString(reason.into()));
    headers.insert(
        DELIVERIES_HEADER.into(),
        AMQPValue::LongLongInt(i64::from(corpse.deliveries)),
    );
    let properties = BasicProperties::default().with_headers(headers);
    let sending = confirmed(channel, DEAD, &corpse.queue, true, &corpse.body, properties);
    let Ok(answer) = tokio::time::timeout(PATIENCE, sending).await else {
        return Err(Error::Slow(PATIENCE.as_secs()));
    };
    match verdict(answer?) {
        Verdict::Confirmed => Ok(()),
        Verdict::Unroutable | Verdict::Refused | Verdict::Unknown => Err(Error::Ended),
    }
}
