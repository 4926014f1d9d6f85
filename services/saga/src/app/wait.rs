//! WaitSaga, and the waiting that StartSaga may ask for.

use std::time::Duration;

use ids::SagaId;
use proto::saga::v1::{self as pb, wait_until};
use saga_core::{Op, OpKey, OpState, Phase, Plan, State};
use saga_engine::{RequestError, Until};
use tokio::time::Instant;

use crate::app::{App, Caller, Error, read};

/// Longest wait that a caller may ask for.
const MAX_WAIT: Duration = Duration::from_secs(60);
const DEFAULT_WAIT: Duration = Duration::from_secs(10);
/// How often a saga that another instance drives is looked at: after a quarter of the time that it was waited for, within these
/// bounds. Most of them have just moved, and their callers were not to notice.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The end of this step.
    Step(String),
    /// The end of the saga.
    End,
    /// A change after this version.
    NewerThan(u32),
}

/// What to wait for, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) goal: Goal,
    pub(crate) bound: Duration,
}

impl Wait {
    pub(crate) fn parse(wait: pb::WaitUntil) -> Result<Self, Error> {
        let goal = match wait.until {
            Some(wait_until::Until::Step(step)) => Goal::Step(step),
            Some(wait_until::Until::End(true)) => Goal::End,
            Some(wait_until::Until::NewerThan(version)) => Goal::NewerThan(version),
            Some(wait_until::Until::End(false)) | None => {
                return Err(Error::invalid(
                    "wait.until",
                    "must name a step, the end (true), or a version",
                ));
            }
        };
        let bound = match wait.timeout {
            None => DEFAULT_WAIT,
            Some(timeout) => Duration::try_from(timeout)
                .ok()
                .filter(|bound| *bound <= MAX_WAIT)
                .ok_or_else(|| Error::invalid("wait.timeout", "must be 0 s to 60 s"))?,
        };
        Ok(Self { goal, bound })
    }
}

impl Goal {
    /// Translates to positions of a plan.
    pub(crate) fn until(&self, saga_type: &str, plan: &Plan) -> Result<Until, Error> {
        match self {
            Self::End => Ok(Until::End),
            Self::NewerThan(version) => Ok(Until::NewerThan(*version)),
            Self::Step(step) => plan
                .position(step)
                .map(Until::Step)
                .ok_or_else(|| Error::step_unknown(saga_type, step, plan)),
        }
    }
}

/// Tells whether a state is what was waited for; the engine's own rule, for states read from the journal.
fn reached(until: Until, state: &State, events: u32) -> bool {
    match until {
        Until::Durable => true,
        Until::End => state.phase().is_ended(),
        Until::NewerThan(known) => events.saturating_add(u32::from(state.phase().is_ended())) > known,
        Until::Step(step) => {
            let key = OpKey {
                step,
                index: 0,
                op: Op::Action,
            };
            state.phase() != Phase::Running
                || state.op(key).is_none_or(|op| match op {
                    OpState::Succeeded(_) | OpState::Refused(_) | OpState::Abandoned | OpState::Skipped => {
                        true
                    }
                    OpState::NotStarted | OpState::Open(_) => false,
                })
        }
    }
}

impl App {
    /// Waits, bounded, and shows the saga.
    pub(crate) async fn wait(
        &self,
        caller: Caller,
        request: pb::WaitSagaRequest,
    ) -> Result<pb::WaitSagaResponse, Error> {
        let id = read::parse_id(&request.saga_id)?;
        let wait = request.wait.ok_or_else(|| Error::invalid("wait", "is missing"))?;
        let wait = Wait::parse(wait)?;
        caller.release();
        let (saga, reached) = self.wait_for(id, &wait.goal, wait.bound).await?;
        Ok(pb::WaitSagaResponse {
            saga: Some(saga),
            waited_for_reached: reached,
        })
    }

    /// Waits at most `bound`; says whether the goal was reached.
    pub(crate) async fn wait_for(
        &self,
        id: SagaId,
        goal: &Goal,
        bound: Duration,
    ) -> Result<(pb::Saga, bool), Error> {
        let until_at = Instant::now() + bound;
        let until = match goal {
            Goal::End => Until::End,
            Goal::NewerThan(version) => Until::NewerThan(*version),
            Goal::Step(_) => {
                let found = self.read(id).await?;
                let until = goal.until(&found.stored.definition.name, found.plan())?;
                if reached(until, &found.state, found.stored.event_count) {
                    return Ok((found.shown().render(), true));
                }
                until
            }
        };
        let left = until_at.saturating_duration_since(Instant::now());
        let waiting = self.engine.wait(id, until, left);
        match self.stopping.run_until_cancelled(waiting).await {
            Some(Ok(seen)) => {
                if let Some(snapshot) = seen.snapshot {
                    return Ok((self.show_snapshot(&snapshot).await?, seen.reached));
                }
            }
            Some(Err(RequestError::NotHere)) => return self.poll(id, until, until_at).await,
            Some(Err(error)) => return Err(Error::of_engine(error, id)),
            None => {}
        }
        let found = self.read(id).await?;
        Ok((
            found.shown().render(),
            reached(until, &found.state, found.stored.event_count),
        ))
    }

    /// Another instance drives the saga, or nobody any more: looks at the journal until the bound.
    async fn poll(&self, id: SagaId, until: Until, until_at: Instant) -> Result<(pb::Saga, bool), Error> {
        let began = Instant::now();
        loop {
            let found = self.read(id).await?;
            let reached = reached(until, &found.state, found.stored.event_count);
            let left = until_at.saturating_duration_since(Instant::now());
            if reached || found.state.phase().is_ended() || left.is_zero() || self.stopping.is_cancelled() {
                return Ok((found.shown().render(), reached));
            }
            let pause = (began.elapsed() / 4).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            let sleep = tokio::time::sleep(pause.min(left));
            self.stopping.run_until_cancelled(sleep).await;
        }
    }
}
