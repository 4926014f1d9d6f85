use ids::{TaskId, UserId};
use proto::quota::v1 as pb;

use crate::support::{Fixture, Quota, reason};

async fn page(quota: &Quota, user: UserId, size: u32, token: &str) -> (Vec<pb::LedgerEntry>, String) {
    let request = pb::ListLedgerEntriesRequest {
        user_id: user.to_string(),
        page_size: size,
        page_token: token.to_owned(),
    };
    let response = quota.public.clone().list_ledger_entries(request).await.unwrap();
    let response = response.into_inner();
    (response.entries, response.next_page_token)
}

#[tokio::test]
async fn every_movement_is_one_entry_newest_first() {
    let f = Fixture::new().await;
    let user = UserId::new();
    let grant_id = f.quota.grant(user, 10, 0).await;
    let (kept, returned) = (TaskId::new(), TaskId::new());
    f.quota.reserve(user, kept, 3).await.unwrap();
    f.quota.reserve(user, returned, 4).await.unwrap();
    f.quota.cancel(returned).await.unwrap();
    f.quota.confirm(kept).await.unwrap();

    let (entries, next) = page(&f.quota, user, 0, "").await;
    assert_eq!(next, "");
    let (kept, returned) = (kept.to_string(), returned.to_string());
    let found: Vec<_> = entries
        .iter()
        .map(|e| {
            let deltas = [
                e.granted_delta,
                e.available_delta,
                e.reserved_delta,
                e.consumed_delta,
            ];
            (e.kind.as_str(), deltas, e.task_id.as_str(), e.grant_id.as_str())
        })
        .collect();
    assert_eq!(
        found,
        [
            ("confirmed", [0, 0, -3, 3], kept.as_str(), ""),
            ("cancelled", [0, 4, -4, 0], returned.as_str(), ""),
            ("reserved", [0, -4, 4, 0], returned.as_str(), ""),
            ("reserved", [0, -3, 3, 0], kept.as_str(), ""),
            ("granted", [10, 10, 0, 0], "", grant_id.as_str()),
        ]
    );
}

#[tokio::test]
async fn pages_join_to_the_whole_list() {
    let f = Fixture::new().await;
    let (user, other) = (UserId::new(), f.user_with(1).await);
    for _ in 0..7 {
        f.quota.grant(user, 1, 0).await;
    }
    let (all, _) = page(&f.quota, user, 500, "").await;
    let (mut joined, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let (entries, next) = page(&f.quota, user, 3, &token).await;
        joined.extend(entries);
        pages += 1;
        if next.is_empty() {
            break;
        }
        let stolen = pb::ListLedgerEntriesRequest {
            user_id: other.to_string(),
            page_size: 3,
            page_token: next.clone(),
        };
        assert_eq!(
            reason(f.quota.public.clone().list_ledger_entries(stolen).await),
            "INVALID_PAGE_TOKEN"
        );
        token = next;
    }
    assert_eq!((joined.len(), pages), (7, 3));
    assert_eq!(joined, all);
    assert_eq!(
        page(&f.quota, UserId::new(), 3, "").await,
        (vec![], String::new())
    );
}

#[tokio::test]
async fn the_ledger_is_append_only() {
    let f = Fixture::new().await;
    f.user_with(10).await;
    for change in [
        "update ledger set kind = 'granted'",
        "delete from ledger",
        "truncate ledger",
    ] {
        let error = sqlx::query(change).execute(&f.quota.pool).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{change}: {error}");
    }
}

#[tokio::test]
async fn drift_is_found_and_named() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    f.quota.reserve(user, TaskId::new(), 4).await.unwrap();
    f.quota.assert_no_drift().await;

    sqlx::query("update account set available = available + 1, reserved = reserved - 1")
        .execute(&f.quota.pool)
        .await
        .unwrap();
    sqlx::query("update quota_grant set remaining = 10")
        .execute(&f.quota.pool)
        .await
        .unwrap();
    let found = quota::drift(&f.quota.pool).await.unwrap();
    let named: Vec<_> = found
        .iter()
        .map(|d| (d.what.as_str(), d.expected, d.found))
        .collect();
    let grant_id: String = sqlx::query_scalar("select grant_id from quota_grant")
        .fetch_one(&f.quota.pool)
        .await
        .unwrap();
    let taken = format!("taken from grant {grant_id}");
    assert_eq!(
        named,
        [
            ("available against the grants", 10, 7),
            ("available against the ledger", 6, 7),
            ("reserved against the ledger", 4, 3),
            ("reserved against the reservations", 4, 3),
            (taken.as_str(), 4, 0),
        ]
    );
    assert!(found.iter().all(|d| d.user_id == user));
}

#[tokio::test]
async fn an_account_is_rebuilt_from_its_ledger() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    f.quota.reserve(user, TaskId::new(), 4).await.unwrap();
    assert!(
        !quota::rebuild_account(&f.quota.pool, user).await.unwrap(),
        "nothing to mend"
    );
    sqlx::query("update account set available = available + 1, reserved = reserved - 1")
        .execute(&f.quota.pool)
        .await
        .unwrap();
    let found = quota::drift(&f.quota.pool).await.unwrap();
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(quota::rebuild_account(&f.quota.pool, user).await.unwrap());
    assert_eq!(f.quota.balance(user).await, [10, 6, 4, 0]);
    f.quota.assert_no_drift().await;
    assert!(
        !quota::rebuild_account(&f.quota.pool, UserId::new())
            .await
            .unwrap()
    );
    // People ask with whatever search path they have.
    let mut plain = f.database.admin().acquire().await.unwrap();
    sqlx::query("set search_path = public")
        .execute(&mut *plain)
        .await
        .unwrap();
    let rows: i64 = sqlx::query_scalar("select count(*) from quota.drift()")
        .fetch_one(&mut *plain)
        .await
        .unwrap();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn a_reserve_that_the_grants_cannot_cover_is_not_made() {
    let f = Fixture::new().await;
    let user = f.user_with(10).await;
    sqlx::query("update quota_grant set remaining = 2")
        .execute(&f.quota.pool)
        .await
        .unwrap();
    assert_eq!(reason(f.quota.reserve(user, TaskId::new(), 3).await), "INTERNAL");
    assert_eq!(f.quota.balance(user).await, [10, 10, 0, 0]);
    assert_eq!(f.quota.reserve(user, TaskId::new(), 2).await.unwrap().amount, 2);
}
