use events::Event;
use ids::{EntryId, UserId};
use sqlx::{PgConnection, Row as _};

use crate::domain::{Balance, Grant, GrantId};

use super::account::balance;

/// Creates a grant with its movement, ledger entry and event, unless its id is taken. Returns the balance afterwards.
pub(crate) async fn create(
    conn: &mut PgConnection,
    grant: &Grant,
    event: &Event,
) -> Result<Option<Balance>, sqlx::Error> {
    let row = sqlx::query(
        "with given as ( \
             insert into quota_grant (grant_id, user_id, amount, remaining, priority, source) \
             values ($1, $2, $3, $3, $4, $5) on conflict on constraint quota_grant_pkey do nothing \
             returning user_id, grant_id, amount \
         ), moved as ( \
             update account a set granted = a.granted + g.amount, available = a.available + g.amount, \
                 updated_at = clock_timestamp() \
             from given g where a.user_id = g.user_id \
             returning a.user_id, a.granted, a.available, a.reserved, a.consumed \
         ), entry as ( \
             insert into ledger (entry_id, user_id, kind, granted_delta, available_delta, reserved_delta, \
                 consumed_delta, grant_id) \
             select $6, user_id, 'granted', amount, amount, 0, 0, grant_id from given \
         ), sent as ( \
             insert into outbox (id, topic, key, data, traceparent) select $7, $8, $9, $10, $11 from given \
         ) \
         select user_id, granted, available, reserved, consumed from moved",
    )
    .bind(grant.grant_id.as_str())
    .bind(grant.user_id.uuid())
    .bind(grant.amount.get())
    .bind(grant.priority)
    .bind(&grant.source)
    .bind(EntryId::new().uuid())
    .bind(event.id)
    .bind(&event.topic)
    .bind(&event.key)
    .bind(&event.data)
    .bind(&event.traceparent)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(balance).transpose()
}

/// Returns user and amount of a grant.
pub(crate) async fn find(
    conn: &mut PgConnection,
    grant_id: &GrantId,
) -> Result<Option<(UserId, i64)>, sqlx::Error> {
    let row = sqlx::query("select user_id, amount from quota_grant where grant_id = $1")
        .bind(grant_id.as_str())
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok((UserId::from_uuid(row.try_get("user_id")?), row.try_get("amount")?)))
        .transpose()
}
