//! Writing batches, one connection for each lane.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use ids::SagaId;
use saga_engine::{Fate, JournalError, Transition};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection, Row as _};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::columns::Columns;
use super::fence::{Fence, unknown};
use super::sql;

/// The server gives up on a statement after this.
const STATEMENT_TIMEOUT_MS: u32 = 10_000;
/// We give up on the server after this: a connection without a server at its end does not tell.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Waits between tries to connect: doubled from the first to the last.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LAST_BACKOFF: Duration = Duration::from_secs(2);
/// Times a chunk is written again after a deadlock, a serialization failure, or a new incarnation.
const REPEATS: u32 = 5;
/// Payload of one statement, roughly. Postgres takes messages of at most 1 GB; below this the gain of sharing a commit
/// is used up.
const CHUNK_BYTES: usize = 8 << 20;
/// Payload of one transition. More than this is refused here, since the server would end the connection over it.
const TRANSITION_BYTES: usize = 128 << 20;

/// The lanes of an instance.
#[derive(Debug)]
pub(super) struct Lanes {
    options: PgConnectOptions,
    lanes: Vec<Mutex<Lane>>,
}

#[derive(Debug, Default)]
struct Lane {
    connection: Option<PgConnection>,
    failures: u32,
    not_before: Option<Instant>,
}

/// What the server did with a chunk.
enum Written {
    /// All of it is durable but for the starts that lost their key: these won.
    Durable(HashSet<Uuid>),
    /// None of it is; the database does not take what is in it.
    Refused(String),
}

impl Lanes {
    pub(super) fn new(options: &PgConnectOptions, instance: &str, count: usize) -> Self {
        let options = options
            .clone()
            .application_name(&format!("evenkeel/journal/{instance}"))
            .options([
                // A generic plan made on an empty table would be a sequential scan, and kept.
                ("plan_cache_mode", "force_generic_plan"),
                ("enable_seqscan", "off"),
                ("enable_hashjoin", "off"),
                ("enable_mergejoin", "off"),
                ("jit", "off"),
            ])
            .options([("statement_timeout", STATEMENT_TIMEOUT_MS)])
            .disable_statement_logging();
        Self {
            options,
            lanes: (0..count.max(1)).map(|_| Mutex::default()).collect(),
        }
    }

    /// Writes a batch; see [`saga_engine::Journal::append`].
    pub(super) async fn append(
        &self,
        fence: &Fence,
        lane: usize,
        batch: &[Transition],
    ) -> Result<Vec<Fate>, JournalError> {
        let mut lane = self.lanes[lane % self.lanes.len()].lock().await;
        let mut fates = vec![Fate::Durable; batch.len()];
        let mut losers = Vec::new();
        let mut todo = chunks(batch);
        while let Some(range) = todo.pop() {
            let chunk = &batch[range.clone()];
            if let [single] = chunk
                && payload_bytes(single) > TRANSITION_BYTES
            {
                fates[range.start] = Fate::Unwritable(format!("it is larger than {TRANSITION_BYTES} bytes"));
                continue;
            }
            match self.write(fence, &mut lane, chunk).await? {
                Written::Durable(won) => losers
                    .extend(range.filter(|&i| {
                        batch[i].start.is_some() && !won.contains(&batch[i].identity.id.uuid())
                    })),
                Written::Refused(why) if chunk.len() == 1 => {
                    tracing::error!(saga_id = %chunk[0].identity.id, why, "the journal cannot hold this");
                    fates[range.start] = Fate::Unwritable(why);
                }
                Written::Refused(_) => {
                    let middle = range.start + chunk.len() / 2;
                    todo.push(middle..range.end);
                    todo.push(range.start..middle);
                }
            }
        }
        if !losers.is_empty() {
            self.look_up_losers(&mut lane, batch, &losers, &mut fates).await?;
        }
        Ok(fates)
    }

    async fn write(
        &self,
        fence: &Fence,
        lane: &mut Lane,
        chunk: &[Transition],
    ) -> Result<Written, JournalError> {
        let mut repeats = 0;
        loop {
            // Taken out of the lane: if this future is dropped half-way, so is the connection.
            let mut connection = self.connection(lane).await?;
            let in_flight = fence.in_flight();
            let statement = Columns::of(chunk).statement(&fence.instance, fence.seen());
            let result = match timeout(ANSWER_TIMEOUT, statement.fetch_one(&mut connection)).await {
                Ok(result) => result,
                Err(elapsed) => return Err(JournalError::Unknown(Box::new(elapsed))),
            };
            let verdict = match result {
                Ok(row) => {
                    in_flight.answered();
                    let (fenced, won): (i64, Option<Vec<Uuid>>) = (
                        row.try_get("fenced").map_err(unknown)?,
                        row.try_get("won").map_err(unknown)?,
                    );
                    if fenced == 1 {
                        lane.connection = Some(connection);
                        return Ok(Written::Durable(won.unwrap_or_default().into_iter().collect()));
                    }
                    let look = sqlx::query_as(sql::FENCE_NOW)
                        .bind(&*fence.instance)
                        .fetch_optional(&mut connection);
                    let now = timeout(ANSWER_TIMEOUT, look)
                        .await
                        .map_err(|elapsed| JournalError::Unknown(Box::new(elapsed)))?
                        .map_err(unknown)?;
                    fence.refresh(now)?;
                    Verdict::Again(sqlx::Error::RowNotFound)
                }
                Err(error) => {
                    let verdict = Verdict::of(error);
                    if !matches!(verdict, Verdict::Lost(_)) {
                        in_flight.answered();
                    }
                    verdict
                }
            };
            match verdict {
                Verdict::Again(_) if repeats < REPEATS => {
                    repeats += 1;
                    lane.connection = Some(connection);
                }
                Verdict::Refused(why) => {
                    lane.connection = Some(connection);
                    return Ok(Written::Refused(why));
                }
                Verdict::Again(error) | Verdict::NotWritten(error) => {
                    lane.connection = Some(connection);
                    return Err(unknown(error));
                }
                Verdict::Lost(error) => return Err(unknown(error)),
            }
        }
    }

    /// Finds out who has the keys that these starts did not get.
    async fn look_up_losers(
        &self,
        lane: &mut Lane,
        batch: &[Transition],
        losers: &[usize],
        fates: &mut [Fate],
    ) -> Result<(), JournalError> {
        let key = |i: usize| {
            let identity = &*batch[i].identity;
            (&*identity.saga_type, identity.business_id.as_str())
        };
        let (types, business_ids): (Vec<&str>, Vec<&str>) = losers.iter().map(|&i| key(i)).unzip();
        let mut connection = self.connection(lane).await?;
        let query = sqlx::query_as(sql::HOLDERS).bind(types).bind(business_ids);
        let rows: Vec<(String, String, Uuid, Vec<u8>)> =
            timeout(ANSWER_TIMEOUT, query.fetch_all(&mut connection))
                .await
                .map_err(|elapsed| JournalError::Unknown(Box::new(elapsed)))?
                .map_err(unknown)?;
        lane.connection = Some(connection);
        let holders: HashMap<(&str, &str), (Uuid, &[u8])> = rows
            .iter()
            .map(|(saga_type, business_id, saga, digest)| {
                ((&**saga_type, &**business_id), (*saga, &**digest))
            })
            .collect();
        for &i in losers {
            let (Some(&(saga, digest)), Some(start)) = (holders.get(&key(i)), &batch[i].start) else {
                // The key was taken, and is not any more: it was dropped in between. Asking again starts the saga.
                return Err(unknown(sqlx::Error::RowNotFound));
            };
            fates[i] = if digest == start.input_digest {
                Fate::Exists(SagaId::from_uuid(saga))
            } else {
                Fate::InputMismatch(SagaId::from_uuid(saga))
            };
        }
        Ok(())
    }

    async fn connection(&self, lane: &mut Lane) -> Result<PgConnection, JournalError> {
        if let Some(connection) = lane.connection.take() {
            return Ok(connection);
        }
        if let Some(at) = lane.not_before {
            sleep_until(at).await;
        }
        let opened = match timeout(CONNECT_TIMEOUT, self.options.connect()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(unknown(error)),
            Err(elapsed) => Err(JournalError::Unknown(Box::new(elapsed))),
        };
        if opened.is_ok() {
            lane.failures = 0;
            lane.not_before = None;
        } else {
            let backoff = FIRST_BACKOFF
                .saturating_mul(1 << lane.failures.min(10))
                .min(LAST_BACKOFF);
            lane.failures = lane.failures.saturating_add(1);
            lane.not_before = Some(Instant::now() + backoff);
        }
        opened
    }
}

/// What an error says about the chunk.
enum Verdict {
    /// Not written, for a reason that passes: at once.
    Again(sqlx::Error),
    /// Not written, ever.
    Refused(String),
    /// Not written, for a reason that may pass.
    NotWritten(sqlx::Error),
    /// Nobody knows, and the connection is of no use.
    Lost(sqlx::Error),
}

impl Verdict {
    fn of(error: sqlx::Error) -> Self {
        // Encoding happens before anything is sent; it fails for what no statement can carry.
        if let sqlx::Error::Encode(why) = &error {
            return Self::Refused(why.to_string());
        }
        let sqlx::Error::Database(refusal) = &error else {
            return Self::Lost(error);
        };
        let code = refusal.code().unwrap_or_default();
        match code.get(..2).unwrap_or_default() {
            // Two drivers of one saga: not the data is wrong but what we believe about the saga.
            "23" if refusal.constraint() == Some("event_pkey") => Self::NotWritten(error),
            "22" | "23" | "54" => Self::Refused(refusal.message().to_owned()),
            "40" => Self::Again(error),
            // Shutdown, a lost cached plan or prepared statement, a server that became read-only.
            "08" | "25" | "26" | "57" if code != "57014" => Self::Lost(error),
            _ => Self::NotWritten(error),
        }
    }
}

/// Splits a batch into chunks of bounded size, the first one last.
fn chunks(batch: &[Transition]) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (i, transition) in batch.iter().enumerate() {
        let more = payload_bytes(transition);
        if i > start && bytes + more > CHUNK_BYTES {
            chunks.push(start..i);
            (start, bytes) = (i, 0);
        }
        bytes += more;
    }
    if start < batch.len() {
        chunks.push(start..batch.len());
    }
    chunks.reverse();
    chunks
}

fn payload_bytes(transition: &Transition) -> usize {
    let input = transition
        .start
        .as_ref()
        .map_or(0, |s| s.identity.input.json().len());
    let entries = transition.entries.iter().map(|entry| {
        let request = entry.request.as_ref().map_or(0, |p| p.json().len());
        let reply = match &entry.recorded.event {
            saga_core::Event::Succeeded { reply, .. } | saga_core::Event::LateSuccess { reply, .. } => {
                reply.json().len()
            }
            saga_core::Event::Refused { .. }
            | saga_core::Event::Failed { .. }
            | saga_core::Event::Pending { .. }
            | saga_core::Event::Abandoned { .. }
            | saga_core::Event::Skipped { .. }
            | saga_core::Event::Operator { .. }
            | saga_core::Event::Unwinding { .. }
            | saga_core::Event::Committed
            | saga_core::Event::DeadlineMissed
            | saga_core::Event::Ended { .. } => 0,
        };
        request + reply
    });
    input + entries.sum::<usize>()
}
