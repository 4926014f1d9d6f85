//! A definition on an orchestrator of the test's own, over doubles or over what is really there.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use conformance::double::{Doubles, Effect};
use conformance::filled;
use conformance::matrix::{Started, World};
use ids::SagaId;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use proto::saga::v1::{OperationState, Saga, SagaPhase};
use saga_definition::{Call, Definition};
use sqlx::PgPool;
use token::Channel;
use tokio::process::Command;

use super::orchestrator::Ground;
use super::responder::Responder;
use crate::own::Process;

/// What the call made after the last compensation is called.
const ON_COMPENSATED: &str = "ON_COMPENSATED";
/// What stands in an input for a number that is new for each saga.
pub(super) const PLACEHOLDER: &str = "{n}";
/// Largest input, in bytes of JSON.
const MAX_JSON_BYTES: usize = 1024 * 1024;
/// An event that was published is on its way when the saga has ended; it arrives within this time.
const SETTLING: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// A command that looks at the participants ends within this time.
const PROBE_PATIENCE: Duration = Duration::from_secs(30);

/// Who answers the steps.
pub(super) enum Cast {
    /// Doubles, and whoever answers published requests.
    Doubles(Arc<Doubles>, Option<Responder>),
    /// The real ones, and a command that looks at them.
    Live { probe: Option<String> },
}

/// The test's own orchestrator with one definition.
pub(super) struct Own<'a> {
    pub(super) ground: &'a Ground,
    pub(super) definition: &'a Definition,
    pub(super) cast: Cast,
    /// The input with a placeholder; made from its type if absent.
    pub(super) input: Option<String>,
    pub(super) number: u64,
    pub(super) channel: Channel,
    pub(super) port: u16,
    pub(super) process: Option<Process>,
    pub(super) database: PgPool,
}

impl World for Own<'_> {
    fn saga(&self) -> &str {
        self.definition.name()
    }

    fn sagas(&self) -> SagaServiceClient<Channel> {
        SagaServiceClient::new(self.channel.clone())
    }

    fn next(&mut self) -> Started {
        let number = self.number;
        self.number += 1;
        let input = input(self.definition, self.input.as_deref(), number);
        let business_id = business_id(self.definition, &input);
        Started {
            business_id: business_id.unwrap_or_else(|| format!("saga-test-{number}")),
            input,
        }
    }

    async fn crash(&mut self) -> Result<(), String> {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
        let started = self.ground.start(self.port).await;
        self.process = Some(started.map_err(|failure| failure.to_string())?);
        Ok(())
    }

    async fn settled(&self, saga: &Saga) -> Result<(), String> {
        match &self.cast {
            Cast::Doubles(doubles, _) => self.doubles_settled(doubles, saga).await,
            Cast::Live { probe: None } => Ok(()),
            Cast::Live { probe: Some(command) } => probed(command, saga).await,
        }
    }

    async fn was_told(&self, saga_id: &str) -> Result<bool, String> {
        let told = sqlx::query_scalar(
            "select exists (select from saga.event e join saga.saga_instances i on i.saga_uuid = e.saga_id \
             where i.id = $1 and e.class = 'cannot_be_refused')",
        );
        told.bind(saga_id)
            .fetch_one(&self.database)
            .await
            .map_err(|error| format!("the journal cannot be read: {error}"))
    }
}

impl Own<'_> {
    async fn doubles_settled(&self, doubles: &Doubles, saga: &Saga) -> Result<(), String> {
        let id: SagaId = saga
            .saga_id
            .parse()
            .map_err(|_| "the saga has no id".to_owned())?;
        let look = || check(self.definition, saga, &doubles.effects(id));
        let settling = async {
            while look().is_err() {
                tokio::time::sleep(POLL).await;
            }
        };
        // What it is then is what it stays.
        let _ = tokio::time::timeout(SETTLING, settling).await;
        look()
    }
}

/// The input of one more saga.
pub(super) fn input(definition: &Definition, template: Option<&str>, number: u64) -> String {
    match template {
        Some(template) => template.replace(PLACEHOLDER, &number.to_string()),
        None => {
            let message = filled(definition.input(), &number.to_string());
            // Everything that is filled can be written.
            saga_definition::encode_json(&message).unwrap_or_default()
        }
    }
}

/// The business id that an input holds, if the definition says where.
pub(super) fn business_id(definition: &Definition, input: &str) -> Option<String> {
    let input = saga_definition::decode_json(definition.input(), input, MAX_JSON_BYTES).ok()?;
    definition.business_id_of(&input).ok()?
}

/// Checks that each step has the effect which the saga's end says, and that what was undone was undone in reverse.
fn check(definition: &Definition, saga: &Saga, effects: &BTreeMap<String, Effect>) -> Result<(), String> {
    const NOTHING: Effect = Effect {
        done: None,
        undone: None,
    };
    let effect = |name: &str| effects.get(name).copied().unwrap_or(NOTHING);
    let phase = saga.phase();
    for step in definition.steps() {
        let name = &step.name;
        let shown = saga.steps.iter().find(|shown| shown.name == *name);
        let state = shown
            .and_then(|shown| shown.action.as_ref())
            .map(|action| action.state());
        let left_out = state == Some(OperationState::Skipped);
        let Effect { done, undone } = effect(name);
        let problem = match (phase, done, undone) {
            (SagaPhase::Completed, None, _) if !left_out => "was not done, though the saga is COMPLETED",
            (SagaPhase::Completed, Some(_), _) if left_out => "was done, though it was left out",
            (SagaPhase::Completed, _, Some(_)) => "was undone, though the saga is COMPLETED",
            (SagaPhase::Compensated, Some(_), None) if step.compensate.is_some() => "was done and not undone",
            (SagaPhase::Compensated, Some(_), None) if step.no_compensation.is_none() => {
                "was done, though the saga is COMPENSATED"
            }
            (_, _, _) => continue,
        };
        return Err(format!("{name} {problem}"));
    }
    // All steps that each step comes after, directly or not.
    let mut ancestors: Vec<BTreeSet<usize>> = Vec::new();
    for step in definition.steps() {
        let mut all: BTreeSet<usize> = step.after.iter().copied().collect();
        all.extend(
            step.after
                .iter()
                .filter_map(|&before| ancestors.get(before))
                .flatten(),
        );
        // What is published and not awaited is done when it is on its way; nobody knows when it arrives.
        let on_its_way = |call: &Call| call.method().is_none() && call.awaits().is_none();
        if step.compensate.as_ref().is_some_and(on_its_way) {
            ancestors.push(all);
            continue;
        }
        for earlier in all.iter().filter_map(|&before| definition.steps().get(before)) {
            let undone = (effect(&earlier.name).undone, effect(&step.name).undone);
            if let (Some(of_earlier), Some(of_later)) = undone
                && of_earlier < of_later
            {
                let (earlier, later) = (&earlier.name, &step.name);
                return Err(format!(
                    "{earlier} was undone before {later}, which came after it"
                ));
            }
        }
        ancestors.push(all);
    }
    let last = definition.on_compensated().is_some() && phase == SagaPhase::Compensated;
    if last && effect(ON_COMPENSATED).done.is_none() {
        return Err("on_compensated was not called".to_owned());
    }
    Ok(())
}

async fn probed(command: &str, saga: &Saga) -> Result<(), String> {
    let running = Command::new("sh")
        .args(["-c", command])
        .env("EVENKEEL_SAGA_ID", &saga.saga_id)
        .env("EVENKEEL_BUSINESS_ID", &saga.business_id)
        .env(
            "EVENKEEL_PHASE",
            saga.phase().as_str_name().trim_start_matches("SAGA_PHASE_"),
        )
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PROBE_PATIENCE, running)
        .await
        .map_err(|_| "the probe did not end in time".to_owned())?
        .map_err(|error| format!("the probe does not run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).trim().to_owned());
    Err(format!(
        "the probe ended with {}: {}",
        output.status,
        said.join(" ").trim()
    ))
}
