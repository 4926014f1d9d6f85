//! From our types to the wire.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use proto::quota::v1 as pb;

use crate::domain::{Balance, ClawedBack, Entry, GrantKind, Phase, Reservation, StoredGrant};

pub(super) fn balance(balance: Balance) -> pb::Balance {
    pb::Balance {
        user_id: balance.user_id.to_string(),
        granted: balance.granted,
        available: balance.available,
        reserved: balance.reserved,
        consumed: balance.consumed,
        quota_remaining: balance.available,
        expired: balance.expired,
        clawed_back: balance.clawed_back,
    }
}

pub(super) fn reservation(reservation: Reservation) -> pb::Reservation {
    pb::Reservation {
        task_id: reservation.task_id.to_string(),
        user_id: reservation.user_id.to_string(),
        amount: reservation.amount,
        state: phase(reservation.phase).into(),
        created_at: Some(time(reservation.created_at)),
        updated_at: Some(time(reservation.updated_at)),
        expires_at: reservation.expires_at.map(time),
        released: reservation.released,
    }
}

const fn phase(phase: Phase) -> pb::ReservationState {
    match phase {
        Phase::Reserved => pb::ReservationState::Reserved,
        Phase::Confirmed => pb::ReservationState::Confirmed,
        Phase::Cancelled => pb::ReservationState::Cancelled,
        Phase::Expired => pb::ReservationState::Expired,
    }
}

pub(super) fn grant(grant: StoredGrant) -> pb::Grant {
    pb::Grant {
        used: grant.used(),
        grant_id: grant.grant_id,
        user_id: grant.user_id.to_string(),
        kind: kind(grant.kind).into(),
        amount: grant.amount,
        remaining: grant.remaining,
        expired: grant.expired,
        clawed_back: grant.clawed_back,
        priority: grant.priority,
        source: grant.line.map(|(kind, id, line)| pb::GrantSource {
            r#type: kind,
            id,
            // A CHECK keeps it within 0 to 999.
            line: line.unsigned_abs(),
        }),
        note: grant.note,
        expires_at: grant.expires_at.map(time),
        created_at: Some(time(grant.created_at)),
    }
}

const fn kind(kind: GrantKind) -> pb::GrantKind {
    match kind {
        GrantKind::Purchase => pb::GrantKind::Purchase,
        GrantKind::Membership => pb::GrantKind::Membership,
        GrantKind::TopUp => pb::GrantKind::TopUp,
        GrantKind::Bonus => pb::GrantKind::Bonus,
        GrantKind::Admin => pb::GrantKind::Admin,
    }
}

pub(crate) const fn clawed_back(done: ClawedBack) -> pb::ClawedBack {
    pb::ClawedBack {
        granted: done.granted,
        clawed_back: done.clawed_back,
        pending: done.pending,
        spent: done.spent,
        expired: done.expired,
    }
}

pub(super) fn entry(entry: Entry) -> pb::LedgerEntry {
    pb::LedgerEntry {
        entry_id: entry.entry_id.to_string(),
        kind: entry.kind,
        granted_delta: entry.granted_delta,
        available_delta: entry.available_delta,
        reserved_delta: entry.reserved_delta,
        consumed_delta: entry.consumed_delta,
        expired_delta: entry.expired_delta,
        clawed_back_delta: entry.clawed_back_delta,
        task_id: entry.task_id.map(|id| id.to_string()).unwrap_or_default(),
        grant_id: entry.grant_id.unwrap_or_default(),
        clawback_id: entry.clawback_id.unwrap_or_default(),
        created_at: Some(time(entry.created_at)),
    }
}

fn time(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}
