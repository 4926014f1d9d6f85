//! The public service: decode, run, encode.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use ids::{ParseIdError, TaskId, UserId};
use process::PoolGauge;
use prost_types::Timestamp;
use proto::quota::v1 as pb;
use proto::quota::v1::quota_service_server::QuotaService;
use tonic::{Request, Response, Status};

use crate::domain::{Amount, Balance, Entry, Grant, Page, Phase, Reservation, Reserve};
use crate::error::Error;
use crate::{DOMAIN, app};

/// The public service.
#[derive(Debug)]
pub(crate) struct Public {
    pub(crate) pool: PoolGauge,
    /// See [`Config::low_below`](crate::Config::low_below).
    pub(crate) low_below: i64,
}

#[tonic::async_trait]
impl QuotaService for Public {
    async fn create_grant(
        &self,
        request: Request<pb::CreateGrantRequest>,
    ) -> Result<Response<pb::CreateGrantResponse>, Status> {
        let request = request.into_inner();
        let grant = Grant::new(
            request.grant_id,
            user_id(&request.user_id)?,
            request.amount,
            request.priority,
            request.source,
        )?;
        let app::Granted { balance, created } =
            app::transaction(&self.pool, async |conn| app::create_grant(conn, &grant).await).await?;
        Ok(Response::new(pb::CreateGrantResponse {
            balance: Some(encode_balance(balance)),
            created,
        }))
    }

    async fn get_balance(
        &self,
        request: Request<pb::GetBalanceRequest>,
    ) -> Result<Response<pb::GetBalanceResponse>, Status> {
        let user_id = token::caller(&request).subject_user(&request.get_ref().user_id, DOMAIN)?;
        let balance = app::get_balance(&self.pool, user_id).await?;
        Ok(Response::new(pb::GetBalanceResponse {
            balance: Some(encode_balance(balance)),
        }))
    }

    async fn reserve_quota(
        &self,
        request: Request<pb::ReserveQuotaRequest>,
    ) -> Result<Response<pb::ReserveQuotaResponse>, Status> {
        let request = request.get_ref();
        let wanted = reserve(&request.user_id, &request.task_id, request.amount)?;
        let low_below = self.low_below;
        let done = app::transaction(&self.pool, async |conn| {
            app::reserve(conn, &wanted, low_below).await
        })
        .await?;
        Ok(Response::new(pb::ReserveQuotaResponse {
            reservation: Some(encode_reservation(done.reservation)),
        }))
    }

    async fn confirm_reservation(
        &self,
        request: Request<pb::ConfirmReservationRequest>,
    ) -> Result<Response<pb::ConfirmReservationResponse>, Status> {
        let task_id = task_id(&request.get_ref().task_id)?;
        let done = app::transaction(&self.pool, async |conn| app::confirm(conn, task_id).await).await?;
        Ok(Response::new(pb::ConfirmReservationResponse {
            reservation: Some(encode_reservation(done)),
        }))
    }

    async fn cancel_reservation(
        &self,
        request: Request<pb::CancelReservationRequest>,
    ) -> Result<Response<pb::CancelReservationResponse>, Status> {
        let task_id = task_id(&request.get_ref().task_id)?;
        let done = app::transaction(&self.pool, async |conn| app::cancel(conn, task_id).await).await?;
        Ok(Response::new(pb::CancelReservationResponse {
            reservation: done.map(encode_reservation),
        }))
    }

    async fn get_reservation(
        &self,
        request: Request<pb::GetReservationRequest>,
    ) -> Result<Response<pb::GetReservationResponse>, Status> {
        let found = app::get_reservation(&self.pool, task_id(&request.get_ref().task_id)?).await?;
        Ok(Response::new(pb::GetReservationResponse {
            reservation: Some(encode_reservation(found)),
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
            entries: entries.into_iter().map(encode_entry).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }
}

/// Reads the fields of a reserve.
pub(crate) fn reserve(user: &str, task: &str, amount: i64) -> Result<Reserve, Error> {
    Ok(Reserve {
        user_id: user_id(user)?,
        task_id: task_id(task)?,
        amount: Amount::or_one(amount)?,
    })
}

/// Reads the field `task_id`.
pub(crate) fn task_id(text: &str) -> Result<TaskId, Error> {
    id("task_id", text)
}

fn user_id(text: &str) -> Result<UserId, Error> {
    id("user_id", text)
}

fn id<T: FromStr<Err = ParseIdError>>(field: &'static str, text: &str) -> Result<T, Error> {
    if text.is_empty() {
        return Err(Error::Invalid {
            field,
            problem: "is missing",
        });
    }
    text.parse().map_err(|source| Error::Id { field, source })
}

fn encode_balance(balance: Balance) -> pb::Balance {
    pb::Balance {
        user_id: balance.user_id.to_string(),
        granted: balance.granted,
        available: balance.available,
        reserved: balance.reserved,
        consumed: balance.consumed,
        quota_remaining: balance.available,
    }
}

fn encode_reservation(reservation: Reservation) -> pb::Reservation {
    pb::Reservation {
        task_id: reservation.task_id.to_string(),
        user_id: reservation.user_id.to_string(),
        amount: reservation.amount,
        state: encode_phase(reservation.phase).into(),
        created_at: Some(encode_time(reservation.created_at)),
        updated_at: Some(encode_time(reservation.updated_at)),
    }
}

const fn encode_phase(phase: Phase) -> pb::ReservationState {
    match phase {
        Phase::Reserved => pb::ReservationState::Reserved,
        Phase::Confirmed => pb::ReservationState::Confirmed,
        Phase::Cancelled => pb::ReservationState::Cancelled,
        Phase::Expired => pb::ReservationState::Expired,
    }
}

fn encode_entry(entry: Entry) -> pb::LedgerEntry {
    pb::LedgerEntry {
        entry_id: entry.entry_id.to_string(),
        kind: entry.kind,
        granted_delta: entry.granted_delta,
        available_delta: entry.available_delta,
        reserved_delta: entry.reserved_delta,
        consumed_delta: entry.consumed_delta,
        task_id: entry.task_id.map(|id| id.to_string()).unwrap_or_default(),
        grant_id: entry.grant_id.unwrap_or_default(),
        created_at: Some(encode_time(entry.created_at)),
    }
}

fn encode_time(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}
