//! Try, confirm, cancel, from the text to the calls.

use proto::saga::v1 as pb;
use rpc::error::Reason;

use crate::participant::{Act, DOMAIN, Participant, Seen};
use crate::service::{Instance, config, database, request, until_end};

/// Two tries beside each other, then the decision.
const TRANSFER: &str = r"
saga: ORDERS
version: 2
input: evenkeel.bench.v1.BenchInput
business_id: input.payload
deadline: 1m
retry: { initial: 10ms, max: 50ms }
kind: tcc
tries:
  - name: FREEZE
    try: { call: evenkeel.bench.v1.BenchSteps/Work, with: { payload: input.payload } }
    confirm: { call: evenkeel.bench.v1.BenchSteps/Work, with: { payload: steps.FREEZE.payload } }
    cancel: { call: evenkeel.bench.v1.BenchSteps/Undo, with: { payload: input.payload } }
  - name: HOLD
    after: []
    try: { call: evenkeel.bench.v1.BenchSteps/Work, with: { payload: input.payload } }
    confirm: { call: evenkeel.bench.v1.BenchSteps/Work, with: { payload: steps.HOLD.payload } }
    cancel: { call: evenkeel.bench.v1.BenchSteps/Undo, with: { payload: input.payload } }
decide: { name: PAY, call: evenkeel.bench.v1.BenchSteps/Work, with: { payload: input.payload } }
";

async fn run(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> (pb::SagaPhase, Vec<String>) {
    let participant = Participant::serve(script).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let register = pb::RegisterDefinitionRequest {
        source: TRANSFER.to_owned(),
        ..pb::RegisterDefinitionRequest::default()
    };
    let registered = instance
        .client
        .clone()
        .register_definition(register)
        .await
        .unwrap();
    assert_eq!(registered.into_inner().problems, []);
    let activate = pb::ActivateDefinitionRequest {
        name: "ORDERS".to_owned(),
        version: 2,
        deactivate: false,
    };
    instance
        .client
        .clone()
        .activate_definition(activate)
        .await
        .unwrap();
    let started = instance.begin(request("tcc", Some(until_end()))).await.unwrap();
    (started.saga.unwrap().phase(), participant.labels())
}

/// Sorts what runs beside each other.
fn sorted(labels: &[String]) -> Vec<&str> {
    let mut labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    labels.sort_unstable();
    labels
}

#[tokio::test]
async fn what_was_tried_is_confirmed_once_it_is_decided() {
    let (phase, labels) = run(|_| Act::Work).await;
    assert_eq!(phase, pb::SagaPhase::Completed);
    assert_eq!(sorted(&labels[..2]), ["FREEZE/action", "HOLD/action"]);
    assert_eq!(labels[2], "PAY/action");
    assert_eq!(
        sorted(&labels[3..]),
        ["FREEZE_CONFIRM/action", "HOLD_CONFIRM/action"]
    );
}

#[tokio::test]
async fn what_was_tried_is_cancelled_when_the_decision_is_no() {
    let (phase, labels) = run(|seen| match seen.label().as_str() {
        "PAY/action" => Act::Status(Reason::QuotaInsufficient.status(DOMAIN, "no")),
        _ => Act::Work,
    })
    .await;
    assert_eq!(phase, pb::SagaPhase::Compensated);
    assert_eq!(sorted(&labels[..2]), ["FREEZE/action", "HOLD/action"]);
    assert_eq!(labels[2], "PAY/action");
    assert_eq!(sorted(&labels[3..]), ["FREEZE/compensation", "HOLD/compensation"]);
}
