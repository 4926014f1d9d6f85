//! Plans of every shape that is allowed.

use proptest::prelude::*;
use saga_core::{Backoff, Epilogue, Plan, Start, StepPlan, Zone};

use crate::dsl::T0;

const NAMES: [&str; 9] = ["A", "B", "C", "D", "E", "F", "G", "H", "I"];

/// What one saga has to do.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) plan: Plan,
    pub(super) start: Start,
    /// For each step: its condition holds, or it has none.
    pub(super) holds: Vec<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Each step waits for the one before it.
    Linear,
    /// Branches and joins.
    Graph,
    /// Tries side by side, then perhaps the pivot, then confirms side by side.
    Tcc,
}

#[derive(Debug, Clone)]
struct Shape {
    /// For each compensatable step: which earlier ones it waits for, as bits; whether it is compensated; its expiry.
    before: Vec<(u8, bool, Option<u64>)>,
    pivot: bool,
    after: Vec<u8>,
    order: Order,
    /// Which steps have a probe, which have a condition, and which conditions hold, as bits.
    probes: u16,
    conditions: u16,
    holds: u16,
    epilogue: bool,
    retries: u32,
    deadline_ms: u64,
}

pub(super) fn any_scene() -> impl Strategy<Value = Scene> {
    let expires = prop_oneof![3 => Just(None), 1 => (1_u64..200_000).prop_map(Some)];
    let before = prop::collection::vec((any::<u8>(), prop::bool::weighted(0.8), expires), 0..=5);
    let after = prop::collection::vec(any::<u8>(), 0..=3);
    let order = prop_oneof![
        3 => Just(Order::Linear),
        3 => Just(Order::Graph),
        1 => Just(Order::Tcc),
    ];
    let rest = (any::<bool>(), order, any::<bool>(), 0_u32..4, 1_u64..300_000);
    let bits = (any::<u16>(), any::<u16>(), any::<u16>(), any::<u16>());
    (before, after, rest, bits)
        .prop_map(
            |(before, after, (pivot, order, epilogue, retries, deadline_ms), bits)| Shape {
                before,
                pivot,
                after,
                order,
                probes: bits.0,
                // A quarter of the steps; of those, half the conditions hold.
                conditions: bits.1 & bits.2,
                holds: bits.3,
                epilogue,
                retries,
                deadline_ms,
            },
        )
        .prop_filter("a plan has steps", |shape| {
            shape.pivot || !shape.before.is_empty() || !shape.after.is_empty()
        })
        .prop_map(|shape| build(&shape))
}

fn build(shape: &Shape) -> Scene {
    let backoff = Backoff {
        retries: shape.retries,
        initial_ms: 100,
        factor: 2.0,
        max_ms: 10_000,
    };
    let mut steps: Vec<StepPlan> = Vec::new();
    let mut add = |zone, after: Vec<u16>, compensated, expires| {
        let previous = u16::try_from(steps.len()).unwrap().checked_sub(1);
        let bit = |bits: u16| bits >> steps.len() & 1 == 1;
        let (probe, conditional) = (bit(shape.probes), bit(shape.conditions));
        let after = match shape.order {
            Order::Linear => previous.into_iter().collect(),
            Order::Graph | Order::Tcc => after,
        };
        steps.push(StepPlan {
            name: NAMES[steps.len()].into(),
            after,
            zone,
            compensated,
            backoff,
            compensation_backoff: backoff,
            timeout_ms: 5_000,
            compensation_timeout_ms: 5_000,
            expires,
            probe,
            conditional,
        });
    };
    let chosen = |bits: u8, from: u16, to: u16| {
        let bits = if shape.order == Order::Tcc { 0 } else { bits };
        (from..to).filter(move |i| bits >> (i - from) & 1 == 1)
    };
    let before = u16::try_from(shape.before.len()).unwrap();
    for (i, (bits, compensated, expires)) in (0..).zip(&shape.before) {
        add(
            Zone::Compensatable,
            chosen(*bits, 0, i).collect(),
            *compensated,
            expires.is_some(),
        );
    }
    if shape.pivot {
        add(Zone::Pivot, (0..before).collect(), false, false);
    }
    let first_after = before + u16::from(shape.pivot);
    for (i, bits) in (first_after..).zip(&shape.after) {
        let mut after: Vec<u16> = if shape.pivot {
            vec![before]
        } else {
            (0..before).collect()
        };
        after.extend(chosen(*bits, first_after, i));
        add(Zone::Retriable, after, false, false);
    }
    let epilogue = shape.epilogue.then(|| Epilogue {
        name: "EPILOGUE".into(),
        backoff,
        timeout_ms: 5_000,
    });
    let start = Start {
        at: T0,
        deadline_ms: shape.deadline_ms,
        expires_ms: shape.before.iter().map(|(_, _, expires)| *expires).collect(),
    };
    let holds = (0..)
        .zip(&steps)
        .map(|(i, step)| !step.conditional || shape.holds >> i & 1 == 1)
        .collect();
    Scene {
        plan: Plan::new(steps, epilogue, 60_000).unwrap(),
        start,
        holds,
    }
}
