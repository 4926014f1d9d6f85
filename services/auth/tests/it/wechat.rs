use doubles::wechat::Behaviour;
use proto::auth::v1 as pb;

use crate::support::{World, as_user, reason};

#[tokio::test]
async fn the_first_login_makes_the_user_and_later_ones_find_it() {
    let world = World::new().await;
    let first = world.wechat_login("openid-1", None).await.unwrap();
    let second = world.wechat_login("openid-1", None).await.unwrap();
    assert!(first.new_user && !second.new_user);
    assert_eq!(first.user_id, second.user_id);
    let other = world.wechat_login("openid-2", None).await.unwrap();
    assert_ne!(other.user_id, first.user_id);
    let me = world.auth.me(&first).await.unwrap();
    assert!(me.has_wechat && !me.has_password);
    assert_eq!(me.phone, "");
}

#[tokio::test]
async fn the_unionid_comes_before_the_openid() {
    let world = World::new().await;
    let in_one_program = world.wechat_login("openid-a", Some("union")).await.unwrap();
    let in_another = world.wechat_login("openid-b", Some("union")).await.unwrap();
    assert_eq!(in_one_program.user_id, in_another.user_id);
}

#[tokio::test]
async fn a_unionid_that_is_learnt_later_is_noted() {
    let world = World::new().await;
    let before = world.wechat_login("openid-1", None).await.unwrap();
    let tied = world.wechat_login("openid-1", Some("union")).await.unwrap();
    assert_eq!(before.user_id, tied.user_id);
    let elsewhere = world.wechat_login("openid-2", Some("union")).await.unwrap();
    assert_eq!(before.user_id, elsewhere.user_id);
}

#[tokio::test]
async fn two_users_that_turn_out_to_be_one_person_stay_two() {
    let world = World::new().await;
    let by_openid = world.wechat_login("openid-1", None).await.unwrap();
    let by_unionid = world.wechat_login("openid-2", Some("union")).await.unwrap();
    let both = world.wechat_login("openid-1", Some("union")).await.unwrap();
    assert_eq!(both.user_id, by_unionid.user_id);
    assert_eq!(
        world.wechat_login("openid-1", None).await.unwrap().user_id,
        by_openid.user_id
    );
}

#[tokio::test]
async fn a_code_that_wechat_does_not_know_is_refused() {
    let world = World::new().await;
    let login = async |code: &str| {
        let request = pb::WechatLoginRequest {
            code: code.to_owned(),
            ..pb::WechatLoginRequest::default()
        };
        world.auth.auth.clone().wechat_login(request).await
    };
    assert_eq!(reason(login("nonsense").await), "WECHAT_CODE_INVALID");
    let double = &world.auth.providers.wechat;
    let code = double.code("openid-1", None);
    login(&code).await.unwrap();
    assert_eq!(
        reason(login(&code).await),
        "WECHAT_CODE_INVALID",
        "it is good once"
    );
}

#[tokio::test]
async fn a_wechat_that_is_busy_or_blocks_somebody_is_told_apart() {
    let world = World::new().await;
    let double = &world.auth.providers.wechat;
    for (behaviour, expected) in [
        (Behaviour::Code(45_011), "WECHAT_UNAVAILABLE"),
        (Behaviour::Status(502), "WECHAT_UNAVAILABLE"),
        (Behaviour::Garbage, "WECHAT_UNAVAILABLE"),
        (Behaviour::Code(40_226), "USER_BANNED"),
    ] {
        double.program(vec![behaviour.clone()]);
        let answer = world.wechat_login("openid-1", None).await;
        assert_eq!(reason(answer), expected, "{behaviour:?}");
    }
    assert_eq!(world.auth.count("select count(*) from account").await, 0);
}

#[tokio::test]
async fn an_account_without_a_phone_number_has_no_use_for_a_password() {
    let world = World::new().await;
    let tokens = world.wechat_login("openid-1", None).await.unwrap();
    let request = pb::ChangePasswordRequest {
        old_password: String::new(),
        new_password: "correct horse battery".to_owned(),
    };
    let refused = world
        .auth
        .users
        .clone()
        .change_password(as_user(&tokens, request))
        .await;
    assert_eq!(reason(refused), "INVALID_ARGUMENT");
}
