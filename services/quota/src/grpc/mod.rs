//! The public service: decode, run, encode.

mod decode;
mod encode;

use process::PoolGauge;
use proto::quota::v1 as pb;
use proto::quota::v1::quota_service_server::QuotaService;
use tonic::{Request, Response, Status};

use crate::config::Config;
use crate::domain::{Amount, Page, Source};
use crate::{DOMAIN, app};

pub(crate) use decode::{chosen_id, claw_back, grant_for_order, order, reserve, task_id};
pub(crate) use encode::clawed_back;

/// The public service.
#[derive(Debug)]
pub(crate) struct Public {
    pub(crate) pool: PoolGauge,
    pub(crate) config: Config,
}

#[tonic::async_trait]
impl QuotaService for Public {
    async fn create_grant(
        &self,
        request: Request<pb::CreateGrantRequest>,
    ) -> Result<Response<pb::CreateGrantResponse>, Status> {
        let grant = decode::grant(request.into_inner())?;
        let app::Granted { balance, created } =
            app::transaction(&self.pool, async |conn| app::create_grant(conn, &grant).await).await?;
        Ok(Response::new(pb::CreateGrantResponse {
            balance: Some(encode::balance(balance)),
            created,
        }))
    }

    async fn claw_back_grants(
        &self,
        request: Request<pb::ClawBackGrantsRequest>,
    ) -> Result<Response<pb::ClawBackGrantsResponse>, Status> {
        let request = request.into_inner();
        let source = Source::new(request.source_type, request.source_id)?;
        let wanted = claw_back(request.clawback_id, &request.user_id, source, request.amount)?;
        let low_below = self.config.low_below;
        let done = app::transaction(&self.pool, async |conn| {
            app::claw_back(conn, &wanted, low_below).await
        })
        .await?;
        Ok(Response::new(pb::ClawBackGrantsResponse {
            clawed_back: Some(clawed_back(done)),
        }))
    }

    async fn get_balance(
        &self,
        request: Request<pb::GetBalanceRequest>,
    ) -> Result<Response<pb::GetBalanceResponse>, Status> {
        let user_id = token::caller(&request).subject_user(&request.get_ref().user_id, DOMAIN)?;
        let balance = app::get_balance(&self.pool, user_id).await?;
        Ok(Response::new(pb::GetBalanceResponse {
            balance: Some(encode::balance(balance)),
        }))
    }

    async fn reserve_quota(
        &self,
        request: Request<pb::ReserveQuotaRequest>,
    ) -> Result<Response<pb::ReserveQuotaResponse>, Status> {
        let request = request.get_ref();
        let hold = request.hold_for.as_ref();
        let wanted = reserve(&request.user_id, &request.task_id, request.amount, hold)?;
        let config = self.config;
        let done = app::transaction(&self.pool, async |conn| {
            app::reserve(conn, &wanted, &config).await
        })
        .await?;
        Ok(Response::new(pb::ReserveQuotaResponse {
            reservation: Some(encode::reservation(done.reservation)),
        }))
    }

    async fn extend_reservation(
        &self,
        request: Request<pb::ExtendReservationRequest>,
    ) -> Result<Response<pb::ExtendReservationResponse>, Status> {
        let request = request.get_ref();
        let (task_id, hold) = (
            task_id(&request.task_id)?,
            decode::hold(request.hold_for.as_ref())?,
        );
        let done = app::extend(&self.pool, task_id, hold).await?;
        Ok(Response::new(pb::ExtendReservationResponse {
            reservation: Some(encode::reservation(done)),
        }))
    }

    async fn confirm_reservation(
        &self,
        request: Request<pb::ConfirmReservationRequest>,
    ) -> Result<Response<pb::ConfirmReservationResponse>, Status> {
        let request = request.get_ref();
        let (task_id, amount) = (task_id(&request.task_id)?, Amount::or_all(request.amount)?);
        let done =
            app::transaction(&self.pool, async |conn| app::confirm(conn, task_id, amount).await).await?;
        Ok(Response::new(pb::ConfirmReservationResponse {
            reservation: Some(encode::reservation(done.0)),
        }))
    }

    async fn cancel_reservation(
        &self,
        request: Request<pb::CancelReservationRequest>,
    ) -> Result<Response<pb::CancelReservationResponse>, Status> {
        let task_id = task_id(&request.get_ref().task_id)?;
        let done = app::transaction(&self.pool, async |conn| app::cancel(conn, task_id).await).await?;
        Ok(Response::new(pb::CancelReservationResponse {
            reservation: done.map(encode::reservation),
        }))
    }

    async fn get_reservation(
        &self,
        request: Request<pb::GetReservationRequest>,
    ) -> Result<Response<pb::GetReservationResponse>, Status> {
        let found = app::get_reservation(&self.pool, task_id(&request.get_ref().task_id)?).await?;
        Ok(Response::new(pb::GetReservationResponse {
            reservation: Some(encode::reservation(found)),
        }))
    }

    async fn list_grants(
        &self,
        request: Request<pb::ListGrantsRequest>,
    ) -> Result<Response<pb::ListGrantsResponse>, Status> {
        let user_id = token::caller(&request).subject_user(&request.get_ref().user_id, DOMAIN)?;
        let request = request.get_ref();
        let page = Page::new(user_id, request.page_size, &request.page_token)?;
        let (grants, next) = app::list_grants(&self.pool, user_id, page).await?;
        Ok(Response::new(pb::ListGrantsResponse {
            grants: grants.into_iter().map(encode::grant).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn list_ledger_entries(
        &self,
        request: Request<pb::ListLedgerEntriesRequest>,
    ) -> Result<Response<pb::ListLedgerEntriesResponse>, Status> {
        let user_id = token::caller(&request).subject_user(&request.get_ref().user_id, DOMAIN)?;
        let request = request.get_ref();
        let page = Page::new(user_id, request.page_size, &request.page_token)?;
        let (entries, next) = app::list_ledger_entries(&self.pool, user_id, page).await?;
        Ok(Response::new(pb::ListLedgerEntriesResponse {
            entries: entries.into_iter().map(encode::entry).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }
}
