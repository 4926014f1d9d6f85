//! When to stop calling a participant that does not answer.

use std::time::Duration;

use saga_core::Millis;

use super::millis;

/// Settings of the circuit breakers.
#[derive(Debug, Clone, Copy)]
pub struct BreakerConfig {
    /// Failures in a row that open the circuit. A failure is a call that never left, or one that was not answered in time
    /// or by a participant that is not there; whatever a participant says itself is an answer.
    pub failures: u32,
    /// How long it stays open the first time.
    pub open: Duration,
    /// How long it stays open at most: the time doubles with every trial that fails.
    pub max_open: Duration,
}

impl Default for BreakerConfig {
    /// Opens after 20 failures in a row, for 1 s, doubling to 30 s.
    fn default() -> Self {
        Self {
            failures: 20,
            open: Duration::from_secs(1),
            max_open: Duration::from_secs(30),
        }
    }
}

/// Where a circuit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// Calls go out.
    Closed,
    /// One call is let through, to see.
    HalfOpen,
    /// Calls are held back until this instant.
    Open {
        /// When one is let through.
        until: Millis,
    },
}

/// What a call says about its participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is there and answers, whatever the answer is.
    Answers,
    /// It is not there, or silent.
    Silent,
    /// Nothing: the call did not get as far.
    Nothing,
}

/// A circuit breaker. Pure: instants come in as data.
#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Millis, wait_ms: u64 },
    // The wait that was over when the trial began.
    Trial { wait_ms: u64 },
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            state: State::Closed { failures: 0 },
        }
    }

    /// Tells whether a call may go out.
    pub(super) fn admits(&self, now: Millis) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until, .. } => until <= now,
            State::Trial { .. } => false,
        }
    }

    /// Notes that a call goes out, which [`Breaker::admits`] allowed; returns whether it is the trial.
    pub(super) fn called(&mut self) -> bool {
        match self.state {
            State::Closed { .. } => false,
            State::Open { wait_ms, .. } => {
                self.state = State::Trial { wait_ms };
                true
            }
            State::Trial { .. } => true,
        }
    }

    /// Notes how a call ended. While the circuit is not closed only the trial counts: calls that went out before it opened
    /// say nothing new.
    pub(super) fn ended(&mut self, now: Millis, trial: bool, verdict: Verdict) {
        self.state = match (self.state, verdict) {
            (State::Closed { .. }, Verdict::Answers) => State::Closed { failures: 0 },
            (State::Closed { failures }, Verdict::Silent)
                if failures.saturating_add(1) >= self.config.failures =>
            {
                self.open(now, millis(self.config.open))
            }
            (State::Closed { failures }, Verdict::Silent) => State::Closed {
                failures: failures.saturating_add(1),
            },
            (State::Trial { .. }, Verdict::Answers) if trial => State::Closed { failures: 0 },
            (State::Trial { wait_ms }, Verdict::Silent) if trial => self.open(now, wait_ms.saturating_mul(2)),
            // The trial told nothing: the next call is one.
            (State::Trial { wait_ms }, Verdict::Nothing) if trial => State::Open { until: now, wait_ms },
            (unchanged @ (State::Closed { .. } | State::Open { .. } | State::Trial { .. }), _) => unchanged,
        };
    }

    fn open(&self, now: Millis, wait_ms: u64) -> State {
        let wait_ms = wait_ms.min(millis(self.config.max_open));
        State::Open {
            until: now.plus(wait_ms),
            wait_ms,
        }
    }

    pub(super) fn circuit(&self) -> Circuit {
        match self.state {
            State::Closed { .. } => Circuit::Closed,
            State::Open { until, .. } => Circuit::Open { until },
            State::Trial { .. } => Circuit::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: BreakerConfig = BreakerConfig {
        failures: 3,
        open: Duration::from_millis(100),
        max_open: Duration::from_millis(350),
    };

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(CONFIG);
        for _ in 0..3 {
            assert!(breaker.admits(Millis(0)));
            breaker.called();
            breaker.ended(Millis(0), false, Verdict::Silent);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_starts_the_count_again() {
        let mut breaker = Breaker::new(CONFIG);
        for verdict in [
            Verdict::Silent,
            Verdict::Silent,
            Verdict::Answers,
            Verdict::Silent,
            Verdict::Nothing,
            Verdict::Silent,
        ] {
            breaker.ended(Millis(0), false, verdict);
            assert_eq!(breaker.circuit(), Circuit::Closed);
        }
        breaker.ended(Millis(7), false, Verdict::Silent);
        assert_eq!(breaker.circuit(), Circuit::Open { until: Millis(107) });
        assert!(!breaker.admits(Millis(106)));
        assert!(breaker.admits(Millis(107)));
    }

    #[test]
    fn one_call_is_let_through_and_its_answer_closes_the_circuit() {
        let mut breaker = opened();
        assert!(breaker.called(), "the trial");
        assert!(!breaker.admits(Millis(100_000)));
        // Calls that went out before decide nothing.
        breaker.ended(Millis(150), false, Verdict::Answers);
        breaker.ended(Millis(150), false, Verdict::Silent);
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        breaker.ended(Millis(200), true, Verdict::Answers);
        assert_eq!(breaker.circuit(), Circuit::Closed);
    }

    #[test]
    fn every_trial_that_fails_doubles_the_wait_up_to_the_limit() {
        let mut breaker = opened();
        let mut now = Millis(100);
        for wait_ms in [200, 350, 350] {
            assert!(breaker.admits(now) && breaker.called());
            breaker.ended(now, true, Verdict::Silent);
            assert_eq!(
                breaker.circuit(),
                Circuit::Open {
                    until: now.plus(wait_ms)
                }
            );
            now = now.plus(wait_ms);
        }
    }

    #[test]
    fn a_trial_that_tells_nothing_is_followed_by_another_at_once() {
        let mut breaker = opened();
        breaker.called();
        breaker.ended(Millis(100), true, Verdict::Nothing);
        assert!(breaker.admits(Millis(100)));
        assert!(breaker.called());
    }

    proptest! {
        /// Whatever happens, a circuit is never stuck: once its calls have ended there is an instant from which it admits.
        #[test]
        fn it_always_admits_again(steps in prop::collection::vec((0u8..3, 0u64..500), 0..200)) {
            let mut breaker = Breaker::new(CONFIG);
            let mut now = Millis(0);
            for (verdict, passed) in steps {
                now = now.plus(passed);
                let verdict = [Verdict::Answers, Verdict::Silent, Verdict::Nothing][usize::from(verdict)];
                if breaker.admits(now) {
                    let trial = breaker.called();
                    prop_assert_eq!(trial, breaker.circuit() == Circuit::HalfOpen);
                    breaker.ended(now, trial, verdict);
                }
            }
            prop_assert!(breaker.admits(now.plus(350)));
        }
    }
}
