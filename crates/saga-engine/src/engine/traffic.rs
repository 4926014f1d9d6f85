//! What decides whether calls may go out: lease, places, gates, paused types.

use std::collections::HashSet;
use std::sync::Arc;

use saga_core::Millis;

use super::Config;
use super::breaker::Circuit;
use super::gates::Gates;
use super::live::Live;
use crate::handle::Wait;
use crate::participants::Participant;
use saga_core::OpKey;

/// What decides whether calls may go out.
#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) gates: Gates,
    pub(super) lease_until: Millis,
    /// Calls in flight.
    pub(super) calls: usize,
    pub(super) stopping: bool,
    max_calls: usize,
    paused: HashSet<Arc<str>>,
    /// When the paused types were last told by this instance itself: a beat that began before brings older news.
    paused_at: Millis,
    /// When a type was last let go: calls that became due before could not go out then.
    resumed_at: Millis,
}

impl Traffic {
    pub(super) fn new(config: &Config, participants: Vec<Participant>) -> Self {
        Self {
            gates: Gates::new(
                participants,
                config.participant_limit,
                config.max_calls,
                config.breaker,
            ),
            // Not before the first beat: only then is it known how long the lease lasts, and which types are paused.
            lease_until: Millis(i64::MIN),
            calls: 0,
            stopping: false,
            max_calls: config.max_calls,
            paused: HashSet::new(),
            paused_at: Millis(i64::MIN),
            resumed_at: Millis(i64::MIN),
        }
    }

    pub(super) fn leased(&self, now: Millis) -> bool {
        now < self.lease_until
    }

    /// Tells whether another call may go out at all.
    pub(super) fn open(&self, now: Millis) -> bool {
        self.leased(now) && self.calls < self.max_calls && !self.stopping
    }

    pub(super) fn is_paused(&self, saga_type: &str) -> bool {
        // Hardly ever is anything paused.
        !self.paused.is_empty() && self.paused.contains(saga_type)
    }

    pub(super) fn paused_types(&self) -> impl Iterator<Item = &Arc<str>> {
        self.paused.iter()
    }

    /// Takes note of which types are paused, told at `now`; returns those that are let go.
    pub(super) fn pause(&mut self, types: Vec<Arc<str>>, now: Millis) -> HashSet<Arc<str>> {
        self.paused_at = now;
        self.set_paused(types, now)
    }

    /// Takes note of what a beat that began at `began` brought; returns the types that are let go.
    pub(super) fn pause_by_beat(
        &mut self,
        types: Vec<Arc<str>>,
        began: Millis,
        now: Millis,
    ) -> HashSet<Arc<str>> {
        if began <= self.paused_at {
            return HashSet::new();
        }
        self.set_paused(types, now)
    }

    fn set_paused(&mut self, types: Vec<Arc<str>>, now: Millis) -> HashSet<Arc<str>> {
        if types.is_empty() && self.paused.is_empty() {
            return HashSet::new();
        }
        let before = std::mem::replace(&mut self.paused, types.into_iter().collect());
        for saga_type in self.paused.difference(&before) {
            tracing::info!(
                saga_type = &**saga_type,
                "the type is paused: its sagas make no calls"
            );
        }
        let resumed: HashSet<Arc<str>> = before.difference(&self.paused).cloned().collect();
        for saga_type in &resumed {
            tracing::info!(saga_type = &**saga_type, "the type goes on");
            self.resumed_at = now;
        }
        resumed
    }

    pub(super) fn resumed_at(&self) -> Millis {
        self.resumed_at
    }

    /// Tells what each open operation of a saga waits for.
    pub(super) fn waits(&self, live: &Live) -> Vec<(OpKey, Wait)> {
        let type_paused = self.is_paused(&live.identity.saga_type);
        live.open_operations()
            .map(|(key, open)| {
                let wait = if live.is_in_flight(key) {
                    Wait::Answer
                } else if let Some(until) = open.drain_until {
                    Wait::Drain { until }
                } else if live.state.paused().is_some() {
                    Wait::Paused
                } else if type_paused {
                    Wait::TypePaused
                } else if let Some(waiting) = live.waiting.iter().find(|waiting| waiting.key == key) {
                    let participant = self.gates.name(waiting.participant);
                    match self.gates.numbers(waiting.participant).0 {
                        Circuit::Closed => Wait::Place { participant },
                        Circuit::HalfOpen => Wait::Circuit {
                            participant,
                            until: None,
                        },
                        Circuit::Open { until } => Wait::Circuit {
                            participant,
                            until: Some(until),
                        },
                    }
                } else if live.held {
                    Wait::Instance
                } else if let Some(at) = live.ask_at(key) {
                    Wait::AskAgain { at }
                } else if let Some(at) = open.next_at {
                    Wait::Retry { at }
                } else {
                    Wait::Answer
                };
                (key, wait)
            })
            .collect()
    }
}
