use futures::future::join_all;
use ids::UserId;
use proto::auth::v1 as pb;

use crate::support::{Auth, PASSWORD, World, phone, reason};

fn request(phone: &str) -> pb::RegisterRequest {
    pb::RegisterRequest {
        phone: phone.to_owned(),
        password: PASSWORD.to_owned(),
        ..pb::RegisterRequest::default()
    }
}

async fn put_codes_into_the_pool(auth: &Auth, codes: &[&str]) {
    for code in codes {
        sqlx::query("insert into invite_code (code) values ($1)")
            .bind(code)
            .execute(&auth.pool)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_number_registers_once() {
    let world = World::new().await;
    let phone = phone();
    let tries = join_all((0..20).map(|_| world.auth.try_register(request(&phone)))).await;
    let (made, refused): (Vec<_>, Vec<_>) = tries.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for answer in refused {
        assert_eq!(reason(answer), "PHONE_TAKEN");
    }
    assert_eq!(world.auth.count("select count(*) from account").await, 1);
    assert_eq!(world.auth.count("select count(*) from session").await, 1);
}

#[tokio::test]
async fn the_number_is_one_whatever_its_spelling() {
    let world = World::new().await;
    let phone = phone();
    world.auth.register(&phone).await;
    let spelled = format!("+86 {}-{}", &phone[..3], &phone[3..]);
    assert_eq!(
        reason(world.auth.try_register(request(&spelled)).await),
        "PHONE_TAKEN"
    );
    world.auth.login(&spelled, PASSWORD).await.unwrap();
}

#[tokio::test]
async fn a_hundred_first_logins_at_once_make_one_user() {
    let world = World::new().await;
    let logins = join_all((0..100).map(|_| world.wechat_login("openid-1", Some("unionid-1")))).await;
    let tokens: Vec<pb::Tokens> = logins.into_iter().map(Result::unwrap).collect();
    assert!(tokens.iter().all(|one| one.user_id == tokens[0].user_id));
    assert_eq!(tokens.iter().filter(|one| one.new_user).count(), 1);
    assert_eq!(world.auth.count("select count(*) from account").await, 1);
    assert_eq!(
        world
            .auth
            .count("select count(*) from outbox where topic = 'user.registered'")
            .await,
        1
    );
}

#[tokio::test]
async fn a_referrer_is_noted_and_told_of_its_bonus() {
    let world = World::new().await;
    let referrer = world.auth.register(&phone()).await;
    let new = world
        .auth
        .try_register(pb::RegisterRequest {
            referrer_id: referrer.user_id.clone(),
            ..request(&phone())
        })
        .await
        .unwrap();
    assert_eq!(world.auth.me(&new).await.unwrap().referrer_id, referrer.user_id);
    assert_eq!(
        world.auth.topics(&referrer.user_id).await,
        ["user.registered", "session.opened", "user.referral_bonus"]
    );
    let data: serde_json::Value =
        sqlx::query_scalar("select data from outbox where topic = 'user.referral_bonus'")
            .fetch_one(&world.auth.pool)
            .await
            .unwrap();
    assert_eq!(data["referredUserId"], new.user_id);
}

#[tokio::test]
async fn a_referrer_must_exist_and_be_active() {
    let world = World::new().await;
    let banned = world.auth.register(&phone()).await;
    world.auth.ban(&banned.user_id).await.unwrap();
    for referrer_id in [UserId::new().to_string(), banned.user_id] {
        let refused = world
            .auth
            .try_register(pb::RegisterRequest {
                referrer_id,
                ..request(&phone())
            })
            .await;
        assert_eq!(reason(refused), "REFERRER_INVALID");
    }
    assert_eq!(world.auth.count("select count(*) from account").await, 1);
}

#[tokio::test]
async fn an_invite_code_stands_for_its_owner() {
    let world = World::new().await;
    put_codes_into_the_pool(&world.auth, &["FRST2222"]).await;
    let owner = world.auth.register(&phone()).await;
    assert_eq!(world.auth.me(&owner).await.unwrap().invite_code, "FRST2222");
    let new = world
        .auth
        .try_register(pb::RegisterRequest {
            invite_code: "FRST2222".to_owned(),
            ..request(&phone())
        })
        .await
        .unwrap();
    let me = world.auth.me(&new).await.unwrap();
    assert_eq!(me.referrer_id, owner.user_id);
    assert_eq!(me.invite_code, "", "the pool is empty");
    let unknown = world
        .auth
        .try_register(pb::RegisterRequest {
            invite_code: "NBDY2222".to_owned(),
            ..request(&phone())
        })
        .await;
    assert_eq!(reason(unknown), "INVITE_CODE_INVALID");
    // Once there are codes again, who has none gets one.
    put_codes_into_the_pool(&world.auth, &["SCND2222", "THRD2222"]).await;
    let code = world.auth.me(&new).await.unwrap().invite_code;
    assert!(["SCND2222", "THRD2222"].contains(&code.as_str()), "{code}");
    assert_eq!(world.auth.me(&new).await.unwrap().invite_code, code);
}
