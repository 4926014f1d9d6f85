//! Settles a withdrawal whose outcome a person has learned from the provider.

use ids::WithdrawalId;
use sqlx::PgConnection;

use super::{apply, lock};
use crate::domain::WithdrawalStatus;
use crate::error::Error;
use crate::store::checks::{self, Subject};

/// What its owner reads. The person's own words are in the case.
const SETTLED: &str = "not sent, as the provider told us";

/// Ends a withdrawal that is under way. The saga learns it at its next question.
///
/// Not while the provider is being asked: the answer could be that the money goes out.
pub(crate) async fn settle_by_person(
    conn: &mut PgConnection,
    id: WithdrawalId,
    succeeded: bool,
) -> Result<(), Error> {
    let withdrawal = lock(conn, id).await?;
    if withdrawal.status != WithdrawalStatus::Processing {
        return Err(Error::NotSettleable("the withdrawal is not under way"));
    }
    if checks::is_leased(conn, Subject::Withdrawal, id.uuid()).await? {
        return Err(Error::NotSettleable(
            "the provider is being asked at this moment; try again",
        ));
    }
    if succeeded {
        apply::succeeded(conn, &withdrawal, None).await
    } else {
        apply::failed(conn, &withdrawal, None, SETTLED).await
    }
}
