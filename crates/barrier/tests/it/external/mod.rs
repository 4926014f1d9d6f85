//! Effects outside the database, with a double that is slow, lost, doubled and late.

mod crashes;
mod failures;
mod plain;
mod seeds;
mod undoing;

use std::time::Duration;

use barrier::external::{self, Attempt, Claims, Effect, RequestId, Seen, Unknown};
use barrier::{Done, Stop};
use rpc::step::{self, StepCall};
use sqlx::{PgConnection, PgPool};
use test_support::{Entry, Outside, OutsideError, eventually};
use tonic::{Code, Response, Status};

use crate::support::{DEADLINE, DOMAIN, Participant, compensation_of, refusal};

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Short, so that tests are; the grace is far above what the double's lateness and a busy machine add up to.
pub(crate) const CLAIMS: Claims = Claims {
    valid: ms(200),
    grace: ms(400),
    ask_again: ms(10),
};

/// A participant that has an outside, and its own books about it.
pub(crate) struct Shop {
    pub(crate) participant: Participant,
    pub(crate) outside: Outside,
    pub(crate) claims: Claims,
}

/// An order at the outside. Its reply is the fence of the claim under which it was made; 0 if it was looked up.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) outside: &'a Outside,
}

impl Effect for Order<'_> {
    type Reply = i64;
    type Undone = i64;

    async fn start(&self, attempt: Attempt<'_>) -> Result<Done<i64>, Stop> {
        match self.outside.act(attempt.id.as_str()).await {
            Ok(()) => Ok(Done::Reply(attempt.fence)),
            Err(OutsideError::Refused) => Err(refusal().into()),
            Err(error @ OutsideError::Lost) => Err(Stop::fail(error)),
        }
    }

    async fn query(&self, id: &RequestId) -> Result<Seen<i64, i64>, Unknown> {
        // Reading takes its time as well, during which things go on.
        tokio::task::yield_now().await;
        let entry = self.outside.entry(id.as_str());
        Ok(if entry.refused || entry.forbidden {
            Seen::Refused(refusal())
        } else if entry.stands() {
            Seen::Done(0)
        } else if entry.undone > 0 {
            Seen::Undone(0)
        } else {
            Seen::Nothing
        })
    }

    async fn undo(&self, id: &RequestId, attempt: Attempt<'_>) -> Result<Done<i64>, Stop> {
        match self.outside.undo(id.as_str()).await {
            Ok(()) => Ok(Done::Reply(attempt.fence)),
            Err(OutsideError::Refused) => Err(refusal().into()),
            Err(error @ OutsideError::Lost) => Err(Stop::fail(error)),
        }
    }

    async fn done(&self, conn: &mut PgConnection, id: &RequestId, _: &i64) -> Result<(), sqlx::Error> {
        sqlx::query("insert into ordered (id) values ($1)")
            .bind(id.as_str())
            .execute(conn)
            .await?;
        Ok(())
    }

    async fn undone(&self, conn: &mut PgConnection, id: &RequestId, _: &i64) -> Result<(), sqlx::Error> {
        sqlx::query("delete from ordered where id = $1")
            .bind(id.as_str())
            .execute(conn)
            .await?;
        Ok(())
    }
}

/// Prepares the tables of a participant with outside effects.
pub(crate) async fn participant() -> Participant {
    let participant = Participant::new().await;
    for sql in [
        external::CLAIM_TABLE_SQL,
        "create table ordered (id text primary key)",
    ] {
        sqlx::raw_sql(sql).execute(&participant.pool).await.unwrap();
    }
    participant
}

/// Id under which the outside knows an action.
pub(crate) fn id_of(call: &StepCall) -> String {
    format!("{}/{}/{}/action", call.saga_id, call.step, call.index)
}

pub(crate) fn waits(answer: &Response<i64>) -> bool {
    step::pending(answer.metadata()).is_some()
}

impl Shop {
    pub(crate) async fn new(outside: Outside) -> Self {
        Self {
            participant: participant().await,
            outside,
            claims: CLAIMS,
        }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.participant.pool
    }

    pub(crate) async fn act(&self, call: &StepCall) -> Result<Response<i64>, Status> {
        let effect = Order {
            outside: &self.outside,
        };
        external::action(self.pool(), call, &7i64, DOMAIN, &self.claims, &effect).await
    }

    pub(crate) async fn undo(&self, action: &StepCall) -> Result<Response<i64>, Status> {
        let effect = Order {
            outside: &self.outside,
        };
        let call = compensation_of(action);
        external::compensation(self.pool(), &call, &7i64, DOMAIN, &self.claims, &effect).await
    }

    /// Repeats the action, as an orchestrator does, until its answer is final.
    pub(crate) async fn act_to_the_end(&self, call: &StepCall) -> Result<i64, Status> {
        eventually(DEADLINE, || async { finished(self.act(call).await) }).await
    }

    /// Repeats the compensation until its answer is final.
    pub(crate) async fn undo_to_the_end(&self, action: &StepCall) -> Result<i64, Status> {
        eventually(DEADLINE, || async { finished(self.undo(action).await) }).await
    }

    pub(crate) fn entry(&self, call: &StepCall) -> Entry {
        self.outside.entry(&id_of(call))
    }

    /// Whether our own books have the order.
    pub(crate) async fn ordered(&self, call: &StepCall) -> bool {
        sqlx::query_scalar("select exists (select from ordered where id = $1)")
            .bind(id_of(call))
            .fetch_one(self.pool())
            .await
            .unwrap()
    }

    /// Number of the latest claim of an operation; 0 if there was none.
    pub(crate) async fn fence(&self, call: &StepCall, op: &str) -> i64 {
        sqlx::query_scalar(
            "select coalesce(max(fence), 0) from barrier_claim where saga_id = $1 and step = $2 and op = $3",
        )
        .bind(call.saga_id.uuid())
        .bind(&call.step)
        .bind(op)
        .fetch_one(self.pool())
        .await
        .unwrap()
    }

    /// What the saga has given up and nobody has undone.
    pub(crate) async fn late(&self, call: &StepCall) -> Option<Vec<u8>> {
        sqlx::query_scalar("select late_reply from barrier_claim where saga_id = $1 and op = 'action'")
            .bind(call.saga_id.uuid())
            .fetch_optional(self.pool())
            .await
            .unwrap()
            .flatten()
    }

    /// The double's books equal ours, nothing was done twice, and what was undone was undone once.
    pub(crate) async fn assert_balanced(&self, call: &StepCall, stands: bool, context: &str) {
        let entry = self.entry(call);
        assert!(
            entry.done <= 1 && entry.undone <= entry.done,
            "{context}: {entry:?}"
        );
        assert_eq!(entry.stands(), stands, "{context}: {entry:?}");
        assert_eq!(self.ordered(call).await, stands, "{context}: {entry:?}");
    }
}

/// The final answer of a call, if it is one.
pub(crate) fn finished(answer: Result<Response<i64>, Status>) -> Option<Result<i64, Status>> {
    match answer {
        Ok(answer) if waits(&answer) => None,
        Ok(answer) => {
            assert!(step::is_stored(answer.metadata()));
            Some(Ok(answer.into_inner()))
        }
        // The outcome is unknown.
        Err(status) if [Code::Internal, Code::Unavailable].contains(&status.code()) => None,
        Err(status) => Some(Err(status)),
    }
}
