//! Who gets what: every method of every listener, asked by everybody.

use std::time::{Duration, SystemTime};

use e2e::{Mode, Platform};
use http::Request;
use ids::UserId;
use test_support::identities;
use token::{AccessClaims, Role, Rule, User};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::{Service as _, ServiceExt as _};

/// An empty message: no flags, no bytes.
const EMPTY: [u8; 5] = [0; 5];

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Anonymous,
    /// A service, with a token for another one.
    WrongAudience,
    /// A service whose token ran out.
    ExpiredService,
    /// A user whose token ran out.
    ExpiredUser,
    /// An administrator's token with one claim changed.
    Tampered,
    User,
    Admin,
    /// A service that is neither the one that is asked nor the orchestrator.
    OtherService,
    Orchestrator,
    Operator,
}

const EVERYBODY: [Who; 10] = [
    Who::Anonymous,
    Who::WrongAudience,
    Who::ExpiredService,
    Who::ExpiredUser,
    Who::Tampered,
    Who::User,
    Who::Admin,
    Who::OtherService,
    Who::Orchestrator,
    Who::Operator,
];

/// The reason of the refusal that somebody must get; `None` if the handler must be reached.
fn refusal(rule: Rule, who: Who, service: &str) -> Option<&'static str> {
    if rule == Rule::Public {
        return None;
    }
    let itself = who == Who::Orchestrator && service == "saga";
    match (rule, who) {
        (_, Who::Anonymous) => Some("UNAUTHENTICATED"),
        (_, Who::WrongAudience | Who::Tampered) => Some("TOKEN_INVALID"),
        (_, Who::ExpiredService | Who::ExpiredUser) => Some("TOKEN_EXPIRED"),
        (Rule::User, _) => None,
        (Rule::Service, Who::User) => Some("PERMISSION_DENIED"),
        (Rule::Service, _) => None,
        (Rule::Admin, Who::Admin | Who::Operator) => None,
        (Rule::Admin, _) if itself => None,
        (Rule::Admin, _) => Some("PERMISSION_DENIED"),
        (Rule::Orchestrator, Who::Orchestrator) => None,
        (Rule::Orchestrator, _) => Some("PERMISSION_DENIED"),
        (Rule::Public, _) => None,
    }
}

fn access(user_id: UserId, role: Role, issued_at: SystemTime) -> String {
    let claims = AccessClaims {
        user: User {
            user_id,
            session_id: "session-1".into(),
            role,
            epoch: 0,
        },
        token_id: "token-1".into(),
        issued_at,
        expires_at: issued_at + Duration::from_secs(900),
    };
    token::sign_access(&claims, identities().users())
}

fn service(from: &str, to: &str, at: SystemTime) -> String {
    let audience = to.parse().expect("a name");
    identities().credentials(from).token(&audience, at)
}

/// Changes one character of the claims.
fn tampered(token: &str) -> String {
    let middle = token.find('.').expect("three parts") + 20;
    let other = if token.as_bytes()[middle] == b'A' {
        "B"
    } else {
        "A"
    };
    format!("{}{other}{}", &token[..middle], &token[middle + 1..])
}

/// The token that somebody shows to a service.
fn shown(who: Who, to: &str) -> Option<String> {
    let now = SystemTime::now();
    let hour_ago = now - Duration::from_secs(3600);
    match who {
        Who::Anonymous => None,
        Who::WrongAudience => Some(service("operator", "elsewhere", now)),
        Who::ExpiredService => Some(service("operator", to, hour_ago)),
        Who::ExpiredUser => Some(access(UserId::new(), Role::Admin, hour_ago)),
        Who::Tampered => Some(tampered(&access(UserId::new(), Role::Admin, now))),
        Who::User => Some(access(UserId::new(), Role::User, now)),
        Who::Admin => Some(access(UserId::new(), Role::Admin, now)),
        Who::OtherService => Some(service("gateway", to, now)),
        Who::Orchestrator => Some(service("saga", to, now)),
        Who::Operator => Some(service("operator", to, now)),
    }
}

/// Calls a method with an empty message. Returns the status that came instead of an answer, if one did.
async fn call(channel: &Channel, path: &str, token: Option<&str>) -> Option<Status> {
    let mut request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "5S");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = tonic::body::Body::new(http_body_util::Full::from(EMPTY.to_vec()));
    let mut channel = channel.clone();
    let ready = channel.ready().await.expect("the service listens");
    let answer = ready.call(request.body(body).expect("a request")).await;
    let answer = answer.expect("the service answers");
    Status::from_header_map(answer.headers()).filter(|status| status.code() != Code::Ok)
}

/// What the layer said, if it was the layer.
fn reason(status: Option<&Status>) -> Option<String> {
    let info = rpc::error::info(status?)?;
    (info.domain == token::DOMAIN).then_some(info.reason)
}

async fn platform() -> Platform {
    let mut platform = Platform::start(Mode::Serve).await;
    // Nobody gets as far as a provider here.
    let _providers = platform.open_billing().await;
    platform.open_front_door().await;
    platform
}

#[tokio::test]
async fn every_method_lets_in_whom_the_contract_lets_in_and_nobody_else() {
    let platform = platform().await;
    let pool = proto::descriptor_pool();
    let mut wrong = Vec::new();
    let mut asked = 0;
    for (audience, url, services) in platform.listeners() {
        let channel = rpc::channel::lazy(&url).expect("a URL");
        let methods = services
            .iter()
            .map(|name| pool.get_service_by_name(name).expect("it is in the contract"))
            .flat_map(|service| service.methods().collect::<Vec<_>>());
        for method in methods {
            let rule = Rule::of(&method).expect("every method has a rule");
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            for who in EVERYBODY {
                let status = call(&channel, &path, shown(who, audience).as_deref()).await;
                let found = reason(status.as_ref());
                if found.as_deref() != refusal(rule, who, audience) {
                    wrong.push(format!("{path} ({rule:?}) by {who:?}: {status:?}"));
                }
                // There is a handler, and it leaves to the layer what only the layer knows.
                let code = status.map_or(Code::Ok, |status| status.code());
                // What is public may still want to know of whom: a logout without any token.
                let passed_on = code == Code::Unauthenticated && rule != Rule::Public;
                if found.is_none() && (passed_on || code == Code::Unimplemented) {
                    wrong.push(format!("{path} by {who:?}: {code:?} from behind the layer"));
                }
                asked += 1;
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(asked > 300, "{asked}");
}

#[tokio::test]
async fn what_is_not_served_on_a_listener_does_not_exist_there() {
    let platform = platform().await;
    let everything: Vec<_> = proto::descriptor_pool()
        .services()
        .filter(|service| service.full_name().starts_with("evenkeel."))
        .collect();
    for (audience, url, services) in platform.listeners() {
        let channel = rpc::channel::lazy(&url).expect("a URL");
        let token = shown(Who::Orchestrator, audience);
        let elsewhere = everything.iter().filter(|s| !services.contains(&s.full_name()));
        for method in elsewhere.flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let status = call(&channel, &path, token.as_deref()).await;
            assert_eq!(
                status.map(|status| status.code()),
                Some(Code::Unimplemented),
                "{path} of {audience}"
            );
        }
    }
}

#[tokio::test]
async fn a_demoted_administrator_is_refused_at_once() {
    let platform = platform().await;
    let user_id = UserId::new();
    let token = access(user_id, Role::Admin, SystemTime::now());
    let store = platform.database.pool(kv::SCHEMA).await;
    let store = kv::Kv::open(&kv::Config::default(), store).expect("the defaults are right");
    let day = Duration::from_secs(86_400);
    for (changes, expected) in [(0, None), (1, Some("TOKEN_REVOKED"))] {
        for _ in 0..changes {
            let key = token::epoch_key(user_id);
            store.add(&key, 1, Some(day)).await.expect("the store answers");
        }
        for (_, url, services) in platform.listeners() {
            let path = match services {
                ["evenkeel.saga.v1.SagaService", ..] => "/evenkeel.saga.v1.OperatorService/GetStatus",
                ["evenkeel.quota.v1.QuotaService"] => "/evenkeel.quota.v1.QuotaService/CreateGrant",
                ["evenkeel.billing.v1.PlanService", ..] => "/evenkeel.billing.v1.DeskService/ListCases",
                ["evenkeel.task.v1.TaskService", ..] => "/evenkeel.task.v1.TaskService/GetTask",
                ["evenkeel.auth.v1.AuthService", ..] => "/evenkeel.auth.v1.UserService/ListUsers",
                _ => continue,
            };
            let channel = rpc::channel::lazy(&url).expect("a URL");
            let status = call(&channel, path, Some(&token)).await;
            assert_eq!(reason(status.as_ref()).as_deref(), expected, "{path}");
        }
    }
}
