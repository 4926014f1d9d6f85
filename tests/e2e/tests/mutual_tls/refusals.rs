//! Who gets a connection, and who an answer.

use std::time::{Duration, SystemTime};

use e2e::Platform;
use ids::UserId;
use test_support::identities;
use tls::Authority;
use tls::authority::{Issued, Subject};
use token::Role;
use tonic::Code;

use crate::support::{call, certificate_of, connect};

const HOUR: Duration = Duration::from_secs(3600);
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const RESERVE: &str = "/evenkeel.quota.v1.QuotaSteps/Reserve";

/// A certificate of the orchestrator, as whoever could make one would make it.
fn forge(authority: &Authority, until: SystemTime) -> Issued {
    let subject = Subject {
        uri: Some("spiffe://evenkeel/saga"),
        hosts: &["localhost".to_owned()],
        from: until - 2 * HOUR,
        until,
    };
    authority.issue(&subject).unwrap()
}

#[tokio::test]
async fn no_listener_answers_without_a_good_certificate() {
    let mut platform = Platform::start_secured().await;
    platform.open_front_door().await;
    let certificates = platform.certificates.as_ref().unwrap();
    let now = SystemTime::now();
    let other = Authority::new(now - HOUR, now + HOUR).unwrap();
    let expired = forge(&certificates.authority(), now - HOUR);
    let foreign = forge(&other, now + HOUR);
    let good = certificate_of(certificates, "task");
    for (service, url, _) in platform.listeners() {
        let cases = [
            (None, "CertificateRequired"),
            (Some(&foreign), "UnknownCA"),
            (Some(&expired), "CertificateExpired"),
        ];
        for (shown, alert) in cases {
            let answer = call(connect(certificates, &url, shown), HEALTH, None).await;
            assert!(
                answer.as_ref().is_err_and(|error| error.contains(alert)),
                "{service}: {alert}: {answer:?}"
            );
        }
        let plain = rpc::channel::lazy(&url.replace("https:", "http:")).unwrap();
        let answer = call(plain, HEALTH, None).await;
        assert!(
            answer
                .as_ref()
                .is_err_and(|error| error.contains("this port speaks TLS")),
            "{service}: {answer:?}"
        );
        let answer = call(connect(certificates, &url, Some(&good)), HEALTH, None).await;
        assert_eq!(answer, Ok((Code::Ok, String::new())), "{service}");
    }
}

#[tokio::test]
async fn steps_take_the_orchestrators_certificate_and_no_other() {
    let platform = Platform::start_secured().await;
    let certificates = platform.certificates.as_ref().unwrap();
    let listeners = platform.listeners();
    let (_, url, _) = listeners
        .iter()
        .find(|(_, _, services)| services.contains(&"evenkeel.quota.v1.QuotaSteps"))
        .unwrap();
    let quota = "quota".parse().unwrap();
    let token = identities().credentials("saga").token(&quota, SystemTime::now());
    let user = identities().bearer(UserId::new(), Role::Admin);
    let user = user.strip_prefix("Bearer ").unwrap();
    // The orchestrator reaches the handler, which misses the metadata of a step.
    let reached = (Code::InvalidArgument, "STEP_METADATA_INVALID");
    let table = [
        ("saga", None, reached),
        ("saga", Some(token.as_str()), reached),
        ("task", None, (Code::PermissionDenied, "PERMISSION_DENIED")),
        (
            "task",
            Some(token.as_str()),
            (Code::Unauthenticated, "TOKEN_INVALID"),
        ),
        ("operator", None, (Code::PermissionDenied, "PERMISSION_DENIED")),
        // Nobody publishes users' keys here, so that this token cannot be checked; the certificate does not stand in for it.
        ("saga", Some(user), (Code::Unavailable, "UNAVAILABLE")),
    ];
    for (name, token, (code, reason)) in table {
        let shown = certificate_of(certificates, name);
        let answer = call(connect(certificates, url, Some(&shown)), RESERVE, token).await;
        assert_eq!(
            answer,
            Ok((code, reason.to_owned())),
            "{name}, token: {}",
            token.is_some()
        );
    }
}
