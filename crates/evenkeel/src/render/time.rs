//! Instants and spans as short text.

use chrono::{DateTime, TimeDelta, Utc};
use prost_types::Timestamp;

/// Returns the instant of a protobuf timestamp; `None` if absent or out of range.
pub(crate) fn instant(timestamp: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let timestamp = timestamp?;
    DateTime::from_timestamp(timestamp.seconds, u32::try_from(timestamp.nanos).ok()?)
}

/// Returns a span in its largest unit, at most 6 characters: `850ms`, `3.2s`, `47s`, `12m`, `5h`, `9d`.
pub(crate) fn span(delta: TimeDelta) -> String {
    let millis = delta.num_milliseconds().max(0);
    match millis {
        0..1_000 => format!("{millis}ms"),
        1_000..10_000 => format!("{}.{}s", millis / 1_000, millis % 1_000 / 100),
        10_000..120_000 => format!("{}s", millis / 1_000),
        120_000..7_200_000 => format!("{}m", millis / 60_000),
        7_200_000..172_800_000 => format!("{}h", millis / 3_600_000),
        _ => format!("{}d", millis / 86_400_000),
    }
}

/// Returns how long ago an instant was: `3.2s ago`; empty if absent.
pub(crate) fn ago(at: Option<&Timestamp>, now: DateTime<Utc>) -> String {
    instant(at).map_or_else(String::new, |at| format!("{} ago", span(now - at)))
}

/// Returns when an instant is, seen from now: `in 4.0s`, or `3.2s ago`; empty if absent.
pub(crate) fn relative(at: Option<&Timestamp>, now: DateTime<Utc>) -> String {
    match instant(at) {
        Some(at) if at > now => format!("in {}", span(at - now)),
        _ => ago(at, now),
    }
}

/// Returns the offset of an instant from the start, in seconds to the millisecond: `+1.042s`.
pub(crate) fn offset(at: Option<&Timestamp>, origin: Option<DateTime<Utc>>) -> String {
    let (Some(at), Some(origin)) = (instant(at), origin) else {
        return String::new();
    };
    let millis = (at - origin).num_milliseconds();
    let sign = if millis < 0 { '-' } else { '+' };
    let millis = millis.unsigned_abs();
    format!("{sign}{}.{:03}s", millis / 1_000, millis % 1_000)
}

/// Returns a protobuf duration as milliseconds below a second, else as seconds.
pub(crate) fn duration(duration: &prost_types::Duration) -> String {
    span(TimeDelta::seconds(duration.seconds) + TimeDelta::nanoseconds(i64::from(duration.nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_use_their_largest_unit() {
        let text = |ms| span(TimeDelta::milliseconds(ms));
        let all = [
            0,
            850,
            3_249,
            47_000,
            119_999,
            120_000,
            7_199_000,
            7_200_000,
            172_800_000,
            -5,
        ]
        .map(text);
        assert_eq!(
            all,
            [
                "0ms", "850ms", "3.2s", "47s", "119s", "2m", "119m", "2h", "2d", "0ms"
            ]
        );
    }

    #[test]
    fn offsets_may_be_before_the_origin() {
        let at = |seconds, nanos| Timestamp { seconds, nanos };
        let origin = instant(Some(&at(100, 0)));
        assert_eq!(offset(Some(&at(101, 42_000_000)), origin), "+1.042s");
        assert_eq!(offset(Some(&at(99, 500_000_000)), origin), "-0.500s");
        assert_eq!(offset(None, origin), "");
    }

    #[test]
    fn an_absurd_timestamp_is_absent() {
        assert_eq!(
            instant(Some(&Timestamp {
                seconds: i64::MAX,
                nanos: -1
            })),
            None
        );
    }
}
