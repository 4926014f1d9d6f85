//! Completed orders and the memberships that they open.

use ids::{SagaId, UserId};
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use tonic::Status;

use super::support::{action, membership, plans, top_up};
use crate::fake_sagas::called;
use crate::world::{World, as_user, config, reason};

const DAY: i64 = 24 * 60 * 60;

async fn activate(
    world: &World,
    saga_id: SagaId,
    order_id: &str,
) -> Result<pb::ActivateOrderResponse, Status> {
    let call = StepCall {
        refusable: false,
        ..action(saga_id, "ACTIVATE_ORDER")
    };
    let request = pb::ActivateOrderRequest {
        order_id: order_id.to_owned(),
    };
    Ok(world
        .steps
        .clone()
        .activate_order(called(&call, request))
        .await?
        .into_inner())
}

async fn memberships(world: &World, user_id: UserId) -> Vec<pb::Membership> {
    let request = as_user(user_id, pb::ListMembershipsRequest::default());
    plans(world)
        .list_memberships(request)
        .await
        .unwrap()
        .into_inner()
        .memberships
}

async fn bought(world: &World, user_id: UserId) -> pb::Order {
    let (order, saga_id) = world.held(user_id, membership("pro")).await;
    world.pay(&order).await;
    activate(world, saga_id, &order.order_id).await.unwrap();
    order
}

fn length_s(membership: &pb::Membership) -> i64 {
    let [start, end] = [&membership.starts_at, &membership.ends_at].map(|at| at.as_ref().unwrap());
    assert_eq!(start.nanos, end.nanos);
    end.seconds - start.seconds
}

#[tokio::test]
async fn what_is_bought_twice_lasts_twice_as_long() {
    let world = World::quiet(config()).await;
    let user = UserId::new();
    let first = bought(&world, user).await;
    let second = bought(&world, user).await;
    let found = memberships(&world, user).await;
    assert_eq!(found.len(), 1);
    assert!(found[0].active);
    assert_eq!(length_s(&found[0]), 62 * DAY);
    let periods = &found[0].periods;
    let ids: Vec<&str> = periods.iter().map(|period| period.order_id.as_str()).collect();
    assert_eq!(ids, [&first.order_id, &second.order_id]);
    assert_eq!(
        periods[0].ends_at, periods[1].starts_at,
        "without a gap or an overlap"
    );
    assert!(
        periods
            .iter()
            .all(|period| period.days == 31 && period.revoked_at.is_none())
    );
    let kinds: Vec<String> = sqlx::query_scalar("select kind from membership_history order by id")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(kinds, ["opened", "extended"]);
    assert!(memberships(&world, UserId::new()).await.is_empty());
}

#[tokio::test]
async fn a_membership_that_has_ended_begins_anew() {
    let world = World::quiet(config()).await;
    let user = UserId::new();
    bought(&world, user).await;
    world
        .execute(
            "update memberships set starts_at = starts_at - interval '100 days', ends_at = ends_at - interval '100 days'",
        )
        .await;
    assert!(!memberships(&world, user).await[0].active);
    bought(&world, user).await;
    let found = memberships(&world, user).await;
    assert!(found[0].active);
    assert_eq!(length_s(&found[0]), 31 * DAY);
    let kinds: Vec<String> = sqlx::query_scalar("select kind from membership_history order by id")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(kinds, ["opened", "opened"]);
}

#[tokio::test]
async fn orders_of_one_user_that_are_completed_at_once_add_up() {
    let world = World::quiet(config()).await;
    let user = UserId::new();
    let mut ready = Vec::new();
    for _ in 0..8 {
        let (order, saga_id) = world.held(user, membership("pro")).await;
        world.pay(&order).await;
        ready.push((order.order_id, saga_id));
    }
    // Each twice, as when an answer was lost.
    let calls = ready
        .iter()
        .chain(&ready)
        .map(|(id, saga_id)| activate(&world, *saga_id, id));
    for answer in futures::future::join_all(calls).await {
        answer.unwrap();
    }
    assert_eq!(length_s(&memberships(&world, user).await[0]), 8 * 31 * DAY);
    assert_eq!(world.facts("order.completed").await.len(), 8);
    assert_eq!(world.facts("notification.send").await.len(), 8);
    let overlaps = "select count(*) from membership_periods a join membership_periods b
         on a.order_id <> b.order_id and a.starts_at < b.ends_at and b.starts_at < a.ends_at";
    assert_eq!(world.count(overlaps).await, 0);
}

#[tokio::test]
async fn an_order_that_is_not_paid_is_not_completed() {
    let world = World::quiet(config()).await;
    let user = UserId::new();
    let (order, saga_id) = world.held(user, membership("pro")).await;
    assert_eq!(
        reason(activate(&world, saga_id, &order.order_id).await),
        "INTERNAL"
    );
    assert_eq!(
        world.get_order(&order.order_id).await.status(),
        pb::OrderStatus::Pending
    );
    assert!(memberships(&world, user).await.is_empty());
    world.pay(&order).await;
    assert!(
        activate(&world, saga_id, &order.order_id)
            .await
            .unwrap()
            .completed_at
            .is_some()
    );
}

#[tokio::test]
async fn an_order_whose_money_went_back_opens_nothing() {
    let world = World::quiet(config()).await;
    let user = UserId::new();
    let (order, saga_id) = world.held(user, membership("pro")).await;
    world.pay(&order).await;
    world
        .execute(
            "update orders set status = 'REFUNDED', refunded_amount = final_amount, refunded_at = clock_timestamp()",
        )
        .await;
    assert_eq!(
        activate(&world, saga_id, &order.order_id)
            .await
            .unwrap()
            .completed_at,
        None
    );
    assert!(memberships(&world, user).await.is_empty());
    assert!(world.facts("order.completed").await.is_empty());
}

#[tokio::test]
async fn a_top_up_opens_no_membership() {
    let world = World::quiet(config()).await;
    let user = UserId::new();
    let (order, saga_id) = world.held(user, top_up("more")).await;
    assert_eq!(order.lines.len(), 1);
    world.pay(&order).await;
    activate(&world, saga_id, &order.order_id).await.unwrap();
    assert!(memberships(&world, user).await.is_empty());
}
