//! The run: starts the processes, takes the measurements one after another, prints them.

use std::path::Path;
use std::time::Duration;

use private_postgres::PrivatePostgres;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use proto::saga::v1::{ActivateDefinitionRequest, RegisterDefinitionRequest};
use serde_json::json;
use sqlx::PgConnection;

use super::load::{Engine, Latency, Load, Participants, Variant};
use super::measure::{Counters, Latencies};
use super::report::Report;
use super::{SagasArgs, round};
use crate::exit::Failure;
use crate::identity::{self, Identity};
use crate::output;
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
    database::migrate(&url, &[Name::Saga]).await?;
    let mut connection = database::connect(&url).await?;
    let mut report = Report::new(args.printing, COLUMNS);
    let wanted = match args.participants {
        Some(one) => vec![one],
        None => vec![Participants::Stateless, Participants::Barrier],
    };
    for participants in wanted {
        let processes = Processes::start(participants, &url, keys).await?;
        for load in processes.loads(args, keys)? {
            measure(
                args,
                &load,
                processes.pid(load.engine),
                &mut connection,
                &mut report,
            )
            .await?;
        }
    }
    report.finish()
}

/// Both engines before the same participant.
struct Processes {
    participants: Participants,
    engine: Process,
    baseline: Process,
    _participant: Process,
}

impl Processes {
    async fn start(participants: Participants, url: &str, keys: &Path) -> Result<Self, Failure> {
        let mut command = vec!["bench", "participant", "--listen", "127.0.0.1:0"];
        if participants != Participants::Stateless {
            command.extend(["--database-url", url]);
        }
        if participants == Participants::Batched {
            command.push("--batched");
        }
        let participant = Process::start(&command, &[], false).await?;
        let engine = orchestrator(url, keys, participant.url()).await?;
        let baseline = Process::start(
            &[
                "bench",
                "baseline",
                "--listen",
                "127.0.0.1:0",
                "--database-url",
                url,
                "--participant",
                participant.url(),
            ],
            &[],
            false,
        )
        .await?;
        register(
            &Identity::operator(Some(keys))?,
            engine.url(),
            "BENCH_FOUR",
            DEFINITION,
        )
        .await?;
        Ok(Self {
            participants,
            engine,
            baseline,
            _participant: participant,
        })
    }

    const fn of(&self, engine: Engine) -> &Process {
        match engine {
            Engine::Evenkeel => &self.engine,
            Engine::Baseline => &self.baseline,
        }
    }

    fn pid(&self, engine: Engine) -> u32 {
        self.of(engine).pid()
    }

    /// What is to be measured, in order.
    fn loads(&self, args: &SagasArgs, keys: &Path) -> Result<Vec<Load>, Failure> {
        let bench = Identity::of(identity::open(keys, "bench")?);
        let mut loads = Vec::new();
        for variant in [Variant::Completed, Variant::Compensated] {
            for &concurrency in &args.concurrency {
                for engine in [Engine::Evenkeel, Engine::Baseline] {
                    let wanted = args.engine.is_none_or(|e| e == engine)
                        && args.variant.is_none_or(|v| v == variant)
                        // The baseline answers at the end only.
                        && (args.latency == Latency::End || engine == Engine::Evenkeel);
                    if wanted {
                        loads.push(Load {
                            identity: bench.clone(),
                            engine,
                            participants: self.participants,
                            variant,
                            url: self.of(engine).url().to_owned(),
                            concurrency,
                            payload_bytes: usize::try_from(args.payload_bytes).unwrap_or(0),
                            latency: args.latency,
                        });
                    }
                }
            }
        }
        Ok(loads)
    }
}

/// Starts the orchestrator before a participant of the benchmark.
pub(super) async fn orchestrator(url: &str, keys: &Path, participant: &str) -> Result<Process, Failure> {
    let participant = format!("evenkeel.bench.v1={participant}");
    Process::start(
        &[
            "serve",
            "saga",
            "--listen",
            "127.0.0.1:0",
            "--instance",
            "bench",
            "--until-stdin-closes",
            "--participant",
            &participant,
        ],
        &[
            ("DATABASE_URL", url),
            ("EVENKEEL_TELEMETRY__LEVEL", "warn"),
            (identity::VARIABLE, &keys.display().to_string()),
        ],
        true,
    )
    .await
}

/// Registers a definition and makes it the active one.
pub(super) async fn register(
    operator: &Identity,
    url: &str,
    name: &str,
    definition: &str,
) -> Result<(), Failure> {
    let failed = |e: tonic::Status| Failure::unavailable("cannot register the definition").because(&e);
    let mut client = SagaServiceClient::new(operator.channel(url, "saga")?);
    let request = RegisterDefinitionRequest {
        source: definition.to_owned(),
        source_name: format!("{name}.yaml"),
        check_only: false,
    };
    let answer = client
        .register_definition(request)
        .await
        .map_err(failed)?
        .into_inner();
    if let Some(problem) = answer.problems.first() {
        return Err(Failure::config(format!(
            "{name}.yaml:{}: {}",
            problem.line, problem.message
        )));
    }
    let request = ActivateDefinitionRequest {
        name: name.to_owned(),
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
    let mut finished = 0;
    for number in 1..=args.slices {
        let warmup = if number == 1 {
            args.warmup()
        } else {
            Duration::ZERO
        };
        let edge = async || Counters::read(&mut *connection, schema, pid).await;
        let (latencies, before, after) = load.run(warmup, args.measured(), edge).await?;
        let slice = (args.slices > 1).then_some(Slice { number, finished });
        add_row(report, load, slice, &latencies, before, after)?;
        finished += latencies.count();
    }
    Ok(())
}

/// Which of several measurements in a row, and how many sagas the ones before it have finished.
#[derive(Debug, Clone, Copy)]
struct Slice {
    number: u32,
    finished: usize,
}

const COLUMNS: &[&str] = &[
    "ENGINE", "STEPS", "VARIANT", "CONC", " SAGAS/S", "P50 MS", "P99 MS", "CPU MS", "COMMITS", "WAL B",
    "STORED B",
];

#[expect(clippy::cast_precision_loss, reason = "counters are far below 2^52")]
fn add_row(
    report: &mut Report,
    load: &Load,
    slice: Option<Slice>,
    all: &Latencies,
    before: Counters,
    after: Counters,
) -> Result<(), Failure> {
    let sagas = all.count().max(1) as f64;
    let engine = match load.engine {
        Engine::Evenkeel => "evenkeel",
        Engine::Baseline => "baseline",
    };
    let participants = match load.participants {
        Participants::Stateless => "stateless",
        Participants::Barrier => "barrier",
        Participants::Batched => "batched",
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
    output::remark(&format!(
        "{engine} {participants} {variant} {}: {rate:.0} sagas/s",
        load.concurrency
    ));
    let cells = vec![
        engine.into(),
        participants.into(),
        match slice {
            None => variant.into(),
            Some(slice) => format!("{variant} {} ({} before)", slice.number, slice.finished).into(),
        },
        format!("{:>4}", load.concurrency).into(),
        format!("{rate:>8.0}").into(),
        format!("{p50:>7.1}").into(),
        format!("{p99:>7.1}").into(),
        format!("{cpu:>6.3}").into(),
        format!("{commits:>7.2}").into(),
        format!("{wal:>7.0}").into(),
        format!("{stored:>7.0}").into(),
    ];
    let mut value = json!({
        "engine": engine, "participants": participants, "variant": variant,
        "concurrency": load.concurrency, "sagas_per_s": round(rate, 1),
        "p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "cpu_ms_per_saga": round(cpu, 4),
        "commits_per_saga": round(commits, 3), "wal_bytes_per_saga": round(wal, 0),
        "stored_bytes_per_saga": round(stored, 0),
    });
    if let Some(slice) = slice {
        value["slice"] = slice.number.into();
        value["finished_before"] = slice.finished.into();
    }
    report.add(cells, value)
}
