//! What the people who look after the money do at the command line.

use chrono::TimeDelta;
use serde_json::json;
use sqlx::PgPool;

use crate::platform::Dev;
use crate::{code, stderr, stdout};

/// Two cases, a refused notification, a statement with a difference.
async fn seed(db: &PgPool) {
    for sql in [
        "insert into billing.cases (id, kind, channel, subject, subject_id, number, detail, opened_at)
         select gen_random_uuid(), kind, 'alipay', 'payment', gen_random_uuid(), number, 'nobody knows', now() - age
         from (values ('CONTRADICTION', 'PAY1', interval '2 h'), ('AMOUNT_MISMATCH', 'PAY2', interval '1 h')) c (kind, number, age)",
        "insert into billing.notify_receipts (id, channel, outcome, reason, detail, body_sha256)
         values (gen_random_uuid(), 'wechat', 'REFUSED', 'STALE', '301 s old', sha256('x'))",
    ] {
        sqlx::query(sql).execute(db).await.expect("the tables are there");
    }
}

#[tokio::test]
async fn cases_are_listed_shown_and_resolved_once() {
    let dev = Dev::start_with(&[]).await;
    seed(dev.database.admin()).await;
    let listed = dev.json(&["billing", "cases", "list"]);
    let cases = listed["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 2, "{listed}");
    let open = cases
        .iter()
        .find(|case| case["kind"] == "CONTRADICTION")
        .expect("one of two");
    assert_eq!(
        (&open["channel"], &open["number"]),
        (&json!("ALIPAY"), &json!("PAY1"))
    );
    let id = open["caseId"].as_str().expect("an id");
    let shown = stdout(&dev.run(&["billing", "cases", "show", id]));
    assert!(
        shown.contains("nobody knows") && shown.contains("CONTRADICTION"),
        "{shown}"
    );

    let resolve = ["billing", "cases", "resolve", id, "--note", "they were wrong"];
    let resolved = dev.run(&resolve);
    assert_eq!(code(&resolved), 0, "{}", stderr(&resolved));
    assert!(
        stdout(&resolved).contains("they were wrong"),
        "{}",
        stdout(&resolved)
    );
    let again = dev.run(&resolve);
    assert_eq!(code(&again), 1);
    assert!(stderr(&again).contains("CASE_RESOLVED"), "{}", stderr(&again));

    let text = stdout(&dev.run(&["billing", "cases", "list"]));
    assert!(
        text.contains("AMOUNT_MISMATCH") && !text.contains("CONTRADICTION"),
        "{text}"
    );
    let all = dev.json(&["billing", "cases", "list", "--all"]);
    assert_eq!(all["cases"].as_array().map(Vec::len), Some(2), "{all}");
    let none = dev.run(&[
        "billing",
        "cases",
        "show",
        "case_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b",
    ]);
    assert_eq!(code(&none), 1);
    assert!(stderr(&none).contains("CASE_NOT_FOUND"), "{}", stderr(&none));

    let refused = stdout(&dev.run(&["billing", "notifies", "list", "--outcome", "refused"]));
    assert!(
        refused.contains("STALE") && refused.contains("301 s old"),
        "{refused}"
    );
    let taken = dev.json(&["billing", "notifies", "list", "--outcome", "taken"]);
    assert_eq!(taken, json!({}));

    // In Beijing, and long enough ago that the provider has it.
    let day = chrono::Utc::now() + TimeDelta::hours(8) - TimeDelta::days(2);
    let day = day.format("%Y-%m-%d").to_string();
    let imported = dev.json(&["billing", "statements", "import", "wechat", &day]);
    assert_eq!(
        (&imported["day"], &imported["channel"]),
        (&json!(day), &json!("WECHAT"))
    );
    let statements = stdout(&dev.run(&["billing", "statements", "list", "--channel", "wechat"]));
    assert!(
        statements.contains(&day) && statements.contains("0.00 CNY"),
        "{statements}"
    );
    let future = dev.run(&["billing", "statements", "import", "wechat", "2999-01-01"]);
    assert_eq!(code(&future), 1, "{}", stdout(&future));
    let differences = dev.run(&["billing", "statements", "differences"]);
    assert_eq!(code(&differences), 0, "{}", stderr(&differences));
}
