//! How many watch at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use ids::UserId;

/// Bounds live connections, together and for each user.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    taken: Arc<Mutex<Taken>>,
    max: usize,
    max_per_user: usize,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_user: HashMap<UserId, usize>,
}

/// A place that is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    user_id: UserId,
}

impl Seats {
    pub(super) fn new(max: usize, max_per_user: usize) -> Self {
        Self {
            taken: Arc::default(),
            max,
            max_per_user,
        }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// There is none; the text says which bound it is.
    pub(super) fn take(&self, user_id: UserId) -> Result<Seat, String> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.max {
            return Err("this gateway has as many watchers as it takes; come back later".to_owned());
        }
        let own = taken.by_user.entry(user_id).or_default();
        if *own >= self.max_per_user {
            return Err(format!("you have {} watches open; close one", self.max_per_user));
        }
        *own += 1;
        taken.all += 1;
        drop(taken);
        Ok(Seat {
            seats: self.clone(),
            user_id,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Entry::Occupied(mut own) = taken.by_user.entry(self.user_id) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_each_and_for_all_and_given_back() {
        let seats = Seats::new(3, 2);
        let (one, other) = (UserId::new(), UserId::new());
        let first = seats.take(one).unwrap();
        let _second = seats.take(one).unwrap();
        assert!(seats.take(one).unwrap_err().contains("you have 2"));
        let third = seats.take(other).unwrap();
        assert!(seats.take(other).unwrap_err().contains("as many watchers"));
        drop(first);
        let _fourth = seats.take(one).unwrap();
        drop(third);
        assert_eq!(seats.taken.lock().unwrap().by_user.len(), 1);
    }
}
