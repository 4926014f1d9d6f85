//! Notifications.

use std::time::Duration;

use http::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::payment::Transaction;
use super::sealed::Sealed;
use super::{Inner, refund, transfer};
use crate::http::MAX_ANSWER_BYTES;
use crate::outcome::clip;
use crate::{Event, Notification, NotifyError, RefundState, TransferState};

/// Longest wait for a key that has to be fetched: WeChat wants an answer within 5 s, and the caller has work to do.
const MAX_WAIT: Duration = Duration::from_secs(3);

#[derive(Debug, Deserialize)]
struct Envelope {
    id: String,
    event_type: String,
    resource: Sealed,
}

impl Inner {
    pub(super) async fn read_notify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Notification, NotifyError> {
        if body.len() > MAX_ANSWER_BYTES {
            return Err(NotifyError::TooLarge(MAX_ANSWER_BYTES));
        }
        match tokio::time::timeout(MAX_WAIT, self.verify(headers, body)).await {
            Ok(verified) => verified?,
            Err(_) => return Err(NotifyError::KeyUnavailable("of the notification".to_owned())),
        }
        let envelope: Envelope = parse(body)?;
        if !(1..=64).contains(&envelope.id.len()) {
            return Err(NotifyError::Malformed("the id".to_owned()));
        }
        let content = envelope
            .resource
            .open(&self.config.api_v3_key)
            .ok_or(NotifyError::Decrypt)?;
        let event = match envelope.event_type.as_str() {
            "TRANSACTION.SUCCESS" => self.payment_event(&content)?,
            "REFUND.SUCCESS" => self.refund_event(&content, RefundState::Succeeded)?,
            "REFUND.CLOSED" => self.refund_event(&content, RefundState::Closed)?,
            "REFUND.ABNORMAL" => self.refund_event(&content, RefundState::Abnormal)?,
            "MCHTRANSFER.BILL.FINISHED" => self.transfer_event(&content)?,
            other => return Err(NotifyError::UnknownEvent(clip(other))),
        };
        Ok(Notification {
            id: envelope.id,
            event,
        })
    }

    fn payment_event(&self, content: &[u8]) -> Result<Event, NotifyError> {
        let transaction: Transaction = parse(content)?;
        if !transaction.is_of_app(&self.config) {
            return Err(NotifyError::WrongApp);
        }
        if !transaction.is_of_merchant(&self.config) {
            return Err(NotifyError::WrongMerchant);
        }
        transaction
            .read()
            .map(Event::Payment)
            .map_err(NotifyError::Malformed)
    }

    fn refund_event(&self, content: &[u8], state: RefundState) -> Result<Event, NotifyError> {
        let told: refund::Told = parse(content)?;
        if told.mchid != self.config.merchant_id {
            return Err(NotifyError::WrongMerchant);
        }
        let refund = told.read().map_err(NotifyError::Malformed)?;
        if refund.state != state {
            return Err(NotifyError::Malformed(
                "the event and the refund disagree".to_owned(),
            ));
        }
        Ok(Event::Refund(refund))
    }

    fn transfer_event(&self, content: &[u8]) -> Result<Event, NotifyError> {
        let found: transfer::Found = parse(content)?;
        if !found.is_of_merchant(&self.config) {
            return Err(NotifyError::WrongMerchant);
        }
        let transfer = found.read().map_err(NotifyError::Malformed)?;
        match transfer.state {
            TransferState::Succeeded | TransferState::Failed { .. } => Ok(Event::Transfer(transfer)),
            TransferState::Processing | TransferState::AwaitingRecipient { .. } => Err(
                NotifyError::Malformed("a transfer that is not finished".to_owned()),
            ),
        }
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, NotifyError> {
    serde_json::from_slice(bytes).map_err(|error| NotifyError::Malformed(clip(&error.to_string())))
}
