//! The orchestrator as a whole: counts, instances, participants, paused types.

use chrono::{DateTime, Utc};
use proto::saga::v1::{
    CircuitState, GetStatusResponse, InstanceStatus, ParticipantStatus, PausedType, TypeStatus,
};

use crate::output::{Cell, Table, Tone, printable};
use crate::render::time;

/// Everything that `GetStatus` answers.
pub(crate) fn text(status: &GetStatusResponse, now: DateTime<Utc>, colour: bool) -> String {
    let GetStatusResponse {
        total,
        running,
        failed,
        success_rate,
        types: by_type,
        instances: by_instance,
        participants: by_participant,
    } = status;
    let rate = printable(success_rate);
    let mut text = format!("{total} sagas, {running} running, {failed} failed, {rate} successful\n");
    let tables = [
        (!by_type.is_empty()).then(|| types(by_type)),
        (!by_instance.is_empty()).then(|| instances(by_instance, now)),
        (!by_participant.is_empty()).then(|| participants(by_participant)),
    ];
    for table in tables.into_iter().flatten() {
        text.push('\n');
        text.push_str(&table.render(colour));
    }
    text
}

/// A count that is worth a look unless it is 0.
fn worrying(count: u64) -> Cell {
    let tone = if count == 0 { Tone::Dim } else { Tone::Bad };
    Cell::new(count.to_string(), tone)
}

fn types(types: &[TypeStatus]) -> Table {
    let mut table = Table::new(&[
        "TYPE",
        "TOTAL",
        "RUNNING",
        "COMPLETED",
        "COMPENSATED",
        "RESOLVED",
        "FAILED",
        "ATTENTION",
        "NOTE",
    ]);
    for status in types {
        table.row(vec![
            status.r#type.as_str().into(),
            status.total.to_string().into(),
            status.running.to_string().into(),
            status.completed.to_string().into(),
            status.compensated.to_string().into(),
            status.resolved.to_string().into(),
            worrying(status.failed),
            worrying(status.needs_attention),
            Cell::new(if status.paused { "paused" } else { "" }, Tone::Warn),
        ]);
    }
    table
}

fn instances(instances: &[InstanceStatus], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&["INSTANCE", "ADDRESS", "EPOCH", "HEARTBEAT", "UNFINISHED", "STATE"]);
    for instance in instances {
        let state = if instance.alive {
            Cell::new("alive", Tone::Good)
        } else {
            // Nobody needs to act: its sagas are taken over.
            Cell::new("gone", Tone::Warn)
        };
        table.row(vec![
            instance.id.as_str().into(),
            instance.address.as_str().into(),
            instance.epoch.to_string().into(),
            time::ago(instance.heartbeat_at.as_ref(), now).into(),
            instance.unfinished_sagas.to_string().into(),
            state,
        ]);
    }
    table
}

fn participants(participants: &[ParticipantStatus]) -> Table {
    let mut table = Table::new(&["PARTICIPANT", "CIRCUIT", "IN FLIGHT", "WAITING"]);
    for participant in participants {
        let circuit = match participant.circuit() {
            CircuitState::Unspecified => Cell::new("unknown", Tone::Dim),
            CircuitState::Closed => Cell::new("closed", Tone::Good),
            CircuitState::HalfOpen => Cell::new("half open", Tone::Warn),
            CircuitState::Open => Cell::new("open", Tone::Bad),
        };
        table.row(vec![
            participant.participant.as_str().into(),
            circuit,
            format!("{} of {}", participant.in_flight, participant.limit).into(),
            participant.waiting.to_string().into(),
        ]);
    }
    table
}

/// Types that are paused, one line each.
pub(crate) fn paused(types: &[PausedType], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&["TYPE", "SINCE", "BY", "WHY"]);
    for paused in types {
        table.row(vec![
            Cell::new(&paused.r#type, Tone::Warn),
            time::ago(paused.since.as_ref(), now).into(),
            paused.actor.as_str().into(),
            Cell::new(&paused.reason, Tone::Dim),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(100, 0).unwrap()
    }

    #[test]
    fn the_status_counts_and_says_who_does_what() {
        let status = GetStatusResponse {
            total: 200,
            running: 2,
            failed: 1,
            success_rate: "99.50%".to_owned(),
            types: vec![TypeStatus {
                r#type: "TASK_RUN".to_owned(),
                total: 200,
                running: 2,
                failed: 1,
                completed: 190,
                compensated: 7,
                resolved: 1,
                needs_attention: 0,
                paused: true,
            }],
            instances: vec![InstanceStatus {
                id: "saga-0".to_owned(),
                address: "http://saga-0:7101".to_owned(),
                epoch: 3,
                heartbeat_at: Some(Timestamp {
                    seconds: 99,
                    nanos: 500_000_000,
                }),
                alive: true,
                unfinished_sagas: 2,
            }],
            participants: vec![ParticipantStatus {
                participant: "evenkeel.quota.v1".to_owned(),
                circuit: CircuitState::Open.into(),
                in_flight: 0,
                limit: 256,
                waiting: 2,
            }],
        };
        insta::assert_snapshot!(text(&status, now(), false), @r"
        200 sagas, 2 running, 1 failed, 99.50% successful

        TYPE      TOTAL  RUNNING  COMPLETED  COMPENSATED  RESOLVED  FAILED  ATTENTION  NOTE
        TASK_RUN  200    2        190        7            1         1       0          paused

        INSTANCE  ADDRESS             EPOCH  HEARTBEAT  UNFINISHED  STATE
        saga-0    http://saga-0:7101  3      500ms ago  2           alive

        PARTICIPANT        CIRCUIT  IN FLIGHT  WAITING
        evenkeel.quota.v1  open     0 of 256   2
        ");
    }

    #[test]
    fn without_sagas_there_are_no_empty_tables() {
        let status = GetStatusResponse {
            success_rate: "100.00%".to_owned(),
            ..GetStatusResponse::default()
        };
        assert_eq!(
            text(&status, now(), false),
            "0 sagas, 0 running, 0 failed, 100.00% successful\n"
        );
    }
}
