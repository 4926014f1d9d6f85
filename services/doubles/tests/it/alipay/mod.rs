//! The client of Alipay against its double.

mod faults;

use std::sync::{Arc, LazyLock};

use chrono::{FixedOffset, TimeDelta, Utc};
use doubles::alipay::{self, Alipay, Keys};
use doubles::pay::{Behaviour, Books, Operation, Options, RefundState as Ends, Rule, TransferState as Sent};
use pay::alipay::{Alipay as Client, Certificates, Config, Trust};
use pay::{
    Clock, Doubt, Event, Failure, Money, NewPayment, NotifyError, PaymentState, PrivateKey, Provider,
    PublicKey, Reason, RefundState, TransferState,
};
use test_support::eventually;

use crate::merchant::{Inbox, LONG, http, number, payment, refund, transfer};

/// A double with keys that all share: making some takes longer than the tests.
async fn double() -> Alipay {
    static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::generate().unwrap());
    alipay::resume("127.0.0.1:0", Options::default(), &KEYS, Books::default())
        .await
        .unwrap()
}

fn config(double: &Alipay) -> Config {
    let merchant = double.merchant();
    Config {
        app_id: merchant.app_id,
        merchant_id: merchant.merchant_id,
        key: PrivateKey::from_pem(merchant.private_key.as_bytes()).unwrap(),
        trust: Trust::PublicKey(PublicKey::from_pem(merchant.alipay_public_key.as_bytes()).unwrap()),
        url: double.url(),
    }
}

fn certificates(double: &Alipay) -> Certificates {
    let merchant = double.merchant();
    Certificates::from_pem(
        merchant.app_certificate.as_bytes(),
        merchant.alipay_certificate.as_bytes(),
        merchant.roots.as_bytes(),
    )
    .unwrap()
}

fn client(config: Config) -> Arc<Client> {
    Arc::new(Client::new(config, http(), Clock::system()).unwrap())
}

struct World {
    double: Alipay,
    client: Arc<Client>,
    inbox: Inbox,
}

impl World {
    async fn start() -> Self {
        let double = double().await;
        let client = client(config(&double));
        let inbox = Inbox::start(client.clone()).await;
        Self {
            double,
            client,
            inbox,
        }
    }

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
async fn an_order_is_known_once_it_was_scanned_and_told_once_it_is_paid() {
    let world = World::start().await;
    let order = payment("PAY000001", 1_990, &world.inbox.url());
    let code = world.client.create(&order).await.unwrap();
    assert_eq!(world.client.create(&order).await.unwrap(), code);
    assert_eq!(reason(world.client.query(&order.number).await), Reason::NotFound);
    assert_eq!(reason(world.client.close(&order.number).await), Reason::NotFound);

    let browser = reqwest::Client::new();
    let page = browser.get(&code.url).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("19.90"), "{page}");
    let waiting = world.client.query(&order.number).await.unwrap();
    assert_eq!(
        (waiting.state, waiting.amount),
        (PaymentState::Pending, Some(order.amount))
    );
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
        (PaymentState::Paid, Some(order.amount))
    );
    assert_eq!(reason(world.client.create(&order).await), Reason::AlreadyPaid);
    assert_eq!(reason(world.client.close(&order.number).await), Reason::State);
    eventually(LONG, async || {
        world.double.deliveries().iter().any(|sent| sent.taken)
    })
    .await;
}

#[tokio::test]
async fn certificate_mode_works_and_takes_no_other_certificate() {
    let double = double().await;
    let trust = Trust::Certificates(certificates(&double));
    let ours = client(Config {
        trust,
        ..config(&double)
    });
    let order = payment("PAY000001", 100, "");
    ours.create(&order).await.unwrap();

    let other = alipay::start("127.0.0.1:0", Options::default()).await.unwrap();
    let trust = Trust::Certificates(certificates(&other));
    let stranger = client(Config {
        trust,
        ..config(&double)
    });
    assert!(matches!(
        doubt(stranger.query(&order.number).await),
        Doubt::Unverified(_)
    ));
    // A certificate of another name has another number.
    let merchant = double.merchant();
    let app = merchant.app_certificate.as_bytes();
    let swapped = Certificates::from_pem(app, app, merchant.roots.as_bytes()).unwrap();
    let swapped = client(Config {
        trust: Trust::Certificates(swapped),
        ..config(&double)
    });
    let why = doubt(swapped.query(&order.number).await).to_string();
    assert!(why.contains("another certificate"), "{why}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_or_a_key_that_is_not_ours_is_not_served() {
    let double = double().await;
    let order = payment("PAY000001", 100, "");
    let slow = Clock::new(|| Utc::now() - TimeDelta::seconds(700));
    let slow = Client::new(config(&double), http(), slow).unwrap();
    assert!(
        doubt(slow.create(&order).await)
            .to_string()
            .contains("isv.invalid-timestamp")
    );
    let other = alipay::start("127.0.0.1:0", Options::default()).await.unwrap();
    let key = PrivateKey::from_pem(other.merchant().private_key.as_bytes()).unwrap();
    let forged = client(Config {
        key,
        ..config(&double)
    });
    assert!(
        doubt(forged.create(&order).await)
            .to_string()
            .contains("isv.invalid-signature")
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
    let asked = refund("REF000001", &order, 400);
    assert_eq!(
        world.client.refund(&asked).await.unwrap().state,
        RefundState::Succeeded
    );
    // The repetition moved nothing, and says no more than that.
    assert_eq!(
        world.client.refund(&asked).await.unwrap().state,
        RefundState::Processing
    );
    let found = world
        .client
        .query_refund(&asked.number, &asked.payment)
        .await
        .unwrap();
    assert_eq!(
        (found.state, found.amount),
        (RefundState::Succeeded, Some(Money::cny(400)))
    );
    assert_eq!(
        reason(world.client.refund(&refund("REF000001", &order, 401)).await),
        Reason::Mismatch
    );
    assert_eq!(
        reason(world.client.refund(&refund("REF000002", &order, 601)).await),
        Reason::Amount
    );
    assert_eq!(
        reason(
            world
                .client
                .query_refund(&number("REF000009"), &asked.payment)
                .await
        ),
        Reason::NotFound
    );
    assert_eq!(world.double.books().totals().refunded, 400);
    world
        .client
        .refund(&refund("REF000003", &order, 600))
        .await
        .unwrap();
    let whole = world.client.query(&order.number).await.unwrap();
    assert_eq!(whole.state, PaymentState::Refunded);
}

#[tokio::test]
async fn a_closed_order_cannot_be_paid() {
    let world = World::start().await;
    let order = world.order("PAY000001", 100, false).await;
    assert!(world.double.scan("PAY000001"));
    world.client.close(&order.number).await.unwrap();
    assert!(world.double.pay("PAY000001").is_none());
    assert_eq!(
        world.client.query(&order.number).await.unwrap().state,
        PaymentState::Closed
    );
    assert_eq!(reason(world.client.close(&order.number).await), Reason::State);
    assert_eq!(reason(world.client.create(&order).await), Reason::Closed);
}

#[tokio::test]
async fn a_refund_ends_as_the_provider_says() {
    for (ends, state) in [
        (Ends::Succeeded, RefundState::Succeeded),
        (Ends::Closed, RefundState::Closed),
    ] {
        let world = World::start().await;
        let order = world.order("PAY000001", 1_000, true).await;
        let fate = Behaviour::RefundEnds {
            state: ends,
            after_ms: 30,
        };
        world.double.program(vec![Rule::once(Operation::Refund, fate)]);
        let asked = refund("REF000001", &order, 250);
        assert_eq!(
            world.client.refund(&asked).await.unwrap().state,
            RefundState::Processing
        );
        let changed = Event::RefundChanged {
            refund: asked.number.clone(),
            payment: asked.payment.clone(),
        };
        eventually(LONG, async || world.inbox.events().contains(&changed)).await;
        let found = world
            .client
            .query_refund(&asked.number, &asked.payment)
            .await
            .unwrap();
        assert_eq!((found.state, found.amount), (state, Some(Money::cny(250))));
        let kept = if ends == Ends::Closed { 0 } else { 250 };
        assert_eq!(world.double.books().totals().refunded, kept);
    }
}

#[tokio::test]
async fn a_transfer_arrives_or_fails_and_is_told() {
    let world = World::start().await;
    world.double.tell_transfers_to(&world.inbox.url());
    let asked = transfer("WD000001", 500, "");
    assert_eq!(
        world.client.transfer(&asked).await.unwrap().state,
        TransferState::Succeeded
    );
    assert_eq!(
        world.client.transfer(&asked).await.unwrap().state,
        TransferState::Succeeded
    );
    let found = world.client.query_transfer(&asked.number).await.unwrap();
    assert_eq!(world.inbox.wait(1).await[0].event, Event::Transfer(found.clone()));
    assert_eq!(found.amount, Some(Money::cny(500)));
    assert_eq!(
        reason(world.client.transfer(&transfer("WD000001", 501, "")).await),
        Reason::Invalid
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
    let asked = transfer("WD000002", 900, "");
    assert_eq!(
        world.client.transfer(&asked).await.unwrap().state,
        TransferState::Processing
    );
    eventually(LONG, async || {
        let found = world.client.query_transfer(&asked.number).await.unwrap();
        matches!(found.state, TransferState::Failed { reason } if reason == "PAYEE_CARD_INFO_ERROR")
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
    let (back, paid): (Vec<_>, Vec<_>) = bill.lines.iter().partition(|line| line.refund.is_some());
    let sum = |lines: &[&pay::BillLine]| lines.iter().map(|line| line.amount.amount_minor).sum::<i64>();
    let totals = world.double.books().totals();
    assert_eq!((paid.len(), sum(&paid)), (2, totals.paid));
    assert_eq!((back.len(), sum(&back)), (1, totals.refunded));
    assert_eq!(
        bill.lines.iter().map(|line| line.fee_micros).sum::<i64>(),
        totals.fees * 10_000
    );
    assert_eq!(
        reason(world.client.bill(today.pred_opt().unwrap()).await),
        Reason::NotFound
    );
    for fault in [Behaviour::Garbage, Behaviour::Status(503), Behaviour::Cut] {
        world.double.program(vec![Rule::once(Operation::BillFile, fault)]);
        assert!(world.client.bill(today).await.unwrap_err().is_unknown());
    }
}

#[tokio::test]
async fn no_debug_output_shows_a_secret() {
    let double = double().await;
    let merchant = double.merchant();
    let shown = format!("{:?} {:?}", config(&double), client(config(&double)));
    // Any line of the key would do; this one is in the middle of it.
    let middle = &merchant.private_key[600..660];
    assert!(!shown.contains(middle), "{shown}");
}

#[tokio::test]
async fn a_double_that_died_comes_back_with_its_keys_and_books() {
    let world = World::start().await;
    let order = world.order("PAY000001", 1_000, true).await;
    let (addr, keys, books) = (world.double.addr(), world.double.keys(), world.double.books());
    let World { double, client, .. } = world;
    drop(double);
    eventually(LONG, async || client.query(&order.number).await.is_err()).await;
    let back = alipay::resume(addr, Options::default(), &keys, books.clone())
        .await
        .unwrap();
    eventually(LONG, async || client.query(&order.number).await.is_ok()).await;
    assert_eq!(back.books(), books);
}
