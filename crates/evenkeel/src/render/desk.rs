//! Cases, notifications and statements of billing.

use chrono::{DateTime, Utc};
use proto::billing::v1::{
    Case, CaseKind, Channel, Difference, DifferenceKind, Money, NotifyReceipt, Statement,
};

use crate::output::{Cell, Table, Tone};
use crate::render::time;

const fn channel(channel: Channel) -> &'static str {
    match channel {
        Channel::Unspecified => "",
        Channel::Wechat => "wechat",
        Channel::Alipay => "alipay",
    }
}

const fn case_kind(kind: CaseKind) -> &'static str {
    match kind {
        CaseKind::Unspecified => "",
        CaseKind::UnknownOutcome => "UNKNOWN_OUTCOME",
        CaseKind::AbnormalRefund => "ABNORMAL_REFUND",
        CaseKind::AmountMismatch => "AMOUNT_MISMATCH",
        CaseKind::RefundFailed => "REFUND_FAILED",
        CaseKind::Contradiction => "CONTRADICTION",
    }
}

const fn difference_kind(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::Unspecified => "",
        DifferenceKind::MissingThere => "MISSING_THERE",
        DifferenceKind::MissingHere => "MISSING_HERE",
        DifferenceKind::Amount => "AMOUNT",
        DifferenceKind::Status => "STATUS",
    }
}

/// An amount with two digits behind the point: `12.34 CNY`; empty if absent.
fn money(money: Option<&Money>) -> String {
    money.map_or_else(String::new, |money| {
        let sign = if money.amount_minor < 0 { "-" } else { "" };
        let minor = money.amount_minor.unsigned_abs();
        format!("{sign}{}.{:02} {}", minor / 100, minor % 100, money.currency)
    })
}

/// Cases, one line each.
pub(crate) fn cases(cases: &[Case], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&[
        "CASE", "KIND", "CHANNEL", "ABOUT", "NUMBER", "OPENED", "STATE", "DETAIL",
    ]);
    for case in cases {
        let state = match case.resolved_at {
            None => Cell::new("open", Tone::Warn),
            Some(_) => Cell::new("resolved", Tone::Dim),
        };
        table.row(vec![
            case.case_id.as_str().into(),
            Cell::new(case_kind(case.kind()), Tone::Bold),
            channel(case.channel()).into(),
            case.subject.as_str().into(),
            case.number.as_str().into(),
            time::ago(case.opened_at.as_ref(), now).into(),
            state,
            case.detail.as_str().into(),
        ]);
    }
    table
}

/// One case, with what was decided.
pub(crate) fn case(case: &Case, now: DateTime<Utc>) -> Table {
    let mut table = Table::plain();
    let rows = [
        ("case", case.case_id.clone()),
        ("kind", case_kind(case.kind()).to_owned()),
        ("channel", channel(case.channel()).to_owned()),
        ("about", format!("{} {}", case.subject, case.subject_id)),
        ("number", case.number.clone()),
        ("detail", case.detail.clone()),
        ("opened", time::ago(case.opened_at.as_ref(), now)),
        ("resolved", time::ago(case.resolved_at.as_ref(), now)),
        ("by", case.resolved_by.clone()),
        ("note", case.note.clone()),
    ];
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        table.row(vec![Cell::new(name, Tone::Dim), value.as_str().into()]);
    }
    table
}

/// Deliveries of notifications, one line each.
pub(crate) fn receipts(receipts: &[NotifyReceipt], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&[
        "WHEN", "CHANNEL", "OUTCOME", "REASON", "NUMBER", "APPLIED", "DETAIL",
    ]);
    for receipt in receipts {
        let tone = match receipt.outcome.as_str() {
            "REFUSED" => Tone::Bad,
            "TAKEN" => Tone::Good,
            _ => Tone::Plain,
        };
        table.row(vec![
            time::ago(receipt.received_at.as_ref(), now).into(),
            channel(receipt.channel()).into(),
            Cell::new(&receipt.outcome, tone),
            receipt.reason.as_str().into(),
            receipt.number.as_str().into(),
            receipt.applied.as_str().into(),
            receipt.detail.as_str().into(),
        ]);
    }
    table
}

/// Statements, one line each.
pub(crate) fn statements(statements: &[Statement], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&[
        "DAY",
        "CHANNEL",
        "LINES",
        "PAID",
        "REFUNDED",
        "DIFFERENCES",
        "OPEN",
        "IMPORTED",
    ]);
    for statement in statements {
        let open = match statement.open_differences {
            0 => Cell::new("0", Tone::Dim),
            open => Cell::new(open.to_string(), Tone::Bad),
        };
        table.row(vec![
            statement.day.as_str().into(),
            channel(statement.channel()).into(),
            statement.lines.to_string().into(),
            money(statement.paid.as_ref()).into(),
            money(statement.refunded.as_ref()).into(),
            statement.differences.to_string().into(),
            open,
            time::ago(statement.imported_at.as_ref(), now).into(),
        ]);
    }
    table
}

/// Differences, one line each.
pub(crate) fn differences(differences: &[Difference]) -> Table {
    let mut table = Table::new(&[
        "DIFFERENCE",
        "DAY",
        "CHANNEL",
        "KIND",
        "ABOUT",
        "NUMBER",
        "OURS",
        "THEIRS",
        "NOTE",
    ]);
    for difference in differences {
        table.row(vec![
            difference.difference_id.as_str().into(),
            difference.day.as_str().into(),
            channel(difference.channel()).into(),
            Cell::new(difference_kind(difference.kind()), Tone::Bold),
            difference.subject.as_str().into(),
            difference.number.as_str().into(),
            money(difference.ours.as_ref()).into(),
            money(difference.theirs.as_ref()).into(),
            difference.note.as_str().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_000, 0).unwrap()
    }

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn a_case_says_what_it_is_about_and_whether_it_is_open() {
        let open = Case {
            case_id: "case_1".to_owned(),
            kind: CaseKind::UnknownOutcome.into(),
            channel: Channel::Alipay.into(),
            subject: "withdrawal".to_owned(),
            subject_id: "withdrawal_1".to_owned(),
            number: "WDR1".to_owned(),
            detail: "no answer".to_owned(),
            opened_at: at(953),
            ..Case::default()
        };
        insta::assert_snapshot!(cases(std::slice::from_ref(&open), now()).render(false), @r"
        CASE    KIND             CHANNEL  ABOUT       NUMBER  OPENED   STATE  DETAIL
        case_1  UNKNOWN_OUTCOME  alipay   withdrawal  WDR1    47s ago  open   no answer
        ");
        let resolved = Case {
            resolved_at: at(990),
            resolved_by: "operator/alice".to_owned(),
            note: "they are at it".to_owned(),
            ..open
        };
        insta::assert_snapshot!(case(&resolved, now()).render(false), @r"
        case      case_1
        kind      UNKNOWN_OUTCOME
        channel   alipay
        about     withdrawal withdrawal_1
        number    WDR1
        detail    no answer
        opened    47s ago
        resolved  10s ago
        by        operator/alice
        note      they are at it
        ");
    }

    #[test]
    fn a_refused_notification_says_why() {
        let refused = NotifyReceipt {
            channel: Channel::Wechat.into(),
            outcome: "REFUSED".to_owned(),
            reason: "STALE".to_owned(),
            detail: "301 s old".to_owned(),
            received_at: at(990),
            ..NotifyReceipt::default()
        };
        insta::assert_snapshot!(receipts(&[refused], now()).render(false), @r"
        WHEN     CHANNEL  OUTCOME  REASON  NUMBER  APPLIED  DETAIL
        10s ago  wechat   REFUSED  STALE                    301 s old
        ");
    }

    #[test]
    fn a_statement_and_its_differences_show_money() {
        let yuan = |amount_minor| {
            Some(Money {
                amount_minor,
                currency: "CNY".to_owned(),
            })
        };
        let statement = Statement {
            channel: Channel::Wechat.into(),
            day: "2026-11-20".to_owned(),
            lines: 3,
            paid: yuan(123_405),
            refunded: yuan(0),
            differences: 2,
            open_differences: 1,
            imported_at: at(990),
        };
        insta::assert_snapshot!(statements(&[statement], now()).render(false), @r"
        DAY         CHANNEL  LINES  PAID         REFUNDED  DIFFERENCES  OPEN  IMPORTED
        2026-11-20  wechat   3      1234.05 CNY  0.00 CNY  2            1     10s ago
        ");
        let difference = Difference {
            difference_id: "difference_1".to_owned(),
            channel: Channel::Wechat.into(),
            day: "2026-11-20".to_owned(),
            kind: DifferenceKind::MissingHere.into(),
            subject: "payment".to_owned(),
            number: "PAY1".to_owned(),
            theirs: yuan(-7),
            ..Difference::default()
        };
        insta::assert_snapshot!(differences(&[difference]).render(false), @r"
        DIFFERENCE    DAY         CHANNEL  KIND          ABOUT    NUMBER  OURS  THEIRS     NOTE
        difference_1  2026-11-20  wechat   MISSING_HERE  payment  PAY1          -0.07 CNY
        ");
    }
}
