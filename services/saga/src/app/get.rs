//! GetSaga.

use proto::saga::v1 as pb;

use crate::app::{App, Error, history, read};

impl App {
    /// Shows one saga, found by its id or by its business key.
    pub(crate) async fn get(&self, request: pb::GetSagaRequest) -> Result<pb::GetSagaResponse, Error> {
        let by_key = !request.r#type.is_empty() || !request.business_id.is_empty();
        let found = match (request.saga_id.is_empty(), by_key) {
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
}
