//! DeskService: decode, operate, encode.

use chrono::{NaiveDate, Utc};
use proto::billing::v1 as pb;
use proto::billing::v1::desk_service_server::DeskService;
use tonic::{Request, Response, Status};

use super::desk_encode::{case, difference, receipt, statement};
use super::{channel, id, text};
use crate::app::App;
use crate::app::desk::{self, Day, Resolution, Settlement};
use crate::domain::{Channel, Page};
use crate::error::Error;
use crate::store::receipts::Filter;

/// Longest note, in characters.
const MAX_NOTE_CHARS: usize = 1_000;
/// Longest number of a provider's, in characters.
const MAX_NUMBER_CHARS: usize = 64;
/// What becomes of a delivery.
const OUTCOMES: [&str; 3] = ["TAKEN", "DUPLICATE", "REFUSED"];

/// DeskService, as in `proto/evenkeel/billing/v1/desk_service.proto`.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) app: App,
}

#[tonic::async_trait]
impl DeskService for Desk {
    async fn list_cases(
        &self,
        request: Request<pb::ListCasesRequest>,
    ) -> Result<Response<pb::ListCasesResponse>, Status> {
        let request = request.into_inner();
        let all = request.include_resolved;
        let page = Page::new(format!("cases {all}"), request.page_size, &request.page_token)?;
        let (rows, next_page_token) = desk::list_cases(&self.app, all, &page).await?;
        Ok(Response::new(pb::ListCasesResponse {
            cases: rows.into_iter().map(case).collect(),
            next_page_token,
        }))
    }

    async fn resolve_case(
        &self,
        request: Request<pb::ResolveCaseRequest>,
    ) -> Result<Response<pb::ResolveCaseResponse>, Status> {
        let by = token::caller(&request).actor(request.metadata());
        let request = request.get_ref();
        let settlement = pb::Settlement::try_from(request.settlement).map_err(|_| Error::Invalid {
            field: "settlement",
            problem: "must be a settlement",
        })?;
        let resolution = Resolution {
            case_id: id("case_id", &request.case_id)?,
            settlement: match settlement {
                pb::Settlement::Unspecified => Settlement::None,
                pb::Settlement::Succeeded => Settlement::Succeeded,
                pb::Settlement::Failed => Settlement::Failed,
            },
            by,
            note: note(&request.note)?,
        };
        let resolved = App::transaction(&self.app.pool, async |conn| {
            desk::resolve_case(conn, &resolution).await
        })
        .await?;
        self.app.hints.leave((resolved.subject, resolved.subject_id));
        Ok(Response::new(pb::ResolveCaseResponse {
            case: Some(case(resolved)),
        }))
    }

    async fn list_notify_receipts(
        &self,
        request: Request<pb::ListNotifyReceiptsRequest>,
    ) -> Result<Response<pb::ListNotifyReceiptsResponse>, Status> {
        let request = request.get_ref();
        let outcome = Some(request.outcome.clone()).filter(|outcome| !outcome.is_empty());
        if outcome
            .as_deref()
            .is_some_and(|outcome| !OUTCOMES.contains(&outcome))
        {
            return Err(Error::Invalid {
                field: "outcome",
                problem: "must be TAKEN, DUPLICATE or REFUSED",
            }
            .into());
        }
        let problem = "must be at most 64 printable characters";
        let number = text("number", &request.number, MAX_NUMBER_CHARS, problem)?;
        let filter = Filter {
            channel: any_channel(request.channel)?,
            outcome,
            number: (!number.is_empty()).then_some(number),
        };
        let page = Page::new(format!("{filter:?}"), request.page_size, &request.page_token)?;
        let (rows, next_page_token) = desk::list_receipts(&self.app, &filter, &page).await?;
        Ok(Response::new(pb::ListNotifyReceiptsResponse {
            receipts: rows.into_iter().map(receipt).collect(),
            next_page_token,
        }))
    }

    async fn import_statement(
        &self,
        request: Request<pb::ImportStatementRequest>,
    ) -> Result<Response<pb::ImportStatementResponse>, Status> {
        let request = request.get_ref();
        let day: NaiveDate = request.day.parse().map_err(|_| Error::Invalid {
            field: "day",
            problem: "must be YYYY-MM-DD",
        })?;
        let day = Day::new(channel(request.channel())?, day, Utc::now())?;
        let imported = desk::import(&self.app, &day).await?;
        Ok(Response::new(pb::ImportStatementResponse {
            statement: Some(statement(imported)),
        }))
    }

    async fn list_statements(
        &self,
        request: Request<pb::ListStatementsRequest>,
    ) -> Result<Response<pb::ListStatementsResponse>, Status> {
        let request = request.get_ref();
        let channel = any_channel(request.channel)?;
        let list = format!("statements {channel:?}");
        let page = Page::new(list, request.page_size, &request.page_token)?;
        let (rows, next_page_token) = desk::list_statements(&self.app, channel, &page).await?;
        Ok(Response::new(pb::ListStatementsResponse {
            statements: rows.into_iter().map(statement).collect(),
            next_page_token,
        }))
    }

    async fn list_differences(
        &self,
        request: Request<pb::ListDifferencesRequest>,
    ) -> Result<Response<pb::ListDifferencesResponse>, Status> {
        let request = request.get_ref();
        let (channel, all) = (any_channel(request.channel)?, request.include_resolved);
        let list = format!("differences {channel:?} {all}");
        let page = Page::new(list, request.page_size, &request.page_token)?;
        let (rows, next_page_token) = desk::list_differences(&self.app, channel, all, &page).await?;
        Ok(Response::new(pb::ListDifferencesResponse {
            differences: rows.into_iter().map(difference).collect(),
            next_page_token,
        }))
    }

    async fn resolve_difference(
        &self,
        request: Request<pb::ResolveDifferenceRequest>,
    ) -> Result<Response<pb::ResolveDifferenceResponse>, Status> {
        let by = token::caller(&request).actor(request.metadata());
        let request = request.get_ref();
        let id = id("difference_id", &request.difference_id)?;
        let note = note(&request.note)?;
        let resolved = App::transaction(&self.app.pool, async |conn| {
            desk::resolve_difference(conn, id, &by, &note).await
        })
        .await?;
        Ok(Response::new(pb::ResolveDifferenceResponse {
            difference: Some(difference(resolved)),
        }))
    }
}

/// Reads why a person decides something.
fn note(note: &str) -> Result<String, Error> {
    let problem = "must be 1 to 1,000 printable characters";
    if note.trim().is_empty() {
        let field = "note";
        return Err(Error::Invalid { field, problem });
    }
    text("note", note, MAX_NOTE_CHARS, problem)
}

/// Reads a channel; unspecified is any.
fn any_channel(number: i32) -> Result<Option<Channel>, Error> {
    let channel = pb::Channel::try_from(number).map_err(|_| Error::Invalid {
        field: "channel",
        problem: "must be a channel",
    })?;
    Ok(Channel::from_message(channel))
}
