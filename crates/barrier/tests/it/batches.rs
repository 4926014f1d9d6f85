//! Calls that share a statement.

use std::sync::Arc;
use std::time::Duration;

use barrier::{Batch, Done};
use rpc::outcome::{Verdict, classify};
use rpc::step::{self, Op, StepCall};
use serde_json::json;
use tonic::{Response, Status};

use crate::support::{DOMAIN, Participant, action, bump, compensation_of, reason, refusal, row};

/// A row for each call, in a table that would take it twice.
const INSERT: &str = "insert into effect (saga_id, amount) select saga_id, (args->>'amount')::bigint from calls returning saga_id";
const DELETE: &str =
    "delete from effect using calls where effect.saga_id = calls.saga_id returning calls.saga_id";
/// The same row for all.
const TAKE: &str = "update counter set value = value - (args->>'amount')::bigint from calls \
                    where name = 'work' and value >= (args->>'amount')::bigint returning saga_id";

struct Batches {
    participant: Participant,
    insert: Batch,
    delete: Batch,
    take: Batch,
}

impl Batches {
    async fn new() -> Arc<Self> {
        let participant = Participant::new().await;
        let table = "create table effect (saga_id uuid not null, amount bigint not null)";
        sqlx::raw_sql(table).execute(&participant.pool).await.unwrap();
        let batch = |op, sql| Batch::new(&participant.pool, op, DOMAIN, sql, refusal());
        Arc::new(Self {
            insert: batch(Op::Action, INSERT),
            delete: batch(Op::Compensation, DELETE),
            take: batch(Op::Action, TAKE),
            participant,
        })
    }

    /// Calls a step whose work inserts a row, and answers 5.
    async fn insert(&self, call: &StepCall) -> Result<Response<i64>, Status> {
        self.insert.run(call, &7i64, &json!({"amount": 7}), 5i64).await
    }

    /// Calls the compensation of that step.
    async fn delete(&self, call: &StepCall) -> Result<Response<i64>, Status> {
        self.delete
            .run(&compensation_of(call), &8i64, &json!({}), 6i64)
            .await
    }

    /// Calls a step whose work takes so much from the counter `work`.
    async fn take(&self, call: &StepCall, amount: i64) -> Result<Response<i64>, Status> {
        self.take
            .run(call, &amount, &json!({ "amount": amount }), 0i64)
            .await
    }

    async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&self.participant.pool)
            .await
            .unwrap()
    }

    async fn effects(&self) -> i64 {
        self.number("select count(*) from effect").await
    }

    async fn transactions(&self) -> i64 {
        self.number("select count(distinct xmin::text) from barrier")
            .await
    }
}

/// Does something for each call at once.
async fn each<F>(
    calls: &[StepCall],
    mut work: impl FnMut(StepCall) -> F,
) -> Vec<Result<Response<i64>, Status>>
where
    F: Future<Output = Result<Response<i64>, Status>> + Send + 'static,
{
    let tasks = calls.iter().map(|call| tokio::spawn(work(call.clone())));
    let answers = futures::future::join_all(tasks).await;
    answers.into_iter().map(Result::unwrap).collect()
}

fn actions(count: usize) -> Vec<StepCall> {
    (0..count).map(|_| action()).collect()
}

impl Batches {
    async fn insert_all(self: &Arc<Self>, calls: &[StepCall]) -> Vec<Result<Response<i64>, Status>> {
        each(calls, |call| {
            let batches = Arc::clone(self);
            async move { batches.insert(&call).await }
        })
        .await
    }

    async fn delete_all(self: &Arc<Self>, calls: &[StepCall]) -> Vec<Result<Response<i64>, Status>> {
        each(calls, |call| {
            let batches = Arc::clone(self);
            async move { batches.delete(&call).await }
        })
        .await
    }

    async fn take_all(self: &Arc<Self>, calls: &[StepCall]) -> Vec<Result<Response<i64>, Status>> {
        each(calls, |call| {
            let batches = Arc::clone(self);
            async move { batches.take(&call, 1).await }
        })
        .await
    }
}

#[tokio::test]
async fn calls_that_come_at_once_share_transactions_and_each_has_its_effect() {
    let batches = Batches::new().await;
    let calls = actions(64);
    for answer in batches.insert_all(&calls).await {
        let answer = answer.unwrap();
        assert!(step::is_stored(answer.metadata()));
        assert_eq!(answer.into_inner(), 5);
    }
    assert_eq!(batches.effects().await, 64);
    let transactions = batches.transactions().await;
    assert!(transactions < 8, "{transactions}");
    for answer in batches.delete_all(&calls).await {
        assert_eq!(answer.unwrap().into_inner(), 6);
    }
    assert_eq!(batches.effects().await, 0);
    let transactions = batches.transactions().await;
    assert!(transactions < 16, "{transactions}");
}

#[tokio::test]
async fn a_repeated_call_gets_the_stored_reply_among_new_ones() {
    let batches = Batches::new().await;
    let first = actions(4);
    batches.insert_all(&first).await;
    let all = [first, actions(4)].concat();
    for answer in batches.insert_all(&all).await {
        assert_eq!(answer.unwrap().into_inner(), 5);
    }
    assert_eq!(batches.effects().await, 8);
}

#[tokio::test]
async fn one_call_made_many_times_at_once_has_one_effect() {
    let batches = Batches::new().await;
    // On one thread they come to the same statement.
    let calls = vec![action(); 32];
    for answer in batches.insert_all(&calls).await {
        assert_eq!(answer.unwrap().into_inner(), 5);
    }
    assert_eq!(batches.effects().await, 1);
    assert_eq!(batches.participant.rows().await, [row("action", "succeeded")]);
}

#[tokio::test]
async fn what_a_batch_has_stored_answers_any_other_work() {
    let batches = Batches::new().await;
    let call = action();
    batches.insert(&call).await.unwrap();
    assert_eq!(batches.participant.never(&call).await.unwrap().into_inner(), 5);
    let status = bump(&batches.participant.pool, &call, 8).await.unwrap_err();
    assert_eq!(reason(&status), "BARRIER_MISMATCH");
}

#[tokio::test]
async fn calls_that_change_the_same_row_all_have_their_effect() {
    let batches = Batches::new().await;
    for _ in 0..10 {
        batches.participant.bump(&action()).await.unwrap();
    }
    for answer in batches.take_all(&actions(10)).await {
        answer.unwrap();
    }
    assert_eq!(batches.participant.count().await, 0);
}

#[tokio::test]
async fn a_refusal_is_that_of_its_own_call_and_stays() {
    let batches = Batches::new().await;
    for _ in 0..3 {
        batches.participant.bump(&action()).await.unwrap();
    }
    let calls = actions(5);
    let answers = batches.take_all(&calls).await;
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    for status in refused.clone() {
        assert_eq!(classify(status, DOMAIN), Verdict::Refused { stored: true });
        assert_eq!(status.message(), refusal().message);
    }
    assert_eq!(refused.count(), 2);
    batches.participant.bump(&action()).await.unwrap();
    let again = batches.take_all(&calls).await;
    assert_eq!(again.iter().filter(|answer| answer.is_err()).count(), 2);
    assert_eq!(batches.participant.count().await, 1);
}

#[tokio::test]
async fn two_rows_for_one_call_do_not_hide_that_another_has_none() {
    let batches = Batches::new().await;
    let calls = actions(2);
    batches.insert_all(&calls).await;
    let (one, none) = (calls[0].saga_id.uuid(), calls[1].saga_id.uuid());
    // As many rows as calls, but both of the first one's saga.
    sqlx::query("update effect set saga_id = $1 where saga_id = $2")
        .bind(one)
        .bind(none)
        .execute(&batches.participant.pool)
        .await
        .unwrap();
    let answers = batches.delete_all(&calls).await;
    assert_eq!(answers[0].as_ref().unwrap().get_ref(), &6);
    assert_eq!(reason(answers[1].as_ref().unwrap_err()), "QUOTA_INSUFFICIENT");
    assert_eq!(batches.effects().await, 0);
}

#[tokio::test]
async fn calls_of_one_saga_that_come_at_once_all_have_their_effect() {
    let batches = Batches::new().await;
    let call = action();
    let calls: Vec<StepCall> = (0..8)
        .map(|index| StepCall {
            index,
            ..call.clone()
        })
        .collect();
    for answer in batches.insert_all(&calls).await {
        assert_eq!(answer.unwrap().into_inner(), 5);
    }
    assert_eq!(batches.effects().await, 8);
}

#[tokio::test]
async fn an_action_that_comes_after_its_compensation_has_no_effect_and_its_neighbours_have() {
    let batches = Batches::new().await;
    let calls = actions(6);
    for answer in batches.delete_all(&calls[..3]).await {
        // There was nothing to undo.
        assert_eq!(answer.unwrap().into_inner(), 0);
    }
    let answers = batches.insert_all(&calls).await;
    for answer in &answers[..3] {
        assert_eq!(reason(answer.as_ref().unwrap_err()), "SUPERSEDED");
    }
    assert!(answers[3..].iter().all(Result::is_ok));
    assert_eq!(batches.effects().await, 3);
}

#[tokio::test]
async fn a_method_that_is_called_as_what_it_was_not_made_for_has_the_row_of_the_call() {
    let batches = Batches::new().await;
    let answer = batches.insert(&compensation_of(&action())).await.unwrap();
    // There was no action to undo, so that the work is not done.
    assert_eq!(answer.into_inner(), 0);
    assert_eq!(batches.effects().await, 0);
    assert_eq!(
        batches.participant.rows().await,
        [row("action", "superseded"), row("compensation", "succeeded")]
    );
}

#[tokio::test]
async fn a_compensation_of_a_pending_action_supersedes_it() {
    let batches = Batches::new().await;
    let call = action();
    let begun = barrier::run(
        &batches.participant.pool,
        &call,
        &7i64,
        DOMAIN,
        async |conn, _| {
            let begin = sqlx::query("insert into effect (saga_id, amount) values ($1, 7)");
            begin.bind(call.saga_id.uuid()).execute(conn).await?;
            let ask_again = Duration::from_secs(1);
            Ok::<Done<i64>, sqlx::Error>(Done::Pending { ask_again })
        },
    );
    begun.await.unwrap();
    batches.delete(&call).await.unwrap();
    assert_eq!(batches.effects().await, 0);
    assert_eq!(
        batches.participant.rows().await,
        [row("action", "superseded"), row("compensation", "succeeded")]
    );
}

#[tokio::test]
async fn a_statement_that_is_wrong_leaves_the_outcome_unknown_and_no_row() {
    let batches = Batches::new().await;
    let wrong = "insert into nothing_of_that_name select 1 from calls returning 1";
    let batch = Batch::new(&batches.participant.pool, Op::Action, DOMAIN, wrong, refusal());
    let answer = batch.run(&action(), &7i64, &json!({}), 5i64).await;
    assert_eq!(classify(&answer.unwrap_err(), DOMAIN), Verdict::Unknown);
    assert_eq!(batches.participant.rows().await, []);
}

#[tokio::test]
async fn a_call_whose_row_is_locked_keeps_the_others_waiting_for_a_moment_only() {
    let batches = Batches::new().await;
    let held = action();
    let mut holder = batches.participant.pool.begin().await.unwrap();
    sqlx::query(
        "insert into barrier (saga_id, step, idx, op, request_digest, state, reply) \
         values ($1, $2, 0, 'action', sha256(''), 'succeeded', '')",
    )
    .bind(held.saga_id.uuid())
    .bind(&held.step)
    .execute(&mut *holder)
    .await
    .unwrap();
    let waiting = tokio::spawn({
        let (batches, held) = (Arc::clone(&batches), held.clone());
        async move { batches.insert(&held).await }
    });
    batches.participant.until_waiting(1).await;
    let calls = actions(8);
    let others = batches.insert_all(&calls);
    let a_moment = Duration::from_secs(5);
    for answer in tokio::time::timeout(a_moment, others).await.unwrap() {
        answer.unwrap();
    }
    assert!(!waiting.is_finished());
    holder.rollback().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().into_inner(), 5);
    assert_eq!(batches.effects().await, 9);
}

#[tokio::test]
async fn whoever_leaves_finds_the_effect_when_it_comes_back() {
    let batches = Batches::new().await;
    let call = action();
    let left = tokio::time::timeout(Duration::ZERO, batches.insert(&call)).await;
    assert!(left.is_err(), "it is on its way");
    assert_eq!(batches.insert(&call).await.unwrap().into_inner(), 5);
    assert_eq!(batches.effects().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn actions_and_their_compensations_at_once_never_leave_an_effect() {
    let batches = Batches::new().await;
    let calls = actions(96);
    let answers = each(&calls, |call| {
        let batches = Arc::clone(&batches);
        async move {
            let (acted, once, again) = tokio::join!(
                batches.insert(&call),
                batches.delete(&call),
                batches.delete(&call)
            );
            if let Err(status) = acted {
                assert_eq!(reason(&status), "SUPERSEDED");
            }
            once.unwrap();
            again
        }
    });
    for answer in answers.await {
        answer.unwrap();
    }
    assert_eq!(batches.effects().await, 0);
}

#[tokio::test]
async fn a_connection_that_was_ended_costs_one_attempt() {
    let batches = Batches::new().await;
    batches.insert(&action()).await.unwrap();
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
               where datname = current_database() and query like '%with given as%' and pid <> pg_backend_pid()";
    assert_eq!(batches.number(end).await, 1);
    let call = action();
    let mut answer = batches.insert(&call).await;
    if let Err(status) = &answer {
        assert_eq!(classify(status, DOMAIN), Verdict::Unknown);
        answer = batches.insert(&call).await;
    }
    assert_eq!(answer.unwrap().into_inner(), 5);
    assert_eq!(batches.effects().await, 2);
}
