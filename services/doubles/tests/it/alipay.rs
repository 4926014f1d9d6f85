//! The client of Alipay against its double.

use std::sync::Arc;

use chrono::{FixedOffset, TimeDelta, Utc};
use doubles::alipay::{self, Alipay};
use doubles::pay::{Behaviour, Operation, Options, RefundState as Ends, Rule, TransferState as Sent};
use pay::alipay::{Alipay as Client, Certificates, Config, Trust};
use pay::{
    Clock, Doubt, Event, Failure, Money, NewPayment, NotifyError, PaymentState, PrivateKey, Provider,
    PublicKey, Reason, RefundState, TransferState,
};
use test_support::eventually;

use crate::merchant::{Inbox, LONG, http, number, payment, refund, transfer};

async fn double() -> Alipay {
    alipay::start("127.0.0.1:0", Options::default()).await.unwrap()
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

/// Says whether a doubt is the right one.
type Expected = fn(&Doubt) -> bool;

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
async fn what_happens_to_answers_is_never_guessed() {
    let world = World::start().await;
    let faults: [(Behaviour, Expected); 9] = [
        (Behaviour::Status(500), |doubt| *doubt == Doubt::Status(500)),
        (Behaviour::Hang, |doubt| matches!(doubt, Doubt::Timeout(_))),
        (Behaviour::Cut, |doubt| matches!(doubt, Doubt::Broken(_))),
        (Behaviour::Garbage, |doubt| matches!(doubt, Doubt::Unverified(_))),
        (Behaviour::Huge, |doubt| matches!(doubt, Doubt::TooLarge(_))),
        (Behaviour::Redirect(world.double.url()), |doubt| {
            *doubt == Doubt::Status(307)
        }),
        (Behaviour::Unsigned, |doubt| matches!(doubt, Doubt::Unverified(_))),
        (Behaviour::WrongKey, |doubt| matches!(doubt, Doubt::Unverified(_))),
        (
            Behaviour::Code {
                code: "ACQ.SYSTEM_ERROR".to_owned(),
                status: 200,
            },
            |doubt| matches!(doubt, Doubt::Provider { code, .. } if code == "ACQ.SYSTEM_ERROR"),
        ),
    ];
    for (index, (behaviour, expected)) in faults.into_iter().enumerate() {
        for effect in [false, true] {
            let order = world.order(&format!("PAY{index}A{effect}"), 1_000, true).await;
            let asked = refund(&format!("REF{index}A{effect}"), &order, 300);
            let mut rule = Rule::once(Operation::Refund, behaviour.clone());
            if effect {
                rule = rule.with_effect();
            }
            world.double.program(vec![rule]);
            let doubt = doubt(world.client.refund(&asked).await);
            assert!(expected(&doubt), "{behaviour:?}: {doubt}");
            assert!(!doubt.nothing_happened(), "{behaviour:?}: {doubt}");
            // Asked again under the same number, it happens once.
            world.client.refund(&asked).await.unwrap();
            let found = world
                .client
                .query_refund(&asked.number, &asked.payment)
                .await
                .unwrap();
            assert_eq!(
                (found.state, found.amount),
                (RefundState::Succeeded, Some(Money::cny(300)))
            );
        }
    }
    let totals = world.double.books().totals();
    assert_eq!((totals.paid, totals.refunded), (18 * 1_000, 18 * 300));
}

#[tokio::test]
async fn every_call_can_be_without_an_answer() {
    let world = World::start().await;
    let order = world.order("PAY000001", 1_000, true).await;
    let (asked, sent) = (refund("REF000001", &order, 100), transfer("WD000001", 100, ""));
    for behaviour in [Behaviour::Status(502), Behaviour::Hang, Behaviour::WrongKey] {
        let on = [
            Operation::Create,
            Operation::Query,
            Operation::Close,
            Operation::Refund,
            Operation::QueryRefund,
            Operation::Transfer,
            Operation::QueryTransfer,
            Operation::Bill,
        ];
        world
            .double
            .program(on.map(|on| Rule::once(on, behaviour.clone())).to_vec());
        let client = &world.client;
        let (create, query, close, refund, query_refund, transfer, query_transfer, bill) = tokio::join!(
            client.create(&order),
            client.query(&order.number),
            client.close(&order.number),
            client.refund(&asked),
            client.query_refund(&asked.number, &asked.payment),
            client.transfer(&sent),
            client.query_transfer(&sent.number),
            client.bill(Utc::now().date_naive()),
        );
        let doubts = [
            doubt(create),
            doubt(query),
            doubt(close),
            doubt(refund),
            doubt(query_refund),
            doubt(transfer),
            doubt(query_transfer),
            doubt(bill),
        ];
        for doubt in doubts {
            let expected = if behaviour == Behaviour::Hang {
                matches!(doubt, Doubt::Timeout(_))
            } else if behaviour == Behaviour::WrongKey {
                matches!(doubt, Doubt::Unverified(_))
            } else {
                doubt == Doubt::Status(502)
            };
            assert!(expected, "{behaviour:?}: {doubt}");
        }
    }
}

#[tokio::test]
async fn published_codes_are_refusals_and_others_are_not() {
    let world = World::start().await;
    let order = world.order("PAY000001", 1_000, true).await;
    let asked = refund("REF000001", &order, 100);
    let answer = async |code: &str| {
        let behaviour = Behaviour::Code {
            code: code.to_owned(),
            status: 200,
        };
        world
            .double
            .program(vec![Rule::once(Operation::Refund, behaviour)]);
        world.client.refund(&asked).await
    };
    assert_eq!(
        reason(answer("ACQ.SELLER_BALANCE_NOT_ENOUGH").await),
        Reason::NotEnough
    );
    assert_eq!(reason(answer("40006").await), Reason::Forbidden);
    assert!(doubt(answer("40005").await).nothing_happened());
    assert!(matches!(doubt(answer("20000").await), Doubt::Provider { .. }));
    assert!(matches!(
        doubt(answer("ACQ.BRAND_NEW").await),
        Doubt::Provider { .. }
    ));
    assert_eq!(world.double.books().refunds.len(), 0);
}

#[tokio::test]
async fn an_amount_that_is_not_ours_is_shown_to_the_caller() {
    let world = World::start().await;
    world.double.program(vec![
        Rule::once(Operation::NotifyPayment, Behaviour::WrongAmount),
        Rule::once(Operation::Query, Behaviour::WrongAmount),
    ]);
    let order = world.order("PAY000001", 1_000, true).await;
    assert_eq!(
        world.client.query(&order.number).await.unwrap().amount,
        Some(Money::cny(1_001))
    );
    let told = world.inbox.wait(1).await;
    assert!(matches!(&told[0].event, Event::Payment(told) if told.amount == Some(Money::cny(1_001))));
}

#[tokio::test]
async fn notifications_come_twice_late_reordered_or_not_at_all() {
    let world = World::start().await;
    world.double.program(vec![
        Rule::once(Operation::NotifyPayment, Behaviour::Lose),
        Rule::once(Operation::NotifyPayment, Behaviour::Reorder),
        Rule::once(Operation::NotifyPayment, Behaviour::Duplicate(2)).delay_ms(50),
    ]);
    for name in ["PAY000001", "PAY000002", "PAY000003"] {
        world.order(name, 100, true).await;
    }
    let told = world.inbox.wait(3).await;
    let expected = ["PAY000003", "PAY000003", "PAY000002"];
    let is = |told: &pay::Notification, name: &str| matches!(&told.event, Event::Payment(payment) if payment.number == number(name));
    assert!(
        told.iter().zip(expected).all(|(told, name)| is(told, name)),
        "{told:?}"
    );
    assert!(told[0].id == told[1].id && told[1].id != told[2].id);
}

#[tokio::test]
async fn forged_notifications_are_refused_by_name() {
    let world = World::start().await;
    world
        .double
        .program(vec![Rule::once(Operation::NotifyPayment, Behaviour::WrongKey)]);
    world.order("PAY000001", 100, true).await;
    eventually(LONG, async || {
        world.inbox.all().contains(&Err(NotifyError::Signature))
    })
    .await;
    assert_eq!(world.inbox.good(), []);

    // What another merchant of the same app, or another app, is told is not for us.
    let ours = config(&world.double);
    let stranger = client(Config {
        merchant_id: "2088000000000002".to_owned(),
        ..ours.clone()
    });
    let inbox = Inbox::start(stranger).await;
    world
        .client
        .create(&payment("PAY000002", 100, &inbox.url()))
        .await
        .unwrap();
    world.double.pay("PAY000002").unwrap();
    eventually(LONG, async || {
        inbox.all().contains(&Err(NotifyError::WrongMerchant))
    })
    .await;
    let stranger = client(Config {
        app_id: "2021000000000002".to_owned(),
        ..ours
    });
    let inbox = Inbox::start(stranger).await;
    world
        .client
        .create(&payment("PAY000003", 100, &inbox.url()))
        .await
        .unwrap();
    world.double.pay("PAY000003").unwrap();
    eventually(LONG, async || inbox.all().contains(&Err(NotifyError::WrongApp))).await;
}
