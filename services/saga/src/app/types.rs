//! PauseType, ResumeType and ListPausedTypes: what operators do about every saga of a type.

use std::sync::Arc;

use proto::saga::v1 as pb;

use crate::app::orders::{named_actor, note};
use crate::app::{App, Caller, Error, view};
use crate::definitions;
use crate::journal::PausedType;

impl App {
    /// Holds back the calls of every saga of a type.
    pub(crate) async fn pause_type(
        &self,
        caller: Caller,
        request: pb::PauseTypeRequest,
    ) -> Result<pb::PauseTypeResponse, Error> {
        let (actor, reason) = (named_actor(&caller)?, note(&request.reason)?);
        self.check_type(&request.r#type).await?;
        let pause = self
            .operators
            .pause_type(&request.r#type, actor, &reason)
            .await
            .map_err(Error::Journal)?;
        if pause.changed {
            tracing::info!(
                business_type = request.r#type,
                actor,
                reason,
                "an operator paused a type"
            );
            self.tell_engine().await?;
        }
        Ok(pb::PauseTypeResponse {
            paused: Some(show(&pause.paused)),
            changed: pause.changed,
        })
    }

    /// Ends the pause of a type.
    pub(crate) async fn resume_type(
        &self,
        caller: Caller,
        request: pb::ResumeTypeRequest,
    ) -> Result<pb::ResumeTypeResponse, Error> {
        let (actor, reason) = (named_actor(&caller)?, note(&request.reason)?);
        self.check_type(&request.r#type).await?;
        let changed = self
            .operators
            .resume_type(&request.r#type, actor, &reason)
            .await
            .map_err(Error::Journal)?;
        if changed {
            tracing::info!(
                business_type = request.r#type,
                actor,
                reason,
                "an operator resumed a type"
            );
            self.tell_engine().await?;
        }
        Ok(pb::ResumeTypeResponse { changed })
    }

    /// Lists the types that are paused, by name.
    pub(crate) async fn list_paused_types(&self) -> Result<pb::ListPausedTypesResponse, Error> {
        let paused = self.operators.paused_types().await.map_err(Error::Journal)?;
        Ok(pb::ListPausedTypesResponse {
            paused: paused.iter().map(show).collect(),
        })
    }

    /// Other instances learn of a change with their next heartbeat; this one need not wait for its own.
    async fn tell_engine(&self) -> Result<(), Error> {
        let paused = self.operators.paused_types().await.map_err(Error::Journal)?;
        let types: Vec<Arc<str>> = paused.into_iter().map(|paused| paused.saga_type.into()).collect();
        if let Err(error) = self.engine.set_paused_types(types).await {
            // What was decided is durable; the heartbeat brings it.
            tracing::debug!(%error, "the engine learns of a paused type later");
        }
        Ok(())
    }

    async fn check_type(&self, name: &str) -> Result<(), Error> {
        if name.is_empty() {
            return Err(Error::invalid("type", "must name a definition"));
        }
        if self.definitions.list(name, None, 1).await?.is_empty() {
            let problem = format!("there is no definition {name:?}");
            return Err(definitions::Error::NotFound(problem).into());
        }
        Ok(())
    }
}

fn show(paused: &PausedType) -> pb::PausedType {
    pb::PausedType {
        r#type: paused.saga_type.clone(),
        actor: paused.actor.clone(),
        reason: paused.reason.clone(),
        since: Some(view::timestamp(paused.since)),
    }
}
