//! RabbitMQ: connections and topology. Quorum queues on one topic exchange; what a queue gives up on goes, at least once,
//! to the quorum queue of the dead.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::sync::Mutex;

use crate::consumer::DELIVERY_LIMIT;
use crate::{Error, Pattern};

mod consume;
mod publish;

pub(crate) use consume::{DeadSource, Message, Source};
pub(crate) use publish::Publisher;

/// Where events are published.
pub(crate) const EXCHANGE: &str = "evenkeel.events";
/// Where dead letters go, and the queue that holds them until a keeper has written them down.
pub(crate) const DEAD: &str = "evenkeel.dead";
/// Longest wait for an answer of the broker.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Silence after which a connection counts as lost is twice this, in seconds, unless the URL says something else.
const HEARTBEAT_SECONDS: u16 = 10;

/// What a connection is for. A broker short of memory stops reading from publishers; consumers must go on meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    Publish,
    Consume,
}

/// The broker, and at most one connection for each role.
#[derive(Debug)]
pub(crate) struct Rabbit {
    uri: AMQPUri,
    publishing: Mutex<Option<Arc<Connection>>>,
    consuming: Mutex<Option<Arc<Connection>>>,
}

/// A channel with the connection it lives on: a connection that nobody holds is closed.
pub(crate) struct Open {
    pub(crate) channel: Channel,
    connection: Arc<Connection>,
}

impl Open {
    pub(crate) fn is_usable(&self) -> bool {
        self.channel.status().connected() && self.connection.status().connected()
    }

    /// The broker does not read from publishers at the moment: it is short of memory or disk.
    pub(crate) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }
}

impl Rabbit {
    /// Reads the URL. Its text is not shown in the error: it may hold a password.
    pub(crate) fn new(url: &str) -> Result<Self, Error> {
        let mut uri: AMQPUri = url.parse().map_err(|_| {
            Error::Config("the URL is not of the form amqp://user:password@host:port/vhost".to_owned())
        })?;
        // `amqp://host/` names a virtual host without a name, which nobody has; people mean the default one.
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        Ok(Self {
            uri,
            publishing: Mutex::default(),
            consuming: Mutex::default(),
        })
    }

    /// Opens a channel, on a new connection if there is none.
    pub(crate) async fn open(&self, role: Role) -> Result<Open, Error> {
        let mut slot = match role {
            Role::Publish => self.publishing.lock().await,
            Role::Consume => self.consuming.lock().await,
        };
        let connection = match slot.as_ref().filter(|connection| connection.status().connected()) {
            Some(connection) => Arc::clone(connection),
            None => {
                // The old one is given up first: it may still wait for a broker that is gone.
                *slot = None;
                let connection = Arc::new(in_time(self.connect(role)).await?);
                *slot = Some(Arc::clone(&connection));
                connection
            }
        };
        match in_time(connection.create_channel()).await {
            Ok(channel) => Ok(Open { channel, connection }),
            Err(error) => {
                *slot = None;
                Err(error)
            }
        }
    }

    async fn connect(&self, role: Role) -> Result<Connection, lapin::Error> {
        let name = match role {
            Role::Publish => "evenkeel publishing",
            Role::Consume => "evenkeel consuming",
        };
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connection = Connection::connect_uri(self.uri.clone(), properties).await?;
        let channel = connection.create_channel().await?;
        declare_common(&channel).await?;
        Ok(connection)
    }
}

/// Bounds the wait for the broker.
pub(crate) async fn in_time<T>(work: impl Future<Output = Result<T, lapin::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Error::Slow(PATIENCE.as_secs())),
    }
}

/// Exchanges, and the queue of the dead. Declaring what is there already changes nothing.
async fn declare_common(channel: &Channel) -> Result<(), lapin::Error> {
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    for (exchange, kind) in [(EXCHANGE, ExchangeKind::Topic), (DEAD, ExchangeKind::Fanout)] {
        channel
            .exchange_declare(exchange.into(), kind, durable, FieldTable::default())
            .await?;
    }
    declare_queue(channel, DEAD, &[]).await?;
    bind(channel, DEAD, DEAD, "").await
}

/// Declares a queue of a consumer and lets it take `wanted` as well.
pub(crate) async fn declare(
    channel: &Channel,
    queue: &str,
    wanted: &BTreeSet<Pattern>,
) -> Result<(), lapin::Error> {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let arguments = [
        (
            "x-delivery-limit",
            AMQPValue::LongInt(i32::try_from(DELIVERY_LIMIT).unwrap_or(i32::MAX)),
        ),
        ("x-dead-letter-exchange", text(DEAD)),
        // The dead are told apart by the queue they come from.
        ("x-dead-letter-routing-key", text(queue)),
        ("x-dead-letter-strategy", text("at-least-once")),
        // Without it, the strategy is at-most-once.
        ("x-overflow", text("reject-publish")),
    ];
    declare_queue(channel, queue, &arguments).await?;
    for pattern in wanted {
        bind(channel, queue, EXCHANGE, pattern.as_str()).await?;
    }
    Ok(())
}

async fn declare_queue(
    channel: &Channel,
    name: &str,
    more: &[(&str, AMQPValue)],
) -> Result<(), lapin::Error> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    for (name, value) in more {
        arguments.insert(ShortString::from(*name), value.clone());
    }
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel.queue_declare(name.into(), durable, arguments).await?;
    Ok(())
}

pub(crate) async fn bind(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
) -> Result<(), lapin::Error> {
    channel
        .queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
}

pub(crate) async fn unbind(channel: &Channel, queue: &str, key: &str) -> Result<(), lapin::Error> {
    channel
        .queue_unbind(queue.into(), EXCHANGE.into(), key.into(), FieldTable::default())
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_a_wrong_one_is_not_shown() {
        let rabbit = Rabbit::new("amqp://u:p@host:5672/").unwrap();
        assert_eq!(rabbit.uri.vhost, "/");
        assert_eq!(rabbit.uri.query.heartbeat, Some(HEARTBEAT_SECONDS));
        assert_eq!(
            Rabbit::new("amqp://host/prod?heartbeat=3")
                .unwrap()
                .uri
                .query
                .heartbeat,
            Some(3)
        );
        let text = Rabbit::new("http://u:secret@host").unwrap_err().to_string();
        assert!(!text.contains("secret"), "{text}");
    }
}
