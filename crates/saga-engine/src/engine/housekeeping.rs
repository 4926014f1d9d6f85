//! What goes on for ever: the lease, the listing of this instance's sagas, the look for instances that died.

use std::sync::Arc;

use ids::SagaId;
use saga_core::Millis;

use super::recovery::RETRY_MS;
use super::{Done, Engine, millis};
use crate::journal::{Beat, Journal, JournalError};
use crate::participants::{Clock, Participants};

/// So many chunks of sagas are listed ahead of those that are loaded.
const LISTED_CHUNKS: usize = 4;

impl<J: Journal, P: Participants, C: Clock> Engine<J, P, C> {
    /// Starts what goes on for ever: the lease, the first listing, the look for dead instances.
    pub(super) fn start_housekeeping(&mut self) {
        self.beat(0);
        self.list_owned(0);
        self.look_for_dead(millis(self.config.takeover_scan));
    }

    fn beat(&mut self, wait_ms: u64) {
        let (journal, clock) = (Arc::clone(&self.journal), Arc::clone(&self.clock));
        let at = self.clock.now().plus(wait_ms);
        self.work.push(Box::pin(async move {
            clock.sleep_until(at).await;
            // The lease counts from before the renewal, so it is never thought longer than it is.
            let began = clock.now();
            Done::Beat {
                began,
                result: journal.beat().await,
            }
        }));
    }

    pub(super) fn beat_done(&mut self, began: Millis, result: Result<Beat, JournalError>) {
        let now = self.clock.now();
        let wait = if let Some(Beat { paused_types }) = self.journal_ok(result) {
            self.traffic.lease_until = began.plus(millis(self.config.lease));
            let resumed = self.traffic.pause_by_beat(paused_types, began, now);
            self.resume_types(&resumed);
            millis(self.config.heartbeat)
        } else {
            RETRY_MS
        };
        self.metrics.show_ages(now, |saga| {
            self.live.contains_key(&saga) || self.passive.contains(saga) || self.recovery.is_reloading(saga)
        });
        self.beat(wait);
        self.claim_more();
        self.fill_places();
    }

    fn list_owned(&mut self, wait_ms: u64) {
        self.recovery.listing = true;
        let (journal, clock) = (Arc::clone(&self.journal), Arc::clone(&self.clock));
        let (after, limit) = (self.recovery.listed_until, self.config.load_chunk);
        let at = self.clock.now().plus(wait_ms);
        self.work.push(Box::pin(async move {
            clock.sleep_until(at).await;
            Done::Owned {
                result: journal.owned(after, limit).await,
            }
        }));
    }

    pub(super) fn owned(&mut self, result: Result<Vec<(SagaId, u32)>, JournalError>) {
        self.recovery.listing = false;
        let Some(listed) = self.journal_ok(result) else {
            return self.list_owned(RETRY_MS);
        };
        match listed.last() {
            Some((last, _)) => self.recovery.listed_until = Some(*last),
            None => self.recovery.listed_all = true,
        }
        self.claim(listed.into_iter().map(|(saga, _)| saga));
        self.list_more();
    }

    /// Lists the next chunk, unless those listed already are more than are loaded soon.
    pub(super) fn list_more(&mut self) {
        let recovery = &self.recovery;
        let enough = recovery.to_claim.len() >= self.config.load_chunk.saturating_mul(LISTED_CHUNKS);
        if !recovery.listed_all && !recovery.listing && !enough && !self.traffic.stopping {
            self.list_owned(0);
        }
    }

    fn look_for_dead(&mut self, wait_ms: u64) {
        let room = self.room().saturating_sub(self.recovery.claimed.len());
        let limit = self.config.load_chunk.min(room);
        let (journal, clock) = (Arc::clone(&self.journal), Arc::clone(&self.clock));
        let at = self.clock.now().plus(wait_ms);
        self.work.push(Box::pin(async move {
            clock.sleep_until(at).await;
            let result = if limit == 0 {
                // Whoever begins a takeover keeps others from it, so it is for somebody with room.
                Ok(Vec::new())
            } else {
                journal.take_over(limit).await
            };
            Done::TakenOver { result }
        }));
    }

    pub(super) fn taken_over(&mut self, result: Result<Vec<SagaId>, JournalError>) {
        let taken = self.journal_ok(result).unwrap_or_default();
        if self.traffic.stopping {
            // What was taken goes to others with the rest.
            return;
        }
        // There may be another chunk.
        let wait = if taken.is_empty() {
            millis(self.config.takeover_scan)
        } else {
            0
        };
        if !taken.is_empty() {
            tracing::info!(sagas = taken.len(), "took over sagas of an instance that died");
        }
        self.claim(taken.into_iter());
        self.look_for_dead(wait);
    }
}
