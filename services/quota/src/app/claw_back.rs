use sqlx::PgConnection;

use crate::domain::{self, Amount, Balance, ClawBack, ClawedBack, Part};
use crate::error::Error;
use crate::store;

use super::{settle, tell_low};

/// Takes back what is left of what a source granted, once per clawback id. What live reservations hold follows when they
/// are given back. Tells when that leaves less than `low_below`.
///
/// The account is opened if there is none: its lock is what keeps a grant of the source and its clawback apart.
pub(crate) async fn claw_back(
    conn: &mut PgConnection,
    wanted: &ClawBack,
    low_below: i64,
) -> Result<ClawedBack, Error> {
    let id = wanted.clawback_id.as_str();
    let (mut balance, due) = store::account::open_and_lock(conn, wanted.user_id).await?;
    if store::clawback::create(conn, wanted).await? {
        let before = balance.available;
        if due {
            settle::due(conn, &mut balance).await?;
        }
        take_all(conn, &mut balance, wanted).await?;
        tell_low(conn, before, &balance, low_below).await?;
    } else {
        same(conn, wanted).await?;
    }
    let claims = store::clawback::claims(conn, wanted.source.kind(), wanted.source.id()).await?;
    Ok(ClawedBack::sum(&claims, &store::clawback::parts(conn, id).await?))
}

async fn take_all(conn: &mut PgConnection, balance: &mut Balance, wanted: &ClawBack) -> Result<(), Error> {
    let id = wanted.clawback_id.as_str();
    let claims = store::clawback::claims(conn, wanted.source.kind(), wanted.source.id()).await?;
    if claims.iter().any(|claim| claim.grant.user_id != wanted.user_id) {
        return Err(Error::ClawbackMismatch { field: "user_id" });
    }
    for part in domain::plan(&claims, wanted.amount) {
        store::clawback::revoke(conn, id, &part).await?;
        let Part { grant_id, taken, .. } = part;
        if taken > 0 {
            settle::take(conn, balance, &grant_id, id, taken, None).await?;
        }
    }
    Ok(())
}

/// Compares a repeated clawback with the first one.
async fn same(conn: &mut PgConnection, wanted: &ClawBack) -> Result<(), Error> {
    let stored = store::clawback::find(conn, wanted.clawback_id.as_str())
        .await?
        .ok_or(Error::Broken("a clawback id is taken by no clawback"))?;
    let differs = [
        ("user_id", stored.user_id == wanted.user_id),
        ("source_type", stored.source_type == wanted.source.kind()),
        ("source_id", stored.source_id == wanted.source.id()),
        ("amount", stored.amount == wanted.amount.map(Amount::get)),
    ]
    .into_iter()
    .find_map(|(field, same)| (!same).then_some(field));
    match differs {
        Some(field) => Err(Error::ClawbackMismatch { field }),
        None if stored.undone => Err(Error::ClawbackUndone),
        None => Ok(()),
    }
}
