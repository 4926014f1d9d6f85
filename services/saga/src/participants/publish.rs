//! Steps that publish a message instead of calling a method.
//!
//! The message goes through the outbox of this service, so a broker that is away only delays it. A step that awaits an
//! event is asked again, by a new message, until its answer comes; each message has an id of its own that depends on
//! nothing but the operation and the number of the ask, so a repeated attempt does not publish twice. A step that awaits
//! nothing is done when its message is durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use events::outbox::{self, Error};
use events::{Event, Wake};
use ids::SagaId;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use saga_core::{Millis, Op, OpKey, Outcome, Payload};
use saga_engine::CallResult;
use serde_json::Value;
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use crate::SCHEMA;
use crate::participants::answer;

/// Namespace of the ids of published requests.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0d_3a52_8c1e_4b7d_9a44_51be_27c0_e98f);

/// Attributes that tell the responder which operation is asked for, as the metadata of a step call does.
const SAGA_ID: &str = "sagaid";
const STEP: &str = "sagastep";
const INDEX: &str = "sagaindex";
const OP: &str = "sagaop";
/// Attribute that the responder sends back with its answer.
pub(crate) const TOKEN: &str = "completiontoken";

/// Where requests are written, and who is told.
#[derive(Debug, Clone)]
pub struct Outbox {
    /// Pool in whose database the outbox is.
    pub pool: PgPool,
    /// The relay of this process, if it has one.
    pub wake: Option<Wake>,
}

/// A message that is to be published for an operation.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) saga: SagaId,
    pub(crate) key: OpKey,
    /// Name of the step.
    pub(crate) step: &'a str,
    pub(crate) routing_key: &'a str,
    /// The data, as proto-JSON.
    pub(crate) json: &'a str,
    pub(crate) traceparent: Option<&'a str>,
    /// What the answer is recognised by; absent if none is awaited.
    pub(crate) token: Option<String>,
    /// Pause before the request is published again, in milliseconds; absent if no answer is awaited.
    pub(crate) ask_again_ms: Option<u64>,
    /// Type of the reply; of one that is not awaited, an empty message.
    pub(crate) reply: &'a MessageDescriptor,
    /// Whether a definite "no" is an answer the saga can act on.
    pub(crate) refusable: bool,
}

/// Writes the request to the outbox; what comes back is what the engine understands.
pub(crate) async fn publish(outbox: &Outbox, request: &Request<'_>, now: Millis) -> CallResult {
    let data: Value = match serde_json::from_str(request.json) {
        Ok(data) => data,
        Err(error) => return answer::unmappable(&error.to_string(), request.refusable),
    };
    match write(&outbox.pool, request, &request.event(data, now)).await {
        Ok(()) => {
            if let Some(wake) = &outbox.wake {
                wake.now();
            }
        }
        Err(Error::Invalid { problem, .. }) => return answer::unmappable(&problem, request.refusable),
        Err(Error::Database(error)) => return away(&error, request.refusable),
    }
    match request.ask_again_ms {
        Some(ask_again_ms) => CallResult::Pending { ask_again_ms },
        None => {
            let nothing = Arc::new(DynamicMessage::new(request.reply.clone()));
            CallResult::Outcome(Outcome::Succeeded(Payload::with_decoded("{}", nothing)))
        }
    }
}

async fn write(pool: &PgPool, request: &Request<'_>, event: &Event) -> Result<(), Error> {
    let mut connection = pool.acquire().await?;
    // While an earlier ask still waits for the broker, another one would only wait behind it.
    let waits = request.ask_again_ms.is_some() && {
        sqlx::query_scalar(
            "select exists (
                select 1 from saga.outbox
                where key = $1 and published_at is null and topic = $2 and attributes @> $3
             )",
        )
        .bind(&event.key)
        .bind(&event.topic)
        .bind(Json(&event.attributes))
        .fetch_one(&mut *connection)
        .await?
    };
    if !waits {
        outbox::insert(&mut connection, SCHEMA, event).await?;
    }
    Ok(())
}

/// The database did not take it. Whether it did after all makes no difference: the same message has the same id.
fn away(error: &sqlx::Error, refusable: bool) -> CallResult {
    let code = error.as_database_error().and_then(|error| error.code());
    // Class 22: the text holds what the database cannot, such as NUL.
    if code.is_some_and(|code| code.starts_with("22")) {
        return answer::unmappable(&error.to_string(), refusable);
    }
    answer::outbox_away(&error.to_string())
}

impl Request<'_> {
    fn event(&self, data: Value, now: Millis) -> Event {
        let ask = self.ask_again_ms.map_or(0, |pause| ask_number(now, pause));
        let event = Event {
            id: id_of(self.saga, self.key, ask),
            topic: self.routing_key.to_owned(),
            // Action and compensation of a step stay in order; steps do not wait for each other.
            key: format!("{}/{}", self.saga, self.step),
            data,
            traceparent: self.traceparent.map(str::to_owned),
            attributes: BTreeMap::new(),
        };
        let event = event
            .with_attribute(SAGA_ID, self.saga.to_string())
            .with_attribute(STEP, self.step)
            .with_attribute(INDEX, self.key.index.to_string())
            .with_attribute(OP, op_name(self.key.op));
        match &self.token {
            Some(token) => event.with_attribute(TOKEN, token),
            None => event,
        }
    }
}

/// Numbers the asks by time: two that are `ask_again_ms` apart have different numbers, and a repetition right after a
/// crash has the same one.
fn ask_number(now: Millis, ask_again_ms: u64) -> u64 {
    u64::try_from(now.0).unwrap_or(0) / ask_again_ms.max(1)
}

/// Depends on the operation and the number of the ask only.
fn id_of(saga: SagaId, key: OpKey, ask: u64) -> Uuid {
    let name = format!("{saga}/{}/{}/{}/{ask}", key.step, key.index, op_name(key.op));
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

const fn op_name(op: Op) -> &'static str {
    match op {
        Op::Action => "action",
        Op::Compensation => "compensation",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(step: u16, op: Op) -> OpKey {
        OpKey { step, index: 0, op }
    }

    #[test]
    fn operations_have_messages_of_their_own() {
        let (one, two) = (SagaId::new(), SagaId::new());
        let ids = [
            id_of(one, key(0, Op::Action), 1),
            id_of(one, key(0, Op::Compensation), 1),
            id_of(one, key(1, Op::Action), 1),
            id_of(one, key(0, Op::Action), 2),
            id_of(two, key(0, Op::Action), 1),
        ];
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        assert_eq!(id_of(one, key(0, Op::Action), 1), ids[0]);
    }

    proptest! {
        #[test]
        fn asks_in_their_time_differ(now in 0i64..4_000_000_000_000, pause in 1u64..3_600_000) {
            let next = Millis(now).plus(pause);
            prop_assert_ne!(ask_number(Millis(now), pause), ask_number(next, pause));
        }
    }
}
