//! `evenkeel doubles`: every role from the binary.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ::doubles::pay::{Books, OrderState};
use chrono::{TimeDelta, Utc};
use pay::wechat::{ApiV3Key, Config, Trust, WeChatPay};
use pay::{
    Clock, HttpClient, Money, NewPayment, Number, PaymentState, PrivateKey, Provider, PublicKey, Subject,
    Timeouts,
};
use serde_json::{Value, json};
use test_support::{ChildProcess, Scratch, Signal, eventually};

use crate::{code, evenkeel, run, stderr};

pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A double that runs, and what it said of itself.
pub(crate) struct Double {
    child: ChildProcess,
    pub(crate) said: Value,
}

impl Double {
    pub(crate) async fn start(args: &[&str], variables: &[(&str, String)]) -> Self {
        let mut all = vec!["doubles"];
        all.extend(args);
        all.extend(["--listen", "127.0.0.1:0", "--json"]);
        let mut command = evenkeel(&all);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let child = ChildProcess::spawn(command);
        let line = child.wait_for_line(SOON, |line| line.contains("\"role\"")).await;
        let said = serde_json::from_str(&line).expect("one JSON document a line");
        Self { child, said }
    }

    fn url(&self) -> &str {
        self.said["url"].as_str().expect("a URL")
    }

    fn variables(&self) -> BTreeMap<String, String> {
        serde_json::from_value(self.said["environment"].clone()).expect("variables")
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = reqwest::get(format!("{}{path}", self.url())).await;
        answer.expect("it answers").json().await.expect("JSON")
    }

    /// Ends it as an orchestrator of containers does.
    pub(crate) async fn end(mut self) {
        self.child.signal(Signal::Term);
        let status = self.child.wait(SOON).await;
        assert_eq!(status.code(), Some(0), "{:?}", self.child.stderr());
    }
}

/// A merchant that knows the variables and nothing else.
fn merchant(variables: &BTreeMap<String, String>) -> WeChatPay {
    let read = |name: &str| std::fs::read(&variables[name]).expect("the file is there");
    let config = Config {
        app_id: variables["WECHAT_PAY_APPID"].clone(),
        merchant_id: variables["WECHAT_PAY_MCHID"].clone(),
        serial: variables["WECHAT_PAY_SERIAL_NO"].clone(),
        key: PrivateKey::from_pem(&read("WECHAT_PAY_PRIVATE_KEY_PATH")).expect("a key"),
        api_v3_key: ApiV3Key::new(variables["WECHAT_PAY_API_V3_KEY"].as_bytes()).expect("a key"),
        trust: Trust::PublicKey {
            id: variables["WECHAT_PAY_PUBLIC_KEY_ID"].clone(),
            key: PublicKey::from_pem(&read("WECHAT_PAY_PUBLIC_KEY_PATH")).expect("a key"),
        },
        scene: None,
        url: variables["WECHAT_PAY_URL"].clone(),
    };
    let http = HttpClient::new(Timeouts::default()).expect("a client");
    WeChatPay::new(config, http, Clock::system()).expect("good settings")
}

fn same_but_for_the_url(mut variables: BTreeMap<String, String>) -> BTreeMap<String, String> {
    variables.retain(|name, _| !name.ends_with("_URL"));
    variables
}

#[tokio::test]
async fn wechat_pay_takes_money_and_is_the_same_after_a_restart() {
    let scratch = Scratch::new().expect("a directory");
    let keys = scratch.path().join("keys").display().to_string();
    let books = scratch.path().join("books.json").display().to_string();
    let args = ["wechatpay", "--keys-dir", &keys, "--books", &books];
    let first = Double::start(&args, &[]).await;
    let number = Number::new("PAY000001").expect("a number");
    let order = NewPayment {
        number: number.clone(),
        amount: Money::cny(1_000),
        subject: Subject::new("a plan").expect("a subject"),
        expires_at: Utc::now() + TimeDelta::minutes(30),
        notify_url: "http://127.0.0.1:1/".to_owned(),
    };
    merchant(&first.variables())
        .create(&order)
        .await
        .expect("an order");
    let page = reqwest::get(format!("{}/", first.url())).await.expect("a page");
    assert!(page.text().await.expect("text").contains("a plan"));
    let paid = reqwest::Client::new()
        .post(format!("{}/_orders/PAY000001/pay", first.url()))
        .send()
        .await
        .expect("it answers");
    assert_eq!(paid.status(), 200);
    let known = first.variables();
    first.end().await;

    let second = Double::start(&args, &[]).await;
    assert_eq!(
        same_but_for_the_url(second.variables()),
        same_but_for_the_url(known)
    );
    let found = merchant(&second.variables())
        .query(&number)
        .await
        .expect("the order");
    assert_eq!(found.state, PaymentState::Paid);
    let env = std::fs::read_to_string(Path::new(&keys).join("wechatpay.env")).expect("written");
    assert!(
        env.contains(&format!("export WECHAT_PAY_URL={}", second.url())),
        "{env}"
    );
    second.end().await;
}

#[tokio::test]
async fn books_are_in_their_file_soon_after_they_change() {
    let scratch = Scratch::new().expect("a directory");
    let keys = scratch.path().join("keys").display().to_string();
    let path = scratch.path().join("books.json");
    let books = path.display().to_string();
    let mut double = Double::start(&["wechatpay", "--keys-dir", &keys, "--books", &books], &[]).await;
    let order = NewPayment {
        number: Number::new("PAY000001").expect("a number"),
        amount: Money::cny(1),
        subject: Subject::new("a plan").expect("a subject"),
        expires_at: Utc::now() + TimeDelta::minutes(30),
        notify_url: "http://127.0.0.1:1/".to_owned(),
    };
    merchant(&double.variables())
        .create(&order)
        .await
        .expect("an order");
    let read = || {
        let text = std::fs::read_to_string(&path).expect("whole at any moment");
        serde_json::from_str::<Books>(&text).expect("whole at any moment")
    };
    eventually(SOON, async || read().orders.contains_key("PAY000001")).await;
    double.child.signal(Signal::Kill);
    double.child.wait(SOON).await;
    assert_eq!(read().orders["PAY000001"].state, OrderState::Waiting);
}

#[tokio::test]
async fn the_other_providers_answer_and_keep_who_they_are() {
    let scratch = Scratch::new().expect("a directory");
    let keys = scratch.path().join("keys").display().to_string();
    for (role, path) in [("alipay", "/_books"), ("sms", "/_books"), ("wechat", "/_program")] {
        let first = Double::start(&[role, "--keys-dir", &keys], &[]).await;
        assert_eq!(first.said["role"], role);
        first.get(path).await;
        let known = same_but_for_the_url(first.variables());
        first.end().await;
        let second = Double::start(&[role, "--keys-dir", &keys], &[]).await;
        assert_eq!(same_but_for_the_url(second.variables()), known);
        second.end().await;
    }
    // What was sealed before a restart of the key service opens after it.
    let (clear, sealed) = (scratch.path().join("clear"), scratch.path().join("sealed"));
    std::fs::write(&clear, "a secret").expect("the directory can be written");
    let first = Double::start(&["kms", "--keys-dir", &keys], &[]).await;
    let path = |path: &std::path::Path| path.display().to_string();
    let seal = evenkeel(&["kms", "seal", &path(&clear), "--out", &path(&sealed)])
        .envs(first.variables())
        .output()
        .expect("the binary runs");
    assert!(seal.status.success(), "{}", stderr(&seal));
    first.end().await;
    let second = Double::start(&["kms", "--keys-dir", &keys], &[]).await;
    let look = ["kms", "rewrap", "--only-files", "--dry-run", "--file"];
    let opened = evenkeel(&look).arg(&sealed).envs(second.variables()).output();
    let opened = opened.expect("the binary runs");
    assert!(opened.status.success(), "{}", stderr(&opened));
    let calls = second.get("/_books").await;
    assert!(calls.to_string().contains("Decrypt"), "{calls}");
    second.end().await;
    // The auth service takes the variables for settings: what it misses is its database.
    let sms = Double::start(&["sms", "--keys-dir", &keys], &[]).await;
    let wechat = Double::start(&["wechat", "--keys-dir", &keys], &[]).await;
    let auth = evenkeel(&["serve", "auth"])
        .envs(sms.variables())
        .envs(wechat.variables())
        .output()
        .expect("the binary runs");
    assert!(stderr(&auth).contains("DATABASE_URL"), "{}", stderr(&auth));
    let ai = Double::start(&["ai"], &[]).await;
    assert_eq!(ai.get("/_books").await, json!({ "requests": [], "effects": [] }));
    assert_eq!(ai.said.get("environment"), None);
    ai.end().await;
}

#[tokio::test]
async fn a_wrong_file_is_a_usage_error_that_names_the_place() {
    let scratch = Scratch::new().expect("a directory");
    let keys = scratch.path().join("keys").display().to_string();
    let file = scratch.path().join("rules.json");
    let path = file.display().to_string();
    for (role, text, place) in [
        ("ai", "[\n{\"do\": \"dance\"}]", "line 2"),
        ("ai", "[{\"do\": {\"status\": {\"code\": 200}}}]", "rule 0"),
        ("wechatpay", "[{\"on\": \"refunds\"}]", "line 1"),
        ("alipay", "[{\"on\": \"refund\", \"do\": \"lose\"}]", "rule 0"),
        ("sms", "[\"send\", \"dance\"]", "line 1"),
        ("wechat", "[{\"status\": 99}]", "rule 0"),
        ("devices", "[{\"on\": \"release\", \"do\": \"lose\"}]", "rule 0"),
    ] {
        std::fs::write(&file, text).expect("written");
        let mut args = vec!["doubles", role, "--listen", "127.0.0.1:0", "--program", &path];
        if !["ai", "devices"].contains(&role) {
            args.extend(["--keys-dir", &keys]);
        }
        let output = run(&args);
        assert_eq!(code(&output), 2, "{role}: {}", stderr(&output));
        let said = stderr(&output);
        assert!(
            said.contains("rules.json") && said.contains(place),
            "{role}: {said}"
        );
    }
    let books = run(&["doubles", "alipay", "--keys-dir", &keys, "--books", &path]);
    assert_eq!(code(&books), 2, "{}", stderr(&books));
    let dir = run(&["doubles", "sms", "--keys-dir", &path]);
    assert_eq!(code(&dir), 64, "{}", stderr(&dir));
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = held.local_addr().expect("a port").to_string();
    let output = run(&["doubles", "ai", "--listen", &taken]);
    assert_eq!(code(&output), 69, "{}", stderr(&output));
    drop(held);
    assert_eq!(code(&run(&["doubles", "devices"])), 64);
}
