//! What must not be read in a log, in the database, or in a saga.

use std::process::Command;

use e2e::{LONG, Mode, Platform};
use ids::UserId;
use proto::billing::v1::{
    Channel, CreateWithdrawalRequest, CreditCommissionRequest, GetWithdrawalRequest, WithdrawalStatus,
};
use serde_json::Value;
use test_support::{ChildProcess, eventually};

/// Runs a command to its end; returns what it has printed.
fn run(mut command: Command) -> String {
    let done = command.output().expect("the binary runs");
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {text}");
    text
}

/// The lines of a PEM file that are a key.
fn lines_of(key: &str) -> Vec<String> {
    let lines = key
        .lines()
        .filter(|line| !line.starts_with("-----") && line.len() > 20);
    lines.map(str::to_owned).collect()
}

/// Seals the keys at providers, and starts the service anew with those alone, and everything in its log.
fn seal_keys(platform: &mut Platform) {
    platform.billing = None;
    let settings = platform.file("billing.toml");
    let mut config = std::fs::read_to_string(&settings).expect("it was written");
    for name in ["wechat.key.pem", "alipay.key"] {
        let (clear, sealed) = (platform.file(name), platform.file(&format!("sealed-{name}")));
        let mut seal = platform.command(&["kms", "seal"]);
        seal.arg(&clear).arg("--out").arg(&sealed);
        seal.env("EVENKEEL_KMS__LOCAL__FILE", platform.file("kms.json"));
        run(seal);
        std::fs::remove_file(&clear).expect("it is there");
        config = config.replace(&format!("{clear:?}"), &format!("{sealed:?}"));
    }
    // The APIv3 key stands in the settings: it goes into a file as well.
    let start = config.find("api_v3_key = ").expect("it is set");
    let line = config[start..].lines().next().expect("a line").to_owned();
    let key = line.split('"').nth(1).expect("a text").to_owned();
    let (clear, sealed) = (platform.file("clear.txt"), platform.file("api-v3-key"));
    std::fs::write(&clear, &key).expect("the directory can be written");
    let mut seal = platform.command(&["kms", "seal"]);
    seal.arg(&clear).arg("--out").arg(&sealed);
    seal.env("EVENKEEL_KMS__LOCAL__FILE", platform.file("kms.json"));
    run(seal);
    std::fs::remove_file(&clear).expect("it is there");
    config = config.replace(&line, &format!("api_v3_key_path = {sealed:?}"));
    config = format!("{config}\n[providers]\nclear_keys = \"refuse\"\n");
    std::fs::write(settings, config).expect("the directory can be written");
    platform.set("EVENKEEL_TELEMETRY__LEVEL", "debug");
    platform.start_billing();
}

#[tokio::test]
async fn sealed_keys_and_recipients_are_used_and_never_shown() {
    let mut platform = Platform::start(Mode::Serve).await;
    let billing = platform.open_billing().await;
    seal_keys(&mut platform);

    // Both providers take what is signed with the opened keys.
    let user = UserId::new();
    let credit = CreditCommissionRequest {
        credit_id: format!("credit-{user}"),
        user_id: user.to_string(),
        amount: 1_000,
        note: "test".to_owned(),
    };
    eventually(LONG, || async {
        let credited = platform.withdrawals().credit_commission(credit.clone()).await;
        credited.is_ok()
    })
    .await;
    let recipient = "2088999988887777";
    let name = "李四光";
    let wish = CreateWithdrawalRequest {
        user_id: user.to_string(),
        amount: 300,
        channel: Channel::Alipay.into(),
        recipient: recipient.to_owned(),
        recipient_name: name.to_owned(),
        request_id: "w1".to_owned(),
    };
    let made = platform.withdrawals().create_withdrawal(wish).await;
    let made = made.expect("a withdrawal").into_inner();
    let withdrawal = made.withdrawal.expect("it is frozen within the wait");
    eventually(LONG, || async {
        let request = GetWithdrawalRequest {
            withdrawal_id: withdrawal.withdrawal_id.clone(),
        };
        let found = platform.withdrawals().get_withdrawal(request).await;
        found.is_ok_and(|found| {
            let found = found.into_inner().withdrawal.expect("a withdrawal");
            found.status() == WithdrawalStatus::Succeeded
        })
    })
    .await;
    let order = platform.purchase(user, "p1").await.expect("a purchase").order;
    let payment = platform
        .create_payment(&order.expect("an order"), Channel::Wechat)
        .await
        .expect("a payment");
    assert!(!payment.payment_url.is_empty());

    let wechat = billing.wechat.merchant();
    let alipay = billing.alipay.merchant();
    let mut secrets = vec![recipient.to_owned(), name.to_owned(), wechat.api_v3_key.clone()];
    secrets.extend(lines_of(&wechat.private_key));
    secrets.extend(lines_of(&alipay.private_key));
    let keys = std::fs::read_to_string(platform.file("kms.json")).expect("the key file");
    let keys: Value = serde_json::from_str(&keys).expect("JSON");
    secrets.push(keys["keys"][0]["key"].as_str().expect("a key").to_owned());
    assert!(secrets.len() > 10 && secrets.iter().all(|secret| secret.len() >= 9));

    let (billing_log, saga_log) = (log(platform.billing.as_ref()), log(platform.saga.as_ref()));
    assert!(billing_log.contains("DEBUG"), "it says a lot");
    let journal: String = sqlx::query_scalar(
        "select string_agg(r, e'\\n') from (
            select i::text as r from saga.saga_instances i union all select s::text from saga.saga_steps s
            union all select e::text from saga.event e) rows",
    )
    .fetch_one(platform.sql())
    .await
    .expect("the database answers");
    assert!(journal.contains(&withdrawal.withdrawal_id), "the saga is there");
    for (place, text) in [
        ("billing", &billing_log),
        ("saga", &saga_log),
        ("the journal", &journal),
    ] {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{place} shows {secret}");
        }
    }
}

fn log(process: Option<&ChildProcess>) -> String {
    process.expect("it runs").stderr().join("\n")
}

#[tokio::test]
async fn keys_change_while_billing_runs_and_doctor_says_what_is_left_to_do() {
    let mut platform = Platform::start(Mode::Serve).await;
    let billing = platform.open_billing().await;
    for _ in 0..5 {
        billing.give_payee(&platform, ids::WithdrawalId::new()).await;
    }
    let key_file = platform.file("kms.json");
    let with_keys = |args: &[&str]| {
        let mut command = platform.command(args);
        command.env("EVENKEEL_KMS__LOCAL__FILE", &key_file);
        command
    };
    let doctor = || -> String {
        let done = with_keys(&["doctor"]).output().expect("the binary runs");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let line = text
            .lines()
            .find(|line| line.starts_with("sealed billing.payees"));
        line.unwrap_or_else(|| panic!("no line in {text}")).to_owned()
    };
    assert!(doctor().contains("5 opened, 0 under an old key"), "{}", doctor());

    let mut change = with_keys(&["keys", "kms-file", "--add", "--current", "--out"]);
    change.arg(&key_file);
    run(change);
    assert!(doctor().contains("5 under an old key"), "{}", doctor());
    let dry: Value =
        serde_json::from_str(&run(with_keys(&["kms", "rewrap", "--dry-run", "-o", "json"]))).expect("JSON");
    assert_eq!(
        (&dry["columns"][0]["old"], &dry["columns"][0]["rewrapped"]),
        (&5.into(), &0.into())
    );
    let real: Value = serde_json::from_str(&run(with_keys(&["kms", "rewrap", "-o", "json"]))).expect("JSON");
    assert_eq!(
        (&real["columns"][0]["old"], &real["columns"][0]["rewrapped"]),
        (&0.into(), &5.into())
    );
    assert!(doctor().contains("5 opened, 0 under an old key"), "{}", doctor());

    sqlx::query(
        "update billing.payees p set recipient_sealed = q.recipient_sealed from billing.payees q
         where p.withdrawal_id = (select min(withdrawal_id::text)::uuid from billing.payees)
           and q.withdrawal_id = (select max(withdrawal_id::text)::uuid from billing.payees)",
    )
    .execute(platform.sql())
    .await
    .expect("the database answers");
    assert!(doctor().contains("1 cannot be opened"), "{}", doctor());
    let failed = with_keys(&["kms", "rewrap", "--dry-run"])
        .output()
        .expect("the binary runs");
    assert_eq!(failed.status.code(), Some(1));
}
