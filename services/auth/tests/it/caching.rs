use std::time::Duration;

use kv::Key;
use proto::auth::v1 as pb;
use rstest::rstest;

use crate::support::{Auth, Store, World, as_user, phone};

const HOUR: Duration = Duration::from_secs(3600);

impl Auth {
    async fn rename(&self, tokens: &pb::Tokens, nickname: &str) -> pb::User {
        let request = pb::UpdateMeRequest {
            nickname: Some(nickname.to_owned()),
            ..pb::UpdateMeRequest::default()
        };
        let answer = self
            .users
            .clone()
            .update_me(as_user(tokens, request))
            .await
            .unwrap();
        answer.into_inner().user.unwrap()
    }

    async fn nickname(&self, tokens: &pb::Tokens) -> String {
        self.me(tokens).await.unwrap().nickname
    }

    /// Changes the row behind the service's back.
    async fn forge(&self, nickname: &str) {
        sqlx::query("update account set nickname = $1")
            .bind(nickname)
            .execute(&self.pool)
            .await
            .unwrap();
    }
}

fn key(tokens: &pb::Tokens) -> Key {
    Key::new("cache-user", &[&tokens.user_id, "1"])
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn a_user_is_read_from_the_cache_until_it_changes(#[case] store: Store) {
    let world = World::on(store).await;
    let tokens = world.auth.register(&phone()).await;
    let other = world.replica().await;
    world.auth.rename(&tokens, "one").await;
    assert_eq!(other.nickname(&tokens).await, "one");
    world.auth.forge("forged").await;
    assert_eq!(world.auth.nickname(&tokens).await, "one", "it is cached");
    world.auth.rename(&tokens, "two").await;
    assert_eq!(other.nickname(&tokens).await, "two", "for every replica");
    world.auth.forge("three").await;
    world.flush().await;
    assert_eq!(
        world.auth.nickname(&tokens).await,
        "three",
        "without it the database is read"
    );
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn a_slow_reader_does_not_bring_a_stale_value_back(#[case] store: Store) {
    let world = World::on(store).await;
    let tokens = world.auth.register(&phone()).await;
    world.auth.rename(&tokens, "old").await;
    let old = world.kv.get_versioned(&key(&tokens)).await.unwrap().unwrap();
    world.auth.rename(&tokens, "new").await;
    // The reader read before the change and stores after it.
    let stored = world
        .kv
        .put_newer(&key(&tokens), old.version, old.value.as_deref(), HOUR)
        .await
        .unwrap();
    assert!(!stored);
    assert_eq!(world.auth.nickname(&tokens).await, "new");
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn a_writer_that_died_before_its_commit_only_costs_reads(#[case] store: Store) {
    let world = World::on(store).await;
    let tokens = world.auth.register(&phone()).await;
    world.auth.rename(&tokens, "old").await;
    let held = world.kv.get_versioned(&key(&tokens)).await.unwrap().unwrap();
    let tombstone = held.version + 1;
    world
        .kv
        .put_newer(&key(&tokens), tombstone, None, HOUR)
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(world.auth.nickname(&tokens).await, "old");
    }
    let held = world.kv.get_versioned(&key(&tokens)).await.unwrap().unwrap();
    assert_eq!(
        (held.version, held.value),
        (tombstone, None),
        "what is older is not stored"
    );
    world.auth.rename(&tokens, "new").await;
    let held = world.kv.get_versioned(&key(&tokens)).await.unwrap().unwrap();
    assert!(held.version == tombstone && held.value.is_some());
    assert_eq!(world.auth.nickname(&tokens).await, "new");
}

#[tokio::test]
async fn what_is_cached_holds_no_number_and_no_password() {
    let world = World::new().await;
    let phone = phone();
    let tokens = world.auth.register(&phone).await;
    world.auth.me(&tokens).await.unwrap();
    let held = world.kv.get_versioned(&key(&tokens)).await.unwrap().unwrap();
    let text = String::from_utf8(held.value.unwrap().to_vec()).unwrap();
    assert!(!text.contains(&phone[3..]) && !text.contains("$2b$"), "{text}");
}

#[tokio::test]
async fn something_unreadable_in_the_cache_stops_nobody() {
    let world = World::new().await;
    let tokens = world.auth.register(&phone()).await;
    world
        .kv
        .put_newer(&key(&tokens), 1, Some(b"{"), HOUR)
        .await
        .unwrap();
    world.auth.me(&tokens).await.unwrap();
}
