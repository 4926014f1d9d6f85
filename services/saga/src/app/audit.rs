//! ListAudit.

use proto::saga::v1 as pb;
use saga_core::OperatorAction;

use crate::app::{App, Error, allowed, page, read, view};
use crate::journal::{AuditEntry, AuditFilter, AuditKey};

impl App {
    /// Lists what operators did, newest first.
    pub(crate) async fn list_audit(
        &self,
        request: pb::ListAuditRequest,
    ) -> Result<pb::ListAuditResponse, Error> {
        let size = page::size(request.page_size)?;
        let saga = Some(request.saga_id.as_str())
            .filter(|id| !id.is_empty())
            .map(read::parse_id)
            .transpose()?;
        let filters = format!("audit {:?} {:?} {:?}", saga, request.actor, request.r#type);
        let before = match request.page_token.as_str() {
            "" => None,
            token => {
                let position = page::position(&filters, token)?;
                Some(AuditKey::from_bytes(&position).ok_or(Error::PageToken)?)
            }
        };
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let filter = AuditFilter {
            saga,
            actor: some(request.actor),
            saga_type: some(request.r#type),
        };
        // One more than is shown tells whether there is a next page.
        let found = self.operators.audit(&filter, size + 1, before).await;
        let mut found = found.map_err(Error::Journal)?;
        let more = found.len() > size as usize;
        found.truncate(size as usize);
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| page::token(&filters, &last.key.to_bytes()));
        Ok(pb::ListAuditResponse {
            entries: found.into_iter().map(show).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }
}

fn show(entry: AuditEntry) -> pb::AuditEntry {
    pb::AuditEntry {
        at: Some(view::timestamp(entry.at)),
        action: action(&entry.action).into(),
        actor: entry.actor,
        saga_id: entry.saga.map(|saga| saga.to_string()).unwrap_or_default(),
        r#type: entry.saga_type,
        step: entry.step.unwrap_or_default(),
        index: entry.index.unwrap_or_default(),
        op: entry.op.unwrap_or_default(),
        reason: entry.reason,
        evidence: entry.evidence,
        version: entry.version.unwrap_or_default(),
    }
}

/// A name that this program does not know was written by a later one.
fn action(name: &str) -> pb::OperatorAction {
    match name {
        "pause_type" => pb::OperatorAction::PauseType,
        "resume_type" => pb::OperatorAction::ResumeType,
        _ => OperatorAction::from_name(name).map_or(pb::OperatorAction::Unspecified, allowed::proto_action),
    }
}
