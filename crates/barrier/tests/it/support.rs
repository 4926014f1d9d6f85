//! A participant with one business table: counters.

use std::collections::HashMap;
use std::time::Duration;

use barrier::{Again, Done, Refusal, Stop};
use ids::SagaId;
use rpc::error::Reason;
use rpc::step::{Op, StepCall};
use sqlx::{PgConnection, PgPool};
use tonic::{Response, Status};

pub(crate) const DOMAIN: &str = "test.evenkeel";

/// Longest that a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Participant {
    pub(crate) pool: PgPool,
    _database: test_support::TestDatabase,
}

impl Participant {
    pub(crate) async fn new() -> Self {
        let database = test_support::TestDatabase::create(&[]).await;
        let pool = database.pool("public").await;
        sqlx::raw_sql(barrier::TABLE_SQL).execute(&pool).await.unwrap();
        let counters = "create table counter (name text primary key, value bigint not null)";
        sqlx::raw_sql(counters).execute(&pool).await.unwrap();
        Self {
            pool,
            _database: database,
        }
    }

    /// Calls a step whose work adds 1 to the counter `work` and answers its new value.
    pub(crate) async fn bump(&self, call: &StepCall) -> Result<Response<i64>, Status> {
        bump(&self.pool, call, 7).await
    }

    /// Calls a step whose work answers what it is told to, after having added 1 to the counter `work`.
    pub(crate) async fn answer(
        &self,
        call: &StepCall,
        answer: Result<Done<i64>, Stop>,
    ) -> Result<Response<i64>, Status> {
        barrier::run(&self.pool, call, &7i64, DOMAIN, async |conn, _| {
            add(conn, "work").await?;
            answer
        })
        .await
    }

    /// Calls a step whose work must not run.
    pub(crate) async fn never(&self, call: &StepCall) -> Result<Response<i64>, Status> {
        barrier::run(
            &self.pool,
            call,
            &7i64,
            DOMAIN,
            async |_, _| -> Result<Done<i64>, Stop> { panic!("the work ran") },
        )
        .await
    }

    pub(crate) async fn count(&self) -> i64 {
        self.counter("work").await
    }

    pub(crate) async fn counter(&self, name: &str) -> i64 {
        let value = "select coalesce((select value from counter where name = $1), 0)";
        sqlx::query_scalar(value)
            .bind(name)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn rows(&self) -> Vec<(String, String)> {
        sqlx::query_as("select op, state from barrier order by op")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// Waits until this many statements on the barrier's table wait for a lock.
    pub(crate) async fn until_waiting(&self, wanted: i64) {
        let waiting = "select count(*) from pg_stat_activity \
             where datname = current_database() and wait_event_type = 'Lock' and query like '%into barrier%'";
        let waits = async {
            loop {
                let found: i64 = sqlx::query_scalar(waiting).fetch_one(&self.pool).await.unwrap();
                if found == wanted {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, waits)
            .await
            .expect("nobody came to wait for the lock");
    }
}

pub(crate) async fn bump(pool: &PgPool, call: &StepCall, request: i64) -> Result<Response<i64>, Status> {
    barrier::run(
        pool,
        call,
        &request,
        DOMAIN,
        async |conn: &mut PgConnection, _: Again| Ok::<_, Stop>(Done::Reply(add(conn, "work").await?)),
    )
    .await
}

pub(crate) async fn add(conn: &mut PgConnection, name: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "insert into counter (name, value) values ($1, 1) \
         on conflict (name) do update set value = counter.value + 1 returning value",
    )
    .bind(name)
    .fetch_one(conn)
    .await
}

pub(crate) fn action() -> StepCall {
    StepCall {
        saga_id: SagaId::new(),
        step: "BUMP".to_owned(),
        index: 0,
        op: Op::Action,
        attempt: 1,
        epoch: 1,
        refusable: true,
    }
}

pub(crate) fn compensation_of(action: &StepCall) -> StepCall {
    StepCall {
        op: Op::Compensation,
        refusable: false,
        ..action.clone()
    }
}

pub(crate) fn refusal() -> Refusal {
    Refusal {
        reason: Reason::QuotaInsufficient.into(),
        message: "3 wanted, 1 available".to_owned(),
        facts: HashMap::from([("available".to_owned(), "1".to_owned())]),
    }
}

pub(crate) fn reason(status: &Status) -> String {
    rpc::error::info(status).expect("the status has a reason").reason
}

/// The row of an operation, as in [`Participant::rows`].
pub(crate) fn row(op: &str, state: &str) -> (String, String) {
    (op.to_owned(), state.to_owned())
}
