//! Payments: money for orders, through a channel.

use barrier::{Again, Done};
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::App;
use crate::error::Error;
use crate::store::checks::{Claim, Next};

pub(crate) async fn create_payment_record(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::CreatePaymentRecordRequest,
    again: Again,
) -> Result<Done<pb::CreatePaymentRecordResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

pub(crate) async fn discard_payment_record(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::DiscardPaymentRecordRequest,
    again: Again,
) -> Result<Done<pb::DiscardPaymentRecordResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

pub(crate) async fn call_payment_channel(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::CallPaymentChannelRequest,
    again: Again,
) -> Result<Done<pb::CallPaymentChannelResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

pub(crate) async fn close_payment(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::ClosePaymentRequest,
    again: Again,
) -> Result<Done<pb::ClosePaymentResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

/// Asks the provider about a payment, and applies what it says. Calls nothing inside a transaction.
pub(crate) async fn check(app: &App, claim: &Claim) -> Result<Next, Error> {
    let _ = (app, claim);
    Err(Error::Broken("not built"))
}
