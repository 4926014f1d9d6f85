use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// What somebody did.
#[derive(Debug)]
pub(crate) struct Act<'a> {
    /// Who.
    pub(crate) actor: &'a str,
    /// `ban`, `unban`, `set_role`, `set_configuration`.
    pub(crate) act: &'static str,
    /// To whom or what.
    pub(crate) subject: &'a str,
    /// Why.
    pub(crate) reason: &'a str,
    pub(crate) details: Value,
}

/// Appends to the audit.
pub(crate) async fn append(conn: &mut PgConnection, act: &Act<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into audit (audit_id, actor, act, subject, reason, details) values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(Uuid::now_v7())
    .bind(act.actor)
    .bind(act.act)
    .bind(act.subject)
    .bind(act.reason)
    .bind(&act.details)
    .execute(conn)
    .await?;
    Ok(())
}
