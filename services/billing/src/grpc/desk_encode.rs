//! Answers of DeskService.

use std::fmt::Write as _;

use ids::{PaymentId, RefundId, WithdrawalId};
use proto::billing::v1 as pb;

use super::encode::time;
use crate::domain::{CNY, DifferenceKind};
use crate::store::cases::{Case, CaseKind};
use crate::store::checks::Subject;
use crate::store::differences::Found;
use crate::store::receipts::Receipt;
use crate::store::statements::Statement;

pub(super) fn case(row: Case) -> pb::Case {
    let kind = match row.kind {
        CaseKind::UnknownOutcome => pb::CaseKind::UnknownOutcome,
        CaseKind::AbnormalRefund => pb::CaseKind::AbnormalRefund,
        CaseKind::AmountMismatch => pb::CaseKind::AmountMismatch,
        CaseKind::RefundFailed => pb::CaseKind::RefundFailed,
        CaseKind::Contradiction => pb::CaseKind::Contradiction,
    };
    let subject_id = match row.subject {
        Subject::Payment => PaymentId::from_uuid(row.subject_id).to_string(),
        Subject::Refund => RefundId::from_uuid(row.subject_id).to_string(),
        Subject::Withdrawal => WithdrawalId::from_uuid(row.subject_id).to_string(),
    };
    pb::Case {
        case_id: row.id.to_string(),
        kind: kind.into(),
        channel: pb::Channel::from(row.channel).into(),
        subject: row.subject.name().to_owned(),
        subject_id,
        number: row.number,
        detail: row.detail,
        opened_at: Some(time(row.opened_at)),
        resolved_at: row.resolved_at.map(time),
        resolved_by: row.resolved_by.unwrap_or_default(),
        note: row.note.unwrap_or_default(),
    }
}

pub(super) fn receipt(row: Receipt) -> pb::NotifyReceipt {
    let mut body_sha256 = String::with_capacity(2 * row.body_sha256.len());
    for byte in &row.body_sha256 {
        // A string takes everything.
        let _ = write!(body_sha256, "{byte:02x}");
    }
    pb::NotifyReceipt {
        receipt_id: row.id.to_string(),
        channel: pb::Channel::from(row.channel).into(),
        outcome: row.outcome,
        reason: row.reason.unwrap_or_default(),
        detail: row.detail.unwrap_or_default(),
        event_id: row.event_id.unwrap_or_default(),
        number: row.number.unwrap_or_default(),
        applied: row.applied.unwrap_or_default(),
        body_sha256,
        received_at: Some(time(row.received_at)),
    }
}

pub(super) fn statement(row: Statement) -> pb::Statement {
    let count = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
    pb::Statement {
        channel: pb::Channel::from(row.channel).into(),
        day: row.day.to_string(),
        lines: count(row.lines.into()),
        paid: Some(money(row.paid_minor, &row.currency)),
        refunded: Some(money(row.refunded_minor, &row.currency)),
        differences: count(row.differences),
        open_differences: count(row.open_differences),
        imported_at: Some(time(row.imported_at)),
    }
}

pub(super) fn difference(row: Found) -> pb::Difference {
    let kind = match row.kind {
        DifferenceKind::MissingThere => pb::DifferenceKind::MissingThere,
        DifferenceKind::MissingHere => pb::DifferenceKind::MissingHere,
        DifferenceKind::Amount => pb::DifferenceKind::Amount,
        DifferenceKind::Status => pb::DifferenceKind::Status,
    };
    pb::Difference {
        difference_id: row.id.to_string(),
        channel: pb::Channel::from(row.channel).into(),
        day: row.day.to_string(),
        kind: kind.into(),
        subject: row.subject,
        number: row.number,
        ours: row.ours_minor.map(|minor| money(minor, CNY)),
        theirs: row.theirs_minor.map(|minor| money(minor, CNY)),
        detail: row.detail,
        resolved_at: row.resolved_at.map(time),
        resolved_by: row.resolved_by.unwrap_or_default(),
        note: row.note.unwrap_or_default(),
    }
}

fn money(amount_minor: i64, currency: &str) -> pb::Money {
    pb::Money {
        amount_minor,
        currency: currency.to_owned(),
    }
}
