//! From the wire to types that cannot be wrong.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ids::{ParseIdError, TaskId, UserId};
use prost_types::Timestamp;
use proto::quota::v1 as pb;

use crate::domain::{
    Amount, ChosenId, ClawBack, Grant, GrantKind, Hold, Line, Note, Priority, Reserve, Source, grant_id,
};
use crate::error::Error;

/// Type of the sources that are orders.
const ORDER: &str = "order";
/// Longest id of an order, in characters: with what is added it is the id of a grant.
const MAX_ORDER_CHARS: usize = 190;
/// Last second of the year 9999, the last one that a Timestamp may name.
const LAST_SECOND: i64 = 253_402_300_799;

/// Reads a grant.
pub(super) fn grant(request: pb::CreateGrantRequest) -> Result<Grant, Error> {
    let kind = kind(request.kind)?.unwrap_or(GrantKind::Admin);
    let line = request
        .source
        .map(|source| Line::new(Source::new(source.r#type, source.id)?, source.line))
        .transpose()?;
    Ok(Grant {
        grant_id: grant_id(request.grant_id)?,
        user_id: user_id(&request.user_id)?,
        amount: Amount::new(request.amount)?,
        kind,
        priority: Priority::new(request.priority)?,
        expires_at: time("expires_at", request.expires_at)?,
        line,
        note: Note::new(request.note)?,
    })
}

/// Reads the grant of a line of an order. Its id says which line it is.
pub(crate) fn grant_for_order(request: &pb::GrantForOrderRequest) -> Result<Grant, Error> {
    Ok(Grant {
        grant_id: grant_id(format!("{ORDER}:{}:{}", request.order_id, request.line))?,
        user_id: user_id(&request.user_id)?,
        amount: Amount::new(request.amount)?,
        kind: kind(request.kind)?.unwrap_or(GrantKind::Purchase),
        priority: Priority::new(request.priority)?,
        expires_at: time("expires_at", request.expires_at)?,
        line: Some(Line::new(order(&request.order_id)?, request.line)?),
        note: Note::default(),
    })
}

/// Reads an order as a source.
pub(crate) fn order(order_id: &str) -> Result<Source, Error> {
    let invalid = Error::Invalid {
        field: "order_id",
        problem: "must be 1 to 190 characters, none of them a control character",
    };
    if order_id.chars().count() > MAX_ORDER_CHARS {
        return Err(invalid);
    }
    Source::new(ORDER.to_owned(), order_id.to_owned()).map_err(|_| invalid)
}

/// Reads a clawback.
pub(crate) fn claw_back(
    clawback_id: String,
    user: &str,
    source: Source,
    amount: i64,
) -> Result<ClawBack, Error> {
    Ok(ClawBack {
        clawback_id: chosen_id("clawback_id", clawback_id)?,
        user_id: user_id(user)?,
        source,
        amount: Amount::or_all(amount)?,
    })
}

/// Reads an id that the caller chose.
pub(crate) fn chosen_id(field: &'static str, text: String) -> Result<ChosenId, Error> {
    ChosenId::new(field, text)
}

/// Reads the fields of a reserve.
pub(crate) fn reserve(
    user: &str,
    task: &str,
    amount: i64,
    hold_for: Option<&prost_types::Duration>,
) -> Result<Reserve, Error> {
    Ok(Reserve {
        user_id: user_id(user)?,
        task_id: task_id(task)?,
        amount: Amount::or_one(amount)?,
        hold: hold_for.map(|duration| hold(Some(duration))).transpose()?,
    })
}

/// Reads the field `hold_for`.
pub(super) fn hold(duration: Option<&prost_types::Duration>) -> Result<Hold, Error> {
    // What is absent, negative or malformed is out of bounds.
    let duration = duration.and_then(|duration| {
        let nanos = u32::try_from(duration.nanos)
            .ok()
            .filter(|nanos| *nanos < 1_000_000_000)?;
        Some(Duration::new(u64::try_from(duration.seconds).ok()?, nanos))
    });
    Hold::new(duration.unwrap_or_default())
}

/// Reads the field `task_id`.
pub(crate) fn task_id(text: &str) -> Result<TaskId, Error> {
    id("task_id", text)
}

fn user_id(text: &str) -> Result<UserId, Error> {
    id("user_id", text)
}

fn id<T: FromStr<Err = ParseIdError>>(field: &'static str, text: &str) -> Result<T, Error> {
    if text.is_empty() {
        return Err(Error::Invalid {
            field,
            problem: "is missing",
        });
    }
    text.parse().map_err(|source| Error::Id { field, source })
}

fn kind(number: i32) -> Result<Option<GrantKind>, Error> {
    match pb::GrantKind::try_from(number) {
        Ok(pb::GrantKind::Unspecified) => Ok(None),
        Ok(pb::GrantKind::Purchase) => Ok(Some(GrantKind::Purchase)),
        Ok(pb::GrantKind::Membership) => Ok(Some(GrantKind::Membership)),
        Ok(pb::GrantKind::TopUp) => Ok(Some(GrantKind::TopUp)),
        Ok(pb::GrantKind::Bonus) => Ok(Some(GrantKind::Bonus)),
        Ok(pb::GrantKind::Admin) => Ok(Some(GrantKind::Admin)),
        Err(_) => Err(Error::Invalid {
            field: "kind",
            problem: "is not known",
        }),
    }
}

/// Reads a time, cut to the microseconds that the database keeps.
fn time(field: &'static str, time: Option<Timestamp>) -> Result<Option<DateTime<Utc>>, Error> {
    let Some(Timestamp { seconds, nanos }) = time else {
        return Ok(None);
    };
    let read = u32::try_from(nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000 && (0..=LAST_SECOND).contains(&seconds))
        .and_then(|nanos| DateTime::from_timestamp(seconds, nanos / 1_000 * 1_000));
    read.map(Some).ok_or(Error::Invalid {
        field,
        problem: "must be a time from 1970 to 9999",
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_order_id_makes_a_grant_id() {
        let request = |order_id: String, line| pb::GrantForOrderRequest {
            user_id: UserId::new().to_string(),
            order_id,
            line,
            amount: 1,
            ..pb::GrantForOrderRequest::default()
        };
        let grant = grant_for_order(&request("单".repeat(190), 999)).unwrap();
        assert_eq!(grant.grant_id.as_str(), format!("order:{}:999", "单".repeat(190)));
        assert_eq!(grant.kind, GrantKind::Purchase);
        for (order_id, line) in [
            (String::new(), 0),
            ("单".repeat(191), 0),
            ("a\nb".to_owned(), 0),
            ("a".to_owned(), 1_000),
        ] {
            assert!(grant_for_order(&request(order_id, line)).is_err());
        }
    }

    #[test]
    fn every_kind_has_a_number() {
        let mut kinds = Vec::new();
        for number in 1..=5 {
            kinds.extend(kind(number).unwrap());
        }
        assert_eq!(kinds, GrantKind::ALL);
        assert!(kind(0).unwrap().is_none());
        assert!(kind(6).is_err() && kind(-1).is_err());
    }

    proptest! {
        #[test]
        fn a_time_is_read_to_the_microsecond_or_refused(seconds in prop_oneof![any::<i64>(), 0..=LAST_SECOND], nanos: i32) {
            let valid = (0..=LAST_SECOND).contains(&seconds) && (0..1_000_000_000).contains(&nanos);
            match time("expires_at", Some(Timestamp { seconds, nanos })) {
                Ok(Some(read)) => {
                    prop_assert!(valid);
                    prop_assert_eq!(read.timestamp(), seconds);
                    prop_assert_eq!(i64::from(read.timestamp_subsec_nanos()), i64::from(nanos) / 1_000 * 1_000);
                }
                read => prop_assert!(!valid && read.is_err()),
            }
        }

        #[test]
        fn a_hold_is_one_second_to_thirty_days(seconds in prop_oneof![any::<i64>(), -2..3_000_000_i64], nanos: i32) {
            let limit = 30 * 24 * 60 * 60;
            let valid = (0..1_000_000_000).contains(&nanos)
                && ((1..limit).contains(&seconds) || (seconds == limit && nanos == 0));
            let read = hold(Some(&prost_types::Duration { seconds, nanos }));
            prop_assert_eq!(read.is_ok(), valid);
        }
    }
}
