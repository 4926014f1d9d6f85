//! What a plan must be.

use saga_core::PlanError;

use crate::dsl::*;

fn refused(steps: &[Step]) -> PlanError {
    plan_of(steps, None).unwrap_err()
}

#[test]
fn a_plan_has_at_least_one_step_and_at_most_a_thousand() {
    assert_eq!(refused(&[]), PlanError::StepCount(0));
    let steps: Vec<Step> = (0..1_001).map(|i| work(&format!("S{i}"))).collect();
    assert_eq!(refused(&steps), PlanError::StepCount(1_001));
    assert!(plan_of(&steps[..1_000], None).is_ok());
}

#[test]
fn a_step_cannot_wait_for_itself_or_for_a_later_one() {
    assert_eq!(refused(&[work("A").after(&["A"])]), PlanError::Order("A".into()));
    let later = [work("A").after(&["B"]), work("B").after(&[])];
    assert_eq!(refused(&later), PlanError::Order("A".into()));
}

#[test]
fn there_is_at_most_one_pivot() {
    assert_eq!(
        refused(&[pivot("P"), pivot("Q")]),
        PlanError::SecondPivot("Q".into())
    );
}

#[test]
fn nothing_compensatable_stands_after_the_pivot_or_beside_it() {
    assert_eq!(
        refused(&[pivot("P"), work("A")]),
        PlanError::ZoneOrder("A".into())
    );
    let beside = [work("A").after(&[]), pivot("P").after(&[])];
    assert_eq!(refused(&beside), PlanError::ZoneOrder("A".into()));
}

#[test]
fn nothing_compensatable_stands_after_or_beside_a_retriable_step() {
    assert_eq!(
        refused(&[onward("R"), work("A")]),
        PlanError::ZoneOrder("R".into())
    );
    let beside = [work("A").after(&[]), onward("R").after(&[])];
    assert_eq!(refused(&beside), PlanError::ZoneOrder("R".into()));
}

#[test]
fn nothing_retriable_stands_before_or_beside_the_pivot() {
    assert_eq!(
        refused(&[onward("R"), pivot("P")]),
        PlanError::ZoneOrder("R".into())
    );
    let beside = [pivot("P").after(&[]), onward("R").after(&[])];
    assert_eq!(refused(&beside), PlanError::ZoneOrder("R".into()));
}

#[test]
fn nothing_at_or_after_the_commit_point_is_compensated() {
    for step in [pivot("S"), onward("S")] {
        let error = refused(&[step.compensated(true)]);
        assert_eq!(error, PlanError::CompensatedAfterCommit("S".into()));
    }
}

#[test]
fn nothing_at_or_after_the_commit_point_expires() {
    for step in [pivot("S"), onward("S")] {
        assert_eq!(
            refused(&[step.expires()]),
            PlanError::ExpiresAfterCommit("S".into())
        );
    }
}

#[test]
fn a_plan_knows_its_steps_by_name_and_position() {
    let plan = plan_of(&[work("A"), pivot("P"), onward("R")], None).unwrap();
    assert_eq!(plan.position("R"), Some(2));
    assert_eq!(plan.position("X"), None);
    assert_eq!(plan.pivot(), Some(1));
    assert_eq!(plan.steps().len(), 3);
    assert!(plan.epilogue().is_none());
}
