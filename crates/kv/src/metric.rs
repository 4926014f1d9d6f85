//! Metrics. Labels are from closed sets: operations and outcomes; never keys.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_histogram, histogram};

use crate::{Cause, Error};

/// What was asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Get,
    Put,
    PutIfAbsent,
    Replace,
    Remove,
    RemoveIf,
    Take,
    Add,
    PutNewer,
    GetVersioned,
    Hit,
    Rotate,
    BeginRotation,
}

impl Op {
    const ALL: [Self; 13] = [
        Self::Get,
        Self::Put,
        Self::PutIfAbsent,
        Self::Replace,
        Self::Remove,
        Self::RemoveIf,
        Self::Take,
        Self::Add,
        Self::PutNewer,
        Self::GetVersioned,
        Self::Hit,
        Self::Rotate,
        Self::BeginRotation,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::PutIfAbsent => "put_if_absent",
            Self::Replace => "replace",
            Self::Remove => "remove",
            Self::RemoveIf => "remove_if",
            Self::Take => "take",
            Self::Add => "add",
            Self::PutNewer => "put_newer",
            Self::GetVersioned => "get_versioned",
            Self::Hit => "hit",
            Self::Rotate => "rotate",
            Self::BeginRotation => "begin_rotation",
        }
    }
}

/// Values of the label `outcome`.
const OUTCOMES: [&str; 5] = ["done", "slow", "lost", "corrupt", "refused"];

/// Makes every series exist.
pub(crate) fn init() {
    describe_counter!(
        "kv_operations_total",
        "Operations on the key-value store by outcome: done, slow, lost, corrupt, refused (out of bounds)."
    );
    describe_histogram!(
        "kv_operation_seconds",
        "Time an operation on the key-value store took, waiting for a connection included."
    );
    for op in Op::ALL {
        for outcome in OUTCOMES {
            counter!("kv_operations_total", "op" => op.name(), "outcome" => outcome).increment(0);
        }
    }
}

const fn outcome(error: Option<&Error>) -> &'static str {
    match error {
        None => "done",
        Some(Error::Unavailable(Cause::Slow(_))) => "slow",
        Some(Error::Unavailable(Cause::Pool(_) | Cause::Redis(_) | Cause::Postgres(_))) => "lost",
        Some(Error::Corrupt { .. }) => "corrupt",
        Some(Error::Config(_) | Error::Bounds(_)) => "refused",
    }
}

pub(crate) fn operation(op: Op, error: Option<&Error>, took: Duration) {
    counter!("kv_operations_total", "op" => op.name(), "outcome" => outcome(error)).increment(1);
    histogram!("kv_operation_seconds", "op" => op.name()).record(took.as_secs_f64());
}
