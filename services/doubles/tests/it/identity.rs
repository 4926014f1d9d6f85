//! What a directory keeps of a double: the next one with it is the same.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use doubles::pay::{Behaviour, Books, Operation, Options, Rule};
use doubles::{alipay, sms, wechat, wechatpay};
use pay::alipay::{Alipay, Certificates, Config as AlipayConfig, Trust as AlipayTrust};
use pay::wechat::{ApiV3Key, Config, Trust, WeChatPay};
use pay::{Clock, Money, PaymentState, PrivateKey, Provider, PublicKey};
use serde_json::json;
use test_support::Scratch;

use crate::merchant::{http, number, payment};

/// A client that knows nothing but the variables a double has written.
fn wechat_client(variables: &BTreeMap<&str, String>, url: String) -> WeChatPay {
    let path = |name: &str| std::path::PathBuf::from(&variables[name]);
    let config = Config {
        app_id: variables["WECHAT_PAY_APPID"].clone(),
        merchant_id: variables["WECHAT_PAY_MCHID"].clone(),
        serial: variables["WECHAT_PAY_SERIAL_NO"].clone(),
        key: PrivateKey::from_file(&path("WECHAT_PAY_PRIVATE_KEY_PATH")).unwrap(),
        api_v3_key: ApiV3Key::new(variables["WECHAT_PAY_API_V3_KEY"].as_bytes()).unwrap(),
        trust: Trust::PublicKey {
            id: variables["WECHAT_PAY_PUBLIC_KEY_ID"].clone(),
            key: PublicKey::from_file(&path("WECHAT_PAY_PUBLIC_KEY_PATH")).unwrap(),
        },
        scene: None,
        url,
    };
    WeChatPay::new(config, http(), Clock::system()).unwrap()
}

fn alipay_client(variables: &BTreeMap<&str, String>, by_certificate: bool, url: String) -> Alipay {
    let read = |name: &str| std::fs::read(&variables[name]).unwrap();
    let trust = if by_certificate {
        let certificates = Certificates::from_pem(
            &read("ALIPAY_APP_CERT_PATH"),
            &read("ALIPAY_CERT_PATH"),
            &read("ALIPAY_ROOT_CERT_PATH"),
        );
        AlipayTrust::Certificates(certificates.unwrap())
    } else {
        AlipayTrust::PublicKey(PublicKey::from_pem(&read("ALIPAY_PUBLIC_KEY_PATH")).unwrap())
    };
    let config = AlipayConfig {
        app_id: variables["ALIPAY_APPID"].clone(),
        merchant_id: variables["ALIPAY_MERCHANT_ID"].clone(),
        key: PrivateKey::from_pem(&read("ALIPAY_PRIVATE_KEY_PATH")).unwrap(),
        trust,
        url,
    };
    Alipay::new(config, http(), Clock::system()).unwrap()
}

#[tokio::test]
async fn a_restarted_wechat_pay_is_the_same_for_its_merchant_and_knows_its_orders() {
    let dir = Scratch::new().unwrap();
    let dir = dir.path().join("keys");
    let keys = wechatpay::Keys::in_dir(&dir).unwrap();
    let first = wechatpay::resume("127.0.0.1:0", Options::default(), &keys, Books::default())
        .await
        .unwrap();
    let variables: BTreeMap<_, _> = first.merchant().write(&dir).unwrap().into_iter().collect();
    let order = payment("PAY000001", 1_000, "");
    let client = wechat_client(&variables, first.url());
    client.create(&order).await.unwrap();
    first.pay("PAY000001").unwrap();
    let (books, merchant) = (first.books(), first.merchant());
    drop(first);

    let keys = wechatpay::Keys::in_dir(&dir).unwrap();
    assert_eq!(keys.merchant(), merchant);
    let second = wechatpay::resume("127.0.0.1:0", Options::default(), &keys, books)
        .await
        .unwrap();
    let client = wechat_client(&variables, second.url());
    let found = client.query(&number("PAY000001")).await.unwrap();
    assert_eq!(
        (found.state, found.amount),
        (PaymentState::Paid, Some(Money::cny(1_000)))
    );
    for entry in std::fs::read_dir(&dir).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // Others are others.
    let other = dir.join("other");
    assert_ne!(wechatpay::Keys::in_dir(&other).unwrap().merchant(), merchant);
}

#[tokio::test]
async fn a_restarted_alipay_is_the_same_for_its_merchant_in_both_modes() {
    let dir = Scratch::new().unwrap();
    let keys = alipay::Keys::in_dir(dir.path()).unwrap();
    let variables: BTreeMap<_, _> = keys.merchant().write(dir.path()).unwrap().into_iter().collect();
    let keys = alipay::Keys::in_dir(dir.path()).unwrap();
    let double = alipay::resume("127.0.0.1:0", Options::default(), &keys, Books::default())
        .await
        .unwrap();
    for (by_certificate, name) in [(false, "PAY000001"), (true, "PAY000002")] {
        let client = alipay_client(&variables, by_certificate, double.url());
        client.create(&payment(name, 1_000, "")).await.unwrap();
        double.pay(name).unwrap();
        let found = client.query(&number(name)).await.unwrap();
        assert_eq!(found.state, PaymentState::Paid);
    }
}

#[tokio::test]
async fn an_sms_account_and_a_mini_program_are_kept() {
    let dir = Scratch::new().unwrap();
    let account = sms::Account::in_dir(dir.path()).unwrap();
    assert_eq!(sms::Account::in_dir(dir.path()).unwrap(), account);
    let double = sms::resume("127.0.0.1:0", account.clone()).await.unwrap();
    assert_eq!(double.account(), account);
    let app = wechat::App::in_dir(dir.path()).unwrap();
    assert_eq!(wechat::App::in_dir(dir.path()).unwrap(), app);
    let double = wechat::resume("127.0.0.1:0", app.clone()).await.unwrap();
    assert_eq!(double.app(), app);
    assert!(
        app.environment(&double.url())
            .contains(&("WECHAT_SECRET", app.secret))
    );
}

#[test]
fn keys_that_cannot_be_read_are_named_and_stay_as_they_are() {
    let dir = Scratch::new().unwrap();
    let merchant = json!({
        "app_id": "wx", "merchant_id": "1", "serial": "A", "private_key": "no key", "public_key_id": "P",
        "public_key": "", "api_v3_key": "0123456789abcdef0123456789abcdef",
    });
    let broken = [
        "{".to_owned(),
        json!({ "merchant": merchant, "platform_private_key": "", "certificates": [] }).to_string(),
    ];
    for text in broken {
        let path = dir.path().join("wechatpay.json");
        std::fs::write(&path, &text).unwrap();
        let error = wechatpay::Keys::in_dir(dir.path()).unwrap_err();
        assert!(error.to_string().contains("wechatpay.json"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[tokio::test]
async fn a_programme_that_makes_no_sense_is_refused_with_its_place() {
    let dir = Scratch::new().unwrap();
    let keys = alipay::Keys::in_dir(dir.path()).unwrap();
    let pay = alipay::resume("127.0.0.1:0", Options::default(), &keys, Books::default())
        .await
        .unwrap();
    let (sms, wechat) = (
        sms::start("127.0.0.1:0").await.unwrap(),
        wechat::start("127.0.0.1:0").await.unwrap(),
    );
    let client = reqwest::Client::new();
    for (url, rules) in [
        (
            pay.base_url(),
            json!([Rule::once(Operation::Refund, Behaviour::Answer), { "on": "refund", "do": "lose" }]),
        ),
        (sms.url(), json!(["send", { "status": 200 }])),
        (wechat.url(), json!(["answer", { "status": 99 }])),
    ] {
        let answer = client
            .put(format!("{url}/_program"))
            .json(&rules)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400, "{rules}");
        let text = answer.text().await.unwrap();
        assert!(text.contains("rule 1"), "{text}");
    }
}
