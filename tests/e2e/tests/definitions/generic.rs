//! The faults of `conformance::matrix`, over a platform of processes: one test for each property of any definition.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub(crate) use conformance::matrix::Property;
use conformance::matrix::{Limits, Row, Stage, World};
use conformance::{Interposer, Upstream, Verdict};
use proto::saga::v1::Saga;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use rpc::step::Op;
use test_support::Signal;

use e2e::{LONG, Mode, Platform};

/// One definition takes less than this, whatever the machine does besides.
const ALL: Duration = Duration::from_secs(1_800);

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
                $crate::generic::holds::<$subject>($crate::generic::Property::Refused).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn every_call_repeated_is_harmless() {
                $crate::generic::holds::<$subject>($crate::generic::Property::Repeated).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn every_reply_lost_is_harmless() {
                $crate::generic::holds::<$subject>($crate::generic::Property::ReplyLost).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn crash_after_every_commit_recovers() {
                $crate::generic::holds::<$subject>($crate::generic::Property::Crash).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_compensation_answered_no_raises_attention_and_heals() {
                $crate::generic::holds::<$subject>($crate::generic::Property::CompensationRefused).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_cancel_during_any_call_is_obeyed_or_comes_too_late() {
                $crate::generic::holds::<$subject>($crate::generic::Property::Cancelled).await;
            }
        })+
    };
}

/// A subject on a platform, as the matrix wants it.
struct Tested<S> {
    platform: Platform,
    subject: S,
}

impl<S: Subject> World for Tested<S> {
    fn saga(&self) -> &str {
        S::SAGA
    }

    fn sagas(&self) -> SagaServiceClient<token::Channel> {
        self.platform.sagas()
    }

    fn next(&mut self) -> conformance::matrix::Started {
        let started = self.subject.next();
        conformance::matrix::Started {
            business_id: started.business_id,
            input: started.input.to_string(),
        }
    }

    async fn crash(&mut self) -> Result<(), String> {
        let saga = self.platform.saga.take().expect("an orchestrator");
        saga.signal(Signal::Kill);
        drop(saga);
        self.platform.start_orchestrator();
        Ok(())
    }

    async fn settled(&self, _: &Saga) -> Result<(), String> {
        self.subject.assert_settled(&self.platform).await;
        Ok(())
    }

    async fn was_told(&self, saga_id: &str) -> Result<bool, String> {
        let told: i64 = sqlx::query_scalar(
            "select count(*) from saga.event e join saga.saga_instances i on i.saga_uuid = e.saga_id \
             where i.id = $1 and e.class = 'cannot_be_refused'",
        )
        .bind(saga_id)
        .fetch_one(self.platform.sql())
        .await
        .expect("the database answers");
        Ok(told > 0)
    }
}

async fn stage<S: Subject>() -> Stage<Tested<S>> {
    let mut platform = Platform::start(Mode::Serve).await;
    let subject = S::prepare(&mut platform).await;
    let upstreams = S::domains().into_iter().map(|(package, error_domain)| {
        let channel = rpc::channel::lazy(&platform.participants[&package].url).expect("a URL");
        let upstream = Upstream {
            channel: channel.into(),
            error_domain,
        };
        (package, upstream)
    });
    let interposer = Interposer::start(upstreams.collect()).await.expect("a free port");
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
    let limits = Limits {
        patience: LONG,
        until: Instant::now() + ALL,
    };
    let opened = Stage::open(Tested { platform, subject }, interposer, limits).await;
    opened.unwrap_or_else(|saw| panic!("{} does not complete: {saw}", S::SAGA))
}

/// Tries a property at every call of the definition; no call may fail it, and none may go untried.
pub(crate) async fn holds<S: Subject>(property: Property) {
    let mut stage = stage::<S>().await;
    let rows = stage.run(property, &mut |row| println!("{row:?}")).await;
    let tried = |op| rows.iter().any(|row| row.op == Some(op));
    match property {
        Property::Refused | Property::Cancelled => assert!(tried(Op::Action)),
        Property::CompensationRefused => assert!(tried(Op::Compensation)),
        Property::Repeated | Property::ReplyLost | Property::Crash => {
            assert!(tried(Op::Action) && tried(Op::Compensation));
        }
    }
    let wrong: Vec<&Row> = rows.iter().filter(|row| row.verdict != Verdict::Pass).collect();
    assert!(wrong.is_empty(), "{} under {property:?}: {wrong:#?}", S::SAGA);
}
