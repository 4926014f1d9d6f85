//! ActivateDefinition and ListDefinitions.

use prost_types::Timestamp;
use proto::saga::v1 as pb;

use crate::app::register::hex;
use crate::app::{App, Caller, Error, page};
use crate::definitions::{PageKey, Stored};

impl App {
    /// Makes a version startable, or takes it out of use.
    pub(crate) async fn activate(
        &self,
        caller: Caller,
        request: pb::ActivateDefinitionRequest,
    ) -> Result<pb::ActivateDefinitionResponse, Error> {
        if request.name.is_empty() {
            return Err(Error::invalid("name", "must name a definition"));
        }
        let active = !request.deactivate;
        let stored = self
            .definitions
            .activate(&request.name, request.version, active)
            .await?;
        tracing::info!(
            business_type = stored.name,
            version = stored.version,
            revision = stored.revision,
            active,
            actor = caller.actor,
            "definition activated or taken out of use"
        );
        Ok(pb::ActivateDefinitionResponse {
            definition: Some(show_definition(&stored)),
        })
    }

    /// Lists definitions by name, version and revision.
    pub(crate) async fn list_definitions(
        &self,
        request: pb::ListDefinitionsRequest,
    ) -> Result<pb::ListDefinitionsResponse, Error> {
        let size = page::size(request.page_size)?;
        let filters = format!("definitions {}", request.name);
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(read_key(&page::position(&filters, token)?)?),
        };
        let mut found = self
            .definitions
            .list(&request.name, after.as_ref(), size + 1)
            .await?;
        let more = found.len() > size as usize;
        found.truncate(size as usize);
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| page::token(&filters, &write_key(last)));
        Ok(pb::ListDefinitionsResponse {
            definitions: found.iter().map(show_definition).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }
}

fn write_key(last: &Stored) -> Vec<u8> {
    format!("{} {} {}", last.version, last.revision, last.name).into_bytes()
}

fn read_key(position: &[u8]) -> Result<PageKey, Error> {
    let read = || {
        let mut parts = std::str::from_utf8(position).ok()?.splitn(3, ' ');
        Some(PageKey {
            version: parts.next()?.parse().ok()?,
            revision: parts.next()?.parse().ok()?,
            name: parts.next()?.to_owned(),
        })
    };
    read().ok_or(Error::PageToken)
}

pub(crate) fn show_definition(stored: &Stored) -> pb::Definition {
    let at = stored.registered_at;
    pb::Definition {
        name: stored.name.clone(),
        version: stored.version,
        revision: stored.revision,
        active: stored.active,
        hash: hex(&stored.hash),
        registered_at: Some(Timestamp {
            seconds: at.timestamp(),
            nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or(0),
        }),
        registered_by: stored.registered_by.clone(),
        steps: stored.steps.clone(),
        input_type: stored.input_type.clone(),
    }
}
