//! Steps that are repeated, come at once, late, or in the wrong order.

use ids::{RefundId, SagaId};
use proto::billing::v1 as pb;
use rpc::step::{Op, StepCall};

use super::shop::{self, Goods, PRICE, Sold, ask, sell};
use crate::fake_sagas::{called, settled};
use crate::world::{World, config, reason};

fn call(saga_id: SagaId, step: &str, op: Op) -> StepCall {
    StepCall {
        saga_id,
        step: step.to_owned(),
        index: 0,
        op,
        attempt: 1,
        epoch: 1,
        refusable: op == Op::Action,
    }
}

fn set(sold: &Sold, refund_id: RefundId, saga_id: SagaId) -> pb::SetRefundingStatusRequest {
    pb::SetRefundingStatusRequest {
        refund_id: refund_id.to_string(),
        payment_id: sold.payment_id.to_string(),
        requested_by: "billing".to_owned(),
        amount: 400,
        cause: pb::RefundCause::Requested.into(),
        reason: "退款".to_owned(),
        saga_id: saga_id.to_string(),
    }
}

fn restore(refund_id: RefundId) -> pb::RestorePaidStatusRequest {
    pb::RestorePaidStatusRequest {
        refund_id: refund_id.to_string(),
        cause: "TIMEOUT".to_owned(),
    }
}

fn ask_provider(refund_id: RefundId) -> pb::CallProviderRefundRequest {
    pb::CallProviderRefundRequest {
        refund_id: refund_id.to_string(),
    }
}

#[tokio::test]
async fn the_same_step_twice_at_once_has_one_effect() {
    let world = World::quiet(config()).await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let (refund_id, saga_id) = (RefundId::new(), SagaId::new());
    let action = call(saga_id, "SET_REFUNDING_STATUS", Op::Action);
    let calls = (0..8).map(|_| {
        let (mut steps, request) = (
            world.steps.clone(),
            called(&action, set(&sold, refund_id, saga_id)),
        );
        async move { steps.set_refunding_status(request).await.unwrap().into_inner() }
    });
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
    assert_eq!(
        shop::payment(&world, &sold).await,
        ("REFUNDING".to_owned(), 0, 400)
    );
    let counted: i32 = world.value("select refunds from payments").await;
    assert_eq!(counted, 1);
}

#[tokio::test]
async fn a_refund_that_is_given_up_is_never_asked_for() {
    let mut world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let (refund_id, saga_id) = (RefundId::new(), SagaId::new());
    let mut steps = world.steps.clone();
    let action = call(saga_id, "SET_REFUNDING_STATUS", Op::Action);
    steps
        .set_refunding_status(called(&action, set(&sold, refund_id, saga_id)))
        .await
        .unwrap();
    let undo = call(saga_id, "SET_REFUNDING_STATUS", Op::Compensation);
    for _ in 0..2 {
        steps
            .restore_paid_status(called(&undo, restore(refund_id)))
            .await
            .unwrap();
        assert_eq!(shop::payment(&world, &sold).await, ("SUCCESS".to_owned(), 0, 0));
    }
    // A call that was on its way all the time.
    let late = call(saga_id, "CALL_PROVIDER_REFUND", Op::Action);
    let answer = steps
        .call_provider_refund(called(&late, ask_provider(refund_id)))
        .await;
    assert_eq!(reason(answer), "CHANNEL_REFUSED");
    world.kill_jobs().await;
    assert!(shop::there(&world, &sold).is_empty());
    let checks: i64 = world.value("select count(*) from provider_checks").await;
    assert_eq!(checks, 0);
    let refund = shop::refund(&world, &refund_id.to_string()).await;
    assert_eq!(refund.status(), pb::RefundStatus::Failed);
}

#[tokio::test]
async fn a_step_that_comes_after_its_compensation_has_no_effect() {
    let world = World::quiet(config()).await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let (refund_id, saga_id) = (RefundId::new(), SagaId::new());
    let mut steps = world.steps.clone();
    let undo = call(saga_id, "SET_REFUNDING_STATUS", Op::Compensation);
    steps
        .restore_paid_status(called(&undo, restore(refund_id)))
        .await
        .unwrap();
    let action = call(saga_id, "SET_REFUNDING_STATUS", Op::Action);
    let late = steps
        .set_refunding_status(called(&action, set(&sold, refund_id, saga_id)))
        .await;
    assert_eq!(reason(late), "SUPERSEDED");
    assert_eq!(shop::payment(&world, &sold).await, ("SUCCESS".to_owned(), 0, 0));
}

#[tokio::test]
async fn what_the_provider_was_asked_for_is_not_undone_before_its_word() {
    let mut world = World::quiet(config()).await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let (refund_id, saga_id) = (RefundId::new(), SagaId::new());
    let mut steps = world.steps.clone();
    let action = call(saga_id, "SET_REFUNDING_STATUS", Op::Action);
    steps
        .set_refunding_status(called(&action, set(&sold, refund_id, saga_id)))
        .await
        .unwrap();
    let pivot = call(saga_id, "CALL_PROVIDER_REFUND", Op::Action);
    let answer = steps
        .call_provider_refund(called(&pivot, ask_provider(refund_id)))
        .await
        .unwrap();
    assert!(rpc::step::pending(answer.metadata()).is_some());
    let undo = call(saga_id, "SET_REFUNDING_STATUS", Op::Compensation);
    let answer = steps
        .restore_paid_status(called(&undo, restore(refund_id)))
        .await
        .unwrap();
    assert!(rpc::step::pending(answer.metadata()).is_some());
    assert_eq!(
        shop::payment(&world, &sold).await,
        ("REFUNDING".to_owned(), 0, 400)
    );

    world.run_jobs().await;
    let answer = settled(|| {
        let (mut steps, request) = (world.steps.clone(), called(&pivot, ask_provider(refund_id)));
        async move { steps.call_provider_refund(request).await }
    })
    .await;
    assert!(!answer.unwrap().provider_refund_no.is_empty());
    // A yes cannot be undone: the compensation fails until a person has looked.
    let answer = steps.restore_paid_status(called(&undo, restore(refund_id))).await;
    assert_eq!(reason(answer), "INTERNAL");
    assert_eq!(
        shop::payment(&world, &sold).await,
        ("REFUNDING".to_owned(), 0, 400)
    );
}

#[tokio::test]
async fn nothing_is_booked_before_the_provider_has_said_yes() {
    let world = World::quiet(config()).await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let (refund_id, saga_id) = (RefundId::new(), SagaId::new());
    let mut steps = world.steps.clone();
    let action = call(saga_id, "SET_REFUNDING_STATUS", Op::Action);
    steps
        .set_refunding_status(called(&action, set(&sold, refund_id, saga_id)))
        .await
        .unwrap();
    let mark = call(saga_id, "UPDATE_PAYMENT_STATUS", Op::Action);
    let request = pb::MarkPaymentRefundedRequest {
        refund_id: refund_id.to_string(),
        provider_refund_no: String::new(),
    };
    assert_eq!(
        reason(steps.mark_payment_refunded(called(&mark, request)).await),
        "INTERNAL"
    );
    let mark = call(saga_id, "UPDATE_ORDER_STATUS", Op::Action);
    let request = pb::MarkOrderRefundedRequest {
        refund_id: refund_id.to_string(),
    };
    assert_eq!(
        reason(steps.mark_order_refunded(called(&mark, request)).await),
        "INTERNAL"
    );
    assert_eq!(shop::order(&world, &sold).await, ("COMPLETED".to_owned(), 0));
}

#[tokio::test]
async fn a_step_that_cannot_be_read_is_refused_for_good() {
    let world = World::quiet(config()).await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let (refund_id, saga_id) = (RefundId::new(), SagaId::new());
    let good = set(&sold, refund_id, saga_id);
    let wrong = [
        (
            "INVALID_ARGUMENT",
            pb::SetRefundingStatusRequest {
                cause: 0,
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::SetRefundingStatusRequest {
                cause: 77,
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::SetRefundingStatusRequest {
                amount: -1,
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::SetRefundingStatusRequest {
                reason: String::new(),
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::SetRefundingStatusRequest {
                reason: "x".repeat(129),
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::SetRefundingStatusRequest {
                requested_by: "x".repeat(129),
                ..good.clone()
            },
        ),
        (
            "INVALID_ID",
            pb::SetRefundingStatusRequest {
                refund_id: "r".to_owned(),
                ..good.clone()
            },
        ),
        (
            "INVALID_ID",
            pb::SetRefundingStatusRequest {
                saga_id: String::new(),
                ..good.clone()
            },
        ),
        (
            "PAYMENT_NOT_FOUND",
            pb::SetRefundingStatusRequest {
                payment_id: ids::PaymentId::new().to_string(),
                ..good.clone()
            },
        ),
        (
            "REFUND_NOT_ALLOWED",
            pb::SetRefundingStatusRequest {
                cause: pb::RefundCause::Late.into(),
                ..good.clone()
            },
        ),
        (
            "REFUND_TOO_LARGE",
            pb::SetRefundingStatusRequest {
                amount: PRICE + 1,
                ..good.clone()
            },
        ),
    ];
    for (expected, request) in wrong {
        let action = call(SagaId::new(), "SET_REFUNDING_STATUS", Op::Action);
        let answer = world
            .steps
            .clone()
            .set_refunding_status(called(&action, request.clone()))
            .await;
        assert_eq!(reason(answer), expected, "{request:?}");
    }
    let pivot = call(saga_id, "CALL_PROVIDER_REFUND", Op::Action);
    let answer = world
        .steps
        .clone()
        .call_provider_refund(called(&pivot, ask_provider(refund_id)))
        .await;
    assert_eq!(reason(answer), "REFUND_NOT_FOUND");
    assert_eq!(shop::payment(&world, &sold).await, ("SUCCESS".to_owned(), 0, 0));
}

#[tokio::test]
async fn every_step_that_comes_twice_has_one_effect() {
    let mut world = World::quiet(config()).await;
    world.run_jobs().await;
    let sold = sell(&world, "alipay", Goods::default()).await;
    let (refund_id, saga_id) = (RefundId::new(), SagaId::new());
    let steps = &world.steps;
    let action = call(saga_id, "SET_REFUNDING_STATUS", Op::Action);
    let mut answers = Vec::new();
    for _ in 0..2 {
        let request = called(&action, set(&sold, refund_id, saga_id));
        let answer = steps.clone().set_refunding_status(request).await.unwrap();
        answers.push(answer.into_inner());
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!((answers[0].claws_back, answers[0].clawback), (true, 40));
    let pivot = call(saga_id, "CALL_PROVIDER_REFUND", Op::Action);
    for _ in 0..2 {
        let answer = settled(|| {
            let (mut steps, request) = (steps.clone(), called(&pivot, ask_provider(refund_id)));
            async move { steps.call_provider_refund(request).await }
        });
        answer.await.unwrap();
    }
    // Once by the barrier; once more as if the barrier had forgotten it.
    for saga_id in [saga_id, saga_id, SagaId::new()] {
        let mark = call(saga_id, "UPDATE_PAYMENT_STATUS", Op::Action);
        let request = pb::MarkPaymentRefundedRequest {
            refund_id: refund_id.to_string(),
            provider_refund_no: String::new(),
        };
        steps
            .clone()
            .mark_payment_refunded(called(&mark, request))
            .await
            .unwrap();
        assert_eq!(shop::payment(&world, &sold).await, ("SUCCESS".to_owned(), 400, 0));
    }
    for saga_id in [saga_id, saga_id, SagaId::new()] {
        let mark = call(saga_id, "UPDATE_ORDER_STATUS", Op::Action);
        let request = pb::MarkOrderRefundedRequest {
            refund_id: refund_id.to_string(),
        };
        steps
            .clone()
            .mark_order_refunded(called(&mark, request))
            .await
            .unwrap();
        assert_eq!(shop::order(&world, &sold).await, ("COMPLETED".to_owned(), 400));
    }
    assert_eq!(shop::there(&world, &sold).len(), 1);
}

#[tokio::test]
async fn another_refund_waits_for_the_end_of_the_first() {
    let world = World::quiet(config()).await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let (refund_id, saga_id) = (RefundId::new(), SagaId::new());
    let action = call(saga_id, "SET_REFUNDING_STATUS", Op::Action);
    let request = called(&action, set(&sold, refund_id, saga_id));
    world.steps.clone().set_refunding_status(request).await.unwrap();
    assert_eq!(reason(ask(&world, &sold, 1, "r").await), "REFUND_IN_PROGRESS");
    // The one that its request passed, because it was faster there, is refused by the step.
    let (other, saga_id) = (RefundId::new(), SagaId::new());
    let action = call(saga_id, "SET_REFUNDING_STATUS", Op::Action);
    let request = called(&action, set(&sold, other, saga_id));
    let answer = world.steps.clone().set_refunding_status(request).await;
    assert_eq!(reason(answer), "REFUND_IN_PROGRESS");
    // The same id for another saga is another refund.
    sqlx::query("update refunds set status = 'FAILED', error = 'x', ended_at = now()")
        .execute(&world.pool)
        .await
        .unwrap();
    sqlx::query("update payments set status = 'SUCCESS', refunding_amount = 0")
        .execute(&world.pool)
        .await
        .unwrap();
    let request = called(
        &call(SagaId::new(), "SET_REFUNDING_STATUS", Op::Action),
        set(&sold, refund_id, saga_id),
    );
    let answer = world.steps.clone().set_refunding_status(request).await;
    assert_eq!(reason(answer), "ORDER_MISMATCH");
}
