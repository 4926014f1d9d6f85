use proto::auth::v1 as pb;

use crate::support::{PASSWORD, World, as_user, phone, reason};

#[tokio::test]
async fn without_the_store_nobody_logs_in_and_everybody_is_shown() {
    let world = World::new().await;
    let phone = phone();
    let tokens = world.auth.register(&phone).await;
    let cut_off = world.with_kv(world.lost_kv().await).await;
    assert_eq!(reason(cut_off.login(&phone, PASSWORD).await), "UNAVAILABLE");
    assert_eq!(
        reason(cut_off.refresh(&tokens.refresh_token).await),
        "UNAVAILABLE"
    );
    assert_eq!(cut_off.me(&tokens).await.unwrap().user_id, tokens.user_id);
    let request = pb::GetConfigurationRequest {};
    cut_off.users.clone().get_configuration(request).await.unwrap();
    // What would be cached wrongly is not changed.
    let request = pb::UpdateMeRequest {
        nickname: Some("new".to_owned()),
        ..pb::UpdateMeRequest::default()
    };
    let refused = cut_off.users.clone().update_me(as_user(&tokens, request)).await;
    assert_eq!(reason(refused), "UNAVAILABLE");
    assert_eq!(world.auth.me(&tokens).await.unwrap().nickname, "");
}

#[tokio::test]
async fn a_logout_works_without_the_store() {
    let world = World::new().await;
    let tokens = world.auth.register(&phone()).await;
    let cut_off = world.with_kv(world.lost_kv().await).await;
    let request = pb::LogoutRequest {
        refresh_token: tokens.refresh_token.clone(),
    };
    cut_off.auth.clone().logout(request).await.unwrap();
    assert_eq!(
        reason(world.auth.refresh(&tokens.refresh_token).await),
        "REFRESH_TOKEN_INVALID"
    );
}

#[tokio::test]
async fn a_database_that_is_away_is_unavailable() {
    let world = World::new().await;
    let phone = phone();
    let tokens = world.auth.register(&phone).await;
    world.auth.pool.close().await;
    assert_eq!(reason(world.auth.login(&phone, PASSWORD).await), "UNAVAILABLE");
    assert_eq!(
        reason(world.auth.refresh(&tokens.refresh_token).await),
        "UNAVAILABLE"
    );
}
