//! CancelSaga.

use std::time::Duration;

use proto::saga::v1 as pb;
use saga_core::{Phase, StepError};
use saga_engine::RequestError;

use crate::DOMAIN;
use crate::app::{App, Caller, Error, read};

/// gRPC path of the method.
const PATH: &str = "/evenkeel.saga.v1.SagaService/CancelSaga";
/// Longest reason that is kept, in characters.
const MAX_REASON_CHARS: usize = 500;
/// A saga that this instance owns but does not drive yet (it starts, or has just taken over) is asked again this often.
const MAX_ROUNDS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

impl App {
    /// Asks a saga to unwind, wherever it is driven.
    pub(crate) async fn cancel(
        &self,
        caller: Caller,
        request: pb::CancelSagaRequest,
    ) -> Result<pb::CancelSagaResponse, Error> {
        let id = read::parse_id(&request.saga_id)?;
        if request.reason.chars().nth(MAX_REASON_CHARS).is_some() {
            let problem = format!("must have at most {MAX_REASON_CHARS} characters");
            return Err(Error::invalid("reason", problem));
        }
        for _ in 0..MAX_ROUNDS {
            let note = StepError {
                code: "CANCELLED".into(),
                reason: "CANCELLED".into(),
                domain: DOMAIN.into(),
                message: request.reason.replace('\0', " ").into(),
            };
            match self.engine.cancel(id, caller.actor.as_str().into(), note).await {
                Ok(seen) => {
                    let saga = match &seen.snapshot {
                        Some(snapshot) => self.show_snapshot(snapshot).await?,
                        None => self.read(id).await?.shown().render(),
                    };
                    return Ok(pb::CancelSagaResponse { saga: Some(saga) });
                }
                Err(RequestError::NotHere | RequestError::Ended) => {}
                Err(error) => return Err(Error::of_engine(error, id)),
            }
            let found = self.read(id).await?;
            match found.state.phase() {
                Phase::Compensating | Phase::Compensated => {
                    let saga = Some(found.shown().render());
                    return Ok(pb::CancelSagaResponse { saga });
                }
                phase @ (Phase::Completed | Phase::Resolved) => return Err(Error::Ended { saga: id, phase }),
                Phase::Running if found.stored.quarantined => return Err(Error::OwnerAway(id)),
                Phase::Running if found.stored.owner == *self.instance => {
                    self.stopping.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                }
                Phase::Running if caller.forwarded => return Err(Error::OwnerAway(id)),
                Phase::Running => {
                    let address = found.stored.owner_address.ok_or(Error::OwnerAway(id))?;
                    return self.peers.forward(&address, PATH, &caller, request).await;
                }
            }
        }
        Err(Error::OwnerAway(id))
    }
}
