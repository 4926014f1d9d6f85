//! Work that is one SQL statement, done together with its barrier in one round trip.

use prost::Message;
use rpc::step::{Op, StepCall};
use sha2::{Digest as _, Sha256};
use sqlx::postgres::PgArguments;
use sqlx::{Acquire, Arguments as _, AssertSqlSafe, Encode, PgConnection, Postgres, Type};
use tonic::{Response, Status};
use tracing::Instrument as _;

use crate::answer::{key, stored, unknown};
use crate::rows::Key;
use crate::run::{run_on, span};
use crate::{Done, Refusal, Stop};

/// The work of a step, as one statement that changes rows.
///
/// The statement takes part in another one, beside the barrier's row, as a common table expression. So that it acts once and
/// not for every repeated call, it **must read from `once`**, which has one row (column `one`) if it is to act and none if it
/// is not. It must return a row if it had its effect, and none if it could not have it:
///
/// ```sql
/// update account set balance = balance - $1 from once where id = $2 and balance >= $1 returning 1
/// ```
#[derive(Debug, Clone)]
pub struct Statement {
    sql: &'static str,
    arguments: PgArguments,
    bound: Result<(), String>,
    otherwise: Refusal,
}

impl Statement {
    /// Makes one from its text, whose placeholders are `$1` and so on, and from the refusal that is the answer if it returns
    /// no row.
    #[must_use]
    pub fn new(sql: &'static str, otherwise: Refusal) -> Self {
        Self {
            sql,
            arguments: PgArguments::default(),
            bound: Ok(()),
            otherwise,
        }
    }

    /// Binds the value of the next placeholder. A value that cannot be encoded fails the call.
    #[must_use]
    pub fn bind<'q, T>(mut self, value: T) -> Self
    where
        T: Encode<'q, Postgres> + Type<Postgres> + 'q,
    {
        if let Err(error) = self.arguments.add(value) {
            self.bound = Err(error.to_string());
        }
        self
    }

    /// Tells whether it had its effect.
    async fn execute(self, conn: &mut PgConnection) -> Result<(), Stop> {
        let sql = format!(
            "with once as materialized (select 1 as one), work as ({}) select count(*) from work",
            self.sql
        );
        let query = sqlx::query_scalar_with::<_, i64, _>(AssertSqlSafe(sql), self.arguments);
        if query.fetch_one(conn).await? == 0 {
            return Err(Stop::Refuse(self.otherwise));
        }
        Ok(())
    }
}

/// Runs a statement at most once, and answers repeated calls from store, as [`run`](crate::run) does with any work.
///
/// Takes 1 round trip, commit included, for a new action that succeeds, and for the compensation of one that has. Whatever
/// else happens (a repeated call, a refusal, a compensation that comes first, an error) costs one in vain and is then
/// decided by [`run`](crate::run). For a refusal that one in vain is an error for the database, "division by zero", and so
/// a line of its log: where refusals are common, use [`run`](crate::run).
///
/// # Errors
/// As [`run`](crate::run). A statement that returns no row is refused as its [`Statement::new`] says.
pub async fn run_statement<'p, P, R>(
    pool: P,
    call: &StepCall,
    request: &impl Message,
    domain: &'static str,
    statement: Statement,
    reply: R,
) -> Result<Response<R>, Status>
where
    P: Acquire<'p, Database = Postgres>,
    R: Message + Default,
{
    let key = key(call, domain)?;
    if let Err(problem) = &statement.bound {
        let problem = sqlx::Error::Encode(problem.as_str().into());
        return Err(unknown(call, domain, &problem));
    }
    async {
        let lost = |error: sqlx::Error| unknown(call, domain, &error);
        let mut connection = pool.acquire().await.map_err(lost)?;
        let digest = Sha256::digest(request.encode_to_vec());
        let encoded = reply.encode_to_vec();
        match at_once(&mut connection, key, call.op, &digest, &statement, &encoded).await {
            Ok(true) => return Ok(stored(reply)),
            // Nothing was done, and what follows finds out why.
            Ok(false) | Err(sqlx::Error::Database(_)) => {}
            Err(error) => return Err(lost(error)),
        }
        run_on(&mut connection, call, request, domain, async |conn, _| {
            statement.execute(conn).await?;
            Ok::<_, Stop>(Done::Reply(reply))
        })
        .await
    }
    .instrument(span(call))
    .await
}

/// Inserts the final row of the call and does the work, or nothing at all; tells which.
///
/// A statement that returns no row divides by zero, which undoes the row.
async fn at_once(
    conn: &mut PgConnection,
    key: Key<'_>,
    op: Op,
    digest: &[u8],
    statement: &Statement,
    reply: &[u8],
) -> Result<bool, sqlx::Error> {
    let mut arguments = statement.arguments.clone();
    let first = arguments.len();
    let [saga_id, step, index, request_digest, stored_reply] = [1, 2, 3, 4, 5].map(|n| first + n);
    let add = |arguments: &mut PgArguments| -> Result<(), sqlx::error::BoxDynError> {
        arguments.add(key.saga_id.uuid())?;
        arguments.add(key.step)?;
        arguments.add(key.index)?;
        arguments.add(digest)?;
        arguments.add(reply)
    };
    add(&mut arguments).map_err(sqlx::Error::Encode)?;
    let own = format!(
        "insert into barrier (saga_id, step, idx, op, request_digest, state, reply) \
         select ${saga_id}, ${step}, ${index}, '{}', ${request_digest}, 'succeeded', ${stored_reply}",
        op.name()
    );
    // The compensation of an action that has not succeeded is more than its statement. The lock waits for others who look at
    // the action, and then sees what has become of it.
    let once = match op {
        Op::Action => format!("once as ({own} on conflict do nothing returning 1 as one)"),
        Op::Compensation => format!(
            "action as materialized (select 1 from barrier where saga_id = ${saga_id} and step = ${step} \
             and idx = ${index} and op = 'action' and state = 'succeeded' for update), \
             once as ({own} from action on conflict do nothing returning 1 as one)"
        ),
    };
    let sql = format!(
        "with {once}, work as ({}) \
         select case when exists (select from once) then 1 / (select count(*) from work) >= 0 else false end",
        statement.sql
    );
    let query = sqlx::query_scalar_with::<_, bool, _>(AssertSqlSafe(sql), arguments);
    query.fetch_one(conn).await
}
