//! Work that is one SQL statement for many calls, done together with their barriers in one round trip and one commit.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use rpc::step::{Op, StepCall};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, PgPool};
use tokio::sync::{mpsc, oneshot};
use tonic::{Response, Status};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::answer::{key, stored, unknown};
use crate::run::{run_on, span};
use crate::{Done, Refusal, Stop};

/// Calls in one statement.
const MAX_CALLS: usize = 256;
/// Bytes of arguments and replies in one statement, roughly.
const MAX_BYTES: usize = 4 << 20;
/// Calls that wait for the next statement; beyond it callers wait to be let in.
const MAX_WAITING: usize = 1_024;
/// What waits for the row of somebody else for so long goes alone, and lets the others go, in milliseconds.
const LOCK_TIMEOUT_MS: u32 = 100;
/// The server gives up on a statement after this, in milliseconds.
const STATEMENT_TIMEOUT_MS: u32 = 10_000;
/// We give up on the server after this: a connection without a server at its end does not tell.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// A step whose calls share statements: while one is on its way, those that come gather for the next one.
///
/// The statement takes part in another one, beside the rows of the barrier, as a common table expression. It reads from
/// `calls`, which has one row for each call that is to act: `saga_id uuid, step text, idx integer, args jsonb`, no two of the
/// same saga. It **must return `saga_id`**, in one row for each call for which it had its effect:
///
/// ```sql
/// insert into job (saga_id, kind) select saga_id, args->>'kind' from calls returning saga_id
/// ```
///
/// ```sql
/// delete from job using calls where job.saga_id = calls.saga_id returning calls.saga_id
/// ```
///
/// If there is not exactly one row for each call, or it fails, nothing of it stays, and each of the calls is done alone, in
/// a transaction of its own, where no row is a refusal: that is how a refusal finds its call. So calls that change the same
/// row may be here, but gain nothing: an `update` from `calls` changes a row once.
#[derive(Debug, Clone)]
pub struct Batch {
    step: Arc<Step>,
    calls: mpsc::Sender<Call>,
}

#[derive(Debug)]
struct Step {
    pool: PgPool,
    op: Op,
    domain: &'static str,
    /// For one call, within a transaction.
    alone: String,
    otherwise: Refusal,
}

#[derive(Debug)]
struct Writer {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    sql: String,
}

#[derive(Debug)]
struct Call {
    saga_id: Uuid,
    step: String,
    index: i32,
    digest: Vec<u8>,
    reply: Vec<u8>,
    args: String,
    answer: oneshot::Sender<Fate>,
}

/// How a call fared in a statement.
#[derive(Debug)]
enum Fate {
    Done,
    /// Nothing was done, and what follows finds out why.
    Alone,
    /// It is not known.
    Lost(Arc<sqlx::Error>),
}

impl Batch {
    /// Makes one for the action or the compensation of a step; `otherwise` is the answer to a call for which the statement
    /// alone returns no row.
    ///
    /// Opens one connection of its own, like those of `pool`, and starts a task, which ends with the last clone of this. So
    /// it must be called within a runtime, and once: what is not shared does not gather.
    #[must_use]
    pub fn new(pool: &PgPool, op: Op, domain: &'static str, sql: &'static str, otherwise: Refusal) -> Self {
        let options = (*pool.connect_options()).clone().options([
            ("lock_timeout", LOCK_TIMEOUT_MS),
            ("statement_timeout", STATEMENT_TIMEOUT_MS),
        ]);
        // A generic plan made on an empty table would be a sequential scan, and kept.
        let options = options.options([
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("jit", "off"),
        ]);
        let writer = Writer {
            options,
            connection: None,
            sql: together(op, sql),
        };
        let (calls, received) = mpsc::channel(MAX_WAITING);
        tokio::spawn(gather(writer, received).instrument(tracing::Span::none()));
        let step = Step {
            pool: pool.clone(),
            op,
            domain,
            alone: alone(sql),
            otherwise,
        };
        Self {
            step: Arc::new(step),
            calls,
        }
    }

    /// Does the work of a call at most once, and answers repeated calls from store, as [`run`](crate::run) does with any
    /// work. `args` is what the statement sees of the call.
    ///
    /// Dropping this does not undo the call: it may be in a statement, and a repeated call then gets its reply.
    ///
    /// # Errors
    /// As [`run`](crate::run). A call for which the statement alone returns no row is refused as [`Batch::new`] was told.
    pub async fn run<R>(
        &self,
        call: &StepCall,
        request: &impl Message,
        args: &impl Serialize,
        reply: R,
    ) -> Result<Response<R>, Status>
    where
        R: Message + Default,
    {
        let domain = self.step.domain;
        let key = key(call, domain)?;
        let args = serde_json::to_string(args)
            .map_err(|problem| unknown(call, domain, &sqlx::Error::Encode(problem.into())))?;
        async {
            // A method may be called as what this was not made for: then the row is another.
            if call.op == self.step.op {
                let (answer, answered) = oneshot::channel();
                let gathered = Call {
                    saga_id: key.saga_id.uuid(),
                    step: call.step.clone(),
                    index: key.index,
                    digest: Sha256::digest(request.encode_to_vec()).to_vec(),
                    reply: reply.encode_to_vec(),
                    args: args.clone(),
                    answer,
                };
                if self.calls.send(gathered).await.is_ok() {
                    match answered.await {
                        Ok(Fate::Done) => return Ok(stored(reply)),
                        Ok(Fate::Lost(error)) => return Err(unknown(call, domain, &*error)),
                        Ok(Fate::Alone) | Err(_) => {}
                    }
                }
            }
            self.run_alone(call, request, &args, reply).await
        }
        .instrument(span(call))
        .await
    }

    async fn run_alone<R>(
        &self,
        call: &StepCall,
        request: &impl Message,
        args: &str,
        reply: R,
    ) -> Result<Response<R>, Status>
    where
        R: Message + Default,
    {
        let step = &*self.step;
        let acquired = step.pool.acquire().await;
        let mut connection = acquired.map_err(|error| unknown(call, step.domain, &error))?;
        let index = i32::try_from(call.index).unwrap_or(i32::MAX);
        let work = async |conn: &mut PgConnection, _| {
            let query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(step.alone.clone()))
                .bind(call.saga_id.uuid())
                .bind(&call.step)
                .bind(index)
                .bind(args);
            if query.fetch_one(conn).await? == 0 {
                return Err(Stop::Refuse(step.otherwise.clone()));
            }
            Ok::<_, Stop>(Done::Reply(reply))
        };
        run_on(&mut connection, call, request, step.domain, work).await
    }
}

/// The statement for one call, within a transaction that has its rows.
fn alone(sql: &str) -> String {
    format!(
        "with calls as materialized (select $1::uuid as saga_id, $2::text as step, $3::int4 as idx, $4::text::jsonb as args), \
         work as ({sql}) select count(w.saga_id) from work w"
    )
}

/// The statement for many calls, with their rows: `claimed` are those that no other call has. Unless the work has one row for
/// each it divides by zero, which undoes all. The number of rows alone would not do: two of one saga would hide that another
/// has none.
fn together(op: Op, sql: &str) -> String {
    let insert = |from: &str| {
        format!(
            "insert into barrier (saga_id, step, idx, op, request_digest, state, reply) \
             select saga_id, step, idx, '{}', request_digest, 'succeeded', reply from {from} \
             on conflict do nothing returning saga_id, step, idx",
            op.name()
        )
    };
    // The compensation of an action that has not succeeded is more than its statement. The lock waits for others who look at
    // the action, and then sees what has become of it.
    let claimed = match op {
        Op::Action => format!("claimed as ({})", insert("given")),
        Op::Compensation => format!(
            "action as materialized (select g.* from given g \
             join barrier b on b.saga_id = g.saga_id and b.step = g.step and b.idx = g.idx \
             where b.op = 'action' and b.state = 'succeeded' order by g.n for update of b), \
             claimed as ({})",
            insert("action")
        ),
    };
    format!(
        "with given as materialized (\
         select * from unnest($1::uuid[], $2::text[], $3::int4[], $4::bytea[], $5::bytea[], $6::text[]) \
         with ordinality g (saga_id, step, idx, request_digest, reply, args, n)), \
         {claimed}, \
         calls as materialized (select g.n, g.saga_id, g.step, g.idx, g.args::jsonb as args from given g \
         join claimed c on c.saga_id = g.saga_id and c.step = g.step and c.idx = g.idx), \
         work as ({sql}) \
         select array(select n from calls), \
         1 / (case when (select count(*) from work) = (select count(*) from calls) \
         and (select count(distinct w.saga_id) from work w join calls c on c.saga_id = w.saga_id) \
         = (select count(*) from calls) then 1 else 0 end)"
    )
}

/// Does what comes, as much at a time as has come, until nobody can come any more.
async fn gather(mut writer: Writer, mut calls: mpsc::Receiver<Call>) {
    let mut waiting = Vec::new();
    while calls.recv_many(&mut waiting, MAX_CALLS).await > 0 {
        while !waiting.is_empty() {
            let batch = take(&mut waiting);
            let fates = writer.write(&batch).await;
            for (call, fate) in batch.into_iter().zip(fates) {
                // Whoever called may have gone.
                let _ = call.answer.send(fate);
            }
        }
    }
}

/// Takes as many calls as one statement may have, sorted by key, which is the order in which rows are locked. Of several calls
/// of one saga only the first is among them, so that each row of the work has its call; the others go alone. If one is the same
/// call, it finds the first one's row.
fn take(waiting: &mut Vec<Call>) -> Vec<Call> {
    let mut bytes = 0;
    let count = waiting
        .iter()
        .take_while(|call| {
            bytes += call.args.len() + call.reply.len();
            bytes <= MAX_BYTES
        })
        .count();
    let mut taken: Vec<Call> = waiting.drain(..count.max(1)).collect();
    taken.sort_by(|a, b| (a.saga_id, &a.step, a.index).cmp(&(b.saga_id, &b.step, b.index)));
    let mut batch: Vec<Call> = Vec::with_capacity(taken.len());
    for call in taken {
        match batch.last() {
            Some(before) if before.saga_id == call.saga_id => {
                // Whoever called may have gone.
                let _ = call.answer.send(Fate::Alone);
            }
            Some(_) | None => batch.push(call),
        }
    }
    batch
}

impl Writer {
    async fn write(&mut self, batch: &[Call]) -> Vec<Fate> {
        let all = |fate: fn() -> Fate| batch.iter().map(|_| fate()).collect();
        match tokio::time::timeout(ANSWER_TIMEOUT, self.act(batch)).await {
            Ok(Ok(acted)) => {
                let mut fates: Vec<Fate> = all(|| Fate::Alone);
                for n in acted {
                    let position = usize::try_from(n - 1).ok();
                    if let Some(fate) = position.and_then(|position| fates.get_mut(position)) {
                        *fate = Fate::Done;
                    }
                }
                fates
            }
            Ok(Err(sqlx::Error::Database(_))) => all(|| Fate::Alone),
            Ok(Err(error)) => lost(batch, error),
            Err(elapsed) => lost(batch, sqlx::Error::Io(elapsed.into())),
        }
    }

    /// Returns the positions of the calls that the statement acted for, from 1.
    async fn act(&mut self, batch: &[Call]) -> Result<Vec<i64>, sqlx::Error> {
        fn column<'a, T>(batch: &'a [Call], value: impl Fn(&'a Call) -> T) -> Vec<T> {
            batch.iter().map(value).collect()
        }
        // Taken out: if this is dropped half-way, so is the connection.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        let result: Result<(Vec<i64>, i32), sqlx::Error> = sqlx::query_as(AssertSqlSafe(self.sql.clone()))
            .bind(column(batch, |call| call.saga_id))
            .bind(column(batch, |call| &*call.step))
            .bind(column(batch, |call| call.index))
            .bind(column(batch, |call| &*call.digest))
            .bind(column(batch, |call| &*call.reply))
            .bind(column(batch, |call| &*call.args))
            .fetch_one(&mut connection)
            .await;
        if result.as_ref().err().is_none_or(is_of_the_work) {
            self.connection = Some(connection);
        }
        Ok(result?.0)
    }
}

/// Tells whether an error says nothing about the connection.
fn is_of_the_work(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| {
        !["08", "25", "26", "57"]
            .iter()
            .any(|class| code.starts_with(class))
    })
}

fn lost(batch: &[Call], error: sqlx::Error) -> Vec<Fate> {
    let error = Arc::new(error);
    batch.iter().map(|_| Fate::Lost(Arc::clone(&error))).collect()
}
