//! Receiving a notification: verified, stored, and only then acknowledged. A provider sends again what is not.

use std::time::{Duration, Instant};

use http::HeaderMap;
use metrics::{counter, describe_counter};
use pay::{Ack, Event, Notification, NotifyError};
use sha2::{Digest as _, Sha256};

use super::Allowance;
use crate::app::App;
use crate::domain::{Channel, Told};
use crate::error::Error;
use crate::store::checks::Subject;
use crate::store::notifies::{self, NewNotify};

/// Longest wait for the database. Providers want an answer within 5 s, and verifying may take 3 of them.
const STORE: Duration = Duration::from_millis(1500);
/// Longest detail of a refusal that is kept, in characters.
const MAX_DETAIL_CHARS: usize = 300;
/// Counts deliveries.
const NOTIFIES: &str = "billing_notify_total";
/// Reason where there is none.
const NONE: &str = "none";

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Taken,
    Duplicate,
    Refused,
    /// It could not be stored: the provider sends it again.
    Failed,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Duplicate => "duplicate",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Makes the series exist whose labels are known.
pub(crate) fn describe() {
    describe_counter!(
        NOTIFIES,
        "Notifications of payment providers by what became of them: taken, duplicate, refused, failed."
    );
    for channel in Channel::ALL {
        for outcome in [Outcome::Taken, Outcome::Duplicate, Outcome::Failed] {
            counter!(NOTIFIES, "channel" => channel.name(), "outcome" => outcome.name(), "reason" => NONE)
                .increment(0);
        }
    }
}

fn count(channel: Channel, outcome: Outcome, reason: &'static str) {
    counter!(NOTIFIES, "channel" => channel.name(), "outcome" => outcome.name(), "reason" => reason)
        .increment(1);
}

/// Takes a notification, and says how it is answered.
///
/// # Errors
/// Only if there is no provider for the channel; everything else is answered as the provider wants it.
pub(crate) async fn receive(
    app: &App,
    refused: &Allowance,
    channel: Channel,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Ack, Error> {
    let provider = app.provider(channel)?;
    let digest = Sha256::digest(body);
    let taken = match provider.read_notify(headers, body).await {
        Ok(notification) => store(app, channel, notification, &digest).await,
        Err(error) => {
            let ack = refusal(provider.acknowledge(false));
            count(channel, Outcome::Refused, error.name());
            if refused.take(Instant::now()) {
                write_refused(app, channel, &error, &digest).await;
            }
            return Ok(ack);
        }
    };
    if taken {
        app.inbox.notify_one();
    }
    Ok(provider.acknowledge(taken))
}

/// How a notification is answered that is not the provider's: to WeChat every status but 2xx means that it was not taken, and a
/// stranger's mistake is no failure of ours.
fn refusal(ack: Ack) -> Ack {
    let status = if ack.status >= 500 { 400 } else { ack.status };
    Ack { status, ..ack }
}

/// Stores a notification that was verified. False if it is not stored, or nobody knows: then it has to come again.
async fn store(app: &App, channel: Channel, notification: Notification, digest: &[u8]) -> bool {
    let subject = match &notification.event {
        Event::Payment(_) => Subject::Payment,
        Event::Refund(_) | Event::RefundChanged { .. } => Subject::Refund,
        Event::Transfer(_) => Subject::Withdrawal,
    };
    let (number, told) = Told::of(notification.event);
    let event = match serde_json::to_value(&told) {
        Ok(event) => event,
        Err(error) => {
            tracing::error!(%error, "a notification cannot be kept");
            count(channel, Outcome::Failed, NONE);
            return false;
        }
    };
    let new = NewNotify {
        channel,
        event_id: &notification.id,
        subject,
        number: number.as_str(),
        event: &event,
        body_sha256: digest,
    };
    let outcome = match tokio::time::timeout(STORE, notifies::take(&app.pool, &new)).await {
        Ok(Ok(true)) => Outcome::Taken,
        Ok(Ok(false)) => Outcome::Duplicate,
        Ok(Err(error)) => {
            tracing::warn!(
                error = barrier::chain(&error),
                "a notification is not stored; it comes again"
            );
            Outcome::Failed
        }
        Err(_) => {
            tracing::warn!("a notification is not stored in time; it comes again");
            Outcome::Failed
        }
    };
    count(channel, outcome, NONE);
    outcome != Outcome::Failed
}

/// Writes down a refusal, for people; it is answered whether or not that is possible.
async fn write_refused(app: &App, channel: Channel, error: &NotifyError, digest: &[u8]) {
    // Parts of it come from outside: a zero byte is nothing that a text of the database may have.
    let detail: String = error
        .to_string()
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_DETAIL_CHARS)
        .collect();
    let written = notifies::refuse(&app.pool, channel, error.name(), &detail, digest);
    match tokio::time::timeout(STORE, written).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(
            error = barrier::chain(&error),
            "a refused notification is not written down"
        ),
        Err(_) => tracing::warn!("a refused notification is not written down in time"),
    }
}
