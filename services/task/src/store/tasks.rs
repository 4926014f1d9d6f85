//! The table `tasks`.

use chrono::{DateTime, Utc};
use ids::{SagaId, TaskId, UserId};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};
use uuid::Uuid;

use crate::domain::TaskState;

/// A task, with the progress of its pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) user_id: UserId,
    pub(crate) feature_id: String,
    pub(crate) input_data: Value,
    pub(crate) result: Option<Value>,
    pub(crate) state: TaskState,
    pub(crate) amount: i64,
    pub(crate) saga_id: SagaId,
    pub(crate) error_reason: Option<String>,
    pub(crate) error_message: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
    pub(crate) steps_done: i32,
    /// Absent before the pipeline has begun.
    pub(crate) steps_total: Option<i32>,
}

impl FromRow<'_, PgRow> for Task {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: TaskId::from_uuid(row.try_get("id")?),
            user_id: UserId::from_uuid(row.try_get("user_id")?),
            feature_id: row.try_get("feature_id")?,
            input_data: row.try_get("input_data")?,
            result: row.try_get("result")?,
            state: state(row)?,
            amount: row.try_get("amount")?,
            saga_id: SagaId::from_uuid(row.try_get("saga_id")?),
            error_reason: row.try_get("error_reason")?,
            error_message: row.try_get("error_message")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            finished_at: row.try_get("finished_at")?,
            steps_done: row.try_get("steps_done")?,
            steps_total: row.try_get("steps_total")?,
        })
    }
}

fn state(row: &PgRow) -> Result<TaskState, sqlx::Error> {
    let name: &str = row.try_get("status")?;
    TaskState::from_name(name)
        .ok_or_else(|| sqlx::Error::Decode(format!("no task state is named {name:?}").into()))
}

/// A task to be created.
#[derive(Debug, Clone)]
pub(crate) struct NewTask {
    pub(crate) id: TaskId,
    pub(crate) user_id: UserId,
    pub(crate) feature_id: String,
    pub(crate) input_data: Value,
    pub(crate) amount: i64,
    pub(crate) saga_id: SagaId,
}

/// What a step needs to know of a task. The row is locked.
#[derive(Debug, Clone)]
pub(crate) struct Locked {
    pub(crate) id: TaskId,
    pub(crate) user_id: UserId,
    pub(crate) feature_id: String,
    pub(crate) saga_id: SagaId,
    pub(crate) state: TaskState,
}

impl FromRow<'_, PgRow> for Locked {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: TaskId::from_uuid(row.try_get("id")?),
            user_id: UserId::from_uuid(row.try_get("user_id")?),
            feature_id: row.try_get("feature_id")?,
            saga_id: SagaId::from_uuid(row.try_get("saga_id")?),
            state: state(row)?,
        })
    }
}

/// Inserts a task, `pending`, and tells its user's feed. False if the id is taken.
pub(crate) async fn insert(conn: &mut PgConnection, task: &NewTask) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query(
        "with created as (
            insert into tasks (id, user_id, feature_id, input_data, status, amount, saga_id)
            values ($1, $2, $3, $4, 'pending', $5, $6)
            on conflict (id) do nothing
            returning id, user_id
         ), head as (
            insert into feed_head (user_id, last_seq) select user_id, 1 from created
            on conflict on constraint feed_head_pkey do update set last_seq = feed_head.last_seq + 1
            returning user_id, last_seq
         )
         insert into feed (user_id, seq, task_id)
         select head.user_id, head.last_seq, created.id from head, created",
    )
    .bind(task.id.uuid())
    .bind(task.user_id.uuid())
    .bind(&task.feature_id)
    .bind(Json(&task.input_data))
    .bind(task.amount)
    .bind(task.saga_id.uuid())
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Finds a task.
pub(crate) async fn find(db: impl PgExecutor<'_>, id: TaskId) -> Result<Option<Task>, sqlx::Error> {
    sqlx::query_as(
        "select t.*, coalesce(r.steps_done, 0) as steps_done, r.steps_total
         from tasks t left join pipeline_runs r on r.task_id = t.id
         where t.id = $1",
    )
    .bind(id.uuid())
    .fetch_optional(db)
    .await
}

/// Finds those of these tasks that exist, in any order.
pub(crate) async fn find_all(db: impl PgExecutor<'_>, ids: &[Uuid]) -> Result<Vec<Task>, sqlx::Error> {
    sqlx::query_as(
        "select t.*, coalesce(r.steps_done, 0) as steps_done, r.steps_total
         from tasks t left join pipeline_runs r on r.task_id = t.id
         where t.id = any ($1)",
    )
    .bind(ids)
    .fetch_all(db)
    .await
}

/// Lists what a snapshot shows of a user's tasks: the newest `unfinished` that have not ended, then the `finished` that
/// ended last.
pub(crate) async fn current(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    unfinished: i64,
    finished: i64,
) -> Result<Vec<Task>, sqlx::Error> {
    sqlx::query_as(
        "with shown as (
            (select * from tasks where user_id = $1 and finished_at is null
             order by created_at desc limit $2)
            union all
            (select * from tasks where user_id = $1 and finished_at is not null
             order by finished_at desc limit $3)
         )
         select t.*, coalesce(r.steps_done, 0) as steps_done, r.steps_total
         from shown t left join pipeline_runs r on r.task_id = t.id
         order by t.finished_at desc nulls first, t.created_at desc",
    )
    .bind(user_id.uuid())
    .bind(unfinished)
    .bind(finished)
    .fetch_all(db)
    .await
}

/// Where a page begins: after this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct After {
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) id: Uuid,
}

/// Lists tasks of a user, newest first, `limit` at most; no `states` means any.
pub(crate) async fn list(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    states: &[&'static str],
    after: Option<After>,
    limit: i64,
) -> Result<Vec<Task>, sqlx::Error> {
    sqlx::query_as(
        "select t.*, coalesce(r.steps_done, 0) as steps_done, r.steps_total
         from tasks t left join pipeline_runs r on r.task_id = t.id
         where t.user_id = $1
           and (cardinality($2::text[]) = 0 or t.status = any($2))
           and ($3::timestamptz is null or (t.created_at, t.id) < ($3, $4))
         order by t.created_at desc, t.id desc
         limit $5",
    )
    .bind(user_id.uuid())
    .bind(states)
    .bind(after.map(|a| a.created_at))
    .bind(after.map(|a| a.id))
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Locks the task of a saga. `None` if there is no such task, or it belongs to another saga.
pub(crate) async fn lock(
    conn: &mut PgConnection,
    id: TaskId,
    saga_id: SagaId,
) -> Result<Option<Locked>, sqlx::Error> {
    sqlx::query_as(
        "select id, user_id, feature_id, saga_id, status from tasks
         where id = $1 and saga_id = $2 for no key update",
    )
    .bind(id.uuid())
    .bind(saga_id.uuid())
    .fetch_optional(conn)
    .await
}

/// Reads the input of a task.
pub(crate) async fn input(db: impl PgExecutor<'_>, id: TaskId) -> Result<Value, sqlx::Error> {
    sqlx::query_scalar("select input_data from tasks where id = $1")
        .bind(id.uuid())
        .fetch_one(db)
        .await
}

/// What else changes with the state.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct With<'a> {
    pub(crate) result: Option<&'a Value>,
    /// Kept if there is one already.
    pub(crate) error: Option<(&'a str, &'a str)>,
    /// Removes what error there was.
    pub(crate) clear_error: bool,
}

/// Moves a locked task from the state it was locked in to another, and tells its user's feed. Returns reason and message
/// of its error, if any.
///
/// # Errors
/// `RowNotFound` if it is not in that state, which a lock rules out.
pub(crate) async fn change(
    conn: &mut PgConnection,
    task: &Locked,
    to: TaskState,
    with: With<'_>,
) -> Result<(Option<String>, Option<String>), sqlx::Error> {
    sqlx::query_as(
        "with changed as (
            update tasks set
                status = $3,
                result = $4,
                error_reason = case when $5 then null else coalesce(error_reason, $6) end,
                error_message = case when $5 then null else coalesce(error_message, $7) end,
                updated_at = now(),
                finished_at = case when $8 then now() end
            where id = $1 and status = $2
            returning id, user_id, error_reason, error_message
         ), head as (
            insert into feed_head (user_id, last_seq) select user_id, 1 from changed
            on conflict on constraint feed_head_pkey do update set last_seq = feed_head.last_seq + 1
            returning user_id, last_seq
         ), told as (
            insert into feed (user_id, seq, task_id)
            select head.user_id, head.last_seq, changed.id from head, changed
         )
         select error_reason, error_message from changed",
    )
    .bind(task.id.uuid())
    .bind(task.state.name())
    .bind(to.name())
    .bind(with.result.map(Json))
    .bind(with.clear_error)
    .bind(with.error.map(|(reason, _)| reason))
    .bind(with.error.map(|(_, message)| message))
    .bind(to.is_final())
    .fetch_one(conn)
    .await
}
