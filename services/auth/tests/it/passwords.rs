use futures::future::join_all;
use proto::auth::v1 as pb;
use rstest::rstest;

use crate::support::{Auth, PASSWORD, Store, World, as_user, phone, reason};

const OTHER: &str = "staple of batteries";

impl Auth {
    async fn change(&self, tokens: &pb::Tokens, old: &str, new: &str) -> Result<(), tonic::Status> {
        let request = pb::ChangePasswordRequest {
            old_password: old.to_owned(),
            new_password: new.to_owned(),
        };
        let request = as_user(tokens, request);
        self.users.clone().change_password(request).await.map(drop)
    }

    async fn reset(&self, phone: &str, code: &str, new: &str) -> Result<(), tonic::Status> {
        let request = pb::ResetPasswordRequest {
            phone: phone.to_owned(),
            code: code.to_owned(),
            new_password: new.to_owned(),
        };
        self.auth.clone().reset_password(request).await.map(drop)
    }
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn a_new_password_ends_every_other_session(#[case] store: Store) {
    let world = World::on(store).await;
    let phone = phone();
    let own = world.auth.register(&phone).await;
    let other = world.auth.login(&phone, PASSWORD).await.unwrap();
    world.auth.change(&own, PASSWORD, OTHER).await.unwrap();
    assert_eq!(
        reason(world.auth.refresh(&other.refresh_token).await),
        "REFRESH_TOKEN_INVALID"
    );
    world.auth.refresh(&own.refresh_token).await.unwrap();
    assert_eq!(reason(world.auth.login(&phone, PASSWORD).await), "LOGIN_FAILED");
    world.auth.login(&phone, OTHER).await.unwrap();
}

#[tokio::test]
async fn the_old_password_must_be_right() {
    let world = World::new().await;
    let phone = phone();
    let tokens = world.auth.register(&phone).await;
    for wrong in ["", "not the password"] {
        assert_eq!(
            reason(world.auth.change(&tokens, wrong, OTHER).await),
            "PASSWORD_WRONG"
        );
    }
    assert_eq!(
        reason(world.auth.change(&tokens, PASSWORD, "password").await),
        "PASSWORD_TOO_WEAK"
    );
    assert_eq!(
        reason(world.auth.change(&tokens, PASSWORD, &"x".repeat(73)).await),
        "PASSWORD_TOO_LONG"
    );
    world.auth.login(&phone, PASSWORD).await.unwrap();
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_made() {
    let world = World::new().await;
    let phone = phone();
    let tokens = world.auth.register(&phone).await;
    let (one, other) = tokio::join!(
        world.auth.change(&tokens, PASSWORD, OTHER),
        world.auth.change(&tokens, PASSWORD, "third of batteries")
    );
    assert_eq!(
        usize::from(one.is_ok()) + usize::from(other.is_ok()),
        1,
        "{one:?} {other:?}"
    );
}

#[tokio::test]
async fn a_login_with_the_old_password_at_the_same_time_does_not_stay() {
    let world = World::new().await;
    for _ in 0..10 {
        let phone = phone();
        let tokens = world.auth.register(&phone).await;
        let (login, changed) = tokio::join!(
            world.auth.login(&phone, PASSWORD),
            world.auth.change(&tokens, PASSWORD, OTHER)
        );
        changed.unwrap();
        if let Ok(intruder) = login {
            assert_eq!(
                reason(world.auth.refresh(&intruder.refresh_token).await),
                "REFRESH_TOKEN_INVALID"
            );
        }
    }
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn a_password_is_reset_with_a_code_for_that(#[case] store: Store) {
    let world = World::on(store).await;
    let phone = phone();
    let tokens = world.auth.register(&phone).await;
    assert_eq!(
        reason(world.auth.reset(&phone, "000000", OTHER).await),
        "SMS_CODE_INVALID"
    );
    let code = world.auth.code(&phone, pb::SmsPurpose::ResetPassword).await;
    assert_eq!(
        reason(world.auth.reset(&phone, &code, "password").await),
        "PASSWORD_TOO_WEAK"
    );
    // The code is still good.
    world.auth.reset(&phone, &code, OTHER).await.unwrap();
    assert_eq!(
        reason(world.auth.reset(&phone, &code, PASSWORD).await),
        "SMS_CODE_INVALID"
    );
    assert_eq!(
        reason(world.auth.refresh(&tokens.refresh_token).await),
        "REFRESH_TOKEN_INVALID"
    );
    world.auth.login(&phone, OTHER).await.unwrap();
}

#[tokio::test]
async fn who_has_the_phone_learns_that_it_is_nobodys() {
    let world = World::new().await;
    let phone = phone();
    let code = world.auth.code(&phone, pb::SmsPurpose::ResetPassword).await;
    assert_eq!(
        reason(world.auth.reset(&phone, &code, OTHER).await),
        "USER_NOT_FOUND"
    );
}

#[tokio::test]
async fn a_user_without_a_password_sets_one_without_the_old() {
    let world = World::new().await;
    let phone = phone();
    let code = world.auth.code(&phone, pb::SmsPurpose::Login).await;
    let tokens = world.auth.login_by_code(&phone, &code).await.unwrap();
    world.auth.change(&tokens, "", OTHER).await.unwrap();
    assert!(world.auth.me(&tokens).await.unwrap().has_password);
    world.auth.login(&phone, OTHER).await.unwrap();
}

#[tokio::test]
async fn a_hash_that_has_become_too_cheap_is_replaced_at_the_next_login() {
    let mut world = World::new().await;
    let phone = phone();
    world.auth.register(&phone).await;
    let dearer = world.replica_with_cost(5).await;
    // At the same time: no login fails because another one has replaced the hash that it was compared with.
    for login in join_all((0..8).map(|_| dearer.login(&phone, PASSWORD))).await {
        login.unwrap();
    }
    let hash: String = sqlx::query_scalar("select password_hash from account")
        .fetch_one(&world.auth.pool)
        .await
        .unwrap();
    assert!(hash.starts_with("$2b$05$"), "{hash}");
    dearer.login(&phone, PASSWORD).await.unwrap();
}
