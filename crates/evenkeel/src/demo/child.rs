//! The orchestrator as a child process that can be killed and started again.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::certificates;
use crate::exit::Failure;
use crate::identity;
use crate::wiring::settings::{Name, Settings, local};

/// Name under which the orchestrator owns its sagas, the same after a restart.
const INSTANCE: &str = "demo";
/// Lines of its log that are shown when something went wrong.
const TAIL_LINES: usize = 15;
/// A child that was told to end gets this long before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// `evenkeel serve saga`, started from this very binary.
#[derive(Debug)]
pub(crate) struct Child {
    process: Option<tokio::process::Child>,
    address: SocketAddr,
    arguments: Vec<String>,
    database_url: String,
    keys: PathBuf,
    log: PathBuf,
}

impl Child {
    /// Starts the orchestrator for some participants. Its log goes to a file in `data_dir`.
    ///
    /// # Errors
    /// No free port, or the process cannot be started.
    pub(crate) fn start(
        settings: &Settings,
        steps: &[(Name, SocketAddr)],
        data_dir: &Path,
    ) -> Result<Self, Failure> {
        let address = match settings.listen.public(Name::Saga) {
            wanted if wanted.port() == 0 => free_port()?,
            wanted => wanted,
        };
        let mut arguments: Vec<String> = [
            "serve",
            "saga",
            "--until-stdin-closes",
            "--instance",
            INSTANCE,
            // The port beside it may be taken, and nobody watches it.
            "--admin-listen",
            "127.0.0.1:0",
        ]
        .into_iter()
        .map(str::to_owned)
        .collect();
        arguments.extend(["--listen".to_owned(), address.to_string()]);
        for (name, address) in steps {
            arguments.push("--participant".to_owned());
            arguments.push(format!("evenkeel.{}.v1=http://{address}", name.text()));
        }
        let mut child = Self {
            process: None,
            address,
            arguments,
            database_url: settings.database.url.clone(),
            keys: settings.identity.keys.clone(),
            log: data_dir.join("orchestrator.log"),
        };
        child.spawn()?;
        Ok(child)
    }

    /// URL of its API.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Starts the process again, as it was started first.
    ///
    /// # Errors
    /// The process cannot be started.
    pub(crate) fn spawn(&mut self) -> Result<(), Failure> {
        let failed =
            |error: std::io::Error| Failure::unavailable("cannot start the orchestrator").because(&error);
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(failed)?;
        let process = Command::new(std::env::current_exe().map_err(failed)?)
            .args(&self.arguments)
            .env("DATABASE_URL", &self.database_url)
            .env(identity::VARIABLE, &self.keys)
            .env_remove("EVENKEEL_SAGA_URL")
            // Empty is unset: the stories are plain, whatever certificate the operator has.
            .envs(certificates::VARIABLES.map(|name| (name, "")))
            // Ctrl-C at the terminal is for this process, which then ends the child.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        self.process = Some(process);
        Ok(())
    }

    /// Kills the process as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    /// It cannot be killed.
    pub(crate) async fn kill(&mut self) -> Result<u32, Failure> {
        let failed =
            |error: std::io::Error| Failure::unavailable("cannot kill the orchestrator").because(&error);
        let Some(mut process) = self.process.take() else {
            return Err(Failure::unavailable("the orchestrator is not running"));
        };
        let pid = process.id().unwrap_or_default();
        process.kill().await.map_err(failed)?;
        Ok(pid)
    }

    /// Ends the process and waits for it.
    pub(crate) async fn stop(mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        // It ends by itself when its standard input does.
        drop(process.stdin.take());
        if tokio::time::timeout(STOP_PATIENCE, process.wait()).await.is_err() {
            // Nothing is lost by killing it: that is what the story shows.
            let _ = process.kill().await;
        }
    }

    /// Last lines of its log.
    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

/// Finds a free port. Another process may take it before the child does; the child then says so and ends.
fn free_port() -> Result<SocketAddr, Failure> {
    TcpListener::bind(local(0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| Failure::unavailable("there is no free port").because(&error))
}
