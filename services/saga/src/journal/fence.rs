//! What every write is joined with, as this process last saw it.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use saga_engine::JournalError;
use sqlx::PgPool;
use tokio::sync::Mutex;

/// The instance's name, the epoch it started with, and the incarnation of its connections.
///
/// The epoch is for ever. The incarnation rises when a connection was lost with a write on it: that write may still be
/// under way in the server, and a saga loaded before it lands would be driven from a stale state, or, if the write was a
/// start, not be driven at all. Raising it waits for writes that hold the fence and shuts out those that do not hold it
/// yet, so a load after [`Fence::settle`] sees everything that will ever come of the lost connections.
#[derive(Debug)]
pub(super) struct Fence {
    pub(super) instance: Box<str>,
    pub(super) epoch: i64,
    incarnation: AtomicI32,
    lost: AtomicU64,
    settled: Mutex<u64>,
}

/// The fence as a statement states it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) epoch: i64,
    pub(super) incarnation: i32,
}

/// A write that was sent and not answered yet. Counts as lost if it is dropped in that state.
#[derive(Debug)]
pub(super) struct InFlight<'a>(Option<&'a Fence>);

impl InFlight<'_> {
    /// Notes that the server has answered, one way or the other.
    pub(super) fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(fence) = self.0 {
            fence.lost.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Fence {
    pub(super) fn new(instance: &str, epoch: i64, incarnation: i32) -> Self {
        Self {
            instance: instance.into(),
            epoch,
            incarnation: AtomicI32::new(incarnation),
            lost: AtomicU64::new(0),
            settled: Mutex::new(0),
        }
    }

    pub(super) fn seen(&self) -> Seen {
        Seen {
            epoch: self.epoch,
            incarnation: self.incarnation.load(Ordering::SeqCst),
        }
    }

    pub(super) fn in_flight(&self) -> InFlight<'_> {
        InFlight(Some(self))
    }

    /// Takes note of the fence's row as somebody read it.
    pub(super) fn refresh(&self, row: Option<(i64, i32)>) -> Result<(), JournalError> {
        match row {
            Some((epoch, incarnation)) if epoch == self.epoch => {
                self.incarnation.fetch_max(incarnation, Ordering::SeqCst);
                Ok(())
            }
            Some(_) | None => Err(JournalError::Fenced),
        }
    }

    /// Makes sure that nothing more comes of lost connections.
    pub(super) async fn settle(&self, pool: &PgPool) -> Result<(), JournalError> {
        let mut settled = self.settled.lock().await;
        let lost = self.lost.load(Ordering::SeqCst);
        if *settled == lost {
            return Ok(());
        }
        let row = sqlx::query_as(
            "update saga.replica set incarnation = incarnation + 1
             where id = $1 and epoch = $2
             returning epoch, incarnation",
        )
        .bind(&*self.instance)
        .bind(self.epoch)
        .fetch_optional(pool)
        .await
        .map_err(unknown)?;
        self.refresh(row)?;
        *settled = lost;
        Ok(())
    }
}

/// Wraps what went wrong in a statement.
pub(super) fn unknown(error: sqlx::Error) -> JournalError {
    JournalError::Unknown(Box::new(error))
}

/// Returns a duration for the database, in milliseconds.
pub(super) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
