use proto::auth::v1 as pb;

use crate::support::{World, as_user, reason};

async fn login(world: &World, code: &str) -> Result<pb::Tokens, tonic::Status> {
    let request = pb::WechatLoginRequest {
        code: code.to_owned(),
        ..pb::WechatLoginRequest::default()
    };
    let answer = world.auth.auth.clone().wechat_login(request).await?;
    Ok(answer.into_inner().tokens.unwrap())
}

#[tokio::test]
async fn the_first_login_makes_the_user_and_later_ones_find_it() {
    let world = World::new().await;
    let first = login(&world, "openid-1.").await.unwrap();
    let second = login(&world, "openid-1.").await.unwrap();
    assert!(first.new_user && !second.new_user);
    assert_eq!(first.user_id, second.user_id);
    let other = login(&world, "openid-2.").await.unwrap();
    assert_ne!(other.user_id, first.user_id);
    let me = world.auth.me(&first).await.unwrap();
    assert!(me.has_wechat && !me.has_password);
    assert_eq!(me.phone, "");
}

#[tokio::test]
async fn the_unionid_comes_before_the_openid() {
    let world = World::new().await;
    let in_one_program = login(&world, "openid-a.union").await.unwrap();
    let in_another = login(&world, "openid-b.union").await.unwrap();
    assert_eq!(in_one_program.user_id, in_another.user_id);
}

#[tokio::test]
async fn a_unionid_that_is_learnt_later_is_noted() {
    let world = World::new().await;
    let before = login(&world, "openid-1.").await.unwrap();
    let tied = login(&world, "openid-1.union").await.unwrap();
    assert_eq!(before.user_id, tied.user_id);
    let elsewhere = login(&world, "openid-2.union").await.unwrap();
    assert_eq!(before.user_id, elsewhere.user_id);
}

#[tokio::test]
async fn two_users_that_turn_out_to_be_one_person_stay_two() {
    let world = World::new().await;
    let by_openid = login(&world, "openid-1.").await.unwrap();
    let by_unionid = login(&world, "openid-2.union").await.unwrap();
    let both = login(&world, "openid-1.union").await.unwrap();
    assert_eq!(both.user_id, by_unionid.user_id);
    assert_eq!(
        login(&world, "openid-1.").await.unwrap().user_id,
        by_openid.user_id
    );
}

#[tokio::test]
async fn a_code_that_wechat_does_not_know_is_refused() {
    let world = World::new().await;
    assert_eq!(reason(login(&world, "nonsense").await), "WECHAT_CODE_INVALID");
}

#[tokio::test]
async fn an_account_without_a_phone_number_has_no_use_for_a_password() {
    let world = World::new().await;
    let tokens = login(&world, "openid-1.").await.unwrap();
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
