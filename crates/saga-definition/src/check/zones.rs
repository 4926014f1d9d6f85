//! Zones: compensatable steps, at most one pivot, retriable steps, in this order.

use super::Checker;
use crate::definition::Zone;
use crate::problem::{Position, Problem, ProblemKind};
use crate::source::StepSource;
use crate::yaml::Spanned;

impl Checker<'_> {
    /// Finds each step's zone and reports what does not fit together.
    pub(super) fn zones(&mut self, steps: &[StepSource]) -> Vec<Zone> {
        let mut pivot: Option<String> = None;
        let mut last = Zone::Compensatable;
        let mut zones = Vec::with_capacity(steps.len());
        for step in steps {
            let zone = self.zone(step, pivot.as_deref());
            let name = step_name(step);
            match (last, zone) {
                (Zone::Compensatable, _) | (Zone::Pivot | Zone::Retriable, Zone::Retriable) => {}
                (Zone::Pivot | Zone::Retriable, Zone::Pivot) if pivot.is_some() => {
                    let message = format!("{} is the pivot already", pivot.as_deref().unwrap_or_default());
                    let at = step.pivot.as_ref().map_or(step.at, |pivot| pivot.at);
                    self.report(
                        Problem::new(ProblemKind::SecondPivot, at, message)
                            .in_step(name)
                            .on_field("pivot"),
                    );
                }
                (Zone::Retriable, Zone::Pivot | Zone::Compensatable) if pivot.is_none() => {
                    let message = "a step that may be refused or undone cannot come after a retriable one";
                    self.report(
                        Problem::new(ProblemKind::ZoneOrder, step.at, message)
                            .in_step(name)
                            .expected("compensatable steps, then at most one pivot, then retriable steps")
                            .found(format!("a {} step after a retriable one", zone_name(zone))),
                    );
                }
                // `zone` reported the compensation behind the commit point.
                (Zone::Pivot | Zone::Retriable, Zone::Pivot | Zone::Compensatable) => {}
            }
            if zone == Zone::Pivot && pivot.is_none() {
                pivot = Some(name.unwrap_or_default().to_owned());
            }
            if last == Zone::Compensatable || zone != Zone::Compensatable {
                last = zone;
            }
            zones.push(zone);
        }
        zones
    }

    fn zone(&mut self, step: &StepSource, pivot: Option<&str>) -> Zone {
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
        if undo.iter().all(Option::is_none) && !step.undo_invalid {
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
