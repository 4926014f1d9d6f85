use std::collections::BTreeSet;

use futures::future::join_all;
use proto::auth::v1 as pb;
use token::{Jwk, KeySet};

use crate::support::{Auth, World, phone};

impl Auth {
    async fn kids(&self) -> BTreeSet<String> {
        let answer = self.auth.clone().get_jwks(pb::GetJwksRequest {}).await.unwrap();
        answer.into_inner().keys.into_iter().map(|key| key.kid).collect()
    }

    async fn states(&self) -> Vec<String> {
        sqlx::query_scalar("select state from signing_key order by created_at, state")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// Lets all keys be older.
    async fn age(&self, days: i32) {
        sqlx::query(
            "update signing_key set created_at = created_at - make_interval(days => $1), \
                 activated_at = activated_at - make_interval(days => $1), \
                 retired_at = retired_at - make_interval(days => $1)",
        )
        .bind(days)
        .execute(&self.pool)
        .await
        .unwrap();
    }
}

/// Returns the id of the key that signed a token.
fn kid(token: &str) -> String {
    use base64::Engine as _;
    let header = token.split('.').next().unwrap();
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(header)
        .unwrap();
    let header: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&"EdDSA".into(), &"at+jwt".into())
    );
    header["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn replicas_that_start_at_once_share_two_keys() {
    let world = World::new().await;
    let replicas = join_all((0..5).map(|_| world.replica())).await;
    let kids = join_all(replicas.iter().map(Auth::kids)).await;
    assert_eq!(kids[0].len(), 2);
    assert!(kids.iter().all(|one| *one == kids[0]), "{kids:?}");
    assert_eq!(world.auth.count("select count(*) from signing_key").await, 2);
}

#[tokio::test]
async fn the_published_keys_are_a_key_set() {
    let world = World::new().await;
    let tokens = world.auth.register(&phone()).await;
    let answer = world
        .auth
        .auth
        .clone()
        .get_jwks(pb::GetJwksRequest {})
        .await
        .unwrap();
    let keys: Vec<Jwk> = answer.into_inner().keys.into_iter().map(Jwk::from).collect();
    let set = KeySet::new(keys).unwrap();
    assert!(set.get(&kid(&tokens.access_token)).is_some());
}

#[tokio::test]
async fn a_key_that_is_due_is_rotated_once_whoever_looks() {
    let world = World::new().await;
    let user = world.auth.register(&phone()).await;
    let old = kid(&user.access_token);
    let before = world.auth.kids().await;
    world.auth.age(31).await;
    let replicas = join_all((0..5).map(|_| world.replica())).await;
    let kids = join_all(replicas.iter().map(Auth::kids)).await;
    assert_eq!(world.auth.states().await.len(), 3);
    assert_eq!(kids[0].len(), 3);
    assert!(kids.iter().all(|one| *one == kids[0]), "{kids:?}");
    let later = replicas[0].refresh(&user.refresh_token).await.unwrap();
    let new = kid(&later.access_token);
    assert_ne!(new, old);
    assert!(before.contains(&new), "it was published before it was used");
    replicas[1].me(&user).await.unwrap();
    replicas[1].me(&later).await.unwrap();
    // A replica that has not looked yet knows the key already, since it was published.
    world.auth.me(&later).await.unwrap();
}

#[tokio::test]
async fn a_retired_key_is_forgotten_when_its_last_token_has_expired() {
    let world = World::new().await;
    let user = world.auth.register(&phone()).await;
    world.auth.age(31).await;
    world.replica().await.kids().await;
    let sealed = world
        .auth
        .count("select count(*) from signing_key where state = 'retired' and private_sealed is null")
        .await;
    assert_eq!(sealed, 1, "a retired key cannot sign any more");
    world.auth.age(1).await;
    let kids = world.replica().await.kids().await;
    assert_eq!(kids.len(), 2);
    assert!(!kids.contains(&kid(&user.access_token)));
}

#[tokio::test]
async fn the_next_key_must_have_been_published_for_a_while() {
    let world = World::new().await;
    world.auth.kids().await;
    // The active one is due, and the next one is new.
    sqlx::query(
        "update signing_key set created_at = created_at - interval '31 days', \
             activated_at = activated_at - interval '31 days' where state = 'active'",
    )
    .execute(&world.auth.pool)
    .await
    .unwrap();
    world.replica().await.kids().await;
    assert_eq!(world.auth.states().await, ["active", "next"]);
}
