//! Running sagas of one definition, and judging their ends.

use std::future::Future;
use std::time::{Duration, Instant};

use proto::saga::v1::{
    CancelSagaRequest, GetSagaRequest, OperationState, Saga, SagaEvent, SagaPhase, StartSagaRequest,
    start_saga_request,
};
use rpc::error::Reason;
use rpc::step::Op;
use tonic::{Code, Status};

use super::{Limits, Started, World};
use crate::{Fault, Interposer, Rule, Seen};

/// Pause between two looks at a saga.
const POLL: Duration = Duration::from_millis(20);

/// Why a case did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Miss {
    Failed { saw: String, next: String },
    Untried(String),
}

impl Miss {
    pub(super) fn failed(saw: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Failed {
            saw: saw.into(),
            next: next.into(),
        }
    }
}

/// A definition, ready to be tried.
#[derive(Debug)]
pub struct Stage<W> {
    pub(super) world: W,
    pub(super) interposer: Interposer,
    /// What a saga that completes calls.
    pub(super) forward: Vec<Seen>,
    limits: Limits,
}

impl<W: World> Stage<W> {
    /// Runs one saga, which must complete, to see what it calls.
    ///
    /// # Errors
    /// In words, if it does not.
    pub async fn open(world: W, interposer: Interposer, limits: Limits) -> Result<Self, String> {
        let mut stage = Self {
            world,
            interposer,
            forward: Vec::new(),
            limits,
        };
        stage.interposer.program(Vec::new());
        match stage.run_to(SagaPhase::Completed).await {
            Ok(saga) => {
                stage.forward = stage.interposer.seen(&saga.saga_id);
                Ok(stage)
            }
            Err(Miss::Failed { saw, .. } | Miss::Untried(saw)) => Err(saw),
        }
    }

    /// Fails if there is no time left for another case.
    pub(super) fn in_time(&self) -> Result<(), Miss> {
        if Instant::now() < self.limits.until {
            return Ok(());
        }
        Err(Miss::Untried(
            "the time was over; give more with --timeout".to_owned(),
        ))
    }

    /// Starts one more saga, and returns its id.
    pub(super) async fn start(&mut self) -> Result<String, Miss> {
        let Started { business_id, input } = self.world.next();
        let request = StartSagaRequest {
            r#type: self.world.saga().to_owned(),
            business_id,
            input: Some(start_saga_request::Input::Json(input)),
            wait: None,
        };
        let world = &self.world;
        let started = self.answered(|| async { world.sagas().start_saga(request.clone()).await });
        match started.await? {
            Ok(answer) => Ok(answer.into_inner().saga.unwrap_or_default().saga_id),
            Err(status) => Err(Miss::failed(
                format!("the saga was not started: {}", status.message()),
                "give an --input that fits the definition",
            )),
        }
    }

    /// Asks until the orchestrator answers, which it does not while it is started again.
    async fn answered<T, F: Future<Output = Result<T, Status>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<Result<T, Status>, Miss> {
        let answer = self.eventually(|| async {
            match ask().await {
                Err(status) if status.code() == Code::Unavailable => None,
                answer => Some(answer),
            }
        });
        let silent = || Miss::failed("the orchestrator does not answer", "see its log");
        answer.await.ok_or_else(silent)
    }

    /// Cancels a saga. Tells whether it is undone now; if not, it is past the point where it could be.
    pub(super) async fn cancel(&self, id: &str) -> Result<bool, Miss> {
        let request = CancelSagaRequest {
            saga_id: id.to_owned(),
            reason: "the test cancels it".to_owned(),
        };
        let world = &self.world;
        let cancelled = self.answered(|| async { world.sagas().cancel_saga(request.clone()).await });
        let past = |status: &Status| {
            rpc::error::info(status).is_some_and(|info| info.reason == Reason::SagaPastCommitPoint.name())
        };
        match cancelled.await? {
            Ok(_) => Ok(true),
            Err(status) if past(&status) => Ok(false),
            Err(status) => Err(Miss::failed(
                format!("the saga was not cancelled: {}", status.message()),
                "this is a mistake of the orchestrator",
            )),
        }
    }

    /// Runs one more saga, which must end so, and leave everything settled.
    pub(super) async fn run_to(&mut self, phase: SagaPhase) -> Result<Saga, Miss> {
        let id = self.start().await?;
        self.ends(&id, phase).await
    }

    /// Waits for the end of a saga, which must be this one, and for everything to be settled.
    pub(super) async fn ends(&self, id: &str, phase: SagaPhase) -> Result<Saga, Miss> {
        let saga = self.ended(id).await?;
        if saga.phase() != phase {
            return Err(Miss::failed(
                format!("ended {}; expected {}", end(&saga), name(phase)),
                advice(&saga),
            ));
        }
        if saga.needs_attention {
            return Err(Miss::failed(
                format!(
                    "ended {}, but somebody has to look: {}",
                    end(&saga),
                    attention(&saga)
                ),
                "a healed saga needs nobody; see `evenkeel saga why`",
            ));
        }
        let settled = self.world.settled(&saga).await;
        settled.map_err(|saw| {
            Miss::failed(
                saw,
                "the saga's end and the effects do not agree: docs/sagas.md, \"What a participant must do\"",
            )
        })?;
        Ok(saga)
    }

    async fn ended(&self, id: &str) -> Result<Saga, Miss> {
        let ends = [SagaPhase::Completed, SagaPhase::Compensated, SagaPhase::Resolved];
        let ended = self
            .eventually(|| async {
                let (saga, _) = self.look(id).await?;
                ends.contains(&saga.phase()).then_some(saga)
            })
            .await;
        if let Some(saga) = ended {
            return Ok(saga);
        }
        let saga = self.look(id).await.map(|(saga, _)| saga).unwrap_or_default();
        Err(Miss::failed(
            format!(
                "not ended after {:?}: {} at {}, {}",
                self.limits.patience,
                name(saga.phase()),
                saga.current_step,
                attention(&saga)
            ),
            "a saga has to end when its participants answer again",
        ))
    }

    /// A saga with its history; nothing while the orchestrator does not answer.
    pub(super) async fn look(&self, id: &str) -> Option<(Saga, Vec<SagaEvent>)> {
        let request = GetSagaRequest {
            saga_id: id.to_owned(),
            with_history: true,
            ..GetSagaRequest::default()
        };
        let answer = self.world.sagas().get_saga(request).await.ok()?.into_inner();
        Some((answer.saga?, answer.history))
    }

    /// Looks until there is something, or the patience is over.
    pub(super) async fn eventually<T, F: Future<Output = Option<T>>>(
        &self,
        look: impl Fn() -> F,
    ) -> Option<T> {
        let looking = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(self.limits.patience, looking).await.ok()
    }

    /// Waits until a call hangs in the interposer.
    pub(super) async fn stalled(&mut self, count: u32) -> Result<(), Miss> {
        if self.interposer.stalled(count, self.limits.patience).await {
            return Ok(());
        }
        Err(Miss::failed(
            "the call never came",
            "a saga must call the same steps each time",
        ))
    }

    /// Makes the last step that can be refused say no, so that everything before it is undone.
    pub(super) fn unwinding(&self) -> Result<Rule, Miss> {
        let last = self.forward.iter().rfind(|seen| seen.refusable);
        let last = last.ok_or_else(|| Miss::Untried("no step can be refused".to_owned()))?;
        Ok(rule(last, 1, Fault::Refuse))
    }

    /// Everything that only a saga calls which unwinds.
    pub(super) async fn backward(&mut self) -> Result<Vec<Seen>, Miss> {
        let unwinding = self.unwinding()?;
        self.interposer.program(vec![unwinding]);
        let saga = self.run_to(SagaPhase::Compensated).await?;
        let called = self.interposer.seen(&saga.saga_id);
        Ok(called
            .into_iter()
            .filter(|seen| !self.forward.contains(seen))
            .collect())
    }
}

/// Hits so many calls of one operation.
pub(super) fn rule(seen: &Seen, times: u32, fault: Fault) -> Rule {
    Rule {
        step: Some(seen.step.clone()),
        op: Some(seen.op),
        times,
        fault,
    }
}

/// Every step that has a compensation and succeeded was undone, and the participants were called for it.
pub(super) fn undone(saga: &Saga, forward: &[Seen], called: &[Seen]) -> Result<(), Miss> {
    for step in &saga.steps {
        let succeeded =
            (step.action.as_ref()).is_some_and(|action| action.state() == OperationState::Succeeded);
        let Some(compensation) = step.compensation.as_ref().filter(|_| succeeded) else {
            continue;
        };
        // What is published is not called; the world shows whether it was undone.
        let is_called = forward.iter().any(|seen| seen.step == step.name);
        let undone = |seen: &Seen| seen.step == step.name && seen.op == Op::Compensation;
        let was_called = !is_called || called.iter().any(undone);
        if compensation.state() != OperationState::Succeeded || !was_called {
            return Err(Miss::failed(
                format!("{} was done and never undone", step.name),
                "this is a mistake of the orchestrator",
            ));
        }
    }
    Ok(())
}

/// How a saga ended, in words.
pub(super) fn end(saga: &Saga) -> String {
    let mut text = name(saga.phase()).to_owned();
    if saga.phase() == SagaPhase::Compensated {
        let reason = saga.reason().as_str_name();
        text.push_str(&format!(" ({}", reason.trim_start_matches("SAGA_REASON_")));
        if let Some(error) = saga.error.as_ref().filter(|error| !error.step.is_empty()) {
            text.push_str(&format!(" at {}: {} {}", error.step, error.code, error.reason));
        }
        text.truncate(text.trim_end().len());
        text.push(')');
    }
    text
}

pub(super) fn name(phase: SagaPhase) -> &'static str {
    phase.as_str_name().trim_start_matches("SAGA_PHASE_")
}

fn attention(saga: &Saga) -> String {
    let causes = saga.attention.iter().map(|attention| {
        if attention.step.is_empty() {
            attention.cause.clone()
        } else {
            format!("{} at {}", attention.cause, attention.step)
        }
    });
    let causes: Vec<String> = causes.collect();
    if causes.is_empty() {
        return "nothing needs attention".to_owned();
    }
    causes.join(", ")
}

/// What a person does about an end that was not expected.
fn advice(saga: &Saga) -> String {
    use proto::saga::v1::SagaReason;
    let step = saga
        .error
        .as_ref()
        .map_or("the step", |error| error.step.as_str());
    match saga.reason() {
        SagaReason::Timeout => {
            "give the saga a longer `deadline`, or a smaller `timeout` and `retry` to its calls".to_owned()
        }
        SagaReason::Refused => format!("{step} said no: see its reason above"),
        SagaReason::Exhausted => {
            format!("give {step} more `retries`: a lost reply, or a participant that restarts, uses one up")
        }
        SagaReason::Cancelled | SagaReason::Operator | SagaReason::Unspecified => {
            "see `evenkeel saga show` in the orchestrator's database".to_owned()
        }
    }
}
