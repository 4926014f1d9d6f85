//! The run: starts the processes, takes the measurements one after another, prints them.

use std::path::Path;

use private_postgres::PrivatePostgres;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use proto::saga::v1::{ActivateDefinitionRequest, RegisterDefinitionRequest};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::load::{Engine, Latency, Load, Variant};
use super::measure::{Counters, Latencies};
use super::{SagasArgs, round};
use crate::exit::Failure;
use crate::identity::{self, Identity};
use crate::output::{self, Cell, Format, Table};
use crate::own::{self, Process, Scratch};
use crate::wiring::database;
use crate::wiring::settings::Name;

const DEFINITION: &str = include_str!("BENCH_FOUR.yaml");

/// Runs the benchmark and prints its rows.
///
/// # Errors
/// If a process cannot be started, or any saga fails.
pub(crate) async fn sagas(args: &SagasArgs) -> Result<(), Failure> {
    if args.concurrency.iter().any(|n| !(1..=4_096).contains(n)) {
        return Err(Failure::new(
            crate::exit::Code::Usage,
            "--concurrency takes numbers from 1 to 4096",
        ));
    }
    let scratch = Scratch::new("bench")?;
    let server = own::postgres(&scratch).await?;
    let result = measure_all(args, &server, &scratch.keys()).await;
    server.stop().await;
    result
}

async fn measure_all(args: &SagasArgs, server: &PrivatePostgres, keys: &Path) -> Result<(), Failure> {
    let url = server.url("postgres");
    identity::ensure(keys)?;
    let bench = Identity::of(identity::open(keys, "bench")?);
    database::migrate(&url, &[Name::Saga]).await?;
    let participant =
        Process::start(&["bench", "participant", "--listen", "127.0.0.1:0"], &[], false).await?;
    let engine = Process::start(
        &[
            "serve",
            "saga",
            "--listen",
            "127.0.0.1:0",
            "--instance",
            "bench",
            "--until-stdin-closes",
            "--participant",
            &format!("evenkeel.bench.v1={}", participant.url()),
        ],
        &[
            ("DATABASE_URL", &url),
            ("EVENKEEL_TELEMETRY__LEVEL", "warn"),
            (identity::VARIABLE, &keys.display().to_string()),
        ],
        true,
    )
    .await?;
    let baseline = Process::start(
        &[
            "bench",
            "baseline",
            "--listen",
            "127.0.0.1:0",
            "--database-url",
            &url,
            "--participant",
            participant.url(),
        ],
        &[],
        false,
    )
    .await?;
    register(&Identity::operator(Some(keys))?, engine.url()).await?;
    let mut connection = database::connect(&url).await?;
    let mut report = Report::new(args.format());
    for variant in [Variant::Completed, Variant::Compensated] {
        for &concurrency in &args.concurrency {
            for (kind, process) in [(Engine::Evenkeel, &engine), (Engine::Baseline, &baseline)] {
                let wanted = args.engine.is_none_or(|e| e == kind)
                    && args.variant.is_none_or(|v| v == variant)
                    // The baseline answers at the end only.
                    && (args.latency == Latency::End || kind == Engine::Evenkeel);
                if wanted {
                    let load = Load {
                        identity: bench.clone(),
                        engine: kind,
                        variant,
                        url: process.url().to_owned(),
                        concurrency,
                        payload_bytes: usize::try_from(args.payload_bytes).unwrap_or(0),
                        latency: args.latency,
                    };
                    measure(args, &load, process.pid(), &mut connection, &mut report).await?;
                }
            }
        }
    }
    report.finish()
}

async fn register(operator: &Identity, url: &str) -> Result<(), Failure> {
    let failed = |e: tonic::Status| Failure::unavailable("cannot register the definition").because(&e);
    let mut client = SagaServiceClient::new(operator.channel(url, "saga")?);
    let request = RegisterDefinitionRequest {
        source: DEFINITION.to_owned(),
        source_name: "BENCH_FOUR.yaml".to_owned(),
        check_only: false,
    };
    let answer = client
        .register_definition(request)
        .await
        .map_err(failed)?
        .into_inner();
    if let Some(problem) = answer.problems.first() {
        return Err(Failure::config(format!(
            "BENCH_FOUR.yaml:{}: {}",
            problem.line, problem.message
        )));
    }
    let request = ActivateDefinitionRequest {
        name: "BENCH_FOUR".to_owned(),
        version: 1,
        deactivate: false,
    };
    client.activate_definition(request).await.map_err(failed)?;
    Ok(())
}

async fn measure(
    args: &SagasArgs,
    load: &Load,
    pid: u32,
    connection: &mut PgConnection,
    report: &mut Report,
) -> Result<(), Failure> {
    let schema = match load.engine {
        Engine::Evenkeel => "saga",
        Engine::Baseline => "baseline",
    };
    let (latencies, before, after) = load
        .run(args.warmup(), args.measured(), async || {
            Counters::read(&mut *connection, schema, pid).await
        })
        .await?;
    report.row(load, &latencies, before, after)
}

/// Rows as they come, or a table at the end.
struct Report {
    format: Format,
    rows: Vec<Vec<Cell>>,
    values: Vec<Value>,
}

impl Report {
    const fn new(format: Format) -> Self {
        Self {
            format,
            rows: Vec::new(),
            values: Vec::new(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counters are far below 2^52")]
    fn row(
        &mut self,
        load: &Load,
        all: &Latencies,
        before: Counters,
        after: Counters,
    ) -> Result<(), Failure> {
        let sagas = all.count().max(1) as f64;
        let engine = match load.engine {
            Engine::Evenkeel => "evenkeel",
            Engine::Baseline => "baseline",
        };
        let variant = match load.variant {
            Variant::Completed => "completed",
            Variant::Compensated => "compensated",
        };
        let cpu = (after.cpu_ms - before.cpu_ms) as f64 / sagas;
        let commits = (after.commits - before.commits) as f64 / sagas;
        let wal = (after.wal_bytes - before.wal_bytes) as f64 / sagas;
        let stored = (after.stored_bytes - before.stored_bytes) as f64 / sagas;
        let (rate, p50, p99) = (all.per_second(), all.quantile_ms(500), all.quantile_ms(990));
        if self.format != Format::Table {
            let value = json!({
                "engine": engine, "participants": "stateless", "variant": variant,
                "concurrency": load.concurrency, "sagas_per_s": round(rate, 1),
                "p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "cpu_ms_per_saga": round(cpu, 4),
                "commits_per_saga": round(commits, 3), "wal_bytes_per_saga": round(wal, 0),
                "stored_bytes_per_saga": round(stored, 0),
            });
            if self.format == Format::Jsonl {
                return output::emit(&format!("{value}\n"));
            }
            self.values.push(value);
        }
        output::remark(&format!(
            "{engine} {variant} {}: {rate:.0} sagas/s",
            load.concurrency
        ));
        self.rows.push(vec![
            engine.into(),
            variant.into(),
            format!("{:>4}", load.concurrency).into(),
            format!("{rate:>8.0}").into(),
            format!("{p50:>7.1}").into(),
            format!("{p99:>7.1}").into(),
            format!("{cpu:>6.3}").into(),
            format!("{commits:>7.2}").into(),
            format!("{wal:>7.0}").into(),
            format!("{stored:>7.0}").into(),
        ]);
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        match self.format {
            Format::Jsonl => return Ok(()),
            Format::Json => return output::emit(&format!("{:#}\n", json!({ "rows": self.values }))),
            Format::Table => {}
        }
        let mut table = Table::new(&[
            "ENGINE", "VARIANT", "CONC", " SAGAS/S", "P50 MS", "P99 MS", "CPU MS", "COMMITS", "WAL B",
            "STORED B",
        ]);
        for row in self.rows {
            table.row(row);
        }
        output::emit(&table.render(output::colour()))
    }
}
