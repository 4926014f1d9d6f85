//! Starts, probes and stops the server.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection};

use crate::cluster::{Cluster, Postmaster, to_pid};
use crate::{Binaries, Config, Error, SUPERUSER};

/// How long a start may take; recovery after a crash of a large database is the slow case.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long a fast shutdown may take before the server is told to quit at once.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// How often a free port is chosen again when another process took it in between.
const PORT_ATTEMPTS: u32 = 5;
const POLL: Duration = Duration::from_millis(10);

/// Runs the server ("$@") and ends it when stdin reaches end-of-file, that is when the process that started us is gone.
/// The pipe is moved to descriptor 3 because sh gives background commands an empty stdin. `read` returns only at
/// end-of-file: nothing is ever written.
const WATCHDOG: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
{ read -r _ <&3; kill -INT "$server"; } &
dog=$!
wait "$server"
code=$?
kill "$dog" 2>/dev/null
exit "$code"
"#;

/// A running private server. Dropping it stops the server if this value started it; the drop then blocks, as a rule
/// for 0.1 s and at most for 25 s.
#[derive(Debug)]
pub struct PrivatePostgres {
    port: u16,
    pid: u32,
    cluster: Cluster,
    owned: Option<Owned>,
}

/// What the process that started the server holds. The lock is released last.
#[derive(Debug)]
struct Owned {
    watchdog: Child,
    _lock: File,
}

impl PrivatePostgres {
    /// Starts the server and waits until it answers. If the data directory is empty it is initialised (0.4 to 1.2 s).
    /// If a living process already runs a server there, that server is used as it is, whatever `config` says, and
    /// stays when this value is dropped. What a dead process left is ended first.
    ///
    /// # Errors
    /// No binaries, an unreachable directory, a server that does not start or answer within 60 s.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let found = Binaries::find_all()?;
        let cluster = Cluster::prepare(&config.data_dir)?;
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if let Some(lock) = cluster.try_lock()? {
                return start_owned(cluster, lock, found, &config, deadline).await;
            }
            if let Some(postmaster) = cluster.postmaster().filter(|p| p.ready)
                && answers(postmaster.port, &cluster.dir()).await
            {
                let Postmaster { pid, port, .. } = postmaster;
                return Ok(Self {
                    port,
                    pid,
                    cluster,
                    owned: None,
                });
            }
            if Instant::now() > deadline {
                return Err(Error::InUse {
                    data_dir: config.data_dir,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Returns the connection URL of `database` as superuser.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://{SUPERUSER}@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        )
    }

    /// Returns the connection URL of the database `postgres`, which always exists.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.url("postgres")
    }

    /// Returns the TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the process id of the postmaster.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Says whether the server was started by another living process (or value) and is only used here.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.owned.is_none()
    }

    /// Stops the server by a fast shutdown (open transactions are rolled back) and waits for its end. Does nothing if
    /// the server belongs to somebody else.
    pub async fn stop(mut self) {
        let Some(mut owned) = self.owned.take() else {
            return;
        };
        // The waiting may take seconds, so it must not hold a runtime thread.
        let stopped = tokio::task::spawn_blocking(move || owned.stop(&self.cluster, self.pid)).await;
        if let Err(error) = stopped {
            tracing::error!(%error, "stopping the private Postgres server panicked");
        }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if let Some(owned) = &mut self.owned {
            owned.stop(&self.cluster, self.pid);
        }
    }
}

impl Owned {
    fn stop(&mut self, cluster: &Cluster, pid: u32) {
        drop(self.watchdog.stdin.take());
        for (patience, signal) in [
            (STOP_DEADLINE, Signal::QUIT),
            (Duration::from_secs(4), Signal::KILL),
            (Duration::from_secs(1), Signal::KILL),
        ] {
            let deadline = Instant::now() + patience;
            while Instant::now() < deadline {
                if !matches!(self.watchdog.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(POLL);
            }
            tracing::warn!(
                pid,
                ?signal,
                "the private Postgres server does not stop; sending a stronger signal"
            );
            signal_postmaster(cluster, pid, signal);
        }
    }
}

async fn start_owned(
    cluster: Cluster,
    lock: File,
    found: Vec<Binaries>,
    config: &Config,
    deadline: Instant,
) -> Result<PrivatePostgres, Error> {
    end_orphan(&cluster, deadline).await?;
    let binaries = cluster.choose(found)?;
    if let Some(account) = &cluster.account {
        account.check_reach(&binaries.postgres())?;
    }
    let (target, tools, fsync) = (cluster.clone(), binaries.clone(), config.fsync);
    tokio::task::spawn_blocking(move || target.init(&tools, fsync))
        .await
        .expect("initdb does not panic")?;

    let mut port_attempts = 0;
    loop {
        let port = match config.port {
            Some(port) => port,
            None => free_port()?,
        };
        // Dropping the child closes its stdin, so every early return ends the server.
        let mut watchdog = spawn(&cluster, &binaries, config, port)?;
        let tail = match wait_ready(&cluster, &mut watchdog, port, deadline).await? {
            Start::Ready { pid } => {
                let owned = Some(Owned {
                    watchdog,
                    _lock: lock,
                });
                return Ok(PrivatePostgres {
                    port,
                    pid,
                    cluster,
                    owned,
                });
            }
            Start::Ended { tail } => tail,
        };
        let port_taken = tail.contains("could not bind") && config.port.is_none();
        port_attempts += u32::from(port_taken);
        // Back ends of a killed postmaster take a moment to notice; their shared memory blocks the new server.
        let leftovers = tail.contains("pre-existing shared memory block");
        if !(leftovers || port_taken && port_attempts < PORT_ATTEMPTS) || Instant::now() > deadline {
            return Err(Error::Start {
                log: cluster.log(),
                tail,
            });
        }
        tokio::time::sleep(POLL * 5).await;
    }
}

/// How an attempt to start went.
enum Start {
    Ready { pid: u32 },
    Ended { tail: String },
}

async fn wait_ready(
    cluster: &Cluster,
    watchdog: &mut Child,
    port: u16,
    deadline: Instant,
) -> Result<Start, Error> {
    loop {
        if watchdog
            .try_wait()
            .map_err(Error::io("wait for", Path::new("/bin/sh")))?
            .is_some()
        {
            return Ok(Start::Ended {
                tail: cluster.log_tail(),
            });
        }
        if let Some(postmaster) = cluster.postmaster().filter(|p| p.ready && p.port == port)
            && answers(port, &cluster.dir()).await
        {
            return Ok(Start::Ready { pid: postmaster.pid });
        }
        if Instant::now() > deadline {
            let (seconds, log) = (START_DEADLINE.as_secs(), cluster.log());
            return Err(Error::NotReady {
                seconds,
                log,
                tail: cluster.log_tail(),
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Ends the server of an owner that is dead. Its watchdog is doing so already unless it was killed, too.
async fn end_orphan(cluster: &Cluster, deadline: Instant) -> Result<(), Error> {
    let Some(orphan) = cluster.postmaster() else {
        return Ok(());
    };
    tracing::info!(
        pid = orphan.pid,
        "ending the private Postgres server of a process that is gone"
    );
    signal_postmaster(cluster, orphan.pid, Signal::INT);
    while cluster.is_ours(orphan.pid) {
        if Instant::now() > deadline {
            return Err(Error::InUse {
                data_dir: cluster.home().to_path_buf(),
            });
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Signals the postmaster if the process with that id is still the server of this directory.
fn signal_postmaster(cluster: &Cluster, pid: u32, signal: Signal) {
    if cluster.is_ours(pid)
        && let Some(pid) = to_pid(pid)
        && let Err(error) = kill_process(pid, signal)
    {
        tracing::warn!(%error, "cannot signal the private Postgres server");
    }
}

fn spawn(cluster: &Cluster, binaries: &Binaries, config: &Config, port: u16) -> Result<Child, Error> {
    let log = cluster.fresh_log()?;
    let log_for_stderr = log.try_clone().map_err(Error::io("share", &cluster.log()))?;
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", WATCHDOG, "private-postgres"])
        .arg(binaries.postgres())
        .arg("-D")
        .arg(cluster.dir())
        .args(settings(config, port).iter().flat_map(|setting| ["-c", setting]))
        .current_dir(cluster.home())
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(log_for_stderr)
        // Ctrl-C in the terminal reaches only us; we then stop the server in order.
        .process_group(0);
    if let Some(account) = &cluster.account {
        account.apply(&mut command);
    }
    command.spawn().map_err(Error::io("run", Path::new("/bin/sh")))
}

fn settings(config: &Config, port: u16) -> Vec<String> {
    let mut settings = vec![
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        format!("max_connections={}", config.max_connections),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
    ];
    if !config.fsync {
        // synchronous_commit stays on: it costs little here, and without it a killed server forgets commits.
        settings.extend(["fsync=off", "full_page_writes=off"].map(str::to_owned));
    }
    settings.extend(
        config
            .settings
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    settings
}

fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .map_err(Error::io("find a free port on", Path::new("127.0.0.1")))?;
    let address = listener
        .local_addr()
        .map_err(Error::io("find a free port on", Path::new("127.0.0.1")))?;
    Ok(address.port())
}

/// Says whether a server of data directory `dir` answers on `port`.
async fn answers(port: u16, dir: &Path) -> bool {
    let probe = async {
        let mut connection = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(port)
            .username(SUPERUSER)
            .database("postgres")
            .ssl_mode(PgSslMode::Disable)
            .connect()
            .await?;
        let (found,): (String,) = sqlx::query_as("select current_setting('data_directory')")
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(found)
    };
    matches!(tokio::time::timeout(Duration::from_secs(5), probe).await, Ok(Ok(found)) if Path::new(&found) == dir)
}
