//! A service that is away, or misbehaves.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use doubles::kms::{Behaviour, KmsService};
use kms::{Error, Kms, Patience, Provider, Tencent, Unavailable};
use tencent_cloud::{Account, Call, Client, Clock, authorization};
use test_support::eventually;

use super::world::{CALL, HERE, SECRET, account, actions, client, endpoint, handle, patience, service};

/// Handles have to give up within this time; machines may be slow.
const SOON: Duration = Duration::from_secs(5);

fn times(behaviour: &Behaviour, times: usize) -> Vec<Behaviour> {
    vec![behaviour.clone(); times]
}

fn with(double: &KmsService, patience: Patience) -> Kms {
    let client = client(double, Clock::system());
    let tencent = Tencent::new(client, double.key_id().to_owned(), patience).unwrap();
    Kms::new(Provider::Tencent(tencent), Vec::new())
}

#[tokio::test]
async fn a_service_that_does_not_answer_as_it_should_is_away_and_what_is_remembered_opens() {
    let double = service().await;
    let kms = handle(&double, double.key_id());
    let sealed = kms.seal(HERE, SECRET).await.unwrap();
    let other = handle(&double, double.key_id());
    for behaviour in [
        Behaviour::Status(503),
        Behaviour::Hang,
        Behaviour::Delay(60_000),
        Behaviour::Huge,
        Behaviour::Garbage,
        Behaviour::Cut,
        Behaviour::Code("InternalError".to_owned()),
        Behaviour::Code("RequestLimitExceeded".to_owned()),
        Behaviour::Redirect("http://127.0.0.1:1".to_owned()),
    ] {
        // Three calls an operation.
        double.program(times(&behaviour, 6));
        let started = Instant::now();
        let opened = other.open(HERE, &sealed).await;
        assert!(
            matches!(
                opened,
                Err(Error::Unavailable(Unavailable::Call { attempts: 3, .. }))
            ),
            "{behaviour:?}: {opened:?}"
        );
        let anew = kms.seal(HERE, SECRET).await;
        assert!(
            matches!(anew, Err(Error::Unavailable(_))),
            "{behaviour:?}: {anew:?}"
        );
        assert!(started.elapsed() < SOON, "{behaviour:?}");
        assert_eq!(kms.open(HERE, &sealed).await.unwrap().as_slice(), SECRET);
    }
    double.program(Vec::new());
    other.open(HERE, &sealed).await.unwrap();
    let url = double.url();
    drop(double);
    eventually(SOON, || async { reqwest::get(&url).await.is_err() }).await;
    let anew = kms.seal(HERE, SECRET).await;
    assert!(matches!(anew, Err(Error::Unavailable(_))), "{anew:?}");
    assert_eq!(other.open(HERE, &sealed).await.unwrap().as_slice(), SECRET);
}

#[tokio::test]
async fn a_short_failure_is_not_noticed() {
    let double = service().await;
    let kms = handle(&double, double.key_id());
    for behaviour in [Behaviour::Status(502), Behaviour::Cut, Behaviour::Hang] {
        double.program(times(&behaviour, 2));
        let sealed = kms.seal(HERE, SECRET).await.unwrap();
        double.program(times(&behaviour, 2));
        handle(&double, double.key_id())
            .open(HERE, &sealed)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_operation_ends_in_its_time_whatever_its_calls_may_take() {
    let double = service().await;
    let kms = with(
        &double,
        Patience {
            operation: CALL / 5,
            at_once: 1,
            ..patience()
        },
    );
    double.program(times(&Behaviour::Hang, 3));
    // The second one does not even get a turn.
    let started = Instant::now();
    let (a, b) = tokio::join!(kms.seal(HERE, SECRET), kms.seal(HERE, SECRET));
    for outcome in [a, b] {
        assert!(
            matches!(outcome, Err(Error::Unavailable(Unavailable::Late(_)))),
            "{outcome:?}"
        );
    }
    // Three calls that hang would take three times as long as one.
    assert!(started.elapsed() < CALL * 3);
}

#[tokio::test]
async fn a_refusal_is_passed_on_and_not_repeated() {
    let double = service().await;
    let kms = handle(&double, double.key_id());
    for code in [
        "UnauthorizedOperation",
        "ResourceUnavailable.CmkNotFound",
        "InvalidParameter",
    ] {
        double.program(vec![Behaviour::Code(code.to_owned())]);
        let refused = kms.seal(HERE, SECRET).await;
        assert!(
            matches!(&refused, Err(Error::Refused(found)) if found == code),
            "{refused:?}"
        );
    }
    double.program(vec![Behaviour::WrongSignature]);
    let refused = kms.seal(HERE, SECRET).await;
    assert!(matches!(refused, Err(Error::Refused(code)) if code == "AuthFailure.SignatureFailure"));
    assert_eq!(actions(&double).len(), 4);
    let stranger = handle(&double, "00000000-0000-0000-0000-000000000000");
    let refused = stranger.seal(HERE, SECRET).await;
    assert!(matches!(refused, Err(Error::Refused(code)) if code == "ResourceUnavailable.CmkNotFound"));
}

#[tokio::test]
async fn a_wrong_key_or_clock_is_refused() {
    let double = service().await;
    let refused_with = async |account: Account, clock: Clock| {
        let client = Client::build(
            endpoint(&double, CALL),
            account,
            clock,
            reqwest::Client::builder(),
        )
        .unwrap();
        let tencent = Tencent::new(client, double.key_id().to_owned(), patience()).unwrap();
        let kms = Kms::new(Provider::Tencent(tencent), Vec::new());
        match kms.seal(HERE, SECRET).await {
            Err(Error::Refused(code)) => code,
            other => panic!("{other:?}"),
        }
    };
    let wrong = Account {
        secret_key: "another".into(),
        ..account(&double)
    };
    let code = refused_with(wrong, Clock::system()).await;
    assert_eq!(code, "AuthFailure.SignatureFailure");
    let late = Clock::new(|| Utc::now() - TimeDelta::minutes(10));
    let code = refused_with(account(&double), late).await;
    assert_eq!(code, "AuthFailure.SignatureExpire");
    assert!(double.calls().is_empty());
}

#[tokio::test]
async fn the_action_is_part_of_what_is_signed() {
    let double = service().await;
    let send = async |signed: Option<&'static str>, action: &str| {
        let (body, now) = (format!(r#"{{"KeyId":"{}"}}"#, double.key_id()), Utc::now());
        let host = double.url().replace("http://", "");
        let call = Call {
            service: "kms",
            host: &host,
            content_type: "application/json",
            action: signed,
            body: body.as_bytes(),
            at: now,
        };
        let account = double.account();
        let authorization = authorization(&call, &account.secret_id, &account.secret_key);
        let request = reqwest::Client::new()
            .post(double.url())
            .header("authorization", authorization)
            .header("content-type", "application/json")
            .header("x-tc-action", action)
            .header("x-tc-version", "2019-01-18")
            .header("x-tc-timestamp", now.timestamp().to_string())
            .body(body);
        request.send().await.unwrap().text().await.unwrap()
    };
    let described = send(Some("DescribeKey"), "DescribeKey").await;
    assert!(described.contains(r#""KeyState":"Enabled""#), "{described}");
    for signed in [None, Some("GenerateDataKey")] {
        let refused = send(signed, "DescribeKey").await;
        assert!(refused.contains("AuthFailure"), "{refused}");
    }
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_seals_nothing() {
    let double = service().await;
    let kms = handle(&double, double.key_id());
    double.program(vec![Behaviour::ShortKey]);
    let sealed = kms.seal(HERE, SECRET).await;
    assert!(matches!(sealed, Err(Error::Unavailable(_))), "{sealed:?}");
    let sealed = kms.seal(HERE, SECRET).await.unwrap();
    // A new wrapping that does not open is not given back.
    let next = handle(&double, &double.create_key());
    double.program(vec![Behaviour::Answer, Behaviour::ShortKey]);
    let moved = next.rewrap(HERE, &sealed).await;
    assert!(matches!(moved, Err(Error::Unavailable(_))), "{moved:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let [double, other] = [service().await, service().await];
    let kms = handle(&double, double.key_id());
    double.program(times(&Behaviour::Redirect(other.url()), 3));
    assert!(matches!(kms.seal(HERE, SECRET).await, Err(Error::Unavailable(_))));
    assert!(other.calls().is_empty());
}

#[tokio::test]
async fn a_disabled_key_opens_what_is_remembered_and_that_not_for_long() {
    let double = service().await;
    let kms = with(
        &double,
        Patience {
            remembered_for: Duration::from_secs(2),
            ..patience()
        },
    );
    let sealed = kms.seal(HERE, SECRET).await.unwrap();
    assert!(double.set_enabled(double.key_id(), false));
    kms.open(HERE, &sealed).await.unwrap();
    let (kms, sealed) = (&kms, &sealed);
    eventually(SOON, || async move {
        matches!(kms.open(HERE, sealed).await, Err(Error::Refused(_)))
    })
    .await;
    assert!(double.set_enabled(double.key_id(), true));
    kms.open(HERE, sealed).await.unwrap();
}
