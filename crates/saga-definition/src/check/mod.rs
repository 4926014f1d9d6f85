//! From a [`Source`] to a [`Definition`]: every name looked up, every type compared, every mistake reported.

mod call;
mod condition;
mod graph;
mod head;
mod order;
mod path;
mod probe;
mod target;
mod types;
mod value;
mod zones;

pub use call::declared_barrier;

use std::collections::{BTreeSet, HashMap};

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};

use self::call::Defaults;
use self::graph::Graph;
use self::target::Found;
use self::types::Shape;
use self::zones::step_name;
use crate::canonical;
use crate::definition::{Definition, Participants, Step, Zone};
use crate::problem::{Problem, Problems};
use crate::source::{Source, StepSource};

/// Where in a saga's life a value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the start: deadline, business id.
    Saga,
    Action {
        step: usize,
        compensatable: bool,
    },
    Compensation(usize),
    AfterCompensation,
}

/// What a problem is reported against.
#[derive(Clone, Copy, Debug)]
struct Site<'s> {
    step: Option<&'s str>,
    /// Put before field names: `compensate.`, `probe.`, `on_compensated.` or nothing.
    prefix: &'static str,
    place: Place,
}

impl Site<'static> {
    const SAGA: Self = Self {
        step: None,
        prefix: "",
        place: Place::Saga,
    };
}

impl Site<'_> {
    fn field(&self, field: &str) -> String {
        format!("{}{field}", self.prefix)
    }
}

/// What can be read of a step once it has succeeded.
#[derive(Clone, Debug)]
enum Reply {
    /// What the step calls is not known, which was reported.
    Unknown,
    /// It publishes, and nobody answers.
    Nothing,
    Message(MessageDescriptor),
}

impl Reply {
    fn of(found: &Option<Found>) -> Self {
        match found {
            None => Self::Unknown,
            Some(found) if found.is_silent() => Self::Nothing,
            Some(found) => Self::Message(found.reply.clone()),
        }
    }
}

struct Checker<'a> {
    pool: &'a DescriptorPool,
    participants: &'a Participants,
    problems: &'a mut Problems,
    input: Option<MessageDescriptor>,
    /// Name of each step; `None` where it has none that can be referred to.
    names: Vec<Option<String>>,
    indexes: HashMap<String, usize>,
    replies: Vec<Reply>,
    /// Path of each step's `when`, as written.
    conditions: Vec<Option<String>>,
    ancestors: Vec<BTreeSet<usize>>,
    /// False once the names or the order of steps are known to be wrong: what depends on them is then not judged.
    sound: bool,
}

/// Checks a source. `None` if and only if a problem was reported, here or before.
pub(crate) fn run(
    source: &Source,
    pool: &DescriptorPool,
    participants: &Participants,
    problems: &mut Problems,
) -> Option<Definition> {
    let checker = Checker {
        pool,
        participants,
        problems,
        input: None,
        names: Vec::new(),
        indexes: HashMap::new(),
        replies: Vec::new(),
        conditions: Vec::new(),
        ancestors: Vec::new(),
        sound: true,
    };
    checker.definition(source)
}

impl Checker<'_> {
    fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn report_at(&mut self, site: Site<'_>, field: &str, problem: Problem) {
        self.report(problem.in_step(site.step).on_field(site.field(field)));
    }

    /// As [`Self::report_at`], for a field whose prefix is there already.
    fn report_field(&mut self, site: Site<'_>, field: &str, problem: Problem) {
        self.report(problem.in_step(site.step).on_field(field));
    }

    fn index_of(&self, step: &str) -> Option<usize> {
        self.indexes.get(step).copied()
    }

    fn definition(mut self, source: &Source) -> Option<Definition> {
        let name = self.saga_name(source);
        let version = self.version(source);
        self.input = self.input_type(source);
        let defaults = self.settings(
            &source.retry,
            source.timeout.as_ref(),
            Site::SAGA,
            Defaults::LANGUAGE,
        );
        let deadline = self.deadline(source);
        let business_id = source.business_id.as_ref().map(|path| self.business_id(path));
        let written = self.steps(source);
        let (ordered, graph) = self.order(written);
        let zones = self.zones(&ordered);
        self.conditions = ordered.iter().map(|step| condition::text(step)).collect();
        let found: Vec<Option<Found>> = ordered
            .iter()
            .enumerate()
            .map(|(index, step)| {
                let site = Site {
                    prefix: step.call.prefix,
                    ..action_site(step, index, Zone::Compensatable)
                };
                self.find(&step.call, site)
            })
            .collect();
        self.replies = found.iter().map(Reply::of).collect();
        let mut steps = Vec::with_capacity(ordered.len());
        for (index, ((step, zone), found)) in ordered.iter().zip(zones).zip(&found).enumerate() {
            if self.problems.full() {
                return None;
            }
            steps.push(self.step(index, step, zone, found.as_ref(), &graph, defaults));
        }
        let on_compensated = source.on_compensated.as_ref().map(|call| {
            let site = Site {
                step: None,
                prefix: call.prefix,
                place: Place::AfterCompensation,
            };
            let found = self.find(call, site);
            self.call(call, found.as_ref(), site, defaults)
        });
        if !self.problems.is_empty() {
            return None;
        }
        let steps: Vec<Step> = steps.into_iter().collect::<Option<_>>()?;
        let on_compensated = settle(on_compensated)?;
        Some(Definition {
            canonical: canonical::write(source, &ordered, &steps, on_compensated.as_ref()),
            name: name?,
            version: version?,
            input: self.input?,
            business_id: settle(business_id)?,
            deadline: deadline?,
            steps,
            on_compensated,
        })
    }

    fn step(
        &mut self,
        index: usize,
        source: &StepSource,
        zone: Zone,
        found: Option<&Found>,
        graph: &Graph,
        defaults: Defaults,
    ) -> Option<Step> {
        let site = action_site(source, index, zone);
        let when = source.when.as_ref().map(|when| self.condition(when, site));
        let call = self.call(
            &source.call,
            found,
            Site {
                prefix: source.call.prefix,
                ..site
            },
            defaults,
        );
        let probe = source.probe.as_ref().map(|probe| {
            let site = Site {
                prefix: probe.prefix,
                ..site
            };
            self.probe(probe, call.as_ref(), site, defaults)
        });
        let compensate = source.compensate.as_ref().map(|call| {
            let site = Site {
                prefix: call.prefix,
                place: Place::Compensation(index),
                ..site
            };
            let found = self.find(call, site);
            self.call(call, found.as_ref(), site, defaults)
        });
        if let Some(why) = &source.no_compensation {
            self.explained(why, site, "no_compensation");
        }
        let expires = source.expires.as_ref().map(|time| self.expires(time, site));
        Some(Step {
            name: step_name(source)?.to_owned(),
            zone,
            after: graph.after(index)?.iter().copied().collect(),
            when: settle(when)?,
            probe: settle(probe)?,
            call: call?,
            compensate: settle(compensate)?,
            no_compensation: source.no_compensation.as_ref().map(|why| why.value.clone()),
            expires: settle(expires)?,
        })
    }
}

/// Names a field's type as a proto file would, cardinality included.
pub(crate) fn field_type_name(field: &FieldDescriptor) -> String {
    Shape::of(field).name()
}

fn action_site(step: &StepSource, index: usize, zone: Zone) -> Site<'_> {
    let compensatable = zone == Zone::Compensatable;
    Site {
        step: step_name(step),
        prefix: "",
        place: Place::Action {
            step: index,
            compensatable,
        },
    }
}

/// Turns "given, but wrong" into `None`, and keeps "not given".
fn settle<T>(given: Option<Option<T>>) -> Option<Option<T>> {
    match given {
        None => Some(None),
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
    }
}
