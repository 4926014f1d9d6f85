//! WeChat's bill of a day.

use std::io::Write;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use chrono::{DateTime, FixedOffset, NaiveDate, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::json::refund_state;
use super::platform::Platform;
use crate::pay::{Books, Order, OrderState, RefundState, fee};

const NAMES: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,\
    货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,\
    商户数据包,手续费,费率,订单金额,申请退款金额,费率备注";
const SUMS: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";

/// Writes the bill of a day in Beijing; `None` if nothing happened.
pub(super) fn write(platform: &Platform, books: &Books, day: NaiveDate) -> Option<String> {
    let beijing = FixedOffset::east_opt(28_800).expect("eight hours");
    let local = |at: DateTime<Utc>| at.with_timezone(&beijing);
    let is_today = |at: DateTime<Utc>| local(at).date_naive() == day;
    let mut lines = Vec::new();
    let (mut paid, mut refunded, mut fees) = (0, 0, 0);
    let mut line = |at: DateTime<Utc>, order: &Order, refund: Option<(&str, &str, i64, &str)>, fee: i64| {
        let merchant = &platform.merchant;
        let at = local(at).format("%Y-%m-%d %H:%M:%S");
        let (state, settled, total) = match refund {
            Some(_) => ("REFUND", "0.00".to_owned(), "0.00".to_owned()),
            None => ("SUCCESS", yuan(order.amount_minor), yuan(order.amount_minor)),
        };
        let (refund_no, out_refund_no, amount, refund_state) = refund.unwrap_or(("0", "0", 0, ""));
        let kind = if refund_state.is_empty() { "" } else { "ORIGINAL" };
        lines.push(format!(
            "`{at},`{},`{},`0,`,`{},`{},`oDouble0000000000000000000001,`NATIVE,`{state},`OTHERS,`CNY,`{settled},`0.00,\
             `{refund_no},`{out_refund_no},`{amount},`0.00,`{kind},`{refund_state},`{},`,`{fee},`0.60%,`{total},`{amount},`",
            merchant.app_id,
            merchant.merchant_id,
            order.provider_no,
            order.number,
            order.subject,
            amount = yuan(amount),
            fee = format_args!("{}000", yuan(fee)),
        ));
    };
    for order in books
        .orders
        .values()
        .filter(|order| order.state == OrderState::Paid)
    {
        if let Some(at) = order.paid_at.filter(|at| is_today(*at)) {
            paid += order.amount_minor;
            fees += order.fee_minor;
            line(at, order, None, order.fee_minor);
        }
    }
    for refund in books
        .refunds
        .values()
        .filter(|refund| is_today(refund.created_at))
    {
        if let Some(order) = books.orders.get(&refund.order) {
            let back = -fee(refund.amount_minor);
            refunded += refund.amount_minor;
            fees += back;
            let state = match refund.state {
                RefundState::Closed => "FAIL",
                RefundState::Abnormal => "CHANGE",
                RefundState::Processing | RefundState::Succeeded => refund_state(refund.state),
            };
            let told = (
                refund.provider_no.as_str(),
                refund.number.as_str(),
                refund.amount_minor,
                state,
            );
            line(refund.created_at, order, Some(told), back);
        }
    }
    if lines.is_empty() {
        return None;
    }
    let count = lines.len();
    Some(format!(
        "\u{feff}{NAMES}\r\n{}\r\n{SUMS}\r\n`{count},`{paid},`{refunded},`0.00,`{}000,`{paid},`{refunded}\r\n",
        lines.join("\r\n"),
        yuan(fees),
        paid = yuan(paid),
        refunded = yuan(refunded),
    ))
}

/// SHA-1 of the file before it is compressed.
pub(super) fn hash(text: &str) -> String {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub(super) fn compress(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(text.as_bytes())
        .expect("memory can be written to");
    encoder.finish().expect("memory can be written to")
}

fn yuan(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.unsigned_abs();
    format!("{sign}{}.{:02}", minor / 100, minor % 100)
}
