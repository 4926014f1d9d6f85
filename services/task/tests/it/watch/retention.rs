//! What is kept, and for how long.

use ids::UserId;
use test_support::eventually;
use uuid::Uuid;

use super::{append_many, kept, task_of, world};
use crate::world::DEADLINE;

#[tokio::test]
async fn events_are_kept_for_a_day_and_a_thousand_of_a_user() {
    let world = world().await;
    let process = world.process().await;
    let (old, busy) = (UserId::new(), UserId::new());
    let task = task_of(&process, old).await.task_id;
    append_many(&world.pool, old, task, 4).await;
    sqlx::query(
        "update feed set created_at = now() - make_interval(hours => case when seq <= 3 then 25 else 23 end)
         where user_id = $1",
    )
    .bind(old.uuid())
    .execute(&world.pool)
    .await
    .unwrap();
    sqlx::query(
        "with head as (insert into feed_head values ($1, 1205))
         insert into feed (user_id, seq, task_id) select $1, n, $2 from generate_series(1, 1205) n",
    )
    .bind(busy.uuid())
    .bind(task.uuid())
    .execute(&world.pool)
    .await
    .unwrap();
    // A process tidies up when it starts.
    let _tidy = world.worker().await;
    eventually(DEADLINE, || async {
        let found = (
            kept(&world.pool, old.uuid()).await,
            kept(&world.pool, busy.uuid()).await,
        );
        let right = found.0 == [4, 5] && found.1 == (206..=1205).collect::<Vec<i64>>();
        right
            .then_some(())
            .ok_or((found.0, found.1.len(), found.1.first().copied()))
    })
    .await;
}

#[tokio::test]
async fn notifications_are_kept_until_a_month_after_they_were_read() {
    let world = world().await;
    let user = UserId::new();
    sqlx::query(
        "insert into notification
            (id, user_id, type, title, message, priority, created_at, read_at, source, event_id)
         select gen_random_uuid(), $1, 'system', title, '', 'low', now() - interval '90 days',
                now() - make_interval(days => days), '/test', title
         from (values ('unread', null), ('read lately', 29), ('read long ago', 31)) n (title, days)",
    )
    .bind(user.uuid())
    .execute(&world.pool)
    .await
    .unwrap();
    let _tidy = world.worker().await;
    let left = || async {
        let titles: Vec<String> =
            sqlx::query_scalar("select title from notification where user_id = $1 order by title")
                .bind(user.uuid())
                .fetch_all(&world.pool)
                .await
                .unwrap();
        (titles == ["read lately", "unread"]).then_some(()).ok_or(titles)
    };
    eventually(DEADLINE, left).await;
}

#[tokio::test]
async fn nothing_that_is_new_is_deleted() {
    let world = world().await;
    let process = world.process().await;
    let user = UserId::new();
    let task = task_of(&process, user).await.task_id;
    append_many(&world.pool, user, task, 9).await;
    let doomed: Uuid = UserId::new().uuid();
    sqlx::query(
        "insert into feed (user_id, seq, task_id, created_at) values ($1, 1, $2, now() - interval '2 days')",
    )
    .bind(doomed)
    .bind(task.uuid())
    .execute(&world.pool)
    .await
    .unwrap();
    let _tidy = world.worker().await;
    eventually(DEADLINE, || async { kept(&world.pool, doomed).await.is_empty() }).await;
    assert_eq!(
        kept(&world.pool, user.uuid()).await,
        (1..=10).collect::<Vec<i64>>()
    );
}
