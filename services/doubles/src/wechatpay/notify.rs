//! WeChat's notifications.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::json::{refund, refund_state, time, transaction, transfer};
use super::platform::Platform;
use crate::pay::{Event, Lie, Message, Protocol, Told};

/// 15 s, 15 s, 30 s, 3 min, 10 min, 20 min, 3 × 30 min, 1 h, 3 × 3 h, 2 × 6 h: the guide to notifications.
const SCHEDULE: [u64; 15] = [
    15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10_800, 10_800, 10_800, 21_600, 21_600,
];

#[derive(Debug)]
pub(super) struct Notifier(pub(super) Arc<Platform>);

impl Protocol for Notifier {
    fn schedule(&self) -> &'static [u64] {
        &SCHEDULE
    }

    fn message(&self, event: &Event, lie: Lie, now: DateTime<Utc>) -> Message {
        let platform = &self.0;
        let (kind, original, content) = match &event.told {
            Told::Payment(order) => (
                "TRANSACTION.SUCCESS".to_owned(),
                "transaction",
                transaction(platform, order, 0, lie),
            ),
            Told::Refund(told, order, _) => {
                let mut content = refund(told, order, lie);
                content["mchid"] = platform.merchant.merchant_id.clone().into();
                content["refund_status"] = content["status"].take();
                if let Some(amount) = content["amount"].as_object_mut() {
                    amount.retain(|name, _| {
                        ["total", "refund", "payer_total", "payer_refund"].contains(&name.as_str())
                    });
                }
                (format!("REFUND.{}", refund_state(told.state)), "refund", content)
            }
            Told::Transfer(told) => (
                "MCHTRANSFER.BILL.FINISHED".to_owned(),
                "mch_payment",
                transfer(platform, told, lie),
            ),
        };
        let mut resource = platform.seal(&content.to_string(), original);
        resource["original_type"] = original.into();
        let body = json!({
            "id": event.id,
            "create_time": time(event.at),
            "resource_type": "encrypt-resource",
            "event_type": kind,
            "summary": "a notification of the double",
            "resource": resource,
        })
        .to_string();
        let (at, nonce) = (now.timestamp().to_string(), crate::random_text());
        let signed = platform.sign_notification(
            lie == Lie::WrongKey,
            format!("{at}\n{nonce}\n{body}\n").as_bytes(),
        );
        let signature = if lie == Lie::Probe {
            format!("WECHATPAY/SIGNTEST/{}", signed.signature)
        } else {
            signed.signature
        };
        Message {
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("wechatpay-serial", signed.serial),
                ("wechatpay-timestamp", at),
                ("wechatpay-nonce", nonce),
                ("wechatpay-signature", signature),
                ("wechatpay-signature-type", "WECHATPAY2-SHA256-RSA2048".to_owned()),
            ],
            body,
        }
    }

    fn is_taken(&self, status: u16, _body: &[u8]) -> bool {
        matches!(status, 200 | 204)
    }
}
