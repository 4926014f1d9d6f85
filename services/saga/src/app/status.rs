//! GetStatus.

use std::collections::BTreeSet;

use proto::saga::v1 as pb;
use saga_engine::{Circuit, ParticipantStatus};

use crate::app::{App, Error, view};
use crate::journal::{Instance, TypeCounts};

impl App {
    /// Counts sagas, and shows what instances and participants are doing. Counts are up to 3 s old.
    pub(crate) async fn get_status(
        &self,
        request: pb::GetStatusRequest,
    ) -> Result<pb::GetStatusResponse, Error> {
        let wanted = |name: &str| request.r#type.is_empty() || name == request.r#type;
        let paused = self.operators.paused_types().await.map_err(Error::Journal)?;
        let paused: BTreeSet<String> = paused.into_iter().map(|paused| paused.saga_type).collect();
        let mut counts = self.reader.counts().await.map_err(Error::Journal)?;
        // A paused type shows even if it has no sagas.
        for name in &paused {
            if counts.iter().all(|counted| counted.saga_type != *name) {
                counts.push(TypeCounts {
                    saga_type: name.clone(),
                    ..TypeCounts::default()
                });
            }
        }
        counts.retain(|counted| wanted(&counted.saga_type));
        counts.sort_by(|a, b| a.saga_type.cmp(&b.saga_type));
        let instances = self.operators.instances().await.map_err(Error::Journal)?;
        // An engine that is too busy to answer is shown without what only it knows.
        let participants = self.engine.status().await.map(|status| status.participants);

        let sum = |part: fn(&TypeCounts) -> u64| counts.iter().map(part).sum();
        let (total, failed) = (sum(TypeCounts::total), sum(|counted| counted.failed));
        Ok(pb::GetStatusResponse {
            total,
            running: sum(|counted| counted.running + counted.compensating),
            failed,
            success_rate: success_rate(total, failed),
            types: counts
                .iter()
                .map(|counted| of_type(counted, paused.contains(&counted.saga_type)))
                .collect(),
            instances: instances.into_iter().map(of_instance).collect(),
            participants: participants
                .unwrap_or_default()
                .iter()
                .map(of_participant)
                .collect(),
        })
    }
}

/// `(total - failed) / total` in hundredths of a percent, rounded down: 100 % means every one.
fn success_rate(total: u64, failed: u64) -> String {
    let good = u128::from(total.saturating_sub(failed));
    let hundredths = (good * 10_000).checked_div(u128::from(total)).unwrap_or(10_000);
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

fn of_type(counts: &TypeCounts, paused: bool) -> pb::TypeStatus {
    pb::TypeStatus {
        r#type: counts.saga_type.clone(),
        total: counts.total(),
        running: counts.running + counts.compensating,
        failed: counts.failed,
        completed: counts.completed,
        compensated: counts.compensated,
        resolved: counts.resolved,
        needs_attention: counts.needs_attention,
        paused,
    }
}

fn of_instance(instance: Instance) -> pb::InstanceStatus {
    pb::InstanceStatus {
        heartbeat_at: Some(view::timestamp(instance.heartbeat_at)),
        id: instance.id,
        address: instance.address,
        epoch: instance.epoch,
        alive: instance.alive,
        unfinished_sagas: instance.unfinished_sagas,
    }
}

fn of_participant(status: &ParticipantStatus) -> pb::ParticipantStatus {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let circuit = match status.circuit {
        Circuit::Closed => pb::CircuitState::Closed,
        Circuit::HalfOpen => pb::CircuitState::HalfOpen,
        Circuit::Open { .. } => pb::CircuitState::Open,
    };
    pb::ParticipantStatus {
        participant: status.name.to_string(),
        circuit: circuit.into(),
        in_flight: number(status.in_flight),
        limit: number(status.limit),
        waiting: number(status.waiting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_never_rounded_up_to_all() {
        assert_eq!(success_rate(0, 0), "100.00%");
        assert_eq!(success_rate(200, 1), "99.50%");
        assert_eq!(success_rate(1_000_000, 1), "99.99%");
        assert_eq!(success_rate(3, 3), "0.00%");
        assert_eq!(success_rate(u64::MAX, 0), "100.00%");
    }
}
