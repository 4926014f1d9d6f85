//! Who may ask for what.

use ids::{PaymentId, RefundId, UserId};
use proto::billing::v1 as pb;

use super::shop::{self, Goods, LATE, PRICE, ask, ended, sell, wish};
use crate::world::{World, as_user, config, reason};

#[tokio::test]
async fn a_retry_is_the_same_refund_and_another_content_is_refused() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let first = ask(&world, &sold, 300, "r1").await.unwrap();
    let first_refund = first.refund.unwrap();
    // While it is under way, and after its end.
    let again = ask(&world, &sold, 300, "r1").await.unwrap();
    assert_eq!(again.refund.unwrap().refund_no, first_refund.refund_no);
    ended(&world, &first_refund.refund_id).await;
    let again = ask(&world, &sold, 300, "r1").await.unwrap();
    let refund = again.refund.unwrap();
    assert_eq!(refund.status(), pb::RefundStatus::Succeeded);
    assert_eq!(
        (refund.refund_id, again.saga_id),
        (first_refund.refund_id, first.saga_id)
    );
    assert_eq!(reason(ask(&world, &sold, 299, "r1").await), "ORDER_MISMATCH");
    assert_eq!(shop::there(&world, &sold).len(), 1);
    assert_eq!(world.sagas.started("PAYMENT_REFUND").len(), 1);
}

#[tokio::test]
async fn a_retry_before_the_first_step_is_the_same_saga() {
    let world = World::quiet(config()).await;
    world.sagas.stall("PAYMENT_REFUND");
    let sold = sell(&world, "wechat", Goods::default()).await;
    let first = ask(&world, &sold, 0, "r1").await.unwrap();
    let again = ask(&world, &sold, 0, "r1").await.unwrap();
    assert_eq!(first.saga_id, again.saga_id);
    assert_eq!(first.refund.unwrap().refund_no, again.refund.unwrap().refund_no);
    assert_eq!(reason(ask(&world, &sold, 1, "r1").await), "ORDER_MISMATCH");
}

#[tokio::test]
async fn nobody_asks_for_the_money_of_others() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let stranger = UserId::new();
    let mut client = shop::payments(&world.public);
    let asked = client.create_refund(as_user(stranger, wish(&sold, 0, "r"))).await;
    assert_eq!(reason(asked), "PAYMENT_NOT_FOUND");
    let begun = ask(&world, &sold, 0, "r").await.unwrap();
    let refund_id = begun.refund.unwrap().refund_id;
    ended(&world, &refund_id).await;

    // A stranger who guesses the request id learns nothing either.
    let asked = client.create_refund(as_user(stranger, wish(&sold, 0, "r"))).await;
    assert_eq!(reason(asked), "PAYMENT_NOT_FOUND");
    let get = pb::GetRefundRequest {
        refund_id: refund_id.clone(),
    };
    assert_eq!(
        reason(client.get_refund(as_user(stranger, get.clone())).await),
        "REFUND_NOT_FOUND"
    );
    let list = pb::ListRefundsRequest {
        payment_id: sold.payment_id.to_string(),
    };
    assert_eq!(
        reason(client.list_refunds(as_user(stranger, list.clone())).await),
        "PAYMENT_NOT_FOUND"
    );
    assert!(client.get_refund(as_user(sold.user_id, get)).await.is_ok());
    let listed = client.list_refunds(as_user(sold.user_id, list)).await.unwrap();
    assert_eq!(listed.into_inner().refunds[0].refund_id, refund_id);
}

#[tokio::test]
async fn what_cannot_be_refunded_is_refused_before_anything_begins() {
    let world = World::quiet(config()).await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    assert_eq!(
        reason(ask(&world, &sold, PRICE + 1, "r").await),
        "REFUND_TOO_LARGE"
    );
    assert_eq!(
        reason(ask(&world, &sold, i64::MAX, "r").await),
        "REFUND_TOO_LARGE"
    );
    let paid = Goods {
        status: "PAID",
        ..Goods::default()
    };
    let undelivered = sell(&world, "wechat", paid).await;
    assert_eq!(
        reason(ask(&world, &undelivered, 0, "r").await),
        "REFUND_NOT_ALLOWED"
    );
    let late = sell(&world, "wechat", LATE).await;
    assert_eq!(reason(ask(&world, &late, 1, "r").await), "REFUND_NOT_ALLOWED");
    sqlx::query("update payments set refunds = 50 where id = $1")
        .bind(sold.payment_id.uuid())
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(reason(ask(&world, &sold, 1, "r").await), "REFUND_NOT_ALLOWED");
    let mut nowhere = wish(&sold, 0, "r");
    nowhere.payment_id = PaymentId::new().to_string();
    let mut operator = shop::payments(&world.operator);
    assert_eq!(reason(operator.create_refund(nowhere).await), "PAYMENT_NOT_FOUND");
    let unknown = pb::GetRefundRequest {
        refund_id: RefundId::new().to_string(),
    };
    assert_eq!(reason(operator.get_refund(unknown).await), "REFUND_NOT_FOUND");
    assert!(world.sagas.started("PAYMENT_REFUND").is_empty());
}

#[tokio::test]
async fn illegal_input_is_named() {
    let world = World::quiet(config()).await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let good = wish(&sold, 0, "r");
    let wrong = [
        (
            "INVALID_ARGUMENT",
            pb::CreateRefundRequest {
                amount: -1,
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::CreateRefundRequest {
                amount: i64::MIN,
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::CreateRefundRequest {
                reason: "a,b".to_owned(),
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::CreateRefundRequest {
                reason: "退".repeat(41),
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::CreateRefundRequest {
                request_id: "r".repeat(129),
                ..good.clone()
            },
        ),
        (
            "INVALID_ID",
            pb::CreateRefundRequest {
                payment_id: "pay_1".to_owned(),
                ..good.clone()
            },
        ),
        (
            "INVALID_ID",
            pb::CreateRefundRequest {
                payment_id: sold.order_id.to_string(),
                ..good.clone()
            },
        ),
    ];
    for (expected, request) in wrong {
        let asked = shop::payments(&world.operator)
            .create_refund(request.clone())
            .await;
        assert_eq!(reason(asked), expected, "{request:?}");
    }
    // 40 characters of three bytes fit, and a reason need not be given.
    for reason in ["退".repeat(40), String::new()] {
        world.sagas.stall("PAYMENT_REFUND");
        let request = pb::CreateRefundRequest {
            reason: reason.clone(),
            request_id: reason,
            ..good.clone()
        };
        assert!(
            shop::payments(&world.operator)
                .create_refund(request)
                .await
                .is_ok()
        );
    }
}

#[tokio::test]
async fn a_user_asks_in_time_and_an_administrator_at_any() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    sqlx::query("update payments set paid_at = now() - interval '7 days 1 second' where id = $1")
        .bind(sold.payment_id.uuid())
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(reason(ask(&world, &sold, 0, "r").await), "REFUND_NOT_ALLOWED");
    let begun = shop::payments(&world.operator)
        .create_refund(wish(&sold, 0, "r"))
        .await
        .unwrap()
        .into_inner();
    let refund_id = begun.refund.unwrap().refund_id;
    ended(&world, &refund_id).await;
    assert_eq!(shop::payment(&world, &sold).await.0, "REFUNDED");
    let by: String = world.value("select requested_by from refunds").await;
    assert_eq!(by, "operator");
}

#[tokio::test]
async fn without_the_orchestrator_nothing_begins_and_a_retry_does() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    world.sagas.set_down(true);
    assert_eq!(reason(ask(&world, &sold, 0, "r").await), "UNAVAILABLE");
    assert_eq!(shop::payment(&world, &sold).await, ("SUCCESS".to_owned(), 0, 0));
    world.sagas.set_down(false);
    let begun = ask(&world, &sold, 0, "r").await.unwrap();
    ended(&world, &begun.refund.unwrap().refund_id).await;
    assert_eq!(shop::payment(&world, &sold).await.0, "REFUNDED");
}

#[tokio::test]
async fn of_fifty_that_ask_at_once_one_gets_the_money() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let asked = (0..50).map(|at| {
        let mut client = shop::payments(&world.public);
        let request = as_user(sold.user_id, wish(&sold, 700, &format!("r{at}")));
        async move { client.create_refund(request).await }
    });
    for answer in futures::future::join_all(asked).await {
        if let Err(status) = answer {
            let why = reason::<()>(Err(status));
            // Whoever comes when the winner is under way, or has ended.
            assert!(
                ["REFUND_IN_PROGRESS", "REFUND_TOO_LARGE"].contains(&why.as_str()),
                "{why}"
            );
        }
    }
    for refund_id in world.sagas.started("PAYMENT_REFUND") {
        ended(&world, &refund_id).await;
    }
    assert_eq!(shop::payment(&world, &sold).await, ("SUCCESS".to_owned(), 700, 0));
    assert_eq!(shop::order(&world, &sold).await, ("COMPLETED".to_owned(), 700));
    assert_eq!(shop::there(&world, &sold).len(), 1);
    let refunds: i64 = world.value("select count(*) from refunds").await;
    assert_eq!(refunds, 1);
}

#[tokio::test]
async fn a_saga_that_lost_the_race_is_refused_by_its_first_step() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let winner = ask(&world, &sold, 600, "winner").await.unwrap();
    ended(&world, &winner.refund.unwrap().refund_id).await;
    let loser = shop::start(&world, &sold, pb::RefundCause::Requested).await;
    ended(&world, &loser).await;
    let saga = world.sagas.saga("PAYMENT_REFUND", &loser).unwrap();
    assert_eq!(saga.error.unwrap().reason, "REFUND_TOO_LARGE");
    assert_eq!(shop::payment(&world, &sold).await, ("SUCCESS".to_owned(), 600, 0));
}

#[tokio::test]
async fn parts_that_are_asked_for_at_once_never_exceed_what_was_paid() {
    let world = World::new().await;
    let sold = sell(&world, "alipay", Goods::default()).await;
    let askers = (0..10).map(|asker| {
        let (world, sold) = (&world, &sold);
        async move {
            for turn in 0.. {
                let status = match ask(world, sold, 150, &format!("{asker}.{turn}")).await {
                    Ok(begun) => {
                        ended(world, &begun.refund.unwrap().refund_id).await;
                        continue;
                    }
                    Err(status) => status,
                };
                let why = reason::<()>(Err(status));
                if why == "REFUND_TOO_LARGE" {
                    return;
                }
                assert_eq!(why, "REFUND_IN_PROGRESS");
            }
        }
    });
    futures::future::join_all(askers).await;
    // Six parts of 150 fit into 1000.
    assert_eq!(shop::payment(&world, &sold).await, ("SUCCESS".to_owned(), 900, 0));
    assert_eq!(shop::order(&world, &sold).await, ("COMPLETED".to_owned(), 900));
    assert_eq!(shop::books(&world, &sold).refunds.len(), 6);
    let booked: i64 = world
        .value("select sum(amount)::bigint from refunds where booked")
        .await;
    assert_eq!(booked, 900);
    shop::is_quiet(&world).await;
}
