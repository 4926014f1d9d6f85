//! Bills of a day: a ZIP with two files in GBK.

use std::io::{Cursor, Read};

use chrono::NaiveDate;
use http::{Method, StatusCode};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use zip::ZipArchive;

use super::Inner;
use crate::bill::{beijing_time, micros};
use crate::http::MAX_FILE_BYTES;
use crate::table::{Columns, Row};
use crate::{Bill, BillLine, Doubt, Failure, Money, Outcome, RefundState};

/// Most files in a bill; there are two.
const MAX_FILES: usize = 16;

#[derive(Serialize)]
struct Query {
    bill_type: &'static str,
    bill_date: String,
}

#[derive(Deserialize)]
struct Found {
    bill_download_url: String,
}

impl Inner {
    pub(super) async fn bill(&self, day: NaiveDate) -> Outcome<Bill> {
        let content = Query {
            bill_type: "trade",
            bill_date: day.to_string(),
        };
        let found: Found = self
            .call("alipay.data.dataservice.bill.downloadurl.query", None, &content)
            .await?;
        let url = self
            .file_url(&found.bill_download_url)
            .ok_or_else(|| Failure::malformed("the address of the file"))?;
        let reply = self.http.file(self.http.request(Method::GET, url)).await?;
        if reply.status != StatusCode::OK {
            return Err(Doubt::Status(reply.status.as_u16()).into());
        }
        let text = unpack(reply.body).map_err(Failure::malformed)?;
        let lines = read(&text).map_err(Failure::malformed)?;
        Ok(Bill { day, lines })
    }

    /// Returns the address of a file. Nothing but TLS proves the file, so it is as strict as for the gateway.
    fn file_url(&self, text: &str) -> Option<Url> {
        let url: Url = text.parse().ok()?;
        (url.scheme() == self.url.scheme() && url.has_host()).then_some(url)
    }
}

/// Returns the file of single lines; the other one has sums.
fn unpack(file: Vec<u8>) -> Result<String, String> {
    let broken = |_| "the file is no ZIP".to_owned();
    let mut archive = ZipArchive::new(Cursor::new(file)).map_err(broken)?;
    if archive.len() > MAX_FILES {
        return Err(format!("more than {MAX_FILES} files"));
    }
    let limit = u64::try_from(MAX_FILE_BYTES).expect("a file's limit fits");
    let mut found = None;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(broken)?;
        let name = match std::str::from_utf8(entry.name_raw()) {
            Ok(name) => name.to_owned(),
            Err(_) => encoding_rs::GB18030.decode(entry.name_raw()).0.into_owned(),
        };
        if !name.ends_with(".csv") || name.contains("汇总") {
            continue;
        }
        let mut bytes = Vec::new();
        entry
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|_| "a file cannot be decompressed")?;
        if bytes.len() > MAX_FILE_BYTES {
            return Err("a file is too large".to_owned());
        }
        let (text, _, wrong) = encoding_rs::GB18030.decode(&bytes);
        if wrong || found.replace(text.into_owned()).is_some() {
            return Err("a file is no GBK, or there are two".to_owned());
        }
    }
    found.ok_or_else(|| "the file of single lines is absent".to_owned())
}

/// Reads a bill: comments begin with `#`, and the last of them count the lines.
fn read(text: &str) -> Result<Vec<BillLine>, String> {
    let (mut payments, mut refunds) = (None, None);
    let mut rows = Vec::new();
    for row in text.lines().map(str::trim).filter(|row| !row.is_empty()) {
        match row.strip_prefix('#') {
            Some(comment) => {
                payments = payments.or_else(|| count(comment, "交易合计："));
                refunds = refunds.or_else(|| count(comment, "退款合计："));
            }
            None => rows.push(row),
        }
    }
    let mut rows = rows.into_iter();
    let columns = Columns::new(fields(rows.next().ok_or("the file is empty")?).into_iter());
    let lines = rows
        .map(|row| line(&columns.row(fields(row))?))
        .collect::<Result<Vec<_>, String>>()?;
    let refunded = lines.iter().filter(|line| line.refund.is_some()).count();
    if payments != Some(lines.len() - refunded) || refunds != Some(refunded) {
        return Err(format!("{} lines, which is not what the sums say", lines.len()));
    }
    Ok(lines)
}

/// Reads `交易合计：12笔，…`.
fn count(comment: &str, name: &str) -> Option<usize> {
    comment
        .strip_prefix(name)?
        .split_once('笔')?
        .0
        .trim()
        .parse()
        .ok()
}

fn fields(row: &str) -> Vec<&str> {
    row.split(',').map(str::trim).collect()
}

fn line(row: &Row<'_>) -> Result<BillLine, String> {
    let refund = match row.text("业务类型")? {
        "交易" => None,
        "退款" => Some((row.text("退款批次号/请求号")?.to_owned(), RefundState::Succeeded)),
        other => return Err(format!("the kind {}", crate::outcome::clip(other))),
    };
    let is_refund = refund.is_some();
    let amount = row.read("订单金额（元）", |text| {
        let money = Money::parse_yuan(text).ok()?;
        let amount_minor = if is_refund {
            money.amount_minor.checked_neg()?
        } else {
            money.amount_minor
        };
        (amount_minor >= 0).then_some(Money {
            amount_minor,
            ..money
        })
    })?;
    Ok(BillLine {
        payment: row.text("商户订单号")?.to_owned(),
        refund,
        provider_no: row.text("支付宝交易号")?.to_owned(),
        amount,
        // Alipay writes what it takes as a negative number.
        fee_micros: row.read("服务费（元）", |text| micros(text)?.checked_neg())?,
        at: row.read("完成时间", beijing_time)?,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    const NAMES: &str =
        "支付宝交易号,商户订单号,业务类型,商品名称,完成时间,订单金额（元）,退款批次号/请求号,服务费（元）";
    const PAID: &str = "2026112122001\t,PAY0000001\t,交易\t,会员\t,2026-11-21 10:00:00\t,1.00,\t,-0.01";
    const REFUND: &str = "2026112122001\t,PAY0000001\t,退款,会员,2026-11-21 11:00:00,-0.50,REF0000001,0.00";

    fn bill(lines: &[&str], payments: usize, refunds: usize) -> String {
        format!(
            "#支付宝业务明细查询\r\n#账号：[2088]\r\n{NAMES}\r\n{}\r\n#交易合计：{payments}笔，商家实收共1.00元\r\n\
             #退款合计：{refunds}笔，商家实收退款共-0.50元\r\n",
            lines.join("\r\n")
        )
    }

    fn pack(files: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(&encoding_rs::GB18030.encode(text).0).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn payments_and_refunds_are_read() {
        let text = bill(&[PAID, REFUND], 1, 1);
        let file = pack(&[("2088_业务明细(汇总).csv", "x"), ("2088_业务明细.csv", &text)]);
        let lines = read(&unpack(file).unwrap()).unwrap();
        assert_eq!((lines[0].amount, lines[0].fee_micros), (Money::cny(100), 10_000));
        assert_eq!(lines[0].provider_no, "2026112122001");
        assert_eq!(
            lines[1].refund,
            Some(("REF0000001".to_owned(), RefundState::Succeeded))
        );
        assert_eq!(lines[1].amount, Money::cny(50));
    }

    #[test]
    fn a_bill_that_is_cut_off_or_changed_is_refused() {
        for wrong in [
            bill(&[PAID], 2, 0),
            bill(&[PAID, REFUND], 2, 0),
            bill(&[&PAID.replace("交易", "其他")], 1, 0),
            bill(&[&PAID.replace("1.00", "-1.00")], 1, 0),
            bill(&[&PAID.replace(",会员", ",会员,x")], 1, 0),
            bill(&[PAID], 1, 0).replace("#退款合计", "#"),
            String::new(),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
        let text = bill(&[PAID], 1, 0);
        assert!(unpack(pack(&[("汇总.csv", &text)])).is_err());
        assert!(unpack(pack(&[("a.csv", &text), ("b.csv", &text)])).is_err());
        let mut cut = pack(&[("a.csv", &text)]);
        cut.truncate(cut.len() / 2);
        assert!(unpack(cut).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(lines in proptest::collection::vec("#?[,交易退款合计：笔0-9. :-]{0,60}", 0..6)) {
            let _ = read(&bill(&lines.iter().map(String::as_str).collect::<Vec<_>>(), 1, 0));
        }

        #[test]
        fn no_bytes_make_the_unpacking_panic(at in 0_usize..300, byte: u8) {
            let mut file = pack(&[("a.csv", &bill(&[PAID], 1, 0))]);
            let at = at % file.len();
            file[at] = byte;
            let _ = unpack(file);
        }
    }
}
