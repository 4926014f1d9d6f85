//! What must hold, during and after: each function returns what breaks it, and nothing is good.

use std::time::Duration;

use e2e::{Platform, under_way};
use sqlx::PgPool;

use crate::world::World;

/// What is open, and is to be settled: by itself, or by an operator.
pub(crate) async fn open(db: &PgPool) -> Vec<String> {
    let mut open = under_way(db).await;
    let more: Vec<String> = sqlx::query_scalar(
        "select 'check of ' || subject || ' ' || subject_id from billing.provider_checks
         union all select 'order ' || order_number || ' is ' || status from billing.orders
            where status in ('PENDING', 'PAID')
         union all select 'saga ' || id || ' ' || business_type || ' at ' || coalesce(current_step, 'its end')
            from saga.saga_instances where status in ('RUNNING', 'COMPENSATING')
         union all select 'case ' || kind || ' of ' || number from billing.cases where resolved_at is null
         union all select 'device of ' || a.order_id
            from doubles.allocation a
            join billing.orders o on a.order_id = 'order_' || replace(o.id::text, '-', '')
            join saga.saga_instances s on s.saga_uuid = o.saga_id
            where a.state = 'allocated' and s.status = 'COMPENSATED'",
    )
    .fetch_all(db)
    .await
    .expect("the database answers");
    open.extend(more);
    open.sort();
    open.dedup();
    open
}

/// Payments that have been REFUNDING for longer than this, and no operator was told.
pub(crate) async fn neglected(db: &PgPool, after: Duration) -> Vec<String> {
    sqlx::query_scalar(
        "select 'payment ' || p.channel_order_no || ' is REFUNDING since ' || r.created_at || ', without a case'
         from billing.payments p
         join lateral (
            select * from billing.refunds where payment_id = p.id order by created_at desc, id desc limit 1
         ) r on true
         where p.status = 'REFUNDING' and r.created_at < clock_timestamp() - make_interval(secs => $1)
           and not exists (
              select 1 from billing.cases c
              where c.subject = 'refund' and c.subject_id = r.id
                and coalesce(c.resolved_at, 'infinity') > clock_timestamp() - make_interval(secs => $1))",
    )
    .bind(after.as_secs_f64())
    .fetch_all(db)
    .await
    .expect("the database answers")
}

/// All that must hold once nothing is open.
pub(crate) async fn broken(platform: &Platform, world: &World) -> Vec<String> {
    let mut broken = world.complaints();
    broken.extend(world.billing.disagreements(platform).await);
    broken.extend(platform.drift().err());
    broken.extend(granted_otherwise(&world.db).await);
    broken.extend(devices_astray(&world.db).await);
    broken
}

/// Quota that was not granted exactly once for an order that was completed, or not taken back in the measure of its refunds.
/// Nobody consumes any.
pub(crate) async fn granted_otherwise(db: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "with sold as (
            select o.*, coalesce(l.quantity, 0) as quota,
                   (select count(*) from quota.quota_grant g
                    where g.source_type = 'order' and g.source_id = 'order_' || replace(o.id::text, '-', '')) as grants
            from billing.orders o left join billing.order_lines l on l.order_id = o.id and l.kind = 'QUOTA'
         ), had as (
            select s.*, g.amount as granted, g.remaining,
                   coalesce((
                      select sum(s.quota * r.amount / p.amount)::bigint
                      from billing.refunds r join billing.payments p on p.id = r.payment_id
                      where p.order_id = s.id and not p.late and r.status = 'SUCCEEDED'), 0) as back
            from sold s left join quota.quota_grant g
              on g.source_type = 'order' and g.source_id = 'order_' || replace(s.id::text, '-', '')
         )
         select order_number || ' is ' || status || ': sold ' || quota || ', ' || grants || ' grants of '
                || coalesce(granted, 0) || ', left ' || coalesce(remaining, 0) || ', to be taken back ' || back
         from had
         where case status
            when 'COMPLETED' then grants <> least(quota, 1)
               or (quota > 0 and (granted <> quota or remaining <> quota - back))
            when 'REFUNDED' then grants > 1 or coalesce(remaining, 0) <> 0
            else grants <> 0
         end",
    )
    .fetch_all(db)
    .await
    .expect("the database answers")
}

/// Orders that were completed without the device that they need, or with another one than the allocator gave them.
async fn devices_astray(db: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select o.order_number || ' has the device ' || coalesce(o.device_id, 'none') || ', and was given '
                || coalesce(a.device_id, 'none')
         from billing.orders o
         join billing.plan_versions p on p.plan_id = o.plan_id and p.version = o.plan_version and p.needs_device
         join saga.saga_instances s on s.saga_uuid = o.saga_id and s.status = 'COMPLETED'
         left join doubles.allocation a
           on a.order_id = 'order_' || replace(o.id::text, '-', '') and a.state = 'allocated'
         where a.device_id is null or o.device_id is distinct from a.device_id",
    )
    .fetch_all(db)
    .await
    .expect("the database answers")
}
