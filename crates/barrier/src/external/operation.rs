//! The two operations on an effect, as the driver sees them.

use std::time::Duration;

use prost::Message;
use rpc::step::Op;
use sqlx::PgConnection;

use crate::external::decide::Sight;
use crate::external::{Attempt, Effect, RequestId, Seen, Unknown};
use crate::{Done, Refusal, Stop};

/// Ids of both operations of a step.
#[derive(Debug)]
pub(super) struct Ids {
    pub(super) action: RequestId,
    pub(super) compensation: RequestId,
}

/// What a look at the outside gave.
#[derive(Debug)]
pub(super) struct Look<R> {
    pub(super) sight: Sight,
    pub(super) reply: Option<R>,
    pub(super) refusal: Option<Refusal>,
    pub(super) ask_again: Option<Duration>,
    /// The action's reply, where it stands and is to be undone.
    pub(super) standing: Option<Vec<u8>>,
}

impl<R> Look<R> {
    const fn of(sight: Sight) -> Self {
        Self {
            sight,
            reply: None,
            refusal: None,
            ask_again: None,
            standing: None,
        }
    }
}

/// An action or a compensation.
pub(super) trait Operation: Sync {
    type Reply: Message + Default;
    const OP: Op;

    fn call(
        &self,
        ids: &Ids,
        fence: i64,
        rest: Duration,
    ) -> impl Future<Output = Result<Done<Self::Reply>, Stop>> + Send;

    fn look(&self, ids: &Ids) -> impl Future<Output = Result<Look<Self::Reply>, Unknown>> + Send;

    fn keep(
        &self,
        conn: &mut PgConnection,
        ids: &Ids,
        reply: &Self::Reply,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

#[derive(Debug)]
pub(super) struct Acting<'a, E>(pub(super) &'a E);

impl<E: Effect> Operation for Acting<'_, E> {
    type Reply = E::Reply;
    const OP: Op = Op::Action;

    async fn call(&self, ids: &Ids, fence: i64, rest: Duration) -> Result<Done<E::Reply>, Stop> {
        let id = &ids.action;
        self.0.start(Attempt { id, fence, rest }).await
    }

    async fn look(&self, ids: &Ids) -> Result<Look<E::Reply>, Unknown> {
        Ok(match self.0.query(&ids.action).await? {
            Seen::Done(reply) => Look {
                reply: Some(reply),
                ..Look::of(Sight::Happened)
            },
            Seen::Running { ask_again } => Look {
                ask_again: Some(ask_again),
                ..Look::of(Sight::Running)
            },
            Seen::Refused(refusal) => Look {
                refusal: Some(refusal),
                ..Look::of(Sight::Refused)
            },
            Seen::Nothing => Look::of(Sight::Due),
            // Either a compensation has come meanwhile, and the repeated call sees that, or somebody has interfered.
            Seen::Undone(_) => return Err("the effect was undone while its action was pending".into()),
        })
    }

    async fn keep(&self, conn: &mut PgConnection, ids: &Ids, reply: &E::Reply) -> Result<(), sqlx::Error> {
        self.0.done(conn, &ids.action, reply).await
    }
}

#[derive(Debug)]
pub(super) struct Undoing<'a, E>(pub(super) &'a E);

impl<E: Effect> Operation for Undoing<'_, E> {
    type Reply = E::Undone;
    const OP: Op = Op::Compensation;

    async fn call(&self, ids: &Ids, fence: i64, rest: Duration) -> Result<Done<E::Undone>, Stop> {
        let id = &ids.compensation;
        self.0.undo(&ids.action, Attempt { id, fence, rest }).await
    }

    async fn look(&self, ids: &Ids) -> Result<Look<E::Undone>, Unknown> {
        Ok(match self.0.query(&ids.action).await? {
            Seen::Done(reply) => Look {
                standing: Some(reply.encode_to_vec()),
                ..Look::of(Sight::Due)
            },
            Seen::Running { ask_again } => Look {
                ask_again: Some(ask_again),
                ..Look::of(Sight::Running)
            },
            Seen::Undone(reply) => Look {
                reply: Some(reply),
                ..Look::of(Sight::Happened)
            },
            Seen::Nothing if E::UNDO_FORBIDS => Look::of(Sight::Due),
            Seen::Nothing | Seen::Refused(_) => Look::of(Sight::Nothing),
        })
    }

    async fn keep(&self, conn: &mut PgConnection, ids: &Ids, reply: &E::Undone) -> Result<(), sqlx::Error> {
        self.0.undone(conn, &ids.action, reply).await
    }
}
