use proto::auth::v1 as pb;
use rstest::rstest;
use test_support::eventually;

use crate::support::{Auth, DEADLINE, PASSWORD, Store, World, as_user, phone, reason};

impl Auth {
    async fn logout(&self, refresh_token: &str) -> Result<(), tonic::Status> {
        let request = pb::LogoutRequest {
            refresh_token: refresh_token.to_owned(),
        };
        self.auth.clone().logout(request).await.map(drop)
    }

    async fn logout_as(&self, tokens: &pb::Tokens) -> Result<(), tonic::Status> {
        let request = as_user(tokens, pb::LogoutRequest::default());
        self.auth.clone().logout(request).await.map(drop)
    }

    async fn revoke(&self, tokens: &pb::Tokens, session_id: &str) -> Result<(), tonic::Status> {
        let request = pb::RevokeSessionRequest {
            session_id: session_id.to_owned(),
        };
        let request = as_user(tokens, request);
        self.users.clone().revoke_session(request).await.map(drop)
    }
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn after_a_logout_no_token_of_the_session_refreshes(#[case] store: Store) {
    let world = World::on(store).await;
    let first = world.auth.register(&phone()).await;
    let second = world.auth.refresh(&first.refresh_token).await.unwrap();
    // With an old token as well: it says whose session, and its holder wants it ended.
    world.auth.logout(&first.refresh_token).await.unwrap();
    for token in [&first.refresh_token, &second.refresh_token] {
        assert_eq!(reason(world.auth.refresh(token).await), "REFRESH_TOKEN_INVALID");
    }
    world.auth.logout(&second.refresh_token).await.unwrap();
    assert_eq!(
        world.auth.topics(&first.user_id).await,
        ["user.registered", "session.opened", "session.ended"]
    );
}

#[tokio::test]
async fn without_a_refresh_token_the_access_token_says_whose_session_ends() {
    let world = World::new().await;
    let phone = phone();
    let one = world.auth.register(&phone).await;
    let other = world.auth.login(&phone, PASSWORD).await.unwrap();
    world.auth.logout_as(&one).await.unwrap();
    assert_eq!(
        reason(world.auth.refresh(&one.refresh_token).await),
        "REFRESH_TOKEN_INVALID"
    );
    world.auth.refresh(&other.refresh_token).await.unwrap();
    let nobody = world.auth.auth.clone().logout(pb::LogoutRequest::default()).await;
    assert_eq!(reason(nobody), "UNAUTHENTICATED");
    assert_eq!(
        reason(world.auth.logout("rt_nonsense").await),
        "REFRESH_TOKEN_INVALID"
    );
}

#[tokio::test]
async fn a_session_that_the_store_still_knows_is_ended_by_the_database() {
    let world = World::new().await;
    let tokens = world.auth.register(&phone()).await;
    // As if the process had died before it told the store.
    sqlx::query("update session set ended_at = clock_timestamp(), end_reason = 'logout'")
        .execute(&world.auth.pool)
        .await
        .unwrap();
    assert_eq!(
        reason(world.auth.refresh(&tokens.refresh_token).await),
        "REFRESH_TOKEN_INVALID"
    );
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn logging_out_everywhere_ends_every_session(#[case] store: Store) {
    let world = World::on(store).await;
    let phone = phone();
    let mut all = vec![world.auth.register(&phone).await];
    for _ in 0..3 {
        all.push(world.auth.login(&phone, PASSWORD).await.unwrap());
    }
    let stranger = world.auth.register(&crate::support::phone()).await;
    let request = as_user(&all[1], pb::LogoutEverywhereRequest {});
    let ended = world.auth.auth.clone().logout_everywhere(request).await.unwrap();
    assert_eq!(ended.into_inner().sessions_ended, 4);
    for tokens in &all {
        assert_eq!(
            reason(world.auth.refresh(&tokens.refresh_token).await),
            "REFRESH_TOKEN_INVALID"
        );
    }
    world.auth.refresh(&stranger.refresh_token).await.unwrap();
}

#[tokio::test]
async fn a_user_sees_its_open_sessions_newest_first() {
    let world = World::new().await;
    let phone = phone();
    let first = world.auth.register(&phone).await;
    let mut request = tonic::Request::new(pb::LoginRequest {
        phone: phone.clone(),
        password: PASSWORD.to_owned(),
        device: "小米 14".to_owned(),
        ..pb::LoginRequest::default()
    });
    let ip = "2001:db8:0:0::7".parse().unwrap();
    request.metadata_mut().insert(rpc::CLIENT_IP_HEADER, ip);
    let second = world.auth.auth.clone().login(request).await.unwrap();
    let second = second.into_inner().tokens.unwrap();
    let sessions = world.auth.sessions(&second).await.unwrap();
    let shown: Vec<_> = sessions
        .iter()
        .map(|one| {
            (
                one.session_id.as_str(),
                one.device.as_str(),
                one.ip.as_str(),
                one.current,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (second.session_id.as_str(), "小米 14", "2001:db8::7", true),
            (first.session_id.as_str(), "", "", false),
        ]
    );
    assert!(sessions[0].expires_at.unwrap().seconds > sessions[0].created_at.unwrap().seconds);
}

#[tokio::test]
async fn a_user_ends_its_own_sessions_only() {
    let world = World::new().await;
    let phone = phone();
    let one = world.auth.register(&phone).await;
    let other = world.auth.login(&phone, PASSWORD).await.unwrap();
    let stranger = world.auth.register(&crate::support::phone()).await;
    assert_eq!(
        reason(world.auth.revoke(&one, &stranger.session_id).await),
        "SESSION_NOT_FOUND"
    );
    assert_eq!(reason(world.auth.revoke(&one, "session_1").await), "INVALID_ID");
    for _ in 0..2 {
        world.auth.revoke(&one, &other.session_id).await.unwrap();
    }
    assert_eq!(
        reason(world.auth.refresh(&other.refresh_token).await),
        "REFRESH_TOKEN_INVALID"
    );
    world.auth.refresh(&one.refresh_token).await.unwrap();
    world.auth.refresh(&stranger.refresh_token).await.unwrap();
}

#[tokio::test]
async fn old_sessions_are_deleted_and_open_ones_are_not() {
    let mut world = World::new().await;
    let phone = phone();
    let old = world.auth.register(&phone).await;
    world.auth.logout(&old.refresh_token).await.unwrap();
    let open = world.auth.login(&phone, PASSWORD).await.unwrap();
    sqlx::query(
        "update session set created_at = created_at - interval '40 days', \
             expires_at = expires_at - interval '40 days', ended_at = ended_at - interval '40 days' \
         where ended_at is not null",
    )
    .execute(&world.auth.pool)
    .await
    .unwrap();
    world.auth.run_jobs();
    let auth = &world.auth;
    eventually(DEADLINE, || async {
        auth.count("select count(*) from session").await == 1
    })
    .await;
    auth.refresh(&open.refresh_token).await.unwrap();
}
