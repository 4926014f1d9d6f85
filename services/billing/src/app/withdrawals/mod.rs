//! Commissions and their withdrawal.

use barrier::{Again, Done};
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::App;
use crate::error::Error;
use crate::store::checks::{Claim, Next};

pub(crate) async fn freeze_commission(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::FreezeCommissionRequest,
    again: Again,
) -> Result<Done<pb::FreezeCommissionResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

pub(crate) async fn call_provider_transfer(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::CallProviderTransferRequest,
    again: Again,
) -> Result<Done<pb::CallProviderTransferResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

pub(crate) async fn deduct_commission(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::DeductCommissionRequest,
    again: Again,
) -> Result<Done<pb::DeductCommissionResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

pub(crate) async fn unfreeze_commission(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::UnfreezeCommissionRequest,
    again: Again,
) -> Result<Done<pb::UnfreezeCommissionResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

/// Asks the provider about a withdrawal, and applies what it says. Calls nothing inside a transaction.
pub(crate) async fn check(app: &App, claim: &Claim) -> Result<Next, Error> {
    let _ = (app, claim);
    Err(Error::Broken("not built"))
}
