//! Whether what is in memory is what may be.

use saga_core::invariants;

use super::live::Live;
use super::metrics::Metrics;

/// Counts and logs the first invariant that a saga breaks, if it breaks one.
///
/// Made when a saga is loaded and when it has ended, in every build: a journal that was written by another program, or by
/// hand, is seen before anybody acts on it, and a mistake of ours is seen once a saga. Nothing is held back for it: a
/// predicate that is wrong must not stop sagas that are right.
pub(super) fn check(metrics: &Metrics, live: &Live) {
    let Some(invariant) = invariants::broken_at_rest(&live.identity.plan, &live.state) else {
        return;
    };
    metrics.broken(invariant);
    tracing::error!(
        saga_id = %live.id(), business_type = %live.identity.saga_type, invariant,
        phase = live.state.phase().name(), "the state of a saga breaks an invariant"
    );
}
