//! Lease and takeover.

use std::time::{Duration, Instant};

use ids::SagaId;
use saga_engine::{Beat, JournalError};
use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio::time::timeout;
use uuid::Uuid;

use super::codec::FORMAT;
use super::fence::{ms, unknown};
use super::{Config, PgJournal, Resolver, sql};

/// Dead instances looked at in one call before it gives up and waits for the next.
const CANDIDATES: usize = 8;
/// How often rows of instances that are long dead are looked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(3_600);

/// What a takeover remembers from one chunk to the next.
#[derive(Debug, Default)]
pub(super) struct Takeover {
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Sagas of a chunk whose move was sent and not answered: they may have become ours.
    unanswered: Vec<Uuid>,
    tidied_at: Option<Instant>,
}

/// A dead instance whose epoch we have bumped.
#[derive(Debug)]
struct Dead {
    id: String,
    epoch: i64,
}

/// Writes the instance's row under a new epoch. Waits for writes of a predecessor that hold its fence.
pub(super) async fn register(pool: &PgPool, config: &Config) -> Result<(i64, i32), sqlx::Error> {
    sqlx::query_as(
        "insert into saga.replica as r (id, epoch, address, expires_at, heartbeat_at, started_at, leased_since)
         select $1, nextval('saga.epoch'), $2, t + $3 * interval '1 ms', t, t, t
         from (select clock_timestamp() as t) c
         on conflict (id) do update set
            epoch = greatest(r.epoch + 1, excluded.epoch),
            incarnation = 0,
            address = excluded.address,
            expires_at = clock_timestamp() + $3 * interval '1 ms',
            heartbeat_at = clock_timestamp(),
            started_at = clock_timestamp(),
            leased_since = clock_timestamp(),
            given_up = false,
            taken_by = null
         returning epoch, incarnation",
    )
    .bind(&config.instance)
    .bind(&config.address)
    .bind(ms(config.lease))
    .fetch_one(pool)
    .await
}

impl<R: Resolver> PgJournal<R> {
    /// Renews the lease, and looks which types are paused.
    ///
    /// A renewal that comes later than half a lease after the last one begins a new time without a gap: the database may
    /// have been away for so long that the lease of somebody else, renewed a little earlier, has run out.
    pub(super) async fn renew_lease(&self) -> Result<Beat, JournalError> {
        let renewal = sqlx::query_scalar(
            "update saga.replica set
                leased_since = case
                    when least(expires_at, heartbeat_at + $3 * interval '1 ms' / 2) < clock_timestamp() then clock_timestamp()
                    else leased_since
                end,
                expires_at = clock_timestamp() + $3 * interval '1 ms',
                heartbeat_at = clock_timestamp()
             where id = $1 and epoch = $2
             returning array(select type from saga.paused_type order by type)",
        )
        .bind(&*self.fence.instance)
        .bind(self.fence.epoch)
        .bind(ms(self.lease))
        .fetch_optional(&self.pool);
        // A renewal that takes longer than the lease is of no use.
        let paused: Option<Vec<String>> = match timeout(self.lease, renewal).await {
            Ok(renewed) => renewed.map_err(unknown)?,
            Err(elapsed) => return Err(JournalError::Unknown(Box::new(elapsed))),
        };
        let paused = paused.ok_or(JournalError::Fenced)?;
        Ok(Beat {
            paused_types: paused.into_iter().map(Into::into).collect(),
        })
    }

    /// Ends the lease, and the epoch with it: a renewal or a write that is still on its way comes to nothing, and whoever
    /// looks next finds the sagas free to be taken over.
    pub(super) async fn give_up_lease(&self) -> Result<(), JournalError> {
        let given_up = sqlx::query(
            "update saga.replica set
                epoch = greatest(epoch + 1, nextval('saga.epoch')),
                given_up = true,
                expires_at = clock_timestamp()
             where id = $1 and epoch = $2",
        )
        .bind(&*self.fence.instance)
        .bind(self.fence.epoch)
        .execute(&self.pool)
        .await
        .map_err(unknown)?;
        if given_up.rows_affected() == 1 {
            tracing::info!(instance = &*self.fence.instance, "the lease is given up");
            Ok(())
        } else {
            Err(JournalError::Fenced)
        }
    }

    pub(super) async fn take_over_chunk(&self, limit: usize) -> Result<Vec<SagaId>, JournalError> {
        let mut memory = self.takeover.memory.lock().await;
        self.check_fence().await?;
        if !memory.unanswered.is_empty() {
            self.fence.settle(&self.pool).await?;
            let arrived = self.arrived(&memory.unanswered).await?;
            memory.unanswered.clear();
            if !arrived.is_empty() {
                return Ok(arrived);
            }
        }
        for _ in 0..CANDIDATES {
            let Some(dead) = self.next_dead().await? else {
                break;
            };
            let sagas = self.sagas_of(&dead.id, limit).await?;
            if sagas.is_empty() {
                continue;
            }
            memory.unanswered.clone_from(&sagas);
            let moved = self.move_sagas(&dead, sagas).await?;
            memory.unanswered.clear();
            if !moved.is_empty() {
                tracing::warn!(
                    instance = dead.id,
                    sagas = moved.len(),
                    "took over sagas of a dead instance"
                );
                return Ok(moved);
            }
        }
        if memory.tidied_at.is_none_or(|at| at.elapsed() > TIDY_INTERVAL) {
            self.tidy().await?;
            memory.tidied_at = Some(Instant::now());
        }
        Ok(Vec::new())
    }

    /// Returns an instance that is dead and has unfinished sagas, fenced by us.
    ///
    /// Only while our own lease has been held for its whole length without a gap: after an outage of the database the
    /// leases have run out, and everybody gets the time to renew before anybody takes over. An instance that has given its lease up
    /// is dead without doubt: in a rolling restart nobody may have held a lease for long.
    async fn next_dead(&self) -> Result<Option<Dead>, JournalError> {
        let token = format!("{} {}", self.fence.instance, self.fence.epoch);
        let candidate: Option<(String, i64, bool)> = sqlx::query_as(
            "select r.id, r.epoch, r.taken_by is not distinct from $3 as ours
             from saga.replica me
             join saga.replica r on r.id <> me.id and (r.expires_at < clock_timestamp() or r.taken_by = $3)
             where me.id = $1
                and me.epoch = $2
                and me.expires_at > clock_timestamp()
                and (r.given_up or me.leased_since <= clock_timestamp() - $4 * interval '1 ms')
                and exists (
                    select 1
                    from saga.instance i
                    where i.owner = r.id and i.phase in ('RUNNING', 'COMPENSATING') and i.format <= $5
                )
             order by ours desc, r.id
             limit 1",
        )
        .bind(&*self.fence.instance)
        .bind(self.fence.epoch)
        .bind(&token)
        .bind(ms(self.lease))
        .bind(FORMAT)
        .fetch_optional(&self.pool)
        .await
        .map_err(unknown)?;
        let Some((id, epoch, ours)) = candidate else {
            return Ok(None);
        };
        let epoch = if ours {
            self.extend(&id, epoch, &token).await
        } else {
            self.bump(&id, &token).await
        };
        Ok(epoch.map_err(unknown)?.map(|epoch| Dead { id, epoch }))
    }

    /// Keeps others from a takeover that we are in the middle of.
    async fn extend(&self, id: &str, epoch: i64, token: &str) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query_scalar(
            "update saga.replica set expires_at = clock_timestamp() + $4 * interval '1 ms'
             where id = $1 and epoch = $2 and taken_by = $3
             returning epoch",
        )
        .bind(id)
        .bind(epoch)
        .bind(token)
        .bind(ms(self.lease))
        .fetch_optional(&self.pool)
        .await
    }

    /// Fences a dead instance: after the commit nothing is written under its old epoch (rule 8).
    ///
    /// The lock waits for its writes that hold the fence; the expiry is looked at again when the lock is held. Another
    /// instance that waits for the same lock finds the expiry moved and leaves this one alone.
    async fn bump(&self, id: &str, token: &str) -> Result<Option<i64>, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("set local lock_timeout = '2s'")
            .execute(&mut *transaction)
            .await?;
        let locked = sqlx::query(
            "select 1 from saga.replica where id = $1 and expires_at < clock_timestamp() for update",
        )
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await;
        match locked {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            // Its writes leave no gap: it is not as dead as it looks. The next look may find one.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55P03") => return Ok(None),
            Err(error) => return Err(error),
        }
        let epoch = sqlx::query_scalar(
            "update saga.replica set
                epoch = greatest(epoch + 1, nextval('saga.epoch')),
                taken_by = $2,
                expires_at = clock_timestamp() + $3 * interval '1 ms'
             where id = $1 and expires_at < clock_timestamp()
             returning epoch",
        )
        .bind(id)
        .bind(token)
        .bind(ms(self.lease))
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(epoch)
    }

    async fn sagas_of(&self, owner: &str, limit: usize) -> Result<Vec<Uuid>, JournalError> {
        sqlx::query_scalar(
            "select id from saga.instance
             where owner = $1 and phase in ('RUNNING', 'COMPENSATING') and format <= $2
             order by id
             limit $3",
        )
        .bind(owner)
        .bind(FORMAT)
        .bind(i64::try_from(limit.max(1)).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(unknown)
    }

    /// Moves sagas to this instance if both fences hold: ours, and that of the dead one, which an instance that was
    /// started again under its name has broken.
    async fn move_sagas(&self, dead: &Dead, sagas: Vec<Uuid>) -> Result<Vec<SagaId>, JournalError> {
        let fence = self.fence.seen();
        let in_flight = self.fence.in_flight();
        let (ours, mut moved): (i64, Vec<Uuid>) = sqlx::query_as(
            "with me as materialized (
                select 1 from saga.replica where id = $1 and epoch = $2 and incarnation = $3 for share
             ), dead as materialized (
                select 1 from me cross join saga.replica r where r.id = $4 and r.epoch = $5 for share of r
             ), picked as (
                select i.id
                from dead
                join saga.instance i on i.id = any ($6)
                where i.owner = $4 and i.phase in ('RUNNING', 'COMPENSATING')
                order by i.id
                for update of i
             ), moved as (
                update saga.instance i set owner = $1 from picked p where i.id = p.id returning i.id
             )
             select (select count(*) from me), array(select id from moved)",
        )
        .bind(&*self.fence.instance)
        .bind(fence.epoch)
        .bind(fence.incarnation)
        .bind(&dead.id)
        .bind(dead.epoch)
        .bind(sagas)
        .fetch_one(&self.pool)
        .await
        .map_err(unknown)?;
        in_flight.answered();
        if ours == 0 {
            self.check_fence().await?;
        }
        moved.sort_unstable();
        Ok(moved.into_iter().map(SagaId::from_uuid).collect())
    }

    /// Returns those of `sagas` that are ours and unfinished.
    async fn arrived(&self, sagas: &[Uuid]) -> Result<Vec<SagaId>, JournalError> {
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "select id from saga.instance
             where id = any ($1) and owner = $2 and phase in ('RUNNING', 'COMPENSATING')
             order by id",
        )
        .bind(sagas)
        .bind(&*self.fence.instance)
        .fetch_all(&self.pool)
        .await
        .map_err(unknown)?;
        Ok(ids.into_iter().map(SagaId::from_uuid).collect())
    }

    /// Fails if this instance was replaced.
    pub(super) async fn check_fence(&self) -> Result<(), JournalError> {
        let now = sqlx::query_as(sql::FENCE_NOW)
            .bind(&*self.fence.instance)
            .fetch_optional(&self.pool)
            .await
            .map_err(unknown)?;
        self.fence.refresh(now)
    }

    /// Forgets instances that are dead for a day and have nothing left to take over.
    async fn tidy(&self) -> Result<(), JournalError> {
        sqlx::query(
            "delete from saga.replica r
             where r.expires_at < clock_timestamp() - interval '1 day'
                and r.id <> $1
                and not exists (
                    select 1
                    from saga.instance i
                    where i.owner = r.id and i.phase in ('RUNNING', 'COMPENSATING')
                )",
        )
        .bind(&*self.fence.instance)
        .execute(&self.pool)
        .await
        .map_err(unknown)?;
        Ok(())
    }
}
