//! The definitions that are simulated.

use std::sync::Arc;

use saga_core::{Backoff, Epilogue, Plan, StepPlan, Zone};

pub(super) fn plans() -> Vec<Arc<Plan>> {
    let backoff = Backoff {
        max_ms: 1_000,
        ..Backoff::default()
    };
    let step = |name: &str, after: &[u16], zone: Zone| StepPlan {
        name: name.into(),
        after: after.to_vec(),
        zone,
        compensated: zone == Zone::Compensatable,
        backoff,
        compensation_backoff: backoff,
        timeout_ms: 1_000,
        compensation_timeout_ms: 1_000,
        expires: false,
        probe: false,
        conditional: false,
    };
    let epilogue = Epilogue {
        name: "AFTER".into(),
        backoff,
        timeout_ms: 1_000,
    };
    let linear = vec![
        step("A", &[], Zone::Compensatable),
        step("B", &[0], Zone::Compensatable),
        step("C", &[1], Zone::Retriable),
    ];
    let pivoted = vec![
        step("A", &[], Zone::Compensatable),
        StepPlan {
            probe: true,
            ..step("P", &[0], Zone::Pivot)
        },
        step("C", &[1], Zone::Retriable),
    ];
    let graph = vec![
        step("A", &[], Zone::Compensatable),
        StepPlan {
            conditional: true,
            ..step("B", &[0], Zone::Compensatable)
        },
        StepPlan {
            probe: true,
            ..step("C", &[0], Zone::Compensatable)
        },
        step("D", &[1, 2], Zone::Pivot),
    ];
    vec![
        Arc::new(Plan::new(linear, Some(epilogue), 2_000).unwrap()),
        Arc::new(Plan::new(pivoted, None, 2_000).unwrap()),
        Arc::new(Plan::new(graph, None, 2_000).unwrap()),
    ]
}
