//! An orchestrator that can be killed, on a database of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use private_postgres::PrivatePostgres;
use tokio::process::Command;

use crate::certificates;
use crate::exit::Failure;
use crate::identity;
use crate::own::{NOT_INHERITED, Process, Scratch};
use crate::wiring::database;
use crate::wiring::settings::Name;

/// Settings of other processes on this machine begin with this; none of them is for the orchestrator of a test.
const SETTINGS: &str = "EVENKEEL_";

/// Who answers for a package, as the orchestrator is told.
#[derive(Debug, Clone)]
pub(super) struct Participant {
    pub(super) error_domain: String,
    pub(super) audience: Option<String>,
}

/// Database, keys and settings. It must be stopped with [`close`](Self::close).
pub(super) struct Ground {
    // Dropped in this order: the server lives in the directory.
    server: PrivatePostgres,
    keys: PathBuf,
    config: PathBuf,
    scratch: Scratch,
}

impl Ground {
    /// Starts a private Postgres with the orchestrator's schemas. Keys are made, unless some are given.
    ///
    /// # Errors
    /// There are no Postgres binaries, or the server does not start.
    pub(super) async fn open(keys: Option<PathBuf>) -> Result<Self, Failure> {
        let scratch = Scratch::new("saga-test")?;
        let keys = match keys {
            Some(keys) => identity::absolute(&keys),
            None => {
                identity::ensure(&scratch.keys())?;
                scratch.keys()
            }
        };
        let mut config = private_postgres::Config::new(scratch.path().join("postgres"));
        config.fsync = false;
        let server = PrivatePostgres::start(config)
            .await
            .map_err(|e| Failure::unavailable("cannot start a private Postgres").because(&e))?;
        let ground = Self {
            server,
            keys,
            config: scratch.path().join("participants.toml"),
            scratch,
        };
        match database::migrate(&ground.database(), &[Name::Saga]).await {
            Ok(()) => Ok(ground),
            Err(failure) => {
                ground.close().await;
                Err(failure)
            }
        }
    }

    /// URL of the database.
    pub(super) fn database(&self) -> String {
        self.server.url("postgres")
    }

    /// Directory of the keys.
    pub(super) fn keys(&self) -> PathBuf {
        self.keys.clone()
    }

    /// Writes the orchestrator's settings: these participants, who all answer at one place.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(super) fn configure(
        &self,
        url: &str,
        participants: &BTreeMap<String, Participant>,
        descriptors: &[u8],
    ) -> Result<(), Failure> {
        let failed = |e: &dyn std::error::Error| Failure::unavailable("cannot write settings").because(e);
        let types = self.scratch.path().join("types.binpb");
        std::fs::write(&types, descriptors).map_err(|e| failed(&e))?;
        let mut text = String::new();
        for (prefix, participant) in participants {
            // One of them brings the types of all.
            let first = text.is_empty();
            let Participant {
                error_domain,
                audience,
            } = participant;
            let _ = writeln!(
                text,
                "[saga.participants.{prefix:?}]\nurl = {url:?}\nerror_domain = {error_domain:?}"
            );
            if let Some(audience) = audience {
                let _ = writeln!(text, "audience = {audience:?}");
            }
            if first {
                let _ = writeln!(text, "descriptors = {types:?}");
            }
        }
        std::fs::write(&self.config, text).map_err(|e| failed(&e))
    }

    /// Starts the orchestrator. `port` 0 takes a free one.
    ///
    /// # Errors
    /// It ends before it listens.
    pub(super) async fn start(&self, port: u16) -> Result<Process, Failure> {
        let program = std::env::current_exe()
            .map_err(|e| Failure::unavailable("this program has no path").because(&e))?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(SETTINGS) {
                command.env_remove(name);
            }
        }
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        command
            .args(["serve", "saga", "--until-stdin-closes", "--instance", "saga-test"])
            .args([
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--admin-listen",
                "127.0.0.1:0",
            ])
            .arg("--config")
            .arg(&self.config)
            .envs(certificates::VARIABLES.map(|name| (name, "")))
            .env("DATABASE_URL", self.database())
            .env(identity::VARIABLE, &self.keys)
            .env("EVENKEEL_TELEMETRY__LEVEL", "error")
            // A minute between attempts that need attention is for people.
            .env("EVENKEEL_SAGA__ATTENTION_WAIT", "300ms");
        Process::of(command, "the orchestrator", true).await
    }

    /// Stops the server.
    pub(super) async fn close(self) {
        self.server.stop().await;
    }
}
