//! ListSagas.

use ids::SagaId;
use proto::saga::v1 as pb;
use saga_core::Phase;
use uuid::Uuid;

use crate::app::{App, Error, page, view};
use crate::journal::Filter;

impl App {
    /// Lists sagas, newest first.
    pub(crate) async fn list(&self, request: pb::ListSagasRequest) -> Result<pb::ListSagasResponse, Error> {
        let size = page::size(request.page_size)?;
        let phases = phases(&request.phases)?;
        let filters = format!(
            "sagas {:?} {:?} {:?} {}",
            request.r#type, phases, request.business_id, request.needs_attention
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
