//! Rule 1: what an answer says about the operation.

use saga_core::{FailureClass, Reason};

use crate::dsl::*;

#[test]
fn a_misconfigured_attempt_is_unresolved_so_that_an_unmarked_no_proves_nothing() {
    Saga::of(&[work("A"), pivot("P")])
        .succeed("A")
        .fail_as("P", FailureClass::Misconfigured)
        .refuse("P")
        .expect_running()
        .refuse_stored("P")
        .expect_unwinding(Reason::Refused);
}
