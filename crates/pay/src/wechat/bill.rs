//! Bills of a day (`tradebill`).

use std::io::Read;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use chrono::NaiveDate;
use flate2::read::MultiGzDecoder;
use http::{Method, StatusCode};
use reqwest::Url;
use serde::Deserialize;

use super::Inner;
use crate::bill::{beijing_time, micros};
use crate::http::MAX_FILE_BYTES;
use crate::table::{Columns, Row};
use crate::{Bill, BillLine, Doubt, Failure, Money, Outcome, RefundState};

#[derive(Debug, Deserialize)]
struct Found {
    hash_type: String,
    hash_value: String,
    download_url: String,
}

impl Inner {
    pub(super) async fn bill(&self, day: NaiveDate) -> Outcome<Bill> {
        let found: Found = self
            .get(&format!(
                "/v3/bill/tradebill?bill_date={day}&bill_type=ALL&tar_type=GZIP"
            ))
            .await?;
        if found.hash_type != "SHA1" {
            return Err(Failure::malformed("a hash of another kind"));
        }
        let target =
            target(&found.download_url).ok_or_else(|| Failure::malformed("the address of the file"))?;
        let reply = self.http.file(self.signed(Method::GET, &target, "")).await?;
        if reply.status != StatusCode::OK {
            return Err(Doubt::Status(reply.status.as_u16()).into());
        }
        let text = unpack(reply.body)?;
        // The file carries no signature; its hash is in an answer that does.
        let hash: String = digest(&SHA1_FOR_LEGACY_USE_ONLY, &text)
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if !hash.eq_ignore_ascii_case(&found.hash_value) {
            return Err(Doubt::Unverified("the file has another hash".to_owned()).into());
        }
        let lines = read(&text).map_err(Failure::malformed)?;
        Ok(Bill { day, lines })
    }
}

/// Returns path and query of a file. The host is not taken from it: our signature goes to the configured one.
fn target(url: &str) -> Option<String> {
    let url: Url = url.parse().ok()?;
    url.path()
        .starts_with("/v3/billdownload/")
        .then(|| format!("{}?{}", url.path(), url.query().unwrap_or_default()))
}

/// Decompresses a file that is compressed; it may have been before it came here.
fn unpack(file: Vec<u8>) -> Outcome<Vec<u8>> {
    if !file.starts_with(&[0x1f, 0x8b]) {
        return Ok(file);
    }
    let limit = u64::try_from(MAX_FILE_BYTES).expect("a file's limit fits");
    let mut text = Vec::new();
    MultiGzDecoder::new(file.as_slice())
        .take(limit + 1)
        .read_to_end(&mut text)
        .map_err(|_| Failure::malformed("the file cannot be decompressed"))?;
    if text.len() > MAX_FILE_BYTES {
        return Err(Doubt::TooLarge(MAX_FILE_BYTES).into());
    }
    Ok(text)
}

/// Reads a bill: names of columns, lines whose values begin with a backtick, names of sums, sums.
fn read(file: &[u8]) -> Result<Vec<BillLine>, String> {
    let text = std::str::from_utf8(file).map_err(|_| "the file is no UTF-8")?;
    let mut rows = text
        .trim_start_matches('\u{feff}')
        .lines()
        .filter(|row| !row.trim().is_empty());
    let columns = Columns::new(rows.next().ok_or("the file is empty")?.split(',').map(str::trim));
    let mut lines = Vec::new();
    let names = loop {
        match rows.next() {
            Some(row) if row.starts_with('`') => lines.push(line(&columns.row(fields(row)?)?)?),
            Some(row) => break row,
            None => return Err("the file ends without sums".to_owned()),
        }
    };
    let sums = Columns::new(names.split(',').map(str::trim));
    let sums = sums.row(fields(rows.next().ok_or("the file ends without sums")?)?)?;
    let count = sums.read("总交易单数", |text| text.parse::<usize>().ok())?;
    if count != lines.len() {
        return Err(format!("{} lines instead of {count}", lines.len()));
    }
    Ok(lines)
}

/// Parts a line where a comma stands before a backtick: other commas belong to a value.
fn fields(row: &str) -> Result<Vec<&str>, String> {
    let row = row.strip_prefix('`').ok_or("a line begins without a backtick")?;
    Ok(row.split(",`").map(str::trim).collect())
}

fn line(row: &Row<'_>) -> Result<BillLine, String> {
    let refunded = match row.text("交易状态")? {
        "SUCCESS" => false,
        "REFUND" | "REVOKED" => true,
        other => return Err(format!("the state {}", crate::outcome::clip(other))),
    };
    let refund = if refunded {
        let state = row.read("退款状态", |text| match text {
            "SUCCESS" => Some(RefundState::Succeeded),
            "PROCESSING" => Some(RefundState::Processing),
            "FAIL" => Some(RefundState::Closed),
            "CHANGE" => Some(RefundState::Abnormal),
            _ => None,
        })?;
        Some((row.text("商户退款单号")?.to_owned(), state))
    } else {
        None
    };
    // What was asked for, not what is left of it after coupons: that is what our books have.
    let amount = if refunded {
        "申请退款金额"
    } else {
        "订单金额"
    };
    Ok(BillLine {
        payment: row.text("商户订单号")?.to_owned(),
        refund,
        provider_no: row.text("微信订单号")?.to_owned(),
        amount: row.read(amount, |text| {
            Money::parse_yuan(text)
                .ok()
                .filter(|money| money.amount_minor >= 0)
        })?,
        fee_micros: row.read("手续费", micros)?,
        at: row.read("交易时间", beijing_time)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: &str =
        "交易时间,微信订单号,商户订单号,交易状态,商户退款单号,退款状态,商品名称,手续费,订单金额,申请退款金额";
    const PAID: &str =
        "`2026-11-21 10:00:00,`4200000001,`PAY0000001,`SUCCESS,`,`,`会员,12 个月,`0.00600,`1.00,`0.00";
    const REFUND: &str = "`2026-11-21 11:00:00,`4200000001,`PAY0000001,`REFUND,`REF0000001,`PROCESSING,`会员,`-0.00300,`0.00,`0.50";

    fn bill(lines: &[&str], count: usize) -> String {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        format!("\u{feff}{NAMES}\r\n{lines}总交易单数,手续费总金额\r\n`{count},`0.003\r\n")
    }

    #[test]
    fn payments_and_refunds_are_read() {
        let lines = read(bill(&[PAID, REFUND], 2).as_bytes()).unwrap();
        assert_eq!(
            (lines[0].payment.as_str(), lines[0].amount, lines[0].fee_micros),
            ("PAY0000001", Money::cny(100), 6_000)
        );
        assert_eq!(lines[0].refund, None);
        assert_eq!(lines[0].at.to_rfc3339(), "2026-11-21T02:00:00+00:00");
        assert_eq!(
            lines[1].refund,
            Some(("REF0000001".to_owned(), RefundState::Processing))
        );
        assert_eq!((lines[1].amount, lines[1].fee_micros), (Money::cny(50), -3_000));
    }

    #[test]
    fn a_bill_that_is_cut_off_or_changed_is_refused() {
        let whole = bill(&[PAID, REFUND], 2);
        for wrong in [
            bill(&[PAID], 2),
            bill(&[&PAID.replace("SUCCESS", "MAYBE")], 1),
            bill(&[&PAID.replace("1.00", "1.001")], 1),
            bill(&[&PAID.replace(",`0.00600", "")], 1),
            whole.replace("商户订单号", "商户单号"),
            whole.lines().take(3).collect::<Vec<_>>().join("\n"),
            String::new(),
        ] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_is_fetched_from_the_configured_host() {
        let url = "https://elsewhere.example/v3/billdownload/file?token=t";
        assert_eq!(target(url).as_deref(), Some("/v3/billdownload/file?token=t"));
        assert_eq!(
            target("https://api.mch.weixin.qq.com/v3/refund/domestic/refunds"),
            None
        );
    }

    proptest! {
        #[test]
        fn no_file_makes_the_reader_panic(lines in proptest::collection::vec("`?[`,SUCCES0-9. 总交易单数:-]{0,60}", 0..6)) {
            let _ = read(lines.join("\n").as_bytes());
            let _ = read(bill(&lines.iter().map(String::as_str).collect::<Vec<_>>(), 1).as_bytes());
        }

        #[test]
        fn no_bytes_make_the_unpacking_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            bytes.splice(0..0, [0x1f, 0x8b, 8]);
            let _ = unpack(bytes);
        }
    }
}
