//! A double of a system outside our database: things happen there under ids, and can be undone.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Acts at once and answers.
    Prompt,
    /// Acts and answers after this time. A caller that leaves does not stop it.
    Slow(Duration),
    /// Acts and answers once [`Outside::release`] was called.
    Held,
    /// Acts at once; the caller gets an error.
    Lost,
    /// Acts at once; the caller never gets an answer.
    Hanging,
    /// The caller gets an error at once; acts after this time.
    Late(Duration),
    /// Acts at once and answers; the same request arrives once more, 20 ms later.
    Doubled,
    /// Does nothing; the caller gets an error.
    Down,
    /// Says no, and remembers it of what was never done.
    Refusing,
}

/// What has happened under one id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entry {
    /// Times it was done.
    pub done: u32,
    /// Times it was undone.
    pub undone: u32,
    /// Requests to do it that arrived.
    pub asked: u32,
    /// It was refused and not done since.
    pub refused: bool,
    /// It was undone before it was done, and will not be done any more.
    pub forbidden: bool,
}

impl Entry {
    /// Tells whether the effect stands.
    #[must_use]
    pub const fn stands(self) -> bool {
        self.done > self.undone
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutsideError {
    /// The caller does not know what has become of it.
    Lost,
    /// A definite no.
    Refused,
}

impl fmt::Display for OutsideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "the outside has not answered",
            Self::Refused => "the outside says no",
        })
    }
}

impl std::error::Error for OutsideError {}

/// The double; clones are the same one.
///
/// A request that was sent goes on when its caller's future is dropped. Everything it did is in its books.
#[derive(Debug, Clone, Default)]
pub struct Outside {
    inner: Arc<Mutex<Inner>>,
    released: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    knows_repeats: bool,
    undo_forbids: bool,
    programme: BTreeMap<String, VecDeque<Manner>>,
    books: BTreeMap<String, Entry>,
}

impl Outside {
    /// Makes one for which every request is a new one, also under an id that it has seen.
    #[must_use]
    pub fn forgetful() -> Self {
        Self::default()
    }

    /// Makes one that acts once for each id.
    #[must_use]
    pub fn knowing_repeats() -> Self {
        let outside = Self::default();
        outside.lock().knows_repeats = true;
        outside
    }

    /// Makes one that acts once for each id, and for which undoing an unknown id forbids it.
    #[must_use]
    pub fn forbidding() -> Self {
        let outside = Self::knowing_repeats();
        outside.lock().undo_forbids = true;
        outside
    }

    /// Says what becomes of the next requests under `id`, to do or to undo, in this order. After these it is prompt.
    pub fn programme(&self, id: &str, manners: impl IntoIterator<Item = Manner>) {
        let mut inner = self.lock();
        inner.programme.entry(id.to_owned()).or_default().extend(manners);
    }

    /// Lets one request go on that is held, or the next one that would be.
    pub fn release(&self) {
        self.released.notify_one();
    }

    /// Returns what has happened under `id`.
    #[must_use]
    pub fn entry(&self, id: &str) -> Entry {
        self.lock().books.get(id).copied().unwrap_or_default()
    }

    /// Returns everything that has happened, by id.
    #[must_use]
    pub fn books(&self) -> BTreeMap<String, Entry> {
        self.lock().books.clone()
    }

    /// Asks it to act under `id`.
    ///
    /// # Errors
    /// As the programme says; `Refused` also if the id is forbidden.
    pub async fn act(&self, id: &str) -> Result<(), OutsideError> {
        self.request(id, Inner::act).await
    }

    /// Asks it to undo what it did under `id`.
    ///
    /// # Errors
    /// As the programme says; `Refused` also if there is nothing to undo.
    pub async fn undo(&self, id: &str) -> Result<(), OutsideError> {
        self.request(id, Inner::undo).await
    }

    async fn request(
        &self,
        id: &str,
        act: fn(&mut Inner, &str) -> Result<(), OutsideError>,
    ) -> Result<(), OutsideError> {
        match self.next(id) {
            Manner::Prompt => act(&mut self.lock(), id),
            Manner::Slow(time) => {
                let answer = self.later(id, time, act);
                answer.await.unwrap_or(Err(OutsideError::Lost))
            }
            Manner::Held => {
                self.released.notified().await;
                act(&mut self.lock(), id)
            }
            Manner::Lost => {
                let _ = act(&mut self.lock(), id);
                Err(OutsideError::Lost)
            }
            Manner::Hanging => {
                let _ = act(&mut self.lock(), id);
                std::future::pending().await
            }
            Manner::Late(time) => {
                drop(self.later(id, time, act));
                Err(OutsideError::Lost)
            }
            Manner::Doubled => {
                drop(self.later(id, Duration::from_millis(20), act));
                act(&mut self.lock(), id)
            }
            Manner::Down => Err(OutsideError::Lost),
            Manner::Refusing => {
                let mut inner = self.lock();
                let entry = inner.books.entry(id.to_owned()).or_default();
                entry.refused = entry.done == 0;
                Err(OutsideError::Refused)
            }
        }
    }

    /// Acts after a time, whether or not anybody waits for it.
    fn later(
        &self,
        id: &str,
        time: Duration,
        act: fn(&mut Inner, &str) -> Result<(), OutsideError>,
    ) -> oneshot::Receiver<Result<(), OutsideError>> {
        let (answer, answered) = oneshot::channel();
        let (outside, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            sleep(time).await;
            let done = act(&mut outside.lock(), &id);
            let _ = answer.send(done);
        });
        answered
    }

    fn next(&self, id: &str) -> Manner {
        let mut inner = self.lock();
        let next = inner.programme.get_mut(id).and_then(VecDeque::pop_front);
        next.unwrap_or(Manner::Prompt)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn act(&mut self, id: &str) -> Result<(), OutsideError> {
        let entry = self.books.entry(id.to_owned()).or_default();
        entry.asked += 1;
        if entry.forbidden {
            return Err(OutsideError::Refused);
        }
        entry.refused = false;
        if entry.done == 0 || !self.knows_repeats {
            entry.done += 1;
        }
        Ok(())
    }

    fn undo(&mut self, id: &str) -> Result<(), OutsideError> {
        let entry = self.books.entry(id.to_owned()).or_default();
        if entry.done == 0 {
            entry.forbidden = self.undo_forbids;
            return if self.undo_forbids {
                Ok(())
            } else {
                Err(OutsideError::Refused)
            };
        }
        if entry.undone == 0 || !self.knows_repeats {
            entry.undone += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventually;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn every_manner_does_what_it_says() {
        let outside = Outside::forgetful();
        let ms = Duration::from_millis;
        for (manner, answer, done) in [
            (Manner::Prompt, Ok(()), 1),
            (Manner::Slow(ms(5)), Ok(()), 1),
            (Manner::Lost, Err(OutsideError::Lost), 1),
            (Manner::Late(ms(5)), Err(OutsideError::Lost), 1),
            (Manner::Doubled, Ok(()), 2),
            (Manner::Down, Err(OutsideError::Lost), 0),
            (Manner::Refusing, Err(OutsideError::Refused), 0),
        ] {
            let id = format!("{manner:?}");
            outside.programme(&id, [manner]);
            assert_eq!(outside.act(&id).await, answer, "{id}");
            eventually(SOON, || async { outside.entry(&id).done == done }).await;
        }
    }

    #[tokio::test]
    async fn what_is_held_happens_once_it_is_released() {
        let outside = Outside::forgetful();
        outside.programme("x", [Manner::Held]);
        let (answer, ()) = tokio::join!(outside.act("x"), async {
            assert_eq!(outside.entry("x").done, 0);
            outside.release();
        });
        assert_eq!((answer, outside.entry("x").done), (Ok(()), 1));
    }

    #[tokio::test]
    async fn a_caller_that_leaves_stops_nothing() {
        let outside = Outside::forgetful();
        outside.programme("x", [Manner::Slow(Duration::from_millis(20)), Manner::Hanging]);
        for expected in [1, 2] {
            let left = tokio::time::timeout(Duration::from_millis(1), outside.act("x")).await;
            assert!(left.is_err());
            eventually(SOON, || async { outside.entry("x").done == expected }).await;
        }
    }

    #[tokio::test]
    async fn one_that_knows_repeats_acts_once() {
        let outside = Outside::knowing_repeats();
        for _ in 0..3 {
            outside.act("x").await.unwrap();
        }
        for _ in 0..2 {
            outside.undo("x").await.unwrap();
        }
        let entry = outside.entry("x");
        assert_eq!((entry.done, entry.undone, entry.asked), (1, 1, 3));
        assert!(!entry.stands());
    }

    #[tokio::test]
    async fn one_that_forbids_refuses_what_was_undone_first() {
        let outside = Outside::forbidding();
        outside.undo("x").await.unwrap();
        assert_eq!(outside.act("x").await, Err(OutsideError::Refused));
        assert_eq!(Outside::forgetful().undo("x").await, Err(OutsideError::Refused));
    }
}
