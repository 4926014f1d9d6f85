//! GetSaga.

use std::time::Duration;

use proto::saga::v1 as pb;
use saga_engine::Until;

use crate::app::read::Found;
use crate::app::{App, Caller, Error, history, read};

/// gRPC path of the method.
const PATH: &str = "/evenkeel.saga.v1.SagaService/GetSaga";
/// How long the instance that drives the saga is waited for. What it knows besides the journal is not worth more.
const PATIENCE: Duration = Duration::from_secs(1);

impl App {
    /// Shows one saga, found by its id or by its business key.
    pub(crate) async fn get(
        &self,
        caller: Caller,
        request: pb::GetSagaRequest,
    ) -> Result<pb::GetSagaResponse, Error> {
        let by_key = !request.r#type.is_empty() || !request.business_id.is_empty();
        let mut found = match (request.saga_id.is_empty(), by_key) {
            (false, false) => self.read(read::parse_id(&request.saga_id)?).await?,
            (true, true) if request.r#type.is_empty() => {
                return Err(Error::invalid("type", "is missing beside business_id"));
            }
            (true, true) if request.business_id.is_empty() => {
                return Err(Error::invalid("business_id", "is missing beside type"));
            }
            (true, true) => self.read_by_key(&request.r#type, &request.business_id).await?,
            (true, false) => {
                return Err(Error::invalid(
                    "saga_id",
                    "is missing, and so are type and business_id",
                ));
            }
            (false, true) => return Err(Error::invalid("saga_id", "excludes type and business_id")),
        };
        let runs = found.state.runs().iter();
        let is_open = runs
            .flat_map(|run| [&run.action, &run.compensation])
            .any(|op| op.open().is_some());
        if is_open && let Some(told) = self.ask_owner(&caller, &request, &mut found).await {
            return Ok(told);
        }
        let history = if request.with_history {
            history::render(&found.shown(), &found.stored.actor)
        } else {
            Vec::new()
        };
        Ok(pb::GetSagaResponse {
            saga: Some(found.shown().render()),
            history,
        })
    }

    /// What an operation waits for is known in full only where the saga is driven. The whole answer, if another instance
    /// gave it.
    async fn ask_owner(
        &self,
        caller: &Caller,
        request: &pb::GetSagaRequest,
        found: &mut Found,
    ) -> Option<pb::GetSagaResponse> {
        let stored = &found.stored;
        if stored.owner == *self.instance {
            let seen = self.engine.wait(stored.id, Until::Durable, PATIENCE).await.ok()?;
            found.explain(*seen.snapshot?);
            return None;
        }
        let address = stored.owner_address.as_deref().filter(|_| !caller.forwarded)?;
        let asking = self.peers.forward(address, PATH, caller, request.clone());
        tokio::time::timeout(PATIENCE, asking).await.ok()?.ok()
    }
}
