//! What the journal asks of definitions when it loads sagas.

use std::sync::Arc;

use saga_core::{Millis, Payload};
use saga_engine::DefinitionId;

use crate::definitions::{Definitions, Error};
use crate::journal::{ResolveError, Resolved, Resolver};

impl Resolver for Arc<Definitions> {
    async fn resolve(&self, definition: DefinitionId, input_json: &str) -> Result<Resolved, ResolveError> {
        let compiled = self.compiled(definition).await.map_err(|error| match error {
            Error::Database(_) => ResolveError::Unavailable(Box::new(error)),
            Error::NotFound(_) | Error::Conflict { .. } | Error::Damaged { .. } => {
                ResolveError::Broken(error.to_string())
            }
        })?;
        // The instant of the start is the journal's business; what is asked for here does not depend on it.
        let (input, start) = compiled
            .load(input_json, Millis(0))
            .map_err(ResolveError::Broken)?;
        Ok(Resolved {
            plan: Arc::clone(compiled.plan()),
            saga_type: Arc::clone(compiled.saga_type()),
            input: Payload::with_decoded(input_json, Arc::new(input)),
            deadline_ms: start.deadline_ms,
            expires_ms: start.expires_ms,
        })
    }
}
