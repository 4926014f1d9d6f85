//! Notifications.

use super::Inner;
use super::payment::Trade;
use super::sign::{Parameters, read, text};
use super::transfer;
use crate::http::MAX_ANSWER_BYTES;
use crate::outcome::clip;
use crate::{Event, Notification, NotifyError, Number};

impl Inner {
    pub(super) fn read_notify(&self, body: &[u8]) -> Result<Notification, NotifyError> {
        if body.len() > MAX_ANSWER_BYTES {
            return Err(NotifyError::TooLarge(MAX_ANSWER_BYTES));
        }
        let parameters =
            read(body).ok_or_else(|| NotifyError::Malformed("a parameter twice, or too many".to_owned()))?;
        self.verify(&parameters)?;
        if need(&parameters, "app_id")? != self.config.app_id {
            return Err(NotifyError::WrongApp);
        }
        let id = need(&parameters, "notify_id")?;
        if id.len() > 128 {
            return Err(NotifyError::Malformed("notify_id".to_owned()));
        }
        let event = match parameters.get("msg_method").map(String::as_str) {
            Some("alipay.fund.trans.order.changed") => transfer_event(&parameters)?,
            Some(other) => return Err(NotifyError::UnknownEvent(clip(other))),
            None => self.trade_event(&parameters)?,
        };
        Ok(Notification {
            id: id.to_owned(),
            event,
        })
    }

    fn verify(&self, parameters: &Parameters) -> Result<(), NotifyError> {
        let trust = &self.config.trust;
        let sign = need(parameters, "sign")?;
        if need(parameters, "sign_type")? != "RSA2" {
            return Err(NotifyError::Malformed("a signature of another kind".to_owned()));
        }
        let charset = parameters.get("charset").map_or("utf-8", String::as_str);
        if !charset.eq_ignore_ascii_case("utf-8") {
            return Err(NotifyError::Malformed("another charset".to_owned()));
        }
        let serial = parameters.get("alipay_cert_sn").map(String::as_str);
        if !trust.is_of(serial) {
            return Err(NotifyError::UnknownKey(clip(serial.unwrap_or_default())));
        }
        let signed = text(parameters, &["sign", "sign_type"]);
        if trust.key().verifies(signed.as_bytes(), sign) {
            Ok(())
        } else {
            Err(NotifyError::Signature)
        }
    }

    fn trade_event(&self, parameters: &Parameters) -> Result<Event, NotifyError> {
        let kind = need(parameters, "notify_type")?;
        if kind != "trade_status_sync" {
            return Err(NotifyError::UnknownEvent(clip(kind)));
        }
        if need(parameters, "seller_id")? != self.config.merchant_id {
            return Err(NotifyError::WrongMerchant);
        }
        let payment = Trade::of(parameters)
            .and_then(Trade::read)
            .map_err(NotifyError::Malformed)?;
        // A refund is told as a change of the trade, with the sum of all refunds.
        let refund = parameters
            .get("out_biz_no")
            .filter(|_| parameters.contains_key("gmt_refund"));
        match refund {
            Some(number) => Ok(Event::RefundChanged {
                refund: Number::new(number)
                    .map_err(|_| NotifyError::Malformed("out_biz_no is none of ours".to_owned()))?,
                payment: payment.number,
            }),
            None => Ok(Event::Payment(payment)),
        }
    }
}

fn transfer_event(parameters: &Parameters) -> Result<Event, NotifyError> {
    let found: transfer::Found = serde_json::from_str(need(parameters, "biz_content")?)
        .map_err(|error| NotifyError::Malformed(clip(&error.to_string())))?;
    found.read().map(Event::Transfer).map_err(NotifyError::Malformed)
}

fn need<'a>(parameters: &'a Parameters, name: &'static str) -> Result<&'a str, NotifyError> {
    parameters
        .get(name)
        .map(String::as_str)
        .filter(|text| !text.is_empty())
        .ok_or(NotifyError::Missing(name))
}
