//! Unwrapped data keys that are remembered for a while.
//!
//! Asking the key service for every read costs its latency, its money and its rate limit (100 calls a second), and makes
//! every read fail while it is away. What that costs in turn: a key that is taken away from us still opens, for as long as
//! its entries live, what was read shortly before.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::data_key::DataKey;

/// Names what was unwrapped, with everything that it is bound to.
pub(crate) type Fingerprint = [u8; 32];

/// Data keys by fingerprint, at most so many and for so long. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    state: Arc<Mutex<State>>,
    max: usize,
    life: Duration,
}

#[derive(Debug, Default)]
struct State {
    keys: HashMap<Fingerprint, DataKey>,
    /// The same entries by age. All live equally long, so the oldest is the first to end.
    ages: VecDeque<(Instant, Fingerprint)>,
    /// Whether somebody clears what has ended.
    is_swept: bool,
}

impl State {
    fn sweep(&mut self, now: Instant) {
        while self.ages.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, fingerprint)) = self.ages.pop_front() {
            self.keys.remove(&fingerprint);
        }
    }
}

impl Cache {
    pub(crate) fn new(max: usize, life: Duration) -> Self {
        Self {
            state: Arc::default(),
            max,
            life,
        }
    }

    pub(crate) fn get(&self, fingerprint: &Fingerprint) -> Option<DataKey> {
        let mut state = lock(&self.state);
        state.sweep(Instant::now());
        state.keys.get(fingerprint).cloned()
    }

    /// Remembers a key. One that is remembered already does not live longer for it.
    pub(crate) fn put(&self, fingerprint: Fingerprint, key: DataKey) {
        if self.max == 0 || self.life.is_zero() {
            return;
        }
        let mut state = lock(&self.state);
        let now = Instant::now();
        state.sweep(now);
        if state.keys.contains_key(&fingerprint) {
            return;
        }
        if state.keys.len() >= self.max {
            state.forget_oldest();
        }
        state.keys.insert(fingerprint, key);
        state.ages.push_back((now + self.life, fingerprint));
        if !state.is_swept {
            state.is_swept = true;
            tokio::spawn(sweep(Arc::downgrade(&self.state)));
        }
    }
}

/// Clears entries as they end, also if nobody asks any more; ends with the last of them.
async fn sweep(state: Weak<Mutex<State>>) {
    loop {
        let next = {
            let Some(state) = state.upgrade() else { return };
            let mut state = lock(&state);
            state.sweep(Instant::now());
            let next = state.ages.front().map(|(until, _)| *until);
            state.is_swept = next.is_some();
            next
        };
        match next {
            Some(until) => sleep_until(until).await,
            None => return,
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(60);

    fn held(cache: &Cache) -> usize {
        let state = lock(&cache.state);
        assert_eq!(state.keys.len(), state.ages.len());
        state.keys.len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_forgotten_after_its_time_though_nobody_asks() {
        let cache = Cache::new(10, LIFE);
        cache.put([1; 32], DataKey::random().unwrap());
        tokio::time::advance(LIFE / 2).await;
        cache.put([2; 32], DataKey::random().unwrap());
        // Reading and repeating do not make it live longer.
        assert!(cache.get(&[1; 32]).is_some());
        cache.put([1; 32], DataKey::random().unwrap());
        tokio::time::sleep(LIFE / 2).await;
        tokio::task::yield_now().await;
        assert_eq!(held(&cache), 1);
        assert!(cache.get(&[1; 32]).is_none() && cache.get(&[2; 32]).is_some());
        tokio::time::sleep(LIFE).await;
        tokio::task::yield_now().await;
        assert_eq!(held(&cache), 0);
        // The one who swept has gone, and comes again.
        cache.put([3; 32], DataKey::random().unwrap());
        tokio::time::sleep(LIFE * 2).await;
        tokio::task::yield_now().await;
        assert_eq!(held(&cache), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_gives_way() {
        let cache = Cache::new(2, LIFE);
        for n in 1..=3 {
            cache.put([n; 32], DataKey::random().unwrap());
        }
        assert_eq!(held(&cache), 2);
        assert!(cache.get(&[1; 32]).is_none() && cache.get(&[3; 32]).is_some());
        let none = Cache::new(0, LIFE);
        none.put([1; 32], DataKey::random().unwrap());
        assert_eq!(held(&none), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_is_dropped() {
        let cache = Cache::new(1, LIFE);
        let key = DataKey::random().unwrap();
        let count = |key: &DataKey| key.holders();
        cache.put([1; 32], key.clone());
        assert_eq!(count(&key), 2);
        cache.put([2; 32], DataKey::random().unwrap());
        assert_eq!(count(&key), 1);
    }
}
