//! The part of PaymentService that is about refunds.

use proto::billing::v1 as pb;
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::error::Error;

pub(super) async fn create_refund(
    app: &App,
    request: Request<pb::CreateRefundRequest>,
) -> Result<Response<pb::CreateRefundResponse>, Status> {
    let _ = (app, request);
    Err(Error::Broken("not built").into())
}

pub(super) async fn get_refund(
    app: &App,
    request: Request<pb::GetRefundRequest>,
) -> Result<Response<pb::GetRefundResponse>, Status> {
    let _ = (app, request);
    Err(Error::Broken("not built").into())
}

pub(super) async fn list_refunds(
    app: &App,
    request: Request<pb::ListRefundsRequest>,
) -> Result<Response<pb::ListRefundsResponse>, Status> {
    let _ = (app, request);
    Err(Error::Broken("not built").into())
}
