use futures::future::join_all;
use proto::auth::v1 as pb;
use rstest::rstest;
use tonic::Status;

use crate::support::{Auth, Store, World, reason};

impl Auth {
    async fn set(&self, key: &str, json: &str, public: bool) -> Result<pb::ConfigurationEntry, Status> {
        let request = self.as_operator(pb::SetConfigurationRequest {
            key: key.to_owned(),
            value_json: json.to_owned(),
            public,
        });
        let answer = self.users.clone().set_configuration(request).await?;
        Ok(answer.into_inner().entry.unwrap())
    }

    async fn configuration(&self) -> Vec<(String, String)> {
        let request = pb::GetConfigurationRequest {};
        let answer = self.users.clone().get_configuration(request).await.unwrap();
        let entries = answer.into_inner().entries;
        entries
            .into_iter()
            .map(|entry| (entry.key, entry.value_json))
            .collect()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn everybody_reads_what_is_public_as_it_was_set_last(#[case] store: Store) {
    let world = World::on(store).await;
    let other = world.replica().await;
    assert_eq!(other.configuration().await, []);
    let first = world.auth.set("app.theme", "\"dark\"", true).await.unwrap();
    world.auth.set("app.limit", " {\"max\": 5} ", true).await.unwrap();
    world.auth.set("secret.word", "1", false).await.unwrap();
    let expected = [("app.limit", "{\"max\":5}"), ("app.theme", "\"dark\"")];
    assert_eq!(other.configuration().await, pairs(&expected));
    let second = world.auth.set("app.theme", "\"light\"", true).await.unwrap();
    assert!(second.version > first.version);
    world.auth.set("app.limit", "{}", false).await.unwrap();
    assert_eq!(other.configuration().await, pairs(&[("app.theme", "\"light\"")]));
}

#[tokio::test]
async fn changes_at_once_have_different_versions_and_all_are_seen() {
    let world = World::new().await;
    let keys: Vec<String> = (0..20).map(|n| format!("key.k{n:02}")).collect();
    let (auth, reads) = (&world.auth, &world.auth);
    let (sets, _) = tokio::join!(
        join_all(keys.iter().map(|key| auth.set(key, "true", true))),
        join_all((0..20).map(|_| reads.configuration()))
    );
    let mut versions: Vec<i64> = sets.into_iter().map(|entry| entry.unwrap().version).collect();
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), 20);
    assert_eq!(world.auth.configuration().await.len(), 20);
}

#[tokio::test]
async fn there_is_a_limit_to_entries_and_to_each() {
    let world = World::new().await;
    sqlx::query(
        "insert into configuration (key, value, public, version) \
         select 'k' || n, '1', true, n from generate_series(1, 100) n",
    )
    .execute(&world.auth.pool)
    .await
    .unwrap();
    assert_eq!(
        reason(world.auth.set("one.more", "1", true).await),
        "INVALID_ARGUMENT"
    );
    let long = format!("\"{}\"", "x".repeat(16 * 1024 - 2));
    world.auth.set("k1", &long, true).await.unwrap();
    assert_eq!(
        reason(world.auth.set("k1", &format!("{long} "), true).await),
        "INVALID_ARGUMENT"
    );
    // More than fits into the cache is served all the same.
    for n in 2..=10 {
        world.auth.set(&format!("k{n}"), &long, true).await.unwrap();
    }
    for _ in 0..2 {
        assert_eq!(world.auth.configuration().await.len(), 100);
    }
}
