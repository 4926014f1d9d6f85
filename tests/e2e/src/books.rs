//! The product's promise about money, checked between three books: ours, the providers', and quota's.

use std::collections::BTreeMap;

use doubles::pay::{Books, OrderState, RefundState, TransferState};
use sqlx::PgPool;
use test_support::eventually;

use crate::billing::Billing;
use crate::platform::{LONG, Platform};

/// What one channel says: number to minor units.
type Lines = BTreeMap<String, i64>;

impl Billing {
    /// Waits until nothing is under way, and checks that the books agree: what was paid, refunded and paid out, number by
    /// number, and that quota and memberships are those of the orders that stand.
    ///
    /// # Panics
    /// If they do not.
    pub async fn assert_books(&self, platform: &Platform) {
        let db = platform.sql();
        eventually(LONG, || async { under_way(db).await == Vec::<String>::new() }).await;
        for (channel, books) in [("wechat", self.wechat.books()), ("alipay", self.alipay.books())] {
            eventually(LONG, || async { paid(db, channel).await == theirs_paid(&books) }).await;
            assert_eq!(refunded(db, channel).await, theirs_refunded(&books), "{channel}: refunds");
            assert_eq!(sent(db, channel).await, theirs_sent(&books), "{channel}: transfers");
        }
        assert_eq!(promises(db).await, Vec::<String>::new(), "orders and what they granted");
        platform.assert_conserved().await;
    }
}

async fn lines(db: &PgPool, sql: &'static str, channel: &str) -> Lines {
    let rows: Vec<(String, i64)> = sqlx::query_as(sql)
        .bind(channel)
        .fetch_all(db)
        .await
        .expect("the database answers");
    rows.into_iter().collect()
}

async fn paid(db: &PgPool, channel: &str) -> Lines {
    let sql = "select channel_order_no, amount from billing.payments
               where channel = $1 and status in ('SUCCESS', 'REFUNDING', 'REFUNDED')";
    lines(db, sql, channel).await
}

async fn refunded(db: &PgPool, channel: &str) -> Lines {
    let sql = "select r.refund_no, r.amount from billing.refunds r join billing.payments p on p.id = r.payment_id
               where p.channel = $1 and r.status = 'SUCCEEDED'";
    lines(db, sql, channel).await
}

async fn sent(db: &PgPool, channel: &str) -> Lines {
    let sql = "select withdrawal_no, amount from billing.withdrawals where channel = $1 and status = 'SUCCEEDED'";
    lines(db, sql, channel).await
}

fn theirs_paid(books: &Books) -> Lines {
    let orders = books.orders.values().filter(|order| order.state == OrderState::Paid);
    orders.map(|order| (order.number.clone(), order.amount_minor)).collect()
}

fn theirs_refunded(books: &Books) -> Lines {
    let refunds = books.refunds.values().filter(|refund| refund.state != RefundState::Closed);
    refunds.map(|refund| (refund.number.clone(), refund.amount_minor)).collect()
}

fn theirs_sent(books: &Books) -> Lines {
    let sent = books.transfers.values().filter(|sent| sent.state != TransferState::Failed);
    sent.map(|sent| (sent.number.clone(), sent.amount_minor)).collect()
}

/// What is still open, and will be settled without anybody's help.
async fn under_way(db: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select 'check of ' || subject || ' ' || subject_id from billing.provider_checks c
         where subject <> 'payment'
            or exists (select 1 from billing.payments p where p.id = c.subject_id
                       and (p.status <> 'PENDING' or p.closing is not null or p.payment_url is null))
         union all select 'refund ' || refund_no from billing.refunds where status in ('PENDING', 'PROCESSING')
            or (status = 'SUCCEEDED' and not booked)
         union all select 'payment ' || payment_no from billing.payments where status = 'REFUNDING'
         union all select 'order ' || order_number from billing.orders
            where status = 'PAID' or (status = 'PENDING' and cancelling is not null)
         union all select 'withdrawal ' || withdrawal_no from billing.withdrawals
            where status in ('FROZEN', 'PROCESSING')
         union all select 'frozen commission of ' || user_id from billing.commission_accounts where frozen > 0
         union all select 'start of ' || type || ' ' || business_id from billing.saga_starts where started_at is null
         union all select 'notification ' || event_id from billing.notify_inbox where state = 'PENDING'
         union all select 'saga ' || id from saga.saga_instances
            where status in ('RUNNING', 'COMPENSATING') and business_type in ('PAYMENT', 'PAYMENT_REFUND', 'WITHDRAWAL')",
    )
    .fetch_all(db)
    .await
    .expect("the database answers")
}

/// What contradicts: an order and its payment, its quota, its membership; an account and its entries.
async fn promises(db: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "with quota as (
            select source_id as order_id, sum(amount) as granted, sum(clawed_back) as back, sum(used) as used,
                   sum(expired) as expired
            from (select source_id, amount, clawed_back, expired,
                         amount - remaining - clawed_back - expired as used
                  from quota.quota_grant where source_type = 'order') g
            group by source_id
         ), orders as (
            select o.*, 'order_' || replace(o.id::text, '-', '') as text_id,
                   coalesce((select sum(quantity) from billing.order_lines l
                             where l.order_id = o.id and l.kind = 'QUOTA'), 0) as quota
            from billing.orders o
         )
         select order_number || ' is COMPLETED, and granted ' || coalesce(q.granted, 0) || ' of ' || o.quota
         from orders o left join quota q on q.order_id = o.text_id
         where o.status = 'COMPLETED' and coalesce(q.granted, 0) <> o.quota
         union all
         select order_number || ' is ' || o.status || ', and left quota'
         from orders o join quota q on q.order_id = o.text_id
         where o.status in ('REFUNDED', 'CANCELLED', 'PENDING') and q.granted - q.back - q.used - q.expired <> 0
         union all
         select order_number || ' is ' || o.status || ', and its payment is ' || coalesce(p.status, 'absent')
         from orders o left join billing.payments p
            on p.order_id = o.id and not p.late and p.status in ('SUCCESS', 'REFUNDING', 'REFUNDED')
         where (o.status in ('PAID', 'COMPLETED')) <> coalesce(p.status in ('SUCCESS', 'REFUNDING'), false)
         union all
         select payment_no || ' is late, and was not given back' from billing.payments
         where late and status <> 'REFUNDED'
         union all
         select order_number || ' has refunds of another sum' from orders o
         where refunded_amount <> (select coalesce(sum(p.refunded_amount), 0) from billing.payments p
                                   where p.order_id = o.id and not p.late)
         union all
         select payment_no || ' has refunds of another sum' from billing.payments p
         where refunded_amount <> (select coalesce(sum(r.amount), 0) from billing.refunds r
                                   where r.payment_id = p.id and r.status = 'SUCCEEDED')
         union all
         select order_number || ' is ' || o.status || ', and its membership stands' from orders o
         join billing.membership_periods m on m.order_id = o.id and m.revoked_at is null
         where o.status <> 'COMPLETED'
         union all
         select 'commission of ' || a.user_id from billing.commission_accounts a
         where (earned, available, frozen, withdrawn) is distinct from
            (select sum(earned_delta), sum(available_delta), sum(frozen_delta), sum(withdrawn_delta)
             from billing.commission_entries e where e.user_id = a.user_id)",
    )
    .fetch_all(db)
    .await
    .expect("the database answers")
}
