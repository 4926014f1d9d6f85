//! The Rust example passes; shops that break one rule fail where they break it.

use rstest::rstest;

use crate::shop::{self, Flaw};

const NEVER_PENDING: &str = "answers that are not final say when to ask again";
const NO_RESTART: &str = "a reply outlives a restart";
/// What needs a request that is refused.
const REFUSALS: [&str; 4] = [
    "a refusal is in the participant's name and marked",
    "a refusal that cannot be acted on is not stored",
    "a repeated refusal is the same",
    "the compensation of a refused action succeeds",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_example_keeps_every_rule() {
    let open = shop::example().await;
    let refused = r#"{"item": "kettle", "quantity": 100000}"#;
    let report = open.check_and_count(&["--refused-request", refused]).await;
    report.assert_passed(&[NO_RESTART, NEVER_PENDING]);
    let (_, saw) = &report.checks()["the action succeeds"];
    assert!(saw.ends_with("the count changes by -2"), "{saw}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_given_is_not_tried_and_said_so() {
    let open = shop::flawed(Flaw::None).await;
    let report = open.check(&[]).await;
    let mut untried = vec![NO_RESTART, NEVER_PENDING];
    untried.extend(REFUSALS);
    untried.sort_unstable();
    report.assert_passed(&untried);
}

#[rstest]
#[case(Flaw::NoBarrier, "a repeated action gets the stored reply")]
#[case(Flaw::NoBarrier, "an action sent 8 times at once happens once")]
#[case(Flaw::RepliesAnew, "a repeated action gets the stored reply")]
#[case(Flaw::LooksFirst, "an action sent 8 times at once happens once")]
#[case(Flaw::NoNullCompensation, "a compensation without its action succeeds")]
#[case(Flaw::NoTombstone, "an action later than its compensation is superseded")]
#[case(Flaw::SaysNotWhen, NEVER_PENDING)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_with_a_flaw_is_found(#[case] flaw: Flaw, #[case] check: &str) {
    let open = shop::flawed(flaw).await;
    open.check_and_count(&[]).await.assert_broken(check);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_is_not_served_ends_the_check_at_once() {
    let open = shop::flawed(Flaw::None).await;
    let args = ["participant", "check", "--url", &open.url, "--error-domain", "q"];
    let quota = [
        "--action",
        "evenkeel.quota.v1.QuotaSteps/Reserve",
        "--request",
        r#"{"task_id": "{n}"}"#,
    ];
    let report = crate::evenkeel(open.folder.path(), &[&args[..], &quota[..]].concat()).await;
    report.assert_broken("the action succeeds");
    assert_eq!(report.with("FAIL").len(), 1, "{:#}", report.json);
}

/// Arguments that check quota of a user, with the steps of our own quota service.
fn quota<'a>(url: &'a str, request: &'a str, refused: &'a str) -> Vec<&'a str> {
    let mut args = vec![
        "participant",
        "check",
        "--url",
        url,
        "--error-domain",
        "quota.evenkeel",
    ];
    args.extend([
        "--action",
        "evenkeel.quota.v1.QuotaSteps/Reserve",
        "--request",
        request,
    ]);
    args.extend([
        "--compensation",
        "evenkeel.quota.v1.QuotaSteps/Cancel",
        "--refused-request",
        refused,
    ]);
    args
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_quota_service_keeps_every_rule_and_knows_who_calls() {
    let platform = e2e::Platform::start(e2e::Mode::Serve).await;
    let user = platform.user(1_000).await;
    let request = |amount: u32| {
        format!(r#"{{"user_id": "{user}", "task_id": "task_0190000000000000{{n}}", "amount": {amount}}}"#)
    };
    let (good, refused) = (request(2), request(100_000));
    let url = platform.participants["evenkeel.quota.v1"].url.clone();
    let args = quota(&url, &good, &refused);
    let folder = test_support::Scratch::new().unwrap();
    let unknown = crate::evenkeel(folder.path(), &args).await;
    unknown.assert_broken("the action succeeds");
    let (_, saw) = &unknown.checks()["the action succeeds"];
    assert!(saw.contains("UNAUTHENTICATED"), "{saw}");

    let keys = test_support::identities().dir().display().to_string();
    let report = crate::evenkeel(folder.path(), &[&args[..], &["--keys", &keys]].concat()).await;
    report.assert_passed(&[NO_RESTART, NEVER_PENDING]);
    assert_eq!(
        platform.balance(user).await.available,
        1_000,
        "something was not given back"
    );
    platform.assert_conserved().await;
}
