//! Refunds that succeed.

use chrono::{TimeDelta, Utc};
use doubles::pay::RefundState;
use proto::billing::v1 as pb;
use proto::saga::v1::SagaPhase;

use super::shop::{self, CHANNELS, Goods, LATE, PRICE, ask, ended, is_quiet, sell};
use crate::fake_sagas::ClawBack;
use crate::world::World;

#[tokio::test]
async fn everything_goes_back() {
    let world = World::new().await;
    for channel in CHANNELS {
        let sold = sell(&world, channel, Goods::default()).await;
        shop::member(
            &world,
            sold.user_id,
            sold.order_id,
            Utc::now() - TimeDelta::days(1),
            30,
        )
        .await;
        let begun = ask(&world, &sold, 0, "r1").await.unwrap();
        let answer = begun.refund.unwrap();
        assert_eq!(
            (answer.status(), answer.amount),
            (pb::RefundStatus::Pending, PRICE)
        );
        assert_eq!(answer.refund_no.len(), 29);
        assert!(!begun.saga_id.is_empty());
        assert_eq!(begun.payment.unwrap().payment_id, sold.payment_id.to_string());

        assert_eq!(ended(&world, &answer.refund_id).await, SagaPhase::Completed);
        let refund = shop::refund(&world, &answer.refund_id).await;
        assert_eq!(refund.status(), pb::RefundStatus::Succeeded);
        assert_eq!(
            (refund.saga_id, &refund.refund_no),
            (begun.saga_id, &answer.refund_no)
        );
        assert_eq!(
            shop::payment(&world, &sold).await,
            ("REFUNDED".to_owned(), PRICE, 0)
        );
        assert_eq!(shop::order(&world, &sold).await, ("REFUNDED".to_owned(), PRICE));
        assert_eq!(
            shop::there(&world, &sold),
            [(answer.refund_no, RefundState::Succeeded)]
        );
        let clawback = ClawBack {
            id: answer.refund_id,
            order_id: sold.order_id.to_string(),
            amount: 0,
        };
        assert_eq!(world.sagas.clawbacks().last(), Some(&clawback));
    }
    let members: i64 = world
        .value("select count(*) from memberships where ends_at > now()")
        .await;
    assert_eq!(members, 0);
    let told = [("refund.requested", 2), ("refund.succeeded", 2)];
    assert_eq!(
        shop::facts(&world).await,
        told.map(|(topic, times)| (topic.to_owned(), times))
    );
    assert!(shop::cases(&world).await.is_empty());
    is_quiet(&world).await;
}

#[tokio::test]
async fn parts_go_back_until_nothing_is_left() {
    let world = World::new().await;
    for channel in CHANNELS {
        let sold = sell(&world, channel, Goods::default()).await;
        let mut clawed = Vec::new();
        for (amount, left) in [(333, 667), (5, 662), (0, 0)] {
            let begun = ask(&world, &sold, amount, &format!("part {amount}"))
                .await
                .unwrap();
            let refund_id = begun.refund.unwrap().refund_id;
            assert_eq!(ended(&world, &refund_id).await, SagaPhase::Completed);
            let expected = if left == 0 { "REFUNDED" } else { "SUCCESS" };
            assert_eq!(
                shop::payment(&world, &sold).await,
                (expected.to_owned(), PRICE - left, 0)
            );
            let expected = if left == 0 { "REFUNDED" } else { "COMPLETED" };
            assert_eq!(
                shop::order(&world, &sold).await,
                (expected.to_owned(), PRICE - left)
            );
            let found = world
                .sagas
                .clawbacks()
                .into_iter()
                .find(|clawback| clawback.id == refund_id);
            clawed.push(found.map(|clawback| clawback.amount));
        }
        // A third of the quota; half of a unit is none; the rest takes what there is.
        assert_eq!(clawed, [Some(33), None, Some(0)]);
        let request = pb::ListRefundsRequest {
            payment_id: sold.payment_id.to_string(),
        };
        let listed = shop::payments(&world.operator)
            .list_refunds(request)
            .await
            .unwrap();
        let amounts: Vec<i64> = listed
            .into_inner()
            .refunds
            .iter()
            .map(|refund| refund.amount)
            .collect();
        assert_eq!(amounts, [333, 5, 662]);
    }
    is_quiet(&world).await;
}

#[tokio::test]
async fn a_part_leaves_the_membership() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    shop::member(&world, sold.user_id, sold.order_id, Utc::now(), 30).await;
    let begun = ask(&world, &sold, 1, "r").await.unwrap();
    ended(&world, &begun.refund.unwrap().refund_id).await;
    let standing: i64 = world
        .value("select count(*) from membership_periods where revoked_at is null and ends_at > now()")
        .await;
    assert_eq!(standing, 1);
}

#[tokio::test]
async fn what_others_have_added_moves_forward_when_a_membership_is_taken_back() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let next = sell(&world, "wechat", Goods::default()).await;
    let begin = Utc::now() - TimeDelta::days(10);
    shop::member(&world, sold.user_id, sold.order_id, begin, 30).await;
    shop::member(
        &world,
        sold.user_id,
        next.order_id,
        begin + TimeDelta::days(30),
        365,
    )
    .await;
    let begun = ask(&world, &sold, 0, "r").await.unwrap();
    ended(&world, &begun.refund.unwrap().refund_id).await;
    // 10 of the 30 days were used; the year follows at once, whole and without a gap.
    let right: bool = world
        .value(
            "select a.revoked_at is not null and a.ends_at = b.starts_at and b.ends_at - b.starts_at = interval '365 days'
                and m.ends_at = b.ends_at and abs(extract(epoch from a.ends_at - now())) < 60
                and h.ends_before - h.ends_after between interval '19 days 23 hours' and interval '20 days'
             from membership_periods a
             join membership_periods b on b.starts_at > a.starts_at
             join memberships m on m.user_id = a.user_id
             join membership_history h on h.kind = 'revoked' and h.order_id = a.order_id and h.refund_id = a.refund_id",
        )
        .await;
    assert!(right);
}

#[tokio::test]
async fn of_memberships_that_were_bought_one_after_the_other_all_go_back_the_last_one_first() {
    let world = World::new().await;
    let first = sell(&world, "wechat", Goods::default()).await;
    let second = shop::sell_to(&world, "wechat", Goods::default(), first.user_id).await;
    let begin = Utc::now();
    for (sold, starts_at) in [(&first, begin), (&second, begin + TimeDelta::days(30))] {
        shop::member(&world, sold.user_id, sold.order_id, starts_at, 30).await;
    }
    for sold in [second, first] {
        let begun = ask(&world, &sold, 0, "all").await.unwrap();
        assert_eq!(
            ended(&world, &begun.refund.unwrap().refund_id).await,
            SagaPhase::Completed
        );
    }
    let left = "select count(*) from memberships where ends_at > now()";
    assert_eq!(world.value::<i64>(left).await, 0);
    assert_eq!(billing::drift(&world.pool).await.unwrap(), []);
}

#[tokio::test]
async fn a_late_payment_goes_back_and_its_order_stays_as_it_was() {
    let world = World::new().await;
    for channel in CHANNELS {
        let sold = sell(&world, channel, LATE).await;
        let refund_id = shop::start(&world, &sold, pb::RefundCause::Late).await;
        assert_eq!(ended(&world, &refund_id).await, SagaPhase::Completed);
        assert_eq!(
            shop::payment(&world, &sold).await,
            ("REFUNDED".to_owned(), PRICE, 0)
        );
        assert_eq!(shop::order(&world, &sold).await, ("CANCELLED".to_owned(), 0));
    }
    assert!(world.sagas.clawbacks().is_empty());
    is_quiet(&world).await;
}

#[tokio::test]
async fn an_undone_purchase_takes_its_money_back_and_leaves_the_quota_to_itself() {
    let world = World::new().await;
    let paid = Goods {
        status: "PAID",
        ..Goods::default()
    };
    let sold = sell(&world, "alipay", paid).await;
    let refund_id = shop::start(&world, &sold, pb::RefundCause::Compensation).await;
    assert_eq!(ended(&world, &refund_id).await, SagaPhase::Completed);
    assert_eq!(shop::order(&world, &sold).await, ("REFUNDED".to_owned(), PRICE));
    assert!(world.sagas.clawbacks().is_empty());
}
