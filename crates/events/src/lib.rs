//! Facts and requests between services: outbox, relay, inbox; RabbitMQ or a Postgres queue behind one interface.
//!
//! A service writes an [`Event`] to its outbox in the transaction that makes it true ([`outbox::insert`]). The
//! [relay](Broker::relay) publishes it as a CloudEvent and marks it when the broker has confirmed it. A
//! [consumer](Broker::consumer) applies it in one transaction with its row in the inbox, and acknowledges it after the
//! commit. What cannot be applied becomes a [dead letter](dead), which a person sends back or drops.
//!
//! # What it is not
//! A log that can be read again from the beginning, or a way to ask and wait for an answer. It does not promise order
//! across partition keys, across replicas of a consumer, or after a redelivery.
//!
//! # Invariants
//! * A row is marked as published only after the broker has confirmed it. A crash in between publishes it twice; the
//!   inbox makes the second one harmless.
//! * A message that no queue takes stays in the outbox and is tried again, unless its topic is declared as a fact that
//!   nobody needs to take ([`Relay::facts`], docs/adr/0008).
//! * A message leaves a queue only after its effect, or its place among the dead letters, is durable.
//! * Nothing here is waited for by readiness: a broker that is down delays events and nothing else.
//! * Every buffer has a bound: rows a claim, messages prefetched, handlers at once, bytes a message.

mod broker;
mod cloudevent;
mod config;
mod consumer;
pub mod dead;
mod error;
mod event;
mod handler;
mod inbox;
mod keeper;
mod metric;
pub mod outbox;
mod pace;
mod postgres;
mod rabbit;
mod relay;
mod topic;

pub use broker::{Broker, Consumer, Consuming, Job, Relay, Relaying};
pub use cloudevent::{DecodeError, decode, encode};
pub use config::Config;
pub use consumer::Bindings;
pub use error::Error;
pub use event::{Event, Received};
pub use handler::{HandlerError, Outcome};
pub use relay::Wake;
pub use topic::{MAX_TOPIC_BYTES, Pattern, PatternError, check as check_topic};

/// Schema of the Postgres queue and of the dead letters.
pub const SCHEMA: &str = "events";

/// Migrations of the schema.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/events");

/// Largest message that is published or read, in bytes. Larger ones are refused by the outbox and dead-lettered by
/// consumers.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
