//! How long those are kept who want money back, and how many notifications of a provider a machine applies.

use std::future::Future;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use doubles::pay::Options;
use doubles::wechatpay::{self, WeChatPay};
use ids::UserId;
use proto::billing::v1::order_service_client::OrderServiceClient;
use proto::billing::v1::payment_service_client::PaymentServiceClient;
use proto::billing::v1::plan_service_client::PlanServiceClient;
use proto::billing::v1::{
    Channel as Provider, CreatePaymentRequest, CreateRefundRequest, OrderStatus, PlanKind,
    PublishPlanRequest, PurchasePlanRequest,
};
use proto::saga::v1::saga_service_client::SagaServiceClient;
use proto::saga::v1::{SagaPhase, WaitSagaRequest, WaitUntil, wait_until};
use serde_json::json;
use sqlx::PgConnection;
use tokio::net::TcpListener;
use uuid::Uuid;

use super::measure::Latencies;
use super::platform::{ANY_PORT, Platform, until_answered};
use super::{BillingArgs, round};
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::identity::{Channel, Identity};
use crate::output::{self, Cell, Format, Table, Tone};
use crate::own::Process;
use crate::wiring::database;
use crate::wiring::settings::Name;

const PLAN: &str = "bench-month";
/// Its price in minor units.
const PRICE: i64 = 4_900;
/// Refunds that a payment can have.
const REFUNDS: u32 = 50;
/// Orders are prepared by so many at a time.
const PREPARED_AT_ONCE: usize = 16;
/// What is promised: 99 of 100 refunds are answered within, in milliseconds; notifications applied a second.
const REFUND_GOAL_MS: f64 = 20.0;
const NOTIFY_GOAL: u32 = 300;
/// What is on its way when the last notification was sent arrives within this time, or the run fails.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Marks of the phases of the trial with refunds.
const WARMING: u8 = 0;
const MEASURED: u8 = 1;
const OVER: u8 = 2;

/// Runs the benchmark and prints its rows.
///
/// # Errors
/// If a process cannot be started, or any call fails.
pub(super) async fn run(args: &BillingArgs) -> Result<(), Failure> {
    let platform = Platform::open(&[Name::Quota, Name::Billing, Name::Saga]).await?;
    let result = measure_all(args, &platform).await;
    platform.close().await;
    result
}

async fn measure_all(args: &BillingArgs, platform: &Platform) -> Result<(), Failure> {
    let shop = Shop::open(platform).await?;
    let mut rows = Rows::new(args.format());
    refunds(args, &shop, &mut rows).await?;
    let mut database = database::connect(&platform.database()).await?;
    notifications(args, &shop, &mut database, &mut rows).await?;
    rows.finish()
}

/// A shop that sells one plan, with a provider whose answers are quick.
struct Shop {
    operator: Identity,
    provider: WeChatPay,
    billing: Process,
    saga: Process,
    _others: [Process; 2],
}

/// A payment that somebody has asked for.
#[derive(Debug, Clone)]
struct Payment {
    id: String,
    /// The number under which the provider knows it.
    number: String,
    order_id: String,
}

impl Shop {
    async fn open(platform: &Platform) -> Result<Self, Failure> {
        let provider = wechatpay::start("127.0.0.1:0", Options::default()).await;
        let provider =
            provider.map_err(|e| Failure::unavailable("the provider cannot listen").because(&e))?;
        let [quota_steps, billing_steps, gateway_at] = free_addresses().await?;
        let merchant = provider.merchant().write(&platform.directory());
        let merchant = merchant.map_err(|e| Failure::unavailable("cannot write its keys").because(&e))?;
        platform.sealing_keys()?;
        let notify_url = format!("http://{gateway_at}/api/v1/payments/notify");

        let participants = [
            "--participant",
            &format!("evenkeel.quota.v1=http://{quota_steps}"),
            "--participant",
            &format!("evenkeel.billing.v1=http://{billing_steps}"),
        ];
        let quota = platform
            .serve_at(Name::Quota, ANY_PORT, &quota_steps, &[], &[])
            .await?;
        let saga = platform
            .serve_at(Name::Saga, ANY_PORT, ANY_PORT, &participants, &[])
            .await?;
        let provider_url = provider.url();
        let mut envs = vec![
            ("EVENKEEL_SAGA_URL", saga.url()),
            ("EVENKEEL_NOTIFY_URL", notify_url.as_str()),
            ("WECHAT_PAY_URL", provider_url.as_str()),
            ("EVENKEEL_BILLING__IMPORT_STATEMENTS", "false"),
        ];
        envs.extend(merchant.iter().map(|(name, value)| (*name, value.as_str())));
        let billing = platform
            .serve_at(Name::Billing, ANY_PORT, &billing_steps, &[], &envs)
            .await?;
        let peers = [
            ("EVENKEEL_BILLING_URL", billing.url()),
            ("EVENKEEL_QUOTA_URL", quota.url()),
        ];
        let gateway = platform
            .serve_at(Name::Gateway, &gateway_at, ANY_PORT, &[], &peers)
            .await?;
        let shop = Self {
            operator: platform.operator()?,
            provider,
            billing,
            saga,
            _others: [quota, gateway],
        };
        shop.publish().await?;
        Ok(shop)
    }

    fn at_billing(&self) -> Result<Channel, Failure> {
        self.operator.channel(self.billing.url(), "billing")
    }

    fn failed(&self, status: &tonic::Status) -> Failure {
        client::failure(status, self.billing.url())
    }

    async fn publish(&self) -> Result<(), Failure> {
        let mut plans = PlanServiceClient::new(self.at_billing()?);
        let request = PublishPlanRequest {
            plan_id: PLAN.to_owned(),
            kind: PlanKind::Membership.into(),
            title: "A month".to_owned(),
            amount: PRICE,
            quota: 100,
            tier: "bench".to_owned(),
            membership_days: 30,
            ..PublishPlanRequest::default()
        };
        until_answered(async || {
            let answer = plans
                .publish_plan(client::request(request.clone(), CALL_TIMEOUT))
                .await;
            answer.map(drop).map_err(|status| self.failed(&status))
        })
        .await?;
        // All services are up once the first order can be paid.
        until_answered(async || self.order().await.map(drop)).await
    }

    /// Buys the plan and asks for what pays it.
    async fn order(&self) -> Result<Payment, Failure> {
        let mut orders = OrderServiceClient::new(self.at_billing()?);
        let request = PurchasePlanRequest {
            plan_id: PLAN.to_owned(),
            amount: PRICE,
            user_id: UserId::new().to_string(),
            request_id: Uuid::now_v7().simple().to_string(),
        };
        let bought = orders.purchase_plan(client::request(request, CALL_TIMEOUT)).await;
        let bought = bought.map_err(|status| self.failed(&status))?.into_inner();
        let order = bought.order.ok_or_else(|| unfinished("an order"))?;
        let mut payments = PaymentServiceClient::new(self.at_billing()?);
        let request = CreatePaymentRequest {
            order_no: order.order_number,
            amount: PRICE,
            channel: Provider::Wechat.into(),
            ..CreatePaymentRequest::default()
        };
        let made = payments
            .create_payment(client::request(request, CALL_TIMEOUT))
            .await;
        let made = made.map_err(|status| self.failed(&status))?.into_inner();
        Ok(Payment {
            id: made.payment.ok_or_else(|| unfinished("a payment"))?.payment_id,
            number: made.channel_order_no,
            order_id: order.order_id,
        })
    }

    /// An order that was paid and granted.
    async fn sale(&self) -> Result<Payment, Failure> {
        let payment = self.order().await?;
        self.pay(&payment)?;
        let mut orders = OrderServiceClient::new(self.at_billing()?);
        let begun = Instant::now();
        loop {
            let request = proto::billing::v1::GetOrderRequest {
                order_id: payment.order_id.clone(),
            };
            let answer = orders.get_order(client::request(request, CALL_TIMEOUT)).await;
            let answer = answer.map_err(|status| self.failed(&status))?.into_inner();
            if answer
                .order
                .is_some_and(|order| order.status() == OrderStatus::Completed)
            {
                return Ok(payment);
            }
            if begun.elapsed() > PATIENCE {
                return Err(unfinished("a sale"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn pay(&self, payment: &Payment) -> Result<(), Failure> {
        let paid = self.provider.pay(&payment.number);
        paid.map(drop)
            .ok_or_else(|| unfinished("a payment that can be paid"))
    }
}

fn unfinished(what: &str) -> Failure {
    Failure::new(Code::Failed, format!("{what} did not come about in time"))
}

/// Addresses that were free a moment ago: services must know each other's before they start.
async fn free_addresses<const N: usize>() -> Result<[String; N], Failure> {
    let mut listeners = Vec::new();
    let mut addresses = [const { String::new() }; N];
    for address in &mut addresses {
        let failed = |e| Failure::unavailable("there is no free port").because(&e);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        *address = listener.local_addr().map_err(failed)?.to_string();
        listeners.push(listener);
    }
    Ok(addresses)
}

/// Makes `count` of something, some at a time.
async fn prepared<T, F>(count: usize, make: impl Fn() -> F) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    use futures::{StreamExt as _, TryStreamExt as _};
    futures::stream::iter(0..count)
        .map(|_| make())
        .buffer_unordered(PREPARED_AT_ONCE)
        .try_collect()
        .await
}

/// Users who want a part of their money back, again and again; each waits for the end of its refund before the next.
async fn refunds(args: &BillingArgs, shop: &Shop, rows: &mut Rows) -> Result<(), Failure> {
    output::remark(&format!("{} sales to refund", args.concurrency));
    let sales = prepared(args.concurrency, || shop.sale()).await?;
    let phase = AtomicU8::new(WARMING);
    let phase = &phase;
    let workers = sales.into_iter().map(|sale| async move {
        let mut worker = Refunder::new(shop, sale)?;
        let mut latencies = Vec::new();
        loop {
            let began_in = phase.load(Ordering::Relaxed);
            if began_in == OVER {
                return Ok::<_, Failure>(latencies);
            }
            let latency = worker.refund().await?;
            if began_in == MEASURED {
                latencies.push(latency);
            }
        }
    });
    let clock = async {
        tokio::time::sleep(args.warmup()).await;
        phase.store(MEASURED, Ordering::Relaxed);
        let began = Instant::now();
        tokio::time::sleep(args.measured()).await;
        phase.store(OVER, Ordering::Relaxed);
        Ok(began.elapsed())
    };
    let (found, took) = futures::future::try_join(futures::future::try_join_all(workers), clock).await?;
    let mut all = Latencies::new(took);
    for latencies in found {
        all.extend(latencies);
    }
    let kept = all.quantile_ms(990) <= REFUND_GOAL_MS;
    rows.row(
        "CreateRefund",
        &format!("{} at a time", args.concurrency),
        &all,
        "p99 20 ms",
        kept,
    )
}

/// One user who wants money back.
struct Refunder<'a> {
    shop: &'a Shop,
    payments: PaymentServiceClient<Channel>,
    sagas: SagaServiceClient<Channel>,
    sale: Payment,
    refunds: u32,
}

impl<'a> Refunder<'a> {
    fn new(shop: &'a Shop, sale: Payment) -> Result<Self, Failure> {
        Ok(Self {
            shop,
            payments: PaymentServiceClient::new(shop.at_billing()?),
            sagas: SagaServiceClient::new(shop.operator.channel(shop.saga.url(), "saga")?),
            sale,
            refunds: 0,
        })
    }

    /// Asks for one minor unit, and waits until it is back. Returns how long the answer took.
    async fn refund(&mut self) -> Result<Duration, Failure> {
        if self.refunds == REFUNDS {
            self.sale = self.shop.sale().await?;
            self.refunds = 0;
        }
        self.refunds += 1;
        let request = CreateRefundRequest {
            payment_id: self.sale.id.clone(),
            amount: 1,
            reason: "bench".to_owned(),
            request_id: Uuid::now_v7().simple().to_string(),
        };
        let began = Instant::now();
        let answer = self
            .payments
            .create_refund(client::request(request, CALL_TIMEOUT))
            .await;
        let latency = began.elapsed();
        let saga_id = answer
            .map_err(|status| self.shop.failed(&status))?
            .into_inner()
            .saga_id;
        let until = WaitUntil {
            until: Some(wait_until::Until::End(true)),
            timeout: Some(prost_types::Duration::try_from(PATIENCE / 2).unwrap_or_default()),
        };
        let request = WaitSagaRequest {
            saga_id,
            wait: Some(until),
        };
        let saga = self.sagas.wait_saga(client::request(request, PATIENCE)).await;
        let saga = saga.map_err(|status| client::failure(&status, self.shop.saga.url()))?;
        let ended = saga
            .into_inner()
            .saga
            .is_some_and(|saga| saga.phase() == SagaPhase::Completed);
        if ended {
            Ok(latency)
        } else {
            Err(unfinished("a refund"))
        }
    }
}

/// Payers who pay at a fixed pace. The provider tells of each payment, by HTTP through the gateway; its order is then granted.
async fn notifications(
    args: &BillingArgs,
    shop: &Shop,
    database: &mut PgConnection,
    rows: &mut Rows,
) -> Result<(), Failure> {
    let seconds = u32::try_from(args.seconds).unwrap_or(u32::MAX);
    let count = args.notifies.saturating_mul(seconds);
    output::remark(&format!("{count} orders to pay"));
    let orders = prepared(usize::try_from(count).unwrap_or(usize::MAX), || shop.order()).await?;
    let before = applied(database, None).await?;
    let mut pace = tokio::time::interval(Duration::from_secs(1) / args.notifies);
    let began = Instant::now();
    for order in &orders {
        pace.tick().await;
        shop.pay(order)?;
    }
    let sent = began.elapsed();
    let wanted = before.count.saturating_add(i64::from(count));
    while applied(database, None).await?.count < wanted {
        if began.elapsed() > sent + PATIENCE {
            let said = "select string_agg(state || ' ' || n, ', ') from
                        (select state, count(*) as n from billing.notify_inbox group by state) as found";
            let said: Option<String> = sqlx::query_scalar(said)
                .fetch_one(&mut *database)
                .await
                .map_err(|e| lost(&e))?;
            return Err(unfinished("the last notification").detail(said.unwrap_or_default()));
        }
        tokio::time::sleep(POLL / 5).await;
    }
    let all_applied = began.elapsed();
    let found = applied(database, Some(i64::from(count))).await?;
    let mut latencies = Latencies::new(all_applied);
    latencies.extend(found.latencies);
    let kept = args.notifies >= NOTIFY_GOAL && all_applied <= sent + Duration::from_secs(1);
    let pace = format!("{}/s", args.notifies);
    rows.row("notification", &pace, &latencies, "300/s applied", kept)?;
    let granted = "select count(*) from billing.orders where status = 'PAID'";
    loop {
        let open: i64 = sqlx::query_scalar(granted)
            .fetch_one(&mut *database)
            .await
            .map_err(|e| lost(&e))?;
        if open == 0 {
            break;
        }
        if began.elapsed() > sent + PATIENCE {
            return Err(unfinished("the last order"));
        }
        tokio::time::sleep(POLL).await;
    }
    output::remark(&format!(
        "the last order was granted {:.1} s after the last payment",
        (began.elapsed().saturating_sub(sent)).as_secs_f64()
    ));
    Ok(())
}

/// Notifications of payments that were applied, and how long the latest of them took since they came in.
struct Applied {
    count: i64,
    latencies: Vec<Duration>,
}

async fn applied(database: &mut PgConnection, latest: Option<i64>) -> Result<Applied, Failure> {
    // UNCHANGED: the provider was asked before the notification was looked at.
    let count = "select count(*) from billing.notify_inbox
                 where subject = 'payment' and state in ('APPLIED', 'UNCHANGED')";
    let count = sqlx::query_scalar(count)
        .fetch_one(&mut *database)
        .await
        .map_err(|e| lost(&e))?;
    let latencies: Vec<f64> = match latest {
        None => Vec::new(),
        Some(latest) => sqlx::query_scalar(
            "select extract(epoch from applied_at - received_at)::float8 from billing.notify_inbox
             where subject = 'payment' and state in ('APPLIED', 'UNCHANGED') order by applied_at desc limit $1",
        )
        .bind(latest)
        .fetch_all(database)
        .await
        .map_err(|e| lost(&e))?,
    };
    let latencies = latencies
        .into_iter()
        .map(|seconds| Duration::from_secs_f64(seconds.max(0.0)));
    Ok(Applied {
        count,
        latencies: latencies.collect(),
    })
}

fn lost(error: &sqlx::Error) -> Failure {
    Failure::unavailable("the database does not answer").because(error)
}

/// Rows as they come, or a table at the end.
struct Rows {
    format: Format,
    rows: Vec<Vec<Cell>>,
    values: Vec<serde_json::Value>,
}

impl Rows {
    const fn new(format: Format) -> Self {
        Self {
            format,
            rows: Vec::new(),
            values: Vec::new(),
        }
    }

    fn row(
        &mut self,
        what: &str,
        load: &str,
        found: &Latencies,
        goal: &str,
        kept: bool,
    ) -> Result<(), Failure> {
        let (p50, p99) = (found.quantile_ms(500), found.quantile_ms(990));
        if self.format != Format::Table {
            let value = json!({
                "what": what, "load": load, "count": found.count(), "per_s": round(found.per_second(), 1),
                "p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "goal": goal, "kept": kept,
            });
            if self.format == Format::Jsonl {
                return output::emit(&format!("{value}\n"));
            }
            self.values.push(value);
            return Ok(());
        }
        self.rows.push(vec![
            what.into(),
            load.into(),
            format!("{:>7.0}", found.per_second()).into(),
            format!("{p50:>7.2}").into(),
            format!("{p99:>7.2}").into(),
            goal.into(),
            if kept {
                Cell::new("kept", Tone::Good)
            } else {
                Cell::new("missed", Tone::Bad)
            },
        ]);
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        match self.format {
            Format::Jsonl => return Ok(()),
            Format::Json => return output::emit(&format!("{:#}\n", json!({ "rows": self.values }))),
            Format::Table => {}
        }
        let mut table = Table::new(&["WHAT", "LOAD", "    A S", " P50 MS", " P99 MS", "GOAL", ""]);
        for row in self.rows {
            table.row(row);
        }
        output::emit(&table.render(output::colour()))
    }
}
