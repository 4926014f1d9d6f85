//! Who gets the money. It is kept sealed and beside the withdrawal: operators read inputs of sagas, and backups are read by
//! others.

use std::time::Duration;

use ids::WithdrawalId;
use kms::Place;
use process::PoolGauge;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::super::App;
use crate::error::Error;
use crate::store::payees;

/// For how long a recipient is kept whose withdrawal has not begun. Its saga has 5 minutes.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);
/// How many are forgotten by one statement.
const FORGET: i64 = 1_000;

/// Longest name of a recipient at a provider, in characters.
const MAX_ID_CHARS: usize = 64;
/// Longest real name, in characters.
const MAX_NAME_CHARS: usize = 64;

/// Who gets the money.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Payee {
    /// The provider's name for the person: 1 to 64 letters, digits, `_` and `-`.
    id: String,
    /// The person's real name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    name: Option<String>,
}

impl std::fmt::Debug for Payee {
    /// Shows nothing: it is nobody's business who reads logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Payee")
    }
}

impl Payee {
    /// Checks a recipient. An empty name is none.
    pub(crate) fn new(id: &str, name: &str) -> Result<Self, Error> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !(1..=MAX_ID_CHARS).contains(&id.len()) || !id.chars().all(good) {
            return Err(Error::Invalid {
                field: "recipient",
                problem: "must be 1 to 64 letters, digits, `_` and `-`",
            });
        }
        if name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
            return Err(Error::Invalid {
                field: "recipient_name",
                problem: "must be at most 64 printable characters",
            });
        }
        Ok(Self {
            id: id.to_owned(),
            name: (!name.is_empty()).then(|| name.to_owned()),
        })
    }

    pub(crate) fn recipient(&self) -> pay::Recipient {
        pay::Recipient {
            id: self.id.clone(),
            name: self.name.clone(),
        }
    }
}

/// Writes down, sealed, who gets the money of a withdrawal that is about to begin; or compares it with what was written
/// before.
///
/// It is the only row of ours before a saga has begun, and is of no effect by itself: [`forget_payees`] takes it away if none
/// begins (docs/adr/0020).
///
/// # Errors
/// [`Error::Mismatch`] if the withdrawal is for somebody else.
pub(super) async fn keep(app: &App, id: WithdrawalId, payee: &Payee) -> Result<(), Error> {
    if let Some(known) = payees::find(&app.pool, id).await? {
        return same(app, id, &known, payee).await;
    }
    let plain = serde_json::to_vec(payee).map_err(|_| Error::Broken("a payee cannot be sealed"))?;
    let plain = Zeroizing::new(plain);
    let sealed = app.kms.seal(place(&id.uuid().to_string()), &plain).await;
    if payees::insert(&app.pool, id, &sealed.map_err(Error::Keys)?).await? {
        return Ok(());
    }
    // Another call was faster.
    let known = payees::find(&app.pool, id).await?;
    let known = known.ok_or(Error::Broken("a payee that was just written is gone"))?;
    same(app, id, &known, payee).await
}

/// Tells whether a withdrawal is for this payee.
pub(super) async fn is_for(app: &App, id: WithdrawalId, payee: &Payee) -> Result<bool, Error> {
    Ok(find(app, &app.pool, id).await? == *payee)
}

/// Returns who gets the money of a withdrawal that was written.
pub(super) async fn find(app: &App, pool: &PoolGauge, id: WithdrawalId) -> Result<Payee, Error> {
    let known = payees::find(pool, id).await?;
    let known = known.ok_or(Error::Broken("a withdrawal is for nobody"))?;
    open(app, id, &known).await
}

async fn same(app: &App, id: WithdrawalId, known: &[u8], payee: &Payee) -> Result<(), Error> {
    if open(app, id, known).await? == *payee {
        Ok(())
    } else {
        Err(Error::Mismatch("withdrawal"))
    }
}

async fn open(app: &App, id: WithdrawalId, sealed: &[u8]) -> Result<Payee, Error> {
    let plain = app.kms.open(place(&id.uuid().to_string()), sealed).await;
    let plain = plain.map_err(Error::Keys)?;
    serde_json::from_slice(&plain).map_err(|_| Error::Broken("what was sealed is no payee"))
}

fn place(row: &str) -> Place<'_> {
    Place {
        table: payees::SEALED.table,
        column: payees::SEALED.column,
        row,
    }
}

/// Forgets those whose withdrawal has not begun within a day: its saga ends long before.
pub(crate) async fn forget_payees(app: &App) -> Result<(), Error> {
    while payees::forget(&app.steps_pool, KEEP, FORGET).await? >= FORGET.unsigned_abs() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payee_is_what_a_provider_takes() {
        assert!(Payee::new("oUpF8uMuAJO_M2pxb1Q9-zNjWeS6o", "").is_ok());
        for (id, name) in [
            ("", ""),
            ("a b", ""),
            ("a/b", ""),
            ("名", ""),
            (&"x".repeat(65), ""),
            ("x", &"名".repeat(65)),
            ("x", "a\nb"),
        ] {
            assert!(Payee::new(id, name).is_err(), "{id} {name}");
        }
    }

    #[test]
    fn a_payee_is_not_shown() {
        let payee = Payee::new("2088102146225135", "张三").unwrap();
        assert_eq!(format!("{payee:?}"), "Payee");
    }
}
