//! Carries out what [`decide`](crate::external::decide) says: short transactions around calls to the outside.

use std::time::Duration;

use prost::Message;
use rpc::error::Reason;
use rpc::step::{Op, StepCall};
use sha2::{Digest as _, Sha256};
use sqlx::{PgPool, PgTransaction};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Response, Status};

use crate::answer::{self, key, unknown};
use crate::decide::{ActionRow, Decision, Own, State};
use crate::external::decide::{self, Claim, Next, Plan, Record};
use crate::external::operation::{Acting, Ids, Look, Operation, Undoing};
use crate::external::rows::{self as claims, Seen};
use crate::external::{Claims, Effect, RequestId, Unknown};
use crate::rows::{self, Key, Row};
use crate::run::look;
use crate::{Done, Refusal, Stop};

const BEGIN: &str = "begin isolation level read committed";

/// Makes an outside effect happen once, and answers repeated calls from store.
///
/// `pool` gives connections whose `search_path` finds the participant's `barrier` and `barrier_claim` tables; `domain` is
/// the participant's error domain. No connection is held while the outside is called.
///
/// # Errors
/// * The effect's refusal. It carries the mark of [`rpc::step::set_stored`] if it was stored.
/// * `SUPERSEDED`: a compensation of this action came first.
/// * `BARRIER_MISMATCH`: the key was used with another request.
/// * `STEP_METADATA_INVALID`: the call is of a compensation, or its index is above 2,147,483,647.
/// * `UNAVAILABLE` or `INTERNAL`: the outcome is unknown. The cause is in the log.
pub async fn action<E: Effect>(
    pool: &PgPool,
    call: &StepCall,
    request: &impl Message,
    domain: &'static str,
    limits: &Claims,
    effect: &E,
) -> Result<Response<E::Reply>, Status> {
    let digest = Sha256::digest(request.encode_to_vec());
    let run = Run::new(pool, call, domain, limits, Acting(effect))?;
    run.call(&digest).await
}

/// Undoes an outside effect, whatever has become of its action, and answers repeated calls from store.
///
/// # Errors
/// As [`action`], but never `SUPERSEDED`; a refusal to undo is answered and not stored. `STEP_METADATA_INVALID` if the
/// call is of an action.
pub async fn compensation<E: Effect>(
    pool: &PgPool,
    call: &StepCall,
    request: &impl Message,
    domain: &'static str,
    limits: &Claims,
    effect: &E,
) -> Result<Response<E::Undone>, Status> {
    let digest = Sha256::digest(request.encode_to_vec());
    let run = Run::new(pool, call, domain, limits, Undoing(effect))?;
    run.call(&digest).await
}

/// One call of a step.
#[derive(Debug)]
struct Run<'a, O> {
    pool: &'a PgPool,
    call: &'a StepCall,
    key: Key<'a>,
    domain: &'static str,
    limits: &'a Claims,
    ids: Ids,
    operation: O,
}

/// What a call goes on with after its first transaction.
#[derive(Debug)]
enum Turn<R> {
    Answer(Result<Response<R>, Status>),
    Wait(Duration),
    Query(Seen),
    Call(i64),
}

impl<'a, O: Operation> Run<'a, O> {
    fn new(
        pool: &'a PgPool,
        call: &'a StepCall,
        domain: &'static str,
        limits: &'a Claims,
        operation: O,
    ) -> Result<Self, Status> {
        if call.op != O::OP {
            let text = format!("header evenkeel-op must be {} for this method", O::OP.name());
            return Err(Reason::StepMetadataInvalid.status(domain, text));
        }
        let id = |op| RequestId::new(call.saga_id, &call.step, call.index, op);
        Ok(Self {
            pool,
            call,
            key: key(call, domain)?,
            domain,
            limits,
            ids: Ids {
                action: id(Op::Action),
                compensation: id(Op::Compensation),
            },
            operation,
        })
    }

    async fn call(&self, digest: &[u8]) -> Result<Response<O::Reply>, Status> {
        match self.enter(digest).await.map_err(|e| self.unknown(&e))? {
            Turn::Answer(answer) => answer,
            Turn::Wait(rest) => Ok(self.pending(rest)),
            Turn::Call(fence) => self.outside(fence, None).await,
            Turn::Query(seen) => self.ask(seen).await,
        }
    }

    /// The first transaction: takes the operation's place, decides, and takes the first claim.
    async fn enter(&self, digest: &[u8]) -> Result<Turn<O::Reply>, sqlx::Error> {
        let mut tx = self.pool.begin_with(BEGIN).await?;
        let found = look(&mut tx, self.key, O::OP, digest).await?;
        let own_claim = match found.own {
            Own::Inserted => Seen::NONE,
            Own::Found { .. } => claims::read(&mut tx, self.key, O::OP).await?,
        };
        let (plan, action_claim) = match found.action {
            None => (decide::action(found.own, own_claim.claim), Seen::NONE),
            Some(row) => {
                let seen = match row {
                    ActionRow::Taken => Seen::NONE,
                    ActionRow::Found(_) => claims::read(&mut tx, self.key, Op::Action).await?,
                };
                let plan = decide::compensation(row, seen.claim, found.own, own_claim.claim);
                (plan, seen)
            }
        };
        if let Plan::Replay(decision) = plan {
            tx.rollback().await?;
            return Ok(Turn::Answer(answer::replay(decision, found.row, self.domain)?));
        }
        if let Some(ActionRow::Found(State::Pending)) = found.action {
            // Closes the action: no claim of it is taken from here on.
            rows::supersede_action(&mut tx, self.key).await?;
        }
        Ok(match plan {
            Plan::Settle => Turn::Answer(Ok(self.settle(tx).await?)),
            Plan::Call => {
                let fence = self.take(&mut tx, 0).await?;
                tx.commit().await?;
                fence.map_or(Turn::Wait(self.limits.ask_again), Turn::Call)
            }
            Plan::Query => {
                tx.commit().await?;
                Turn::Query(own_claim)
            }
            Plan::Wait | Plan::Replay(_) => {
                tx.commit().await?;
                Turn::Wait(match own_claim.claim {
                    Claim::Live => own_claim.rest,
                    Claim::None | Claim::Ended | Claim::Quiet => action_claim.rest,
                })
            }
        })
    }

    /// Asks the outside what has happened, and goes on from there. `seen` was read before.
    async fn ask(&self, seen: Seen) -> Result<Response<O::Reply>, Status> {
        let looking = timeout(self.limits.valid, self.operation.look(&self.ids));
        let Look {
            sight,
            reply,
            refusal,
            ask_again,
            standing,
        } = match looking.await {
            Ok(Ok(look)) => look,
            Ok(Err(error)) => return Err(self.unknown(error.as_ref())),
            Err(late) => return Err(self.unknown(&late)),
        };
        let next = decide::after_query(O::OP, sight, seen.claim, self.call.refusable);
        match (next, reply, refusal) {
            (Next::Record, Some(reply), _) => self.record(reply).await,
            (Next::Refuse, _, Some(refusal)) => self.refuse(refusal, None, standing).await,
            (Next::Settle, _, _) => self.settle_later().await.map_err(|e| self.unknown(&e))?,
            (Next::Call, _, _) => match self.take_later(seen.fence).await.map_err(|e| self.unknown(&e))? {
                Some(fence) => self.outside(fence, standing).await,
                None => Ok(self.pending(self.limits.ask_again)),
            },
            (Next::Wait | Next::Record | Next::Refuse, _, _) => {
                let rest = match seen.claim {
                    Claim::Ended => seen.rest,
                    Claim::None | Claim::Live | Claim::Quiet => self.limits.ask_again,
                };
                Ok(self.pending(ask_again.unwrap_or(rest)))
            }
        }
    }

    /// Calls the outside under a claim that is committed.
    async fn outside(&self, fence: i64, standing: Option<Vec<u8>>) -> Result<Response<O::Reply>, Status> {
        // Taken before the question, so that this end is never after the claim's.
        let asked = Instant::now();
        let rest = claims::rest(self.pool, self.key, O::OP, fence)
            .await
            .map_err(|error| self.unknown(&error))?;
        let Some(rest) = rest else {
            return Ok(self.pending(self.limits.ask_again));
        };
        let end = asked + rest;
        let calling = async {
            // A process that was stopped here would otherwise call long after the claim has run out.
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return None;
            }
            Some(self.operation.call(&self.ids, fence, rest).await)
        };
        match timeout_at(end, calling).await {
            Err(late) => Err(self.unknown(&late)),
            Ok(None) => Ok(self.pending(self.limits.ask_again)),
            Ok(Some(Ok(Done::Reply(reply)))) => {
                let recorded = self.record(reply).await;
                if recorded.is_err() {
                    // Whoever looks it up instead need not wait for the rest of the claim.
                    self.end(fence).await;
                }
                recorded
            }
            Ok(Some(Ok(Done::Pending { ask_again }))) => {
                self.end(fence).await;
                Ok(self.pending(ask_again))
            }
            Ok(Some(Err(Stop::Refuse(refusal)))) => self.refuse(refusal, Some(fence), standing).await,
            Ok(Some(Err(Stop::Fail(error)))) => {
                self.end(fence).await;
                Err(self.unknown(error.as_ref()))
            }
        }
    }

    /// The last transaction: records the result, if it is still wanted.
    async fn record(&self, reply: O::Reply) -> Result<Response<O::Reply>, Status> {
        self.try_record(reply).await.map_err(|e| self.unknown(&e))?
    }

    async fn try_record(&self, reply: O::Reply) -> Result<Result<Response<O::Reply>, Status>, sqlx::Error> {
        let (mut tx, row) = self.last().await?;
        let undoing = match row.state {
            State::Superseded => claims::undoing(&mut tx, self.key).await?,
            State::Pending | State::Succeeded | State::Refused => decide::Undoing::Open,
        };
        match decide::record(row.state, true, undoing) {
            Record::Keep => {
                if O::OP == Op::Compensation {
                    claims::set_late(&mut tx, self.key, None).await?;
                }
                self.operation.keep(&mut tx, &self.ids, &reply).await?;
                Ok(Ok(answer::keep_reply(tx, self.key, O::OP, reply).await?))
            }
            Record::Stored => {
                tx.rollback().await?;
                answer::replay(Decision::StoredReply, Some(row), self.domain)
            }
            Record::Drop => {
                tx.rollback().await?;
                answer::replay(Decision::Superseded, Some(row), self.domain)
            }
            Record::Remember => {
                claims::set_late(&mut tx, self.key, Some(&reply.encode_to_vec())).await?;
                tx.commit().await?;
                answer::replay(Decision::Superseded, Some(row), self.domain)
            }
            Record::Late => {
                claims::set_late(&mut tx, self.key, Some(&reply.encode_to_vec())).await?;
                tx.commit().await?;
                tracing::error!(
                    saga_id = %self.call.saga_id,
                    step = %self.call.step,
                    index = self.call.index,
                    request_id = %self.ids.action,
                    "an outside effect succeeded after the saga had given it up, and stands"
                );
                // The truth, for an orchestrator that still listens: it records a late success.
                Ok(Ok(Response::new(reply)))
            }
        }
    }

    /// Begins the transaction that ends the operation, and locks its row.
    async fn last(&self) -> Result<(PgTransaction<'a>, Row), sqlx::Error> {
        let mut tx = self.pool.begin_with(BEGIN).await?;
        if O::OP == Op::Compensation {
            // First, as everywhere: under this lock a worker with a late success sees how far the undoing has come.
            rows::lock(&mut tx, self.key, Op::Action).await?;
        }
        let row = rows::lock(&mut tx, self.key, O::OP).await?;
        Ok((tx, row.ok_or(sqlx::Error::RowNotFound)?))
    }

    /// Records a refusal, if it is one that the saga can act on, else answers it.
    async fn refuse(
        &self,
        refusal: Refusal,
        fence: Option<i64>,
        standing: Option<Vec<u8>>,
    ) -> Result<Response<O::Reply>, Status> {
        if let Some(fence) = fence {
            self.end(fence).await;
        }
        self.try_refuse(refusal, standing)
            .await
            .map_err(|e| self.unknown(&e))?
    }

    async fn try_refuse(
        &self,
        refusal: Refusal,
        standing: Option<Vec<u8>>,
    ) -> Result<Result<Response<O::Reply>, Status>, sqlx::Error> {
        let (mut tx, row) = self.last().await?;
        match decide::record(row.state, false, decide::Undoing::Open) {
            Record::Keep => {}
            Record::Stored | Record::Drop | Record::Remember | Record::Late => {
                tx.rollback().await?;
                let decision = match row.state {
                    State::Succeeded => Decision::StoredReply,
                    State::Refused => Decision::StoredRefusal,
                    State::Superseded | State::Pending => Decision::Superseded,
                };
                return answer::replay(decision, Some(row), self.domain);
            }
        }
        match (O::OP, self.call.refusable) {
            (Op::Action, true) => Ok(Err(
                answer::keep_refusal(tx, self.key, &refusal, self.domain).await?
            )),
            (Op::Action, false) => {
                tx.rollback().await?;
                Ok(Err(refusal.status(self.domain)))
            }
            (Op::Compensation, _) => {
                if let Some(standing) = standing {
                    claims::set_late(&mut tx, self.key, Some(&standing)).await?;
                }
                tx.commit().await?;
                Ok(Err(refusal.status(self.domain)))
            }
        }
    }

    /// Stores the empty reply of a compensation in the transaction that has locked both rows.
    async fn settle(&self, tx: PgTransaction<'_>) -> Result<Response<O::Reply>, sqlx::Error> {
        answer::keep_reply(tx, self.key, O::OP, O::Reply::default()).await
    }

    /// Settles after the outside was asked, in a transaction of its own.
    async fn settle_later(&self) -> Result<Result<Response<O::Reply>, Status>, sqlx::Error> {
        let (mut tx, row) = self.last().await?;
        if row.state != State::Pending {
            tx.rollback().await?;
            let bytes = row.reply.ok_or(sqlx::Error::RowNotFound)?;
            return answer::stored_bytes(&bytes).map(Ok);
        }
        if claims::late(&mut tx, self.key).await?.is_some() {
            tx.rollback().await?;
            // Asked again, it knows by then, or a person has to look: settling now would forget the effect.
            let text = "the outside does not know an effect that it has confirmed";
            return Ok(Err(self.unknown(Unknown::from(text).as_ref())));
        }
        let reply = O::Reply::default();
        self.operation.keep(&mut tx, &self.ids, &reply).await?;
        Ok(Ok(answer::keep_reply(tx, self.key, O::OP, reply).await?))
    }

    async fn take(&self, tx: &mut PgTransaction<'_>, after: i64) -> Result<Option<i64>, sqlx::Error> {
        let Claims { valid, grace, .. } = *self.limits;
        claims::take(tx, self.key, O::OP, after, valid, grace).await
    }

    /// Takes the claim after the one with the number `after`, unless somebody has, or nobody may any more.
    async fn take_later(&self, after: i64) -> Result<Option<i64>, sqlx::Error> {
        let mut tx = self.pool.begin_with(BEGIN).await?;
        let row = rows::lock(&mut tx, self.key, O::OP).await?;
        if row.is_none_or(|row| row.state != State::Pending) {
            tx.rollback().await?;
            return Ok(None);
        }
        let fence = self.take(&mut tx, after).await?;
        tx.commit().await?;
        Ok(fence)
    }

    /// Ends a claim early. If that fails it ends by itself.
    async fn end(&self, fence: i64) {
        let ended = claims::end(self.pool, self.key, O::OP, fence, self.limits.grace).await;
        if let Err(error) = ended {
            tracing::debug!(error = crate::chain(&error), "a claim could not be ended early");
        }
    }

    fn pending(&self, rest: Duration) -> Response<O::Reply> {
        let floor = Duration::from_millis(1);
        answer::pending(rest.min(self.limits.ask_again).max(floor))
    }

    fn unknown(&self, error: &(dyn std::error::Error + 'static)) -> Status {
        unknown(self.call, self.domain, error)
    }
}
