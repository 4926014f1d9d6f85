//! The product's promise about money, checked between three books: ours, the providers', and quota's.

use std::collections::{BTreeMap, BTreeSet};

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
        eventually(LONG, || async {
            let differ = self.disagreements(platform).await;
            if differ.is_empty() { Ok(()) } else { Err(differ) }
        })
        .await;
        platform.assert_conserved().await;
        platform.assert_no_drift();
    }

    /// Says where our books and the providers' differ: in what was paid, refunded and paid out, number by number and in
    /// total. Meant for when nothing is under way.
    pub async fn disagreements(&self, platform: &Platform) -> Vec<String> {
        let db = platform.sql();
        let mut differ = Vec::new();
        for (channel, books) in [("wechat", self.wechat.books()), ("alipay", self.alipay.books())] {
            let totals = books.totals();
            for (what, ours, theirs, total) in [
                ("paid", paid(db, channel).await, theirs_paid(&books), totals.paid),
                (
                    "refunded",
                    refunded(db, channel).await,
                    theirs_refunded(&books),
                    totals.refunded,
                ),
                (
                    "sent",
                    sent(db, channel).await,
                    theirs_sent(&books),
                    totals.transferred,
                ),
            ] {
                let numbers: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
                for number in numbers {
                    let (here, there) = (ours.get(number), theirs.get(number));
                    if here != there {
                        differ.push(format!(
                            "{channel}: {what} {number}: ours {here:?}, theirs {there:?}"
                        ));
                    }
                }
                let sum: i64 = ours.values().sum();
                if sum != total {
                    differ.push(format!("{channel}: {what} in total: ours {sum}, theirs {total}"));
                }
            }
        }
        differ
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
    let sql =
        "select r.refund_no, r.amount from billing.refunds r join billing.payments p on p.id = r.payment_id
               where p.channel = $1 and r.status = 'SUCCEEDED'";
    lines(db, sql, channel).await
}

async fn sent(db: &PgPool, channel: &str) -> Lines {
    let sql =
        "select withdrawal_no, amount from billing.withdrawals where channel = $1 and status = 'SUCCEEDED'";
    lines(db, sql, channel).await
}

fn theirs_paid(books: &Books) -> Lines {
    let orders = books
        .orders
        .values()
        .filter(|order| order.state == OrderState::Paid);
    orders
        .map(|order| (order.number.clone(), order.amount_minor))
        .collect()
}

fn theirs_refunded(books: &Books) -> Lines {
    let refunds = books
        .refunds
        .values()
        .filter(|refund| refund.state != RefundState::Closed);
    refunds
        .map(|refund| (refund.number.clone(), refund.amount_minor))
        .collect()
}

fn theirs_sent(books: &Books) -> Lines {
    let sent = books
        .transfers
        .values()
        .filter(|sent| sent.state != TransferState::Failed);
    sent.map(|sent| (sent.number.clone(), sent.amount_minor))
        .collect()
}

/// What is still open, and will be settled without anybody's help.
pub async fn under_way(db: &PgPool) -> Vec<String> {
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
