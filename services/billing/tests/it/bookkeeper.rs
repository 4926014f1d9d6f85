//! Providers' books and ours, made up for statements.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset, NaiveDate, TimeDelta, Utc};
use doubles::pay::{Books, Order, OrderState, Refund, RefundState};
use ids::{OrderId, PaymentId, RefundId, SagaId, UserId};
use proto::billing::v1 as pb;
use proto::billing::v1::{Channel, DifferenceKind};
use tonic::Status;

use crate::desk::desk;
use crate::world::World;

/// Differences by number and kind.
pub(crate) type Found = BTreeMap<(String, DifferenceKind), pb::Difference>;

/// The day before today in Beijing.
pub(crate) fn yesterday() -> NaiveDate {
    let beijing = FixedOffset::east_opt(8 * 3600).unwrap();
    (Utc::now().with_timezone(&beijing) - TimeDelta::days(1)).date_naive()
}

/// A moment of a day in Beijing.
pub(crate) fn at(day: NaiveDate, hour: u32) -> DateTime<Utc> {
    let beijing = FixedOffset::east_opt(8 * 3600).unwrap();
    let local = day.and_hms_opt(hour, 30, 0).unwrap();
    local.and_local_timezone(beijing).unwrap().with_timezone(&Utc)
}

/// What the provider has: payments and refunds of them.
#[derive(Default)]
pub(crate) struct There(Books);

impl There {
    pub(crate) fn paid(mut self, number: &str, amount: i64, paid_at: DateTime<Utc>) -> Self {
        let order = Order {
            number: number.to_owned(),
            provider_no: format!("42{number}"),
            amount_minor: amount,
            subject: "a plan".to_owned(),
            notify_url: String::new(),
            code: number.to_owned(),
            created_at: paid_at,
            expires_at: paid_at,
            scanned: true,
            state: OrderState::Paid,
            paid_at: Some(paid_at),
            fee_minor: 1,
        };
        self.0.orders.insert(number.to_owned(), order);
        self
    }

    pub(crate) fn refunded(mut self, number: &str, order: &str, amount: i64, at: DateTime<Utc>) -> Self {
        let refund = Refund {
            number: number.to_owned(),
            order: order.to_owned(),
            provider_no: format!("50{number}"),
            amount_minor: amount,
            notify_url: String::new(),
            state: RefundState::Succeeded,
            created_at: at,
            ended_at: Some(at),
        };
        self.0.refunds.insert(number.to_owned(), refund);
        self
    }

    /// A world in which both providers have this.
    pub(crate) async fn world(self, config: billing::Config) -> World {
        let world = World::with_books(config, self.0.clone(), self.0).await;
        sqlx::raw_sql(
            "begin;
             insert into plans (id, version, on_sale) values ('p', 1, true);
             insert into plan_versions (plan_id, version, kind, title, description, amount, currency, quota, quota_days,
                 membership_days, needs_device) values ('p', 1, 'TOP_UP', 't', 'd', 1, 'CNY', 1, 0, 0, false);
             commit",
        )
        .execute(&world.pool)
        .await
        .unwrap();
        world
    }
}

/// Writes a payment of ours.
pub(crate) async fn ours(
    world: &World,
    channel: &str,
    number: &str,
    amount: i64,
    status: &str,
    paid_at: DateTime<Utc>,
) -> PaymentId {
    let (order_id, user_id, id) = (OrderId::new(), UserId::new(), PaymentId::new());
    sqlx::query(
        "insert into orders (id, order_number, user_id, plan_id, plan_version, amount, final_amount, currency, saga_id, expires_at)
         values ($1, $2, $3, 'p', 1, $4, $4, 'CNY', $5, now())",
    )
    .bind(order_id.uuid())
    .bind(order_id.to_string())
    .bind(user_id.uuid())
    .bind(amount)
    .bind(SagaId::new().uuid())
    .execute(&world.pool)
    .await
    .unwrap();
    sqlx::query(
        "insert into payments (id, payment_no, order_id, user_id, channel, channel_order_no, amount, currency, status,
             refunded_amount, reason, saga_id, expires_at, paid_at)
         values ($1, $10, $2, $3, $4, $5, $6, 'CNY', $7, case when $7 = 'REFUNDED' then $6 else 0 end,
             case when $7 in ('CLOSED', 'FAILED') then 'x' end, $8, now(),
             case when $7 in ('SUCCESS', 'REFUNDED') then $9 end)",
    )
    .bind(id.uuid())
    .bind(order_id.uuid())
    .bind(user_id.uuid())
    .bind(channel)
    .bind(number)
    .bind(amount)
    .bind(status)
    .bind(SagaId::new().uuid())
    .bind(paid_at)
    .bind(id.to_string())
    .execute(&world.pool)
    .await
    .unwrap();
    id
}

/// Writes a refund of ours that took an hour.
pub(crate) async fn our_refund(
    world: &World,
    payment: PaymentId,
    number: &str,
    amount: i64,
    status: &str,
    ended_at: DateTime<Utc>,
) {
    sqlx::query(
        "insert into refunds (id, refund_no, payment_id, order_id, user_id, amount, currency, status, cause, reason,
             requested_by, error, saga_id, created_at, ended_at)
         select $1, $2, id, order_id, user_id, $4, 'CNY', $5, 'REQUESTED', 'r', 'u',
             case when $5 in ('FAILED', 'CLOSED', 'ABNORMAL') then 'x' end, $6, $7 - interval '1 hour',
             case when $5 in ('SUCCEEDED', 'FAILED', 'CLOSED') then $7 end
         from payments where id = $3",
    )
    .bind(RefundId::new().uuid())
    .bind(number)
    .bind(payment.uuid())
    .bind(amount)
    .bind(status)
    .bind(SagaId::new().uuid())
    .bind(ended_at)
    .execute(&world.pool)
    .await
    .unwrap();
}

/// Imports the statement of a day.
pub(crate) async fn import(world: &World, channel: Channel, day: NaiveDate) -> Result<pb::Statement, Status> {
    let request = pb::ImportStatementRequest {
        channel: channel.into(),
        day: day.to_string(),
    };
    let answer = desk(world).import_statement(request).await?;
    Ok(answer.into_inner().statement.unwrap())
}

/// What a channel's differences are, by number.
pub(crate) async fn differences(world: &World, channel: Channel) -> Found {
    let request = pb::ListDifferencesRequest {
        channel: channel.into(),
        include_resolved: true,
        ..pb::ListDifferencesRequest::default()
    };
    let answer = desk(world).list_differences(request).await.unwrap().into_inner();
    let all = answer.differences.into_iter();
    all.map(|found| ((found.number.clone(), found.kind()), found))
        .collect()
}

/// Returns which differences there are.
pub(crate) fn keys(found: &Found) -> Vec<(&str, DifferenceKind)> {
    found
        .keys()
        .map(|(number, kind)| (number.as_str(), *kind))
        .collect()
}

/// Returns the minor units of an amount that is there.
pub(crate) fn minor(money: Option<&pb::Money>) -> Option<i64> {
    money.map(|money| money.amount_minor)
}
