//! The orderly end.

use super::{Engine, Stopped};
use crate::journal::{Journal, JournalError};
use crate::participants::{Clock, Participants};

/// Longest wait for the journal to take the resignation, in milliseconds.
const RESIGN_MS: u64 = 2_000;

impl<J: Journal, P: Participants, C: Clock> Engine<J, P, C> {
    /// Gives the lease up.
    ///
    /// If the journal does not answer, or the process dies first, others wait until the lease has run out: that is all. What
    /// is still under way is dropped before: a call that outlived the drain is repeated by whoever goes on, under its
    /// number; a heartbeat must not renew the lease after it was given up.
    pub(super) async fn resign(self) -> Result<(), Stopped> {
        let Self {
            journal, clock, work, ..
        } = self;
        drop(work);
        let at = clock.now().plus(RESIGN_MS);
        tokio::select! {
            resigned = journal.resign() => match resigned {
                Ok(()) => Ok(()),
                Err(JournalError::Fenced) => Err(Stopped::Fenced),
                Err(JournalError::Unknown(source)) => {
                    tracing::warn!(error = %source, "the lease could not be given up; it runs out by itself");
                    Ok(())
                }
            },
            () = clock.sleep_until(at) => {
                tracing::warn!("the lease could not be given up in time; it runs out by itself");
                Ok(())
            }
        }
    }
}
