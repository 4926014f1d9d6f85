//! The table of recovery times: `docs/recovery.md` has a row for each scenario, which a run with `UPDATE_DOCS=1` writes.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// Scenarios run side by side.
static DOCUMENT: Mutex<()> = Mutex::new(());

/// One row: what broke, what the times are, and the times.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    pub(crate) from_to: &'static str,
    pub(crate) times: Vec<Duration>,
    pub(crate) noted: String,
}

/// The value below which this share of the sorted values lies (nearest rank).
pub(crate) fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}

impl Row {
    /// Writes the row if documents are to be written; otherwise the document must have one of this fault.
    pub(crate) fn tell(&self) {
        assert!(!self.times.is_empty(), "nothing was measured of {:?}", self.fault);
        let [p50, p99, max] = [50, 99, 100].map(|percent| seconds(percentile(&self.times, percent)));
        let count = self.times.len();
        let begin = format!("| {} |", self.fault);
        let row = format!(
            "{begin} {} | {count} | {p50} | {p99} | {max} | {} |",
            self.from_to, self.noted
        );
        eprintln!("{row}");
        let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/recovery.md"));
        let _alone = DOCUMENT.lock().expect("nobody panics with it");
        let text = std::fs::read_to_string(&path).expect("docs/recovery.md can be read");
        let update = std::env::var_os("UPDATE_DOCS").is_some();
        let mut found = 0;
        let lines = text.lines().map(|line| {
            if line.starts_with(&begin) {
                found += 1;
                row.clone()
            } else if update && line.starts_with("Machine: ") {
                machine()
            } else {
                line.to_owned()
            }
        });
        let written: String = lines.map(|line| line + "\n").collect();
        assert_eq!(
            found, 1,
            "docs/recovery.md has no one row that begins with {begin:?}"
        );
        if update {
            std::fs::write(&path, written).expect("docs/recovery.md can be written");
        }
    }
}

/// What it was measured on.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = read("/proc/meminfo");
    let kib = info
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let kernel = read("/proc/sys/kernel/osrelease");
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "optimized"
    };
    format!(
        "Machine: {cores} cores, {} GiB, Linux {}, {build} build.",
        kib.unwrap_or_default() >> 20,
        kernel.trim()
    )
}
