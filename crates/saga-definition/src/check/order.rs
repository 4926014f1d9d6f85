//! Names of steps, and their order.

use std::collections::BTreeSet;

use super::graph::Graph;
use super::zones::step_name;
use super::{Checker, action_site};
use crate::definition::Zone;
use crate::problem::{Problem, ProblemKind};
use crate::scalar::is_name;
use crate::source::{Slot, StepSource};
use crate::suggest::did_you_mean;
use crate::yaml::shorten;

/// Step names that the engine gives to operations of its own.
const RESERVED_NAMES: &[&str] = &["ON_COMPENSATED"];

impl Checker<'_> {
    /// Puts the steps in an order in which each stands behind those it comes after. All numbers of steps are those of
    /// this order from here on.
    pub(super) fn order<'s>(&mut self, written: &'s [StepSource]) -> (Vec<&'s StepSource>, Graph) {
        self.names(written);
        let graph = self.graph(written);
        for cycle in graph.cycles() {
            self.cycle(written, &cycle);
        }
        let Some(order) = graph.order() else {
            self.sound = false;
            self.ancestors = graph.ancestors();
            return (written.iter().collect(), graph);
        };
        let graph = graph.renumbered(&order).reduced();
        self.ancestors = graph.ancestors();
        self.names = order
            .iter()
            .map(|old| self.names.get(*old).cloned().flatten())
            .collect();
        for number in self.indexes.values_mut() {
            *number = order.iter().position(|old| old == number).unwrap_or(*number);
        }
        let steps = order.iter().filter_map(|old| written.get(*old)).collect();
        (steps, graph)
    }

    fn names(&mut self, steps: &[StepSource]) {
        for (index, step) in steps.iter().enumerate() {
            let site = action_site(step, index, Zone::Compensatable);
            let name = match &step.name {
                Slot::Given(name) => name,
                Slot::Absent => {
                    let problem = Problem::new(ProblemKind::MissingKey, step.at, "`name` is missing");
                    self.report_at(site, "name", problem);
                    self.unnamed();
                    continue;
                }
                Slot::Invalid => {
                    self.unnamed();
                    continue;
                }
            };
            if !is_name(&name.value) {
                self.bad_name(name, site, "name");
            } else if RESERVED_NAMES.contains(&name.value.as_str()) {
                let message = format!("`{}` is a name of the engine's own", name.value);
                let problem = Problem::new(ProblemKind::ReservedName, name.at, message);
                self.report_at(site, "name", problem);
            }
            if self.indexes.contains_key(&name.value) {
                let message = format!("there is a step `{}` already", shorten(&name.value));
                let problem = Problem::new(ProblemKind::DuplicateStep, name.at, message);
                self.report_at(site, "name", problem);
                self.sound = false;
            } else {
                self.indexes.insert(name.value.clone(), index);
            }
            self.names.push(Some(name.value.clone()));
        }
    }

    fn unnamed(&mut self) {
        self.names.push(None);
        self.sound = false;
    }

    /// Reads `after`; a step without it comes after the one before it in the text.
    fn graph(&mut self, steps: &[StepSource]) -> Graph {
        let mut edges = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            let before: BTreeSet<usize> = index.checked_sub(1).into_iter().collect();
            let Some(after) = &step.after else {
                edges.push(before);
                continue;
            };
            let site = action_site(step, index, Zone::Compensatable);
            let mut named = BTreeSet::new();
            for name in &after.value {
                if self.problems.full() {
                    break;
                }
                if let Some(found) = self.index_of(&name.value) {
                    named.insert(found);
                    continue;
                }
                self.sound = false;
                let hint = did_you_mean(&name.value, self.names.iter().flatten().map(String::as_str));
                let message = format!("there is no step `{}`{hint}", shorten(&name.value));
                let problem = Problem::new(ProblemKind::UnknownStep, name.at, message);
                self.report_at(site, "after", problem);
            }
            edges.push(named);
        }
        Graph::new(edges)
    }

    fn cycle(&mut self, steps: &[StepSource], cycle: &[usize]) {
        // The order of confirms stands at no place of its own; somebody wrote the edge that closes the circle.
        let written = |index: &&usize| {
            let step = steps.get(**index);
            step.is_some_and(|step| step.after.as_ref().is_some_and(|after| after.at != step.at))
        };
        let Some(step) = cycle
            .iter()
            .find(written)
            .or(cycle.first())
            .and_then(|index| steps.get(*index))
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
}
