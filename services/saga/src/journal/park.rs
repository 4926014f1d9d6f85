//! Sagas that break things: counting their loads, parking them (rule 11).

use ids::SagaId;
use saga_core::Millis;
use saga_engine::JournalError;
use uuid::Uuid;

use super::codec::{parked_json, rfc3339};
use super::fence::unknown;
use super::{PgJournal, Resolver};

pub(super) const COUNT_CLAIMS: &str = "
    with fence as materialized (
        select 1 from saga.replica where id = $1 and epoch = $2 for share
    ), picked as (
        select i.id
        from fence
        join saga.instance i on i.id = any ($3)
        where i.owner = $1 and i.phase in ('RUNNING', 'COMPENSATING')
        order by i.id
        for update of i
    ), counted as (
        update saga.instance i set claims = least(i.claims + 1, 32767) from picked p where i.id = p.id
    )
    select count(*) from fence";

pub(super) const CLEAR_CLAIMS: &str = "
    with fence as materialized (
        select 1 from saga.replica where id = $1 and epoch = $2 for share
    ), picked as (
        select i.id
        from fence
        join saga.instance i on i.id = any ($3)
        where i.owner = $1 and i.claims > 0 and i.phase in ('RUNNING', 'COMPENSATING')
        order by i.id
        for update of i
    ), cleared as (
        update saga.instance i set claims = 0 from picked p where i.id = p.id
    )
    select count(*) from fence";

impl<R: Resolver> PgJournal<R> {
    pub(super) async fn change_claims(
        &self,
        sagas: &[SagaId],
        statement: &'static str,
    ) -> Result<(), JournalError> {
        let ids: Vec<Uuid> = sagas.iter().map(|saga| saga.uuid()).collect();
        let fenced: i64 = sqlx::query_scalar(statement)
            .bind(&*self.fence.instance)
            .bind(self.fence.epoch)
            .bind(ids)
            .fetch_one(&self.pool)
            .await
            .map_err(unknown)?;
        if fenced == 1 {
            Ok(())
        } else {
            Err(JournalError::Fenced)
        }
    }

    /// Parks a saga and tells people, once.
    pub(super) async fn park(&self, saga: SagaId, why: &str) -> Result<(), JournalError> {
        tracing::error!(saga_id = %saga, why, "the saga is parked");
        let since = Millis(chrono::Utc::now().timestamp_millis());
        let fenced: i64 = sqlx::query_scalar(
            "with fence as materialized (
                select 1 from saga.replica where id = $1 and epoch = $2 for share
             ), before as materialized (
                select i.id, i.needs_attention
                from fence
                join saga.instance i on i.id = $3
                where i.owner = $1 and not i.quarantined and i.phase in ('RUNNING', 'COMPENSATING')
                for update of i
             ), parked as (
                update saga.instance i set
                    quarantined = true,
                    needs_attention = true,
                    attention = (coalesce(i.attention::jsonb, '[]') || $4::jsonb)::json
                from before b
                where i.id = b.id
                returning i.id, i.definition_id, i.business_id, i.traceparent
             ), told as (
                insert into saga.outbox (id, created_at, topic, key, traceparent, data)
                select $5, clock_timestamp(), 'saga.attention', saga.saga_text(p.id), p.traceparent, jsonb_build_object(
                    'sagaId', saga.saga_text(p.id),
                    'type', d.name,
                    'businessId', p.business_id,
                    'cause', 'QUARANTINED',
                    'timestamp', $6::text
                )
                from parked p
                join before b on b.id = p.id
                join saga.definition d on d.id = p.definition_id
                where not b.needs_attention
             )
             select count(*) from fence",
        )
        .bind(&*self.fence.instance)
        .bind(self.fence.epoch)
        .bind(saga.uuid())
        .bind(parked_json(since, why))
        .bind(Uuid::now_v7())
        .bind(rfc3339(since))
        .fetch_one(&self.pool)
        .await
        .map_err(unknown)?;
        if fenced == 1 {
            Ok(())
        } else {
            Err(JournalError::Fenced)
        }
    }
}
