//! What the API asks for.

use std::collections::HashSet;
use std::sync::Arc;

use ids::SagaId;
use saga_core::{Command, Input};

use super::live::{Live, OnDurable, Told, Waiter};
use super::{Engine, refuse};
use crate::handle::{Answer, OperatorRequest, Request, RequestError, Status, Until};
use crate::journal::{Journal, NewSaga};
use crate::participants::{Clock, Participants};

impl<J: Journal, P: Participants, C: Clock> Engine<J, P, C> {
    pub(super) fn request(&mut self, request: Request) {
        match request {
            Request::Start { saga, durable, wait } => self.start(*saga, durable, wait),
            Request::Wait { saga, until, answer } => self.wait(saga, until, answer),
            Request::Cancel {
                saga,
                actor,
                note,
                answer,
            } => {
                let input = Input::Cancel { actor, note };
                let told = Told {
                    answer: Some(answer),
                    ..Told::plain(input)
                };
                self.tell(saga, told);
            }
            Request::Complete {
                saga,
                key,
                result,
                answer,
            } => {
                let told = Told {
                    answer: Some(answer),
                    ..Told::plain(Input::Completed { key, result })
                };
                self.tell(saga, told);
            }
            Request::Operate {
                saga,
                request,
                answer,
            } => self.operate(saga, *request, answer),
            Request::Release {
                saga,
                actor,
                note,
                expected_version,
                answer,
            } => self.release(saga, actor, note, expected_version, answer),
            Request::AskAgain { saga, answer } => {
                // Whoever asked may have gone.
                let _ = answer.send(self.hint(saga));
            }
            Request::PauseTypes { types, answer } => {
                let resumed = self.traffic.pause(types, self.clock.now());
                self.resume_types(&resumed);
                // Whoever asked may have gone.
                let _ = answer.send(());
            }
            Request::Status { answer } => {
                // Whoever asked may have gone.
                let _ = answer.send(self.status());
            }
        }
    }

    fn hint(&mut self, saga: SagaId) -> Result<(), RequestError> {
        if let Some(live) = self.live.get_mut(&saga) {
            live.hint();
            self.dispatch(saga);
            return Ok(());
        }
        if self.wake(saga) {
            self.reload_more(0);
        }
        self.recovery.forget_asks(saga);
        // Once it is loaded, everything that is pending is asked.
        if self.is_unknown(saga) {
            Err(RequestError::NotHere)
        } else {
            Ok(())
        }
    }

    fn status(&self) -> Status {
        let mut paused_types: Vec<Arc<str>> = self.traffic.paused_types().cloned().collect();
        paused_types.sort_unstable();
        Status {
            live: self.live.len(),
            passive: self.passive.len(),
            to_load: self.recovery.claimed.len(),
            calls: self.traffic.calls,
            alarms: self.timers.len(),
            leased: self.traffic.leased(self.clock.now()),
            participants: self.traffic.gates.status().collect(),
            paused_types,
        }
    }

    fn operate(&mut self, saga: SagaId, request: OperatorRequest, answer: Answer) {
        if request.command == Command::Acknowledge && self.is_unknown(saga) {
            // It may have ended. Then nobody drives it, and the journal alone is to know.
            return self.acknowledge_ended(saga, request, answer);
        }
        let input = Input::Operator {
            actor: request.actor,
            note: request.note,
            evidence: request.evidence,
            command: request.command,
        };
        let told = Told {
            expected_version: Some(request.expected_version),
            answer: Some(answer),
            ..Told::plain(input)
        };
        self.tell(saga, told);
    }

    /// Tells whether a saga is neither driven nor about to be.
    pub(super) fn is_unknown(&self, saga: SagaId) -> bool {
        !self.live.contains_key(&saga)
            && !self.passive.contains(saga)
            && !self.recovery.is_reloading(saga)
            && !self.recovery.parking.contains(&saga)
            && !self.recovery.unsettled.contains(&saga)
            && !self.recovery.claimed.contains(&saga)
    }

    fn tell(&mut self, saga: SagaId, told: Told) {
        match self.live.get_mut(&saga) {
            Some(live) => {
                live.inbox.push_back(told);
                self.pump(saga);
            }
            None => {
                let refused = self.tell_passive(saga, told);
                if let Some(answer) = refused.and_then(|told| told.answer) {
                    refuse(answer, RequestError::NotHere);
                }
            }
        }
    }

    fn start(&mut self, saga: NewSaga, durable: Answer, wait: Option<(Until, Answer)>) {
        if self.traffic.stopping {
            return refuse(durable, RequestError::Stopped);
        }
        // Those that wait to be loaded were there first.
        if self.room() <= self.recovery.claimed.len() {
            return refuse(durable, RequestError::Overloaded);
        }
        let id = saga.identity.id;
        if self.live.contains_key(&id) || self.passive.contains(id) {
            return refuse(
                durable,
                RequestError::Unwritable("the saga id is taken".to_owned()),
            );
        }
        self.generation += 1;
        let series = self.metrics.series(&saga.identity);
        let mut live = Live::starting(&saga, self.generation, series);
        live.on_durable.push(OnDurable::seen(durable));
        live.waiters
            .extend(wait.map(|(until, answer)| Waiter { until, answer }));
        live.writing = true;
        let creation = live.creation(saga);
        self.live.insert(id, Box::new(live));
        self.lanes.queue(creation);
    }

    /// Returns how many more sagas may be under way. Those that have left memory keep their place: all may come back at once.
    pub(super) fn room(&self) -> usize {
        let taken = self.live.len() + self.passive.len() + self.recovery.reloading();
        self.config.max_live.saturating_sub(taken)
    }

    pub(super) fn wait(&mut self, saga: SagaId, until: Until, answer: Answer) {
        if let Some(live) = self.live.get_mut(&saga) {
            live.waiters.push(Waiter { until, answer });
            if !live.writing {
                live.answer_waiters(&self.traffic);
            }
        } else if self.wake(saga) {
            self.recovery.wait(saga, Waiter { until, answer });
            self.reload_more(0);
        } else if self.recovery.is_reloading(saga) {
            self.recovery.wait(saga, Waiter { until, answer });
        } else {
            refuse(answer, RequestError::NotHere);
        }
    }

    /// Looks at every saga of types that are let go.
    pub(super) fn resume_types(&mut self, resumed: &HashSet<Arc<str>>) {
        if resumed.is_empty() {
            return;
        }
        let of_them = self
            .live
            .values()
            .filter(|live| resumed.contains(&live.identity.saga_type));
        let mut sagas: Vec<SagaId> = of_them.map(|live| live.id()).collect();
        // The oldest first, and the same order every time.
        sagas.sort_unstable();
        for saga in sagas {
            self.dispatch(saga);
        }
    }
}
