//! What a command starts for itself: processes, a directory, a database.

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Stdio;

use private_postgres::PrivatePostgres;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::certificates;
use crate::exit::Failure;
use crate::output;

/// Where other programs on this machine have theirs: what a command starts for itself uses its own, or none.
pub(crate) const NOT_INHERITED: [&str; 3] = ["AMQP_URL", "REDIS_URL", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// A process of the command's own. It ends when its standard input does, or when this is dropped.
pub(crate) struct Process {
    child: Child,
    _stdin: Option<ChildStdin>,
    url: String,
}

impl Process {
    /// Starts this binary with other arguments, and reads its address from the first line that has one.
    pub(crate) async fn start(
        args: &[&str],
        envs: &[(&str, &str)],
        on_stderr: bool,
    ) -> Result<Self, Failure> {
        let what = args.join(" ");
        let program = std::env::current_exe()
            .map_err(|e| Failure::unavailable(format!("cannot start {what}")).because(&e))?;
        let mut command = Command::new(program);
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        command
            .args(args)
            // Empty is unset: what is measured is plain, whatever certificate the operator has.
            .envs(certificates::VARIABLES.map(|name| (name, "")))
            .envs(envs.iter().copied());
        Self::of(command, &what, on_stderr).await
    }

    /// Starts a command, and reads its address from the first line that has one.
    ///
    /// # Errors
    /// It cannot be run, or ends before it listens.
    pub(crate) async fn of(mut command: Command, what: &str, on_stderr: bool) -> Result<Self, Failure> {
        let failed =
            |e: &dyn std::error::Error| Failure::unavailable(format!("cannot start {what}")).because(e);
        let (stdout, stderr) = if on_stderr {
            (Stdio::null(), Stdio::piped())
        } else {
            (Stdio::piped(), Stdio::inherit())
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed(&e))?;
        let address = match (child.stdout.take(), child.stderr.take()) {
            (Some(stdout), _) => address(stdout).await,
            (None, Some(stderr)) => address(stderr).await,
            (None, None) => None,
        };
        let address =
            address.ok_or_else(|| Failure::unavailable(format!("{what} ended before it listened")))?;
        Ok(Self {
            _stdin: child.stdin.take(),
            child,
            url: format!("http://{address}"),
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Ends the process without notice, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        // One that has ended by itself is as gone.
        let _ = self.child.kill().await;
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }
}

/// Reads lines until one ends in an address; goes on reading, so that the process never blocks on a full pipe.
async fn address(pipe: impl AsyncRead + Unpin + Send + 'static) -> Option<String> {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(address) = line
            .rsplit(' ')
            .next()
            .filter(|a| a.parse::<std::net::SocketAddr>().is_ok())
        {
            let address = address.to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Some(address);
        }
        output::remark(&line);
    }
    None
}

/// A directory of the command's own, removed at the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one; `what` is part of its name.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn new(what: &str) -> Result<Self, Failure> {
        let name = format!("evenkeel-{what}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Readable by all: as root, Postgres runs as another user and must reach its data through this directory.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&path)
            .map_err(|e| Failure::unavailable("cannot make a directory for the data").because(&e))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }

    /// Directory for the keys of services.
    pub(crate) fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's own directory for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts a private Postgres. What is measured is what production pays: every commit reaches the disk.
///
/// # Errors
/// There are no Postgres binaries, or the server does not start.
pub(crate) async fn postgres(scratch: &Scratch) -> Result<PrivatePostgres, Failure> {
    let mut config = private_postgres::Config::new(scratch.0.join("postgres"));
    config.fsync = true;
    config.settings.extend(server_settings());
    PrivatePostgres::start(config)
        .await
        .map_err(|e| Failure::unavailable("cannot start a private Postgres").because(&e))
}

/// Settings of a small production server, so that checkpoints are not forced by the default of 1 GB.
fn server_settings() -> Vec<(String, String)> {
    [
        ("shared_buffers", "512MB"),
        ("max_wal_size", "4GB"),
        ("synchronous_commit", "on"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}
