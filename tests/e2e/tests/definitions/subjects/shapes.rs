//! The example `shapes`: sagas that branch, that try, confirm and cancel, and that wait for an event.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use sqlx::PgPool;
use test_support::eventually;

use e2e::{LONG, Platform};

use crate::generic::{Started, Subject};

/// What Alice and Bob begin with, in minor units.
const MONEY: i64 = 1_000_000;

/// Serves the example over the platform's database.
async fn participant(platform: &mut Platform) {
    let pool = platform.shapes("").await;
    for account in ["alice", "bob"] {
        sqlx::query("insert into account (id, balance_minor) values ($1, $2)")
            .bind(account)
            .bind(MONEY)
            .execute(&pool)
            .await
            .expect("an account");
    }
}

fn domains() -> BTreeMap<String, String> {
    [("example.shapes.v1".to_owned(), shapes::DOMAIN.to_owned())].into()
}

fn definition(file: &str) -> String {
    let found = shapes::DEFINITIONS.iter().find(|(name, _)| *name == file);
    found.expect("the example has it").1.to_owned()
}

async fn none(pool: &PgPool, what: &str, sql: &'static str) {
    let count: i64 = sqlx::query_scalar(sql)
        .fetch_one(pool)
        .await
        .expect("the database answers");
    assert_eq!(count, 0, "{what}");
}

/// `JOURNEY`, with a car.
pub(crate) struct Journey {
    next: AtomicU32,
}

impl Subject for Journey {
    const SAGA: &'static str = "JOURNEY";

    async fn prepare(platform: &mut Platform) -> Self {
        participant(platform).await;
        Self {
            next: AtomicU32::new(0),
        }
    }

    fn domains() -> BTreeMap<String, String> {
        domains()
    }

    fn definition() -> Option<String> {
        Some(definition("JOURNEY.yaml"))
    }

    fn next(&self) -> Started {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let trip = format!("trip-{number}");
        let input = json!({ "tripId": trip, "priceMinor": 9_900, "withCar": true });
        Started {
            business_id: trip,
            input,
        }
    }

    async fn assert_settled(&self, platform: &Platform) {
        let sql = platform.sql();
        none(
            sql,
            "a paid trip has a part that is not issued",
            "select count(*) from shapes.booking b join shapes.payment p using (trip_id) where b.state <> 'issued'",
        )
        .await;
        none(
            sql,
            "a part of an unpaid trip was not given back",
            "select count(*) from shapes.booking b where state <> 'cancelled' \
             and not exists (select from shapes.payment p where p.trip_id = b.trip_id)",
        )
        .await;
    }
}

/// `TRANSFER`, from Alice to Bob.
pub(crate) struct Transfer {
    next: AtomicU32,
}

impl Subject for Transfer {
    const SAGA: &'static str = "TRANSFER";

    async fn prepare(platform: &mut Platform) -> Self {
        participant(platform).await;
        Self {
            next: AtomicU32::new(0),
        }
    }

    fn domains() -> BTreeMap<String, String> {
        domains()
    }

    fn definition() -> Option<String> {
        Some(definition("TRANSFER.yaml"))
    }

    fn next(&self) -> Started {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let transfer = format!("transfer-{number}");
        let input = json!({
            "transferId": transfer,
            "fromAccount": "alice",
            "toAccount": "bob",
            "amountMinor": 25,
        });
        Started {
            business_id: transfer,
            input,
        }
    }

    async fn assert_settled(&self, platform: &Platform) {
        let sql = platform.sql();
        none(
            sql,
            "money was made or lost, or is still set aside",
            "select case when sum(balance_minor) = 2000000 and sum(frozen_minor) = 0 then 0 else 1 end::bigint \
             from shapes.account",
        )
        .await;
        none(
            sql,
            "the two sides of a transfer ended differently, or are not settled",
            "select count(*) from (select transfer_id from shapes.movement group by transfer_id \
             having count(distinct state) > 1 or bool_or(state = 'tried')) unsettled",
        )
        .await;
        none(
            sql,
            "what was confirmed is not what moved",
            "select (select 1000000 - balance_minor from shapes.account where id = 'alice') \
             - coalesce((select sum(amount_minor) from shapes.movement where side = 'take' and state = 'confirmed'), 0)::bigint",
        )
        .await;
    }
}

/// `LEND`, over the queue in the database.
pub(crate) struct Lend {
    next: AtomicU32,
}

impl Subject for Lend {
    const SAGA: &'static str = "LEND";

    async fn prepare(platform: &mut Platform) -> Self {
        participant(platform).await;
        Self {
            next: AtomicU32::new(0),
        }
    }

    fn domains() -> BTreeMap<String, String> {
        domains()
    }

    fn definition() -> Option<String> {
        Some(definition("LEND.yaml"))
    }

    fn next(&self) -> Started {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let loan = format!("loan-{number}");
        let input = json!({ "loanId": loan, "model": "phone" });
        Started {
            business_id: loan,
            input,
        }
    }

    async fn assert_settled(&self, platform: &Platform) {
        let sql = platform.sql();
        none(
            sql,
            "a loan was left open, or its device is not the allocated one",
            "select count(*) from shapes.loan l left join shapes.device d using (loan_id) \
             where l.state = 'open' or l.state = 'handed over' \
             and (d.state, d.device_id) is distinct from ('allocated', l.device_id)",
        )
        .await;
        // The release of a device is an event: it is on its way when the saga has ended.
        eventually(LONG, || async {
            let kept: i64 = sqlx::query_scalar(
                "select count(*) from shapes.loan l join shapes.device d using (loan_id) \
                 where l.state = 'closed' and d.state = 'allocated'",
            )
            .fetch_one(sql)
            .await
            .expect("the database answers");
            kept == 0
        })
        .await;
    }
}
