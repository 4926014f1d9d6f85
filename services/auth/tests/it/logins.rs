use futures::future::join_all;
use proto::auth::v1 as pb;
use rstest::rstest;

use crate::support::{PASSWORD, Store, World, phone, reason};

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn a_new_number_that_proves_itself_is_registered(#[case] store: Store) {
    let world = World::on(store).await;
    let phone = phone();
    let code = world.auth.code(&phone, pb::SmsPurpose::Login).await;
    let tokens = world.auth.login_by_code(&phone, &code).await.unwrap();
    assert!(tokens.new_user);
    let me = world.auth.me(&tokens).await.unwrap();
    assert_eq!(me.user_id, tokens.user_id);
    assert_eq!(me.phone, format!("+86138****{}", &phone[7..]));
    assert!(!me.has_password && !me.has_wechat);
    assert_eq!(
        world.auth.topics(&tokens.user_id).await,
        ["user.registered", "session.opened"]
    );
}

#[tokio::test]
async fn a_code_is_good_once() {
    let world = World::new().await;
    let phone = phone();
    let code = world.auth.code(&phone, pb::SmsPurpose::Login).await;
    world.auth.login_by_code(&phone, &code).await.unwrap();
    assert_eq!(
        reason(world.auth.login_by_code(&phone, &code).await),
        "LOGIN_FAILED"
    );
}

#[tokio::test]
async fn a_code_for_a_new_password_is_none_for_a_login() {
    let world = World::new().await;
    let phone = phone();
    let code = world.auth.code(&phone, pb::SmsPurpose::ResetPassword).await;
    assert_eq!(
        reason(world.auth.login_by_code(&phone, &code).await),
        "LOGIN_FAILED"
    );
}

#[tokio::test]
async fn an_unknown_number_and_a_wrong_password_get_the_same_answer_after_the_same_work() {
    let world = World::new().await;
    let (known, unknown, codeless) = (phone(), phone(), phone());
    world.auth.register(&known).await;
    let code = world.auth.code(&codeless, pb::SmsPurpose::Login).await;
    world.auth.login_by_code(&codeless, &code).await.unwrap();
    let mut answers = Vec::new();
    // The last one has no password.
    for phone in [&known, &unknown, &codeless] {
        let before = world.auth.passwords.computed();
        let status = world.auth.login(phone, "not the password").await.unwrap_err();
        let work = world.auth.passwords.computed() - before;
        answers.push((status.code(), status.message().to_owned(), work));
    }
    assert_eq!(answers[0].2, 1);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn a_banned_user_is_told_so_only_with_the_right_password() {
    let world = World::new().await;
    let phone = phone();
    let tokens = world.auth.register(&phone).await;
    world.auth.ban(&tokens.user_id).await.unwrap();
    assert_eq!(
        reason(world.auth.login(&phone, "not the password").await),
        "LOGIN_FAILED"
    );
    assert_eq!(reason(world.auth.login(&phone, PASSWORD).await), "USER_BANNED");
    let code = world.auth.code(&phone, pb::SmsPurpose::Login).await;
    assert_eq!(
        reason(world.auth.login_by_code(&phone, &code).await),
        "USER_BANNED"
    );
    world.auth.unban(&tokens.user_id).await.unwrap();
    world.auth.login(&phone, PASSWORD).await.unwrap();
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn one_session_more_than_allowed_ends_the_oldest(#[case] store: Store) {
    let world = World::with(store, |config| config.max_sessions = 3).await;
    let phone = phone();
    let first = world.auth.register(&phone).await;
    for _ in 0..3 {
        world.auth.login(&phone, PASSWORD).await.unwrap();
    }
    assert_eq!(
        reason(world.auth.refresh(&first.refresh_token).await),
        "REFRESH_TOKEN_INVALID"
    );
    // At the same time, they do not wait for each other in circles.
    let logins = join_all((0..20).map(|_| world.auth.login(&phone, PASSWORD))).await;
    let last = logins.into_iter().map(Result::unwrap).last().unwrap();
    let open = world
        .auth
        .count("select count(*) from session where ended_at is null")
        .await;
    // Each login counts the sessions that it sees; those that begin at the same moment do not see each other.
    assert!((3..=20).contains(&open), "{open}");
    world.auth.login(&phone, PASSWORD).await.unwrap();
    assert_eq!(world.auth.sessions(&last).await.unwrap().len(), 3);
}
