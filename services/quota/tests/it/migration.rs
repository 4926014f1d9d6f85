//! The schema of before, with what it had, becomes the present one; who still writes as before can go on.

use std::borrow::Cow;

use ids::{TaskId, UserId};
use proto::quota::v1::ReservationState;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use test_support::TestDatabase;

use crate::support::{Quota, reason};

/// Version of the last migration before grants had sources.
const BEFORE: i64 = 20_261_121_003_000;

/// The three tasks of [`fill`].
struct Tasks {
    reserved: TaskId,
    confirmed: TaskId,
    cancelled: TaskId,
}

/// Writes, as the service of before did: 20 granted in two grants; 12 reserved, 3 consumed, 2 given back.
async fn fill(pool: &PgPool, user: UserId) -> Tasks {
    let tasks = Tasks {
        reserved: TaskId::new(),
        confirmed: TaskId::new(),
        cancelled: TaskId::new(),
    };
    let old = format!("old-{user}");
    let script = format!(
        "insert into account (user_id, granted, available, reserved, consumed) values ('{user}', 20, 5, 12, 3);
         insert into quota_grant (grant_id, user_id, amount, remaining, priority, source) values
             ('{old}-1', '{user}', 15, 0, 100, 'a test'), ('{old}-2', '{user}', 5, 5, 100, '');
         insert into quota_transactions (id, task_id, user_id, amount, phase) values
             (gen_random_uuid(), '{reserved}', '{user}', 12, 'reserved'),
             (gen_random_uuid(), '{confirmed}', '{user}', 3, 'confirmed'),
             (gen_random_uuid(), '{cancelled}', '{user}', 2, 'cancelled');
         insert into quota_transactions (id, task_id, amount, phase)
             values (gen_random_uuid(), gen_random_uuid(), 0, 'cancelled');
         insert into reservation_part (task_id, grant_id, amount) values
             ('{reserved}', '{old}-1', 12), ('{confirmed}', '{old}-1', 3), ('{cancelled}', '{old}-2', 2);
         insert into ledger (entry_id, user_id, kind, granted_delta, available_delta, reserved_delta,
             consumed_delta, task_id, grant_id) values
             (gen_random_uuid(), '{user}', 'granted', 15, 15, 0, 0, null, '{old}-1'),
             (gen_random_uuid(), '{user}', 'granted', 5, 5, 0, 0, null, '{old}-2'),
             (gen_random_uuid(), '{user}', 'reserved', 0, -12, 12, 0, '{reserved}', null),
             (gen_random_uuid(), '{user}', 'reserved', 0, -3, 3, 0, '{confirmed}', null),
             (gen_random_uuid(), '{user}', 'reserved', 0, -2, 2, 0, '{cancelled}', null),
             (gen_random_uuid(), '{user}', 'confirmed', 0, 0, -3, 3, '{confirmed}', null),
             (gen_random_uuid(), '{user}', 'cancelled', 0, 2, -2, 0, '{cancelled}', null);",
        user = user.uuid(),
        reserved = tasks.reserved.uuid(),
        confirmed = tasks.confirmed.uuid(),
        cancelled = tasks.cancelled.uuid(),
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .execute(pool)
        .await
        .unwrap();
    tasks
}

#[tokio::test]
async fn what_was_there_before_goes_on() {
    let before = Migrator {
        migrations: Cow::Owned(
            quota::MIGRATOR
                .iter()
                .filter(|migration| migration.version <= BEFORE)
                .cloned()
                .collect(),
        ),
        ..Migrator::DEFAULT
    };
    assert!(before.iter().count() < quota::MIGRATOR.iter().count());
    let database = TestDatabase::create(&[(quota::SCHEMA, &before)]).await;
    let pool = database.pool(quota::SCHEMA).await;
    let user = UserId::new();
    let old = fill(&pool, user).await;

    process::migrate::run(&database.url(), quota::SCHEMA, &quota::MIGRATOR)
        .await
        .unwrap();
    let quota = Quota::serve(pool).await;
    quota.run_jobs();
    quota.assert_no_drift().await;
    assert_eq!(quota.balance(user).await, [20, 5, 12, 3]);
    let reserved = quota.reservation(old.reserved).await.unwrap();
    assert_eq!(reserved.state(), ReservationState::Reserved);
    assert!(reserved.expires_at.unwrap().seconds > reserved.created_at.unwrap().seconds + 6 * 24 * 3_600);

    assert_eq!(quota.confirm(old.confirmed).await.unwrap().amount, 3);
    assert_eq!(
        reason(quota.confirm(old.cancelled).await),
        "RESERVATION_CANCELLED"
    );
    quota.confirm_part(old.reserved, 2).await.unwrap();
    assert_eq!(quota.balance(user).await, [20, 15, 0, 5]);
    quota.reserve(user, TaskId::new(), 15).await.unwrap();
    quota.assert_no_drift().await;
}

#[tokio::test]
async fn who_writes_as_before_can_go_on() {
    let database = TestDatabase::create(&[(quota::SCHEMA, &quota::MIGRATOR)]).await;
    let quota = Quota::serve(database.pool(quota::SCHEMA).await).await;
    let user = UserId::new();
    let old = fill(&quota.pool, user).await;
    quota.assert_no_drift().await;
    let reserved = quota.extend(old.reserved, 60).await.unwrap();
    assert!(reserved.expires_at.unwrap().seconds > reserved.created_at.unwrap().seconds + 6 * 24 * 3_600);
    quota.cancel(old.reserved).await.unwrap();
    assert_eq!(quota.balance(user).await, [20, 17, 0, 3]);
    quota.assert_no_drift().await;
}
