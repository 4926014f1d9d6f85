//! Answers published requests, by events on the queue in the test's own database.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use conformance::double::Doubles;
use conformance::filled;
use doubles::allocator;
use events::{Broker, Consumer, Event, HandlerError, Outcome, Received, Relay, outbox};
use futures::FutureExt as _;
use process::{PoolConfig, pool};
use prost_reflect::{DynamicMessage, MessageDescriptor};
use rpc::step::{Op, StepCall};
use saga_definition::{Await, Definition, Target};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::exit::Failure;

const SERVICE: &str = "double";
const QUEUE: &str = "double.requests";
/// Connections on the schema of inbox and outbox, and on the queue's.
const CONNECTIONS: u32 = 4;
/// Largest request, in bytes of JSON.
const MAX_JSON_BYTES: usize = 1024 * 1024;
/// Attributes of a request that come back with its answer.
const TOKEN: &str = "completiontoken";
const ECHOED: [&str; 5] = [TOKEN, "sagaid", "sagastep", "sagaindex", "sagaop"];

/// Whoever takes what is published. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Responder {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    doubles: Arc<Doubles>,
    /// By routing key.
    requests: BTreeMap<String, Request>,
    /// The step that is answered "no".
    refusing: Mutex<Option<String>>,
}

struct Request {
    message: MessageDescriptor,
    reply: MessageDescriptor,
    awaits: Option<Await>,
}

// A descriptor shows all that it refers to.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("message", &self.message.full_name())
            .field("awaits", &self.awaits)
            .finish_non_exhaustive()
    }
}

impl Responder {
    /// Starts to answer what the definition publishes; `None` if that is nothing.
    ///
    /// # Errors
    /// The database does not answer.
    pub(super) async fn start(
        url: &str,
        definition: &Definition,
        doubles: Arc<Doubles>,
    ) -> Result<Option<Self>, Failure> {
        let requests = requests(definition);
        if requests.is_empty() {
            return Ok(None);
        }
        let failed = |e: &dyn std::error::Error| {
            Failure::unavailable("published requests cannot be answered").because(e)
        };
        process::migrate::run(url, allocator::SCHEMA, &allocator::MIGRATOR)
            .await
            .map_err(|e| failed(&e))?;
        let config = PoolConfig {
            url: url.to_owned(),
            min: 0,
            max: CONNECTIONS,
            ..PoolConfig::default()
        };
        let queue = pool::connect("events", events::SCHEMA, &config).await;
        let broker = Broker::new(events::Config::default(), queue.map_err(|e| failed(&e))?);
        let broker = broker.map_err(|e| failed(&e))?;
        let pool = pool::connect("doubles", allocator::SCHEMA, &config).await;
        let pool = pool.map_err(|e| failed(&e))?;
        let relaying = broker.relay(Relay {
            service: SERVICE,
            schema: allocator::SCHEMA,
            pool: pool.clone(),
            facts: &[],
        });
        let consumer = Consumer {
            queue: QUEUE,
            bindings: requests.keys().filter_map(|key| key.parse().ok()).collect(),
            schema: allocator::SCHEMA,
            pool,
        };
        let shared = Arc::new(Shared {
            doubles,
            requests,
            refusing: Mutex::default(),
        });
        let kept = Arc::clone(&shared);
        let consuming = broker.consumer(consumer, move |conn, received| {
            let shared = Arc::clone(&kept);
            async move { shared.apply(conn, received).await }.boxed()
        });
        let consuming = consuming.map_err(|e| failed(&e))?;
        let stop = CancellationToken::new();
        for job in [relaying.job, consuming.job] {
            tokio::spawn((job.run)(stop.clone()));
        }
        Ok(Some(Self {
            shared,
            _stop: stop.drop_guard(),
        }))
    }

    /// Answers this step's action "no" from now on; `None` nobody's.
    pub(super) fn refuse(&self, step: Option<&str>) {
        let mut refusing = self
            .shared
            .refusing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *refusing = step.map(str::to_owned);
    }
}

fn requests(definition: &Definition) -> BTreeMap<String, Request> {
    let published = definition.calls().filter_map(|call| match call.target() {
        Target::Method { .. } => None,
        Target::Publish { routing_key } => Some((
            routing_key.clone(),
            Request {
                message: call.request_type().clone(),
                reply: call.reply_type().clone(),
                awaits: call.awaits().cloned(),
            },
        )),
    });
    published.collect()
}

impl Shared {
    async fn apply(&self, conn: &mut PgConnection, received: &Received) -> Outcome {
        let dead = |problem: String| HandlerError::Dead(problem);
        let request = self.requests.get(&received.topic);
        let request = request.ok_or_else(|| dead(format!("nobody asked for {}", received.topic)))?;
        let call = call(received).ok_or_else(|| dead("the saga's attributes are missing".to_owned()))?;
        let data = received.data.to_string();
        let message = saga_definition::decode_json(&request.message, &data, MAX_JSON_BYTES)
            .map_err(|error| dead(error.to_string()))?;
        let answer = match &request.awaits {
            Some(Await::Reply {
                failed: Some(topic), ..
            }) if self.refuses(&call) => Some((
                topic,
                json!({ "reason": "REFUSED", "message": "as the test asked for" }),
            )),
            awaits => {
                let reply = filled(&request.reply, &call.step.to_lowercase());
                let answered = self.doubles.published(&call, &message, &reply);
                match awaits {
                    Some(Await::Reply { routing_key, .. }) if answered => {
                        Some((routing_key, written(&reply)?))
                    }
                    Some(Await::Reply { .. } | Await::Token) | None => None,
                }
            }
        };
        let Some((topic, data)) = answer else {
            return Ok(());
        };
        let mut event = Event::new(topic, format!("{}/{}", call.saga_id, call.step), data);
        for name in ECHOED {
            if let Some(value) = received.attributes.get(name) {
                event = event.with_attribute(name, value);
            }
        }
        match outbox::insert(conn, allocator::SCHEMA, &event).await {
            Ok(_) => Ok(()),
            Err(outbox::Error::Database(error)) => Err(error.into()),
            Err(error @ outbox::Error::Invalid { .. }) => Err(dead(error.to_string())),
        }
    }

    fn refuses(&self, call: &StepCall) -> bool {
        let refusing = self.refusing.lock().unwrap_or_else(PoisonError::into_inner);
        call.op == Op::Action && refusing.as_deref() == Some(call.step.as_str())
    }
}

fn written(reply: &DynamicMessage) -> Result<Value, HandlerError> {
    let json = saga_definition::encode_json(reply).map_err(|error| HandlerError::Dead(error.to_string()))?;
    serde_json::from_str(&json).map_err(|error| HandlerError::Dead(error.to_string()))
}

fn call(received: &Received) -> Option<StepCall> {
    let attribute = |name: &str| received.attributes.get(name);
    let op: Op = attribute("sagaop")?.parse().ok()?;
    Some(StepCall {
        saga_id: attribute("sagaid")?.parse().ok()?,
        step: attribute("sagastep")?.clone(),
        index: attribute("sagaindex")?.parse().ok()?,
        op,
        attempt: 1,
        epoch: 0,
        refusable: op == Op::Action,
    })
}
