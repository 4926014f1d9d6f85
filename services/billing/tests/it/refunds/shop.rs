//! What there is to give back: orders that were bought and delivered, and paid at the doubles.

use chrono::{DateTime, TimeDelta, Utc};
use doubles::pay::{Books, RefundState, Rule};
use ids::{OrderId, PaymentId, RefundId, SagaId, UserId};
use pay::{Currency, Money, NewPayment, Number, Subject};
use prost::Message as _;
use proto::billing::v1 as pb;
use proto::billing::v1::payment_service_client::PaymentServiceClient;
use proto::saga::v1::saga_service_server::SagaService as _;
use proto::saga::v1::{self as saga, start_saga_request};
use test_support::eventually;
use token::Channel;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Status;
use uuid::Uuid;

use crate::world::{DEADLINE, World, as_user, config};

pub(super) const CHANNELS: [&str; 2] = ["wechat", "alipay"];
/// What is paid for an order here, in minor units.
pub(super) const PRICE: i64 = 1_000;

/// An order that was paid.
#[derive(Debug, Clone)]
pub(super) struct Sold {
    pub(super) user_id: UserId,
    pub(super) order_id: OrderId,
    pub(super) payment_id: PaymentId,
    pub(super) payment_no: String,
    pub(super) channel: &'static str,
}

/// What is sold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goods {
    pub(super) quota: i64,
    /// The order's status: COMPLETED, PAID or CANCELLED.
    pub(super) status: &'static str,
    /// Paid after the order could be.
    pub(super) late: bool,
}

impl Default for Goods {
    fn default() -> Self {
        Self {
            quota: 100,
            status: "COMPLETED",
            late: false,
        }
    }
}

/// What was paid after its order had been cancelled.
pub(super) const LATE: Goods = Goods {
    quota: 100,
    status: "CANCELLED",
    late: true,
};

/// Settings with which a person is told within seconds.
pub(super) fn soon() -> billing::Config {
    billing::Config {
        case_after: std::time::Duration::from_secs(1),
        ..config()
    }
}

/// Sells something for [`PRICE`], which is paid at the double of the channel.
pub(super) async fn sell(world: &World, channel: &'static str, goods: Goods) -> Sold {
    sell_to(world, channel, goods, UserId::new()).await
}

/// The same to somebody who is there.
pub(super) async fn sell_to(world: &World, channel: &'static str, goods: Goods, user_id: UserId) -> Sold {
    let sold = Sold {
        user_id,
        order_id: OrderId::new(),
        payment_id: PaymentId::new(),
        payment_no: format!("PAY{}", &Uuid::new_v4().simple().to_string().to_uppercase()[..26]),
        channel,
    };
    pay_there(world, &sold).await;
    write(world, &sold, goods).await.unwrap();
    sold
}

async fn pay_there(world: &World, sold: &Sold) {
    let order = NewPayment {
        number: Number::new(sold.payment_no.as_str()).unwrap(),
        amount: Money {
            amount_minor: PRICE,
            currency: Currency::Cny,
        },
        subject: Subject::new("会员").unwrap(),
        expires_at: Utc::now() + TimeDelta::minutes(30),
        notify_url: "http://127.0.0.1:9/notify".to_owned(),
    };
    world.provider(sold.channel).create(&order).await.unwrap();
    let paid = match sold.channel {
        "wechat" => world.wechat.pay(&sold.payment_no),
        _ => world.alipay.pay(&sold.payment_no),
    };
    paid.unwrap();
}

async fn write(world: &World, sold: &Sold, goods: Goods) -> Result<(), sqlx::Error> {
    let mut tx = world.pool.begin().await?;
    sqlx::query("insert into plans (id, version, on_sale) values ('pro', 1, true) on conflict do nothing")
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "insert into plan_versions (plan_id, version, kind, title, description, amount, currency, quota, quota_days,
                                    tier, membership_days, needs_device)
         values ('pro', 1, 'MEMBERSHIP', 'Pro', '', $1, 'CNY', 100, 0, 'pro', 30, false)
         on conflict on constraint plan_versions_pkey do nothing",
    )
    .bind(PRICE)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "insert into orders (id, order_number, user_id, plan_id, plan_version, amount, final_amount, currency, status,
                             saga_id, expires_at, paid_at, completed_at, cancelled_at, cancel_reason)
         values ($1, $2, $3, 'pro', 1, $4, $4, 'CNY', $5, $6, now() + interval '30 minutes',
                 case when $5 in ('PAID', 'COMPLETED') then now() end, case when $5 = 'COMPLETED' then now() end,
                 case when $5 = 'CANCELLED' then now() end, case when $5 = 'CANCELLED' then 'EXPIRED' end)",
    )
    .bind(sold.order_id.uuid())
    .bind(format!("ORD{}", sold.order_id.uuid().simple()))
    .bind(sold.user_id.uuid())
    .bind(PRICE)
    .bind(goods.status)
    .bind(SagaId::new().uuid())
    .execute(&mut *tx)
    .await?;
    if goods.quota > 0 {
        sqlx::query(
            "insert into order_lines (order_id, line, kind, title, quantity) values ($1, 0, 'QUOTA', 'quota', $2)",
        )
        .bind(sold.order_id.uuid())
        .bind(goods.quota)
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query(
        "insert into payments (id, payment_no, order_id, user_id, channel, channel_order_no, amount, currency, status,
                               late, saga_id, expires_at, paid_at)
         values ($1, $2, $3, $4, $5, $2, $6, 'CNY', 'SUCCESS', $7, $8, now() + interval '30 minutes', now())",
    )
    .bind(sold.payment_id.uuid())
    .bind(&sold.payment_no)
    .bind(sold.order_id.uuid())
    .bind(sold.user_id.uuid())
    .bind(sold.channel)
    .bind(PRICE)
    .bind(goods.late)
    .bind(SagaId::new().uuid())
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// Adds a period to the membership of the order's buyer, so many days from `starts_at` on.
pub(super) async fn member(
    world: &World,
    user_id: UserId,
    order_id: OrderId,
    starts_at: DateTime<Utc>,
    days: i32,
) {
    sqlx::query(
        "with m as (
            insert into memberships (user_id, tier, starts_at, ends_at)
            values ($1, 'pro', $3, $3 + make_interval(days => $4))
            on conflict on constraint memberships_pkey do update set ends_at = excluded.ends_at
         )
         insert into membership_periods (order_id, user_id, tier, days, starts_at, ends_at)
         values ($2, $1, 'pro', $4, $3, $3 + make_interval(days => $4))",
    )
    .bind(user_id.uuid())
    .bind(order_id.uuid())
    .bind(starts_at)
    .bind(days)
    .execute(&world.pool)
    .await
    .unwrap();
}

pub(super) fn payments(channel: &Channel) -> PaymentServiceClient<Channel> {
    PaymentServiceClient::new(channel.clone())
}

/// The request for a part, or for everything if `amount` is 0.
pub(super) fn wish(sold: &Sold, amount: i64, request_id: &str) -> pb::CreateRefundRequest {
    pb::CreateRefundRequest {
        payment_id: sold.payment_id.to_string(),
        amount,
        reason: "不需要了".to_owned(),
        request_id: request_id.to_owned(),
    }
}

/// The buyer asks for money back.
pub(super) async fn ask(
    world: &World,
    sold: &Sold,
    amount: i64,
    request_id: &str,
) -> Result<pb::CreateRefundResponse, Status> {
    let request = as_user(sold.user_id, wish(sold, amount, request_id));
    payments(&world.public)
        .create_refund(request)
        .await
        .map(tonic::Response::into_inner)
}

/// Starts the saga as a transaction of the service's would, without anybody who asks. Returns the refund.
pub(super) async fn start(world: &World, sold: &Sold, cause: pb::RefundCause) -> String {
    let refund_id = RefundId::new().to_string();
    let input = pb::PaymentRefundInput {
        refund_id: refund_id.clone(),
        payment_id: sold.payment_id.to_string(),
        requested_by: "billing".to_owned(),
        amount: PRICE,
        cause: cause.into(),
        reason: "退款".to_owned(),
    };
    let request = saga::StartSagaRequest {
        r#type: "PAYMENT_REFUND".to_owned(),
        business_id: refund_id.clone(),
        input: Some(start_saga_request::Input::Message(prost_types::Any {
            type_url: "type.googleapis.com/evenkeel.billing.v1.PaymentRefundInput".to_owned(),
            value: input.encode_to_vec(),
        })),
        wait: None,
    };
    world
        .sagas
        .start_saga(tonic::Request::new(request))
        .await
        .unwrap();
    refund_id
}

/// Waits until the saga of a refund has ended.
pub(super) async fn ended(world: &World, refund_id: &str) -> saga::SagaPhase {
    eventually(DEADLINE, async || {
        let phase = world.sagas.saga("PAYMENT_REFUND", refund_id)?.phase();
        let over = matches!(phase, saga::SagaPhase::Completed | saga::SagaPhase::Compensated);
        over.then_some(phase)
    })
    .await
}

pub(super) async fn refund(world: &World, refund_id: &str) -> pb::Refund {
    let request = pb::GetRefundRequest {
        refund_id: refund_id.to_owned(),
    };
    let found = payments(&world.operator).get_refund(request).await.unwrap();
    found.into_inner().refund.unwrap()
}

/// Waits until a refund has a status.
pub(super) async fn becomes(world: &World, refund_id: &str, status: pb::RefundStatus) {
    eventually(DEADLINE, async || {
        let found: RefundId = refund_id.parse().unwrap();
        let now: Option<String> = sqlx::query_scalar("select status from refunds where id = $1")
            .bind(found.uuid())
            .fetch_optional(&world.pool)
            .await
            .unwrap();
        let now = now.unwrap_or_default();
        if status.as_str_name() == format!("REFUND_STATUS_{now}") {
            Ok(())
        } else {
            Err(now)
        }
    })
    .await;
}

/// Status, what went back, and what is on its way back, of a payment.
pub(super) async fn payment(world: &World, sold: &Sold) -> (String, i64, i64) {
    sqlx::query_as("select status, refunded_amount, refunding_amount from payments where id = $1")
        .bind(sold.payment_id.uuid())
        .fetch_one(&world.pool)
        .await
        .unwrap()
}

/// Status, and what went back, of an order.
pub(super) async fn order(world: &World, sold: &Sold) -> (String, i64) {
    sqlx::query_as("select status, refunded_amount from orders where id = $1")
        .bind(sold.order_id.uuid())
        .fetch_one(&world.pool)
        .await
        .unwrap()
}

/// Kinds of the open cases, in the order of their opening.
pub(super) async fn cases(world: &World) -> Vec<String> {
    sqlx::query_scalar(
        "select kind || ' ' || subject from cases where resolved_at is null order by opened_at",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

/// How often each fact was told.
pub(super) async fn facts(world: &World) -> Vec<(String, i64)> {
    sqlx::query_as("select topic, count(*) from outbox group by topic order by topic")
        .fetch_all(&world.pool)
        .await
        .unwrap()
}

pub(super) fn books(world: &World, sold: &Sold) -> Books {
    match sold.channel {
        "wechat" => world.wechat.books(),
        _ => world.alipay.books(),
    }
}

/// Numbers and states of the refunds that the provider has.
pub(super) fn there(world: &World, sold: &Sold) -> Vec<(String, RefundState)> {
    let books = books(world, sold);
    let of = books
        .refunds
        .values()
        .filter(|refund| refund.order == sold.payment_no);
    of.map(|refund| (refund.number.clone(), refund.state)).collect()
}

pub(super) fn program(world: &World, sold: &Sold, rules: Vec<Rule>) {
    match sold.channel {
        "wechat" => world.wechat.program(rules),
        _ => world.alipay.program(rules),
    }
}

/// A person acts at the provider: a refund that is stuck there ends.
pub(super) async fn end_there(world: &World, sold: &Sold, number: &str, state: &str) {
    let body = format!("\"{state}\"");
    control(world, sold, &format!("POST /_refunds/{number}/end"), &body).await;
}

/// What is left of the programme, as the double shows it.
pub(super) async fn program_left(world: &World, sold: &Sold) -> String {
    control(world, sold, "GET /_program", "").await
}

/// Calls a control route of the double.
async fn control(world: &World, sold: &Sold, line: &str, body: &str) -> String {
    let addr = match sold.channel {
        "wechat" => world.wechat.addr(),
        _ => world.alipay.addr(),
    };
    let request = format!(
        "{line} HTTP/1.1\r\nhost: double\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// Nothing is under way any more, here or there.
pub(super) async fn is_quiet(world: &World) {
    let open: i64 = world
        .value(
            "select (select count(*) from provider_checks)
                  + (select count(*) from payments where status = 'REFUNDING')
                  + (select count(*) from refunds where ended_at is null)",
        )
        .await;
    assert_eq!(open, 0);
}
