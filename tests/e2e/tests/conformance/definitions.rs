//! `evenkeel saga test`: definitions of the repository pass over doubles, and a definition or a participant that is broken
//! fails with a line that says where.

use serde_json::Value;
use test_support::Scratch;

use crate::shop::{self, DOMAIN, Flaw};
use crate::{Report, evenkeel, example};

const ORDER_INPUT: &str =
    r#"{"order_id": "test-{n}", "customer": "ada", "item": "kettle", "quantity": 1, "price_minor": 1}"#;

/// (step, operation, fault) of the cases with this result.
fn cases(report: &Report, result: &str) -> Vec<(String, String, String)> {
    let cases = report.json["cases"].as_array().expect("cases");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    cases
        .iter()
        .filter(|case| case["result"] == result)
        .map(|case| {
            (
                text(&case["step"]),
                text(&case["operation"]),
                text(&case["fault"]),
            )
        })
        .collect()
}

fn owned(case: (&str, &str, &str)) -> (String, String, String) {
    (case.0.to_owned(), case.1.to_owned(), case.2.to_owned())
}

fn assert_passed(report: &Report, seen: &[(&str, &str, &str)]) {
    let passed = cases(report, "PASS");
    let tried = report.json["cases"].as_array().expect("cases").len();
    assert_eq!((passed.len(), report.code), (tried, Some(0)), "{:#}", report.json);
    for case in seen {
        assert!(
            passed.contains(&owned(*case)),
            "{case:?} was not tried: {passed:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_passes_over_doubles_under_every_fault() {
    let folder = Scratch::new().unwrap();
    let descriptors = e2e::descriptors("examples/rust-participant/proto/acme/shop/v1/shop.proto");
    std::fs::write(folder.path().join("shop.binpb"), descriptors).unwrap();
    let file = example("rust-participant/ORDER.yaml");
    let args = [
        "saga",
        "test",
        file.to_str().unwrap(),
        "--descriptors",
        "shop.binpb",
    ];
    let report = evenkeel(folder.path(), &args).await;
    assert_passed(
        &report,
        &[
            ("RESERVE_STOCK", "action", "refused"),
            ("BOOK_PARCEL", "action", "refused"),
            ("TAKE_PAYMENT", "action", "repeated"),
            ("RESERVE_STOCK", "compensation", "repeated"),
            ("BOOK_PARCEL", "action", "reply lost"),
            ("RESERVE_STOCK", "compensation", "reply lost"),
            ("TAKE_PAYMENT", "action", "crash before"),
            ("RESERVE_STOCK", "compensation", "crash after"),
            ("RESERVE_STOCK", "compensation", "refused"),
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_publishes_passes_over_doubles_that_answer_by_events() {
    let folder = Scratch::new().unwrap();
    std::fs::write(folder.path().join("shapes.binpb"), shapes::DESCRIPTOR_SET).unwrap();
    let file = example("shapes/sagas/LEND.yaml");
    let args = [
        "saga",
        "test",
        file.to_str().unwrap(),
        "--descriptors",
        "shapes.binpb",
    ];
    let report = evenkeel(folder.path(), &[&args[..], &["--only", "refused"]].concat()).await;
    assert_passed(
        &report,
        &[
            ("OPEN", "action", "refused"),
            ("ALLOCATE", "action", "refused"),
            ("HAND_OVER", "action", "refused"),
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_gives_up_at_the_first_lost_reply_fails_there() {
    let folder = Scratch::new().unwrap();
    let descriptors = e2e::descriptors("examples/rust-participant/proto/acme/shop/v1/shop.proto");
    std::fs::write(folder.path().join("shop.binpb"), descriptors).unwrap();
    let order = include_str!("../../../../examples/rust-participant/ORDER.yaml");
    let broken = order.replace("deadline: 5m\n", "deadline: 5m\nretry: { retries: 0 }\n");
    assert_ne!(order, broken);
    std::fs::write(folder.path().join("BROKEN.yaml"), broken).unwrap();
    let args = [
        "saga",
        "test",
        "BROKEN.yaml",
        "--descriptors",
        "shop.binpb",
        "--only",
        "reply-lost",
    ];
    let report = evenkeel(folder.path(), &args).await;
    assert_eq!(report.code, Some(1));
    let failed = cases(&report, "FAIL");
    for step in ["RESERVE_STOCK", "TAKE_PAYMENT"] {
        assert!(
            failed.contains(&owned((step, "action", "reply lost"))),
            "{:#}",
            report.json
        );
    }
    assert!(
        !failed.contains(&owned(("BOOK_PARCEL", "action", "reply lost"))),
        "{failed:?}"
    );
    let rows = report.json["cases"].as_array().unwrap();
    let row = rows.iter().find(|row| row["step"] == "RESERVE_STOCK").unwrap();
    assert_eq!(
        row["saw"],
        "ended COMPENSATED (EXHAUSTED at RESERVE_STOCK: UNAVAILABLE); expected COMPLETED"
    );
    assert!(row["next"].as_str().unwrap().contains("`retries`"), "{row}");
}

/// The options that name a shop as the real participant.
fn live(open: &shop::Open) -> Vec<String> {
    let participant = format!("acme.shop.v1={},{DOMAIN}", open.url);
    let file = example("rust-participant/ORDER.yaml");
    let words = [
        "saga",
        "test",
        file.to_str().expect("paths are text"),
        "--descriptors",
        "shop.binpb",
    ];
    let live = ["--live", "--participant", &participant, "--input", ORDER_INPUT];
    words.into_iter().chain(live).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_passes_over_the_real_shop_and_its_books_balance() {
    let open = shop::example().await;
    let mut args = live(&open);
    for fault in ["refused", "repeated", "reply-lost", "crash"] {
        args.extend(["--only".to_owned(), fault.to_owned()]);
    }
    args.extend(["--probe".to_owned(), "echo $EVENKEEL_PHASE >> phases".to_owned()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let report = evenkeel(open.folder.path(), &args).await;
    assert_passed(
        &report,
        &[
            ("RESERVE_STOCK", "action", "repeated"),
            ("TAKE_PAYMENT", "action", "crash after"),
        ],
    );
    let database = open.database.as_ref().unwrap();
    let unaccounted: i64 = sqlx::query_scalar(
        "select 1000 - (select available from shop.stock where item = 'kettle') - (select count(*) from shop.parcel)",
    )
    .fetch_one(database.admin())
    .await
    .unwrap();
    assert_eq!(unaccounted, 0, "items that no parcel accounts for");
    let phases = std::fs::read_to_string(open.folder.path().join("phases")).unwrap();
    assert!(
        phases.contains("COMPLETED") && phases.contains("COMPENSATED"),
        "{phases}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_shop_that_answers_the_same_call_in_two_ways_fails_there() {
    let open = shop::flawed(Flaw::RepliesAnew).await;
    let args = live(&open);
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    args.extend(["--only", "repeated"]);
    let report = evenkeel(open.folder.path(), &args).await;
    assert_eq!(report.code, Some(1), "{:#}", report.json);
    let failed = cases(&report, "FAIL");
    assert_eq!(
        failed,
        [owned(("RESERVE_STOCK", "action", "repeated"))],
        "{:#}",
        report.json
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_that_fails_is_shown_with_what_it_said() {
    let open = shop::flawed(Flaw::None).await;
    let args = live(&open);
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    let probe = "test $EVENKEEL_PHASE = COMPLETED || { echo an item is missing; exit 3; }";
    args.extend(["--only", "refused", "--probe", probe]);
    let report = evenkeel(open.folder.path(), &args).await;
    assert_eq!(report.code, Some(1));
    let rows = report.json["cases"].as_array().unwrap();
    let row = rows.iter().find(|row| row["step"] == "TAKE_PAYMENT").unwrap();
    assert_eq!(row["result"], "FAIL");
    assert_eq!(
        row["saw"],
        "the probe ended with exit status: 3: an item is missing"
    );
    assert_eq!(
        cases(&report, "PASS"),
        [owned(("BOOK_PARCEL", "action", "refused"))]
    );
}
