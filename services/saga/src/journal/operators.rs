//! What operators do about whole types, and the record of everything they did.

use chrono::{DateTime, Utc};
use ids::SagaId;
use saga_core::Millis;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use super::codec::{millis, readable};
use super::reader::{MAX_ROWS, ReadError};

/// Latest instant of an entry, in microseconds: the end of the year 9998.
const LATEST_MICROS: i64 = 253_370_764_800_000_000;

/// A type whose sagas make no calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PausedType {
    /// Name of the definition.
    pub saga_type: String,
    /// Who paused it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Millis,
}

/// What pausing a type led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypePause {
    /// The pause that there is now.
    pub paused: PausedType,
    /// False if it was paused before; nothing changed then.
    pub changed: bool,
}

/// Where an entry of the audit stands in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditKey {
    at_micros: i64,
    /// Nil for actions on types.
    saga: Uuid,
    entry: i64,
}

impl AuditKey {
    /// Returns the key as bytes, for a page token.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.at_micros.to_be_bytes());
        bytes[8..24].copy_from_slice(self.saga.as_bytes());
        bytes[24..].copy_from_slice(&self.entry.to_be_bytes());
        bytes
    }

    /// Reads a key from bytes; none if they are not one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (at, rest) = bytes.split_first_chunk()?;
        let (saga, entry) = rest.split_first_chunk()?;
        let key = Self {
            at_micros: i64::from_be_bytes(*at),
            saga: Uuid::from_bytes(*saga),
            entry: i64::from_be_bytes(entry.try_into().ok()?),
        };
        // An instant that the database cannot hold is in no token of ours.
        (0..=LATEST_MICROS).contains(&key.at_micros).then_some(key)
    }

    fn at(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.at_micros).unwrap_or_default()
    }
}

/// One thing that an operator did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Where it stands in the order.
    pub key: AuditKey,
    /// When.
    pub at: Millis,
    /// Who.
    pub actor: String,
    /// What: the name of an action on a saga, or `pause_type`, `resume_type`.
    pub action: String,
    /// The saga; none for actions on a type.
    pub saga: Option<SagaId>,
    /// The type, or the saga's type.
    pub saga_type: String,
    /// The step, where one is concerned.
    pub step: Option<String>,
    /// Its index.
    pub index: Option<u32>,
    /// `action` or `compensation`.
    pub op: Option<String>,
    /// Why.
    pub reason: String,
    /// What proves it; empty where nothing had to.
    pub evidence: String,
    /// The saga's version on which it was decided.
    pub version: Option<u32>,
}

/// Which entries of the audit to list; the default is all of them.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// About this saga only.
    pub saga: Option<SagaId>,
    /// By this operator only.
    pub actor: Option<String>,
    /// About this type and its sagas only.
    pub saga_type: Option<String>,
}

/// Acts on types, and reads the audit. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Operators {
    pool: PgPool,
}

impl Operators {
    /// Works through this pool.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Pauses a type, and records who did and why in the same statement. Instances learn of it with their next heartbeat.
    /// Whether the type exists is for the caller to know.
    ///
    /// # Errors
    /// The database does not answer. Nothing was done then, or all of it.
    pub async fn pause_type(
        &self,
        saga_type: &str,
        actor: &str,
        reason: &str,
    ) -> Result<TypePause, ReadError> {
        loop {
            let fresh: Option<PausedRow> = sqlx::query_as(
                "with paused as (
                    insert into saga.paused_type (type, actor, reason, since) values ($1, $2, $3, clock_timestamp())
                    on conflict on constraint paused_type_pkey do nothing
                    returning type, actor, reason, since
                 ), noted as (
                    insert into saga.type_action (at, action, type, actor, reason)
                    select since, 'pause_type', type, actor, reason from paused
                 )
                 select type, actor, reason, since from paused",
            )
            .bind(saga_type)
            .bind(readable(actor))
            .bind(readable(reason))
            .fetch_optional(&self.pool)
            .await?;
            if let Some(row) = fresh {
                return Ok(TypePause {
                    paused: row.paused(),
                    changed: true,
                });
            }
            let before: Option<PausedRow> =
                sqlx::query_as("select type, actor, reason, since from saga.paused_type where type = $1")
                    .bind(saga_type)
                    .fetch_optional(&self.pool)
                    .await?;
            // Resumed in between: this pause comes after that.
            if let Some(row) = before {
                return Ok(TypePause {
                    paused: row.paused(),
                    changed: false,
                });
            }
        }
    }

    /// Ends the pause of a type, and records who did and why in the same statement; false if it was not paused.
    ///
    /// # Errors
    /// The database does not answer. Nothing was done then, or all of it.
    pub async fn resume_type(&self, saga_type: &str, actor: &str, reason: &str) -> Result<bool, ReadError> {
        let resumed: i64 = sqlx::query_scalar(
            "with resumed as (
                delete from saga.paused_type where type = $1 returning type
             ), noted as (
                insert into saga.type_action (at, action, type, actor, reason)
                select clock_timestamp(), 'resume_type', type, $2, $3 from resumed
             )
             select count(*) from resumed",
        )
        .bind(saga_type)
        .bind(readable(actor))
        .bind(readable(reason))
        .fetch_one(&self.pool)
        .await?;
        Ok(resumed == 1)
    }

    /// Lists the types that are paused, by name.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn paused_types(&self) -> Result<Vec<PausedType>, ReadError> {
        let rows: Vec<PausedRow> =
            sqlx::query_as("select type, actor, reason, since from saga.paused_type order by type")
                .fetch_all(&self.pool)
                .await?;
        Ok(rows.into_iter().map(PausedRow::paused).collect())
    }

    /// Lists what operators did, newest first, at most `rows` (1 to 501) of what came before the entry at `before`.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        rows: u32,
        before: Option<AuditKey>,
    ) -> Result<Vec<AuditEntry>, ReadError> {
        let asks_for_nul = [&filter.actor, &filter.saga_type]
            .into_iter()
            .flatten()
            .any(|text| text.contains('\0'));
        if asks_for_nul {
            return Ok(Vec::new());
        }
        let rows: Vec<AuditRow> = audit_query(filter, rows, before)
            .build_query_as()
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(AuditRow::entry).collect())
    }
}

/// Two branches, each in the order of its index, so that a page reads no more rows of either than it has.
fn audit_query(filter: &AuditFilter, rows: u32, before: Option<AuditKey>) -> QueryBuilder<Postgres> {
    let limit = i64::from(rows.clamp(1, MAX_ROWS));
    let mut query = QueryBuilder::new(
        "select * from ((
            select
                e.at, e.actor, e.class as action, e.saga_id, d.name as type,
                coalesce(d.steps[e.step + 1], case when e.step is not null then d.epilogue end) as step,
                e.idx, e.op, e.operator ->> 'note' as reason, e.operator ->> 'evidence' as evidence,
                e.seq + case when i.ended_at <= e.at and e.class = 'acknowledge' then 1 else 0 end as version,
                e.seq::bigint as entry
            from saga.event e
            join saga.instance i on i.id = e.saga_id
            join saga.definition d on d.id = i.definition_id
            where e.kind = 'operator'",
    );
    if let Some(before) = before {
        query
            .push(" and (e.at, e.saga_id, e.seq) < (")
            .push_bind(before.at())
            .push(", ")
            .push_bind(before.saga)
            .push(", ")
            .push_bind(before.entry)
            .push(")");
    }
    if let Some(saga) = filter.saga {
        query.push(" and e.saga_id = ").push_bind(saga.uuid());
    }
    if let Some(actor) = &filter.actor {
        query.push(" and e.actor = ").push_bind(actor.clone());
    }
    if let Some(saga_type) = &filter.saga_type {
        query.push(" and d.name = ").push_bind(saga_type.clone());
    }
    query
        .push(" order by e.at desc, e.saga_id desc, e.seq desc limit ")
        .push_bind(limit)
        .push(")");
    if filter.saga.is_none() {
        query.push(
            " union all (
                select
                    a.at, a.actor, a.action, null, a.type, null, null, null, a.reason, null, null, a.id
                from saga.type_action a
                where true",
        );
        if let Some(before) = before {
            // At the same instant the actions on types come last.
            let entry = if before.saga.is_nil() {
                before.entry
            } else {
                i64::MAX
            };
            query
                .push(" and (a.at, a.id) < (")
                .push_bind(before.at())
                .push(", ")
                .push_bind(entry)
                .push(")");
        }
        if let Some(actor) = &filter.actor {
            query.push(" and a.actor = ").push_bind(actor.clone());
        }
        if let Some(saga_type) = &filter.saga_type {
            query.push(" and a.type = ").push_bind(saga_type.clone());
        }
        query
            .push(" order by a.at desc, a.id desc limit ")
            .push_bind(limit)
            .push(")");
    }
    query
        .push(") u order by at desc, saga_id desc nulls last, entry desc limit ")
        .push_bind(limit);
    query
}

#[derive(Debug, FromRow)]
struct PausedRow {
    r#type: String,
    actor: String,
    reason: String,
    since: DateTime<Utc>,
}

impl PausedRow {
    fn paused(self) -> PausedType {
        PausedType {
            saga_type: self.r#type,
            actor: self.actor,
            reason: self.reason,
            since: millis(self.since),
        }
    }
}

#[derive(Debug, FromRow)]
struct AuditRow {
    at: DateTime<Utc>,
    actor: Option<String>,
    action: Option<String>,
    saga_id: Option<Uuid>,
    r#type: String,
    step: Option<String>,
    idx: Option<i32>,
    op: Option<String>,
    reason: Option<String>,
    evidence: Option<String>,
    version: Option<i32>,
    entry: i64,
}

impl AuditRow {
    fn entry(self) -> AuditEntry {
        let number = |n: i32| u32::try_from(n).unwrap_or(0);
        AuditEntry {
            key: AuditKey {
                at_micros: self.at.timestamp_micros(),
                saga: self.saga_id.unwrap_or_default(),
                entry: self.entry,
            },
            at: millis(self.at),
            actor: self.actor.unwrap_or_default(),
            action: self.action.unwrap_or_default(),
            saga: self.saga_id.map(SagaId::from_uuid),
            saga_type: self.r#type,
            step: self.step,
            index: self.idx.map(number),
            op: self.op,
            reason: self.reason.unwrap_or_default(),
            evidence: self.evidence.unwrap_or_default(),
            version: self.version.map(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_is_read_back(at_micros in 0..4_000_000_000_000_000_i64, saga: u128, entry in 0..i64::MAX) {
            let key = AuditKey { at_micros, saga: Uuid::from_u128(saga), entry };
            prop_assert_eq!(AuditKey::from_bytes(&key.to_bytes()), Some(key));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let key = AuditKey::from_bytes(&bytes);
            prop_assert!(bytes.len() == 32 || key.is_none());
        }
    }
}
