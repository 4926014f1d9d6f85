//! Orders: what is bought, and what follows from its being paid.

mod settled;

use barrier::{Again, Done};
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::App;
use crate::error::Error;

pub(crate) use settled::{closed, paid};

pub(crate) async fn validate_plan(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::ValidatePlanRequest,
    again: Again,
) -> Result<Done<pb::ValidatePlanResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

pub(crate) async fn create_order(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::CreateOrderRequest,
    again: Again,
) -> Result<Done<pb::CreateOrderResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

pub(crate) async fn cancel_order_record(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::CancelOrderRecordRequest,
    again: Again,
) -> Result<Done<pb::CancelOrderRecordResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

pub(crate) async fn await_payment(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::AwaitPaymentRequest,
    again: Again,
) -> Result<Done<pb::AwaitPaymentResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

pub(crate) async fn refund_order(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::RefundOrderRequest,
    again: Again,
) -> Result<Done<pb::RefundOrderResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}

pub(crate) async fn activate_order(
    app: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::ActivateOrderRequest,
    again: Again,
) -> Result<Done<pb::ActivateOrderResponse>, Error> {
    let _ = (app, conn, call, request, again);
    Err(Error::Broken("not built"))
}
