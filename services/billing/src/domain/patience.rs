//! When to look again at what is under way.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Of the time that something has taken so far, this part is waited before the next look.
const PART: u32 = 10;

/// Returns how long to wait before the next look at what is under way since then: the longer ago, the longer, within bounds.
pub(crate) fn patience(since: DateTime<Utc>, now: DateTime<Utc>, bounds: (Duration, Duration)) -> Duration {
    let (shortest, longest) = bounds;
    // The clocks of two machines differ: what began in the future began now.
    let age = (now - since).to_std().unwrap_or_default();
    (age / PART).clamp(shortest, longest)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn what_is_long_under_way_is_looked_at_seldom() {
        let (short, long) = (Duration::from_millis(100), Duration::from_secs(2));
        let now = DateTime::UNIX_EPOCH;
        let after = |s| patience(now - TimeDelta::seconds(s), now, (short, long));
        assert_eq!(after(0), short);
        assert_eq!(after(-5), short);
        assert_eq!(after(10), Duration::from_secs(1));
        assert_eq!(after(3600), long);
    }
}
