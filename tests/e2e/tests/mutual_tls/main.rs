//! The product with certificates everywhere: who is let in, and what happens when they are renewed.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod command_line;
mod refusals;
mod renewal;
mod support;

use e2e::Platform;
use proto::saga::v1::SagaPhase;
use proto::task::v1::TaskState;

use crate::support::scrape;

#[tokio::test]
async fn a_task_completes_over_mutual_tls() {
    let platform = Platform::start_secured().await;
    let user = platform.user(10).await;
    let task = platform
        .create_task(user, "translate", "good morning", "r1")
        .await
        .unwrap();
    let ended = platform.ended(&task.task_id).await;
    assert_eq!(ended.state(), TaskState::Completed, "{ended:?}");
    let (saga, _) = platform.saga_of(&task.saga_id).await;
    assert_eq!(saga.phase(), SagaPhase::Completed);
    let balance = platform.balance(user).await;
    assert_eq!((balance.available, balance.consumed), (8, 2));
    platform.assert_conserved().await;

    // Machines watch over plain HTTP, and the orchestrator asks itself for its status over TLS.
    let urls = platform.admin_urls().await;
    for url in &urls {
        let scrape = scrape(url).await;
        let done = scrape.sum("tls_handshakes_total", &[("outcome", "done")]);
        assert!(done > 0.0, "{url} has served nobody over TLS");
        assert_eq!(
            scrape.mistakes(test_support::metrics::LABELS),
            Vec::<String>::new()
        );
    }
    let status = reqwest::get(format!("{}/status", urls[0])).await.unwrap();
    assert!(status.status().is_success(), "{:?}", status.text().await);
}
