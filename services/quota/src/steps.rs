//! The operations a saga calls, each behind the barrier.

use barrier::Done;
use process::PoolGauge;
use proto::quota::v1 as pb;
use proto::quota::v1::quota_steps_server::QuotaSteps;
use rpc::step::StepCall;
use tonic::{Request, Response, Status};

use crate::error::Error;
use crate::{DOMAIN, app, grpc};

/// The steps.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) pool: PoolGauge,
    /// See [`Config::low_below`](crate::Config::low_below).
    pub(crate) low_below: i64,
}

// Fields are read behind the barrier, so that the "no" to a malformed request is as final as any other.
#[tonic::async_trait]
impl QuotaSteps for Steps {
    async fn reserve(
        &self,
        request: Request<pb::ReserveRequest>,
    ) -> Result<Response<pb::ReserveResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            let wanted = grpc::reserve(&request.user_id, &request.task_id, request.amount)?;
            let done = app::reserve(conn, &wanted, self.low_below).await?;
            Ok::<_, Error>(Done::Reply(pb::ReserveResponse {
                amount: done.reservation.amount,
                available: done.available,
            }))
        })
        .await
    }

    async fn cancel(
        &self,
        request: Request<pb::CancelRequest>,
    ) -> Result<Response<pb::CancelResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            let done = app::cancel(conn, grpc::task_id(&request.task_id)?).await?;
            Ok::<_, Error>(Done::Reply(pb::CancelResponse {
                released: done.map_or(0, |reservation| reservation.amount),
            }))
        })
        .await
    }

    async fn confirm(
        &self,
        request: Request<pb::ConfirmRequest>,
    ) -> Result<Response<pb::ConfirmResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            let done = app::confirm(conn, grpc::task_id(&request.task_id)?).await?;
            Ok::<_, Error>(Done::Reply(pb::ConfirmResponse {
                consumed: done.amount,
            }))
        })
        .await
    }
}
