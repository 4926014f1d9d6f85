//! The baseline: what people usually write. One transaction before and one after each call, on a pool.

use std::net::SocketAddr;

use ids::SagaId;
use proto::bench::v1::baseline_service_server::{BaselineService, BaselineServiceServer};
use proto::bench::v1::bench_steps_client::BenchStepsClient;
use proto::bench::v1::{RunSagaRequest, RunSagaResponse, UndoRequest, WorkRequest};
use rpc::step::{Op, StepCall};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool};
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::exit::Failure;
use crate::output;

/// Connections of the baseline: as many as help on a small machine, so that it is not slowed by a short pool.
const CONNECTIONS: u32 = 64;
const STEPS: i32 = 4;

const SCHEMA: &str = "
create schema if not exists baseline;
create table if not exists baseline.saga (
    id uuid primary key, payload text not null, status text not null,
    created_at timestamptz not null default now(), updated_at timestamptz not null default now()
);
create table if not exists baseline.step (
    saga_id uuid not null, step_order int not null, status text not null, request text, reply text,
    created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
    primary key (saga_id, step_order)
);";

struct Baseline {
    pool: PgPool,
    participant: BenchStepsClient<Channel>,
}

impl Baseline {
    async fn begin_saga(&self, id: Uuid, payload: &str) -> Result<(), sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("insert into baseline.saga (id, payload, status) values ($1, $2, 'RUNNING')")
            .bind(id)
            .bind(payload)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    async fn begin_step(&self, id: Uuid, step: i32, request: &str) -> Result<(), sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "insert into baseline.step (saga_id, step_order, status, request) values ($1, $2, 'RUNNING', $3)",
        )
        .bind(id)
        .bind(step)
        .bind(request)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    async fn set_step(&self, id: Uuid, step: i32, status: &str, reply: &str) -> Result<(), sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "update baseline.step set status = $3, reply = $4, updated_at = now()
             where saga_id = $1 and step_order = $2",
        )
        .bind(id)
        .bind(step)
        .bind(status)
        .bind(reply)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    async fn set_saga(&self, id: Uuid, status: &str) -> Result<(), sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("update baseline.saga set status = $2, updated_at = now() where id = $1")
            .bind(id)
            .bind(status)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    async fn run(&self, request: RunSagaRequest) -> Result<bool, Status> {
        let stored = |e: sqlx::Error| Status::unavailable(e.to_string());
        let id = Uuid::now_v7();
        let mut participant = self.participant.clone();
        self.begin_saga(id, &request.payload).await.map_err(stored)?;
        let mut payload = request.payload;
        for step in 1..=STEPS {
            self.begin_step(id, step, &payload).await.map_err(stored)?;
            let work = WorkRequest {
                payload: payload.clone(),
                step: step.unsigned_abs(),
                refuse_step: request.refuse_step,
            };
            match participant.work(call(id, step, Op::Action, work)).await {
                Ok(reply) => {
                    payload = reply.into_inner().payload;
                    self.set_step(id, step, "SUCCEEDED", &payload)
                        .await
                        .map_err(stored)?;
                }
                Err(refusal) => {
                    self.set_step(id, step, "FAILED", refusal.message())
                        .await
                        .map_err(stored)?;
                    self.undo(id, step - 1, &payload).await?;
                    return Ok(false);
                }
            }
        }
        self.set_saga(id, "COMPLETED").await.map_err(stored)?;
        Ok(true)
    }

    async fn undo(&self, id: Uuid, last: i32, payload: &str) -> Result<(), Status> {
        let stored = |e: sqlx::Error| Status::unavailable(e.to_string());
        let mut participant = self.participant.clone();
        self.set_saga(id, "COMPENSATING").await.map_err(stored)?;
        for step in (1..=last).rev() {
            self.set_step(id, step, "COMPENSATING", "")
                .await
                .map_err(stored)?;
            let undo = UndoRequest {
                payload: payload.to_owned(),
            };
            participant.undo(call(id, step, Op::Compensation, undo)).await?;
            self.set_step(id, step, "COMPENSATED", "").await.map_err(stored)?;
        }
        self.set_saga(id, "COMPENSATED").await.map_err(stored)
    }
}

/// A call under the key that makes it safe to repeat, as the participants want it.
fn call<T>(id: Uuid, step: i32, op: Op, message: T) -> Request<T> {
    let call = StepCall {
        saga_id: SagaId::from_uuid(id),
        step: format!("STEP_{step}"),
        index: 0,
        op,
        attempt: 1,
        epoch: 1,
        refusable: op == Op::Action,
    };
    let mut request = Request::new(message);
    call.write(request.metadata_mut());
    request
}

#[tonic::async_trait]
impl BaselineService for Baseline {
    async fn run_saga(&self, request: Request<RunSagaRequest>) -> Result<Response<RunSagaResponse>, Status> {
        let completed = self.run(request.into_inner()).await?;
        Ok(Response::new(RunSagaResponse { completed }))
    }
}

/// Creates its tables and serves until the process is ended. Prints its address first.
///
/// # Errors
/// If the database or the participant's address is unusable.
pub(crate) async fn serve(
    listen: SocketAddr,
    database_url: &str,
    participant_url: &str,
) -> Result<(), Failure> {
    let failed = |e: &dyn std::error::Error| Failure::unavailable("the baseline cannot start").because(e);
    let options: PgConnectOptions = database_url.parse().map_err(|e: sqlx::Error| failed(&e))?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        // As our own pools: a round trip before each transaction is no part of the design that is compared.
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(|e| failed(&e))?;
    let mut connection = pool.acquire().await.map_err(|e| failed(&e))?;
    sqlx::raw_sql(SCHEMA)
        .execute(&mut *connection)
        .await
        .map_err(|e| failed(&e))?;
    connection.ping().await.map_err(|e| failed(&e))?;
    drop(connection);
    let participant = BenchStepsClient::new(rpc::channel::lazy(participant_url).map_err(|e| failed(&e))?);
    let listener = TcpListener::bind(listen).await.map_err(|e| failed(&e))?;
    let address = listener.local_addr().map_err(|e| failed(&e))?;
    output::emit(&format!("listening on {address}\n"))?;
    tonic::transport::Server::builder()
        .add_service(BaselineServiceServer::new(Baseline { pool, participant }))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .map_err(|e| failed(&e))
}
