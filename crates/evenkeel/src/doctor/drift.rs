//! The product's promise (DESIGN section 7) on a live system: paid − refunded = value that stands; granted = bought;
//! consumed = confirmed by finished tasks.
//!
//! What a running saga is about to change is left out: it is not drift but work.

use sqlx::{Connection as _, PgConnection};

use super::Report;
use crate::exit::Failure;
use crate::wiring::database;

/// Most differences that are counted of each kind.
const MOST: i64 = 1000;

/// A promise over several schemas: its name, what is said when it holds, and the query for what breaks it.
struct Promise {
    name: &'static str,
    kept: &'static str,
    sql: &'static str,
}

const PROMISES: [Promise; 3] = [
    Promise {
        name: "money",
        kept: "paid − refunded is the value of the orders that stand",
        sql: "with quiet as (
                select o.* from billing.orders o
                where not exists (
                    select 1 from billing.refunds r join saga.saga_instances s on s.saga_uuid = r.saga_id
                    where r.order_id = o.id and s.status in ('RUNNING', 'COMPENSATING'))
              )
              select o.order_number || ': paid ' || p.paid || ', refunded ' || p.refunded || ', stands for ' || v.value
              from quiet o
              cross join lateral (
                select coalesce(sum(amount), 0) as paid, coalesce(sum(refunded_amount), 0) as refunded
                from billing.payments
                where order_id = o.id and not late and status in ('SUCCESS', 'REFUNDING', 'REFUNDED')) p
              cross join lateral (
                select case when o.status in ('PAID', 'COMPLETED') then o.final_amount - o.refunded_amount else 0 end
                    as value) v
              where p.paid - p.refunded <> v.value",
    },
    Promise {
        name: "value",
        kept: "every order that stands granted what it sold, and no other one did",
        sql: "with quiet as (
                select o.*, 'order_' || replace(o.id::text, '-', '') as text_id
                from billing.orders o
                where o.status <> 'PAID' and not exists (
                    select 1 from saga.saga_instances s
                    where s.status in ('RUNNING', 'COMPENSATING')
                      and (s.saga_uuid = o.saga_id
                           or s.saga_uuid in (select saga_id from billing.refunds r where r.order_id = o.id)))
              ), sold as (
                select o.id, coalesce(sum(l.quantity), 0) as quota
                from quiet o left join billing.order_lines l on l.order_id = o.id and l.kind = 'QUOTA'
                group by o.id
              ), granted as (
                select source_id, sum(amount) as amount, sum(remaining) as remaining
                from quota.quota_grant where source_type = 'order' group by source_id
              )
              select o.order_number || ' is ' || o.status || ': sold ' || s.quota || ', granted '
                     || coalesce(g.amount, 0) || ', left ' || coalesce(g.remaining, 0)
              from quiet o join sold s on s.id = o.id left join granted g on g.source_id = o.text_id
              where case when o.status = 'COMPLETED' then coalesce(g.amount, 0) <> s.quota
                         else coalesce(g.remaining, 0) <> 0 end
              union all
              select o.order_number || ' is ' || o.status || ', and its membership stands'
              from quiet o join billing.membership_periods m on m.order_id = o.id and m.revoked_at is null
              where o.status <> 'COMPLETED'
              union all
              select o.order_number || ' is COMPLETED, and opened no membership'
              from quiet o join billing.order_lines l on l.order_id = o.id and l.kind = 'MEMBERSHIP'
              where o.status = 'COMPLETED'
                and not exists (select 1 from billing.membership_periods m where m.order_id = o.id)",
    },
    Promise {
        name: "consumption",
        kept: "quota is consumed by the tasks that finished, and by no others",
        sql: "select t.id || ' is ' || t.status || ', its quota is ' || coalesce(q.phase, 'not reserved')
              from task.tasks t left join quota.quota_transactions q on q.task_id = t.id
              where t.status in ('completed', 'failed', 'cancelled')
                and (t.status = 'completed') <> (coalesce(q.phase, '') = 'confirmed')",
    },
];

/// Evaluates every promise.
pub(super) async fn examine(database_url: &str, report: &mut Report) {
    quota(database_url, report).await;
    billing(database_url, report).await;
    let found = match promises(database_url).await {
        Ok(found) => found,
        Err(problem) => return report.wrong("promises", problem, "see the server's log"),
    };
    for (promise, broken) in PROMISES.iter().zip(found) {
        match broken.first() {
            None => report.ok(promise.name, promise.kept),
            Some(first) => report.wrong(
                promise.name,
                format!("{} differences; the first: {first}", broken.len()),
                "find the saga of that number, see its history, and report a defect with it",
            ),
        }
    }
}

/// Asks for all of them in one snapshot: what one of them sees, the others do.
async fn promises(database_url: &str) -> Result<Vec<Vec<String>>, String> {
    let failed = |error: sqlx::Error| error.to_string();
    let connection = database::connect(database_url).await;
    let mut connection: PgConnection = connection.map_err(|failure: Failure| failure.to_string())?;
    let begin = "begin isolation level repeatable read read only";
    let mut tx = connection.begin_with(begin).await.map_err(failed)?;
    let mut all = Vec::new();
    for promise in &PROMISES {
        let broken = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "select * from ({}) broken limit {MOST}",
            promise.sql
        )));
        all.push(broken.fetch_all(&mut *tx).await.map_err(failed)?);
    }
    Ok(all)
}

async fn quota(database_url: &str, report: &mut Report) {
    match database::quota_drift(database_url).await {
        Ok(drift) => match drift.first() {
            None => report.ok(
                "quota",
                "every account equals its ledger, reservations and grants",
            ),
            Some(first) => report.wrong(
                "quota",
                format!(
                    "{} differences; the first: {}, {}: {} expected, {} found",
                    drift.len(),
                    first.user_id,
                    first.what,
                    first.expected,
                    first.found
                ),
                "stop granting by hand and report a defect with the ledger of that user",
            ),
        },
        Err(failure) => report.wrong("quota", failure.to_string(), "see the server's log"),
    }
}

async fn billing(database_url: &str, report: &mut Report) {
    match database::billing_drift(database_url).await {
        Ok(drift) => match drift.first() {
            None => report.ok("billing", "orders, payments, refunds and commissions add up"),
            Some(first) => report.wrong(
                "billing",
                format!(
                    "{} differences; the first: {}, {}: {} expected, {} found",
                    drift.len(),
                    first.subject,
                    first.what,
                    first.expected,
                    first.found
                ),
                "report a defect with the row of that number",
            ),
        },
        Err(failure) => report.wrong("billing", failure.to_string(), "see the server's log"),
    }
}
