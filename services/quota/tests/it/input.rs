use ids::{TaskId, UserId};
use proptest::prelude::*;
use proto::quota::v1 as pb;

use crate::support::{Fixture, grant, reason};

#[tokio::test]
async fn malformed_requests_are_refused_by_name_and_store_nothing() {
    let f = Fixture::new().await;
    let (user, task) = (UserId::new(), TaskId::new());
    let mut public = f.quota.public.clone();

    let too_long = "x".repeat(201);
    for request in [
        grant("", user, 1, 0),
        grant(&too_long, user, 1, 0),
        grant("nul\0", user, 1, 0),
        grant("g", user, 0, 0),
        grant("g", user, -1, 0),
        grant("g", user, quota::MAX_AMOUNT + 1, 0),
        grant("g", user, 1, -1),
        pb::CreateGrantRequest {
            note: too_long.clone(),
            ..grant("g", user, 1, 0)
        },
        pb::CreateGrantRequest {
            user_id: String::new(),
            ..grant("g", user, 1, 0)
        },
    ] {
        assert_eq!(
            reason(f.quota.create_grant(request.clone()).await),
            "INVALID_ARGUMENT",
            "{request:?}"
        );
    }
    let wrong_kind = pb::CreateGrantRequest {
        user_id: task.to_string(),
        ..grant("g", user, 1, 0)
    };
    assert_eq!(reason(f.quota.create_grant(wrong_kind).await), "INVALID_ID");
    for amount in [-1, quota::MAX_AMOUNT + 1, i64::MIN, i64::MAX] {
        assert_eq!(
            reason(f.quota.reserve(user, task, amount).await),
            "INVALID_ARGUMENT"
        );
    }
    for (id, expected) in [
        ("", "INVALID_ARGUMENT"),
        ("task_7", "INVALID_ID"),
        ("user_00000000000000000000000000000000", "INVALID_ID"),
    ] {
        let task_id = id.to_owned();
        let confirm = pb::ConfirmReservationRequest {
            task_id: task_id.clone(),
            amount: 0,
        };
        assert_eq!(reason(public.confirm_reservation(confirm).await), expected);
        let cancel = pb::CancelReservationRequest {
            task_id: task_id.clone(),
        };
        assert_eq!(reason(public.cancel_reservation(cancel).await), expected);
        let get = pb::GetReservationRequest { task_id };
        assert_eq!(reason(public.get_reservation(get).await), expected);
    }
    assert_eq!(
        reason(public.get_balance(pb::GetBalanceRequest::default()).await),
        "INVALID_ARGUMENT"
    );
    assert_eq!(
        reason(public.reserve_quota(pb::ReserveQuotaRequest::default()).await),
        "INVALID_ARGUMENT"
    );
    assert_eq!(
        reason(
            public
                .list_ledger_entries(pb::ListLedgerEntriesRequest::default())
                .await
        ),
        "INVALID_ARGUMENT"
    );
    let page = pb::ListLedgerEntriesRequest {
        user_id: user.to_string(),
        page_size: 1,
        page_token: "next".to_owned(),
    };
    assert_eq!(
        reason(public.list_ledger_entries(page).await),
        "INVALID_PAGE_TOKEN"
    );

    for table in [
        "select count(*) from account",
        "select count(*) from quota_transactions",
        "select count(*) from outbox",
    ] {
        let rows: i64 = sqlx::query_scalar(table).fetch_one(&f.quota.pool).await.unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}

#[tokio::test]
async fn an_oversize_message_is_refused_before_it_is_read() {
    let f = Fixture::new().await;
    let request = pb::CreateGrantRequest {
        note: "x".repeat(2 * 1024 * 1024),
        ..grant("g", UserId::new(), 1, 0)
    };
    let status = f.quota.create_grant(request).await.unwrap_err();
    assert_eq!(
        rpc::error::info(&status).unwrap().reason,
        "PAYLOAD_TOO_LARGE",
        "{status}"
    );
}

#[tokio::test]
async fn a_database_that_is_away_is_unavailable() {
    let f = Fixture::new().await;
    f.quota.pool.close().await;
    assert_eq!(
        reason(f.quota.reserve(UserId::new(), TaskId::new(), 1).await),
        "UNAVAILABLE"
    );
    assert_eq!(reason(f.quota.reservation(TaskId::new()).await), "UNAVAILABLE");
}

#[test]
fn no_request_makes_the_service_panic() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let f = runtime.block_on(Fixture::new());
    let text = || prop_oneof![".{0,40}", "user_[0-9a-f]{32}", "task_[0-9a-f]{32}"];
    let config = ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(a in text(), b in text(), amount: i64, priority: i32)| {
        let (mut public, mut steps) = (f.quota.public.clone(), f.quota.steps.clone());
        runtime.block_on(async {
            let create = pb::CreateGrantRequest {
                grant_id: b.clone(), user_id: a.clone(), amount, priority, note: b.clone(), kind: priority,
                expires_at: Some(prost_types::Timestamp { seconds: amount, nanos: priority }),
                source: Some(pb::GrantSource { r#type: a.clone(), id: b.clone(), line: 0 }),
            };
            let hold_for = Some(prost_types::Duration { seconds: amount, nanos: priority });
            let reserve = pb::ReserveQuotaRequest { user_id: a.clone(), task_id: b.clone(), amount, hold_for };
            let extend = pb::ExtendReservationRequest { task_id: b.clone(), hold_for };
            let claw_back = pb::ClawBackGrantsRequest {
                clawback_id: b.clone(), user_id: a.clone(), source_type: a.clone(), source_id: b.clone(), amount,
            };
            let grants = pb::ListGrantsRequest { user_id: a.clone(), page_size: 0, page_token: b.clone() };
            let list = pb::ListLedgerEntriesRequest { user_id: a.clone(), page_size: 0, page_token: b.clone() };
            let mut call = tonic::Request::new(pb::CancelRequest { task_id: b.clone() });
            if let Ok(value) = a.parse() {
                call.metadata_mut().insert("evenkeel-saga-id", value);
            }
            for answer in [
                public.create_grant(create).await.map(drop),
                public.reserve_quota(reserve).await.map(drop),
                public.extend_reservation(extend).await.map(drop),
                public.claw_back_grants(claw_back).await.map(drop),
                public.list_grants(grants).await.map(drop),
                public.list_ledger_entries(list).await.map(drop),
                public.cancel_reservation(pb::CancelReservationRequest { task_id: b }).await.map(drop),
                steps.cancel(call).await.map(drop),
            ] {
                if let Err(status) = answer {
                    let reason = rpc::error::info(&status).expect("a refusal has a reason").reason;
                    assert_ne!(reason, "INTERNAL", "{status}");
                }
            }
        });
    });
    runtime.block_on(f.quota.assert_no_drift());
    // Its clean-up needs the runtime.
    let _inside = runtime.enter();
    drop(f);
}
