//! The parts of the example that are copies. That it runs a saga is tested in `tests/e2e`.

use rust_participant::{MIGRATIONS, open};
use test_support::TestDatabase;

#[test]
fn the_first_migration_is_the_barriers_table() {
    let first = MIGRATIONS.iter().next().expect("a migration");
    assert_eq!(first.sql.as_str(), barrier::TABLE_SQL);
}

#[tokio::test]
async fn the_shop_opens_on_an_empty_database_and_again_on_its_own() {
    let database = TestDatabase::create(&[]).await;
    for _ in 0..2 {
        open(&database.url()).await.expect("it opens");
    }
    let stock: i64 = sqlx::query_scalar("select available from shop.stock where item = 'kettle'")
        .fetch_one(database.admin())
        .await
        .expect("there is stock");
    assert_eq!(stock, 10);
}
