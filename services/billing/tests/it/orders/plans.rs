//! Plans and their versions.

use ids::UserId;
use proto::billing::v1 as pb;
use proto::billing::v1::plan_service_client::PlanServiceClient;

use super::support::{membership, plans, top_up};
use crate::world::{World, as_user, config, reason};

#[tokio::test]
async fn a_version_never_changes_and_the_same_content_makes_none() {
    let world = World::quiet(config()).await;
    let first = world.publish(membership("pro")).await.unwrap();
    assert_eq!((first.version, first.on_sale), (1, true));
    assert_eq!(first.price.as_ref().unwrap().currency, "CNY");
    assert_eq!(world.publish(membership("pro")).await.unwrap(), first);

    let dearer = pb::PublishPlanRequest {
        amount: 12_000,
        ..membership("pro")
    };
    let second = world.publish(dearer.clone()).await.unwrap();
    assert_eq!(second.version, 2);
    assert_eq!(world.publish(dearer).await.unwrap(), second);
    // Back to the first content: a version of its own, since the second one was offered in between.
    assert_eq!(world.publish(membership("pro")).await.unwrap().version, 3);

    let get = |version| pb::GetPlanRequest {
        plan_id: "pro".to_owned(),
        version,
    };
    let mut client = plans(&world);
    let user = UserId::new();
    let found = client.get_plan(as_user(user, get(1))).await.unwrap().into_inner();
    let expected = pb::Plan {
        on_sale: false,
        ..first
    };
    assert_eq!(found.plan.unwrap(), expected);
    let latest = client.get_plan(as_user(user, get(0))).await.unwrap().into_inner();
    assert_eq!(latest.plan.unwrap().version, 3);
    for unknown in [4, u32::MAX] {
        let answer = client.get_plan(as_user(user, get(unknown))).await;
        assert_eq!(reason(answer), "PLAN_NOT_AVAILABLE");
    }
    let change = sqlx::query("update plan_versions set amount = 1").execute(&world.pool);
    assert!(change.await.unwrap_err().to_string().contains("append-only"));
}

#[tokio::test]
async fn publishers_take_turns() {
    let world = World::quiet(config()).await;
    let offers = (1..=8).map(|amount| pb::PublishPlanRequest {
        amount,
        ..top_up("more")
    });
    let published = futures::future::join_all(offers.map(|offer| world.publish(offer))).await;
    let mut versions: Vec<u32> = published.into_iter().map(|plan| plan.unwrap().version).collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=8).collect::<Vec<_>>());
    let same = futures::future::join_all((0..8).map(|_| world.publish(top_up("same")))).await;
    assert!(same.into_iter().all(|plan| plan.unwrap().version == 1));
}

#[tokio::test]
async fn what_is_off_sale_is_shown_to_those_who_run_the_shop() {
    let world = World::quiet(config()).await;
    world.publish(membership("pro")).await.unwrap();
    world.publish(top_up("more")).await.unwrap();
    let mut operator = PlanServiceClient::new(world.operator.clone());
    let retire = pb::RetirePlanRequest {
        plan_id: "pro".to_owned(),
    };
    for _ in 0..2 {
        let retired = operator.retire_plan(retire.clone()).await.unwrap().into_inner();
        assert!(!retired.plan.unwrap().on_sale);
    }
    let list = |include_retired| pb::ListPlansRequest { include_retired };
    let ids = |answer: tonic::Response<pb::ListPlansResponse>| -> Vec<String> {
        let plans = answer.into_inner().plans.into_iter();
        plans.map(|plan| plan.plan_id).collect()
    };
    let user = UserId::new();
    assert_eq!(
        ids(plans(&world)
            .list_plans(as_user(user, list(false)))
            .await
            .unwrap()),
        ["more"]
    );
    assert_eq!(
        ids(operator.list_plans(list(true)).await.unwrap()),
        ["more", "pro"]
    );
    let answer = plans(&world).list_plans(as_user(user, list(true))).await;
    assert_eq!(reason(answer), "PERMISSION_DENIED");

    // The same content puts it on sale again, without a version.
    let again = world.publish(membership("pro")).await.unwrap();
    assert_eq!((again.version, again.on_sale), (1, true));
}

#[tokio::test]
async fn only_administrators_publish() {
    let world = World::quiet(config()).await;
    let request = as_user(UserId::new(), membership("pro"));
    assert_eq!(
        reason(plans(&world).publish_plan(request).await),
        "PERMISSION_DENIED"
    );
    let request = pb::RetirePlanRequest {
        plan_id: "pro".to_owned(),
    };
    let answer = plans(&world)
        .retire_plan(as_user(UserId::new(), request.clone()))
        .await;
    assert_eq!(reason(answer), "PERMISSION_DENIED");
    let mut operator = PlanServiceClient::new(world.operator.clone());
    assert_eq!(reason(operator.retire_plan(request).await), "PLAN_NOT_AVAILABLE");
    let wrong = pb::PublishPlanRequest {
        amount: 0,
        ..membership("pro")
    };
    assert_eq!(reason(world.publish(wrong).await), "INVALID_ARGUMENT");
    assert_eq!(reason(world.publish(membership("Pro")).await), "INVALID_ARGUMENT");
}
