use crate::support::{World, phone};

#[tokio::test]
async fn users_can_be_read_by_the_names_that_people_know() {
    let world = World::new().await;
    let phone = phone();
    let user = world.auth.register(&phone).await;
    let row: (String, String, String, Option<String>, Option<String>) = sqlx::query_as(
        "select id::text, password, role, wechat_openid, wechat_unionid from users \
         where phone is not null and nickname = '' and avatar = '' and gender = 'unspecified' \
             and referrer_id is null",
    )
    .fetch_one(&world.auth.pool)
    .await
    .unwrap();
    assert_eq!(format!("user_{}", row.0.replace('-', "")), user.user_id);
    assert!(row.1.starts_with("$2b$"), "a bcrypt hash");
    assert_eq!((row.2.as_str(), row.3, row.4), ("user", None, None));
}

#[tokio::test]
async fn what_is_secret_is_nowhere_in_the_clear() {
    let world = World::new().await;
    let phone = phone();
    world.auth.register(&phone).await;
    for sql in [
        "select string_agg(a::text, ' ') from account a",
        "select string_agg(s::text, ' ') from session s",
        "select string_agg(o::text, ' ') from outbox o",
        "select string_agg(k::text, ' ') from signing_key k",
    ] {
        let text: String = sqlx::query_scalar(sql).fetch_one(&world.auth.pool).await.unwrap();
        let hex: String = phone.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!text.contains(&phone) && !text.contains(&hex), "{sql}");
        let pem: String = "PRIVATE KEY".bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!text.contains(&pem), "{sql}");
    }
}

#[tokio::test]
async fn what_must_never_be_is_refused_by_the_tables() {
    let world = World::new().await;
    let referrer = world.auth.register(&phone()).await;
    world.auth.register(&phone()).await;
    let only = format!("user_id = '{}'", referrer.user_id.trim_start_matches("user_"));
    for (change, constraint) in [
        ("role = 'root'", "account_role"),
        ("state = 'gone'", "account_state"),
        ("epoch = 3", "account_epoch"),
        ("phone_sealed = null", "account_phone_pair"),
        ("phone_sealed = null, phone_blind = null", "account_identity"),
        ("referrer_id = user_id", "account_referrer"),
    ] {
        let sql = format!("update account set {change} where {only}");
        let error = sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&world.auth.pool)
            .await
            .unwrap_err();
        let found = error
            .as_database_error()
            .unwrap()
            .constraint()
            .unwrap()
            .to_owned();
        assert!(found.starts_with(constraint), "{change}: {found}");
    }
    let sql = "insert into signing_key (kid, public_x, private_sealed, state, activated_at) \
               values ('k', repeat('x', 43), 'x', 'active', now()) on conflict do nothing";
    for _ in 0..2 {
        sqlx::query(sql).execute(&world.auth.pool).await.unwrap();
    }
    let active = "select count(*) from signing_key where state = 'active'";
    assert_eq!(world.auth.count(active).await, 1);
}
