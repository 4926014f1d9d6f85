//! From a [`Source`] to a [`Definition`]: every name looked up, every type compared, every mistake reported.

mod call;
mod graph;
mod head;
mod path;
mod types;
mod value;
mod zones;

use std::collections::{BTreeSet, HashMap};

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor, MethodDescriptor};

use self::call::Defaults;
use self::graph::Graph;
use self::types::Shape;
use self::zones::step_name;
use crate::canonical;
use crate::definition::{Definition, Participants, Step, Zone};
use crate::problem::{Problem, ProblemKind, Problems};
use crate::scalar::is_name;
use crate::source::{Slot, Source, StepSource};
use crate::suggest::did_you_mean;
use crate::yaml::shorten;

/// Step names that the engine gives to operations of its own.
const RESERVED_NAMES: &[&str] = &["ON_COMPENSATED"];

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
    /// Put before field names: `compensate.`, `on_compensated.` or nothing.
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

struct Checker<'a> {
    pool: &'a DescriptorPool,
    participants: &'a Participants,
    problems: &'a mut Problems,
    input: Option<MessageDescriptor>,
    /// Name of each step; `None` where it has none that can be referred to.
    names: Vec<Option<String>>,
    indexes: HashMap<String, usize>,
    /// Reply type of each step; `None` where its method is unknown.
    replies: Vec<Option<MessageDescriptor>>,
    ancestors: Vec<BTreeSet<usize>>,
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
        ancestors: Vec::new(),
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
        self.names(written);
        let graph = self.graph(written);
        self.ancestors = graph.ancestors();
        let zones = self.zones(written);
        let methods: Vec<Option<MethodDescriptor>> = written
            .iter()
            .enumerate()
            .map(|(index, step)| self.method(&step.call, action_site(step, index, Zone::Compensatable)))
            .collect();
        self.replies = methods
            .iter()
            .map(|method| method.as_ref().map(MethodDescriptor::output))
            .collect();
        let mut steps = Vec::with_capacity(written.len());
        for (index, ((step, zone), method)) in written.iter().zip(zones).zip(&methods).enumerate() {
            if self.problems.full() {
                return None;
            }
            steps.push(self.step(index, step, zone, method.as_ref(), &graph, defaults));
        }
        let on_compensated = source.on_compensated.as_ref().map(|call| {
            let site = Site {
                step: None,
                prefix: "on_compensated.",
                place: Place::AfterCompensation,
            };
            let method = self.method(call, site);
            self.call(call, method.as_ref(), site, defaults)
        });
        if !self.problems.is_empty() {
            return None;
        }
        let steps: Vec<Step> = steps.into_iter().collect::<Option<_>>()?;
        let on_compensated = settle(on_compensated)?;
        Some(Definition {
            canonical: canonical::write(source, &steps, on_compensated.as_ref()),
            name: name?,
            version: version?,
            input: self.input?,
            business_id: settle(business_id)?,
            deadline: deadline?,
            steps,
            on_compensated,
        })
    }

    fn names(&mut self, steps: &[StepSource]) {
        for (index, step) in steps.iter().enumerate() {
            let site = action_site(step, index, Zone::Compensatable);
            let name = match &step.name {
                Slot::Given(name) => name,
                Slot::Absent => {
                    let message = "`name` is missing";
                    self.report_at(
                        site,
                        "name",
                        Problem::new(ProblemKind::MissingKey, step.at, message),
                    );
                    self.names.push(None);
                    continue;
                }
                Slot::Invalid => {
                    self.names.push(None);
                    continue;
                }
            };
            if !is_name(&name.value) {
                self.bad_name(name, site, "name");
            } else if RESERVED_NAMES.contains(&name.value.as_str()) {
                let message = format!("`{}` is a name of the engine's own", name.value);
                self.report_at(
                    site,
                    "name",
                    Problem::new(ProblemKind::ReservedName, name.at, message),
                );
            }
            if self.indexes.contains_key(&name.value) {
                let message = format!("there is a step `{}` already", shorten(&name.value));
                self.report_at(
                    site,
                    "name",
                    Problem::new(ProblemKind::DuplicateStep, name.at, message),
                );
            } else {
                self.indexes.insert(name.value.clone(), index);
            }
            self.names.push(Some(name.value.clone()));
        }
    }

    /// Reads `after`; a step without it comes after the one before. Only that order is supported by this version.
    fn graph(&mut self, steps: &[StepSource]) -> Graph {
        let mut edges = Vec::with_capacity(steps.len());
        let mut unsupported = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let before: BTreeSet<usize> = index.checked_sub(1).into_iter().collect();
            let Some(after) = &step.after else {
                edges.push(before);
                continue;
            };
            let site = action_site(step, index, Zone::Compensatable);
            let mut named = BTreeSet::new();
            let mut unknown = false;
            for name in &after.value {
                if let Some(found) = self.index_of(&name.value) {
                    named.insert(found);
                    continue;
                }
                unknown = true;
                let hint = did_you_mean(&name.value, self.names.iter().flatten().map(String::as_str));
                let message = format!("there is no step `{}`{hint}", shorten(&name.value));
                self.report_at(
                    site,
                    "after",
                    Problem::new(ProblemKind::UnknownStep, name.at, message),
                );
            }
            if named != before && !unknown {
                unsupported.push((index, after.at));
            }
            edges.push(named);
        }
        let graph = Graph::new(edges);
        let mut in_cycles = BTreeSet::new();
        for cycle in graph.cycles() {
            self.cycle(steps, &cycle);
            in_cycles.extend(cycle);
        }
        for (index, at) in unsupported {
            if let (false, Some(step)) = (in_cycles.contains(&index), steps.get(index)) {
                let message = "`after` is not supported by this version, except for the step before";
                let problem = Problem::new(ProblemKind::NotSupportedYet, at, message);
                self.report_at(action_site(step, index, Zone::Compensatable), "after", problem);
            }
        }
        graph
    }

    fn cycle(&mut self, steps: &[StepSource], cycle: &[usize]) {
        let written = |index: &usize| steps.get(*index).filter(|step| step.after.is_some());
        let Some(step) = cycle
            .iter()
            .find_map(written)
            .or_else(|| cycle.first().and_then(|first| steps.get(*first)))
        else {
            return;
        };
        let name = |index: &usize| self.names.get(*index).and_then(Option::as_deref).unwrap_or("?");
        let around: Vec<&str> = cycle.iter().chain(cycle.first()).map(name).collect();
        let message = format!("steps wait for each other: {}", around.join(", then "));
        let at = step.after.as_ref().map_or(step.at, |after| after.at);
        let problem = Problem::new(ProblemKind::Cycle, at, message)
            .in_step(step_name(step))
            .on_field("after");
        self.report(problem);
    }

    fn step(
        &mut self,
        index: usize,
        source: &StepSource,
        zone: Zone,
        method: Option<&MethodDescriptor>,
        graph: &Graph,
        defaults: Defaults,
    ) -> Option<Step> {
        let site = action_site(source, index, zone);
        let call = self.call(&source.call, method, site, defaults);
        let compensate = source.compensate.as_ref().map(|call| {
            let site = Site {
                prefix: "compensate.",
                place: Place::Compensation(index),
                ..site
            };
            let method = self.method(call, site);
            self.call(call, method.as_ref(), site, defaults)
        });
        if let Some(why) = &source.no_compensation {
            self.explained(why, site, "no_compensation");
        }
        let expires = source.expires.as_ref().map(|time| self.expires(time, site));
        Some(Step {
            name: step_name(source)?.to_owned(),
            zone,
            after: graph.after(index)?.iter().copied().collect(),
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
