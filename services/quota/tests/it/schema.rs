use crate::support::Fixture;

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
    f.user_with(10).await;
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
        ("update quota_grant set remaining = 11", "quota_grant_remaining"),
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
             consumed_delta, grant_id) values (gen_random_uuid(), gen_random_uuid(), 'granted', 1, 1, 0, 1, 'g')",
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
             reserved_delta, consumed_delta, task_id, grant_id from ledger",
            "ledger_once_per_grant",
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
