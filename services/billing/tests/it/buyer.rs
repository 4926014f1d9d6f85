//! Somebody with an order to pay, and what can be seen of it.

use std::time::Duration;

use ids::{OrderId, PaymentId, SagaId, UserId};
use proto::billing::v1 as pb;
use proto::billing::v1::payment_service_client::PaymentServiceClient;
use sqlx::PgPool;
use test_support::eventually;
use token::Channel;
use tonic::Status;
use uuid::Uuid;

use crate::world::{DEADLINE, World, as_user};

/// What every order of these tests costs, in minor units.
pub(crate) const PRICE: i64 = 4_900;

/// An order, PENDING, whose buyer has an hour to pay unless said otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buyer {
    pub(crate) user_id: UserId,
    pub(crate) order_id: OrderId,
}

/// Where a payment and its order stand: statuses, and whether the payment is late.
pub(crate) type Standing = (String, String, bool);

pub(crate) fn standing(payment: &str, order: &str, late: bool) -> Standing {
    (payment.to_owned(), order.to_owned(), late)
}

impl Buyer {
    pub(crate) async fn new(world: &World) -> Self {
        Self::with(world, Duration::from_secs(3600)).await
    }

    /// A buyer who has so long to pay.
    pub(crate) async fn with(world: &World, left: Duration) -> Self {
        let buyer = Self {
            user_id: UserId::new(),
            order_id: OrderId::new(),
        };
        plan(&world.pool).await;
        sqlx::query(
            "insert into orders (id, order_number, user_id, plan_id, plan_version, amount, final_amount, currency,
                                 saga_id, expires_at)
             values ($1, $2, $3, 'pro', 1, $4, $4, 'CNY', $5, clock_timestamp() + make_interval(secs => $6))",
        )
        .bind(buyer.order_id.uuid())
        .bind(buyer.order_no())
        .bind(buyer.user_id.uuid())
        .bind(PRICE)
        .bind(SagaId::new().uuid())
        .bind(left.as_secs_f64())
        .execute(&world.pool)
        .await
        .unwrap();
        buyer
    }

    pub(crate) fn order_no(&self) -> String {
        format!("ORD{}", &self.order_id.uuid().simple().to_string()[..26])
    }

    pub(crate) fn request(&self, channel: pb::Channel, request_id: &str) -> pb::CreatePaymentRequest {
        pb::CreatePaymentRequest {
            order_no: self.order_no(),
            amount: PRICE,
            channel: channel.into(),
            request_id: request_id.to_owned(),
        }
    }

    /// Asks for something to scan.
    pub(crate) async fn begin(
        &self,
        world: &World,
        channel: pb::Channel,
        request_id: &str,
    ) -> Result<pb::CreatePaymentResponse, Status> {
        let request = as_user(self.user_id, self.request(channel, request_id));
        let answer = payments(world).create_payment(request).await?;
        Ok(answer.into_inner())
    }

    pub(crate) async fn cancel(&self, world: &World, payment_id: &str) -> Result<pb::Payment, Status> {
        let request = pb::CancelPaymentRequest {
            payment_id: payment_id.to_owned(),
        };
        let answer = payments(world)
            .cancel_payment(as_user(self.user_id, request))
            .await?;
        Ok(answer.into_inner().payment.unwrap())
    }

    pub(crate) async fn get(&self, world: &World, payment_id: &str) -> Result<pb::Payment, Status> {
        let request = pb::GetPaymentRequest {
            payment_id: payment_id.to_owned(),
        };
        let answer = payments(world)
            .get_payment(as_user(self.user_id, request))
            .await?;
        Ok(answer.into_inner().payment.unwrap())
    }
}

pub(crate) fn payments(world: &World) -> PaymentServiceClient<Channel> {
    PaymentServiceClient::new(world.public.clone())
}

/// Plan `pro`, version 1, once.
async fn plan(pool: &PgPool) {
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("insert into plans (id, version, on_sale) values ('pro', 1, true) on conflict do nothing")
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query(
        "insert into plan_versions (plan_id, version, kind, title, description, amount, currency, quota, quota_days,
                                    tier, membership_days, needs_device)
         values ('pro', 1, 'MEMBERSHIP', '会员 12 个月', '', 4900, 'CNY', 100, 0, 'pro', 365, false)
         on conflict do nothing",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

/// Returns where a payment and its order stand.
pub(crate) async fn look(world: &World, payment_id: &str) -> Standing {
    let id: PaymentId = payment_id.parse().unwrap();
    sqlx::query_as(
        "select p.status, o.status, p.late from payments p join orders o on o.id = p.order_id where p.id = $1",
    )
    .bind(id.uuid())
    .fetch_one(&world.pool)
    .await
    .unwrap()
}

/// Waits until a payment and its order stand so.
pub(crate) async fn reaches(world: &World, payment_id: &str, wanted: &Standing) {
    eventually(DEADLINE, async || {
        let found = look(world, payment_id).await;
        if found == *wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

/// Waits until a query of one value gives it.
pub(crate) async fn becomes<T>(world: &World, sql: &'static str, wanted: T)
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres>
        + sqlx::Type<sqlx::Postgres>
        + Send
        + Unpin
        + PartialEq
        + std::fmt::Debug,
{
    eventually(DEADLINE, async || {
        let found: T = world.value(sql).await;
        if found == wanted {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
}

/// How often a topic was told about an order.
pub(crate) async fn told(world: &World, topic: &str, order_id: OrderId) -> i64 {
    sqlx::query_scalar("select count(*) from outbox where topic = $1 and key = $2")
        .bind(topic)
        .bind(order_id.to_string())
        .fetch_one(&world.pool)
        .await
        .unwrap()
}

/// Sagas that give late payments back: their business ids.
pub(crate) async fn late_refunds(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "select business_id from saga_starts where type = 'PAYMENT_REFUND' order by business_id",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

/// Everything but the log of deliveries and the order of things in time, as one text: to see that nothing has changed.
pub(crate) async fn everything(world: &World) -> String {
    let mut all = String::new();
    for sql in [
        "select coalesce(string_agg(to_jsonb(t)::text, e'\n' order by id), '') from orders t",
        "select coalesce(string_agg(to_jsonb(t)::text, e'\n' order by id), '') from payments t",
        "select coalesce(string_agg(to_jsonb(t)::text, e'\n' order by id), '') from refunds t",
        "select coalesce(string_agg(to_jsonb(t)::text, e'\n' order by id), '') from cases t",
        "select coalesce(string_agg(to_jsonb(t)::text, e'\n' order by id), '') from outbox t",
        "select coalesce(string_agg(to_jsonb(t)::text, e'\n' order by id), '') from notify_inbox t",
        "select coalesce(string_agg(to_jsonb(t)::text, e'\n' order by subject_id), '') from provider_checks t",
        "select coalesce(string_agg(to_jsonb(t)::text, e'\n' order by business_id), '') from saga_starts t",
    ] {
        let rows: String = world.value(sql).await;
        all.push_str(&rows);
        all.push('\n');
    }
    all
}

/// An id that is not there.
pub(crate) fn no_payment() -> String {
    PaymentId::from_uuid(Uuid::now_v7()).to_string()
}
