//! Alipay's bill of a day: a ZIP with two files in GBK.

use std::io::{Cursor, Write};

use chrono::{DateTime, FixedOffset, NaiveDate, Utc};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::content::{time, yuan};
use crate::pay::{Books, OrderState, RefundState, fee};

const NAMES: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,\
    订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,\
    商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";

/// Writes the bill of a day in Beijing; `None` if nothing happened.
pub(super) fn write(merchant_id: &str, books: &Books, day: NaiveDate) -> Option<Vec<u8>> {
    let beijing = FixedOffset::east_opt(28_800).expect("eight hours");
    let is_today = |at: DateTime<Utc>| at.with_timezone(&beijing).date_naive() == day;
    let mut lines = Vec::new();
    let (mut payments, mut paid, mut refunds, mut refunded) = (0, 0, 0, 0);
    for order in books
        .orders
        .values()
        .filter(|order| order.state == OrderState::Paid)
    {
        if let Some(at) = order.paid_at.filter(|at| is_today(*at)) {
            payments += 1;
            paid += order.amount_minor;
            lines.push(format!(
                "{}\t,{}\t,交易\t,{}\t,{},{},,,,,dou***,{amount},{amount},0.00,0.00,0.00,0.00,0.00,,0.00,0.00,\t,{},0.00,",
                order.provider_no,
                order.number,
                order.subject,
                time(order.created_at),
                time(at),
                yuan(-order.fee_minor),
                amount = yuan(order.amount_minor),
            ));
        }
    }
    for refund in books
        .refunds
        .values()
        .filter(|refund| refund.state == RefundState::Succeeded)
    {
        let ended = refund.ended_at.filter(|at| is_today(*at));
        if let (Some(at), Some(order)) = (ended, books.orders.get(&refund.order)) {
            refunds += 1;
            refunded += refund.amount_minor;
            lines.push(format!(
                "{}\t,{}\t,退款\t,{}\t,{},{},,,,,dou***,{amount},{amount},0.00,0.00,0.00,0.00,0.00,,0.00,0.00,{}\t,{},0.00,",
                order.provider_no,
                order.number,
                order.subject,
                time(order.created_at),
                time(at),
                refund.number,
                yuan(fee(refund.amount_minor)),
                amount = yuan(-refund.amount_minor),
            ));
        }
    }
    if lines.is_empty() {
        return None;
    }
    let head =
        format!("#支付宝业务明细查询\r\n#账号：[{merchant_id}]\r\n#----业务明细列表----\r\n{NAMES}\r\n");
    let sums = format!(
        "#----业务明细列表结束----\r\n#交易合计：{payments}笔，商家实收共{}元，商家优惠共0.00元\r\n\
         #退款合计：{refunds}笔，商家实收退款共{}元，商家优惠退款共0.00元\r\n",
        yuan(paid),
        yuan(-refunded),
    );
    let name = format!("{merchant_id}_{}_业务明细", day.format("%Y%m%d"));
    Some(pack(&[
        (format!("{name}(汇总).csv"), sums.clone()),
        (
            format!("{name}.csv"),
            format!("{head}{}\r\n{sums}", lines.join("\r\n")),
        ),
    ]))
}

fn pack(files: &[(String, String)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(name.as_str(), SimpleFileOptions::default())
            .expect("memory can be written to");
        zip.write_all(&encoding_rs::GBK.encode(text).0)
            .expect("memory can be written to");
    }
    zip.finish().expect("memory can be written to").into_inner()
}
