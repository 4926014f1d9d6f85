//! A registered revision in the form that calls are made from.

use std::sync::Arc;

use http::uri::PathAndQuery;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use saga_core::{Backoff, Epilogue, Millis, Op, OpKey, Plan, Start, StepPlan, Zone};
use saga_definition::{
    Await, Call, Condition, Context, Definition, MapError, Mapping, Participants, Retry, SagaContext,
};
use saga_engine::DefinitionId;

use crate::definitions::{Error, Stored};
use crate::participants::{Target, Targets};

/// Name under which the call after the last compensation is journaled and called.
pub(crate) const EPILOGUE: &str = "ON_COMPENSATED";

/// Largest input or reply that is read back from the journal, in bytes of JSON. What was written was smaller.
pub(crate) const MAX_STORED_BYTES: usize = 8 * 1024 * 1024;

/// A registered revision, compiled.
#[derive(Debug)]
pub struct Compiled {
    id: DefinitionId,
    version: u32,
    revision: u32,
    name: Arc<str>,
    definition: Definition,
    plan: Arc<Plan>,
    actions: Vec<Operation>,
    probes: Vec<Option<Operation>>,
    compensations: Vec<Option<Operation>>,
    epilogue: Option<Operation>,
}

/// All that is needed to make one call, looked up once.
#[derive(Debug)]
pub struct Operation {
    pub(crate) to: Destination,
    pub(crate) reply: MessageDescriptor,
    pub(crate) mapping: Mapping,
    /// Positions of the steps whose replies the request is built from, ascending.
    pub(crate) steps_read: Vec<usize>,
    awaits: Option<Await>,
}

/// Where a call goes.
#[derive(Debug)]
pub(crate) enum Destination {
    Method {
        /// Absent if no configured participant answers for the service.
        target: Option<Arc<Target>>,
        service: String,
        path: PathAndQuery,
    },
    Publish {
        routing_key: String,
    },
}

impl Compiled {
    pub(crate) fn new(stored: &Stored, targets: &Targets, attention_wait_ms: u64) -> Result<Self, Error> {
        let damaged = |problem: String| Error::Damaged {
            id: stored.id,
            problem,
        };
        let definition = recompile(stored)?;
        let plan = plan(&definition, attention_wait_ms).map_err(|error| damaged(error.to_string()))?;
        let operation = |call: &Call| Operation::new(call, targets).map_err(damaged);
        let mut actions = Vec::new();
        let mut probes = Vec::new();
        let mut compensations = Vec::new();
        for step in definition.steps() {
            actions.push(operation(&step.call)?);
            probes.push(step.probe.as_ref().map(operation).transpose()?);
            compensations.push(step.compensate.as_ref().map(operation).transpose()?);
        }
        let epilogue = definition.on_compensated().map(operation).transpose()?;
        Ok(Self {
            id: stored.id,
            version: stored.version,
            revision: stored.revision,
            name: definition.name().into(),
            plan: Arc::new(plan),
            actions,
            probes,
            compensations,
            epilogue,
            definition,
        })
    }

    /// Returns the id of the revision.
    #[must_use]
    pub fn id(&self) -> DefinitionId {
        self.id
    }

    /// Returns the name of the definition.
    #[must_use]
    pub fn saga_type(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns the revision of the version.
    #[must_use]
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// Returns the checked definition.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Returns what the state machine knows of it.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Returns what a saga with this input starts from.
    ///
    /// # Errors
    /// If the deadline or an `expires` is read from the input and is not there, or out of range.
    pub fn start(&self, input: &DynamicMessage, at: Millis) -> Result<Start, MapError> {
        let context = Context {
            input,
            replies: &[],
            saga: SagaContext::default(),
        };
        let steps = self.definition.steps();
        let expires_ms = if steps.iter().any(|step| step.expires.is_some()) {
            steps
                .iter()
                .map(|step| step.expires_ms(&context))
                .collect::<Result<_, _>>()?
        } else {
            Vec::new()
        };
        Ok(Start {
            at,
            deadline_ms: self.definition.deadline_ms(input)?,
            expires_ms,
        })
    }

    /// Reads an input that the journal kept, and what the saga started from.
    ///
    /// # Errors
    /// In words, if the text is not an input that a saga could have been started with.
    pub fn load(&self, input_json: &str, at: Millis) -> Result<(DynamicMessage, Start), String> {
        let input = saga_definition::decode_json(self.definition.input(), input_json, MAX_STORED_BYTES)
            .map_err(|error| error.to_string())?;
        let start = self.start(&input, at).map_err(|error| error.to_string())?;
        Ok((input, start))
    }

    pub(crate) fn operation(&self, key: OpKey) -> Option<&Operation> {
        let step = usize::from(key.step);
        match key.op {
            Op::Action if step == self.actions.len() => self.epilogue.as_ref(),
            Op::Action => self.actions.get(step),
            Op::Compensation => self.compensations.get(step)?.as_ref(),
        }
    }

    /// Returns the call that finds out what became of a step's action, where the definition has one.
    #[must_use]
    pub fn probe(&self, step: u16) -> Option<&Operation> {
        self.probes.get(usize::from(step))?.as_ref()
    }

    /// Returns what decides whether a step runs at all; `None` if it always does.
    #[must_use]
    pub fn condition(&self, step: u16) -> Option<&Condition> {
        self.definition.steps().get(usize::from(step))?.when.as_ref()
    }
}

impl Operation {
    /// Returns the domain of the participant's own reasons; empty if nobody is configured to answer.
    pub(crate) fn error_domain(&self) -> &str {
        match &self.to {
            Destination::Method { target, .. } => target.as_ref().map_or("", |target| &*target.error_domain),
            Destination::Publish { .. } => "",
        }
    }

    fn new(call: &Call, targets: &Targets) -> Result<Self, String> {
        let to = match call.target() {
            saga_definition::Target::Method { method, path, .. } => {
                let service = method.parent_service().full_name().to_owned();
                Destination::Method {
                    target: targets.of_service(&service).cloned(),
                    service,
                    path: path
                        .parse()
                        .map_err(|error| format!("{path} is not a path: {error}"))?,
                }
            }
            saga_definition::Target::Publish { routing_key } => Destination::Publish {
                routing_key: routing_key.clone(),
            },
        };
        Ok(Self {
            to,
            reply: call.reply_type().clone(),
            mapping: call.with.clone(),
            steps_read: call.with.steps_read(),
            awaits: call.awaits().cloned(),
        })
    }

    /// Returns the pause before a request is published again, in milliseconds, where an event answers it.
    pub(crate) fn ask_again_ms(&self) -> Option<u64> {
        match self.awaits.as_ref()? {
            Await::Token => None,
            Await::Reply { ask_again_ms, .. } => Some(*ask_again_ms),
        }
    }

    /// Returns how the final answer may come earlier than it is asked for.
    #[must_use]
    pub fn awaits(&self) -> Option<&Await> {
        self.awaits.as_ref()
    }
}

/// Checks a stored revision again, against the types that were stored with it.
pub(crate) fn recompile(stored: &Stored) -> Result<Definition, Error> {
    let damaged = |problem: String| Error::Damaged {
        id: stored.id,
        problem,
    };
    let types =
        DescriptorPool::decode(stored.closure.as_slice()).map_err(|error| damaged(error.to_string()))?;
    // Which participants may be called was checked when it was registered; the closure holds no other services.
    let called = Participants::new(types.services().map(|service| service.full_name().to_owned()));
    saga_definition::compile(&stored.canonical, &types, &called)
        .map_err(|problems| damaged(problems.first().map_or_else(String::new, ToString::to_string)))
}

/// Translates what a definition says about steps into what the state machine needs to know of them.
fn plan(definition: &Definition, attention_wait_ms: u64) -> Result<Plan, saga_core::PlanError> {
    let position = |i: &usize| u16::try_from(*i).expect("a definition has at most 100 steps");
    let steps = definition.steps().iter().map(|step| {
        let undo = step.compensate.as_ref();
        StepPlan {
            name: step.name.as_str().into(),
            after: step.after.iter().map(position).collect(),
            zone: zone(step.zone),
            compensated: undo.is_some(),
            backoff: backoff(step.call.retry),
            compensation_backoff: undo.map_or_else(Backoff::default, |call| backoff(call.retry)),
            timeout_ms: step.call.timeout_ms,
            compensation_timeout_ms: undo.map_or(0, |call| call.timeout_ms),
            expires: step.expires.is_some(),
            probe: step.probe.is_some(),
            conditional: step.when.is_some(),
        }
    });
    let epilogue = definition.on_compensated().map(|call| Epilogue {
        name: EPILOGUE.into(),
        backoff: backoff(call.retry),
        timeout_ms: call.timeout_ms,
    });
    Plan::new(steps.collect(), epilogue, attention_wait_ms)
}

const fn zone(zone: saga_definition::Zone) -> Zone {
    match zone {
        saga_definition::Zone::Compensatable => Zone::Compensatable,
        saga_definition::Zone::Pivot => Zone::Pivot,
        saga_definition::Zone::Retriable => Zone::Retriable,
    }
}

fn backoff(retry: Retry) -> Backoff {
    let default = Backoff::default();
    Backoff {
        // Where it is not limited the number is never looked at.
        retries: retry.retries.unwrap_or(default.retries),
        initial_ms: retry.initial_ms,
        factor: f64::from(retry.factor_milli) / 1_000.0,
        max_ms: retry.max_ms,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "saga: ANY\nversion: 1\ninput: evenkeel.bench.v1.BenchInput\ndeadline: 1m\nsteps:\n";
    const ZONES: [&str; 4] = [
        "no_compensation: none",
        "pivot: true",
        "retriable: true",
        "timeout: 1s",
    ];

    proptest! {
        /// What the checker lets through, the state machine can run: two pieces of code judge the zones.
        #[test]
        fn every_graph_that_checks_is_a_plan(
            steps in prop::collection::vec((0..ZONES.len(), prop::option::of(prop::collection::vec(0_usize..6, 0..4))), 1..6)
        ) {
            let text: String = steps.iter().enumerate().map(|(i, (zone, after))| {
                let names = |after: &Vec<usize>| after.iter().filter(|j| **j < steps.len()).map(|j| format!("S{j}")).collect::<Vec<_>>().join(", ");
                let after = after.as_ref().map_or_else(String::new, |after| format!(", after: [{}]", names(after)));
                format!("  - {{ name: S{i}, call: evenkeel.bench.v1.BenchSteps/Work, {}{after} }}\n", ZONES[*zone])
            }).collect();
            let checked = saga_definition::compile(&format!("{HEAD}{text}"), &proto::descriptor_pool(), &Participants::new(["evenkeel"]));
            if let Ok(definition) = checked {
                let plan = plan(&definition, 1);
                prop_assert!(plan.is_ok(), "{:?} of\n{text}", plan.err());
            }
        }
    }
}
