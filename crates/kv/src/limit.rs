//! Windows that are counted.

use std::collections::HashSet;
use std::time::Duration;

use crate::{Error, Key, MAX_LIMITS};

/// How often something may happen within a window. A window begins with the first hit and ends `window` later, whatever
/// comes in between; so two windows' worth may come close together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// What is counted. The limits of one call have the same first part, since Redis Cluster wants them in one slot.
    pub key: Key,
    /// Hits that a window takes; 0 takes none.
    pub max: u32,
    /// Length of the window, 1 ms or more.
    pub window: Duration,
}

/// What counting came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// Every window had room and has counted it.
    Within,
    /// A window is full; none has counted it.
    Over {
        /// Place of the full window in the list; of several the one that ends last.
        limit: usize,
        /// How long until it ends, 1 ms or more.
        retry_after: Duration,
    },
}

/// Checks the bounds.
pub(crate) fn check(limits: &[Limit]) -> Result<(), Error> {
    if limits.len() > MAX_LIMITS {
        return Err(Error::Bounds("more than 16 limits at once"));
    }
    let mut seen = HashSet::new();
    if !limits.iter().all(|limit| seen.insert(&limit.key)) {
        return Err(Error::Bounds("two limits of one call have the same key"));
    }
    Ok(())
}

/// Reads a store's answer: place from 1 and milliseconds, or 0 for none.
pub(crate) fn answer(place: i64, retry_after_ms: i64) -> Hit {
    let limit = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
    match limit {
        None => Hit::Within,
        Some(limit) => Hit::Over {
            limit,
            retry_after: Duration::from_millis(u64::try_from(retry_after_ms).unwrap_or(0).max(1)),
        },
    }
}
