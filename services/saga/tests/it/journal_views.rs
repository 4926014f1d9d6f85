//! What operators read in SQL.

use saga_core::{FailureClass, Outcome};

use crate::journal_support::{Kind, World, error, write};

#[tokio::test]
async fn operators_find_running_sagas_without_naming_the_schema() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let mut saga = world.saga(Kind::Undoable, "k");
    let other = world.saga(Kind::Pivot, "o");
    write(&journal, vec![saga.start(), other.start()]).await;
    crate::journal_support::complete(&journal, &mut saga).await;
    let rows = sqlx::query("SELECT * FROM saga_instances WHERE status = 'RUNNING'")
        .fetch_all(world.admin())
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    let none = sqlx::query("SELECT * FROM saga_instances WHERE status = 'anything' AND id = 'at all'")
        .fetch_all(world.admin())
        .await
        .unwrap();
    assert!(none.is_empty());
    let ended: (bool, bool, Option<String>) = sqlx::query_as(
        "SELECT completed_at = updated_at, compensated_at IS NULL, current_step FROM saga_instances WHERE business_id = 'k'",
    )
    .fetch_one(world.admin())
    .await
    .unwrap();
    assert_eq!(ended, (true, true, None));
}

#[tokio::test]
async fn steps_show_requests_replies_and_retries() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let mut saga = world.saga(Kind::Undoable, "k");
    write(&journal, vec![saga.start()]).await;
    let first = saga.succeed();
    write(&journal, vec![first]).await;
    for _ in 0..2 {
        let failed = saga.answer(Outcome::Failed {
            class: FailureClass::Unknown,
            error: error("slow"),
        });
        write(&journal, vec![failed]).await;
    }
    let (retries, most, next): (i32, i32, bool) = sqlx::query_as(
        "select retry_count, max_retry_count, next_retry_at > now() - interval '100 years'
         from saga_steps where step_name = 'CHECK'",
    )
    .fetch_one(world.admin())
    .await
    .unwrap();
    assert_eq!((retries, most, next), (2, 3, true));
    let (asked, answered): (String, String) = sqlx::query_as(
        "select execute_data ->> 'request', result ->> 'reply' from saga_steps where step_name = 'RESERVE'",
    )
    .fetch_one(world.admin())
    .await
    .unwrap();
    assert_eq!((asked.as_str(), answered.as_str()), ("true", "true"));
    let state: String = sqlx::query_scalar("select state::text from saga_state")
        .fetch_one(world.admin())
        .await
        .unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["input"]["amount"], 1);
    assert_eq!(state["results"]["RESERVE"]["reply"], true);
}

#[tokio::test]
async fn every_table_and_view_says_what_it_is() {
    let world = World::new().await;
    let silent: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c
         where c.relnamespace = 'saga'::regnamespace and c.relkind in ('r', 'v') and c.relname not like '\\_%'
            and obj_description(c.oid) is null",
    )
    .fetch_all(world.admin())
    .await
    .unwrap();
    assert!(silent.is_empty(), "{silent:?}");
}
