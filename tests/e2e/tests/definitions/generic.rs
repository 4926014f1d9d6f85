//! The faults: one function for each property, for any definition.

use std::collections::BTreeMap;

use e2e::{Fault, Interposer, LONG, Mode, Platform, Rule, Seen};
use proto::saga::v1::{Saga, SagaPhase, SagaReason, StartSagaRequest, start_saga_request};
use rpc::step::Op;
use test_support::{Signal, eventually};

/// A definition with its world.
pub(crate) trait Subject: Sized {
    /// Name of the definition.
    const SAGA: &'static str;

    /// Makes the world ready, participants included.
    async fn prepare(platform: &mut Platform) -> Self;

    /// The packages that its steps call, with the error domain of each.
    fn domains() -> BTreeMap<String, String>;

    /// The definition, if the program does not ship with it.
    fn definition() -> Option<String> {
        None
    }

    /// Input of one more saga, which would complete.
    fn next(&self) -> Started;

    /// Checks what must hold when no saga is under way.
    async fn assert_settled(&self, platform: &Platform);
}

pub(crate) struct Started {
    pub(crate) business_id: String,
    pub(crate) input: serde_json::Value,
}

/// Writes the generic tests of these definitions, and the list of what is tested.
#[macro_export]
macro_rules! generic_fault_tests {
    ($($name:ident: $subject:ty,)+) => {
        pub(crate) const TESTED: &[&str] = &[$(<$subject as $crate::generic::Subject>::SAGA),+];

        $(mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn every_step_refused_compensates() {
                $crate::generic::every_step_refused_compensates::<$subject>().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn every_call_repeated_is_harmless() {
                $crate::generic::every_call_repeated_is_harmless::<$subject>().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn every_reply_lost_is_harmless() {
                $crate::generic::every_reply_lost_is_harmless::<$subject>().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn crash_after_every_commit_recovers() {
                $crate::generic::crash_after_every_commit_recovers::<$subject>().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_compensation_answered_no_raises_attention_and_heals() {
                $crate::generic::a_compensation_answered_no_raises_attention_and_heals::<$subject>().await;
            }
        })+
    };
}

struct Stage<S> {
    platform: Platform,
    interposer: Interposer,
    subject: S,
    /// What a saga that completes calls.
    forward: Vec<Seen>,
}

impl<S: Subject> Stage<S> {
    async fn set() -> Self {
        let mut platform = Platform::start(Mode::Serve).await;
        let subject = S::prepare(&mut platform).await;
        let upstreams = S::domains().into_iter().map(|(package, domain)| {
            let url = platform.participants[&package].url.clone();
            (package, (url, domain))
        });
        let interposer = Interposer::start(&upstreams.collect()).await;
        for package in S::domains().into_keys() {
            let participant = platform.participants.get_mut(&package).expect("it was there");
            participant.url = interposer.url().to_owned();
        }
        platform.saga = None;
        platform.start_orchestrator();
        platform.ready().await;
        if let Some(source) = S::definition() {
            platform.register(&source, S::SAGA).await;
        }
        let mut stage = Self {
            platform,
            interposer,
            subject,
            forward: Vec::new(),
        };
        let saga = stage.start().await;
        let saga = stage.ended(&saga).await;
        assert_eq!(saga.phase(), SagaPhase::Completed, "{saga:#?}");
        stage.forward = stage.interposer.seen(&saga.saga_id);
        assert!(stage.forward.iter().all(|seen| seen.op == Op::Action));
        stage
    }

    async fn start(&self) -> String {
        let started = self.subject.next();
        let request = StartSagaRequest {
            r#type: S::SAGA.to_owned(),
            business_id: started.business_id,
            input: Some(start_saga_request::Input::Json(started.input.to_string())),
            wait: None,
        };
        let answer = self.platform.sagas().start_saga(request).await;
        let answer = answer.expect("a saga starts").into_inner();
        answer.saga.expect("a saga").saga_id
    }

    async fn ended(&self, saga_id: &str) -> Saga {
        eventually(LONG, || async {
            let saga = self.platform.try_saga_of(saga_id).await.ok()?.0;
            let phase = saga.phase();
            let ended = [SagaPhase::Completed, SagaPhase::Compensated, SagaPhase::Resolved].contains(&phase);
            ended.then_some(saga)
        })
        .await
    }

    fn refusable(&self) -> Vec<Seen> {
        self.forward
            .iter()
            .filter(|seen| seen.refusable)
            .cloned()
            .collect()
    }

    /// Makes the last step that can be refused say no, so that everything before it is undone.
    fn unwinding(&self) -> Rule {
        let last = self.refusable().pop().expect("some step can be refused");
        rule(&last, 1, Fault::Refuse)
    }

    /// Everything that a saga calls which unwinds.
    async fn unwound(&self) -> Vec<Seen> {
        self.interposer.program(vec![self.unwinding()]);
        let saga = self.start().await;
        let saga = self.ended(&saga).await;
        assert_eq!(saga.phase(), SagaPhase::Compensated, "{saga:#?}");
        self.interposer.seen(&saga.saga_id)
    }

    fn crash(&mut self) {
        let saga = self.platform.saga.take().expect("an orchestrator");
        saga.signal(Signal::Kill);
        drop(saga);
        self.platform.start_orchestrator();
    }

    async fn assert_settled(&self) {
        self.subject.assert_settled(&self.platform).await;
    }
}

fn rule(seen: &Seen, times: u32, fault: Fault) -> Rule {
    Rule {
        step: Some(seen.step.clone()),
        op: Some(seen.op),
        times,
        fault,
    }
}

fn everything(times: u32, fault: Fault) -> Rule {
    Rule {
        step: None,
        op: None,
        times,
        fault,
    }
}

pub(crate) async fn every_step_refused_compensates<S: Subject>() {
    let stage = Stage::<S>::set().await;
    for seen in &stage.forward {
        stage.interposer.program(vec![rule(seen, 1, Fault::Refuse)]);
        let saga = stage.start().await;
        if !seen.refusable {
            wait_for_attention(&stage, &saga, &seen.step).await;
        }
        let saga = stage.ended(&saga).await;
        if seen.refusable {
            assert_eq!(saga.phase(), SagaPhase::Compensated, "{saga:#?}");
            assert_eq!(saga.reason(), SagaReason::Refused);
            assert_eq!(saga.error.as_ref().expect("a refusal").step, seen.step);
            assert_undone(&stage, &saga);
        } else {
            assert_eq!(saga.phase(), SagaPhase::Completed, "{saga:#?}");
        }
        stage.assert_settled().await;
    }
}

/// Every step that has a compensation and succeeded was undone.
fn assert_undone<S>(stage: &Stage<S>, saga: &Saga) {
    use proto::saga::v1::OperationState;
    let called = stage.interposer.seen(&saga.saga_id);
    for step in &saga.steps {
        let succeeded = step
            .action
            .as_ref()
            .is_some_and(|a| a.state() == OperationState::Succeeded);
        let Some(compensation) = &step.compensation else {
            continue;
        };
        if succeeded {
            assert_eq!(compensation.state(), OperationState::Succeeded, "{step:#?}");
        }
        // What is published is not called; the world shows whether it was undone.
        let is_called = stage.forward.iter().any(|seen| seen.step == step.name);
        if succeeded && is_called {
            let undone = |seen: &Seen| seen.step == step.name && seen.op == Op::Compensation;
            assert!(called.iter().any(undone), "{} was never undone", step.name);
        }
    }
}

async fn wait_for_attention<S: Subject>(stage: &Stage<S>, saga_id: &str, step: &str) {
    eventually(LONG, || async {
        let (_, history) = stage.platform.try_saga_of(saga_id).await.ok()?;
        let said_no = history
            .iter()
            .any(|event| event.kind == "failed" && event.step == step && event.error.is_some());
        said_no.then_some(())
    })
    .await;
    // The journal keeps that somebody had to be told, whether or not it has healed since.
    let told: i64 = sqlx::query_scalar(
        "select count(*) from saga.event e join saga.saga_instances i on i.saga_uuid = e.saga_id \
         where i.id = $1 and e.class = 'cannot_be_refused'",
    )
    .bind(saga_id)
    .fetch_one(stage.platform.sql())
    .await
    .expect("the database answers");
    assert!(told > 0, "nobody was told that {step} said no");
}

pub(crate) async fn every_call_repeated_is_harmless<S: Subject>() {
    let stage = Stage::<S>::set().await;
    let repeat = everything(u32::MAX, Fault::Repeat);
    for rules in [vec![repeat.clone()], vec![stage.unwinding(), repeat]] {
        let unwinds = rules.len() > 1;
        stage.interposer.program(rules);
        let saga = stage.start().await;
        let saga = stage.ended(&saga).await;
        let expected = if unwinds {
            SagaPhase::Compensated
        } else {
            SagaPhase::Completed
        };
        assert_eq!(saga.phase(), expected, "{saga:#?}");
        assert_eq!(stage.interposer.disagreements(), Vec::<String>::new());
        stage.assert_settled().await;
    }
}

pub(crate) async fn every_reply_lost_is_harmless<S: Subject>() {
    let stage = Stage::<S>::set().await;
    let lose = everything(1, Fault::LoseReply);
    stage.interposer.program(vec![lose.clone()]);
    let saga = stage.start().await;
    let saga = stage.ended(&saga).await;
    assert_eq!(saga.phase(), SagaPhase::Completed, "{saga:#?}");
    stage.assert_settled().await;
    stage.interposer.program(vec![stage.unwinding(), lose]);
    let saga = stage.start().await;
    let saga = stage.ended(&saga).await;
    assert_eq!(saga.phase(), SagaPhase::Compensated, "{saga:#?}");
    stage.assert_settled().await;
}

pub(crate) async fn crash_after_every_commit_recovers<S: Subject>() {
    let mut stage = Stage::<S>::set().await;
    let unwound = stage.unwound().await;
    let forward = stage.forward.iter().map(|seen| (seen.clone(), false));
    let back = unwound
        .iter()
        .filter(|seen| !stage.forward.contains(seen))
        .map(|seen| (seen.clone(), true));
    let points: Vec<(Seen, bool)> = forward.chain(back).collect();
    for (seen, unwinds) in points {
        for fault in [Fault::StallBefore, Fault::StallAfter] {
            let mut rules = vec![rule(&seen, 1, fault)];
            if unwinds {
                rules.insert(0, stage.unwinding());
            }
            stage.interposer.program(rules);
            let stalls = stage.interposer.stalls();
            let saga = stage.start().await;
            stage.interposer.stalled(stalls + 1).await;
            stage.crash();
            let saga = stage.ended(&saga).await;
            let expected = if unwinds {
                SagaPhase::Compensated
            } else {
                SagaPhase::Completed
            };
            assert_eq!(saga.phase(), expected, "crash at {seen:?}, {fault:?}: {saga:#?}");
            stage.assert_settled().await;
        }
    }
}

pub(crate) async fn a_compensation_answered_no_raises_attention_and_heals<S: Subject>() {
    let stage = Stage::<S>::set().await;
    let undoing = stage
        .unwound()
        .await
        .into_iter()
        .filter(|seen| !stage.forward.contains(seen));
    for seen in undoing {
        stage
            .interposer
            .program(vec![stage.unwinding(), rule(&seen, u32::MAX, Fault::Refuse)]);
        let id = stage.start().await;
        eventually(LONG, || async {
            let saga = stage.platform.try_saga_of(&id).await.ok()?.0;
            let told = |attention: &proto::saga::v1::Attention| {
                attention.cause == "CANNOT_BE_REFUSED" && attention.step == seen.step
            };
            (saga.needs_attention && saga.attention.iter().any(told)).then_some(())
        })
        .await;
        stage.interposer.program(Vec::new());
        let saga = stage.ended(&id).await;
        assert_eq!(saga.phase(), SagaPhase::Compensated, "{saga:#?}");
        assert!(!saga.needs_attention, "{saga:#?}");
        stage.assert_settled().await;
    }
}
