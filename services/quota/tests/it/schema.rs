use ids::{TaskId, UserId};

use crate::support::{Fixture, bought};

#[test]
fn the_barrier_table_is_the_one_the_crate_asks_for() {
    let migration = quota::MIGRATOR
        .iter()
        .find(|migration| migration.description == "create barrier")
        .unwrap();
    assert_eq!(migration.sql.as_str(), barrier::TABLE_SQL);
}

#[tokio::test]
async fn impossible_rows_are_refused_by_the_database() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    f.quota.reserve(user, TaskId::new(), 4).await.unwrap();
    f.quota
        .create_grant(bought("ORD1", 0, UserId::new(), 5))
        .await
        .unwrap();
    let other = UserId::new();
    f.quota.create_grant(bought("ORD2", 0, other, 5)).await.unwrap();
    f.quota.claw_back(other, "ORD2", "refund-1", 2).await.unwrap();
    let table = [
        (
            "update account set available = -1, granted = -1",
            "account_available",
        ),
        ("update account set granted = granted + 1", "account_granted"),
        (
            "update account set reserved = 20, available = -10",
            "account_available",
        ),
        ("update quota_grant set remaining = -1", "quota_grant_remaining"),
        ("update quota_grant set remaining = 11", "quota_grant_parts"),
        (
            "update quota_grant set remaining = 9, expired = 1",
            "quota_grant_expired",
        ),
        ("update quota_grant set clawed_back = 1", "quota_grant_revoked"),
        ("update quota_grant set revoked = 11", "quota_grant_revoked"),
        ("update quota_grant set kind = 'gift'", "quota_grant_kind"),
        ("update quota_grant set source_id = 'x'", "quota_grant_source"),
        (
            "update quota_grant set source_type = 'Order', source_id = 'x', source_line = 0",
            "quota_grant_source",
        ),
        (
            "update quota_grant set source_type = 'order', source_id = 'x', source_line = 1000",
            "quota_grant_source",
        ),
        ("update account set expired = 1", "account_granted"),
        (
            "update account set expired = -1, available = 11",
            "account_expired",
        ),
        (
            "update account set clawed_back = -1, available = 11",
            "account_clawed_back",
        ),
        (
            "update quota_transactions set expires_at = null",
            "quota_transactions_expiry",
        ),
        (
            "update quota_transactions set released = 1",
            "quota_transactions_released",
        ),
        (
            "update quota_transactions set phase = 'confirmed', released = 4",
            "quota_transactions_released",
        ),
        (
            "update reservation_part set released = 5",
            "reservation_part_released",
        ),
        (
            "update clawback_part set taken = revoked + 1",
            "clawback_part_taken",
        ),
        ("update clawback set state = 'gone'", "clawback_state"),
        ("update clawback set amount = 0", "clawback_amount"),
        (
            "insert into ledger (entry_id, user_id, kind, granted_delta, available_delta, reserved_delta, \
             consumed_delta, expired_delta, grant_id) \
             values (gen_random_uuid(), gen_random_uuid(), 'grant_expired', 0, 1, 0, 0, -1, 'g')",
            "ledger_kind",
        ),
        (
            "insert into ledger (entry_id, user_id, kind, granted_delta, available_delta, reserved_delta, \
             consumed_delta, clawed_back_delta, grant_id) \
             values (gen_random_uuid(), gen_random_uuid(), 'clawed_back', 0, -1, 0, 0, 1, 'g')",
            "ledger_kind",
        ),
        (
            "insert into quota_transactions (id, task_id, amount, phase) \
             values (gen_random_uuid(), gen_random_uuid(), 0, 'reserved')",
            "quota_transactions_amount",
        ),
        (
            "insert into quota_transactions (id, task_id, user_id, amount, phase) \
             values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'reserved')",
            "quota_transactions_user",
        ),
        (
            "insert into ledger (entry_id, user_id, kind, granted_delta, available_delta, reserved_delta, \
             consumed_delta, task_id) \
             values (gen_random_uuid(), gen_random_uuid(), 'reserved', 1, -1, 1, 0, gen_random_uuid())",
            "ledger_sum",
        ),
        (
            "insert into ledger (entry_id, user_id, kind, granted_delta, available_delta, reserved_delta, \
             consumed_delta, task_id) \
             values (gen_random_uuid(), gen_random_uuid(), 'reserved', 0, 1, -1, 0, gen_random_uuid())",
            "ledger_kind",
        ),
        (
            "insert into ledger select gen_random_uuid(), user_id, kind, granted_delta, available_delta, \
             reserved_delta, consumed_delta, task_id, grant_id from ledger where kind = 'granted'",
            "ledger_once_per_grant",
        ),
        (
            "insert into ledger select gen_random_uuid(), user_id, kind, granted_delta, available_delta, \
             reserved_delta, consumed_delta, task_id, grant_id from ledger where kind = 'reserved'",
            "ledger_once_per_task",
        ),
    ];
    for (change, constraint) in table {
        let error = sqlx::query(change).execute(&f.quota.pool).await.unwrap_err();
        let found = error
            .as_database_error()
            .and_then(|e| e.constraint().map(str::to_owned));
        assert_eq!(found.as_deref(), Some(constraint), "{change}: {error}");
    }
}
