//! What must be so when everything is over.

use std::collections::HashMap;
use std::time::Duration;

use ids::SagaId;
use saga_core::Phase;
use saga_core::invariants;
use saga_core::invariants::effects::{Effect, broken_promise};
use saga_engine::RequestError;
use tokio::task::JoinHandle;

use super::people::replay;
use super::{Asked, Sim};

impl Sim {
    /// With every saga at its end, nothing is held or waited for any more.
    pub(super) async fn check_rest(&self) -> Result<(), String> {
        for process in self.replicas.iter().flatten() {
            let Ok(status) = process.handle.status().await else {
                continue;
            };
            let busy = status
                .participants
                .iter()
                .any(|p| p.in_flight > 0 || p.waiting > 0);
            if busy || status.live > 0 || status.passive > 0 || status.calls > 0 || status.to_load > 0 {
                return Err(format!("not at rest: {status:?}"));
            }
        }
        Ok(())
    }

    /// Every promise about effects is kept, and nobody asked of the journal what must never be.
    pub(super) fn check_effects(&self) -> Result<(), String> {
        let disk = self.disk.lock().unwrap();
        let violations = self.services.violations.lock().unwrap();
        if let Some(first) = disk.violations.first().or(violations.first()) {
            return Err(first.clone());
        }
        for (id, stored) in &disk.sagas {
            let plan = &stored.identity.plan;
            let wrong = |what: &str, effects: &[Effect]| {
                Err(format!(
                    "{what}: {id} {:?} {:?} {effects:?}",
                    stored.row, stored.events
                ))
            };
            let effects = self.services.effects(&stored.identity);
            if let Some(promise) = broken_promise(plan, stored.row.phase, &effects) {
                return wrong(promise, &effects);
            }
            let state = replay(stored);
            if let Some(invariant) = invariants::broken_at_rest(plan, &state) {
                return wrong(invariant, &effects);
            }
        }
        Ok(())
    }

    pub(super) async fn check_answers(&mut self) -> Result<(), String> {
        let mut by_key: HashMap<u32, SagaId> = HashMap::new();
        let mut created: HashMap<u32, u32> = HashMap::new();
        for Asked { key, answer } in std::mem::take(&mut self.starts) {
            match answered(answer).await? {
                Ok(seen) => {
                    if *by_key.entry(key).or_insert(seen.saga) != seen.saga {
                        return Err(format!("key {key} has two sagas"));
                    }
                    *created.entry(key).or_default() += u32::from(seen.created);
                    if !self.disk.lock().unwrap().sagas.contains_key(&seen.saga) {
                        return Err(format!("{} was answered and is not there", seen.saga));
                    }
                }
                Err(RequestError::Unknown | RequestError::Stopped | RequestError::Overloaded) => {}
                Err(error) => return Err(format!("start of {key}: {error}")),
            }
        }
        if created.values().any(|times| *times > 1) {
            return Err(format!("created more than once: {created:?}"));
        }
        for (saga, answer) in std::mem::take(&mut self.cancels) {
            let phase = self.disk.lock().unwrap().sagas[&saga].row.phase;
            match answered(answer).await? {
                Ok(_) if matches!(phase, Phase::Compensated | Phase::Resolved) => {}
                Err(
                    RequestError::NotHere
                    | RequestError::Unknown
                    | RequestError::Stopped
                    | RequestError::Ended
                    | RequestError::PastCommitPoint,
                ) => {}
                other => return Err(format!("{saga} is {phase:?}, its cancel was answered {other:?}")),
            }
        }
        for (saga, answer) in std::mem::take(&mut self.waits) {
            match answered(answer).await? {
                Ok(seen) => {
                    let phase = self.disk.lock().unwrap().sagas[&saga].row.phase;
                    if let Some(snapshot) = seen.snapshot
                        && snapshot.state.phase() != phase
                    {
                        return Err(format!(
                            "a wait was told {:?}, it is {phase:?}",
                            snapshot.state.phase()
                        ));
                    }
                }
                Err(RequestError::NotHere | RequestError::Stopped) => {}
                Err(error) => return Err(format!("wait for {saga}: {error}")),
            }
        }
        Ok(())
    }
}

/// By now everybody must have been answered.
pub(super) async fn answered<T>(answer: JoinHandle<T>) -> Result<T, String> {
    match tokio::time::timeout(Duration::from_secs(60), answer).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("a request was never answered".to_owned()),
    }
}
