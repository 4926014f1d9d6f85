//! Work that is one statement.

use std::sync::Arc;

use barrier::{Done, Statement, run_statement};
use rpc::outcome::{Verdict, classify};
use rpc::step::{self, StepCall};
use tonic::{Response, Status};

use crate::support::{DOMAIN, Participant, action, bump, compensation_of, reason, refusal, row};

const ADD: &str = "insert into counter (name, value) select $1, 1 from once \
                   on conflict (name) do update set value = counter.value + 1 returning 1";
const TAKE: &str =
    "update counter set value = value - $2 from once where name = $1 and value >= $2 returning 1";

impl Participant {
    /// Calls a step whose work adds 1 to the counter `work` in one statement, and answers 5.
    async fn add(&self, call: &StepCall) -> Result<Response<i64>, Status> {
        let statement = Statement::new(ADD, refusal()).bind("work");
        run_statement(&self.pool, call, &7i64, DOMAIN, statement, 5i64).await
    }

    /// Calls a step whose work takes so much from the counter `work`, if it is there.
    async fn take(&self, call: &StepCall, amount: i64) -> Result<Response<i64>, Status> {
        let statement = Statement::new(TAKE, refusal()).bind("work").bind(amount);
        run_statement(&self.pool, call, &amount, DOMAIN, statement, 0i64).await
    }
}

#[tokio::test]
async fn a_repeated_statement_gets_the_stored_reply_and_does_nothing() {
    let participant = Participant::new().await;
    let call = action();
    for attempt in 1..=3 {
        let call = StepCall {
            attempt,
            ..call.clone()
        };
        let answer = participant.add(&call).await.unwrap();
        assert!(step::is_stored(answer.metadata()));
        assert_eq!(answer.into_inner(), 5);
    }
    assert_eq!(participant.count().await, 1);
    assert_eq!(participant.rows().await, [row("action", "succeeded")]);
}

#[tokio::test]
async fn what_a_statement_has_stored_answers_any_other_work_and_the_other_way_round() {
    let participant = Participant::new().await;
    let (first, second) = (action(), action());
    participant.add(&first).await.unwrap();
    assert_eq!(participant.never(&first).await.unwrap().into_inner(), 5);
    participant.bump(&second).await.unwrap();
    assert_eq!(participant.add(&second).await.unwrap().into_inner(), 2);
    assert_eq!(participant.count().await, 2);
}

#[tokio::test]
async fn another_request_under_the_key_of_a_statement_is_a_mismatch() {
    let participant = Participant::new().await;
    let call = action();
    participant.add(&call).await.unwrap();
    let status = bump(&participant.pool, &call, 8).await.unwrap_err();
    assert_eq!(reason(&status), "BARRIER_MISMATCH");
    assert_eq!(participant.count().await, 1);
}

#[tokio::test]
async fn a_statement_without_a_row_is_a_stored_refusal() {
    let participant = Participant::new().await;
    participant.add(&action()).await.unwrap();
    let call = action();
    let first = participant.take(&call, 2).await.unwrap_err();
    // Now there would be enough; a definite no stays one.
    participant.add(&action()).await.unwrap();
    let second = participant.take(&call, 2).await.unwrap_err();
    for status in [&first, &second] {
        assert_eq!(classify(status, DOMAIN), Verdict::Refused { stored: true });
        assert_eq!(status.message(), refusal().message);
    }
    assert_eq!(participant.count().await, 2);
    participant.take(&action(), 2).await.unwrap();
    assert_eq!(participant.count().await, 0);
}

#[tokio::test]
async fn a_statement_that_comes_after_its_compensation_has_no_effect() {
    let participant = Participant::new().await;
    let call = action();
    let undone = participant.take(&compensation_of(&call), 1).await.unwrap();
    assert_eq!(undone.into_inner(), 0);
    let status = participant.add(&call).await.unwrap_err();
    assert_eq!(reason(&status), "SUPERSEDED");
    assert_eq!(participant.count().await, 0);
}

#[tokio::test]
async fn a_compensation_by_statement_undoes_once_what_succeeded() {
    let participant = Participant::new().await;
    let call = action();
    participant.add(&call).await.unwrap();
    participant.add(&action()).await.unwrap();
    for _ in 0..3 {
        participant.take(&compensation_of(&call), 1).await.unwrap();
    }
    assert_eq!(participant.count().await, 1);
    let status = participant.take(&compensation_of(&call), 2).await.unwrap_err();
    assert_eq!(reason(&status), "BARRIER_MISMATCH");
}

#[tokio::test]
async fn a_compensation_that_can_do_nothing_is_answered_and_forgotten() {
    let participant = Participant::new().await;
    let call = action();
    participant.add(&call).await.unwrap();
    let undo = compensation_of(&call);
    let status = participant.take(&undo, 9).await.unwrap_err();
    assert_eq!(reason(&status), "QUOTA_INSUFFICIENT");
    assert_eq!(participant.rows().await, [row("action", "succeeded")]);
    participant.take(&undo, 1).await.unwrap();
    assert_eq!(participant.count().await, 0);
}

#[tokio::test]
async fn a_compensation_of_a_pending_action_supersedes_it() {
    let participant = Participant::new().await;
    let call = action();
    let ask_again = std::time::Duration::from_secs(1);
    participant
        .answer(&call, Ok(Done::Pending { ask_again }))
        .await
        .unwrap();
    participant.take(&compensation_of(&call), 1).await.unwrap();
    assert_eq!(
        participant.rows().await,
        [row("action", "superseded"), row("compensation", "succeeded")]
    );
    assert_eq!(participant.count().await, 0);
}

#[tokio::test]
async fn a_statement_that_is_wrong_leaves_the_outcome_unknown_and_no_row() {
    let participant = Participant::new().await;
    let call = action();
    let statement = Statement::new(
        "update nothing_of_that_name set x = 1 from once returning 1",
        refusal(),
    );
    let answer = run_statement(&participant.pool, &call, &7i64, DOMAIN, statement, 0i64).await;
    assert_eq!(classify(&answer.unwrap_err(), DOMAIN), Verdict::Unknown);
    assert_eq!(participant.rows().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn simultaneous_statements_have_one_effect() {
    let participant = Arc::new(Participant::new().await);
    let call = action();
    let calls = (0..32).map(|_| {
        let (participant, call) = (Arc::clone(&participant), call.clone());
        tokio::spawn(async move { participant.add(&call).await.unwrap().into_inner() })
    });
    for reply in futures::future::join_all(calls).await {
        assert_eq!(reply.unwrap(), 5);
    }
    assert_eq!(participant.count().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn statements_and_their_compensations_at_once_never_leave_an_effect() {
    let participant = Arc::new(Participant::new().await);
    let calls = (0..64).map(|_| {
        let participant = Arc::clone(&participant);
        tokio::spawn(async move {
            let call = action();
            let undo = compensation_of(&call);
            let (acted, once, again) = tokio::join!(
                participant.add(&call),
                participant.take(&undo, 1),
                participant.take(&undo, 1)
            );
            if let Err(status) = acted {
                assert_eq!(reason(&status), "SUPERSEDED");
            }
            once.unwrap();
            again.unwrap();
        })
    });
    for call in futures::future::join_all(calls).await {
        call.unwrap();
    }
    assert_eq!(participant.count().await, 0);
}

#[tokio::test]
async fn a_stricter_default_of_the_database_changes_nothing() {
    let participant = Participant::new().await;
    let strict = "set session characteristics as transaction isolation level serializable";
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut connection = participant.pool.acquire().await.unwrap();
        sqlx::raw_sql(strict).execute(&mut *connection).await.unwrap();
        connections.push(connection);
    }
    let call = action();
    let calls = connections.iter_mut().map(|connection| {
        let statement = Statement::new(ADD, refusal()).bind("work");
        run_statement(&mut **connection, &call, &7i64, DOMAIN, statement, 5i64)
    });
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.unwrap().into_inner(), 5);
    }
    assert_eq!(participant.count().await, 1);
}
