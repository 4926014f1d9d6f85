//! StartSaga.

use std::sync::Arc;
use std::time::Duration;

use ids::SagaId;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use proto::saga::v1::{self as pb, start_saga_request};
use saga_core::Payload;
use saga_definition::JsonError;
use saga_engine::{Clock as _, Identity, NewSaga, SystemClock, Until};
use tokio::time::Instant;

use crate::app::wait::{Goal, Wait};
use crate::app::{App, Caller, Error};
use crate::definitions::Compiled;

/// Largest input, in bytes, in whichever form it comes.
pub(crate) const MAX_INPUT_BYTES: usize = 256 * 1024;
/// Longest business id, in characters.
const MAX_BUSINESS_ID_CHARS: usize = 200;

impl App {
    /// Starts a saga, or finds the one with the same business key.
    pub(crate) async fn start(
        &self,
        caller: Caller,
        request: pb::StartSagaRequest,
    ) -> Result<pb::StartSagaResponse, Error> {
        if request.r#type.is_empty() {
            return Err(Error::invalid("type", "must name a definition"));
        }
        let wait = request.wait.map(Wait::parse).transpose()?;
        let compiled = self.definitions.highest_active(&request.r#type).await?;
        if let Some(wait) = &wait {
            wait.goal.until(&request.r#type, compiled.plan())?;
        }
        let input = decode(compiled.definition().input(), request.input)?;
        let business_id = business_id(&compiled, &input, request.business_id)?;
        let new = new_saga(&compiled, input, business_id, &caller)?;
        caller.release();

        // The position of a step belongs to a revision, and the saga may exist with another one: so first its start.
        let (until, bound) = match &wait {
            Some(Wait {
                goal: Goal::Step(_), ..
            })
            | None => (Until::Durable, Duration::ZERO),
            Some(wait) => (wait.goal.until(&request.r#type, compiled.plan())?, wait.bound),
        };
        let began = Instant::now();
        let id = new.identity.id;
        let seen = self
            .engine
            .start(new, until, bound)
            .await
            .map_err(|error| Error::of_engine(error, id))?;
        let answered = wait.is_none() || until != Until::Durable && seen.reached;
        let (saga, reached) = match (&seen.snapshot, wait) {
            (Some(snapshot), wait) if answered => (self.show_snapshot(snapshot).await?, wait.is_some()),
            (_, None) => (self.read(seen.saga).await?.shown().render(), false),
            (_, Some(wait)) => {
                let left = wait.bound.saturating_sub(began.elapsed());
                self.wait_for(seen.saga, &wait.goal, left).await?
            }
        };
        Ok(pb::StartSagaResponse {
            saga: Some(saga),
            created: seen.created,
            waited_for_reached: reached,
        })
    }
}

fn new_saga(
    compiled: &Arc<Compiled>,
    input: DynamicMessage,
    business_id: String,
    caller: &Caller,
) -> Result<NewSaga, Error> {
    let unusable = |error: JsonError| Error::Input(error.to_string());
    let start = compiled
        .start(&input, SystemClock.now())
        .map_err(|error| Error::Input(error.to_string()))?;
    let input_digest = saga_definition::digest(&input).map_err(unusable)?;
    let json = saga_definition::encode_json(&input).map_err(unusable)?;
    let identity = Identity {
        id: SagaId::new(),
        saga_type: Arc::clone(compiled.saga_type()),
        business_id,
        definition: compiled.id(),
        plan: Arc::clone(compiled.plan()),
        input: Payload::with_decoded(json, Arc::new(input)),
        traceparent: caller.traceparent.clone(),
        start,
        actor: caller.actor.clone(),
    };
    Ok(NewSaga {
        identity: Arc::new(identity),
        input_digest,
    })
}

fn decode(
    expected: &MessageDescriptor,
    input: Option<start_saga_request::Input>,
) -> Result<DynamicMessage, Error> {
    let too_large = |field, found_bytes| Error::TooLarge {
        field,
        found_bytes,
        max_bytes: MAX_INPUT_BYTES,
    };
    match input {
        None => Err(Error::invalid("input", "is missing; give a message or json")),
        Some(start_saga_request::Input::Message(any)) => {
            let found = any.type_url.rsplit('/').next().unwrap_or_default();
            if found != expected.full_name() {
                return Err(Error::Input(format!(
                    "expected a {}, found a {found:?}",
                    expected.full_name()
                )));
            }
            if any.value.len() > MAX_INPUT_BYTES {
                return Err(too_large("message", any.value.len()));
            }
            DynamicMessage::decode(expected.clone(), any.value.as_slice())
                .map_err(|error| Error::Input(format!("not a {}: {error}", expected.full_name())))
        }
        Some(start_saga_request::Input::Json(text)) => {
            saga_definition::decode_json(expected, &text, MAX_INPUT_BYTES).map_err(|error| match error {
                JsonError::TooLarge { found_bytes, .. } => too_large("json", found_bytes),
                JsonError::Malformed { .. } | JsonError::Unwritable { .. } => Error::Input(error.to_string()),
            })
        }
    }
}

/// The definition may say where in the input the business id stands; the request may say it, too, if it says the same.
fn business_id(compiled: &Compiled, input: &DynamicMessage, given: String) -> Result<String, Error> {
    let from_input = compiled
        .definition()
        .business_id_of(input)
        .map_err(|error| Error::Input(error.to_string()))?;
    let chosen = match from_input {
        Some(own) if given.is_empty() => own,
        Some(own) if own == given => own,
        Some(own) => {
            let problem = format!("is {given:?}, but the input's own is {own:?}");
            return Err(Error::invalid("business_id", problem));
        }
        None => given,
    };
    let length = chosen.chars().take(MAX_BUSINESS_ID_CHARS + 1).count();
    if !(1..=MAX_BUSINESS_ID_CHARS).contains(&length) {
        let problem = format!("must have 1 to {MAX_BUSINESS_ID_CHARS} characters");
        return Err(Error::invalid("business_id", problem));
    }
    if chosen.chars().any(char::is_control) {
        return Err(Error::invalid(
            "business_id",
            "must hold printable characters only",
        ));
    }
    Ok(chosen)
}
