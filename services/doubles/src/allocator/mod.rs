//! A double of whoever allocates devices: asked by events, answering by events.
//!
//! | event | meaning |
//! |---|---|
//! | takes `device.allocate.requested` `{orderId, userId, planId, timestamp}` | an order wants a device |
//! | sends `device.allocated` `{orderId, deviceId}` | it has this one, and will have it if it asks again |
//! | sends `device.allocate.failed` `{orderId, reason, message}` | it has none and never will |
//! | takes `device.release` `{orderId, deviceId, userId, reason, timestamp}` | it gives back what it has, or would have got |
//!
//! An answer carries the attributes `completiontoken`, `sagaid`, `sagastep`, `sagaindex` and `sagaop` of its request, by which
//! the orchestrator knows the operation (docs/adr/0012). Its data has no other fields, since the orchestrator refuses those
//! that the definition's message has not.
//!
//! | request | meaning |
//! |---|---|
//! | `PUT /_program` `[rule, ..]` | replaces the [programme](Rule) |
//! | `GET /_program` | shows what is left of the programme |
//! | `GET /_books` | shows the [books](Books) |
//! | `GET /_health` | answers `ok` |
//!
//! The books are in Postgres, in the transaction of the inbox and the outbox; the programme is in memory. The broker is
//! whichever the process has. It is for a database and a broker without a real device service: both would answer.
//!
//! Invariants:
//! * A device belongs to one order at most, and an order has one device at most.
//! * An order that was released, be it before it was asked for, never has a device again.
//! * An order that was answered gets the same answer again.

mod handle;
mod http;
mod program;
mod store;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use events::{Broker, Consumer, Relay};
use futures::FutureExt as _;
use sqlx::PgPool;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::program::{Behaviour, Operation, Rule, check};
pub use self::store::{Allocation, Books, State};

/// Schema of the books.
pub const SCHEMA: &str = "doubles";

/// Migrations of the schema.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/doubles");

/// Most devices there can be.
pub const MAX_DEVICES: i32 = 1_000_000;

const REQUESTED: &str = "device.allocate.requested";
const RELEASE: &str = "device.release";
const ALLOCATED: &str = "device.allocated";
const FAILED: &str = "device.allocate.failed";
const QUEUE: &str = "doubles.devices";

/// How an allocator begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Devices there are, 0 to [`MAX_DEVICES`]. Fewer than before: those above that are free are gone.
    pub devices: i32,
    /// The programme: there before the first event is taken.
    pub program: Vec<Rule>,
}

impl Default for Options {
    /// 100 devices, no programme.
    fn default() -> Self {
        Self {
            devices: 100,
            program: Vec::new(),
        }
    }
}

/// Why an allocator does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are to be too few devices, or too many.
    #[error("{0} devices are not 0 to {MAX_DEVICES}")]
    Devices(i32),
    /// The names are not usable.
    #[error("the queue cannot be used")]
    Events(#[from] events::Error),
    /// The books cannot be opened.
    #[error("the books cannot be opened")]
    Database(#[from] sqlx::Error),
}

/// A running allocator. It stops when this handle is dropped; what it had in hand is done again by the next one.
#[derive(Debug)]
pub struct Allocator {
    shared: Arc<Shared>,
    stop: DropGuard,
    token: CancellationToken,
    jobs: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    pool: PgPool,
    program: Mutex<Vec<Rule>>,
}

impl Shared {
    // Nothing panics while it holds the lock; if something did, the rules would still be readable.
    fn program(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.program.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the rule for an event. Its turn is used up, even if the database then fails and the event comes again.
    fn take(&self, on: Operation, order: &str) -> Rule {
        program::take(&mut self.program(), on, order)
    }
}

/// Starts an allocator on a broker. `pool` is on [`SCHEMA`], brought up to date by [`MIGRATOR`], with 2
/// connections at least. Several may run on the same books.
///
/// # Errors
/// [`Error`]. A broker that is down is waited for.
pub async fn start(broker: &Broker, pool: &PgPool, options: Options) -> Result<Allocator, Error> {
    if !(0..=MAX_DEVICES).contains(&options.devices) {
        return Err(Error::Devices(options.devices));
    }
    store::stock(pool, options.devices).await?;
    let shared = Arc::new(Shared {
        pool: pool.clone(),
        program: Mutex::new(options.program),
    });
    let relaying = broker.relay(Relay {
        service: "doubles",
        schema: SCHEMA,
        pool: pool.clone(),
        facts: &[],
    });
    let consumer = Consumer {
        queue: QUEUE,
        bindings: [REQUESTED, RELEASE]
            .map(|topic| topic.parse().expect("a topic is a pattern"))
            .into(),
        schema: SCHEMA,
        pool: pool.clone(),
    };
    let kept = Arc::clone(&shared);
    let consuming = broker.consumer(consumer, move |conn, received| {
        let shared = Arc::clone(&kept);
        async move { handle::apply(&shared, conn, received).await }.boxed()
    })?;
    let token = CancellationToken::new();
    let jobs = [relaying.job, consuming.job].map(|job| tokio::spawn((job.run)(token.clone())));
    Ok(Allocator {
        shared,
        stop: token.clone().drop_guard(),
        token,
        jobs: jobs.into(),
    })
}

impl Allocator {
    /// Answers [the requests](self) about programme and books on an address, until the allocator stops. Port 0 picks a free
    /// one; the real address is returned.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn listen(&mut self, addr: impl ToSocketAddrs) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let (router, stop) = (http::router(Arc::clone(&self.shared)), self.token.clone());
        self.jobs.push(tokio::spawn(async move {
            let served = tokio::select! {
                served = axum::serve(listener, router) => served,
                () = stop.cancelled() => Ok(()),
            };
            if let Err(error) = served {
                tracing::error!(%error, "the allocator of devices does not answer any more");
            }
        }));
        Ok(addr)
    }

    /// Replaces the programme.
    pub fn program(&self, rules: Vec<Rule>) {
        *self.shared.program() = rules;
    }

    /// Returns the books so far.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn books(&self) -> Result<Books, sqlx::Error> {
        store::books(&self.shared.pool).await
    }

    /// Stops, and waits for the work in hand: at most the broker's `handler_timeout`, or 15 s of the relay.
    pub async fn stop(self) {
        drop(self.stop);
        for job in self.jobs {
            if let Err(error) = job.await {
                tracing::error!(%error, "a part of the allocator of devices has panicked");
            }
        }
    }
}
