//! The operations a saga calls, each behind the barrier.

use barrier::Done;
use process::PoolGauge;
use proto::quota::v1 as pb;
use proto::quota::v1::quota_steps_server::QuotaSteps;
use rpc::step::StepCall;
use tonic::{Request, Response, Status};

use crate::config::Config;
use crate::domain::Amount;
use crate::error::Error;
use crate::{DOMAIN, app, grpc};

/// The steps.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) pool: PoolGauge,
    pub(crate) config: Config,
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
            let hold = request.hold_for.as_ref();
            let wanted = grpc::reserve(&request.user_id, &request.task_id, request.amount, hold)?;
            let done = app::reserve(conn, &wanted, &self.config).await?;
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
            let amount = Amount::or_all(request.amount)?;
            let done = app::confirm(conn, grpc::task_id(&request.task_id)?, amount).await?;
            Ok::<_, Error>(Done::Reply(pb::ConfirmResponse {
                consumed: done.consumed(),
            }))
        })
        .await
    }

    async fn grant_for_order(
        &self,
        request: Request<pb::GrantForOrderRequest>,
    ) -> Result<Response<pb::GrantForOrderResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            let grant = grpc::grant_for_order(request)?;
            let done = app::create_grant(conn, &grant).await?;
            Ok::<_, Error>(Done::Reply(pb::GrantForOrderResponse {
                grant_id: grant.grant_id.as_str().to_owned(),
                amount: grant.amount.get(),
                available: done.balance.available,
            }))
        })
        .await
    }

    async fn claw_back_order(
        &self,
        request: Request<pb::ClawBackOrderRequest>,
    ) -> Result<Response<pb::ClawBackOrderResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            let wanted = grpc::claw_back(
                request.clawback_id.clone(),
                &request.user_id,
                grpc::order(&request.order_id)?,
                request.amount,
            )?;
            let done = app::claw_back(conn, &wanted, self.config.low_below).await?;
            Ok::<_, Error>(Done::Reply(pb::ClawBackOrderResponse {
                clawed_back: Some(grpc::clawed_back(done)),
            }))
        })
        .await
    }

    async fn restore_order(
        &self,
        request: Request<pb::RestoreOrderRequest>,
    ) -> Result<Response<pb::RestoreOrderResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            let clawback_id = grpc::chosen_id("clawback_id", request.clawback_id.clone())?;
            let restored = app::restore(conn, &clawback_id).await?;
            Ok::<_, Error>(Done::Reply(pb::RestoreOrderResponse { restored }))
        })
        .await
    }
}
