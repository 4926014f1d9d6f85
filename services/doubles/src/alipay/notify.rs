//! Alipay's notifications.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::content::{BUYER, time, trade_status, transfer, yuan};
use super::platform::{Platform, sorted};
use crate::pay::{Event, Lie, Message, Order, Protocol, Told};

/// 4 min, 10 min, 10 min, 1 h, 2 h, 6 h, 15 h: what Alipay's documents of notifications say.
const SCHEDULE: [u64; 7] = [240, 600, 600, 3600, 7200, 21_600, 54_000];

#[derive(Debug)]
pub(super) struct Notifier(pub(super) Arc<Platform>);

impl Notifier {
    fn trade(&self, order: &Order, refunded: i64, lie: Lie) -> Vec<(&'static str, String)> {
        let amount = yuan(lie.amount(order.amount_minor));
        let mut parameters = vec![
            ("notify_type", "trade_status_sync".to_owned()),
            ("trade_no", order.provider_no.clone()),
            ("out_trade_no", order.number.clone()),
            ("trade_status", trade_status(order, refunded).to_owned()),
            ("total_amount", amount.clone()),
            ("receipt_amount", amount.clone()),
            ("buyer_pay_amount", amount.clone()),
            (
                "fund_bill_list",
                format!(r#"[{{"amount":"{amount}","fundChannel":"ALIPAYACCOUNT"}}]"#),
            ),
            ("subject", order.subject.clone()),
            ("buyer_id", BUYER.to_owned()),
            ("seller_id", self.0.merchant.merchant_id.clone()),
            ("gmt_create", time(order.created_at)),
            ("passback_params", String::new()),
        ];
        if let Some(at) = order.paid_at {
            parameters.push(("gmt_payment", time(at)));
        }
        parameters
    }
}

impl Protocol for Notifier {
    fn schedule(&self) -> &'static [u64] {
        &SCHEDULE
    }

    fn message(&self, event: &Event, lie: Lie, now: DateTime<Utc>) -> Message {
        let mut parameters = match &event.told {
            Told::Payment(order) => self.trade(order, 0, lie),
            Told::Refund(refund, order, refunded) => {
                let mut parameters = self.trade(order, *refunded, Lie::None);
                parameters.push(("out_biz_no", refund.number.clone()));
                parameters.push(("refund_fee", yuan(lie.amount(*refunded))));
                parameters.push((
                    "gmt_refund",
                    format!("{}.000", time(refund.ended_at.unwrap_or(now))),
                ));
                parameters
            }
            Told::Transfer(told) => vec![
                ("msg_method", "alipay.fund.trans.order.changed".to_owned()),
                ("biz_content", transfer(told, lie).to_string()),
            ],
        };
        parameters.extend([
            ("notify_id", event.id.clone()),
            ("notify_time", time(now)),
            ("app_id", self.0.merchant.app_id.clone()),
            ("charset", "utf-8".to_owned()),
            ("version", "1.0".to_owned()),
            ("sign_type", "RSA2".to_owned()),
        ]);
        let mut parameters: BTreeMap<String, String> = parameters
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let signed = self.0.sign(&sorted(&parameters, &["sign", "sign_type"]), lie);
        let signature = if lie == Lie::Probe {
            "AAAA".to_owned()
        } else {
            signed
        };
        parameters.insert("sign".to_owned(), signature);
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&parameters)
            .finish();
        Message {
            headers: vec![(
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
            )],
            body,
        }
    }

    fn is_taken(&self, status: u16, body: &[u8]) -> bool {
        status == 200 && body == b"success"
    }
}
