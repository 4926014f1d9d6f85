//! What the gateway costs: the same call with and without it, the same request with and without an Idempotency-Key.

use ids::UserId;
use proto::quota::v1::CreateGrantRequest;
use proto::quota::v1::quota_service_client::QuotaServiceClient;
use serde_json::json;

use super::calls::{Caller, Trial, Way};
use super::measure::{Latencies, cpu_ms};
use super::platform::{Platform, until_answered};
use super::redis::Redis;
use super::report::{self, Report};
use super::{GatewayArgs, round};
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::output;
use crate::own::Process;
use crate::wiring::settings::Name;

/// Workers share this many gRPC connections at most, as the gateway's requests share one.
const MAX_CHANNELS: usize = 8;
/// What is promised of the time that the gateway adds, and that a key adds: at the median, and for 99 of 100.
const GATEWAY_GOAL: (f64, Option<f64>) = (0.5, Some(3.0));
const KEY_GOAL: (f64, Option<f64>) = (1.0, None);

/// Two ways that are compared, or more of them.
struct Case {
    name: String,
    /// Name of the way, and its gateway.
    ways: Vec<(&'static str, Way)>,
    goal: (f64, Option<f64>),
    /// Where the service is that the gateway stands before.
    direct: String,
    /// The gateway that is called.
    pid: u32,
    /// How many of the ways go through it.
    through: usize,
    /// Calls a second of each way, one trial each; 0: each worker calls again as soon as it is answered.
    rates: Vec<u32>,
}

/// Runs the benchmark and prints its rows.
///
/// # Errors
/// If a process cannot be started, or any call fails.
pub(super) async fn run(args: &GatewayArgs) -> Result<(), Failure> {
    if !(1..=1_024).contains(&args.concurrency) {
        return Err(Failure::new(
            Code::Usage,
            "--concurrency takes a number from 1 to 1024",
        ));
    }
    let platform = Platform::open(&[Name::Quota, Name::Task]).await?;
    let result = measure_all(args, &platform).await;
    platform.close().await;
    result
}

async fn measure_all(args: &GatewayArgs, platform: &Platform) -> Result<(), Failure> {
    let redis = Redis::open(args.redis_url.as_deref(), &platform.directory()).await?;
    let quota = platform.serve(Name::Quota, &[]).await?;
    let task = platform.serve(Name::Task, &[]).await?;
    let peers = [
        ("EVENKEEL_QUOTA_URL", quota.url()),
        ("EVENKEEL_TASK_URL", task.url()),
    ];
    let on_postgres = platform.serve(Name::Gateway, &peers).await?;
    let backend = backend(args).await?;
    let before_backend = platform
        .serve(Name::Gateway, &[("EVENKEEL_QUOTA_URL", backend.url())])
        .await?;
    // Every worker always has a call under way, and the processors are not what they wait for.
    let in_flight = format!("GetBalance, {} ms", args.backend_ms);
    let mut cases = vec![
        balances(
            "GetBalance".to_owned(),
            quota.url(),
            &on_postgres,
            args.rate.clone(),
        )?,
        balances(in_flight, backend.url(), &before_backend, vec![0])?,
    ];
    let on_redis = match &redis {
        Some(redis) => {
            let [quota, task] = peers;
            let envs = [quota, task, ("REDIS_URL", redis.url.as_str())];
            Some(platform.serve(Name::Gateway, &envs).await?)
        }
        None => {
            output::remark(
                "there is no redis-server on the PATH: keys are measured with the Postgres store only",
            );
            None
        }
    };
    cases.extend(
        on_redis
            .as_ref()
            .map(|gateway| keys("POST, Redis", gateway, args)),
    );
    cases.push(keys("POST, Postgres", &on_postgres, args));
    let mut report = Report::new(args.printing, COLUMNS);
    for case in &cases {
        let callers = callers(args.concurrency, case, platform, quota.url()).await?;
        for rate in &case.rates {
            let trial = Trial {
                rate: Some(*rate).filter(|rate| *rate > 0),
                warmup: args.warmup(),
                measured: args.measured(),
            };
            let (latencies, before, after) = trial.run(&callers, || cpu_ms(case.pid)).await?;
            let cpu = after.saturating_sub(before);
            add_case(&mut report, case, args.concurrency, *rate, &latencies, cpu)?;
        }
    }
    report.finish()
}

/// A service in the place of quota that takes its time and none of a processor's.
async fn backend(args: &GatewayArgs) -> Result<Process, Failure> {
    let delay = args.backend_ms.to_string();
    let command = [
        "bench",
        "backend",
        "--listen",
        "127.0.0.1:0",
        "--delay-ms",
        &delay,
    ];
    Process::start(&command, &[], false).await
}

fn balances(name: String, direct: &str, gateway: &Process, rates: Vec<u32>) -> Result<Case, Failure> {
    let through = Way::Get {
        url: gateway.url().to_owned(),
    };
    Ok(Case {
        name,
        ways: vec![("direct", Way::Grpc(grpc(direct)?)), ("gateway", through)],
        direct: direct.to_owned(),
        goal: GATEWAY_GOAL,
        pid: gateway.pid(),
        through: 1,
        rates,
    })
}

fn keys(name: &str, gateway: &Process, args: &GatewayArgs) -> Case {
    let post = |keyed| Way::Post {
        url: gateway.url().to_owned(),
        keyed,
    };
    Case {
        name: name.to_owned(),
        ways: vec![("without key", post(false)), ("with key", post(true))],
        goal: KEY_GOAL,
        direct: gateway.url().to_owned(),
        pid: gateway.pid(),
        through: 2,
        rates: args.rate.clone(),
    }
}

fn grpc(url: &str) -> Result<QuotaServiceClient<tonic::transport::Channel>, Failure> {
    let channel = rpc::channel::lazy(url)
        .map_err(|e| Failure::unavailable("the service's address is wrong").because(&e))?;
    Ok(QuotaServiceClient::new(channel))
}

/// Makes callers, each a user of its own with some quota, and waits until all their ways work.
async fn callers(
    count: usize,
    case: &Case,
    platform: &Platform,
    quota: &str,
) -> Result<Vec<Caller>, Failure> {
    let http = reqwest::Client::builder()
        .http1_only()
        .no_proxy()
        .pool_max_idle_per_host(count)
        .build()
        .map_err(|e| Failure::unavailable("there is no HTTP client").because(&e))?;
    let mut grants = QuotaServiceClient::new(platform.bench()?.channel(quota, "quota")?);
    let channels = (0..count.min(MAX_CHANNELS))
        .map(|_| grpc(&case.direct))
        .collect::<Result<Vec<_>, _>>()?;
    let mut callers = Vec::with_capacity(count);
    for place in 0..count {
        let user_id = UserId::new();
        let request = CreateGrantRequest {
            grant_id: format!("bench-{user_id}"),
            user_id: user_id.to_string(),
            amount: 1,
            note: "bench".to_owned(),
            ..CreateGrantRequest::default()
        };
        until_answered(async || {
            let answer = grants
                .create_grant(client::request(request.clone(), CALL_TIMEOUT))
                .await;
            answer.map_err(|status| client::failure(&status, quota))
        })
        .await?;
        let ways = case.ways.iter().map(|(_, way)| match way {
            Way::Grpc(_) => Way::Grpc(channels[place % channels.len()].clone()),
            Way::Get { .. } | Way::Post { .. } => way.clone(),
        });
        let mut caller = Caller {
            bearer: platform.bearer(user_id),
            ways: ways.collect(),
            http: http.clone(),
        };
        for way in 0..caller.ways.len() {
            until_answered(async || caller.call(way).await).await?;
        }
        callers.push(caller);
    }
    Ok(callers)
}

const COLUMNS: &[&str] = &[
    "CALL", "WAY", "PACE", "CALLS/S", " P50 MS", " P99 MS", "+P50 MS", "+P99 MS", " CPU MS", "GOAL",
];

/// Adds the rows of a case; what the second way adds is judged by the goal.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn add_case(
    report: &mut Report,
    case: &Case,
    concurrency: usize,
    rate: u32,
    all: &[Latencies],
    cpu_ms: u64,
) -> Result<(), Failure> {
    let through = &all[all.len() - case.through..];
    let calls = through.iter().map(Latencies::count).sum::<usize>().max(1);
    let cpu = cpu_ms as f64 / calls as f64;
    let ms = |value: Option<f64>| value.map_or_else(String::new, |ms| format!("{ms:>7.2}"));
    let mut first: Option<(f64, f64)> = None;
    for ((way, _), found) in case.ways.iter().zip(all) {
        let (p50, p99) = (found.quantile_ms(500), found.quantile_ms(990));
        let added = first.map(|(at_50, at_99)| (p50 - at_50, p99 - at_99));
        first.get_or_insert((p50, p99));
        let kept = added.map(|(at_50, at_99)| {
            let (goal_50, goal_99) = case.goal;
            at_50 <= goal_50 && goal_99.is_none_or(|goal| at_99 <= goal)
        });
        output::remark(&format!("{} {way} {}: {p50:.2} ms", case.name, pace(rate)));
        let cells = vec![
            case.name.as_str().into(),
            (*way).into(),
            pace(rate).into(),
            format!("{:>7.0}", found.per_second()).into(),
            ms(Some(p50)).into(),
            ms(Some(p99)).into(),
            ms(added.map(|(ms, _)| ms)).into(),
            ms(added.map(|(_, ms)| ms)).into(),
            added.map_or_else(String::new, |_| format!("{cpu:>7.3}")).into(),
            kept.map_or_else(|| "".into(), report::goal),
        ];
        let value = json!({
            "case": case.name, "way": way, "concurrency": concurrency, "rate": rate,
            "calls_per_s": round(found.per_second(), 1), "p50_ms": round(p50, 3), "p99_ms": round(p99, 3),
            "added_p50_ms": added.map(|(ms, _)| round(ms, 3)), "added_p99_ms": added.map(|(_, ms)| round(ms, 3)),
            "goal_p50_ms": added.map(|_| case.goal.0), "goal_p99_ms": added.and(case.goal.1), "kept": kept,
            "gateway_cpu_ms_per_call": added.map(|_| round(cpu, 4)),
        });
        report.add(cells, value)?;
    }
    Ok(())
}

fn pace(rate: u32) -> String {
    match rate {
        0 => "as fast as answered".to_owned(),
        rate => format!("{rate}/s each"),
    }
}
