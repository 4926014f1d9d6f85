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

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::alipay::{Config, Trust, URL};
    use crate::keys::made::keys;
    use crate::{Clock, HttpClient, PrivateKey, Timeouts};

    /// A client, and the key that it takes for Alipay's.
    static CLIENT: LazyLock<(Inner, PrivateKey)> = LazyLock::new(|| {
        let (theirs, public) = keys();
        let config = Config {
            app_id: "2021".to_owned(),
            merchant_id: "2088".to_owned(),
            key: theirs.clone(),
            trust: Trust::PublicKey(public),
            url: URL.to_owned(),
        };
        let inner = Inner {
            url: URL.parse().unwrap(),
            http: HttpClient::new(Timeouts::default()).unwrap(),
            clock: Clock::system(),
            config,
        };
        (inner, theirs)
    });

    fn paid() -> Parameters {
        [
            ("app_id", "2021"),
            ("notify_id", "n1"),
            ("notify_type", "trade_status_sync"),
            ("seller_id", "2088"),
            ("out_trade_no", "PAY0000001"),
            ("trade_no", "2026112122001"),
            ("trade_status", "TRADE_SUCCESS"),
            ("total_amount", "0.01"),
            ("gmt_payment", "2026-11-21 10:00:00"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn read_signed(mut parameters: Parameters) -> Result<Notification, NotifyError> {
        let (inner, key) = &*CLIENT;
        let sign = key.sign(text(&parameters, &["sign", "sign_type"]).as_bytes());
        parameters.insert("sign".to_owned(), sign);
        parameters.insert("sign_type".to_owned(), "RSA2".to_owned());
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&parameters)
            .finish();
        inner.read_notify(body.as_bytes())
    }

    #[test]
    fn what_is_signed_and_makes_no_sense_is_refused_by_name() {
        assert!(read_signed(paid()).is_ok());
        for (name, value, why) in [
            ("app_id", "2022", "WRONG_APP"),
            ("seller_id", "2089", "WRONG_MERCHANT"),
            ("notify_id", "", "MISSING"),
            ("notify_type", "other", "UNKNOWN_EVENT"),
            ("msg_method", "alipay.other", "UNKNOWN_EVENT"),
            ("trade_status", "MAYBE", "MALFORMED"),
            ("total_amount", "0.001", "MALFORMED"),
            ("gmt_payment", "", "MALFORMED"),
            ("gmt_payment", "2026-13-21 10:00:00", "MALFORMED"),
            ("charset", "gbk", "MALFORMED"),
        ] {
            let mut parameters = paid();
            parameters.insert(name.to_owned(), value.to_owned());
            assert_eq!(read_signed(parameters).unwrap_err().name(), why, "{name}={value}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_signed_makes_the_reader_panic(
            name in prop::sample::select(vec![
                "out_trade_no", "trade_status", "total_amount", "gmt_payment", "out_biz_no", "gmt_refund", "biz_content",
            ]),
            value in ".{0,40}",
            transfer: bool,
        ) {
            let mut parameters = paid();
            if transfer {
                parameters.insert("msg_method".to_owned(), "alipay.fund.trans.order.changed".to_owned());
            }
            parameters.insert(name.to_owned(), value);
            let _ = read_signed(parameters);
        }

        #[test]
        fn nothing_that_is_not_signed_is_believed(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(CLIENT.0.read_notify(&body).is_err());
        }
    }
}
