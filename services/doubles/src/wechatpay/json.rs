//! Orders, refunds and transfers as WeChat writes them.

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::platform::Platform;
use crate::pay::{Lie, Order, OrderState, Refund, RefundState, Transfer, TransferState};

/// A time in Beijing, RFC 3339.
pub(super) fn time(at: DateTime<Utc>) -> String {
    let beijing = FixedOffset::east_opt(28_800).expect("eight hours");
    at.with_timezone(&beijing)
        .to_rfc3339_opts(SecondsFormat::Secs, false)
}

pub(super) fn transaction(platform: &Platform, order: &Order, refunded: i64, lie: Lie) -> Value {
    let state = match order.state {
        OrderState::Waiting => "NOTPAY",
        OrderState::Closed => "CLOSED",
        OrderState::Paid if refunded > 0 => "REFUND",
        OrderState::Paid => "SUCCESS",
    };
    let mut value = json!({
        "appid": platform.merchant.app_id,
        "mchid": platform.merchant.merchant_id,
        "out_trade_no": order.number,
        "trade_state": state,
        "trade_state_desc": state,
        "attach": "",
    });
    if order.state == OrderState::Waiting {
        // What has not happened is empty.
        value["success_time"] = "".into();
        value["bank_type"] = "".into();
        value["payer"] = json!({});
        value["amount"] = json!({ "total": lie.amount(order.amount_minor), "payer_currency": "CNY" });
    }
    if let (OrderState::Paid, Some(paid_at)) = (order.state, order.paid_at) {
        let amount = lie.amount(order.amount_minor);
        value["transaction_id"] = order.provider_no.clone().into();
        value["trade_type"] = "NATIVE".into();
        value["bank_type"] = "OTHERS".into();
        value["success_time"] = time(paid_at).into();
        value["payer"] = json!({ "openid": "oDouble0000000000000000000001" });
        value["amount"] = json!({
            "total": amount, "payer_total": amount, "currency": "CNY", "payer_currency": "CNY",
        });
    }
    value
}

pub(super) fn refund_state(state: RefundState) -> &'static str {
    match state {
        RefundState::Processing => "PROCESSING",
        RefundState::Succeeded => "SUCCESS",
        RefundState::Closed => "CLOSED",
        RefundState::Abnormal => "ABNORMAL",
    }
}

pub(super) fn refund(refund: &Refund, order: &Order, lie: Lie) -> Value {
    let amount = lie.amount(refund.amount_minor);
    let mut value = json!({
        "refund_id": refund.provider_no,
        "out_refund_no": refund.number,
        "transaction_id": order.provider_no,
        "out_trade_no": order.number,
        "channel": "ORIGINAL",
        "user_received_account": "零钱",
        "create_time": time(refund.created_at),
        "status": refund_state(refund.state),
        "funds_account": "AVAILABLE",
        "amount": {
            "total": order.amount_minor, "refund": amount, "payer_total": order.amount_minor, "payer_refund": amount,
            "settlement_refund": amount, "settlement_total": order.amount_minor, "discount_refund": 0, "currency": "CNY",
        },
    });
    if let (RefundState::Succeeded, Some(at)) = (refund.state, refund.ended_at) {
        value["success_time"] = time(at).into();
    }
    value
}

pub(super) fn transfer_state(state: TransferState) -> &'static str {
    match state {
        TransferState::Waiting => "WAIT_USER_CONFIRM",
        TransferState::Processing => "TRANSFERING",
        TransferState::Succeeded => "SUCCESS",
        TransferState::Failed => "FAIL",
    }
}

pub(super) fn transfer(platform: &Platform, transfer: &Transfer, lie: Lie) -> Value {
    let mut value = json!({
        "mch_id": platform.merchant.merchant_id,
        "appid": platform.merchant.app_id,
        "out_bill_no": transfer.number,
        "transfer_bill_no": transfer.provider_no,
        "state": transfer_state(transfer.state),
        "transfer_amount": lie.amount(transfer.amount_minor),
        "transfer_remark": transfer.remark,
        "openid": transfer.recipient,
        "create_time": time(transfer.created_at),
        "update_time": time(transfer.updated_at),
    });
    if transfer.state == TransferState::Failed {
        value["fail_reason"] = "PAYEE_ACCOUNT_ABNORMAL".into();
    }
    value
}
