//! What operators do about sagas that nobody drives: releasing parked ones, taking note of ended ones.
//!
//! Each is one transaction that holds the fence and then the saga's row, so that of two operators one is first and the
//! other sees what the first one did. A process that dies on the way leaves nothing, or all of it.

use ids::SagaId;
use saga_core::{Event, Recorded};
use saga_engine::{JournalError, Noted};
use sqlx::{Postgres, Transaction};

use super::codec::{EventColumns, FORMAT, readable, timestamp};
use super::fence::unknown;
use super::{PgJournal, Resolver};

/// A saga's row, locked.
struct Locked {
    ended: bool,
    quarantined: bool,
    needs_attention: bool,
    ours: bool,
    events: u32,
}

impl<R: Resolver> PgJournal<R> {
    /// Lets a parked saga be driven again. Its own attention stays; that it was parked is no longer a reason for any.
    pub(super) async fn unpark(
        &self,
        saga: SagaId,
        expected_version: u32,
        recorded: &Recorded,
    ) -> Result<Noted, JournalError> {
        let in_flight = self.fence.in_flight();
        let mut transaction = self.begin_fenced().await?;
        let noted = match lock(&mut transaction, saga, &self.fence.instance).await? {
            Some(found) if found.ours && !found.ended => {
                if found.events != expected_version {
                    Noted::Changed {
                        version: found.events,
                    }
                } else if found.quarantined {
                    append(&mut transaction, saga, found.events, recorded).await?;
                    sqlx::query(
                        "update saga.instance i set
                            quarantined = false,
                            claims = 0,
                            format = greatest(i.format, $2),
                            attention = rest.attention,
                            needs_attention = rest.attention is not null
                         from (
                            select json_agg(a.value order by a.position) as attention
                            from saga.instance o
                            cross join json_array_elements(coalesce(o.attention, '[]')) with ordinality a (value, position)
                            where o.id = $1 and a.value ->> 'cause' <> 'QUARANTINED'
                         ) rest
                         where i.id = $1",
                    )
                    .bind(saga.uuid())
                    .bind(FORMAT)
                    .execute(&mut *transaction)
                    .await
                    .map_err(unknown)?;
                    Noted::Done
                } else {
                    Noted::NotAllowed
                }
            }
            Some(_) | None => Noted::NotAllowed,
        };
        transaction.commit().await.map_err(unknown)?;
        in_flight.answered();
        Ok(noted)
    }

    /// Takes note of what needs attention about a saga that has ended, whoever drove it.
    pub(super) async fn note_attention(
        &self,
        saga: SagaId,
        expected_version: u32,
        recorded: &Recorded,
    ) -> Result<Noted, JournalError> {
        let in_flight = self.fence.in_flight();
        let mut transaction = self.begin_fenced().await?;
        let noted = match lock(&mut transaction, saga, &self.fence.instance).await? {
            Some(found) if found.ended => {
                // The end counts, and is no event.
                let version = found.events.saturating_add(1);
                if version != expected_version {
                    Noted::Changed { version }
                } else if found.needs_attention {
                    append(&mut transaction, saga, found.events, recorded).await?;
                    sqlx::query(
                        "update saga.instance i set
                            attention = null, needs_attention = false, format = greatest(i.format, $2)
                         where i.id = $1",
                    )
                    .bind(saga.uuid())
                    .bind(FORMAT)
                    .execute(&mut *transaction)
                    .await
                    .map_err(unknown)?;
                    Noted::Done
                } else {
                    Noted::NotAllowed
                }
            }
            Some(_) | None => Noted::NotAllowed,
        };
        transaction.commit().await.map_err(unknown)?;
        in_flight.answered();
        Ok(noted)
    }

    /// Begins a transaction that holds the fence until it ends (rule 8).
    async fn begin_fenced(&self) -> Result<Transaction<'static, Postgres>, JournalError> {
        let fence = self.fence.seen();
        let mut transaction = self.pool.begin().await.map_err(unknown)?;
        let held: Option<i32> = sqlx::query_scalar(
            "select 1 from saga.replica where id = $1 and epoch = $2 and incarnation = $3 for share",
        )
        .bind(&*self.fence.instance)
        .bind(fence.epoch)
        .bind(fence.incarnation)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(unknown)?;
        if held.is_none() {
            self.check_fence().await?;
            return Err(JournalError::Unknown(
                "a connection was lost meanwhile; ask again".into(),
            ));
        }
        Ok(transaction)
    }
}

/// Locks a saga's row, and counts its events once nobody else can add any.
async fn lock(
    transaction: &mut Transaction<'static, Postgres>,
    saga: SagaId,
    instance: &str,
) -> Result<Option<Locked>, JournalError> {
    let row: Option<(bool, bool, bool, bool)> = sqlx::query_as(
        "select ended_at is not null, quarantined, needs_attention, owner = $2
         from saga.instance
         where id = $1 and format <= $3
         for update",
    )
    .bind(saga.uuid())
    .bind(instance)
    .bind(FORMAT)
    .fetch_optional(&mut **transaction)
    .await
    .map_err(unknown)?;
    let Some((ended, quarantined, needs_attention, ours)) = row else {
        return Ok(None);
    };
    // A statement of its own: it sees what was committed while the lock was waited for.
    let events: i64 = sqlx::query_scalar("select count(*) from saga.event where saga_id = $1")
        .bind(saga.uuid())
        .fetch_one(&mut **transaction)
        .await
        .map_err(unknown)?;
    Ok(Some(Locked {
        ended,
        quarantined,
        needs_attention,
        ours,
        events: u32::try_from(events).unwrap_or(u32::MAX),
    }))
}

async fn append(
    transaction: &mut Transaction<'static, Postgres>,
    saga: SagaId,
    seq: u32,
    recorded: &Recorded,
) -> Result<(), JournalError> {
    let columns = EventColumns::of(&recorded.event);
    debug_assert!(
        matches!(recorded.event, Event::Operator { .. }),
        "nothing else is written of a saga at rest"
    );
    sqlx::query(
        "insert into saga.event (saga_id, at, seq, kind, class, actor, operator)
         values ($1, $2, $3, $4, $5, $6, $7::json)",
    )
    .bind(saga.uuid())
    .bind(timestamp(recorded.at))
    .bind(i32::try_from(seq).unwrap_or(i32::MAX))
    .bind(columns.kind)
    .bind(columns.class)
    .bind(recorded.actor.as_deref().map(readable))
    .bind(columns.operator)
    .execute(&mut **transaction)
    .await
    .map_err(unknown)?;
    Ok(())
}
