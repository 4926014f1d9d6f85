//! How long those are kept who want money back, and how many notifications of a provider a machine applies.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use proto::billing::v1::CreateRefundRequest;
use proto::billing::v1::payment_service_client::PaymentServiceClient;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use proto::saga::v1::{SagaPhase, WaitSagaRequest, WaitUntil, wait_until};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::measure::Latencies;
use super::platform::Platform;
use super::report::{self, Report};
use super::shop::{PATIENCE, POLL, Payment, Shop, prepared, unfinished};
use super::{BillingArgs, round};
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::Failure;
use crate::identity::Channel;
use crate::output;
use crate::wiring::database;
use crate::wiring::settings::Name;

/// Refunds that a payment can have.
const REFUNDS: u32 = 50;
/// What is promised: 99 of 100 refunds are answered within, in milliseconds; notifications applied a second.
const REFUND_GOAL_MS: f64 = 20.0;
const NOTIFY_GOAL: u32 = 300;
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
    let mut rows = Report::new(args.printing, COLUMNS);
    refunds(args, &shop, &mut rows).await?;
    let mut database = database::connect(&platform.database()).await?;
    notifications(args, &shop, &mut database, &mut rows).await?;
    rows.finish()
}

/// Users who want a part of their money back, again and again; each waits for the end of its refund before the next.
async fn refunds(args: &BillingArgs, shop: &Shop, rows: &mut Report) -> Result<(), Failure> {
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
    add_row(
        rows,
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
    rows: &mut Report,
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
    add_row(rows, "notification", &pace, &latencies, "300/s applied", kept)?;
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

const COLUMNS: &[&str] = &["WHAT", "LOAD", "    A S", " P50 MS", " P99 MS", "GOAL", ""];

fn add_row(
    report: &mut Report,
    what: &str,
    load: &str,
    found: &Latencies,
    goal: &str,
    kept: bool,
) -> Result<(), Failure> {
    let (p50, p99) = (found.quantile_ms(500), found.quantile_ms(990));
    let cells = vec![
        what.into(),
        load.into(),
        format!("{:>7.0}", found.per_second()).into(),
        format!("{p50:>7.2}").into(),
        format!("{p99:>7.2}").into(),
        goal.into(),
        report::goal(kept),
    ];
    let value = json!({
        "what": what, "load": load, "count": found.count(), "per_s": round(found.per_second(), 1),
        "p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "goal": goal, "kept": kept,
    });
    report.add(cells, value)
}
