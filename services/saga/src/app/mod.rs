//! The operations of the API, one file each.

mod activate;
mod allowed;
mod ask_again;
mod audit;
mod cancel;
mod changed;
mod complete;
mod error;
mod get;
mod history;
mod list;
mod needs;
mod operate;
mod operations;
mod orders;
mod page;
mod peers;
mod read;
mod register;
mod replies;
mod reply;
mod start;
mod status;
mod types;
mod view;
mod wait;
mod why;

use std::sync::Arc;

use process::grpc::Permit;
use saga_engine::Handle;
use tokio_util::sync::CancellationToken;

use crate::definitions::Definitions;
use crate::journal::{Operators, Reader};
use crate::tokens::Tokens;

pub(crate) use error::Error;
pub(crate) use peers::{FORWARDED_HEADER, Peers};
pub(crate) use replies::{QUEUE as REPLIES, follow as follow_replies};

/// What every operation works with.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) engine: Handle,
    pub(crate) definitions: Arc<Definitions>,
    pub(crate) reader: Reader,
    pub(crate) operators: Operators,
    pub(crate) peers: Peers,
    pub(crate) tokens: Arc<Tokens>,
    /// Name of this instance.
    pub(crate) instance: Arc<str>,
    /// Cancelled when the process is to end: waits end early then.
    pub(crate) stopping: CancellationToken,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// A person or a service.
    pub(crate) actor: String,
    /// Whether the caller said who it is.
    pub(crate) named: bool,
    /// Trace context of the request.
    pub(crate) traceparent: Option<String>,
    /// Another instance passed the request on; it must not be passed on again.
    pub(crate) forwarded: bool,
    /// The request's place among those handled at once.
    pub(crate) permit: Option<Permit>,
}

impl Caller {
    /// Gives the place to the next request: this one is going to wait, and the engine bounds those that do.
    pub(crate) fn release(&self) {
        if let Some(permit) = &self.permit {
            permit.release();
        }
    }
}
