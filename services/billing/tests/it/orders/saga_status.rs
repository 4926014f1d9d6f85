//! Where a saga stands, and who may know it.

use ids::{SagaId, UserId};
use proto::billing::v1 as pb;
use proto::billing::v1::order_service_client::OrderServiceClient;
use tonic::Status;

use super::support::{compensation, membership, orders, until};
use crate::world::{World, as_user, config, reason};

async fn status(world: &World, user: UserId, saga_id: &str) -> Result<pb::GetSagaStatusResponse, Status> {
    let request = pb::GetSagaStatusRequest {
        saga_id: saga_id.to_owned(),
    };
    let answer = orders(world).get_saga_status(as_user(user, request)).await?;
    Ok(answer.into_inner())
}

#[tokio::test]
async fn a_saga_is_shown_to_its_user_and_to_those_who_run_the_shop() {
    let world = World::new().await;
    let user = UserId::new();
    let order = world.order(user).await;
    let found = status(&world, user, &order.saga_id).await.unwrap();
    assert_eq!((found.status.as_str(), found.error.as_str()), ("RUNNING", ""));
    assert_eq!(
        reason(status(&world, UserId::new(), &order.saga_id).await),
        "SAGA_NOT_FOUND"
    );
    let request = pb::GetSagaStatusRequest {
        saga_id: order.saga_id.clone(),
    };
    let mut operator = OrderServiceClient::new(world.operator.clone());
    assert_eq!(
        operator.get_saga_status(request).await.unwrap().into_inner(),
        found
    );

    world.cancel(user, &order.order_id, "").await.unwrap();
    let ended = until(async || {
        let found = status(&world, user, &order.saga_id).await.unwrap();
        (found.status == "COMPENSATED").then_some(found)
    })
    .await;
    assert_eq!(ended.error, "ORDER_CANCELLED");
    assert_eq!(
        reason(status(&world, user, &SagaId::new().to_string()).await),
        "SAGA_NOT_FOUND"
    );
    assert_eq!(reason(status(&world, user, &order.order_id).await), "INVALID_ID");
    world.sagas.set_down(true);
    assert_eq!(reason(status(&world, user, &order.saga_id).await), "UNAVAILABLE");
}

#[tokio::test]
async fn a_saga_that_gives_money_back_belongs_to_whom_it_goes() {
    let world = World::new().await;
    world.sagas.stall("PAYMENT_REFUND");
    let user = UserId::new();
    let (order, saga_id) = world.held(user, membership("pro")).await;
    world.pay(&order).await;
    let undo = compensation(saga_id, "PROCESS_PAYMENT");
    world.refund_order(&undo, &order.order_id).await.unwrap();
    let refund = until(async || world.sagas.started("PAYMENT_REFUND").first().cloned()).await;
    let saga = world.sagas.saga("PAYMENT_REFUND", &refund).unwrap();
    assert_eq!(
        status(&world, user, &saga.saga_id).await.unwrap().status,
        "RUNNING"
    );
    assert_eq!(
        reason(status(&world, UserId::new(), &saga.saga_id).await),
        "SAGA_NOT_FOUND"
    );
}

#[tokio::test]
async fn a_purchase_that_was_refused_says_why() {
    let world = World::quiet(config()).await;
    let user = UserId::new();
    assert_eq!(reason(world.buy(user, "none", "r").await), "PLAN_NOT_AVAILABLE");
    let order_id = world.sagas.started("PAYMENT_PURCHASE").pop().unwrap();
    let saga = world.sagas.saga("PAYMENT_PURCHASE", &order_id).unwrap();
    let found = until(async || {
        let found = status(&world, user, &saga.saga_id).await.unwrap();
        (found.status == "COMPENSATED").then_some(found)
    })
    .await;
    assert_eq!(found.error, "PLAN_NOT_AVAILABLE");
}
