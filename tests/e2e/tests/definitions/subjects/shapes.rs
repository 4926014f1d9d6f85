//! The example `shapes`: a saga that branches, and one that tries, confirms and cancels.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;

use e2e::Platform;

use crate::generic::{Started, Subject};

const PACKAGE: &str = "example.shapes.v1";
/// What each account begins with, in minor units.
const MONEY: i64 = 1_000_000;

/// Serves the example over the platform's database, and registers its definitions.
async fn participant(platform: &mut Platform) {
    let sql = "create schema shapes";
    sqlx::query(sql).execute(platform.sql()).await.expect("a schema");
    let pool = platform.database.pool("shapes").await;
    shapes::create_tables(&pool).await.expect("tables");
    for account in ["alice", "bob"] {
        sqlx::query("insert into account (id, balance_minor) values ($1, $2)")
            .bind(account)
            .bind(MONEY)
            .execute(&pool)
            .await
            .expect("an account");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound port"));
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_routes(shapes::routes(&pool))
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    platform.foreign_participant(PACKAGE, url, shapes::DOMAIN, shapes::DESCRIPTOR_SET);
}

fn domains() -> BTreeMap<String, String> {
    [(PACKAGE.to_owned(), shapes::DOMAIN.to_owned())].into()
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
