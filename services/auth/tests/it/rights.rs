use ids::UserId;
use proto::auth::v1 as pb;
use rstest::rstest;
use test_support::eventually;

use crate::support::{Auth, DEADLINE, PASSWORD, Store, World, as_user, phone, reason};

impl Auth {
    async fn audit(&self) -> Vec<(String, String, String, String)> {
        sqlx::query_as("select actor, act, subject, reason from audit order by audit_id")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn a_demotion_takes_effect_at_once_for_admin_calls(#[case] store: Store) {
    let world = World::on(store).await;
    let admin = world.auth.admin().await;
    world.auth.list_users_as(&admin).await.unwrap();
    let shown = world.auth.set_role(&admin.user_id, pb::Role::User).await.unwrap();
    assert_eq!(shown.role(), pb::Role::User);
    assert_eq!(reason(world.auth.list_users_as(&admin).await), "TOKEN_REVOKED");
    let fresh = world.auth.refresh(&admin.refresh_token).await.unwrap();
    assert_eq!(
        reason(world.auth.list_users_as(&fresh).await),
        "PERMISSION_DENIED"
    );
    world.auth.me(&fresh).await.unwrap();
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn a_banned_user_cannot_refresh_and_a_banned_administrator_cannot_administer(#[case] store: Store) {
    let world = World::on(store).await;
    let admin = world.auth.admin().await;
    let shown = world.auth.ban(&admin.user_id).await.unwrap();
    assert_eq!(shown.state(), pb::UserState::Banned);
    assert_eq!(
        reason(world.auth.refresh(&admin.refresh_token).await),
        "USER_BANNED"
    );
    assert_eq!(reason(world.auth.list_users_as(&admin).await), "TOKEN_REVOKED");
    world.auth.ban(&admin.user_id).await.unwrap();
    let banned = world
        .auth
        .count("select count(*) from outbox where topic = 'user.banned'")
        .await;
    assert_eq!(banned, 1, "a ban is one, however often it is asked for");
}

#[tokio::test]
async fn whatever_ends_an_administrators_session_ends_its_admin_calls() {
    let world = World::new().await;
    let admin = world.auth.admin().await;
    let request = as_user(&admin, pb::LogoutRequest::default());
    world.auth.auth.clone().logout(request).await.unwrap();
    assert_eq!(reason(world.auth.list_users_as(&admin).await), "TOKEN_REVOKED");
}

#[tokio::test]
async fn a_refresh_and_a_ban_at_once_leave_nobody_in() {
    let world = World::new().await;
    for _ in 0..10 {
        let tokens = world.auth.register(&phone()).await;
        let (refreshed, banned) = tokio::join!(
            world.auth.refresh(&tokens.refresh_token),
            world.auth.ban(&tokens.user_id)
        );
        banned.unwrap();
        let token = refreshed.map_or(tokens.refresh_token, |tokens| tokens.refresh_token);
        assert_eq!(reason(world.auth.refresh(&token).await), "USER_BANNED");
    }
}

#[tokio::test]
async fn a_login_and_a_ban_at_once_leave_nobody_in() {
    let world = World::new().await;
    for _ in 0..10 {
        let phone = phone();
        let tokens = world.auth.register(&phone).await;
        let (login, banned) = tokio::join!(
            world.auth.login(&phone, PASSWORD),
            world.auth.ban(&tokens.user_id)
        );
        banned.unwrap();
        if let Ok(tokens) = login {
            assert_eq!(
                reason(world.auth.refresh(&tokens.refresh_token).await),
                "USER_BANNED"
            );
        }
    }
    let open = world
        .auth
        .count("select count(*) from session where ended_at is null")
        .await;
    assert_eq!(open, 0);
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn an_epoch_that_the_store_has_lost_comes_back(#[case] store: Store) {
    let mut world = World::on(store).await;
    let admin = world.auth.admin().await;
    world.auth.set_role(&admin.user_id, pb::Role::User).await.unwrap();
    world.flush().await;
    world.auth.run_jobs();
    let auth = &world.auth;
    eventually(DEADLINE, || async {
        auth.list_users_as(&admin)
            .await
            .is_err_and(|status| rpc::error::info(&status).unwrap().reason == "TOKEN_REVOKED")
    })
    .await;
}

#[tokio::test]
async fn a_ban_is_made_also_while_the_store_is_lost_and_told_when_it_is_back() {
    let mut world = World::new().await;
    let admin = world.auth.admin().await;
    let cut_off = world.with_kv(world.lost_kv().await).await;
    assert_eq!(reason(cut_off.ban(&admin.user_id).await), "UNAVAILABLE");
    // The store knows nothing of it, and has the old user in its cache.
    world.auth.list_users_as(&admin).await.unwrap();
    world.auth.run_jobs();
    let auth = &world.auth;
    eventually(DEADLINE, || async { auth.list_users_as(&admin).await.is_err() }).await;
    assert_eq!(reason(auth.refresh(&admin.refresh_token).await), "USER_BANNED");
    // The job publishes the epoch first, then it puts the old user out of the cache.
    eventually(DEADLINE, || async {
        auth.get_user(&admin.user_id).await.unwrap().state() == pb::UserState::Banned
    })
    .await;
}

#[tokio::test]
async fn administrators_do_not_change_their_own_rights() {
    let world = World::new().await;
    let admin = world.auth.admin().await;
    let role = pb::SetRoleRequest {
        user_id: admin.user_id.clone(),
        role: pb::Role::User.into(),
        reason: "tired".to_owned(),
    };
    let ban = pb::BanUserRequest {
        user_id: admin.user_id.clone(),
        reason: "tired".to_owned(),
    };
    let mut users = world.auth.users.clone();
    assert_eq!(
        reason(users.set_role(as_user(&admin, role)).await),
        "PERMISSION_DENIED"
    );
    assert_eq!(
        reason(users.ban_user(as_user(&admin, ban)).await),
        "PERMISSION_DENIED"
    );
}

#[tokio::test]
async fn what_administrators_do_is_written_down_for_ever() {
    let world = World::new().await;
    let admin = world.auth.admin().await;
    let user = world.auth.register(&phone()).await;
    let ban = pb::BanUserRequest {
        user_id: user.user_id.clone(),
        reason: "  sells accounts ".to_owned(),
    };
    for _ in 0..2 {
        let request = as_user(&admin, ban.clone());
        world.auth.users.clone().ban_user(request).await.unwrap();
    }
    world.auth.unban(&user.user_id).await.unwrap();
    let audit = world.auth.audit().await;
    let line = |actor: &str, act: &str, subject: &str, reason: &str| {
        (
            actor.to_owned(),
            act.to_owned(),
            subject.to_owned(),
            reason.to_owned(),
        )
    };
    assert_eq!(
        audit,
        [
            line("operator", "set_role", &admin.user_id, "test"),
            line(&admin.user_id, "ban", &user.user_id, "sells accounts"),
            line("operator", "unban", &user.user_id, "appeal"),
        ]
    );
    for sql in [
        "update audit set reason = 'x'",
        "delete from audit",
        "truncate audit",
    ] {
        let refused = sqlx::query(sql).execute(&world.auth.pool).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{refused}");
    }
}

#[tokio::test]
async fn the_first_administrator_is_made_in_the_database() {
    let world = World::new().await;
    let tokens = world.auth.register(&phone()).await;
    let user_id: UserId = tokens.user_id.parse().unwrap();
    for _ in 0..2 {
        assert!(
            auth::bootstrap_admin(&world.auth.pool, user_id, "setup")
                .await
                .unwrap()
        );
    }
    let tokens = world.auth.refresh(&tokens.refresh_token).await.unwrap();
    world.auth.list_users_as(&tokens).await.unwrap();
    assert_eq!(world.auth.audit().await.len(), 1);
    let nobody = auth::bootstrap_admin(&world.auth.pool, UserId::new(), "setup").await;
    assert!(!nobody.unwrap());
}

#[tokio::test]
async fn users_are_listed_in_pages_of_what_was_asked_for() {
    let world = World::new().await;
    let mut made = Vec::new();
    let mut phones = Vec::new();
    for _ in 0..7 {
        phones.push(phone());
        made.push(world.auth.register(phones.last().unwrap()).await.user_id);
    }
    world.auth.ban(&made[2]).await.unwrap();
    made.reverse();
    let list = async |request: pb::ListUsersRequest| {
        let request = world.auth.as_operator(request);
        let answer = world.auth.users.clone().list_users(request).await?;
        Ok::<_, tonic::Status>(answer.into_inner())
    };
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = list(pb::ListUsersRequest {
            page_size: 3,
            page_token,
            ..pb::ListUsersRequest::default()
        })
        .await
        .unwrap();
        assert!(page.users.len() <= 3);
        seen.extend(page.users.into_iter().map(|user| user.user_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, made);
    let by_phone = list(pb::ListUsersRequest {
        phone: phones[0].clone(),
        ..pb::ListUsersRequest::default()
    })
    .await
    .unwrap();
    assert_eq!(by_phone.users.len(), 1);
    assert_eq!(by_phone.users[0].phone, format!("+86{}", phones[0]));
    let banned = list(pb::ListUsersRequest {
        state: pb::UserState::Banned.into(),
        role: pb::Role::User.into(),
        ..pb::ListUsersRequest::default()
    })
    .await
    .unwrap();
    assert_eq!(banned.users.len(), 1);
}
