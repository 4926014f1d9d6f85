//! ListSagas.

use std::time::Duration;

use ids::SagaId;
use proto::saga::v1 as pb;
use saga_core::{FailureClass, Millis, Phase};
use saga_engine::{Clock as _, SystemClock};
use uuid::Uuid;

use crate::app::{App, Error, page, view};
use crate::journal::{Filter, OpenFilter};

impl App {
    /// Lists sagas, newest first.
    pub(crate) async fn list(&self, request: pb::ListSagasRequest) -> Result<pb::ListSagasResponse, Error> {
        let size = page::size(request.page_size)?;
        let phases = phases(&request.phases)?;
        let open = OpenFilter {
            error_class: error_class(&request.error_class)?,
            step: some(request.step),
            min_attempts: Some(request.min_attempts).filter(|attempts| *attempts > 0),
            retrying: request.retrying,
        };
        let older_than = request.older_than.map(age).transpose()?;
        let filters = format!(
            "sagas {:?} {phases:?} {:?} {} {open:?} {older_than:?}",
            request.r#type, request.business_id, request.needs_attention
        );
        let before = match request.page_token.as_str() {
            "" => None,
            token => {
                let position = page::position(&filters, token)?;
                let id = Uuid::from_slice(&position).map_err(|_| Error::PageToken)?;
                Some(SagaId::from_uuid(id))
            }
        };
        let filter = Filter {
            saga_type: some(request.r#type),
            phases,
            business_id: some(request.business_id),
            needs_attention: request.needs_attention,
            started_by: older_than.map(|age| Millis(SystemClock.now().0.saturating_sub(age))),
            open,
        };
        // One more than is shown tells whether there is a next page.
        let mut found = self
            .reader
            .list(&filter, size + 1, before)
            .await
            .map_err(Error::Journal)?;
        let more = found.len() > size as usize;
        found.truncate(size as usize);
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| page::token(&filters, last.id.uuid().as_bytes()));
        Ok(pb::ListSagasResponse {
            sagas: found.iter().map(view::of_row).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn error_class(name: &str) -> Result<Option<FailureClass>, Error> {
    if name.is_empty() {
        return Ok(None);
    }
    let known = || FailureClass::ALL.map(FailureClass::name).join(", ");
    match FailureClass::from_name(name) {
        Some(class) => Ok(Some(class)),
        None => Err(Error::invalid(
            "error_class",
            format!("must be one of {}", known()),
        )),
    }
}

/// Reads an age, in milliseconds.
fn age(age: prost_types::Duration) -> Result<i64, Error> {
    let negative = || Error::invalid("older_than", "must be a duration of 0 s or more");
    let age = Duration::try_from(age).map_err(|_| negative())?;
    Ok(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

fn phases(asked: &[i32]) -> Result<Vec<Phase>, Error> {
    let phase = |number: &i32| match pb::SagaPhase::try_from(*number) {
        Ok(pb::SagaPhase::Running) => Ok(Phase::Running),
        Ok(pb::SagaPhase::Compensating) => Ok(Phase::Compensating),
        Ok(pb::SagaPhase::Completed) => Ok(Phase::Completed),
        Ok(pb::SagaPhase::Compensated) => Ok(Phase::Compensated),
        Ok(pb::SagaPhase::Resolved) => Ok(Phase::Resolved),
        Ok(pb::SagaPhase::Unspecified) | Err(_) => {
            Err(Error::invalid("phases", format!("{number} is not a phase")))
        }
    };
    let mut phases: Vec<Phase> = asked.iter().map(phase).collect::<Result<_, _>>()?;
    phases.sort_unstable_by_key(|phase| phase.name());
    phases.dedup();
    Ok(phases)
}
