//! SMS and WeChat against their doubles.

use auth::phone::Phone;
use auth::sms::{self, SmsSender};
use auth::wechat::{self, Wechat};
use doubles::sms::Behaviour as SmsBehaviour;
use doubles::wechat::Behaviour as WechatBehaviour;

fn phone() -> Phone {
    Phone::parse("13800138000").unwrap()
}

fn sender(double: &doubles::sms::SmsProvider) -> SmsSender {
    let account = double.account();
    SmsSender::new(&sms::Config {
        secret_id: account.secret_id,
        secret_key: account.secret_key.into(),
        app_id: "1400000000".to_owned(),
        sign: "Evenkeel".to_owned(),
        template: "1".to_owned(),
        url: double.url(),
        ..sms::Config::default()
    })
    .unwrap()
}

#[tokio::test]
async fn a_code_that_is_signed_arrives() {
    let double = doubles::sms::start("127.0.0.1:0").await.unwrap();
    sender(&double).send(&phone(), "123456").await.unwrap();
    let sent = double.messages();
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0].phone.as_str(), sent[0].code.as_str()),
        ("+8613800138000", "123456")
    );
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_nothing_is_sent() {
    let double = doubles::sms::start("127.0.0.1:0").await.unwrap();
    let wrong = SmsSender::new(&sms::Config {
        secret_id: double.account().secret_id,
        secret_key: "another".into(),
        app_id: "1400000000".to_owned(),
        sign: "Evenkeel".to_owned(),
        template: "1".to_owned(),
        url: double.url(),
        ..sms::Config::default()
    })
    .unwrap();
    let refused = wrong.send(&phone(), "123456").await;
    assert!(matches!(refused, Err(sms::Error::Refused(_))), "{refused:?}");
    assert!(double.messages().is_empty());
}

#[tokio::test]
async fn what_the_provider_does_wrong_is_told_apart() {
    let double = doubles::sms::start("127.0.0.1:0").await.unwrap();
    let sender = sender(&double);
    double.program(vec![SmsBehaviour::Status(503)]);
    assert!(matches!(
        sender.send(&phone(), "1").await,
        Err(sms::Error::Unknown(_))
    ));
    double.program(vec![SmsBehaviour::Code(
        "LimitExceeded.PhoneNumberDailyLimit".to_owned(),
    )]);
    assert!(matches!(
        sender.send(&phone(), "1").await,
        Err(sms::Error::Limited { .. })
    ));
    assert!(double.messages().is_empty());
    // Sent, and only the answer is lost: nobody knows.
    double.program(vec![SmsBehaviour::Cut]);
    assert!(matches!(
        sender.send(&phone(), "1").await,
        Err(sms::Error::Unknown(_))
    ));
    assert_eq!(double.messages().len(), 1);
    let disabled = SmsSender::new(&sms::Config::default()).unwrap();
    assert!(matches!(
        disabled.send(&phone(), "1").await,
        Err(sms::Error::Disabled)
    ));
}

#[tokio::test]
async fn a_wechat_code_is_good_once() {
    let double = doubles::wechat::start("127.0.0.1:0").await.unwrap();
    let app = double.app();
    let wechat = Wechat::new(&wechat::Config {
        app_id: app.app_id.clone(),
        secret: app.secret.into(),
        url: double.url(),
    })
    .unwrap();
    let code = double.code("openid-1", Some("unionid-1"));
    let identity = wechat.exchange(&code).await.unwrap();
    assert_eq!(
        (identity.openid.as_str(), identity.unionid.as_deref()),
        ("openid-1", Some("unionid-1"))
    );
    assert!(matches!(
        wechat.exchange(&code).await,
        Err(wechat::Error::Code(40_163))
    ));
    assert!(matches!(
        wechat.exchange("unknown").await,
        Err(wechat::Error::Code(40_029))
    ));
    double.program(vec![WechatBehaviour::Code(45_011)]);
    assert!(matches!(
        wechat.exchange("any").await,
        Err(wechat::Error::Busy(45_011))
    ));
    double.program(vec![WechatBehaviour::Garbage]);
    assert!(matches!(
        wechat.exchange("any").await,
        Err(wechat::Error::Unknown(_))
    ));
    let stranger = Wechat::new(&wechat::Config {
        app_id: app.app_id,
        secret: "wrong".into(),
        url: double.url(),
    })
    .unwrap();
    let code = double.code("openid-2", None);
    assert!(matches!(
        stranger.exchange(&code).await,
        Err(wechat::Error::Refused(40_125))
    ));
}

#[tokio::test]
async fn a_redirect_is_not_followed_since_the_secret_would_go_with_it() {
    let wechats = [
        doubles::wechat::start("127.0.0.1:0").await.unwrap(),
        doubles::wechat::start("127.0.0.1:0").await.unwrap(),
    ];
    let app = wechats[0].app();
    let wechat = Wechat::new(&wechat::Config {
        app_id: app.app_id,
        secret: app.secret.into(),
        url: wechats[0].url(),
    })
    .unwrap();
    wechats[0].program(vec![WechatBehaviour::Redirect(
        wechats[1].url() + "/sns/jscode2session",
    )]);
    let answer = wechat.exchange("any").await;
    // The other one would have refused the app id.
    assert!(matches!(answer, Err(wechat::Error::Unknown(_))), "{answer:?}");

    let providers = [
        doubles::sms::start("127.0.0.1:0").await.unwrap(),
        doubles::sms::start("127.0.0.1:0").await.unwrap(),
    ];
    providers[0].program(vec![SmsBehaviour::Redirect(providers[1].url())]);
    let answer = sender(&providers[0]).send(&phone(), "123456").await;
    assert!(matches!(answer, Err(sms::Error::Unknown(_))), "{answer:?}");
}
