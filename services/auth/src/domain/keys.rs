//! The life of a signing key: next, active, retired, gone.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// Published, so that everybody knows it before it is used.
    Next,
    /// Signs.
    Active,
    /// Still published for the tokens it has signed.
    Retired,
}

impl KeyState {
    pub(crate) const ALL: [Self; 3] = [Self::Next, Self::Active, Self::Retired];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What is stored of a key, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) kid: String,
    pub(crate) state: KeyState,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) activated_at: Option<DateTime<Utc>>,
    pub(crate) retired_at: Option<DateTime<Utc>>,
}

/// How long keys stay where they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// How long a key signs.
    pub(crate) active: Duration,
    /// How long a key is published before it signs.
    pub(crate) publish: Duration,
    /// How long a key is published after it has retired.
    pub(crate) retired: Duration,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A key is made in this state.
    Make(KeyState),
    /// A retired key is forgotten.
    Forget(String),
    /// The active key retires.
    Retire(String),
    /// The next key becomes the active one.
    Activate(String),
}

/// Decides what is to be done now, in this order. Keys made at the very first serve at once: nobody holds an older set.
pub(crate) fn plan(keys: &[Stored], times: Times, now: DateTime<Utc>) -> Vec<Step> {
    let of = |state| keys.iter().find(move |key| key.state == state);
    let past = |since: Option<DateTime<Utc>>, time| since.is_some_and(|since| now - since >= delta(time));
    let mut steps: Vec<Step> = keys
        .iter()
        .filter(|key| past(key.retired_at, times.retired))
        .map(|key| Step::Forget(key.kid.clone()))
        .collect();
    match (of(KeyState::Active), of(KeyState::Next)) {
        (None, None) => steps.extend([Step::Make(KeyState::Active), Step::Make(KeyState::Next)]),
        // Somebody took the active key away. The next one is known to everybody, or will be soon: better than none.
        (None, Some(next)) => {
            steps.extend([Step::Activate(next.kid.clone()), Step::Make(KeyState::Next)]);
        }
        (Some(_), None) => steps.push(Step::Make(KeyState::Next)),
        (Some(active), Some(next))
            if past(active.activated_at, times.active) && past(Some(next.created_at), times.publish) =>
        {
            steps.extend([
                Step::Retire(active.kid.clone()),
                Step::Activate(next.kid.clone()),
                Step::Make(KeyState::Next),
            ]);
        }
        (Some(_), Some(_)) => {}
    }
    steps
}

fn delta(time: Duration) -> chrono::TimeDelta {
    chrono::TimeDelta::from_std(time).unwrap_or(chrono::TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        active: Duration::from_secs(1000),
        publish: Duration::from_secs(100),
        retired: Duration::from_secs(50),
    };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    /// Applies steps as the store does; returns the kids that are published.
    fn apply(keys: &mut Vec<Stored>, steps: Vec<Step>, now: DateTime<Utc>) {
        for step in steps {
            match step {
                Step::Make(state) => keys.push(Stored {
                    kid: format!("{}-{state:?}-{}", now.timestamp(), keys.len()),
                    state,
                    created_at: now,
                    activated_at: (state == KeyState::Active).then_some(now),
                    retired_at: None,
                }),
                Step::Forget(kid) => keys.retain(|key| key.kid != kid),
                Step::Retire(kid) => {
                    let key = keys.iter_mut().find(|key| key.kid == kid).unwrap();
                    (key.state, key.retired_at) = (KeyState::Retired, Some(now));
                }
                Step::Activate(kid) => {
                    let key = keys.iter_mut().find(|key| key.kid == kid).unwrap();
                    (key.state, key.activated_at) = (KeyState::Active, Some(now));
                }
            }
        }
    }

    fn only(keys: &[Stored], state: KeyState) -> &Stored {
        let mut found = keys.iter().filter(|key| key.state == state);
        let key = found.next().expect("there is one");
        assert!(found.next().is_none(), "there is only one");
        key
    }

    #[test]
    fn over_years_there_is_always_one_that_signs_and_one_that_everybody_knows() {
        let mut keys = Vec::new();
        let mut signed_with: Vec<(String, i64)> = Vec::new();
        for second in (0..20_000).step_by(7) {
            let steps = plan(&keys, TIMES, at(second));
            apply(&mut keys, steps, at(second));
            assert_eq!(
                plan(&keys, TIMES, at(second)),
                [],
                "a second look changes nothing"
            );
            let active = only(&keys, KeyState::Active).clone();
            only(&keys, KeyState::Next);
            if signed_with.last().is_none_or(|(kid, _)| *kid != active.kid) {
                // All but the first were published for the time that others may take to learn of them.
                let published = (at(second) - active.created_at).num_seconds();
                assert!(signed_with.is_empty() || published >= 100, "{published}");
                signed_with.push((active.kid.clone(), second));
            }
            // Whatever was signed with in the last 50 s can be verified.
            for pair in signed_with.windows(2) {
                if second - pair[1].1 < 50 {
                    assert!(keys.iter().any(|key| key.kid == pair[0].0));
                }
            }
            assert!(keys.len() <= 3);
        }
        assert!(signed_with.len() >= 19);
    }

    #[test]
    fn without_an_active_key_the_next_one_serves() {
        let mut keys = Vec::new();
        let steps = plan(&keys, TIMES, at(0));
        apply(&mut keys, steps, at(0));
        keys.retain(|key| key.state == KeyState::Next);
        let next = keys[0].kid.clone();
        assert_eq!(
            plan(&keys, TIMES, at(1)),
            [Step::Activate(next), Step::Make(KeyState::Next)]
        );
    }

    #[test]
    fn a_next_key_that_is_too_young_waits() {
        let mut keys = Vec::new();
        let steps = plan(&keys, TIMES, at(0));
        apply(&mut keys, steps, at(0));
        let next = keys.iter_mut().find(|key| key.state == KeyState::Next).unwrap();
        next.created_at = at(990);
        assert_eq!(plan(&keys, TIMES, at(1000)), []);
        assert_eq!(plan(&keys, TIMES, at(1090)).len(), 3);
    }
}
