//! One call of a step: what goes out, and what each kind of answer means.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rpc::error::Reason;
use saga::definitions::{Compiled, Definitions, Stored, check};
use saga::participants::{Config, GrpcParticipants, Outbox, Targets};
use saga::tokens::Tokens;
use saga_core::{FailureClass, Millis, Op, OpKey, Outcome, Payload, StepError};
use saga_engine::{Answer, Call, CallResult, DefinitionId, Identity, Participants as _};
use sqlx::postgres::PgPoolOptions;
use tonic::{Code, Status};

use crate::participant::{Act, DOMAIN, Participant};

const DEFINITION: &str = r"
saga: CALLS
version: 1
input: evenkeel.bench.v1.BenchInput
business_id: input.payload
deadline: 1m
steps:
  - name: FIRST
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: input.payload, step: 1, refuse_step: input.refuse_step }
    compensate: { call: evenkeel.bench.v1.BenchSteps/Undo, with: { payload: saga.reason } }
  - name: SECOND
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: steps.FIRST.payload, step: 2 }
    retriable: true
";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Fixture {
    participants: GrpcParticipants,
    compiled: Arc<Compiled>,
}

impl Fixture {
    fn new(url: &str) -> Self {
        let config = Config {
            url: url.to_owned(),
            error_domain: DOMAIN.to_owned(),
            audience: None,
            descriptors: None,
            limit: None,
        };
        let targets = Targets::open(
            &BTreeMap::from([("evenkeel.bench.v1".to_owned(), config)]),
            &test_support::identities().credentials("saga"),
        )
        .unwrap();
        let definition = check(DEFINITION, &targets).unwrap();
        // Never connected: what is asked for is compiled already.
        let pool = PgPoolOptions::new()
            .connect_lazy("postgres://nobody@127.0.0.1:1/none")
            .unwrap();
        let definitions = Arc::new(Definitions::new(pool.clone(), targets, 60_000));
        let tokens = Arc::new(Tokens::with_key([7; 32]));
        let stored = Stored {
            id: DefinitionId(1),
            name: definition.name().to_owned(),
            version: 1,
            revision: 1,
            hash: definition.hash(),
            canonical: definition.canonical().to_owned(),
            closure: definition.closure(),
            active: true,
            registered_at: sqlx::types::chrono::DateTime::default(),
            registered_by: "test".to_owned(),
            input_type: String::new(),
            steps: Vec::new(),
        };
        Self {
            compiled: definitions.compile(&stored).unwrap(),
            participants: GrpcParticipants::new(definitions, tokens, Outbox { pool, wake: None }),
        }
    }

    fn call(&self, step: u16, op: Op) -> Call {
        let input = r#"{"payload":"p","refuseStep":3}"#;
        Call {
            saga: Arc::new(Identity {
                id: ids::SagaId::new(),
                saga_type: "CALLS".into(),
                business_id: "p".to_owned(),
                definition: DefinitionId(1),
                plan: Arc::clone(self.compiled.plan()),
                input: Payload::new(input),
                traceparent: Some(TRACEPARENT.to_owned()),
                start: saga_core::Start {
                    at: Millis(0),
                    deadline_ms: 60_000,
                    expires_ms: Vec::new(),
                },
                actor: "test".to_owned(),
            }),
            key: OpKey { step, index: 0, op },
            attempt: 2,
            epoch: 7,
            timeout_ms: 2_000,
            refusable: op == Op::Action && step == 0,
            probe: false,
            replies: Arc::new([Some(Payload::new(r#"{"payload":"of first"}"#)), None]),
            reason: "REFUSED",
            failed_step: String::new(),
            error: None,
        }
    }

    async fn answer(&self) -> Answer {
        self.participants.call(self.call(0, Op::Action)).await
    }
}

fn failed(answer: Answer) -> (FailureClass, StepError) {
    match answer.result {
        CallResult::Outcome(Outcome::Failed { class, error }) => (class, error),
        other => panic!("not a failure: {other:?}"),
    }
}

#[tokio::test]
async fn a_call_carries_the_step_its_request_deadline_and_trace() {
    let participant = Participant::serve(|_| Act::Work).await;
    let fixture = Fixture::new(&participant.url());
    let answer = fixture.answer().await;
    assert_eq!(
        answer.request.unwrap().json(),
        r#"{"payload":"p","step":1,"refuseStep":3}"#
    );
    let CallResult::Outcome(Outcome::Succeeded(reply)) = answer.result else {
        panic!("not a success")
    };
    assert_eq!(reply.json(), r#"{"payload":"p"}"#);

    let [seen] = &participant.seen()[..] else {
        panic!("not one call")
    };
    let step = seen.step.clone().unwrap();
    assert_eq!(
        (step.step.as_str(), step.attempt, step.epoch, step.refusable),
        ("FIRST", 2, 7, true)
    );
    assert_eq!(seen.traceparent.as_deref(), Some(TRACEPARENT));
    assert_eq!(seen.timeout.as_deref(), Some("2000000u"));
}

#[tokio::test]
async fn replies_and_reasons_reach_the_requests_that_name_them() {
    let participant = Participant::serve(|_| Act::Work).await;
    let fixture = Fixture::new(&participant.url());
    let second = fixture.participants.call(fixture.call(1, Op::Action)).await;
    assert_eq!(
        second.request.unwrap().json(),
        r#"{"payload":"of first","step":2}"#
    );
    let undo = fixture.participants.call(fixture.call(0, Op::Compensation)).await;
    assert_eq!(undo.request.unwrap().json(), r#"{"payload":"REFUSED"}"#);
}

#[tokio::test]
async fn only_the_participants_own_no_is_a_refusal() {
    let participant = Participant::serve(|_| Act::Work).await;
    let fixture = Fixture::new(&participant.url());
    let say = |status: Status| participant.play(move |_| Act::Status(status.clone()));

    say(Reason::QuotaInsufficient.status(DOMAIN, "no"));
    let CallResult::Outcome(Outcome::Refused { error, stored }) = fixture.answer().await.result else {
        panic!("not a refusal")
    };
    assert_eq!(
        (&*error.code, &*error.reason, &*error.domain, stored),
        ("FAILED_PRECONDITION", "QUOTA_INSUFFICIENT", DOMAIN, false)
    );

    let mut stored = Reason::QuotaInsufficient.status(DOMAIN, "no");
    rpc::step::set_stored(stored.metadata_mut());
    say(stored);
    assert!(matches!(
        fixture.answer().await.result,
        CallResult::Outcome(Outcome::Refused { stored: true, .. })
    ));

    say(Reason::QuotaInsufficient.status("somebody.else", "no"));
    assert_eq!(failed(fixture.answer().await).0, FailureClass::Unknown);

    say(Reason::Superseded.status(DOMAIN, "late"));
    assert!(matches!(fixture.answer().await.result, CallResult::Superseded));
}

#[tokio::test]
async fn locked_doors_and_missing_methods_are_for_a_person() {
    let participant = Participant::serve(|_| Act::Work).await;
    let fixture = Fixture::new(&participant.url());
    for code in [Code::Unauthenticated, Code::PermissionDenied, Code::Unimplemented] {
        participant.play(move |_| Act::Status(Status::new(code, "no")));
        let (class, error) = failed(fixture.answer().await);
        assert_eq!(class, FailureClass::Misconfigured);
        assert_eq!(&*error.code, rpc::error::code_name(code));
    }
}

#[tokio::test]
async fn an_attempt_ends_with_its_timeout_and_proves_nothing() {
    let participant = Participant::serve(|_| Act::Hang).await;
    let fixture = Fixture::new(&participant.url());
    let mut call = fixture.call(0, Op::Action);
    call.timeout_ms = 50;
    let (class, error) = failed(fixture.participants.call(call).await);
    assert_eq!(
        (class, &*error.code),
        (FailureClass::Unknown, "DEADLINE_EXCEEDED")
    );
}

#[tokio::test]
async fn a_refused_connection_means_that_nothing_was_sent() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let fixture = Fixture::new(&format!("http://{closed}"));
    for _ in 0..2 {
        let (class, error) = failed(fixture.answer().await);
        assert_eq!(
            (class, &*error.code),
            (FailureClass::Unsent, "UNAVAILABLE"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_participant_that_cannot_be_resolved_was_sent_nothing() {
    let fixture = Fixture::new("http://participant.invalid:1");
    assert_eq!(failed(fixture.answer().await).0, FailureClass::Unsent);
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_proves_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fixture = Fixture::new(&format!("http://{}", listener.local_addr().unwrap()));
    let breaks = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut preface = [0; 24];
        tokio::io::AsyncReadExt::read_exact(&mut connection, &mut preface)
            .await
            .unwrap();
    });
    assert_eq!(failed(fixture.answer().await).0, FailureClass::Unknown);
    breaks.await.unwrap();
}

#[tokio::test]
async fn garbage_and_oversize_replies_are_bad_replies() {
    let participant = Participant::serve(|_| Act::Work).await;
    let fixture = Fixture::new(&participant.url());
    for bytes in [
        vec![0xff; 20],
        vec![0x0a, 0x7f, 1],
        vec![0x0a, 2, 0xff, 0xfe],
        vec![b'x'; 300 * 1024],
    ] {
        participant.play(move |_| Act::Bytes(bytes.clone()));
        let (class, error) = failed(fixture.answer().await);
        assert_eq!(
            (class, &*error.reason),
            (FailureClass::Unknown, "BAD_REPLY"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_pending_answer_says_when_to_ask_again() {
    let participant = Participant::serve(|_| Act::Pending(700)).await;
    let fixture = Fixture::new(&participant.url());
    assert!(matches!(
        fixture.answer().await.result,
        CallResult::Pending { ask_again_ms: 700 }
    ));
}

#[tokio::test]
async fn a_request_that_cannot_be_built_is_refused_here_and_never_sent() {
    let participant = Participant::serve(|_| Act::Work).await;
    let fixture = Fixture::new(&participant.url());
    let mut call = fixture.call(1, Op::Action);
    call.replies = Arc::new([None, None]);
    call.refusable = true;
    let answer = fixture.participants.call(call.clone()).await;
    let CallResult::Outcome(Outcome::Refused { error, stored: true }) = answer.result else {
        panic!("not a refusal")
    };
    assert_eq!(&*error.reason, "MAPPING_FAILED");
    call.refusable = false;
    let (class, error) = failed(fixture.participants.call(call).await);
    assert_eq!(
        (class, &*error.reason),
        (FailureClass::Misconfigured, "MAPPING_FAILED")
    );
    assert!(participant.seen().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_reply_makes_a_call_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let participant = Participant::serve(move |_| Act::Bytes(bytes.clone())).await;
            let answer = Fixture::new(&participant.url()).answer().await;
            match answer.result {
                CallResult::Outcome(Outcome::Succeeded(_)) => {}
                CallResult::Outcome(Outcome::Failed { error, .. }) => assert_eq!(&*error.reason, "BAD_REPLY"),
                other => panic!("{other:?}"),
            }
        });
    }
}
