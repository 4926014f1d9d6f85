//! Rule 2: until when a saga can be undone.

use saga_core::Rejected;

use crate::dsl::*;

#[test]
fn a_plan_of_retriable_steps_is_past_its_commit_point_from_the_start() {
    let mut saga = Saga::of(&[onward("A"), onward("B")]);
    assert!(saga.state.committed());
    assert_eq!(saga.try_cancel(), Err(Rejected::PastCommitPoint));
    saga.pass(DEADLINE_MS)
        .expect_running()
        .succeed("A")
        .succeed("B")
        .expect_completed();
}
