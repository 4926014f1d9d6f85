//! Places at participants: each has so many, a queue of its own for what finds none, and a circuit breaker.
//!
//! Calls that wait here hold no place of the engine's own, so a participant that hangs keeps nobody waiting but those who
//! want it. Within a queue the order is that of arrival.

use std::collections::VecDeque;
use std::sync::Arc;

use ids::SagaId;
use saga_core::{Millis, OpKey};

use super::breaker::{Breaker, BreakerConfig, Circuit, Verdict};
use crate::participants::{Participant, ParticipantId, ParticipantStatus};

/// Stale entries of a queue that are not worth a rebuild.
const SLACK: usize = 1_024;

/// The gates of all participants.
#[derive(Debug)]
pub(super) struct Gates {
    gates: Vec<Gate>,
    tickets: u64,
}

#[derive(Debug)]
struct Gate {
    name: Arc<str>,
    limit: usize,
    in_flight: usize,
    /// Valid entries of the queue; others are of sagas that have gone, or of operations that are not wanted any more.
    waiting: usize,
    queue: VecDeque<Ticket>,
    breaker: Breaker,
}

/// An entry of a queue. It is valid as long as the saga has a [`Waiting`] with its number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    pub(super) number: u64,
    pub(super) saga: SagaId,
}

/// What a saga keeps of its place in a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) ticket: u64,
    pub(super) key: OpKey,
    pub(super) participant: ParticipantId,
    /// When the call was due.
    pub(super) since: Millis,
}

/// A place that a call holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    participant: ParticipantId,
    trial: bool,
}

impl Gates {
    /// `limit` is the number of places of a participant that says nothing else. The places of all participants together
    /// are at most `max_calls`, unless there are more participants than that: each then still has one.
    pub(super) fn new(
        participants: Vec<Participant>,
        limit: usize,
        max_calls: usize,
        breaker: BreakerConfig,
    ) -> Self {
        let share = max_calls / participants.len().max(1);
        let gates = participants.into_iter().map(|participant| Gate {
            name: participant.name,
            limit: participant.limit.unwrap_or(limit).min(share).max(1),
            in_flight: 0,
            waiting: 0,
            queue: VecDeque::new(),
            breaker: Breaker::new(breaker),
        });
        Self {
            gates: gates.collect(),
            tickets: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.gates.len()
    }

    /// Tells whether a call that has just become due may go out. Nobody overtakes those who wait.
    pub(super) fn admits_newcomer(&self, participant: ParticipantId, now: Millis) -> bool {
        self.gates
            .get(participant.0)
            .is_none_or(|gate| gate.waiting == 0 && gate.has_place(now))
    }

    /// Tells whether the first in the queue may go out.
    pub(super) fn admits_waiting(&self, participant: ParticipantId, now: Millis) -> bool {
        self.gates
            .get(participant.0)
            .is_some_and(|gate| gate.waiting > 0 && gate.has_place(now))
    }

    pub(super) fn enter(&mut self, participant: ParticipantId) -> Place {
        let trial = self.gates.get_mut(participant.0).is_some_and(|gate| {
            gate.in_flight += 1;
            gate.breaker.called()
        });
        Place { participant, trial }
    }

    /// Gives a place back.
    pub(super) fn leave(&mut self, place: Place, verdict: Verdict, now: Millis) {
        let Some(gate) = self.gates.get_mut(place.participant.0) else {
            return;
        };
        gate.in_flight = gate.in_flight.saturating_sub(1);
        let before = gate.breaker.circuit();
        gate.breaker.ended(now, place.trial, verdict);
        let after = gate.breaker.circuit();
        match (before, after) {
            (Circuit::Closed, Circuit::Open { .. }) => {
                tracing::warn!(
                    participant = &*gate.name,
                    "the participant does not answer; calls are held back"
                );
            }
            (Circuit::HalfOpen, Circuit::Closed) => {
                tracing::info!(participant = &*gate.name, "the participant answers again");
            }
            (Circuit::Closed | Circuit::HalfOpen | Circuit::Open { .. }, _) => {}
        }
    }

    /// Puts a call at the end of its participant's queue.
    pub(super) fn queue(
        &mut self,
        participant: ParticipantId,
        saga: SagaId,
        key: OpKey,
        since: Millis,
    ) -> Waiting {
        self.tickets += 1;
        let ticket = self.tickets;
        if let Some(gate) = self.gates.get_mut(participant.0) {
            gate.queue.push_back(Ticket { number: ticket, saga });
            gate.waiting += 1;
        }
        Waiting {
            ticket,
            key,
            participant,
            since,
        }
    }

    /// Takes the first entry of a queue. It may be stale; if not, the caller says so with [`Gates::left_queue`].
    pub(super) fn next(&mut self, participant: ParticipantId) -> Option<Ticket> {
        let gate = self.gates.get_mut(participant.0)?;
        let ticket = gate.queue.pop_front();
        if ticket.is_none() {
            gate.waiting = 0;
        }
        ticket
    }

    /// Notes that somebody waits no more; the entry in the queue may still be there.
    pub(super) fn left_queue(&mut self, waiting: Waiting) {
        if let Some(gate) = self.gates.get_mut(waiting.participant.0) {
            gate.waiting = gate.waiting.saturating_sub(1);
        }
    }

    /// Drops stale entries once they outnumber the valid ones.
    pub(super) fn tidy(&mut self, is_valid: impl Fn(&Ticket) -> bool) {
        for gate in &mut self.gates {
            if gate.queue.len() > SLACK + 4 * gate.waiting {
                gate.queue.retain(&is_valid);
            }
        }
    }

    /// Returns when an open circuit lets a waiting call through.
    pub(super) fn alarm(&self) -> Option<Millis> {
        let open = self.gates.iter().filter(|gate| gate.waiting > 0);
        open.filter_map(|gate| match gate.breaker.circuit() {
            Circuit::Open { until } => Some(until),
            Circuit::Closed | Circuit::HalfOpen => None,
        })
        .min()
    }

    pub(super) fn name(&self, participant: ParticipantId) -> Arc<str> {
        self.gates
            .get(participant.0)
            .map_or_else(|| "".into(), |gate| Arc::clone(&gate.name))
    }

    /// Returns the participant's circuit, its calls in flight, and how many wait.
    pub(super) fn numbers(&self, participant: ParticipantId) -> (Circuit, usize, usize) {
        self.gates
            .get(participant.0)
            .map_or((Circuit::Closed, 0, 0), |gate| {
                (gate.breaker.circuit(), gate.in_flight, gate.waiting)
            })
    }

    pub(super) fn status(&self) -> impl Iterator<Item = ParticipantStatus> + '_ {
        self.gates.iter().map(|gate| ParticipantStatus {
            name: Arc::clone(&gate.name),
            circuit: gate.breaker.circuit(),
            in_flight: gate.in_flight,
            limit: gate.limit,
            waiting: gate.waiting,
        })
    }
}

impl Place {
    pub(super) fn participant(self) -> ParticipantId {
        self.participant
    }
}

impl Gate {
    fn has_place(&self, now: Millis) -> bool {
        self.in_flight < self.limit && self.breaker.admits(now)
    }
}
