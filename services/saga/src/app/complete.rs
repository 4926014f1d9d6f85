//! CompleteStep and FailStep: final answers that come later than the call.

use std::sync::Arc;
use std::time::Duration;

use ids::SagaId;
use proto::saga::v1::{self as pb, complete_step_request};
use saga_core::{Completion, OpKey, Payload, StepError};
use saga_engine::RequestError;

use crate::app::read::Found;
use crate::app::reply::{self, MAX_REPLY_BYTES, Misfit};
use crate::app::{App, Caller, Error, orders};

/// gRPC paths of the methods.
const COMPLETE: &str = "/evenkeel.saga.v1.CompletionService/CompleteStep";
const FAIL: &str = "/evenkeel.saga.v1.CompletionService/FailStep";
/// Longest token that is looked at, in bytes, as the header's contract says.
const MAX_TOKEN_BYTES: usize = 512;
/// Longest reason code, in characters.
const MAX_REASON_CHARS: usize = 64;
/// Longest message, in characters.
const MAX_MESSAGE_CHARS: usize = 1_000;
/// A saga that this instance owns but does not drive yet (it starts, or has just taken over) is asked again this often.
const MAX_ROUNDS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// What somebody says about an operation.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    /// It succeeded, with this reply as JSON.
    Json(String),
    /// It succeeded, with this reply as a message.
    Message(prost_types::Any),
    /// It definitely has no effect and never will.
    Failed {
        /// In the participant's own words.
        reason: String,
        /// For people.
        message: String,
    },
}

/// The operation that was completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Completed {
    pub(crate) saga: SagaId,
    pub(crate) step: String,
}

/// Where a completion ended up.
pub(crate) enum Reached {
    /// It is recorded.
    Here(Completed),
    /// The instance at this address drives the saga.
    Elsewhere(String),
}

impl App {
    pub(crate) async fn complete_step(
        &self,
        caller: Caller,
        request: pb::CompleteStepRequest,
    ) -> Result<pb::CompleteStepResponse, Error> {
        let said = match &request.reply {
            None => Said::Json(String::new()),
            Some(complete_step_request::Reply::Json(json)) => Said::Json(json.clone()),
            Some(complete_step_request::Reply::Message(any)) => Said::Message(any.clone()),
        };
        match self.complete(&request.token, &said, caller.forwarded).await? {
            Reached::Here(Completed { saga, step }) => Ok(pb::CompleteStepResponse {
                saga_id: saga.to_string(),
                step,
            }),
            Reached::Elsewhere(address) => self.peers.forward(&address, COMPLETE, &caller, request).await,
        }
    }

    pub(crate) async fn fail_step(
        &self,
        caller: Caller,
        request: pb::FailStepRequest,
    ) -> Result<pb::FailStepResponse, Error> {
        let said = Said::failed(&request.reason, &request.message)?;
        match self.complete(&request.token, &said, caller.forwarded).await? {
            Reached::Here(Completed { saga, step }) => Ok(pb::FailStepResponse {
                saga_id: saga.to_string(),
                step,
            }),
            Reached::Elsewhere(address) => self.peers.forward(&address, FAIL, &caller, request).await,
        }
    }

    /// Completes an operation as the instance that an event reached first; passes it on where another drives the saga.
    pub(crate) async fn complete_anywhere(
        &self,
        caller: &Caller,
        token: &str,
        said: Said,
    ) -> Result<Completed, Error> {
        let address = match self.complete(token, &said, false).await? {
            Reached::Here(completed) => return Ok(completed),
            Reached::Elsewhere(address) => address,
        };
        let (saga, _) = self.tokens.read(token)?;
        let token = token.to_owned();
        let completion = |reply| pb::CompleteStepRequest {
            token: token.clone(),
            reply: Some(reply),
        };
        let request = match said {
            Said::Failed { reason, message } => {
                let request = pb::FailStepRequest {
                    token,
                    reason,
                    message,
                };
                let answer: pb::FailStepResponse =
                    self.peers.forward(&address, FAIL, caller, request).await?;
                let step = answer.step;
                return Ok(Completed { saga, step });
            }
            Said::Json(json) => completion(complete_step_request::Reply::Json(json)),
            Said::Message(any) => completion(complete_step_request::Reply::Message(any)),
        };
        let answer: pb::CompleteStepResponse =
            self.peers.forward(&address, COMPLETE, caller, request).await?;
        let step = answer.step;
        Ok(Completed { saga, step })
    }

    async fn complete(&self, token: &str, said: &Said, forwarded: bool) -> Result<Reached, Error> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Error::Token(crate::tokens::Invalid));
        }
        let (saga, key) = self.tokens.read(token)?;
        for _ in 0..MAX_ROUNDS {
            let found = self.read(saga).await?;
            let phase = found.state.phase();
            if phase.is_ended() {
                return Err(Error::Ended { saga, phase });
            }
            if found.is_parked() {
                return Err(Error::Parked(saga));
            }
            let step = found.plan().name(key.step).to_owned();
            let result = said.read(&found, key)?;
            if found.stored.owner != *self.instance {
                let address = found.stored.owner_address.filter(|_| !forwarded);
                return address.map(Reached::Elsewhere).ok_or(Error::OwnerAway(saga));
            }
            match self.engine.complete(saga, key, result).await {
                Ok(_) => return Ok(Reached::Here(Completed { saga, step })),
                Err(RequestError::NotHere) => {
                    self.stopping.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                }
                Err(RequestError::NotOpen) => return Err(Error::NotWaiting { saga, step }),
                Err(RequestError::Answered) => return Err(Error::Answered { saga, step }),
                Err(RequestError::GivenUp) => {
                    let noted = !matches!(said, Said::Failed { .. });
                    return Err(Error::GivenUp { saga, step, noted });
                }
                Err(RequestError::Ended) => {
                    let phase = self.read(saga).await?.state.phase();
                    return Err(Error::Ended { saga, phase });
                }
                Err(error) => return Err(Error::of_engine(error, saga)),
            }
        }
        Err(Error::OwnerAway(saga))
    }
}

impl Said {
    /// Checks a failure.
    ///
    /// # Errors
    /// `Invalid` names the field.
    pub(crate) fn failed(reason: &str, message: &str) -> Result<Self, Error> {
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if !(1..=MAX_REASON_CHARS).contains(&reason.len()) || !reason.bytes().all(allowed) {
            let problem = format!("must have 1 to {MAX_REASON_CHARS} characters of A-Z, 0-9 and _");
            return Err(Error::invalid("reason", problem));
        }
        if !message.is_empty() {
            orders::text("message", message, MAX_MESSAGE_CHARS)?;
        }
        Ok(Self::Failed {
            reason: reason.to_owned(),
            message: message.to_owned(),
        })
    }

    /// Checks it against the operation's reply type.
    fn read(&self, found: &Found, key: OpKey) -> Result<Completion, Error> {
        let operation = found.compiled().operation(key);
        let operation = operation.ok_or(Error::Token(crate::tokens::Invalid))?;
        let (field, reply) = match self {
            Self::Json(json) => ("json", reply::of_json(&operation.reply, json)),
            Self::Message(any) => ("message", reply::of_any(&operation.reply, any)),
            Self::Failed { reason, message } => {
                return Ok(Completion::Failed(StepError {
                    code: "FAILED_PRECONDITION".into(),
                    reason: reason.as_str().into(),
                    domain: operation.error_domain().into(),
                    message: message.as_str().into(),
                }));
            }
        };
        let reply = reply.map_err(|misfit| match misfit {
            Misfit::TooLarge { found_bytes } => Error::TooLarge {
                field,
                found_bytes,
                max_bytes: MAX_REPLY_BYTES,
            },
            Misfit::Field { .. } => Error::invalid(field, misfit.to_string()),
        })?;
        let json =
            saga_definition::encode_json(&reply).map_err(|error| Error::invalid(field, error.to_string()))?;
        Ok(Completion::Succeeded(Payload::with_decoded(
            json,
            Arc::new(reply),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_code_and_a_message_is_bounded() {
        for (field, reason, message) in [
            ("reason", "", ""),
            ("reason", "no device", ""),
            ("reason", "nope", ""),
            ("reason", &"X".repeat(65), ""),
            ("message", "NO", &"x".repeat(1_001)),
            ("message", "NO", "a\0b"),
        ] {
            match Said::failed(reason, message) {
                Err(Error::Invalid { field: found, .. }) => assert_eq!(found, field, "{reason:?}"),
                other => panic!("{other:?}"),
            }
        }
        assert!(Said::failed("NO_DEVICE_FREE", "all 3 are taken").is_ok());
        assert!(Said::failed(&"X".repeat(64), &"x".repeat(1_000)).is_ok());
    }
}
