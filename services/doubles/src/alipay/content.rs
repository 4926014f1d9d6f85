//! Trades, refunds and transfers as Alipay writes them.

use chrono::{DateTime, FixedOffset, NaiveDateTime, TimeZone, Utc};
use serde_json::{Value, json};

use crate::pay::{Lie, Order, OrderState, Refund, RefundState, Transfer, TransferState};

pub(super) const BUYER: &str = "2088000000000077";

fn beijing() -> FixedOffset {
    FixedOffset::east_opt(28_800).expect("eight hours")
}

/// A time in Beijing.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.with_timezone(&beijing())
        .format("%Y-%m-%d %H:%M:%S")
        .to_string()
}

pub(super) fn read_time(text: &str) -> Option<DateTime<Utc>> {
    let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok()?;
    Some(beijing().from_local_datetime(&naive).single()?.to_utc())
}

pub(super) fn yuan(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.unsigned_abs();
    format!("{sign}{}.{:02}", minor / 100, minor % 100)
}

/// Reads yuan with exactly two decimals, which is what Alipay's documents ask for.
pub(super) fn read_yuan(text: &str) -> Option<i64> {
    let (whole, cents) = text.split_once('.')?;
    if cents.len() != 2 {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let cents: u32 = cents.parse().ok()?;
    Some(i64::from(whole) * 100 + i64::from(cents))
}

pub(super) fn trade_status(order: &Order, refunded: i64) -> &'static str {
    match order.state {
        OrderState::Waiting => "WAIT_BUYER_PAY",
        OrderState::Closed => "TRADE_CLOSED",
        OrderState::Paid if refunded == order.amount_minor => "TRADE_CLOSED",
        OrderState::Paid => "TRADE_SUCCESS",
    }
}

pub(super) fn trade(order: &Order, refunded: i64, lie: Lie) -> Value {
    let mut value = json!({
        "out_trade_no": order.number,
        "trade_no": order.provider_no,
        "trade_status": trade_status(order, refunded),
        "total_amount": yuan(lie.amount(order.amount_minor)),
        "buyer_logon_id": "dou***@double.example",
        "buyer_user_id": BUYER,
    });
    if let Some(at) = order.paid_at {
        value["send_pay_date"] = time(at).into();
    }
    value
}

/// A refund as the query shows it. One that failed has a state of its own; one that never came has none.
pub(super) fn refund(refund: &Refund, order: &Order, lie: Lie) -> Value {
    let state = match refund.state {
        RefundState::Succeeded => "REFUND_SUCCESS",
        RefundState::Processing | RefundState::Abnormal => "REFUND_PROCESSING",
        RefundState::Closed => "REFUND_FAIL",
    };
    let mut value = json!({
        "out_trade_no": order.number,
        "trade_no": order.provider_no,
        "out_request_no": refund.number,
        "refund_amount": yuan(lie.amount(refund.amount_minor)),
        "total_amount": yuan(order.amount_minor),
        "refund_status": state,
    });
    if let (RefundState::Succeeded, Some(at)) = (refund.state, refund.ended_at) {
        value["gmt_refund_pay"] = time(at).into();
    }
    value
}

pub(super) fn transfer(transfer: &Transfer, lie: Lie) -> Value {
    let status = match transfer.state {
        TransferState::Waiting => "WAIT_PAY",
        TransferState::Processing => "DEALING",
        TransferState::Succeeded => "SUCCESS",
        TransferState::Failed => "FAIL",
    };
    let mut value = json!({
        "out_biz_no": transfer.number,
        "order_id": transfer.provider_no,
        "pay_fund_order_id": transfer.provider_no,
        "status": status,
        "trans_amount": yuan(lie.amount(transfer.amount_minor)),
        "pay_date": time(transfer.updated_at),
    });
    if transfer.state == TransferState::Failed {
        value["error_code"] = "PAYEE_CARD_INFO_ERROR".into();
        value["fail_reason"] = "the double failed it".into();
    }
    value
}
