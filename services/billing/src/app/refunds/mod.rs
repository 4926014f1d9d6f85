//! Refunds: money that goes back.

use barrier::{Again, Done};
use ids::RefundId;
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::App;
use crate::error::Error;
use crate::store::checks::{Claim, Next};

pub(crate) async fn set_refunding_status(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::SetRefundingStatusRequest,
    again: Again,
) -> Result<Done<pb::SetRefundingStatusResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

pub(crate) async fn restore_paid_status(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::RestorePaidStatusRequest,
    again: Again,
) -> Result<Done<pb::RestorePaidStatusResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

pub(crate) async fn call_provider_refund(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::CallProviderRefundRequest,
    again: Again,
) -> Result<Done<pb::CallProviderRefundResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

pub(crate) async fn mark_payment_refunded(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::MarkPaymentRefundedRequest,
    again: Again,
) -> Result<Done<pb::MarkPaymentRefundedResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

pub(crate) async fn mark_order_refunded(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::MarkOrderRefundedRequest,
    again: Again,
) -> Result<Done<pb::MarkOrderRefundedResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

/// Asks the provider about a refund, and applies what it says. Calls nothing inside a transaction.
pub(crate) async fn check(app: &App, claim: &Claim) -> Result<Next, Error> {
    let _ = (app, claim);
    Err(Error::Broken("not built"))
}

/// Ends a refund whose outcome a person has learned from the provider.
pub(crate) async fn settle_by_person(
    app: &App,
    conn: &mut PgConnection,
    id: RefundId,
    succeeded: bool,
    note: &str,
) -> Result<(), Error> {
    let _ = (app, conn, id, succeeded, note);
    Err(Error::NotSettleable("the refund is not under way"))
}
