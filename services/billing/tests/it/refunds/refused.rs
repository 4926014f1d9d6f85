//! Refunds that end without money: closed, refused, given up.

use doubles::pay::{Behaviour, Operation, RefundState, Rule};
use proto::billing::v1 as pb;
use proto::saga::v1::SagaPhase;
use test_support::eventually;

use super::shop::{self, CHANNELS, Goods, LATE, PRICE, ask, becomes, ended, is_quiet, sell};
use crate::world::{DEADLINE, World};

fn ends(state: RefundState, after_ms: u64) -> Rule {
    Rule::once(Operation::Refund, Behaviour::RefundEnds { state, after_ms })
}

fn refuses(code: &str, times: u32) -> Rule {
    let code = code.to_owned();
    Rule::times(times, Operation::Refund, Behaviour::Code { code, status: 403 })
}

#[tokio::test]
async fn a_refund_that_the_provider_closes_leaves_the_payment_paid() {
    let world = World::new().await;
    for channel in CHANNELS {
        let sold = sell(&world, channel, Goods::default()).await;
        shop::program(&world, &sold, vec![ends(RefundState::Closed, 60)]);
        let begun = ask(&world, &sold, 0, "first").await.unwrap();
        let closed = begun.refund.unwrap();
        assert_eq!(ended(&world, &closed.refund_id).await, SagaPhase::Compensated);
        let saga = world.sagas.saga("PAYMENT_REFUND", &closed.refund_id).unwrap();
        assert_eq!(saga.error.unwrap().reason, "REFUND_CLOSED");
        let found = shop::refund(&world, &closed.refund_id).await;
        assert_eq!(found.status(), pb::RefundStatus::Closed);
        assert!(!found.error.is_empty());
        assert_eq!(shop::payment(&world, &sold).await, ("SUCCESS".to_owned(), 0, 0));
        assert_eq!(shop::order(&world, &sold).await, ("COMPLETED".to_owned(), 0));

        // A new one has a number of its own, and succeeds.
        let begun = ask(&world, &sold, 0, "second").await.unwrap();
        let second = begun.refund.unwrap();
        assert_ne!(second.refund_no, closed.refund_no);
        assert_eq!(ended(&world, &second.refund_id).await, SagaPhase::Completed);
        assert_eq!(
            shop::payment(&world, &sold).await,
            ("REFUNDED".to_owned(), PRICE, 0)
        );
    }
    assert!(shop::cases(&world).await.is_empty());
    is_quiet(&world).await;
}

#[tokio::test]
async fn a_refund_that_the_provider_refuses_leaves_the_payment_paid() {
    let world = World::new().await;
    for (channel, code) in [("wechat", "TRADE_ERROR"), ("alipay", "ACQ.TRADE_HAS_FINISHED")] {
        let sold = sell(&world, channel, Goods::default()).await;
        shop::program(&world, &sold, vec![refuses(code, 9)]);
        let begun = ask(&world, &sold, 0, "r").await.unwrap();
        let refund_id = begun.refund.unwrap().refund_id;
        assert_eq!(ended(&world, &refund_id).await, SagaPhase::Compensated);
        let saga = world.sagas.saga("PAYMENT_REFUND", &refund_id).unwrap();
        assert_eq!(saga.error.unwrap().reason, "CHANNEL_REFUSED");
        let refund = shop::refund(&world, &refund_id).await;
        assert_eq!(refund.status(), pb::RefundStatus::Failed);
        assert!(refund.error.contains(code), "{}", refund.error);
        assert_eq!(shop::payment(&world, &sold).await, ("SUCCESS".to_owned(), 0, 0));
        assert!(shop::there(&world, &sold).is_empty());
    }
    is_quiet(&world).await;
}

#[tokio::test]
async fn a_refusal_after_a_doubt_is_believed_the_second_time() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let rules = vec![
        Rule::once(Operation::Refund, Behaviour::Status(502)),
        refuses("TRADE_ERROR", 9),
    ];
    shop::program(&world, &sold, rules);
    let begun = ask(&world, &sold, 0, "r").await.unwrap();
    let refund_id = begun.refund.unwrap().refund_id;
    assert_eq!(ended(&world, &refund_id).await, SagaPhase::Compensated);
    assert_eq!(shop::payment(&world, &sold).await, ("SUCCESS".to_owned(), 0, 0));
}

#[tokio::test]
async fn an_empty_account_is_waited_for_under_the_same_number() {
    let world = World::new().await;
    for (channel, code) in [
        ("wechat", "NOT_ENOUGH"),
        ("alipay", "ACQ.SELLER_BALANCE_NOT_ENOUGH"),
    ] {
        let sold = sell(&world, channel, Goods::default()).await;
        shop::program(&world, &sold, vec![refuses(code, 4)]);
        let begun = ask(&world, &sold, 0, "r").await.unwrap();
        let refund = begun.refund.unwrap();
        assert_eq!(ended(&world, &refund.refund_id).await, SagaPhase::Completed);
        assert_eq!(
            shop::there(&world, &sold),
            [(refund.refund_no, RefundState::Succeeded)]
        );
    }
    is_quiet(&world).await;
}

#[tokio::test]
async fn a_bank_that_does_not_take_it_is_shown_to_a_person() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    for (request_id, outcome) in [("first", "closed"), ("second", "succeeded")] {
        shop::program(&world, &sold, vec![ends(RefundState::Abnormal, 10)]);
        let begun = ask(&world, &sold, 0, request_id).await.unwrap();
        let refund = begun.refund.unwrap();
        becomes(&world, &refund.refund_id, pb::RefundStatus::Abnormal).await;
        assert_eq!(
            shop::payment(&world, &sold).await,
            ("REFUNDING".to_owned(), 0, PRICE)
        );
        let cases = shop::cases(&world).await;
        assert_eq!(cases.last().map(String::as_str), Some("ABNORMAL_REFUND refund"));
        // The person acts at the provider, which is asked until it says how that ended.
        shop::end_there(&world, &sold, &refund.refund_no, outcome).await;
        let phase = ended(&world, &refund.refund_id).await;
        let expected = if outcome == "closed" {
            (SagaPhase::Compensated, ("SUCCESS".to_owned(), 0, 0))
        } else {
            (SagaPhase::Completed, ("REFUNDED".to_owned(), PRICE, 0))
        };
        assert_eq!((phase, shop::payment(&world, &sold).await), expected);
    }
    let told: i64 = world
        .value("select count(*) from outbox where topic = 'refund.abnormal'")
        .await;
    assert_eq!(told, 2);
    is_quiet(&world).await;
}

#[tokio::test]
async fn money_that_must_go_back_and_does_not_is_shown_to_a_person() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", LATE).await;
    shop::program(&world, &sold, vec![ends(RefundState::Closed, 10)]);
    let refund_id = shop::start(&world, &sold, pb::RefundCause::Late).await;
    assert_eq!(ended(&world, &refund_id).await, SagaPhase::Compensated);
    assert_eq!(shop::cases(&world).await, ["REFUND_FAILED refund"]);
    // The person asks for it again.
    let again = shop::wish(&sold, 0, "by hand");
    let begun = shop::payments(&world.operator)
        .create_refund(again)
        .await
        .unwrap();
    let refund_id = begun.into_inner().refund.unwrap().refund_id;
    assert_eq!(ended(&world, &refund_id).await, SagaPhase::Completed);
    assert_eq!(shop::payment(&world, &sold).await.0, "REFUNDED");
    assert_eq!(shop::order(&world, &sold).await, ("CANCELLED".to_owned(), 0));
}

#[tokio::test]
async fn a_question_about_a_refund_that_has_ended_is_dropped() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    shop::program(&world, &sold, vec![ends(RefundState::Processing, 0)]);
    let begun = ask(&world, &sold, 0, "r").await.unwrap();
    let refund = begun.refund.unwrap();
    becomes(&world, &refund.refund_id, pb::RefundStatus::Processing).await;
    // As if a person had settled it, while a question is left.
    eventually(DEADLINE, async || {
        let closed = sqlx::query(
            "update refunds set status = 'CLOSED', error = 'a person said so', ended_at = now()
             where taken_at is not null and status = 'PROCESSING'",
        )
        .execute(&world.pool)
        .await
        .unwrap();
        closed.rows_affected() == 1
    })
    .await;
    assert_eq!(ended(&world, &refund.refund_id).await, SagaPhase::Compensated);
    assert_eq!(shop::payment(&world, &sold).await, ("SUCCESS".to_owned(), 0, 0));
    // The question is dropped: the refund has ended.
    eventually(DEADLINE, async || {
        let open: i64 = world.value("select count(*) from provider_checks").await;
        open == 0
    })
    .await;
}
