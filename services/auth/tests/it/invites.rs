//! The pool of invite codes.

use auth::invites::{self, Config};
use futures::future::join_all;
use ids::UserId;
use sqlx::PgPool;
use test_support::TestDatabase;

const SCHEMA: &str = "auth";

async fn pool(database: &TestDatabase) -> PgPool {
    database.pool(SCHEMA).await
}

async fn claim(pool: &PgPool, user: UserId) -> Option<String> {
    let mut tx = pool.begin().await.unwrap();
    let code = invites::claim(&mut tx, user).await.unwrap();
    tx.commit().await.unwrap();
    code
}

#[tokio::test]
async fn a_low_pool_is_filled_and_a_full_one_left_alone() {
    let database = TestDatabase::create(&[(SCHEMA, &auth::MIGRATOR)]).await;
    let pool = pool(&database).await;
    let config = Config { low: 10, high: 1_200 };
    assert_eq!(invites::refill(&pool, &config).await.unwrap(), 1_200);
    assert_eq!(invites::refill(&pool, &config).await.unwrap(), 0);
}

#[tokio::test]
async fn parallel_claims_never_share_a_code_and_an_empty_pool_gives_none() {
    let database = TestDatabase::create(&[(SCHEMA, &auth::MIGRATOR)]).await;
    let pool = pool(&database).await;
    invites::refill(&pool, &Config { low: 30, high: 30 })
        .await
        .unwrap();
    let claims = join_all((0..40).map(|_| claim(&pool, UserId::new()))).await;
    let mut codes: Vec<String> = claims.into_iter().flatten().collect();
    let claimed = codes.len();
    codes.sort();
    codes.dedup();
    assert_eq!((codes.len(), claimed), (30, 30));
}

#[tokio::test]
async fn a_user_has_one_code_and_a_claim_that_rolls_back_gives_it_back() {
    let database = TestDatabase::create(&[(SCHEMA, &auth::MIGRATOR)]).await;
    let pool = pool(&database).await;
    invites::refill(&pool, &Config { low: 1, high: 1 }).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    assert!(invites::claim(&mut tx, UserId::new()).await.unwrap().is_some());
    tx.rollback().await.unwrap();
    let user = UserId::new();
    let code = claim(&pool, user).await.unwrap();
    assert_eq!(claim(&pool, user).await, None);
    assert_eq!(invites::owner(&pool, &code).await.unwrap(), Some(user));
    assert_eq!(
        invites::owner(&pool, &code.to_lowercase()).await.unwrap(),
        Some(user)
    );
    for nobody in ["", "ZZZZZZZZ", "Z", "'; drop"] {
        assert_eq!(invites::owner(&pool, nobody).await.unwrap(), None);
    }
}
