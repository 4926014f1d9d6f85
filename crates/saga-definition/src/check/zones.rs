//! Zones: compensatable steps, at most one pivot, retriable steps, in this order along every way through the graph.

use super::Checker;
use crate::definition::Zone;
use crate::problem::{Position, Problem, ProblemKind};
use crate::source::StepSource;
use crate::yaml::Spanned;

impl Checker<'_> {
    /// Finds each step's zone and reports what does not fit together.
    pub(super) fn zones(&mut self, steps: &[&StepSource]) -> Vec<Zone> {
        let is_pivot = |step: &StepSource| step.pivot.as_ref().is_some_and(|pivot| pivot.value);
        let pivot = steps.iter().position(|step| is_pivot(step));
        let pivot_name = pivot
            .and_then(|pivot| steps.get(pivot))
            .map(|step| step_name(step).unwrap_or_default());
        let mut zones = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            if let Some(first) = pivot_name
                && is_pivot(step)
                && pivot != Some(index)
            {
                let at = step.pivot.as_ref().map_or(step.at, |pivot| pivot.at);
                let message = format!("{first} is the pivot already");
                self.report(
                    Problem::new(ProblemKind::SecondPivot, at, message)
                        .in_step(step_name(step))
                        .on_field("pivot"),
                );
            }
            let behind = self.sound && pivot.is_some_and(|pivot| self.comes_after(index, pivot));
            // With names or edges missing, it may stand behind the pivot all the same.
            let unclear = !self.sound && pivot.is_some();
            zones.push(self.zone(step, pivot_name.filter(|_| behind), unclear));
        }
        if self.sound {
            for index in 0..steps.len() {
                self.zone_order(index, steps, &zones, pivot);
            }
        }
        zones
    }

    fn comes_after(&self, step: usize, before: usize) -> bool {
        self.ancestors
            .get(step)
            .is_some_and(|above| above.contains(&before))
    }

    /// Checks that a step cannot run on the wrong side of the commit point, whatever the others take.
    fn zone_order(&mut self, index: usize, steps: &[&StepSource], zones: &[Zone], pivot: Option<usize>) {
        let (Some(step), Some(&zone)) = (steps.get(index), zones.get(index)) else {
            return;
        };
        let zone_of = |other: usize| zones.get(other).copied();
        let name_of = |other: usize| steps.get(other).and_then(|step| step_name(step)).unwrap_or("?");
        let second = |other: usize| zone_of(other) == Some(Zone::Pivot) && pivot != Some(other);
        let problem = |message: String| {
            Problem::new(ProblemKind::ZoneOrder, step.at, message)
                .in_step(step_name(step))
                .expected("compensatable steps, then at most one pivot, then retriable steps")
        };
        match zone {
            // Reported as the second pivot it is.
            Zone::Pivot if pivot != Some(index) => {}
            Zone::Compensatable | Zone::Pivot => {
                let above = self.ancestors.get(index);
                let retriable = |other: &usize| zone_of(*other) == Some(Zone::Retriable);
                if above.is_some_and(|above| above.iter().any(retriable)) {
                    let message = "a step that may be refused or undone cannot come after a retriable one";
                    let found = format!("a {} step after a retriable one", zone_name(zone));
                    self.report(problem(message.to_owned()).found(found));
                } else if let Some(pivot) = pivot.filter(|pivot| *pivot != index)
                    && !self.comes_after(pivot, index)
                {
                    let name = name_of(pivot);
                    let message =
                        format!("nothing says whether this step comes before the pivot {name} or after it");
                    self.report(problem(message).found(format!("a step beside {name}")));
                }
            }
            Zone::Retriable => {
                // Where the other comes after this one, or stands beside the pivot, it is reported there.
                let beside = |other: &usize| {
                    zone_of(*other) != Some(Zone::Retriable)
                        && !second(*other)
                        && pivot.is_none_or(|pivot| *other == pivot || self.comes_after(pivot, *other))
                        && !self.comes_after(index, *other)
                        && !self.comes_after(*other, index)
                };
                if let Some(other) = (0..steps.len()).find(beside) {
                    let name = name_of(other);
                    let message = format!(
                        "a retriable step comes after every step that may be refused or undone, but this one does not come after {name}"
                    );
                    self.report(problem(message).found(format!("a retriable step beside {name}")));
                }
            }
        }
    }

    fn zone(&mut self, step: &StepSource, pivot: Option<&str>, unclear: bool) -> Zone {
        let name = step_name(step);
        let set = |switch: &Option<Spanned<bool>>| switch.as_ref().filter(|s| s.value).map(|s| s.at);
        let (is_pivot, is_retriable) = (set(&step.pivot), set(&step.retriable));
        let conflict = |at: Position, field: &str, message: &str| {
            Problem::new(ProblemKind::ConflictingKeys, at, message)
                .in_step(name)
                .on_field(field)
        };
        if let (Some(_), Some(at)) = (is_pivot, is_retriable) {
            self.report(conflict(
                at,
                "retriable",
                "a step is either the pivot or retriable",
            ));
        }
        if let (Some(_), Some(why)) = (&step.compensate, &step.no_compensation) {
            let message = "a step has either a compensation or a reason to have none";
            self.report(conflict(why.at, "no_compensation", message));
        }
        let beyond = match (is_pivot, is_retriable, pivot) {
            (Some(_), _, _) => Some("the pivot, which is never undone".to_owned()),
            (None, Some(_), _) => Some("a retriable step, which is never undone".to_owned()),
            (None, None, Some(pivot)) => {
                Some(format!("a step after the pivot {pivot}, which is never undone"))
            }
            (None, None, None) => None,
        };
        let undo = [
            step.compensate.as_ref().map(|call| ("compensate", call.at)),
            step.no_compensation
                .as_ref()
                .map(|why| ("no_compensation", why.at)),
        ];
        if let Some(beyond) = beyond {
            for (field, at) in undo.into_iter().flatten() {
                let message = format!("`{field}` has no meaning on {beyond}");
                self.report(
                    Problem::new(ProblemKind::CompensationNotAllowed, at, message)
                        .in_step(name)
                        .on_field(field),
                );
            }
            if let Some(expires) = &step.expires {
                let message = format!("`expires` unwinds the saga, so it cannot stand on {beyond}");
                self.report(
                    Problem::new(ProblemKind::ExpiresNotAllowed, expires.at, message)
                        .in_step(name)
                        .on_field("expires"),
                );
            }
            return if is_pivot.is_some() {
                Zone::Pivot
            } else {
                Zone::Retriable
            };
        }
        if undo.iter().all(Option::is_none) && !step.undo_invalid && !unclear {
            let message = "nothing says how this step is undone";
            self.report(
                Problem::new(ProblemKind::MissingNoCompensation, step.at, message)
                    .in_step(name)
                    .expected(
                        "`compensate`, `no_compensation: \"<why>\"`, `pivot: true` or `retriable: true`",
                    ),
            );
        }
        Zone::Compensatable
    }
}

pub(super) fn step_name(step: &StepSource) -> Option<&str> {
    step.name.given().map(|name| name.value.as_str())
}

fn zone_name(zone: Zone) -> &'static str {
    match zone {
        Zone::Compensatable => "compensatable",
        Zone::Pivot => "pivot",
        Zone::Retriable => "retriable",
    }
}
