//! The client of WeChat Pay against its double.

mod faults;

use std::sync::{Arc, LazyLock};

use chrono::{FixedOffset, TimeDelta, Utc};
use doubles::pay::{Behaviour, Books, Operation, Options, RefundState as Ends, Rule, TransferState as Sent};
use doubles::wechatpay::{self, Keys, WeChatPay};
use pay::wechat::{ApiV3Key, Config, TransferScene, Trust, WeChatPay as Client};
use pay::{
    Clock, Doubt, Event, Failure, Money, NewPayment, NotifyError, PaymentState, PrivateKey, Provider,
    PublicKey, Reason, RefundState, TransferState,
};
use test_support::eventually;

use crate::merchant::{Inbox, LONG, http, number, payment, refund, transfer};

/// A double with keys that all share: making some takes longer than the tests.
async fn double() -> WeChatPay {
    static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::generate().unwrap());
    wechatpay::resume("127.0.0.1:0", Options::default(), &KEYS, Books::default())
        .await
        .unwrap()
}

fn config(double: &WeChatPay) -> Config {
    let merchant = double.merchant();
    Config {
        app_id: merchant.app_id,
        merchant_id: merchant.merchant_id,
        serial: merchant.serial,
        key: PrivateKey::from_pem(merchant.private_key.as_bytes()).unwrap(),
        api_v3_key: ApiV3Key::new(merchant.api_v3_key.as_bytes()).unwrap(),
        trust: Trust::Certificates,
        scene: Some(TransferScene {
            id: "1005".to_owned(),
            reports: vec![("岗位类型".to_owned(), "推广员".to_owned())],
        }),
        url: double.url(),
    }
}

fn client(double: &WeChatPay) -> Arc<Client> {
    Arc::new(Client::new(config(double), http(), Clock::system()).unwrap())
}

struct World {
    double: WeChatPay,
    client: Arc<Client>,
    inbox: Inbox,
}

impl World {
    async fn start() -> Self {
        Self::of(double().await).await
    }

    async fn of(double: WeChatPay) -> Self {
        let client = client(&double);
        let inbox = Inbox::start(client.clone()).await;
        Self {
            double,
            client,
            inbox,
        }
    }

    /// An order that was created, and paid if `pay`.
    async fn order(&self, name: &str, fen: i64, pay: bool) -> NewPayment {
        let order = payment(name, fen, &self.inbox.url());
        self.client.create(&order).await.unwrap();
        if pay {
            self.double.pay(name).unwrap();
        }
        order
    }
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, Failure>) -> Reason {
    outcome.unwrap_err().reason().unwrap()
}

fn doubt<T: std::fmt::Debug>(outcome: Result<T, Failure>) -> Doubt {
    match outcome.unwrap_err() {
        Failure::Unknown(doubt) => doubt,
        Failure::Refused(refusal) => panic!("refused: {refusal}"),
    }
}

#[tokio::test]
async fn an_order_is_paid_on_its_page_and_told_about() {
    let world = World::start().await;
    let order = payment("PAY000001", 1_990, &world.inbox.url());
    let code = world.client.create(&order).await.unwrap();
    assert_eq!(world.client.create(&order).await.unwrap(), code);
    let waiting = world.client.query(&order.number).await.unwrap();
    assert_eq!(
        (waiting.state, waiting.amount),
        (PaymentState::Pending, Some(order.amount))
    );

    let browser = reqwest::Client::new();
    let page = browser.get(&code.url).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("19.90") && page.contains("会员 12 个月"), "{page}");
    browser
        .post(&code.url)
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap();

    let told = world.inbox.wait(1).await;
    let found = world.client.query(&order.number).await.unwrap();
    assert_eq!(told[0].event, Event::Payment(found.clone()));
    assert_eq!(
        (found.state, found.amount),
        (PaymentState::Paid, Some(Money::cny(1_990)))
    );
    assert_eq!(reason(world.client.create(&order).await), Reason::AlreadyPaid);
    assert_eq!(
        reason(world.client.close(&order.number).await),
        Reason::AlreadyPaid
    );
    eventually(LONG, async || {
        world.double.deliveries().iter().any(|sent| sent.taken)
    })
    .await;
}

#[tokio::test]
async fn the_public_key_is_trusted_and_no_certificate_then() {
    let double = double().await;
    let merchant = double.merchant();
    let trust = Trust::PublicKey {
        id: merchant.public_key_id.clone(),
        key: PublicKey::from_pem(merchant.public_key.as_bytes()).unwrap(),
    };
    let client = Client::new(
        Config {
            trust,
            ..config(&double)
        },
        http(),
        Clock::system(),
    )
    .unwrap();
    let order = payment("PAY000001", 100, "");
    client.create(&order).await.unwrap();
    let other = Trust::PublicKey {
        id: "PUB_KEY_ID_1".to_owned(),
        key: PublicKey::from_pem(merchant.public_key.as_bytes()).unwrap(),
    };
    let other = Client::new(
        Config {
            trust: other,
            ..config(&double)
        },
        http(),
        Clock::system(),
    )
    .unwrap();
    assert!(matches!(
        doubt(other.query(&order.number).await),
        Doubt::Unverified(_)
    ));
}

#[tokio::test]
async fn a_merchant_is_told_under_the_key_that_it_trusts() {
    let double = double().await;
    let merchant = double.merchant();
    let trust = Trust::PublicKey {
        id: merchant.public_key_id.clone(),
        key: PublicKey::from_pem(merchant.public_key.as_bytes()).unwrap(),
    };
    let by_public_key = Config {
        trust,
        ..config(&double)
    };
    let by_public_key = Arc::new(Client::new(by_public_key, http(), Clock::system()).unwrap());
    for (number, client) in [
        ("PAY000001", by_public_key.clone()),
        ("PAY000002", self::client(&double)),
        ("PAY000003", by_public_key),
    ] {
        // It takes what is signed with the key that it trusts, and nothing else.
        let inbox = Inbox::start(client.clone()).await;
        client.create(&payment(number, 100, &inbox.url())).await.unwrap();
        double.pay(number).unwrap();
        let told = inbox.wait(1).await;
        assert!(matches!(&told[0].event, Event::Payment(paid) if paid.state == PaymentState::Paid));
    }
}

#[tokio::test]
async fn certificates_are_fetched_again_when_they_rotate() {
    let own = wechatpay::start("127.0.0.1:0", Options::default()).await.unwrap();
    let world = World::of(own).await;
    world.order("PAY000001", 100, false).await;
    world.double.rotate_certificate().unwrap();
    // The one that was fetched a moment ago does not do, and another fetch has to wait for a minute.
    assert!(matches!(
        doubt(world.client.query(&number("PAY000001")).await),
        Doubt::Unverified(_)
    ));
    let later = Clock::new(|| Utc::now() + TimeDelta::seconds(2));
    let fresh = Client::new(config(&world.double), http(), later).unwrap();
    assert!(fresh.query(&number("PAY000001")).await.is_ok());
}

#[tokio::test]
async fn certificates_that_cannot_be_fetched_leave_the_outcome_open() {
    let double = double().await;
    double.program(vec![Rule::once(Operation::Certificates, Behaviour::Status(503))]);
    let order = payment("PAY000001", 100, "");
    assert!(matches!(
        doubt(client(&double).create(&order).await),
        Doubt::Unverified(_)
    ));
    assert_eq!(double.books().orders.len(), 1);
    double.program(vec![Rule::once(Operation::Certificates, Behaviour::WrongKey)]);
    assert!(matches!(
        doubt(client(&double).query(&order.number).await),
        Doubt::Unverified(_)
    ));
    assert!(client(&double).query(&order.number).await.is_ok());
}

#[tokio::test]
async fn a_clock_that_is_wrong_or_a_key_that_is_not_ours_is_not_served() {
    let double = double().await;
    let order = payment("PAY000001", 100, "");
    let slow = Clock::new(|| Utc::now() - TimeDelta::seconds(400));
    let slow = Client::new(config(&double), http(), slow).unwrap();
    assert!(matches!(doubt(slow.create(&order).await), Doubt::Unverified(why) if why.contains("SIGN_ERROR")));
    let other = wechatpay::start("127.0.0.1:0", Options::default()).await.unwrap();
    let key = PrivateKey::from_pem(other.merchant().private_key.as_bytes()).unwrap();
    let forged = Client::new(
        Config {
            key,
            ..config(&double)
        },
        http(),
        Clock::system(),
    )
    .unwrap();
    assert!(
        doubt(forged.create(&order).await)
            .to_string()
            .contains("SIGN_ERROR")
    );
    assert_eq!(double.books().orders.len(), 0);
}

#[tokio::test]
async fn numbers_stand_for_one_thing() {
    let world = World::start().await;
    let order = world.order("PAY000001", 1_000, false).await;
    let dearer = NewPayment {
        amount: Money::cny(1_001),
        ..order.clone()
    };
    assert_eq!(reason(world.client.create(&dearer).await), Reason::Mismatch);
    world.double.pay("PAY000001").unwrap();
    let first = world
        .client
        .refund(&refund("REF000001", &order, 400))
        .await
        .unwrap();
    let again = world
        .client
        .refund(&refund("REF000001", &order, 400))
        .await
        .unwrap();
    assert_eq!(first.provider_no, again.provider_no);
    assert_eq!(
        reason(world.client.refund(&refund("REF000001", &order, 401)).await),
        Reason::Invalid
    );
    assert_eq!(
        reason(world.client.refund(&refund("REF000002", &order, 601)).await),
        Reason::Invalid
    );
    assert_eq!(world.double.books().totals().refunded, 400);
    let sent = transfer("WD000001", 500, &world.inbox.url());
    world.client.transfer(&sent).await.unwrap();
    world.client.transfer(&sent).await.unwrap();
    assert_eq!(
        reason(world.client.transfer(&transfer("WD000001", 501, "")).await),
        Reason::Mismatch
    );
    assert_eq!(world.double.books().totals().transferred, 500);
}

#[tokio::test]
async fn a_closed_order_cannot_be_paid() {
    let world = World::start().await;
    let order = world.order("PAY000001", 100, false).await;
    world.client.close(&order.number).await.unwrap();
    world.client.close(&order.number).await.unwrap();
    assert!(world.double.pay("PAY000001").is_none());
    assert_eq!(
        world.client.query(&order.number).await.unwrap().state,
        PaymentState::Closed
    );
    assert_eq!(reason(world.client.create(&order).await), Reason::Closed);
    assert_eq!(
        reason(world.client.close(&number("PAY000009")).await),
        Reason::NotFound
    );
    assert_eq!(
        reason(world.client.query(&number("PAY000009")).await),
        Reason::NotFound
    );
}

#[tokio::test]
async fn a_refund_ends_as_the_provider_says() {
    for (ends, state) in [
        (Ends::Succeeded, RefundState::Succeeded),
        (Ends::Closed, RefundState::Closed),
        (Ends::Abnormal, RefundState::Abnormal),
    ] {
        let world = World::start().await;
        let order = world.order("PAY000001", 1_000, true).await;
        let fate = Behaviour::RefundEnds {
            state: ends,
            after_ms: 30,
        };
        world.double.program(vec![
            Rule::once(Operation::NotifyPayment, Behaviour::Lose),
            Rule::once(Operation::Refund, fate),
        ]);
        let asked = refund("REF000001", &order, 250);
        assert_eq!(
            world.client.refund(&asked).await.unwrap().state,
            RefundState::Processing
        );
        let is_told = async || {
            let refunds = world.inbox.events().into_iter();
            refunds
                .filter_map(|event| match event {
                    Event::Refund(refund) => Some(refund),
                    Event::Payment(_) | Event::RefundChanged { .. } | Event::Transfer(_) => None,
                })
                .next()
        };
        eventually(LONG, async || is_told().await.is_some()).await;
        let told = is_told().await.unwrap();
        assert_eq!((told.state, told.amount), (state, Some(Money::cny(250))));
        let found = world
            .client
            .query_refund(&asked.number, &asked.payment)
            .await
            .unwrap();
        assert_eq!((found.state, found.refunded_at), (state, told.refunded_at));
        let kept = if ends == Ends::Closed { 0 } else { 250 };
        assert_eq!(world.double.books().totals().refunded, kept);
    }
}

#[tokio::test]
async fn a_transfer_waits_for_its_recipient() {
    let world = World::start().await;
    let asked = transfer("WD000001", 500, &world.inbox.url());
    let waiting = world.client.transfer(&asked).await.unwrap();
    assert!(matches!(
        waiting.state,
        TransferState::AwaitingRecipient { package: Some(_) }
    ));
    let end = format!("{}/_transfers/WD000001/end", world.double.url());
    reqwest::Client::new()
        .post(end)
        .json(&Sent::Succeeded)
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
    let told = world.inbox.wait(1).await;
    let found = world.client.query_transfer(&asked.number).await.unwrap();
    assert_eq!(told[0].event, Event::Transfer(found.clone()));
    assert_eq!(
        (found.state, found.amount),
        (TransferState::Succeeded, Some(Money::cny(500)))
    );
    assert_eq!(
        reason(world.client.query_transfer(&number("WD000009")).await),
        Reason::NotFound
    );

    let fails = Behaviour::TransferEnds {
        state: Sent::Failed,
        after_ms: 1,
    };
    world.double.program(vec![Rule::once(Operation::Transfer, fails)]);
    world
        .client
        .transfer(&transfer("WD000002", 900, ""))
        .await
        .unwrap();
    eventually(LONG, async || {
        let found = world.client.query_transfer(&number("WD000002")).await.unwrap();
        found.state
            == TransferState::Failed {
                reason: "PAYEE_ACCOUNT_ABNORMAL".to_owned(),
            }
    })
    .await;
    assert_eq!(world.double.books().totals().transferred, 500);
}

#[tokio::test]
async fn the_bill_says_what_the_books_say() {
    let world = World::start().await;
    let order = world.order("PAY000001", 10_000, true).await;
    world.order("PAY000002", 333, true).await;
    world.order("PAY000003", 777, false).await;
    world
        .client
        .refund(&refund("REF000001", &order, 2_500))
        .await
        .unwrap();
    let today = Utc::now()
        .with_timezone(&FixedOffset::east_opt(28_800).unwrap())
        .date_naive();
    let bill = world.client.bill(today).await.unwrap();
    let paid: i64 = bill
        .lines
        .iter()
        .filter(|line| line.refund.is_none())
        .map(|line| line.amount.amount_minor)
        .sum();
    let back: i64 = bill
        .lines
        .iter()
        .filter(|line| line.refund.is_some())
        .map(|line| line.amount.amount_minor)
        .sum();
    let fees: i64 = bill.lines.iter().map(|line| line.fee_micros).sum();
    let totals = world.double.books().totals();
    assert_eq!((bill.lines.len(), paid, back), (3, totals.paid, totals.refunded));
    assert_eq!(fees, totals.fees * 10_000);
    let yesterday = today.pred_opt().unwrap();
    assert_eq!(reason(world.client.bill(yesterday).await), Reason::NotFound);
    world
        .double
        .program(vec![Rule::once(Operation::BillFile, Behaviour::Garbage)]);
    assert!(matches!(
        doubt(world.client.bill(today).await),
        Doubt::Unverified(_)
    ));
}

#[tokio::test]
async fn no_debug_output_shows_a_secret() {
    let double = double().await;
    let merchant = double.merchant();
    let shown = format!("{:?} {:?}", config(&double), client(&double));
    // Any line of the key would do; this one is in the middle of it.
    let middle = &merchant.private_key[600..660];
    assert!(
        !shown.contains(middle) && !shown.contains(&merchant.api_v3_key),
        "{shown}"
    );
}

#[tokio::test]
async fn a_double_that_died_comes_back_with_its_keys_and_books() {
    let world = World::start().await;
    let order = world.order("PAY000001", 1_000, true).await;
    let (addr, keys, books) = (world.double.addr(), world.double.keys(), world.double.books());
    let World { double, client, .. } = world;
    drop(double);
    eventually(LONG, async || client.query(&order.number).await.is_err()).await;
    let back = wechatpay::resume(addr, Options::default(), &keys, books.clone())
        .await
        .unwrap();
    eventually(LONG, async || client.query(&order.number).await.is_ok()).await;
    assert_eq!(back.books(), books);
}
