//! Starts and stops a private Postgres server for development and tests. Linux.
//!
//! What it is not: an installer, and not a way to run Postgres in production. It uses server binaries that are already
//! on the machine and says exactly what to run when there are none.
//!
//! Invariants:
//! - The server ends when the process that started it ends, for any reason, `SIGKILL` included: a `/bin/sh` watchdog
//!   holds the read end of a pipe whose write end only the starting process has, and passes end-of-file on as a fast
//!   shutdown.
//! - One owner per data directory: the owner holds a file lock. A second start while the owner lives uses the owner's
//!   server; a start after the owner's death first ends what is left of its server.
//! - The server listens on 127.0.0.1 only and has no unix socket, so the path length limit of sockets does not apply.
//!   Authentication is `trust`: **every local user of the machine can connect as superuser.**
//! - As root the server runs as user `postgres`, else `nobody`; the data directory then belongs to that user.
//!
//! Layout of the data directory: `cluster/` (the server's own directory), `server.log`, `server.log.old`, `lock`.

mod account;
mod binaries;
mod cluster;
mod error;
mod server;

use std::path::PathBuf;

pub use binaries::Binaries;
pub use error::Error;
pub use server::PrivatePostgres;

/// Name of the superuser of every private server.
pub const SUPERUSER: &str = "evenkeel";

/// Describes one private server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of the server. Created if absent. As root every parent directory must be searchable by the user the
    /// server runs as.
    pub data_dir: PathBuf,
    /// TCP port on 127.0.0.1; `None` takes a free one.
    pub port: Option<u16>,
    /// Whether commits reach the disk. `false` also turns off `full_page_writes`: fast; commits survive `SIGKILL` of the
    /// server, but a crash of the machine may destroy the data.
    pub fsync: bool,
    /// Connections the server accepts, 1 to 10,000.
    pub max_connections: u16,
    /// Further server settings, `name` and `value`. They win over the ones above.
    pub settings: Vec<(String, String)>,
}

impl Config {
    /// Returns a durable server on a free port with 200 connections.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            port: None,
            fsync: true,
            max_connections: 200,
            settings: Vec::new(),
        }
    }
}
