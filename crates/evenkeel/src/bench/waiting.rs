//! What sagas cost that only wait: for a person, a pipeline, a provider.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use private_postgres::PrivatePostgres;
use prost::Message as _;
use proto::bench::v1::BenchInput;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use proto::saga::v1::{StartSagaRequest, start_saga_request};
use serde_json::json;

use super::measure::{cpu_ms, memory_kib};
use super::report::goal;
use super::run::{orchestrator, register};
use super::{WaitingArgs, round};
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::identity::{self, Identity};
use crate::output::{self, Format, Table};
use crate::own::{self, Process, Scratch};
use crate::wiring::database;
use crate::wiring::settings::Name;

const DEFINITION: &str = "saga: BENCH_WAIT
version: 1
input: evenkeel.bench.v1.BenchInput
deadline: 30d
steps:
  - name: WAIT
    call: evenkeel.bench.v1.BenchWaitSteps/Wait
    with: { payload: input.payload }
    no_compensation: it only waits
";
/// What is promised of each: bytes of memory, and of all: processor time, as a part of one processor.
const MEMORY_GOAL: f64 = 1_024.0;
const CPU_GOAL: f64 = 0.02;
/// Sagas are started by so many at a time, over so many connections.
const AT_ONCE: usize = 64;
const CONNECTIONS: usize = 8;
/// The orchestrator is idle when it takes less than this of a second, so many times in a row.
const IDLE_MS: u64 = 50;
const IDLE_TIMES: u32 = 3;
/// It becomes idle within this time, or the run fails.
const PATIENCE: Duration = Duration::from_secs(120);
const SECOND: Duration = Duration::from_secs(1);

/// Runs the benchmark and prints its row.
///
/// # Errors
/// If a process cannot be started, or any saga.
pub(super) async fn run(args: &WaitingArgs) -> Result<(), Failure> {
    let scratch = Scratch::new("bench")?;
    let server = own::postgres(&scratch).await?;
    let result = measure(args, &server, &scratch.keys()).await;
    server.stop().await;
    result
}

async fn measure(args: &WaitingArgs, server: &PrivatePostgres, keys: &Path) -> Result<(), Failure> {
    let url = server.url("postgres");
    identity::ensure(keys)?;
    database::migrate(&url, &[Name::Saga]).await?;
    let participant =
        Process::start(&["bench", "participant", "--listen", "127.0.0.1:0"], &[], false).await?;
    let engine = orchestrator(&url, keys, participant.url()).await?;
    register(
        &Identity::operator(Some(keys))?,
        engine.url(),
        "BENCH_WAIT",
        DEFINITION,
    )
    .await?;
    let bench = Identity::of(identity::open(keys, "bench")?);

    // What starting a saga allocates once for all is there before anything is measured.
    start(&bench, engine.url(), args.sagas.min(1_000)).await?;
    idle(engine.pid()).await?;
    let before = memory_kib(engine.pid()).now;
    let began = Instant::now();
    start(&bench, engine.url(), args.sagas).await?;
    let started = began.elapsed();
    output::remark(&format!(
        "{} sagas started in {:.1} s",
        args.sagas,
        started.as_secs_f64()
    ));
    idle(engine.pid()).await?;
    let after = memory_kib(engine.pid()).now;
    let (cpu, began) = (cpu_ms(engine.pid()), Instant::now());
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let cpu = cpu_ms(engine.pid()).saturating_sub(cpu);
    report(args, after.saturating_sub(before), cpu, began.elapsed())
}

async fn start(bench: &Identity, url: &str, count: usize) -> Result<(), Failure> {
    let channels = (0..CONNECTIONS)
        .map(|_| bench.channel(url, "saga"))
        .collect::<Result<Vec<_>, _>>()?;
    let input = BenchInput {
        payload: "x".repeat(100),
        refuse_step: 0,
    };
    let message = prost_types::Any {
        type_url: "type.googleapis.com/evenkeel.bench.v1.BenchInput".to_owned(),
        value: input.encode_to_vec(),
    };
    futures::stream::iter(0..count)
        .map(|n| {
            let mut client = SagaServiceClient::new(channels[n % CONNECTIONS].clone());
            let request = StartSagaRequest {
                r#type: "BENCH_WAIT".to_owned(),
                business_id: uuid::Uuid::now_v7().simple().to_string(),
                input: Some(start_saga_request::Input::Message(message.clone())),
                wait: None,
            };
            async move {
                let answer = client.start_saga(client::request(request, CALL_TIMEOUT)).await;
                answer.map(drop).map_err(|status| client::failure(&status, url))
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await
        .map(drop)
}

/// Waits until a process has nothing to do.
async fn idle(pid: u32) -> Result<(), Failure> {
    let began = Instant::now();
    let mut quiet = 0;
    while quiet < IDLE_TIMES {
        if began.elapsed() > PATIENCE {
            return Err(Failure::new(
                Code::Failed,
                "the orchestrator does not become idle",
            ));
        }
        let before = cpu_ms(pid);
        tokio::time::sleep(SECOND).await;
        let used = cpu_ms(pid).saturating_sub(before);
        quiet = if used < IDLE_MS { quiet + 1 } else { 0 };
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counters are far below 2^52")]
fn report(args: &WaitingArgs, grown_kib: u64, cpu_ms: u64, took: Duration) -> Result<(), Failure> {
    let bytes = grown_kib as f64 * 1_024.0 / args.sagas as f64;
    let cpu = cpu_ms as f64 / 1_000.0 / took.as_secs_f64();
    let (small, idle) = (bytes < MEMORY_GOAL, cpu < CPU_GOAL);
    let value = json!({
        "sagas": args.sagas, "memory_bytes_per_saga": round(bytes, 0), "memory_goal_bytes": MEMORY_GOAL,
        "processors_busy": round(cpu, 4), "processors_goal": CPU_GOAL, "kept": small && idle,
    });
    match args.printing.format() {
        Format::Jsonl => return output::emit(&format!("{value}\n")),
        Format::Json => return output::emit(&format!("{value:#}\n")),
        Format::Table => {}
    }
    let mut table = Table::new(&["WAITING", "WHAT", "      FOUND", "GOAL", ""]);
    let count = format!("{}", args.sagas);
    table.row(vec![
        count.as_str().into(),
        "memory of each, bytes".into(),
        format!("{bytes:>11.0}").into(),
        "below 1024".into(),
        goal(small),
    ]);
    table.row(vec![
        count.as_str().into(),
        "processors busy with all".into(),
        format!("{cpu:>11.4}").into(),
        "below 0.02".into(),
        goal(idle),
    ]);
    output::emit(&table.render(output::colour()))
}
