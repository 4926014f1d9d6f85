//! The Python example passes; the same with a line changed fails where that line mattered.

use rstest::rstest;

use crate::agency::{Agency, Flaw};

const NEVER_PENDING: &str = "answers that are not final say when to ask again";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_example_keeps_every_rule_and_outlives_a_restart() {
    let agency = Agency::start(None, "");
    let report = agency.check(&["--restart-cmd", "sh restart.sh"]).await;
    report.assert_passed(&[NEVER_PENDING]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agency_that_forgets_at_a_restart_is_found() {
    let agency = Agency::start(None, "rm -f travel.db travel.db-wal travel.db-shm");
    let report = agency.check(&["--restart-cmd", "sh restart.sh"]).await;
    report.assert_broken("a reply outlives a restart");
}

#[rstest]
#[case::compares_no_requests(
    ("barrier.py", "    if row[\"request_digest\"] != digest:\n        raise Mismatch\n", ""),
    "the same key with another request is a mismatch"
)]
#[case::lets_late_actions_succeed(
    ("barrier.py", "        raise Superseded\n", "        return b\"\"\n"),
    "an action later than its compensation is superseded"
)]
#[case::works_again_when_repeated(
    ("barrier.py", "            return _stored(_row(db, key, call.op), digest)", "            pass"),
    "a repeated action gets the stored reply"
)]
#[case::stores_a_no_that_cannot_be_acted_on(
    ("barrier.py", "if call.op == \"compensation\" or not call.refusable:", "if call.op == \"compensation\":"),
    "a refusal that cannot be acted on is not stored"
)]
#[case::does_not_mark_what_it_stores(
    ("barrier.py", "no.stored, refused = True, no", "refused = no"),
    "a refusal is in the participant's name and marked"
)]
#[case::forgets_refusals(
    ("barrier.py", "                db.execute(\"rollback to work\")\n", "                raise\n"),
    "a refusal is in the participant's name and marked"
)]
#[case::takes_all_indexes_for_one(
    ("barrier.py", "key = (call.saga_id, call.step, call.index)", "key = (call.saga_id, call.step, 0)"),
    "another step or index is another operation"
)]
#[case::refuses_to_undo_nothing(
    ("barrier.py", "reply = b\"\"  # there is nothing to undo", "raise Refused(\"NO_BOOKING\", \"nothing to undo\")"),
    "a compensation without its action succeeds"
)]
#[case::blames_the_step_for_a_bad_call(
    ("participant.py", "\"STEP_METADATA_INVALID\", str(error)", "\"BAD_CALL\", str(error)"),
    "a call without metadata is no step"
)]
#[case::refuses_in_no_name(
    ("participant.py", "wire.abort(context, DOMAIN, no.code", "wire.abort(context, \"elsewhere\", no.code"),
    "a refusal is in the participant's name and marked"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agency_with_a_flaw_is_found(#[case] flaw: Flaw<'static>, #[case] check: &str) {
    let agency = Agency::start(Some(flaw), "");
    agency.check(&[]).await.assert_broken(check);
}
