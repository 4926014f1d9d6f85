//! Native payments: create, query, close.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Config, Inner};
use crate::bill::beijing;
use crate::{Code, Currency, Failure, Money, NewPayment, Number, Outcome, Payment, PaymentState, Reason};

/// Longest code URL that is passed on, in bytes: what a QR code for a screen holds.
const MAX_CODE_BYTES: usize = 512;

#[derive(Serialize)]
struct Create<'a> {
    appid: &'a str,
    mchid: &'a str,
    description: &'a str,
    out_trade_no: &'a str,
    time_expire: String,
    notify_url: &'a str,
    amount: Total,
}

#[derive(Serialize)]
struct Total {
    total: i64,
    currency: &'static str,
}

#[derive(Deserialize)]
struct Created {
    code_url: String,
}

#[derive(Serialize)]
struct Close<'a> {
    mchid: &'a str,
}

/// A transaction, in answers and notifications.
#[derive(Debug, Deserialize)]
pub(super) struct Transaction {
    appid: String,
    mchid: String,
    out_trade_no: String,
    transaction_id: Option<String>,
    trade_state: String,
    #[serde(default, deserialize_with = "maybe_time")]
    success_time: Option<DateTime<Utc>>,
    payer: Option<Payer>,
    amount: Option<Amount>,
}

#[derive(Debug, Deserialize)]
struct Payer {
    openid: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Amount {
    total: Option<i64>,
    currency: Option<String>,
}

impl Transaction {
    pub(super) fn is_of_app(&self, config: &Config) -> bool {
        self.appid == config.app_id
    }

    pub(super) fn is_of_merchant(&self, config: &Config) -> bool {
        self.mchid == config.merchant_id
    }

    /// Reads the transaction; the error says what makes no sense.
    pub(super) fn read(self) -> Result<Payment, String> {
        let state = match self.trade_state.as_str() {
            "SUCCESS" => PaymentState::Paid,
            "REFUND" => PaymentState::Refunded,
            "NOTPAY" | "USERPAYING" | "ACCEPT" => PaymentState::Pending,
            "CLOSED" | "REVOKED" => PaymentState::Closed,
            other => return Err(format!("the state {}", crate::outcome::clip(other))),
        };
        let amount = self.amount.and_then(|amount| {
            let fen = amount.total?;
            Some(money(fen, amount.currency.as_deref()))
        });
        let payment = Payment {
            number: Number::new(self.out_trade_no).map_err(|_| "out_trade_no is none of ours")?,
            provider_no: self.transaction_id.filter(|text| !text.is_empty()),
            state,
            amount: amount.transpose()?,
            paid_at: self.success_time,
            payer: self
                .payer
                .and_then(|payer| payer.openid)
                .filter(|text| !text.is_empty()),
        };
        let paid = matches!(state, PaymentState::Paid | PaymentState::Refunded);
        if paid && (payment.amount.is_none() || payment.provider_no.is_none() || payment.paid_at.is_none()) {
            return Err("paid, without amount, number or time".to_owned());
        }
        Ok(payment)
    }
}

/// Reads a time that may be absent; WeChat writes an empty one about what has not happened.
pub(super) fn maybe_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DateTime<Utc>>, D::Error> {
    match Option::<String>::deserialize(deserializer)?.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(D::Error::custom),
    }
}

/// Reads an amount; where no currency is named it is renminbi.
pub(super) fn money(fen: i64, currency: Option<&str>) -> Result<Money, String> {
    let currency = Currency::parse(currency.unwrap_or("CNY")).map_err(|error| error.to_string())?;
    if fen < 0 {
        return Err("an amount below zero".to_owned());
    }
    Ok(Money {
        amount_minor: fen,
        currency,
    })
}

impl Inner {
    pub(super) async fn create(&self, order: &NewPayment) -> Outcome<Code> {
        let expires_at = order.expires_at.with_timezone(&beijing());
        let body = Create {
            appid: &self.config.app_id,
            mchid: &self.config.merchant_id,
            description: order.subject.as_str(),
            out_trade_no: order.number.as_str(),
            time_expire: expires_at.to_rfc3339_opts(SecondsFormat::Secs, false),
            notify_url: &order.notify_url,
            amount: Total {
                total: order.amount.amount_minor,
                currency: order.amount.currency.code(),
            },
        };
        let created: Created = self.post("/v3/pay/transactions/native", &body).await?;
        if created.code_url.is_empty() || created.code_url.len() > MAX_CODE_BYTES {
            return Err(Failure::malformed("the code URL"));
        }
        Ok(Code {
            url: created.code_url,
        })
    }

    pub(super) async fn query(&self, payment: &Number) -> Outcome<Payment> {
        let target = format!(
            "/v3/pay/transactions/out-trade-no/{payment}?mchid={}",
            self.config.merchant_id
        );
        let transaction: Transaction = self.get(&target).await?;
        if !transaction.is_of_app(&self.config) || !transaction.is_of_merchant(&self.config) {
            return Err(Failure::malformed("a transaction of another app or merchant"));
        }
        let found = transaction.read().map_err(Failure::malformed)?;
        if found.number != *payment {
            return Err(Failure::malformed("a transaction of another number"));
        }
        Ok(found)
    }

    pub(super) async fn close(&self, payment: &Number) -> Outcome<()> {
        let target = format!("/v3/pay/transactions/out-trade-no/{payment}/close");
        let body = Close {
            mchid: &self.config.merchant_id,
        };
        match self.post_empty(&target, &body).await {
            Err(failure) if failure.reason() == Some(Reason::Closed) => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn paid() -> Value {
        json!({
            "appid": "wx1", "mchid": "1900", "out_trade_no": "PAY0000001", "transaction_id": "42", "trade_state": "SUCCESS",
            "success_time": "2026-11-21T10:00:00+08:00", "payer": {"openid": "o1"},
            "amount": {"total": 100, "currency": "CNY"},
        })
    }

    fn read(value: Value) -> Option<Payment> {
        serde_json::from_value::<Transaction>(value).ok()?.read().ok()
    }

    #[test]
    fn what_has_not_happened_may_be_empty_or_absent() {
        let mut waiting = paid();
        waiting["trade_state"] = json!("NOTPAY");
        waiting["success_time"] = json!("");
        waiting["transaction_id"] = json!("");
        waiting["payer"] = json!({});
        waiting["amount"] = json!({"payer_currency": "CNY"});
        let read = read(waiting).unwrap();
        assert_eq!(
            (read.state, read.amount, read.provider_no),
            (PaymentState::Pending, None, None)
        );
        assert_eq!((read.paid_at, read.payer), (None, None));
    }

    #[test]
    fn a_payment_without_amount_number_or_time_makes_no_sense() {
        assert_eq!(read(paid()).unwrap().amount, Some(Money::cny(100)));
        for (name, value) in [
            ("amount", Value::Null),
            ("amount", json!({"total": -1})),
            ("amount", json!({"total": 1.5})),
            ("amount", json!({"total": 100, "currency": "USD"})),
            ("transaction_id", Value::Null),
            ("success_time", Value::Null),
            ("success_time", json!("yesterday")),
            ("trade_state", json!("PAYERROR")),
            ("out_trade_no", json!("a b c d e")),
        ] {
            let mut wrong = paid();
            wrong[name] = value.clone();
            assert_eq!(read(wrong), None, "{name}: {value}");
        }
    }

    proptest! {
        #[test]
        fn no_transaction_makes_the_reader_panic(
            name in prop::sample::select(vec!["out_trade_no", "trade_state", "success_time", "amount"]),
            text in ".{0,40}",
            number: i64,
        ) {
            for value in [json!(text), json!(number), json!({"total": number, "currency": text})] {
                let mut transaction = paid();
                transaction[name] = value;
                let _ = read(transaction);
            }
        }
    }
}
