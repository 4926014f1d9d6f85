//! Participants that bring their own types, and types that change under a registered version.

use std::collections::BTreeMap;

use proto::saga::v1 as pb;
use saga::{Config, participants};
use test_support::{Scratch, TestDatabase};
use tonic::Status;

use crate::participant::{Act, Participant};
use crate::service::{Instance, config, database, reason};

const SHOP: &str = r"
saga: SHOP
version: 1
input: test.shop.v1.Order
business_id: input.id
deadline: 1m
steps:
  - name: TAKE
    call: test.shop.v1.ShopSteps/Take
    with: { id: input.id, amount: input.amount }
    unsafe_ack: the shop knows its orders by id
    compensate:
      call: test.shop.v1.ShopSteps/GiveBack
      with: { id: input.id }
      unsafe_ack: the shop knows its orders by id
";

/// Writes the descriptors of a shop whose order has these fields.
fn descriptors(scratch: &Scratch, name: &str, order: &str) -> std::path::PathBuf {
    let source = format!(
        "syntax = \"proto3\"; package test.shop.v1;
         import \"google/protobuf/duration.proto\";
         message Order {{ {order} }}
         message Reply {{ google.protobuf.Duration wait = 1; }}
         service ShopSteps {{ rpc Take(Order) returns (Reply); rpc GiveBack(Order) returns (Reply); }}"
    );
    let dir = scratch.path().join(name);
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("shop.proto"), source).unwrap();
    let mut compiler = protox::Compiler::new([&dir]).unwrap();
    compiler.include_imports(true).open_file("shop.proto").unwrap();
    let file = dir.join("shop.bin");
    std::fs::write(&file, compiler.encode_file_descriptor_set()).unwrap();
    file
}

struct Shop {
    scratch: Scratch,
    bench: Participant,
    database: TestDatabase,
}

impl Shop {
    async fn new() -> Self {
        Self {
            scratch: Scratch::new().unwrap(),
            bench: Participant::serve(|_| Act::Work).await,
            database: database().await,
        }
    }

    /// An instance that knows the shop's order by these fields. The shop itself is never there.
    fn instance(&self, name: &str, order: &str) -> Instance {
        let shop = participants::Config {
            url: "http://shop.invalid:1".to_owned(),
            error_domain: "shop".to_owned(),
            audience: None,
            descriptors: Some(descriptors(&self.scratch, name, order)),
            limit: None,
        };
        let config = config(&self.database, &self.bench);
        let participants: BTreeMap<_, _> = config
            .participants
            .clone()
            .into_iter()
            .chain([("test.shop.v1".to_owned(), shop)])
            .collect();
        Instance::start(Config {
            participants,
            ..config
        })
    }
}

async fn register(instance: &Instance) -> Result<pb::RegisterDefinitionResponse, Status> {
    let request = pb::RegisterDefinitionRequest {
        source: SHOP.to_owned(),
        source_name: "shop.yaml".to_owned(),
        check_only: false,
    };
    instance
        .client
        .clone()
        .register_definition(request)
        .await
        .map(tonic::Response::into_inner)
}

async fn activate(instance: &Instance) -> pb::Definition {
    let request = pb::ActivateDefinitionRequest {
        name: "SHOP".to_owned(),
        version: 1,
        deactivate: false,
    };
    let answer = instance
        .client
        .clone()
        .activate_definition(request)
        .await
        .unwrap();
    answer.into_inner().definition.unwrap()
}

async fn begin(instance: &Instance, json: &str) -> Result<pb::Saga, Status> {
    let request = pb::StartSagaRequest {
        r#type: "SHOP".to_owned(),
        input: Some(pb::start_saga_request::Input::Json(json.to_owned())),
        ..pb::StartSagaRequest::default()
    };
    Ok(instance.begin(request).await?.saga.unwrap())
}

#[tokio::test]
async fn types_that_grow_make_a_revision_and_sagas_keep_theirs() {
    let shop = Shop::new().await;
    let old = shop.instance("old", "string id = 1; int64 amount = 2;");
    assert_eq!(register(&old).await.unwrap().definition.unwrap().revision, 1);
    activate(&old).await;
    let first = begin(&old, r#"{"id":"a","amount":5}"#).await.unwrap();
    assert_eq!(first.definition_revision, 1);

    let new = shop.instance("new", "string id = 1; int64 amount = 2; string note = 3;");
    let answer = register(&new).await.unwrap();
    let definition = answer.definition.unwrap();
    assert!(answer.created && !definition.active);
    assert_eq!((definition.version, definition.revision), (1, 2));
    assert_eq!(begin(&new, r#"{"id":"b"}"#).await.unwrap().definition_revision, 1);
    assert_eq!(activate(&new).await.revision, 2);
    assert_eq!(
        begin(&new, r#"{"id":"c","note":"n"}"#)
            .await
            .unwrap()
            .definition_revision,
        2
    );
    assert_eq!(new.get(&first.saga_id).await.saga.unwrap().definition_revision, 1);

    // The old replica starts again in the middle of a rollout: what it brings is known, and nothing goes back.
    assert!(!register(&old).await.unwrap().created);
    assert_eq!(activate(&old).await.revision, 2);
}

#[tokio::test]
async fn types_that_read_other_bytes_need_another_version() {
    let shop = Shop::new().await;
    let old = shop.instance("old", "string id = 1; int64 amount = 2;");
    register(&old).await.unwrap();
    for (name, order) in [
        ("renumbered", "string id = 1; int64 amount = 3;"),
        ("retyped", "string id = 1; sint64 amount = 2;"),
    ] {
        let status = register(&shop.instance(name, order)).await.unwrap_err();
        assert_eq!(reason(&status), "DEFINITION_CONFLICT", "{name}");
        assert!(status.message().contains("amount"), "{}", status.message());
    }
}

#[tokio::test]
async fn a_participant_that_is_not_there_uses_up_no_retries() {
    let shop = Shop::new().await;
    let instance = shop.instance("only", "string id = 1; int64 amount = 2;");
    register(&instance).await.unwrap();
    activate(&instance).await;
    let saga = begin(&instance, r#"{"id":"a"}"#).await.unwrap();
    let unsent = test_support::eventually(crate::service::SOON, || async {
        let history = instance.get(&saga.saga_id).await.history;
        let unsent: Vec<pb::SagaEvent> = history
            .into_iter()
            .filter(|event| event.kind == "failed")
            .collect();
        (unsent.len() > 4).then_some(unsent)
    })
    .await;
    assert!(
        unsent
            .iter()
            .all(|event| event.error.as_ref().unwrap().code == "UNAVAILABLE")
    );
    let shown = instance.get(&saga.saga_id).await.saga.unwrap();
    assert_eq!(shown.phase(), pb::SagaPhase::Running);
    assert_eq!(shown.error.unwrap().step, "TAKE");
}

#[tokio::test]
async fn an_expiry_cannot_be_read_from_a_reply() {
    let shop = Shop::new().await;
    let instance = shop.instance("only", "string id = 1; int64 amount = 2;");
    let second = "  - name: SECOND
    call: test.shop.v1.ShopSteps/Take
    with: { id: input.id }
    unsafe_ack: the shop knows its orders by id
    no_compensation: nothing happens
    expires: steps.TAKE.wait
";
    let request = pb::RegisterDefinitionRequest {
        source: format!("{SHOP}{second}"),
        source_name: "shop.yaml".to_owned(),
        check_only: true,
    };
    let answer = instance
        .client
        .clone()
        .register_definition(request)
        .await
        .unwrap()
        .into_inner();
    let [problem] = &answer.problems[..] else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (problem.reason.as_str(), problem.field.as_str()),
        ("REPLY_NOT_AVAILABLE", "expires")
    );
}
