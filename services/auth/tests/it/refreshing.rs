use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use proto::auth::v1 as pb;
use rstest::rstest;

use crate::support::{PASSWORD, Store, World, phone, reason};

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn every_use_changes_the_token(#[case] store: Store) {
    let world = World::on(store).await;
    let mut tokens = world.auth.register(&phone()).await;
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        assert!(seen.insert(tokens.refresh_token.clone()));
        let next = world.auth.refresh(&tokens.refresh_token).await.unwrap();
        assert_eq!(
            (&next.session_id, &next.user_id),
            (&tokens.session_id, &tokens.user_id)
        );
        assert_ne!(next.access_token, tokens.access_token);
        assert!(!next.new_user);
        world.auth.me(&next).await.unwrap();
        tokens = next;
    }
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn a_retry_within_the_grace_is_answered(#[case] store: Store) {
    let world = World::on(store).await;
    let first = world.auth.register(&phone()).await;
    let second = world.auth.refresh(&first.refresh_token).await.unwrap();
    let retried = world.auth.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(
        retried.refresh_token, second.refresh_token,
        "the same family goes on"
    );
    world.auth.refresh(&second.refresh_token).await.unwrap();
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn who_never_got_the_answer_is_not_punished_later(#[case] store: Store) {
    let world = World::with(store, |config| config.refresh_grace = Duration::ZERO).await;
    let first = world.auth.register(&phone()).await;
    let lost = world.auth.refresh(&first.refresh_token).await.unwrap();
    let second = world.auth.refresh(&first.refresh_token).await.unwrap();
    assert_ne!(
        second.refresh_token, lost.refresh_token,
        "the lost one, which somebody may have found, is void"
    );
    world.auth.refresh(&second.refresh_token).await.unwrap();
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn a_token_that_is_used_again_ends_the_session(#[case] store: Store) {
    let world = World::with(store, |config| config.refresh_grace = Duration::ZERO).await;
    let phone = phone();
    let stolen = world.auth.register(&phone).await;
    let other = world.auth.login(&phone, PASSWORD).await.unwrap();
    let second = world.auth.refresh(&stolen.refresh_token).await.unwrap();
    let third = world.auth.refresh(&second.refresh_token).await.unwrap();
    assert_eq!(
        reason(world.auth.refresh(&stolen.refresh_token).await),
        "REFRESH_TOKEN_REUSED"
    );
    for dead in [&stolen, &second, &third] {
        assert_eq!(
            reason(world.auth.refresh(&dead.refresh_token).await),
            "REFRESH_TOKEN_INVALID"
        );
    }
    let topics = world.auth.topics(&stolen.user_id).await;
    let detected = topics
        .iter()
        .filter(|topic| *topic == "session.reuse_detected")
        .count();
    assert_eq!(detected, 1, "{topics:?}");
    let sessions = world.auth.sessions(&other).await.unwrap();
    assert_eq!(sessions.len(), 1);
    world.auth.refresh(&other.refresh_token).await.unwrap();
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn fifty_refreshes_of_one_token_at_once_log_nobody_out(#[case] store: Store) {
    let world = World::on(store).await;
    let phone = phone();
    let first = world.auth.register(&phone).await;
    for _ in 0..3 {
        let start = world.auth.login(&phone, PASSWORD).await.unwrap();
        let answers = join_all((0..50).map(|_| world.auth.refresh(&start.refresh_token))).await;
        let tokens: BTreeSet<String> = answers
            .into_iter()
            .map(|answer| answer.unwrap().refresh_token)
            .collect();
        assert_eq!(tokens.len(), 1, "all of them got the one token that goes on");
        let next = tokens.first().unwrap();
        world.auth.refresh(next).await.unwrap();
    }
    let topics = world.auth.topics(&first.user_id).await;
    assert!(
        !topics.contains(&"session.reuse_detected".to_owned()),
        "{topics:?}"
    );
}

#[tokio::test]
async fn what_we_have_not_made_ends_nothing() {
    let world = World::new().await;
    let tokens = world.auth.register(&phone()).await;
    let good = &tokens.refresh_token;
    let mut forged = vec![
        "rt_".to_owned(),
        good.to_uppercase(),
        good[..good.len() - 1].to_owned(),
        format!("{good}A"),
        tokens.access_token.clone(),
    ];
    // Every part of it counts: user, session, id, and the MAC.
    for at in (3..good.len() - 1).step_by(7) {
        let old = &good[at..=at];
        let new = if old == "A" { "B" } else { "A" };
        forged.push(format!("{}{new}{}", &good[..at], &good[at + 1..]));
    }
    for text in forged {
        assert_eq!(reason(world.auth.refresh(&text).await), "REFRESH_TOKEN_INVALID");
    }
    world.auth.refresh(good).await.unwrap();
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn after_the_store_was_emptied_users_log_in_again(#[case] store: Store) {
    let world = World::on(store).await;
    let phone = phone();
    let tokens = world.auth.register(&phone).await;
    world.flush().await;
    assert_eq!(
        reason(world.auth.refresh(&tokens.refresh_token).await),
        "REFRESH_TOKEN_INVALID"
    );
    let again = world.auth.login(&phone, PASSWORD).await.unwrap();
    let sessions = world.auth.sessions(&again).await.unwrap();
    let ids: Vec<&str> = sessions.iter().map(|one| one.session_id.as_str()).collect();
    assert_eq!(ids, [again.session_id.as_str()], "the lost one is not shown");
}

#[tokio::test]
async fn a_session_that_is_past_its_time_is_over() {
    let world = World::new().await;
    let tokens = world.auth.register(&phone()).await;
    sqlx::query(
        "update session set created_at = created_at - interval '8 days', \
             expires_at = expires_at - interval '8 days'",
    )
    .execute(&world.auth.pool)
    .await
    .unwrap();
    assert_eq!(
        reason(world.auth.refresh(&tokens.refresh_token).await),
        "REFRESH_TOKEN_INVALID"
    );
    assert_eq!(
        world.auth.sessions(&tokens).await.unwrap(),
        Vec::<pb::Session>::new()
    );
}
