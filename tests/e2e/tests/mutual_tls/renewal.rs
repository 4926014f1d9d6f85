//! Files that change while everything runs.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use e2e::{LONG, Platform};
use proto::task::v1::TaskState;
use test_support::eventually;

use crate::support::scrape;

/// Waits until a process has, for all its services, what is expected.
async fn shows(admins: &[String], name: &str, expected: impl Fn(f64) -> bool) {
    for admin in admins {
        eventually(LONG, || async {
            let scrape = scrape(admin).await;
            expected(scrape.sum(name, &[]))
        })
        .await;
    }
}

async fn journey(platform: &Platform, request_id: &str) {
    let user = platform.user(10).await;
    let task = platform
        .create_task(user, "translate", "good morning", request_id)
        .await
        .unwrap();
    let ended = platform.ended(&task.task_id).await;
    assert_eq!(ended.state(), TaskState::Completed, "{ended:?}");
}

#[tokio::test]
async fn renewed_certificates_are_used_without_a_failed_call() {
    let platform = Platform::start_secured().await;
    let certificates = platform.certificates.as_ref().unwrap();
    let admins = platform.admin_urls().await;
    journey(&platform, "before").await;
    let before = scrape(&admins[0])
        .await
        .sum("tls_certificate_expiry_timestamp_seconds", &[]);

    // Somebody calls all the time, over one connection and over new ones.
    let (done, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let user = platform.user(10).await;
    let calling = async {
        let mut kept = platform.quota();
        while !done.load(Ordering::Relaxed) {
            let request = proto::quota::v1::GetBalanceRequest {
                user_id: user.to_string(),
            };
            kept.get_balance(request).await.unwrap();
            platform.balance(user).await;
            calls.fetch_add(1, Ordering::Relaxed);
        }
    };
    let renewing = async {
        eventually(LONG, || async { calls.load(Ordering::Relaxed) > 0 }).await;
        certificates.renew();
        shows(&admins, "tls_certificate_expiry_timestamp_seconds", |at| {
            at < before
        })
        .await;
        journey(&platform, "after").await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(calling, renewing);
    for admin in &admins {
        let scrape = scrape(admin).await;
        assert_eq!(
            scrape.sum("tls_reloads_total", &[("outcome", "broken")]),
            0.0,
            "{admin}"
        );
        assert!(
            scrape.sum("tls_reloads_total", &[("outcome", "used")]) >= 1.0,
            "{admin}"
        );
    }
    platform.assert_conserved().await;
}

#[tokio::test]
async fn a_broken_renewal_is_reported_and_the_old_certificate_goes_on() {
    let platform = Platform::start_secured().await;
    let certificates = platform.certificates.as_ref().unwrap();
    let orchestrator = platform.saga.as_ref().unwrap();
    let admins = &platform.admin_urls().await[..1];
    let file = certificates.file("saga", "cert.pem");
    let good = fs::read(&file).unwrap();

    fs::write(&file, "-----BEGIN CERTIFICATE-----\n").unwrap();
    shows(admins, "tls_files_broken", |broken| broken > 0.0).await;
    let line = orchestrator
        .wait_for_line(LONG, |line| {
            line.contains("cannot be used; the ones before are used")
        })
        .await;
    assert!(
        line.contains("ERROR") && line.contains("tls.certificate") && line.contains("saga.cert.pem"),
        "{line}"
    );
    journey(&platform, "r1").await;

    fs::write(&file, good).unwrap();
    shows(admins, "tls_files_broken", |broken| broken == 0.0).await;
    journey(&platform, "r2").await;
}
