//! The client of WeChat Pay while its double misbehaves.

use super::*;

/// Says whether a doubt is the right one.
type Expected = fn(&Doubt) -> bool;

#[tokio::test]
async fn what_happens_to_answers_is_never_guessed() {
    let world = World::start().await;
    let redirect = Behaviour::Redirect(world.double.url());
    let faults: [(Behaviour, Expected); 9] = [
        (Behaviour::Status(500), |doubt| *doubt == Doubt::Status(500)),
        (Behaviour::Hang, |doubt| matches!(doubt, Doubt::Timeout(_))),
        (Behaviour::Cut, |doubt| matches!(doubt, Doubt::Broken(_))),
        (Behaviour::Garbage, |doubt| matches!(doubt, Doubt::Unverified(_))),
        (Behaviour::Huge, |doubt| matches!(doubt, Doubt::TooLarge(_))),
        (redirect, |doubt| {
            matches!(doubt, Doubt::Unverified(_) | Doubt::Status(307))
        }),
        (Behaviour::Unsigned, |doubt| matches!(doubt, Doubt::Unverified(_))),
        (Behaviour::WrongKey, |doubt| matches!(doubt, Doubt::Unverified(_))),
        (
            Behaviour::Code {
                code: "SYSTEM_ERROR".to_owned(),
                status: 500,
            },
            |doubt| matches!(doubt, Doubt::Provider { code, .. } if code == "SYSTEM_ERROR"),
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
            let found = world.client.refund(&asked).await.unwrap();
            assert_eq!(found.amount, Some(Money::cny(300)));
            assert_eq!(
                world
                    .double
                    .books()
                    .refunds
                    .values()
                    .filter(|r| r.order == order.number.as_str())
                    .count(),
                1
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
    let asked = refund("REF000001", &order, 100);
    let sent = transfer("WD000001", 100, "");
    world.client.refund(&asked).await.unwrap();
    world.client.transfer(&sent).await.unwrap();
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
    let answer = async |code: &str, status: u16| {
        let behaviour = Behaviour::Code {
            code: code.to_owned(),
            status,
        };
        world
            .double
            .program(vec![Rule::once(Operation::Refund, behaviour)]);
        world.client.refund(&asked).await
    };
    assert_eq!(reason(answer("NOT_ENOUGH", 403).await), Reason::NotEnough);
    assert_eq!(
        reason(answer("USER_ACCOUNT_ABNORMAL", 403).await),
        Reason::Account
    );
    let throttled = doubt(answer("FREQUENCY_LIMITED", 429).await);
    assert!(throttled.nothing_happened());
    assert!(matches!(
        doubt(answer("BRAND_NEW", 400).await),
        Doubt::Provider { .. }
    ));
    // What a server error says is not believed.
    assert!(matches!(
        doubt(answer("NOT_ENOUGH", 500).await),
        Doubt::Provider { .. }
    ));
    assert_eq!(world.double.books().refunds.len(), 0);
}

#[tokio::test]
async fn an_answer_about_another_amount_makes_no_sense() {
    let world = World::start().await;
    let order = world.order("PAY000001", 1_000, true).await;
    world
        .double
        .program(vec![Rule::once(Operation::Refund, Behaviour::WrongAmount)]);
    let asked = refund("REF000001", &order, 100);
    assert!(matches!(
        doubt(world.client.refund(&asked).await),
        Doubt::Malformed(_)
    ));
    // A payment's amount is the caller's to compare.
    world
        .double
        .program(vec![Rule::once(Operation::Query, Behaviour::WrongAmount)]);
    assert_eq!(
        world.client.query(&order.number).await.unwrap().amount,
        Some(Money::cny(1_001))
    );
}

#[tokio::test]
async fn nobody_there_means_that_nothing_happened() {
    let double = double().await;
    let config = config(&double);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::new(Config { url, ..config }, http(), Clock::system()).unwrap();
    let doubt = doubt(client.create(&payment("PAY000001", 1, "")).await);
    assert!(
        matches!(doubt, Doubt::NotSent(_)) && doubt.nothing_happened(),
        "{doubt}"
    );
}

#[tokio::test]
async fn notifications_come_twice_late_reordered_or_not_at_all() {
    let world = World::start().await;
    world.double.program(vec![
        Rule::once(Operation::NotifyPayment, Behaviour::Lose),
        Rule::once(Operation::NotifyPayment, Behaviour::Reorder),
        Rule::once(Operation::NotifyPayment, Behaviour::Duplicate(3)),
    ]);
    for name in ["PAY000001", "PAY000002", "PAY000003"] {
        world.order(name, 100, true).await;
    }
    let told = world.inbox.wait(4).await;
    let names: Vec<_> = told
        .iter()
        .map(|told| match &told.event {
            Event::Payment(payment) => payment.number.as_str(),
            Event::Refund(_) | Event::RefundChanged { .. } | Event::Transfer(_) => panic!("{told:?}"),
        })
        .collect();
    assert_eq!(names, ["PAY000003", "PAY000003", "PAY000003", "PAY000002"]);
    assert!(told[0].id == told[1].id && told[1].id == told[2].id && told[2].id != told[3].id);
}

#[tokio::test]
async fn forged_notifications_are_refused_by_name() {
    let world = World::start().await;
    world.double.program(vec![
        Rule::once(Operation::NotifyPayment, Behaviour::Probe),
        Rule::once(Operation::NotifyRefund, Behaviour::WrongKey),
        Rule::once(Operation::NotifyTransfer, Behaviour::WrongAmount),
    ]);
    let order = world.order("PAY000001", 100, true).await;
    // The probe is not taken, and the right one follows.
    world.inbox.wait(1).await;
    assert_eq!(world.inbox.all()[0], Err(NotifyError::Probe));
    world
        .client
        .refund(&refund("REF000001", &order, 100))
        .await
        .unwrap();
    eventually(LONG, async || {
        world.inbox.all().contains(&Err(NotifyError::Signature))
    })
    .await;
    assert_eq!(world.inbox.good().len(), 1);
    let fails = Behaviour::TransferEnds {
        state: Sent::Succeeded,
        after_ms: 1,
    };
    world.double.program(vec![
        Rule::once(Operation::Transfer, fails),
        Rule::once(Operation::NotifyTransfer, Behaviour::WrongAmount),
    ]);
    world
        .client
        .transfer(&transfer("WD000001", 100, &world.inbox.url()))
        .await
        .unwrap();
    let told = world.inbox.wait(2).await;
    assert!(matches!(&told[1].event, Event::Transfer(told) if told.amount == Some(Money::cny(101))));
}

#[tokio::test]
async fn an_answer_that_comes_too_late_leaves_its_effect() {
    let world = World::start().await;
    let order = world.order("PAY000001", 1_000, true).await;
    let asked = refund("REF000001", &order, 100);
    world.double.program(vec![
        Rule::once(Operation::Refund, Behaviour::Answer).delay_ms(1_500),
    ]);
    assert!(matches!(
        doubt(world.client.refund(&asked).await),
        Doubt::Timeout(_)
    ));
    assert_eq!(world.double.books().totals().refunded, 100);
    let found = world
        .client
        .query_refund(&asked.number, &asked.payment)
        .await
        .unwrap();
    assert_eq!(found.amount, Some(Money::cny(100)));
}

#[tokio::test]
async fn a_notification_that_is_held_back_comes_on_its_own_in_the_end() {
    let world = World::start().await;
    world
        .double
        .program(vec![Rule::once(Operation::NotifyPayment, Behaviour::Reorder)]);
    world.order("PAY000001", 1_000, true).await;
    assert_eq!(world.inbox.wait(1).await.len(), 1);
}

#[tokio::test]
async fn whoever_names_unknown_keys_causes_one_fetch() {
    let world = World::start().await;
    world
        .double
        .program(vec![Rule::times(5, Operation::Certificates, Behaviour::Answer)]);
    let at = Utc::now().timestamp().to_string();
    for serial in ["AAAA", "BBBB", "CCCC"] {
        let headers = [
            ("wechatpay-serial", serial),
            ("wechatpay-nonce", "nonce"),
            ("wechatpay-timestamp", &at),
            ("wechatpay-signature", "c2ln"),
        ];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let read = world
            .client
            .read_notify(&headers.into_iter().collect(), b"{}")
            .await;
        assert_eq!(read, Err(NotifyError::UnknownKey(serial.to_owned())));
    }
    let program = reqwest::get(format!("{}/_program", world.double.url()))
        .await
        .unwrap();
    let left: Vec<Rule> = program.json().await.unwrap();
    assert_eq!(left[0].times, Some(4));
}

#[tokio::test]
async fn a_notification_from_another_time_is_refused() {
    let double = double().await;
    for (name, ahead) in [("PAY000001", 400), ("PAY000002", -400)] {
        let clock = Clock::new(move || Utc::now() + TimeDelta::seconds(ahead));
        let shifted: Arc<dyn Provider> = Arc::new(Client::new(config(&double), http(), clock).unwrap());
        let inbox = Inbox::start(shifted).await;
        client(&double)
            .create(&payment(name, 100, &inbox.url()))
            .await
            .unwrap();
        double.pay(name).unwrap();
        eventually(LONG, async || !inbox.all().is_empty()).await;
        assert!(
            matches!(inbox.all()[0], Err(NotifyError::Stale { seconds: 399..=401 })),
            "{:?}",
            inbox.all()
        );
    }
}

#[tokio::test]
async fn an_order_that_somebody_is_paying_is_not_closed() {
    let world = World::start().await;
    let order = world.order("PAY000001", 1_000, false).await;
    let behaviour = Behaviour::Code {
        code: "USER_PAYING".to_owned(),
        status: 202,
    };
    world
        .double
        .program(vec![Rule::once(Operation::Close, behaviour)]);
    let doubt = doubt(world.client.close(&order.number).await);
    assert!(matches!(doubt, Doubt::Provider { code, .. } if code == "USER_PAYING"));
    assert!(world.double.pay("PAY000001").is_some());
}
