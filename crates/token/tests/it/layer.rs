//! The layer as a listener has it.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use rpc::error::info;
use serde_json::json;
use test_support::TestDatabase;
use token::{Caller, Guard, Layer, Role};
use tonic::Status;
use tower::{Layer as _, ServiceExt as _};

use crate::support::{Platform, access_parts, forge, unix};

const BALANCE: &str = "/evenkeel.quota.v1.QuotaService/GetBalance";
const GRANT: &str = "/evenkeel.quota.v1.QuotaService/CreateGrant";
const RESERVE: &str = "/evenkeel.quota.v1.QuotaSteps/Reserve";
const STATUS: &str = "/evenkeel.saga.v1.OperatorService/GetStatus";
const COMPLETE: &str = "/evenkeel.saga.v1.CompletionService/CompleteStep";

fn layer(guard: &Guard) -> Layer {
    guard
        .layer(&[
            "evenkeel.quota.v1.QuotaService",
            "evenkeel.quota.v1.QuotaSteps",
            "evenkeel.saga.v1.OperatorService",
            "evenkeel.saga.v1.CompletionService",
        ])
        .unwrap()
}

/// Calls a method; returns whom the handler saw, or the reason of the refusal.
async fn call(guard: &Guard, path: &str, token: Option<&str>) -> Result<Caller, String> {
    let handler = tower::service_fn(|request: Request<()>| async move {
        let mut response = Response::new(());
        let caller = request.extensions().get::<Caller>().cloned();
        response
            .extensions_mut()
            .insert(caller.expect("the layer says who calls"));
        Ok::<_, Infallible>(response)
    });
    let mut request = Request::builder().uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(()).unwrap();
    let Ok(response) = layer(guard).layer(handler).oneshot(request).await;
    match response.extensions().get::<Caller>() {
        Some(caller) => Ok(caller.clone()),
        None => {
            let status = Status::from_header_map(response.headers()).expect("a status without a body");
            let Some(info) = info(&status) else {
                return Err(rpc::error::code_name(status.code()).to_owned());
            };
            assert_eq!(info.domain, token::DOMAIN);
            Err(info.reason)
        }
    }
}

async fn reason(guard: &Guard, path: &str, token: Option<&str>) -> String {
    call(guard, path, token).await.expect_err("it is refused")
}

#[tokio::test]
async fn the_handler_learns_who_calls() {
    let platform = Platform::new();
    let guard = Guard::new(platform.verifier());
    let (user_id, token) = platform.access(Role::User, 0);
    match call(&guard, BALANCE, Some(&token)).await {
        Ok(Caller::User(user)) => assert_eq!(user.user_id, user_id),
        other => panic!("{other:?}"),
    }
    let task = call(&guard, GRANT, Some(&platform.service("task")))
        .await
        .unwrap();
    assert!(task.is_service("task"));
}

#[tokio::test]
async fn each_refusal_has_its_reason() {
    let platform = Platform::new();
    let guard = Guard::new(platform.verifier());
    let (_, user) = platform.access(Role::User, 0);
    let (task, saga) = (platform.service("task"), platform.service("saga"));
    assert_eq!(reason(&guard, BALANCE, None).await, "UNAUTHENTICATED");
    assert_eq!(reason(&guard, BALANCE, Some("garbage")).await, "TOKEN_INVALID");
    assert_eq!(reason(&guard, GRANT, Some(&user)).await, "PERMISSION_DENIED");
    assert_eq!(reason(&guard, RESERVE, Some(&user)).await, "PERMISSION_DENIED");
    assert_eq!(reason(&guard, RESERVE, Some(&task)).await, "PERMISSION_DENIED");
    assert!(call(&guard, RESERVE, Some(&saga)).await.is_ok());
    assert_eq!(reason(&guard, STATUS, Some(&task)).await, "PERMISSION_DENIED");
    assert!(
        call(&guard, STATUS, Some(&platform.service("operator")))
            .await
            .is_ok()
    );

    let (header, mut claims) = access_parts(&platform, SystemTime::now());
    claims["exp"] = json!(unix(SystemTime::now()) - 31);
    let expired = forge(&header, &claims, &platform.auth.to_pem().unwrap());
    assert_eq!(reason(&guard, BALANCE, Some(&expired)).await, "TOKEN_EXPIRED");
}

#[tokio::test]
async fn a_method_that_is_not_served_does_not_exist() {
    let platform = Platform::new();
    let guard = Guard::new(platform.verifier());
    let saga = platform.service("saga");
    for path in [
        "/evenkeel.task.v1.TaskService/GetTask",
        "/evenkeel.quota.v1.QuotaService/Nothing",
        "/evenkeel.quota.v1.QuotaService/GetBalance/",
        "/",
    ] {
        assert_eq!(reason(&guard, path, Some(&saga)).await, "UNIMPLEMENTED", "{path}");
    }
}

#[tokio::test]
async fn health_and_reflection_need_no_token() {
    let platform = Platform::new();
    let guard = Guard::new(platform.verifier());
    for path in [
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ] {
        assert_eq!(call(&guard, path, None).await, Ok(Caller::Anonymous), "{path}");
    }
}

#[tokio::test]
async fn a_public_method_takes_no_offence_at_a_token() {
    let platform = Platform::new();
    let guard = Guard::new(platform.verifier());
    assert_eq!(call(&guard, COMPLETE, None).await, Ok(Caller::Anonymous));
    assert_eq!(call(&guard, COMPLETE, Some("old")).await, Ok(Caller::Anonymous));
    let (user_id, token) = platform.access(Role::User, 0);
    match call(&guard, COMPLETE, Some(&token)).await {
        Ok(Caller::User(user)) => assert_eq!(user.user_id, user_id),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_administrators_token_is_good_until_its_rights_change() {
    let platform = Platform::new();
    let database = TestDatabase::create(&[(kv::SCHEMA, &kv::MIGRATOR)]).await;
    let store = kv::Kv::open(&kv::Config::default(), database.pool(kv::SCHEMA).await).unwrap();
    let guard = Guard::new(platform.verifier()).with_epochs(store.clone());
    let (user_id, token) = platform.access(Role::Admin, 1);
    let epoch = token::epoch_key(user_id);
    assert!(
        call(&guard, STATUS, Some(&token)).await.is_ok(),
        "nothing stands for 0"
    );
    let day = Some(Duration::from_secs(86_400));
    store.add(&epoch, 1, day).await.unwrap();
    assert!(call(&guard, STATUS, Some(&token)).await.is_ok());
    store.add(&epoch, 1, day).await.unwrap();
    for path in [STATUS, GRANT, BALANCE] {
        assert_eq!(
            reason(&guard, path, Some(&token)).await,
            "TOKEN_REVOKED",
            "{path}"
        );
    }
}

#[tokio::test]
async fn without_the_store_of_epochs_no_administrator_is_believed() {
    let platform = Platform::new();
    let database = TestDatabase::create(&[]).await;
    // No table: as if it were away.
    let store = kv::Kv::open(&kv::Config::default(), database.pool(kv::SCHEMA).await).unwrap();
    let (_, admin) = platform.access(Role::Admin, 0);
    let (_, user) = platform.access(Role::User, 0);
    for guard in [
        Guard::new(platform.verifier()),
        Guard::new(platform.verifier()).with_epochs(store),
    ] {
        assert_eq!(reason(&guard, STATUS, Some(&admin)).await, "UNAVAILABLE");
        assert!(call(&guard, BALANCE, Some(&user)).await.is_ok());
        assert!(call(&guard, GRANT, Some(&platform.service("task"))).await.is_ok());
    }
}

#[tokio::test]
async fn two_identities_are_none() {
    let platform = Platform::new();
    let guard = Guard::new(platform.verifier());
    let handler = tower::service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) });
    let bearer = format!("Bearer {}", platform.service("task"));
    let request = Request::builder()
        .uri(BALANCE)
        .header("authorization", &bearer)
        .header("authorization", &bearer);
    let Ok(response) = layer(&guard)
        .layer(handler)
        .oneshot(request.body(()).unwrap())
        .await;
    let status = Status::from_header_map(response.headers()).unwrap();
    assert_eq!(info(&status).unwrap().reason, "TOKEN_INVALID");
}

#[test]
fn a_service_that_is_not_in_the_contract_cannot_be_guarded() {
    let platform = Platform::new();
    let guard = Guard::new(platform.verifier());
    let error = guard.layer(&["evenkeel.nothing.v1.Service"]).unwrap_err();
    assert!(
        error.to_string().contains("evenkeel.nothing.v1.Service"),
        "{error}"
    );
}
