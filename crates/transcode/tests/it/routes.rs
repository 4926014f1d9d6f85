//! Which method a request means.

use http::Method;
use proto::access::v1::Access;
use transcode::{Error, Miss, Transcoder};

use crate::{SERVICES, transcoder};

#[test]
fn every_promised_path_has_its_method() {
    let transcoder = transcoder();
    for (verb, path, method) in [
        ("POST", "/api/v1/auth/login", "AuthService.Login"),
        ("POST", "/auth/login", "AuthService.Login"),
        ("GET", "/api/v1/users/me", "UserService.GetMe"),
        ("PATCH", "/api/v1/users/me", "UserService.UpdateMe"),
        (
            "DELETE",
            "/api/v1/users/me/sessions/s1",
            "UserService.RevokeSession",
        ),
        ("POST", "/api/v1/tasks", "TaskService.CreateTask"),
        ("GET", "/api/v1/tasks", "TaskService.ListTasks"),
        ("GET", "/api/v1/tasks/task_1", "TaskService.GetTask"),
        ("POST", "/api/v1/tasks/task_1/cancel", "TaskService.CancelTask"),
        ("GET", "/api/v1/quota", "QuotaService.GetBalance"),
        ("GET", "/api/v1/admin/sagas/metrics", "OperatorService.GetStatus"),
        ("GET", "/admin/sagas/metrics", "OperatorService.GetStatus"),
        ("GET", "/api/v1/admin/sagas/saga_1", "SagaService.GetSaga"),
        ("GET", "/.well-known/jwks.json", "AuthService.GetJwks"),
    ] {
        let route = transcoder.route(&verb.parse().unwrap(), path).unwrap();
        assert!(
            route.method().full_name().ends_with(method),
            "{path}: {}",
            route.method().full_name()
        );
    }
}

#[test]
fn a_route_says_its_template_its_grpc_path_and_who_may() {
    let transcoder = transcoder();
    let route = transcoder.route(&Method::GET, "/api/v1/tasks/task_1").unwrap();
    assert_eq!(route.template(), "/api/v1/tasks/{task_id}");
    assert_eq!(
        route.grpc_path().as_str(),
        "/evenkeel.task.v1.TaskService/GetTask"
    );
    assert_eq!((route.access(), route.takes_body()), (Access::User, false));
    let route = transcoder.route(&Method::POST, "/auth/login").unwrap();
    assert_eq!((route.access(), route.takes_body()), (Access::Public, true));
}

#[test]
fn what_is_nobodys_is_told_apart() {
    let transcoder = transcoder();
    let miss = |verb: Method, path: &str| transcoder.route(&verb, path).err().unwrap();
    assert_eq!(miss(Method::GET, "/api/v1/nothing"), Miss::NotFound);
    assert_eq!(miss(Method::GET, "/api/v1/tasks/"), Miss::NotFound);
    assert_eq!(miss(Method::GET, "//api/v1/tasks"), Miss::NotFound);
    assert_eq!(miss(Method::GET, "*"), Miss::NotFound);
    let Miss::MethodNotAllowed(mut allowed) = miss(Method::DELETE, "/api/v1/tasks") else {
        panic!("it has other methods");
    };
    allowed.sort_by_key(ToString::to_string);
    assert_eq!(allowed, [Method::GET, Method::POST]);
    assert!(matches!(miss(Method::GET, "/api/v1/tasks/%zz"), Miss::BadPath(_)));
}

#[test]
fn a_contract_that_contradicts_itself_is_refused() {
    let pool = proto::descriptor_pool();
    let twice = Transcoder::new(&pool, &[SERVICES[0], SERVICES[0]]);
    assert!(matches!(twice, Err(Error::Conflict { .. })));
    assert!(matches!(
        Transcoder::new(&pool, &["evenkeel.none.v1.None"]),
        Err(Error::NoService(_))
    ));
}
