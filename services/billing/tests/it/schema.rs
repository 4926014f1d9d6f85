//! What the tables themselves refuse.

use crate::world::{World, config};

#[tokio::test]
async fn the_migrations_apply_to_an_empty_database() {
    let world = World::quiet(config()).await;
    let tables: i64 = world
        .value("select count(*) from information_schema.tables where table_schema = 'billing'")
        .await;
    assert!(tables > 15, "{tables}");
}
