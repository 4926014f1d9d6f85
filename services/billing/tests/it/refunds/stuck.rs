//! A payment is not REFUNDING for ever without anybody knowing.

use doubles::pay::{Behaviour, Operation, Rule};
use proto::billing::v1 as pb;
use proto::saga::v1::SagaPhase;
use rpc::step::{Op, StepCall};
use test_support::eventually;

use super::shop::{self, Goods, LATE, PRICE, ask, becomes, ended, is_quiet, sell, soon};
use crate::fake_sagas::called;
use crate::world::{DEADLINE, World};

async fn told(world: &World, expected: &str) {
    eventually(DEADLINE, async || {
        let cases = shop::cases(world).await;
        if cases == [expected] { Ok(()) } else { Err(cases) }
    })
    .await;
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_shown_to_a_person_and_still_asked_for() {
    let mut world = World::quiet(soon()).await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let away = |on| Rule {
        times: None,
        ..Rule::once(on, Behaviour::Status(503))
    };
    shop::program(
        &world,
        &sold,
        vec![away(Operation::Refund), away(Operation::QueryRefund)],
    );
    world.run_jobs().await;
    world.run_jobs().await;
    let begun = ask(&world, &sold, 0, "r").await.unwrap();
    let refund_id = begun.refund.unwrap().refund_id;
    told(&world, "UNKNOWN_OUTCOME refund").await;
    let detail: String = world.value("select detail from cases").await;
    assert!(detail.starts_with("PROCESSING for more than 1 s"), "{detail}");
    assert_eq!(
        shop::payment(&world, &sold).await,
        ("REFUNDING".to_owned(), 0, PRICE)
    );

    shop::program(&world, &sold, Vec::new());
    assert_eq!(ended(&world, &refund_id).await, SagaPhase::Completed);
    assert_eq!(
        shop::cases(&world).await.len(),
        1,
        "one case, however many processes look"
    );
    is_quiet(&world).await;
}

#[tokio::test]
async fn a_saga_that_stands_still_is_shown_to_a_person() {
    let mut world = World::quiet(soon()).await;
    world.sagas.stall("PAYMENT_REFUND");
    let sold = sell(&world, "alipay", Goods::default()).await;
    let begun = ask(&world, &sold, 0, "r").await.unwrap();
    let refund = begun.refund.unwrap();
    let call = StepCall {
        saga_id: begun.saga_id.parse().unwrap(),
        step: "SET_REFUNDING_STATUS".to_owned(),
        index: 0,
        op: Op::Action,
        attempt: 1,
        epoch: 1,
        refusable: true,
    };
    let request = pb::SetRefundingStatusRequest {
        refund_id: refund.refund_id.clone(),
        payment_id: refund.payment_id,
        requested_by: refund.user_id,
        amount: 0,
        cause: pb::RefundCause::Requested.into(),
        reason: refund.reason,
        saga_id: begun.saga_id,
    };
    world
        .steps
        .clone()
        .set_refunding_status(called(&call, request))
        .await
        .unwrap();
    becomes(&world, &refund.refund_id, pb::RefundStatus::Pending).await;
    world.run_jobs().await;
    told(&world, "UNKNOWN_OUTCOME refund").await;
    // A case that a person has closed without an end is opened again.
    sqlx::query("update cases set resolved_at = now(), resolved_by = 'alice', note = 'wait'")
        .execute(&world.pool)
        .await
        .unwrap();
    told(&world, "UNKNOWN_OUTCOME refund").await;
}

#[tokio::test]
async fn a_late_payment_that_nobody_gives_back_is_shown_to_a_person() {
    let mut world = World::quiet(soon()).await;
    let sold = sell(&world, "wechat", LATE).await;
    let _in_time = sell(&world, "wechat", Goods::default()).await;
    world.run_jobs().await;
    told(&world, "REFUND_FAILED payment").await;
    let number: String = world.value("select number from cases").await;
    assert_eq!(number, sold.payment_no);
}

#[tokio::test]
async fn what_ends_in_time_is_shown_to_nobody() {
    let mut world = World::quiet(soon()).await;
    world.run_jobs().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let begun = ask(&world, &sold, 1, "r").await.unwrap();
    ended(&world, &begun.refund.unwrap().refund_id).await;
    let slow = sell(&world, "wechat", LATE).await;
    // Once this one is known to be too late, the first would have been too.
    told(&world, "REFUND_FAILED payment").await;
    let number: String = world.value("select number from cases").await;
    assert_eq!(number, slow.payment_no);
}
