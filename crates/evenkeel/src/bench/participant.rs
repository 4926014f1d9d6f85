//! The participant: answers at once and keeps nothing, or writes a row behind a barrier.

use std::net::SocketAddr;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use barrier::{Batch, Refusal, Statement, run_statement};
use proto::bench::v1::bench_steps_server::{BenchSteps, BenchStepsServer};
use proto::bench::v1::bench_wait_steps_server::{BenchWaitSteps, BenchWaitStepsServer};
use proto::bench::v1::{UndoRequest, UndoResponse, WaitRequest, WaitResponse, WorkRequest, WorkResponse};
use rpc::error::Reason;
use rpc::step::{Op, StepCall};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::exit::Failure;
use crate::output;

/// Domain of the participant's refusals.
pub(crate) const DOMAIN: &str = "bench.evenkeel";
/// When somebody who waits asks again: not while anything is measured.
const ASK_AGAIN: Duration = Duration::from_secs(60 * 60);
/// Connections to the database: as many as help on a small machine.
const CONNECTIONS: u32 = 24;

/// One business row for each action that stands.
const SCHEMA: &str = "
create schema if not exists bench_participant;
set search_path = bench_participant;
create table if not exists effect (
    saga_id uuid not null, step text not null, payload text not null,
    constraint effect_pkey primary key (saga_id, step)
);";

struct Participant {
    /// Where rows are kept, if any are.
    pool: Option<PgPool>,
    /// How, if not each by itself.
    batches: Option<Batches>,
}

/// The two methods, whose calls share transactions.
struct Batches {
    work: Batch,
    undo: Batch,
}

impl Batches {
    fn new(pool: &PgPool) -> Self {
        let work = "insert into effect (saga_id, step, payload) select saga_id, step, args->>'payload' from calls \
                    returning saga_id";
        let undo = "delete from effect using calls where effect.saga_id = calls.saga_id and effect.step = calls.step \
                    returning calls.saga_id";
        Self {
            work: Batch::new(pool, Op::Action, DOMAIN, work, impossible()),
            undo: Batch::new(pool, Op::Compensation, DOMAIN, undo, impossible()),
        }
    }
}

impl Participant {
    async fn act(
        &self,
        pool: &PgPool,
        call: &StepCall,
        request: WorkRequest,
    ) -> Result<Response<WorkResponse>, Status> {
        let reply = WorkResponse {
            payload: request.payload.clone(),
        };
        if let Some(batches) = &self.batches {
            let args = serde_json::json!({ "payload": request.payload });
            return batches.work.run(call, &request, &args, reply).await;
        }
        let sql = "insert into effect (saga_id, step, payload) select $1, $2, $3 from once returning 1";
        let statement = Statement::new(sql, impossible())
            .bind(call.saga_id.uuid())
            .bind(call.step.clone())
            .bind(request.payload.clone());
        run_statement(pool, call, &request, DOMAIN, statement, reply).await
    }
}

/// What cannot happen here is a refusal nobody expects: it is seen.
fn impossible() -> Refusal {
    Refusal {
        reason: Reason::Internal.into(),
        message: "the row of an action is not as it must be".to_owned(),
        facts: std::collections::HashMap::new(),
    }
}

#[tonic::async_trait]
impl BenchSteps for Participant {
    async fn work(&self, request: Request<WorkRequest>) -> Result<Response<WorkResponse>, Status> {
        let call = self.call(&request)?;
        let request = request.into_inner();
        let refused = request.refuse_step != 0 && request.refuse_step == request.step;
        match (&self.pool, call) {
            (Some(pool), Some(call)) if refused => {
                barrier::run(pool, &call, &request, DOMAIN, async |_, _| {
                    Err(barrier::Stop::refuse(Reason::PipelineFailed, AS_ASKED))
                })
                .await
            }
            (Some(pool), Some(call)) => self.act(pool, &call, request).await,
            _ if refused => Err(Reason::PipelineFailed.status(DOMAIN, AS_ASKED)),
            _ => Ok(Response::new(WorkResponse {
                payload: request.payload,
            })),
        }
    }

    async fn undo(&self, request: Request<UndoRequest>) -> Result<Response<UndoResponse>, Status> {
        let call = self.call(&request)?;
        let (Some(pool), Some(call)) = (&self.pool, call) else {
            return Ok(Response::new(UndoResponse {}));
        };
        let request = request.into_inner();
        if let Some(batches) = &self.batches {
            let args = serde_json::json!({});
            return batches.undo.run(&call, &request, &args, UndoResponse {}).await;
        }
        let sql = "delete from effect using once where saga_id = $1 and step = $2 returning 1";
        let statement = Statement::new(sql, impossible())
            .bind(call.saga_id.uuid())
            .bind(call.step.clone());
        run_statement(pool, &call, &request, DOMAIN, statement, UndoResponse {}).await
    }
}

#[tonic::async_trait]
impl BenchWaitSteps for Participant {
    async fn wait(&self, _: Request<WaitRequest>) -> Result<Response<WaitResponse>, Status> {
        let mut response = Response::new(WaitResponse {});
        rpc::step::set_pending(response.metadata_mut(), ASK_AGAIN);
        Ok(response)
    }
}

const AS_ASKED: &str = "refused, as the load asked for";

impl Participant {
    /// Which step is called; nobody asks if there is no barrier.
    fn call<T>(&self, request: &Request<T>) -> Result<Option<StepCall>, Status> {
        match self.pool {
            Some(_) => StepCall::read(request.metadata(), DOMAIN).map(Some),
            None => Ok(None),
        }
    }

    async fn open(database_url: Option<&str>, batched: bool) -> Result<Self, sqlx::Error> {
        let Some(url) = database_url else {
            return Ok(Self {
                pool: None,
                batches: None,
            });
        };
        let options = PgConnectOptions::from_str(url)?.options([("search_path", "bench_participant")]);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            // As the pools of services.
            .test_before_acquire(false)
            .connect_with(options)
            .await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        let there: bool = sqlx::query_scalar("select to_regclass('bench_participant.barrier') is not null")
            .fetch_one(&pool)
            .await?;
        if !there {
            sqlx::raw_sql(barrier::TABLE_SQL).execute(&pool).await?;
        }
        Ok(Self {
            batches: batched.then(|| Batches::new(&pool)),
            pool: Some(pool),
        })
    }
}

/// Serves until the process is ended. Prints its address first. With a database, each call is a transaction of its own, or
/// shares one if they are batched.
///
/// # Errors
/// If the address cannot be listened on, or the database does not answer.
pub(crate) async fn serve(
    listen: SocketAddr,
    database_url: Option<&str>,
    batched: bool,
) -> Result<(), Failure> {
    let failed = |e: &dyn std::error::Error| Failure::unavailable("the participant cannot start").because(e);
    let participant = Participant::open(database_url, batched)
        .await
        .map_err(|e| failed(&e))?;
    let participant = Arc::new(participant);
    let listener = TcpListener::bind(listen).await.map_err(|e| failed(&e))?;
    let address = listener.local_addr().map_err(|e| failed(&e))?;
    output::emit(&format!("listening on {address}\n"))?;
    tonic::transport::Server::builder()
        .add_service(BenchStepsServer::from_arc(Arc::clone(&participant)))
        .add_service(BenchWaitStepsServer::from_arc(participant))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .map_err(|e| failed(&e))
}
