//! The client of Alipay while its double misbehaves.

use super::*;

/// Says whether a doubt is the right one.
type Expected = fn(&Doubt) -> bool;

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
