//! What the operating system knows of this process, under the names that Prometheus's own client libraries use. Read at
//! each scrape; where there is no `/proc`, the numbers are left out.

use std::fmt::Write as _;
use std::fs;

/// Appends the metrics of the process, with their help and type.
pub(crate) fn append(text: &mut String) {
    metric(
        text,
        "evenkeel_build_info",
        "gauge",
        "Always 1; the label has the version of the program.",
        Some(1.0),
        concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"),
    );
    let stat = fs::read_to_string("/proc/self/stat").ok();
    let stat = stat.as_deref().and_then(Stat::parse);
    let boot = fs::read_to_string("/proc/stat").ok();
    let boot = boot.as_deref().and_then(boot_seconds);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let plain = [
        (
            "process_cpu_seconds_total",
            "counter",
            "Processor time of the process, user and system, in seconds.",
            stat.as_ref().map(|stat| stat.cpu_seconds),
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "When the process started, in seconds since 1970.",
            stat.as_ref()
                .zip(boot)
                .map(|(stat, boot)| boot + stat.started_after_boot_seconds),
        ),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Memory of the process that is in RAM, in bytes.",
            status_bytes(&status, "VmRSS:"),
        ),
        (
            "process_virtual_memory_bytes",
            "gauge",
            "Address space of the process, in bytes.",
            status_bytes(&status, "VmSize:"),
        ),
        (
            "process_threads",
            "gauge",
            "Threads of the process.",
            status_number(&status, "Threads:"),
        ),
        (
            "process_open_fds",
            "gauge",
            "Open file descriptors; sockets are among them.",
            open_files(),
        ),
        (
            "process_max_fds",
            "gauge",
            "File descriptors the process may open.",
            max_files(&limits),
        ),
    ];
    for (name, kind, help, value) in plain {
        metric(text, name, kind, help, value, "");
    }
}

fn metric(text: &mut String, name: &str, kind: &str, help: &str, value: Option<f64>, labels: &str) {
    if let Some(value) = value {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{labels} {value}\n"
        );
    }
}

/// Fields of `/proc/self/stat` (proc(5)).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    started_after_boot_seconds: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in brackets, which may hold spaces and brackets.
        let (_, rest) = text.rsplit_once(')')?;
        // The first of `rest` is field 3.
        let ticks = |field: usize| rest.split_whitespace().nth(field - 3)?.parse::<u64>().ok();
        let second = rustix::param::clock_ticks_per_second();
        let seconds = |ticks: u64| ticks as f64 / second as f64;
        Some(Self {
            cpu_seconds: seconds(ticks(14)? + ticks(15)?),
            started_after_boot_seconds: seconds(ticks(22)?),
        })
    }
}

/// When the machine was started, in seconds since 1970.
fn boot_seconds(text: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}

fn status_number(status: &str, key: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_whitespace().next()?.parse().ok()
}

/// Sizes in `/proc/self/status` are in KiB, whatever the unit beside them says.
fn status_bytes(status: &str, key: &str) -> Option<f64> {
    status_number(status, key).map(|kib| kib * 1024.0)
}

fn open_files() -> Option<f64> {
    // The directory that is being read is open, too.
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(open.saturating_sub(1) as f64)
}

/// Absent if it is `unlimited`.
fn max_files(limits: &str) -> Option<f64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_brackets_does_not_shift_the_fields() {
        let fields = "S 1 1 1 0 -1 4194560 100 0 0 0 200 300 0 0 20 0 9 0 4200 1000000 250";
        let stat = Stat::parse(&format!("42 (a) b (c)) {fields}")).expect("it is complete");
        let second = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(stat.cpu_seconds, 500.0 / second);
        assert_eq!(stat.started_after_boot_seconds, 4_200.0 / second);
        for wrong in ["", "42 (a", "42 (a) S 1"] {
            assert_eq!(Stat::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn this_process_has_memory_time_and_files() {
        let mut text = String::new();
        append(&mut text);
        for name in [
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "process_open_fds",
        ] {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            let value: f64 = line
                .and_then(|line| line.rsplit(' ').next()?.parse().ok())
                .unwrap_or_else(|| panic!("no {name}:\n{text}"));
            assert!(value > 0.0, "{name} is {value}");
        }
        assert!(
            text.contains("# TYPE process_cpu_seconds_total counter"),
            "{text}"
        );
    }

    #[test]
    fn an_absent_or_unlimited_number_is_left_out() {
        assert_eq!(status_bytes("VmRSS:\t  12 kB\n", "VmRSS:"), Some(12_288.0));
        assert_eq!(status_bytes("Name:\tx\n", "VmRSS:"), None);
        assert_eq!(
            max_files("Max open files            unlimited            unlimited            files"),
            None
        );
    }
}
