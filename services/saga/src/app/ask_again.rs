//! AskAgain: a hint that pending steps may have an answer.

use proto::saga::v1 as pb;
use saga_engine::RequestError;

use crate::app::{App, Caller, Error, read};

/// gRPC path of the method.
const PATH: &str = "/evenkeel.saga.v1.CompletionService/AskAgain";

impl App {
    /// Has the pending steps of a saga asked at once, wherever it is driven. Reads the journal only if that is not here.
    pub(crate) async fn ask_again(
        &self,
        caller: Caller,
        request: pb::AskAgainRequest,
    ) -> Result<pb::AskAgainResponse, Error> {
        let id = read::parse_id(&request.saga_id)?;
        match self.engine.ask_again(id).await {
            Ok(()) => return Ok(pb::AskAgainResponse {}),
            Err(RequestError::NotHere) => {}
            Err(error) => return Err(Error::of_engine(error, id)),
        }
        let found = self.read(id).await?;
        if found.state.phase().is_ended() {
            return Ok(pb::AskAgainResponse {});
        }
        let address = found
            .stored
            .owner_address
            .filter(|_| !caller.forwarded && found.stored.owner != *self.instance);
        let address = address.ok_or(Error::OwnerAway(id))?;
        self.peers.forward(&address, PATH, &caller, request).await
    }
}
