//! Registering, activating and listing definitions.

use proto::saga::v1 as pb;
use test_support::eventually;

use crate::participant::{Act, Participant};
use crate::service::{Instance, ORDERS, SOON, config, database, reason, request, until_end};

async fn register(
    instance: &Instance,
    source: &str,
    check_only: bool,
) -> Result<pb::RegisterDefinitionResponse, tonic::Status> {
    let request = pb::RegisterDefinitionRequest {
        source: source.to_owned(),
        source_name: "test.yaml".to_owned(),
        check_only,
    };
    instance
        .client
        .clone()
        .register_definition(request)
        .await
        .map(tonic::Response::into_inner)
}

async fn activate(
    instance: &Instance,
    version: u32,
    deactivate: bool,
) -> Result<pb::Definition, tonic::Status> {
    let request = pb::ActivateDefinitionRequest {
        name: "ORDERS".to_owned(),
        version,
        deactivate,
    };
    let response = instance.client.clone().activate_definition(request).await?;
    Ok(response.into_inner().definition.unwrap())
}

fn version(version: u32) -> String {
    ORDERS.replace("version: 1", &format!("version: {version}"))
}

#[tokio::test]
async fn a_version_is_stored_once_and_other_content_needs_another_version() {
    let participant = Participant::serve(|_| Act::Work).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));

    let again = register(&instance, &format!("# a comment\n{ORDERS}"), false)
        .await
        .unwrap();
    assert!(!again.created);
    let known = again.definition.unwrap();
    assert_eq!((known.version, known.revision, known.active), (1, 1, true));
    assert_eq!(known.registered_by, "evenkeel");
    assert_eq!(known.steps, ["ONE", "TWO", "PIVOT", "LAST"]);
    assert_eq!(known.input_type, "evenkeel.bench.v1.BenchInput");

    let changed = ORDERS.replace("deadline: 1h", "deadline: 2h");
    let status = register(&instance, &changed, false).await.unwrap_err();
    assert_eq!(reason(&status), "DEFINITION_CONFLICT");
    assert!(
        status.message().contains("raise the version"),
        "{}",
        status.message()
    );

    let checked = register(&instance, &version(2), true).await.unwrap();
    assert!(!checked.created && checked.definition.is_some());
    let status = activate(&instance, 2, false).await.unwrap_err();
    assert_eq!(reason(&status), "DEFINITION_NOT_FOUND");

    let new = register(&instance, &version(2), false).await.unwrap();
    assert!(new.created && !new.definition.unwrap().active);
}

#[tokio::test]
async fn new_sagas_take_the_highest_active_version_and_running_ones_keep_theirs() {
    let participant = Participant::serve(|_| Act::Pending(50)).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let other = Instance::start(config(&database, &participant));
    let version_of = |key: &'static str| {
        let instance = &instance;
        async move {
            instance
                .begin(request(key, None))
                .await
                .unwrap()
                .saga
                .unwrap()
                .definition_version
        }
    };
    assert_eq!(version_of("a").await, 1);
    register(&instance, &version(7), false).await.unwrap();
    assert_eq!(version_of("b").await, 1);
    assert!(activate(&instance, 7, false).await.unwrap().active);
    assert_eq!(version_of("c").await, 7);
    // The other instance was not told; it looks at least once a second.
    let attempt = std::sync::atomic::AtomicU32::new(0);
    eventually(SOON, || async {
        let n = attempt.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let started = other.begin(request(&format!("other {n}"), None)).await.unwrap();
        (started.saga.unwrap().definition_version == 7).then_some(())
    })
    .await;
    activate(&instance, 7, true).await.unwrap();
    assert_eq!(version_of("d").await, 1);
    activate(&instance, 1, true).await.unwrap();
    let status = instance.begin(request("e", None)).await.unwrap_err();
    assert_eq!(reason(&status), "DEFINITION_NOT_FOUND");
    assert_eq!(version_of_running(&instance, "c").await, 7);
}

async fn version_of_running(instance: &Instance, key: &str) -> u32 {
    let request = pb::GetSagaRequest {
        r#type: "ORDERS".to_owned(),
        business_id: key.to_owned(),
        ..pb::GetSagaRequest::default()
    };
    let found = instance
        .client
        .clone()
        .get_saga(request)
        .await
        .unwrap()
        .into_inner();
    found.saga.unwrap().definition_version
}

#[tokio::test]
async fn every_mistake_of_a_definition_is_reported_and_nothing_stored() {
    let participant = Participant::serve(|_| Act::Work).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let wrong = version(3)
        .replace(
            "payload: input.payload, step: 1",
            "payloadd: input.payload, step: 1",
        )
        .replace(
            "BenchSteps/Work\n    with: { payload: input.payload, step: 3",
            "BenchSteps/Wrok\n    with: { payload: input.payload, step: 3",
        );
    let answer = register(&instance, &wrong, false).await.unwrap();
    assert!(answer.definition.is_none() && !answer.created);
    let reasons: Vec<&str> = answer
        .problems
        .iter()
        .map(|problem| problem.reason.as_str())
        .collect();
    assert!(
        reasons.contains(&"UNKNOWN_FIELD") && reasons.contains(&"UNKNOWN_METHOD"),
        "{reasons:?}"
    );
    assert!(
        answer
            .problems
            .iter()
            .all(|problem| problem.line > 0 && !problem.message.is_empty())
    );

    let foreign = version(3).replace(
        "evenkeel.bench.v1.BenchSteps/Undo",
        "evenkeel.quota.v1.QuotaSteps/Cancel",
    );
    let answer = register(&instance, &foreign, false).await.unwrap();
    assert!(
        answer
            .problems
            .iter()
            .any(|problem| problem.reason == "UNKNOWN_PARTICIPANT"),
        "{:?}",
        answer.problems
    );
    let stored: i64 = sqlx::query_scalar("select count(*) from saga.definition")
        .fetch_one(database.admin())
        .await
        .unwrap();
    assert_eq!(stored, 1);
}

#[tokio::test]
async fn definitions_are_listed_page_by_page() {
    let participant = Participant::serve(|_| Act::Work).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    for n in 2..=5 {
        register(&instance, &version(n), false).await.unwrap();
    }
    let mut versions = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListDefinitionsRequest {
            name: "ORDERS".to_owned(),
            page_size: 2,
            page_token,
        };
        let page = instance
            .client
            .clone()
            .list_definitions(request)
            .await
            .unwrap()
            .into_inner();
        versions.extend(page.definitions.iter().map(|definition| definition.version));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(versions, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_graph_is_stored_with_its_edges_and_runs_to_its_end() {
    let participant = Participant::serve(|_| Act::Work).await;
    let database = database().await;
    let instance = Instance::start(config(&database, &participant));
    let graph = version(2)
        .replace(
            "with: { payload: steps.ONE.payload, step: 2 }",
            "with: { payload: input.payload, step: 2 }\n    after: []",
        )
        .replace("pivot: true", "pivot: true\n    after: [TWO, ONE]");
    register(&instance, &graph, false).await.unwrap();
    activate(&instance, 2, false).await.unwrap();
    let edges: Vec<Option<String>> =
        sqlx::query_scalar("select after::text from saga.definition order by version")
            .fetch_all(database.admin())
            .await
            .unwrap();
    assert_eq!(edges, [None, Some("[[], [], [0, 1], [2]]".to_owned())]);
    let started = instance.begin(request("graph", Some(until_end()))).await.unwrap();
    let saga = started.saga.unwrap();
    assert_eq!(
        (saga.definition_version, saga.phase()),
        (2, pb::SagaPhase::Completed)
    );
}

#[tokio::test]
async fn a_mistake_in_a_built_in_definition_stops_the_start() {
    let participant = Participant::serve(|_| Act::Work).await;
    let database = database().await;
    let deps = saga::Deps {
        listener: process::grpc::Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap(),
        guard: test_support::identities().guard("saga"),
        credentials: test_support::identities().credentials("saga"),
        shutdown: process::Shutdown::new(std::time::Duration::from_secs(1)),
        events: None,
        definitions: vec![("wrong.yaml".to_owned(), "saga: WRONG".to_owned())],
    };
    let running = saga::spawn(config(&database, &participant), deps).unwrap();
    let error = running.join().await.unwrap_err();
    assert!(matches!(error, saga::Error::BuiltIn { .. }), "{error:?}");
    assert!(error.to_string().contains("wrong.yaml"), "{error}");
}
