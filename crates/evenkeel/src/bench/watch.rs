//! Many who watch at once: nothing is lost, nothing comes twice, and what the gateway takes for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ids::UserId;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::events::{Events, Told};
use super::measure::{Latencies, cpu_ms, memory_kib};
use super::platform::Platform;
use super::watcher::{Found, Plan, Watcher};
use super::{WatchArgs, round};
use crate::exit::{Code, Failure};
use crate::output::{self, Cell, Format, Table, Tone};
use crate::own::Process;
use crate::wiring::settings::Name;

/// Connections of one user that the services allow by default.
const MAX_PER_USER: usize = 10;
/// Files that this process has open beside its sockets, with room.
const OTHER_FILES: u64 = 200;
/// Sockets that are opened at the same moment.
const OPENED_AT_ONCE: usize = 64;
/// What has not come so long after the last event is lost.
const PATIENCE: Duration = Duration::from_secs(15);
/// Promised of the gateway's memory, in MiB.
const MEMORY_GOAL: f64 = 300.0;

/// Runs the benchmark and prints what it found; false if an event was lost or came twice.
///
/// # Errors
/// If a process cannot be started, or watchers are refused.
pub(super) async fn run(args: &WatchArgs) -> Result<bool, Failure> {
    if args.users == 0 || args.sockets.div_ceil(args.users) > MAX_PER_USER {
        return Err(Failure::new(
            Code::Usage,
            format!("a user may have {MAX_PER_USER} sockets; take more --users"),
        ));
    }
    allow_files(args.sockets)?;
    let platform = Platform::open(&[Name::Task]).await?;
    let result = measure(args, &platform).await;
    platform.close().await;
    result
}

/// Raises the limit of open files of this process, which those it starts inherit.
fn allow_files(sockets: usize) -> Result<(), Failure> {
    let wanted = u64::try_from(sockets)
        .unwrap_or(u64::MAX)
        .saturating_add(OTHER_FILES);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let short = || {
        Failure::unavailable(format!("this process may not open {wanted} files")).next(format!(
            "raise the limit with `ulimit -n {wanted}`, or take fewer --sockets"
        ))
    };
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        return Err(short());
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|e| short().because(&e))
}

async fn measure(args: &WatchArgs, platform: &Platform) -> Result<bool, Failure> {
    let task = platform.serve(Name::Task, &[]).await?;
    let gateway = platform
        .serve(Name::Gateway, &[("EVENKEEL_TASK_URL", task.url())])
        .await?;
    let events = Arc::new(Events::open(&platform.database(), args.users).await?);
    let idle = memory_kib(gateway.pid()).now;
    let (over, mut watching) = open(args, platform, &gateway, &events).await?;
    output::remark(&format!("{} sockets are open", args.sockets));
    let open = memory_kib(gateway.pid()).now;
    let cpu = cpu_ms(gateway.pid());
    let began = Instant::now();
    over.send_replace(Plan::Reconnect);
    events
        .write(args.events, Duration::from_secs(args.seconds))
        .await?;
    let took = began.elapsed();
    let cpu = cpu_ms(gateway.pid()).saturating_sub(cpu);
    over.send_replace(Plan::Finish(tokio::time::Instant::now() + PATIENCE));
    let mut all = Found::default();
    while let Some(found) = watching.join_next().await {
        let found = found.map_err(|e| Failure::unavailable("a watcher died").because(&e))??;
        all.add(found);
    }
    let mut live = Latencies::new(took);
    live.extend(std::mem::take(&mut all.live));
    let summary = Summary {
        written: events.written(),
        live,
        found: all,
        cpu_ms: cpu,
        took,
        memory: [idle, open, memory_kib(gateway.pid()).peak],
    };
    summary.print(args)?;
    Ok(summary.is_complete())
}

type Watching = JoinSet<Result<Found, Failure>>;

/// Opens all sockets, and returns when each has been accepted.
async fn open(
    args: &WatchArgs,
    platform: &Platform,
    gateway: &Process,
    events: &Arc<Events>,
) -> Result<(watch::Sender<Plan>, Watching), Failure> {
    let bearers: Vec<String> = (0..args.users)
        .map(|user| platform.bearer(UserId::from_uuid(events.user(user))))
        .collect();
    let (plan, _) = watch::channel(Plan::Open);
    let turn = Arc::new(Semaphore::new(OPENED_AT_ONCE));
    let mut opening = JoinSet::new();
    for place in 0..args.sockets {
        let user = place % args.users;
        let watcher = Watcher {
            place,
            sockets: args.sockets,
            reconnects: args.reconnects,
            bearer: bearers[user].clone(),
            url: gateway.url().to_owned(),
            told: Told::new(Arc::clone(events), user),
            plan: plan.subscribe(),
        };
        let turn = Arc::clone(&turn);
        opening.spawn(async move {
            // The semaphore is never closed.
            let _turn = turn.acquire().await;
            let socket = watcher.connect(0).await?.0;
            Ok::<_, Failure>((watcher, socket))
        });
    }
    let mut watching = JoinSet::new();
    while let Some(opened) = opening.join_next().await {
        let (watcher, socket) = opened.map_err(|e| Failure::unavailable("a watcher died").because(&e))??;
        watching.spawn(watcher.run(socket));
    }
    Ok((plan, watching))
}

/// What was found.
struct Summary {
    written: u64,
    found: Found,
    /// From before the transaction of an event to its frame, of those that came while a socket was open.
    live: Latencies,
    cpu_ms: u64,
    took: Duration,
    /// Of the gateway, in KiB: idle, with open sockets, at its peak.
    memory: [u64; 3],
}

impl Summary {
    const fn is_complete(&self) -> bool {
        self.found.lost == 0 && self.found.doubled == 0 && self.found.frames > 0
    }

    fn print(&self, args: &WatchArgs) -> Result<(), Failure> {
        let [idle, open, peak] = self.memory.map(mib);
        let cpu = self.cpu_share();
        let found = &self.found;
        let (p50, p99) = (self.live.quantile_ms(500), self.live.quantile_ms(990));
        if args.printing.format() != Format::Table {
            let value = json!({
                "sockets": args.sockets, "users": args.users, "seconds": round(self.took.as_secs_f64(), 1),
                "events": self.written, "frames": found.frames, "frames_after_reconnect": found.resumed,
                "reconnects": found.reconnects, "refused_reconnects": found.refused, "lost": found.lost,
                "doubled": found.doubled, "p50_ms": round(p50, 1), "p99_ms": round(p99, 1),
                "gateway_mib_idle": round(idle, 1), "gateway_mib_open": round(open, 1),
                "gateway_mib_peak": round(peak, 1), "gateway_cpu": round(cpu, 3), "kept": self.is_complete() && peak <= MEMORY_GOAL,
            });
            return match args.printing.format() {
                Format::Json => output::emit(&format!("{value:#}\n")),
                Format::Jsonl | Format::Table => output::emit(&format!("{value}\n")),
            };
        }
        let judged = |kept: bool| match kept {
            true => Cell::new("kept", Tone::Good),
            false => Cell::new("missed", Tone::Bad),
        };
        let count = |n: u64| Cell::from(n.to_string());
        let mut table = Table::new(&["WHAT", "FOUND", "GOAL"]);
        let sockets = format!("{} of {} users", args.sockets, args.users);
        table.row(vec!["sockets".into(), sockets.into()]);
        table.row(vec!["events".into(), count(self.written)]);
        table.row(vec!["frames".into(), count(found.frames)]);
        table.row(vec!["reconnects".into(), count(found.reconnects)]);
        table.row(vec!["frames made up for after one".into(), count(found.resumed)]);
        table.row(vec!["lost".into(), count(found.lost), judged(found.lost == 0)]);
        table.row(vec![
            "doubled".into(),
            count(found.doubled),
            judged(found.doubled == 0),
        ]);
        table.row(vec!["event to frame, p50".into(), format!("{p50:.0} ms").into()]);
        table.row(vec!["event to frame, p99".into(), format!("{p99:.0} ms").into()]);
        table.row(vec!["gateway, idle".into(), format!("{idle:.0} MiB").into()]);
        table.row(vec!["gateway, all open".into(), format!("{open:.0} MiB").into()]);
        let peak_cell = format!("{peak:.0} MiB").into();
        table.row(vec![
            "gateway, peak".into(),
            peak_cell,
            judged(peak <= MEMORY_GOAL),
        ]);
        table.row(vec!["gateway, processors".into(), format!("{cpu:.2}").into()]);
        output::emit(&table.render(output::colour()))
    }

    /// Processors that the gateway kept busy while events were written.
    #[expect(clippy::cast_precision_loss, reason = "a run has far less than 2^52 ms")]
    fn cpu_share(&self) -> f64 {
        self.cpu_ms as f64 / (self.took.as_secs_f64() * 1_000.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 KiB")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}
