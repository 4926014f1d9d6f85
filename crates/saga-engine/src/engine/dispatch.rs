//! Sending what is due.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ids::SagaId;
use saga_core::{Due, Input, Millis};

use super::gates::{Place, Waiting};
use super::live::{InFlight, Told};
use super::{Engine, calls, panic_text};
use crate::journal::Journal;
use crate::participants::{Clock, ParticipantId, Participants};

/// What became of a due call.
enum Sent {
    /// It is in flight, or waits in its participant's queue.
    Cared,
    /// No call may go out at the moment.
    Held,
    /// It cannot even be made; the saga is parked.
    Parked,
}

impl<J: Journal, P: Participants, C: Clock> Engine<J, P, C> {
    /// Sends what is due of a durable state, and sets the alarm for the rest.
    pub(super) fn dispatch(&mut self, saga: SagaId) {
        self.dispatch_admitted(saga, None);
    }

    /// Like [`Engine::dispatch`]; `admitted` has waited for its place and has it now.
    fn dispatch_admitted(&mut self, saga: SagaId, admitted: Option<Waiting>) {
        let now = self.clock.now();
        let Some(live) = self.live.get_mut(&saga) else {
            return;
        };
        if live.writing {
            return;
        }
        live.answer_waiters(&self.traffic);
        let looked = catch_unwind(AssertUnwindSafe(|| live.ready(now)));
        let (mut ready, later) = match looked {
            Ok(found) => found,
            Err(panic) => return self.park(saga, panic_text(&*panic)),
        };
        let nothing_due = ready.is_empty();
        // First, or another call of this saga that has just become due could take the same place.
        let first = admitted.and_then(|waiting| ready.iter().position(|(due, _)| due.key == waiting.key));
        if let Some(first) = first {
            ready[..=first].rotate_right(1);
        }
        if !self.traffic.stopping && !self.traffic.is_paused(&live.identity.saga_type) {
            for (due, since) in ready {
                let admitted = admitted.filter(|waiting| waiting.key == due.key);
                match self.send(saga, due, since, admitted, now) {
                    Sent::Cared => {}
                    Sent::Held => {
                        self.hold(saga);
                        break;
                    }
                    Sent::Parked => return,
                }
            }
        }
        if let Some(live) = self.live.get_mut(&saga)
            && let Some(at) = later
        {
            self.timers.set(live, at);
        }
        // Of a type that is paused, something may be due all the same.
        if nothing_due {
            self.rest(saga, later);
        }
    }

    fn send(
        &mut self,
        saga: SagaId,
        due: Due,
        since: Millis,
        admitted: Option<Waiting>,
        now: Millis,
    ) -> Sent {
        if !self.traffic.open(now) {
            return Sent::Held;
        }
        let Some(live) = self.live.get_mut(&saga) else {
            return Sent::Parked;
        };
        let participants = &self.participants;
        let definition = live.identity.definition;
        let found = catch_unwind(AssertUnwindSafe(|| {
            participants.participant(definition, due.key, due.probe)
        }));
        let participant = match found {
            Ok(participant) => participant,
            Err(panic) => {
                self.park(saga, panic_text(&*panic));
                return Sent::Parked;
            }
        };
        let since = admitted.map_or(since, |waiting| waiting.since);
        let may_enter = |participant| match admitted {
            Some(waiting) if waiting.participant == participant => true,
            Some(_) | None => self.traffic.gates.admits_newcomer(participant, now),
        };
        if let Some(participant) = participant
            && !may_enter(participant)
        {
            live.waiting
                .push(self.traffic.gates.queue(participant, saga, due.key, since));
            self.show_gate(participant);
            return Sent::Cared;
        }
        let place = participant.map(|participant| self.traffic.gates.enter(participant));
        let made = catch_unwind(AssertUnwindSafe(|| {
            let call = calls::call(live, due, self.journal.epoch());
            calls::make(participants, &self.clock, live.generation, place, call)
        }));
        let work = match made {
            Ok(work) => work,
            Err(panic) => {
                self.leave(place, super::breaker::Verdict::Nothing, now);
                self.park(saga, panic_text(&*panic));
                return Sent::Parked;
            }
        };
        let repeated = due.attempt > 1 && !due.pending && !due.probe;
        let since = since.max(self.traffic.resumed_at());
        self.metrics
            .called(live.series, due.key, repeated, now.since(since));
        live.in_flight.push(InFlight {
            key: due.key,
            attempt: due.attempt,
        });
        self.traffic.calls += 1;
        self.work.push(work);
        if let Some(participant) = participant {
            self.show_gate(participant);
        }
        Sent::Cared
    }

    /// Gives the place of a call that has ended back.
    pub(super) fn leave(&mut self, place: Option<Place>, verdict: super::breaker::Verdict, now: Millis) {
        if let Some(place) = place {
            self.traffic.gates.leave(place, verdict, now);
            self.show_gate(place.participant());
        }
    }

    pub(super) fn show_gate(&mut self, participant: ParticipantId) {
        self.metrics
            .participant(participant, self.traffic.gates.numbers(participant));
    }

    /// Queues a saga that waits for a place among all calls, or for the lease.
    fn hold(&mut self, saga: SagaId) {
        if let Some(live) = self.live.get_mut(&saga).filter(|live| !live.held) {
            live.held = true;
            self.held.push_back(saga);
        }
    }

    /// Gives free places to those who wait: those of participants and those of the engine in turn first.
    pub(super) fn fill_places(&mut self) {
        self.held_first = !self.held_first;
        if self.held_first {
            self.release_held();
        }
        for participant in 0..self.traffic.gates.len() {
            self.serve(ParticipantId(participant));
        }
        if !self.held_first {
            self.release_held();
        }
    }

    /// Lets those who wait for a participant through as far as there are places.
    fn serve(&mut self, participant: ParticipantId) {
        let now = self.clock.now();
        while self.traffic.open(now) && self.traffic.gates.admits_waiting(participant, now) {
            let Some(ticket) = self.traffic.gates.next(participant) else {
                return self.show_gate(participant);
            };
            let waits = self.live.get_mut(&ticket.saga).and_then(|live| {
                let position = live
                    .waiting
                    .iter()
                    .position(|waiting| waiting.ticket == ticket.number)?;
                Some(live.waiting.swap_remove(position))
            });
            if let Some(waiting) = waits {
                self.traffic.gates.left_queue(waiting);
                self.dispatch_admitted(ticket.saga, Some(waiting));
                self.show_gate(participant);
            }
        }
    }

    /// Gives sagas that waited for a place or for the lease another look.
    fn release_held(&mut self) {
        let now = self.clock.now();
        let mut looks = self.held.len();
        while looks > 0 && self.traffic.open(now) {
            looks -= 1;
            let Some(saga) = self.held.pop_front() else { return };
            if let Some(live) = self.live.get_mut(&saga) {
                live.held = false;
                self.dispatch(saga);
            }
        }
    }

    /// Gives up the places in queues that a saga's operations wait for and do not want any more.
    pub(super) fn leave_queues(&mut self, saga: SagaId) {
        let Some(live) = self.live.get_mut(&saga).filter(|live| !live.waiting.is_empty()) else {
            return;
        };
        for waiting in live.unwanted() {
            self.traffic.gates.left_queue(waiting);
            self.show_gate(waiting.participant);
        }
    }

    /// Returns when something is to be looked at, whatever else happens.
    pub(super) fn next_alarm(&self) -> Option<Millis> {
        // While no call may go out, an open circuit is not what is waited for.
        let gates = if self.traffic.open(self.clock.now()) {
            self.traffic.gates.alarm()
        } else {
            None
        };
        self.timers.next().into_iter().chain(gates).min()
    }

    pub(super) fn fire_timers(&mut self) {
        let now = self.clock.now();
        while let Some((at, saga)) = self.timers.pop(now) {
            if self.wake_by_alarm(saga, at) {
                continue;
            }
            let Some(live) = self.live.get_mut(&saga).filter(|live| live.wake_at == Some(at)) else {
                continue;
            };
            live.wake_at = None;
            let alarm = live.state.alarm_at(&live.identity.plan);
            if alarm.is_some_and(|at| at <= now) {
                live.inbox.push_back(Told::plain(Input::Tick));
            }
            self.pump(saga);
        }
        self.reload_more(0);
        self.fill_places();
    }
}
