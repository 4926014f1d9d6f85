//! What a saga promises about the world. Only who sees the participants can look: the model, the simulations, the tests.

use crate::event::Phase;
use crate::plan::{Plan, Zone};

/// What one step has done, as its participant knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Effect {
    /// How often the action took effect.
    pub done: u32,
    /// How often its effect was undone.
    pub undone: u32,
    /// Work that was begun goes on, and may still take effect.
    pub open: bool,
    /// Nobody needs the action: its condition does not hold.
    pub left_out: bool,
}

/// A named predicate over a saga's phase and the effects of its steps, by position, that of the epilogue last.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// Name, a claim.
    pub name: &'static str,
    /// Tells whether it holds.
    pub holds: fn(&Plan, Phase, &[Effect]) -> bool,
}

/// What holds of the effects at any moment, late and repeated calls included.
pub const PROMISES: &[Promise] = &[
    Promise {
        name: "no_effect_is_doubled",
        holds: nothing_twice,
    },
    Promise {
        name: "an_effect_comes_after_those_it_waits_for",
        holds: in_order,
    },
    Promise {
        name: "effects_are_undone_in_reverse",
        holds: undone_in_reverse,
    },
    Promise {
        name: "what_cannot_be_compensated_is_never_undone",
        holds: committed_stays,
    },
    Promise {
        name: "completed_means_every_effect_is_there_once",
        holds: completed_means_done,
    },
    Promise {
        name: "compensated_means_no_effect_is_left",
        holds: compensated_means_undone,
    },
    Promise {
        name: "the_epilogues_effect_comes_last_and_once",
        holds: epilogue_is_last,
    },
];

/// Returns the name of the first of [`PROMISES`] that is broken, if any.
#[must_use]
pub fn broken_promise(plan: &Plan, phase: Phase, effects: &[Effect]) -> Option<&'static str> {
    PROMISES
        .iter()
        .find(|promise| !(promise.holds)(plan, phase, effects))
        .map(|promise| promise.name)
}

/// Splits the effects into those of the steps and that of the epilogue.
fn split<'a>(plan: &Plan, effects: &'a [Effect]) -> (&'a [Effect], Option<&'a Effect>) {
    let (steps, epilogue) = effects.split_at(plan.steps().len().min(effects.len()));
    (steps, epilogue.first())
}

fn nothing_twice(_: &Plan, _: Phase, effects: &[Effect]) -> bool {
    effects.iter().all(|e| e.done <= 1 && e.undone <= e.done)
}

fn in_order(plan: &Plan, _: Phase, effects: &[Effect]) -> bool {
    let (effects, _) = split(plan, effects);
    let there = |&before: &u16| {
        let effect = effects[usize::from(before)];
        effect.done > 0 || effect.left_out
    };
    effects
        .iter()
        .zip(plan.steps())
        .all(|(effect, step)| effect.done == 0 || step.after.iter().all(there))
}

/// Tells whether the effect of a step stands although it is to be undone when the saga unwinds.
fn is_left(plan: &Plan, effects: &[Effect], step: u16) -> bool {
    let effect = effects[usize::from(step)];
    let kept = plan
        .steps()
        .get(usize::from(step))
        .is_some_and(|step| step.zone == Zone::Compensatable && !step.compensated);
    effect.done > effect.undone && !kept
}

fn undone_in_reverse(plan: &Plan, _: Phase, effects: &[Effect]) -> bool {
    let (effects, _) = split(plan, effects);
    (0..plan.epilogue_step())
        .zip(effects)
        .filter(|(_, effect)| effect.undone > 0)
        .all(|(step, _)| {
            let mut below = plan.descendants(step).iter();
            below.all(|&below| !is_left(plan, effects, below))
        })
}

fn committed_stays(plan: &Plan, _: Phase, effects: &[Effect]) -> bool {
    let (effects, epilogue) = split(plan, effects);
    effects
        .iter()
        .zip(plan.steps())
        .all(|(effect, step)| effect.undone == 0 || step.compensated)
        && epilogue.is_none_or(|epilogue| epilogue.undone == 0)
}

fn completed_means_done(plan: &Plan, phase: Phase, effects: &[Effect]) -> bool {
    let (effects, _) = split(plan, effects);
    phase != Phase::Completed
        || effects
            .iter()
            .all(|e| e.done == u32::from(!e.left_out) && e.undone == 0 && !e.open)
}

fn compensated_means_undone(plan: &Plan, phase: Phase, effects: &[Effect]) -> bool {
    let (effects, _) = split(plan, effects);
    phase != Phase::Compensated
        || (0..plan.epilogue_step())
            .zip(effects)
            .all(|(step, effect)| !is_left(plan, effects, step) && (!effect.open || !undone(plan, step)))
}

/// Tells whether unwinding undoes a step.
fn undone(plan: &Plan, step: u16) -> bool {
    plan.steps()
        .get(usize::from(step))
        .is_some_and(|step| step.compensated)
}

fn epilogue_is_last(plan: &Plan, phase: Phase, effects: &[Effect]) -> bool {
    let (effects, epilogue) = split(plan, effects);
    let Some(epilogue) = epilogue else { return true };
    let nothing_left = || (0..plan.epilogue_step()).all(|step| !is_left(plan, effects, step));
    match (phase, epilogue.done) {
        (Phase::Compensated, done) => done == 1,
        (Phase::Running | Phase::Completed, done) => done == 0,
        (Phase::Compensating, done) => done == 0 || nothing_left(),
        // As it was when an operator ended it.
        (Phase::Resolved, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::tests::plan;

    const fn effect(done: u32, undone: u32) -> Effect {
        Effect {
            done,
            undone,
            open: false,
            left_out: false,
        }
    }

    const NONE: Effect = effect(0, 0);
    const DONE: Effect = effect(1, 0);
    const UNDONE: Effect = effect(1, 1);
    const OPEN: Effect = Effect { open: true, ..NONE };

    /// A promise's name, and what breaks it: of A → B → P → R with epilogue E.
    const BREAKS: &[(&str, Phase, [Effect; 5])] = &[
        (
            "no_effect_is_doubled",
            Phase::Running,
            [effect(2, 0), NONE, NONE, NONE, NONE],
        ),
        (
            "no_effect_is_doubled",
            Phase::Compensating,
            [effect(1, 2), NONE, NONE, NONE, NONE],
        ),
        (
            "an_effect_comes_after_those_it_waits_for",
            Phase::Running,
            [NONE, DONE, NONE, NONE, NONE],
        ),
        (
            "effects_are_undone_in_reverse",
            Phase::Compensating,
            [UNDONE, DONE, NONE, NONE, NONE],
        ),
        (
            "what_cannot_be_compensated_is_never_undone",
            Phase::Compensating,
            [DONE, DONE, UNDONE, NONE, NONE],
        ),
        (
            "completed_means_every_effect_is_there_once",
            Phase::Completed,
            [DONE, DONE, DONE, NONE, NONE],
        ),
        (
            "compensated_means_no_effect_is_left",
            Phase::Compensated,
            [DONE, NONE, NONE, NONE, DONE],
        ),
        (
            "compensated_means_no_effect_is_left",
            Phase::Compensated,
            [OPEN, NONE, NONE, NONE, DONE],
        ),
        (
            "the_epilogues_effect_comes_last_and_once",
            Phase::Compensating,
            [DONE, NONE, NONE, NONE, DONE],
        ),
        (
            "the_epilogues_effect_comes_last_and_once",
            Phase::Compensated,
            [UNDONE, NONE, NONE, NONE, NONE],
        ),
    ];

    #[test]
    fn each_promise_is_broken_by_some_effects() {
        for (name, phase, effects) in BREAKS {
            assert_eq!(
                broken_promise(&plan(), *phase, effects),
                Some(*name),
                "{effects:?}"
            );
        }
        for promise in PROMISES {
            let broken = BREAKS.iter().any(|(name, ..)| *name == promise.name);
            assert!(broken, "{}", promise.name);
        }
    }

    #[test]
    fn every_sound_end_keeps_all_promises() {
        let ends = [
            (Phase::Running, [DONE, NONE, NONE, NONE, NONE]),
            (Phase::Completed, [DONE, DONE, DONE, DONE, NONE]),
            (Phase::Compensating, [DONE, UNDONE, NONE, NONE, NONE]),
            (Phase::Compensated, [UNDONE, UNDONE, NONE, NONE, DONE]),
            (Phase::Compensated, [NONE, NONE, NONE, NONE, DONE]),
            (Phase::Resolved, [DONE, NONE, NONE, NONE, NONE]),
        ];
        for (phase, effects) in ends {
            assert_eq!(broken_promise(&plan(), phase, &effects), None, "{effects:?}");
        }
    }
}
