//! What is measured: latencies, processor time, commits, write-ahead log, storage.

use std::time::Duration;

use sqlx::{PgConnection, Row};

use crate::exit::Failure;

/// Latencies of what ended within the measured time.
#[derive(Debug)]
pub(crate) struct Latencies {
    took: Duration,
    all: Vec<Duration>,
}

impl Latencies {
    pub(crate) const fn new(took: Duration) -> Self {
        Self {
            took,
            all: Vec::new(),
        }
    }

    pub(crate) fn extend(&mut self, more: Vec<Duration>) {
        self.all.extend(more);
        self.all.sort_unstable();
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn per_second(&self) -> f64 {
        self.all.len() as f64 / self.took.as_secs_f64()
    }

    /// Returns the latency that `per_mille` of a thousand stayed within, in milliseconds.
    pub(crate) fn quantile_ms(&self, per_mille: usize) -> f64 {
        let index = (self.all.len() * per_mille / 1_000).min(self.all.len().saturating_sub(1));
        self.all.get(index).map_or(0.0, |d| d.as_secs_f64() * 1_000.0)
    }
}

/// Counters of the server and of the orchestrator process, read at the edges of the measured time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counters {
    pub(crate) commits: i64,
    pub(crate) wal_bytes: i64,
    pub(crate) stored_bytes: i64,
    pub(crate) cpu_ms: u64,
}

/// Schema whose tables count as storage.
const RELATIONS: &str = "
    select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relkind in ('r', 'p')";

impl Counters {
    /// Reads the counters of the database, and the processor time of one process.
    ///
    /// # Errors
    /// If the database does not answer.
    pub(crate) async fn read(connection: &mut PgConnection, schema: &str, pid: u32) -> Result<Self, Failure> {
        let failed = |e: sqlx::Error| Failure::unavailable("cannot read the server's counters").because(&e);
        let row = sqlx::query(
            "select (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint as wal,
                    (select xact_commit from pg_stat_database where datname = current_database()) as commits",
        )
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
        let stored_bytes = sqlx::query_scalar(RELATIONS)
            .bind(schema)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        Ok(Self {
            commits: row.try_get("commits").map_err(failed)?,
            wal_bytes: row.try_get("wal").map_err(failed)?,
            stored_bytes,
            cpu_ms: cpu_ms(pid),
        })
    }
}

/// Processor time that a process has used so far, in milliseconds; 0 where the kernel does not tell.
pub(super) fn cpu_ms(pid: u32) -> u64 {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return 0;
    };
    // Fields after the command name, which stands in parentheses and may hold anything; utime and stime are the
    // 14th and 15th field of the whole (proc(5)), in hundredths of a second.
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return 0;
    };
    let ticks: u64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|f| f.parse::<u64>().ok())
        .sum();
    ticks * 10
}

/// Resident memory of a process, in KiB; 0 where the kernel does not tell.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    pub(super) now: u64,
    /// The most it has had so far.
    pub(super) peak: u64,
}

/// Reads the resident memory of a process (proc(5): `VmRSS`, `VmHWM`).
pub(super) fn memory_kib(pid: u32) -> Memory {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Memory {
        now: field("VmRSS:").unwrap_or(0),
        peak: field("VmHWM:").unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_taken_from_the_sorted_latencies() {
        let mut latencies = Latencies::new(Duration::from_secs(2));
        latencies.extend((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!(latencies.count(), 100);
        assert!((latencies.per_second() - 50.0).abs() < 1e-9);
        assert!((latencies.quantile_ms(500) - 51.0).abs() < 1e-9);
        assert!((latencies.quantile_ms(990) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn this_process_has_memory() {
        let Memory { now, peak } = memory_kib(std::process::id());
        assert!(now > 0 && peak >= now, "{now} {peak}");
        assert_eq!(memory_kib(u32::MAX).peak, 0);
    }

    #[test]
    fn this_process_has_a_processor_time() {
        assert!(cpu_ms(u32::MAX) == 0);
        let _ = cpu_ms(std::process::id());
    }
}
