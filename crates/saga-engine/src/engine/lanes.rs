//! Writers: group commit without lingering.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use ids::SagaId;
use saga_core::Phase;

use super::live::OnDurable;
use super::{Done, Engine, refuse, seen_elsewhere, soundness};
use crate::handle::RequestError;
use crate::journal::{Fate, Journal, JournalError, Transition};
use crate::participants::{Clock, Participants};

/// Queues of transitions, one a writer. While a batch is being written the next one gathers.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    max_batch: usize,
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Transition>,
    writing: bool,
}

impl Lanes {
    pub(super) fn new(lanes: usize, max_batch: usize) -> Self {
        let lanes = (0..lanes.clamp(1, 16)).map(|_| Lane::default()).collect();
        Self {
            lanes,
            max_batch: max_batch.max(1),
        }
    }

    pub(super) fn queue(&mut self, transition: Transition) {
        let mut hasher = DefaultHasher::new();
        transition.identity.id.hash(&mut hasher);
        let count = u64::try_from(self.lanes.len()).unwrap_or(1);
        let lane = usize::try_from(hasher.finish() % count).unwrap_or(0);
        self.lanes[lane].queue.push_back(transition);
    }

    pub(super) fn idle(&self) -> bool {
        self.lanes
            .iter()
            .all(|lane| lane.queue.is_empty() && !lane.writing)
    }

    /// Takes a batch for each lane that is not writing and has something to write.
    fn take_batches(&mut self) -> Vec<(usize, Vec<Transition>)> {
        let mut batches = Vec::new();
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            if lane.writing || lane.queue.is_empty() {
                continue;
            }
            lane.writing = true;
            let size = lane.queue.len().min(self.max_batch);
            batches.push((number, lane.queue.drain(..size).collect()));
        }
        batches
    }

    fn written(&mut self, lane: usize) {
        self.lanes[lane].writing = false;
    }
}

impl<J: Journal, P: Participants, C: Clock> Engine<J, P, C> {
    pub(super) fn write_batches(&mut self) {
        if self.fenced {
            return;
        }
        for (lane, batch) in self.lanes.take_batches() {
            let journal = Arc::clone(&self.journal);
            self.metrics.batch(batch.len());
            self.work.push(Box::pin(async move {
                let result = journal.append(lane, &batch).await;
                Done::Appended { lane, batch, result }
            }));
        }
    }

    pub(super) fn appended(
        &mut self,
        lane: usize,
        batch: Vec<Transition>,
        result: Result<Vec<Fate>, JournalError>,
    ) {
        self.lanes.written(lane);
        self.settled(&batch);
        if let Err(JournalError::Fenced) = &result {
            self.metrics.fenced();
        }
        let Some(fates) = self.journal_ok(result) else {
            // Answer nobody with a result that may not last; what is durable decides (rule 8).
            return self.reload(batch);
        };
        // Before what follows makes calls, each of which takes its time: the journal does not wait for them.
        self.write_batches();
        for (transition, fate) in batch.into_iter().zip(fates) {
            let (saga, starts) = (transition.identity.id, transition.start.is_some());
            // A saga that comes to rest holds its identity alone.
            drop(transition);
            match fate {
                Fate::Durable => self.durable(saga, starts),
                Fate::Exists(existing) => self.started_before(saga, existing),
                Fate::InputMismatch(existing) => {
                    self.never_started(saga, &RequestError::InputMismatch(existing));
                }
                Fate::Unwritable(why) if starts => {
                    self.never_started(saga, &RequestError::Unwritable(why));
                }
                Fate::Unwritable(why) => self.park(saga, format!("the journal cannot hold it: {why}")),
            }
        }
    }

    /// Notes that writes of sagas that were parked meanwhile have ended.
    fn settled(&mut self, batch: &[Transition]) {
        if self.recovery.unsettled.is_empty() {
            return;
        }
        for transition in batch {
            let saga = transition.identity.id;
            let ended = transition.row.as_ref().is_some_and(|row| row.phase.is_ended());
            if self.recovery.unsettled.remove(&saga) && ended {
                // If it was written, there is nothing left to park; if not, loading it shows that it is parked.
                self.show_unparked(saga);
            }
        }
    }

    fn durable(&mut self, saga: SagaId, created: bool) {
        let Some(live) = self.live.get_mut(&saga) else {
            return;
        };
        live.writing = false;
        let phase = live.state.phase();
        let series = live.series;
        let mut counted = live
            .counted
            .unwrap_or_else(|| self.metrics.started(series, Phase::Running, &live.identity));
        if !phase.is_ended() {
            self.metrics.changed(&mut counted, phase, &live.row().attention);
        }
        live.counted = Some(counted);
        for OnDurable { answer, given_up } in std::mem::take(&mut live.on_durable) {
            let result = if given_up {
                Err(RequestError::GivenUp)
            } else {
                Ok(live.seen(created, true, &self.traffic))
            };
            // Whoever asked may have gone.
            let _ = answer.send(result);
        }
        match phase {
            Phase::Completed | Phase::Compensated | Phase::Resolved => {
                soundness::check(&self.metrics, live);
                live.answer_waiters(&self.traffic);
                if let Some(live) = self.remove(saga) {
                    let started = live.identity.start.at;
                    if let Some(counted) = live.counted {
                        self.metrics
                            .ended(counted, phase, live.changed_at().since(started));
                    }
                    let version = live.version();
                    for told in live.inbox {
                        let error = match told.expected_version {
                            Some(_) => RequestError::Changed { version },
                            None => RequestError::Ended,
                        };
                        told.answer
                            .into_iter()
                            .for_each(|answer| refuse(answer, error.clone()));
                    }
                }
                self.progressed(saga);
                self.claim_more();
            }
            Phase::Running | Phase::Compensating => {
                self.progressed(saga);
                self.pump(saga);
            }
        }
    }

    /// The business key was taken by a saga with the same input: that one is the answer.
    fn started_before(&mut self, saga: SagaId, existing: SagaId) {
        let Some(newcomer) = self.remove(saga) else {
            return;
        };
        for waiter in newcomer.waiters {
            self.wait(existing, waiter.until, waiter.answer);
        }
        for OnDurable { answer, .. } in newcomer.on_durable {
            let seen = match self.live.get(&existing) {
                Some(live) if !live.writing => live.seen(false, true, &self.traffic),
                Some(_) | None => seen_elsewhere(existing),
            };
            // Whoever asked may have gone.
            let _ = answer.send(Ok(seen));
        }
    }

    fn never_started(&mut self, saga: SagaId, error: &RequestError) {
        let Some(live) = self.remove(saga) else {
            return;
        };
        for answer in live
            .on_durable
            .into_iter()
            .map(|on_durable| on_durable.answer)
            .chain(live.waiters.into_iter().map(|w| w.answer))
        {
            refuse(answer, error.clone());
        }
    }
}
