//! What is written to an outbox, and what a consumer gets.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

/// A message to be published, written in the transaction that makes it true.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Identity: whoever sees it twice applies it once.
    pub id: Uuid,
    /// Routing key, such as `quota.reserved`: lower-case words joined by dots, at most 200 bytes.
    pub topic: String,
    /// Events of one key keep their order, 1 to 200 bytes.
    pub key: String,
    /// Fields in lowerCamelCase.
    pub data: Value,
    /// W3C trace context of the work that made it true.
    pub traceparent: Option<String>,
    /// Extension attributes of the CloudEvent, such as `completiontoken`: names of 1 to 20 of `a-z0-9`.
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// Makes an event with a new id (UUIDv7) in the current trace.
    #[must_use]
    pub fn new(topic: impl Into<String>, key: impl Into<String>, data: Value) -> Self {
        Self {
            id: Uuid::now_v7(),
            topic: topic.into(),
            key: key.into(),
            data,
            traceparent: telemetry::trace::current_traceparent(),
            attributes: BTreeMap::new(),
        }
    }

    /// Adds an extension attribute.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }
}

/// A message that arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// Identity within `source`, 1 to 200 bytes.
    pub id: String,
    /// Who published it, such as `/evenkeel/quota`; 1 to 500 bytes.
    pub source: String,
    /// Routing key (`type` of the CloudEvent), 1 to 200 bytes.
    pub topic: String,
    /// Partition key.
    pub key: Option<String>,
    /// When it became true, by the publisher's clock.
    pub time: Option<DateTime<Utc>>,
    /// The data; null if there is none.
    pub data: Value,
    /// W3C trace context, as it was sent; it need not be valid.
    pub traceparent: Option<String>,
    /// All other attributes, as text.
    pub attributes: BTreeMap<String, String>,
}
