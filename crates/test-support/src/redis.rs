//! A Redis for tests: one shared by all tests, each with a database of its own, or one that a test may kill.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::OnceCell;

use crate::{Scratch, eventually, free_port};

/// Environment variable that names the server to use: `redis://127.0.0.1:PORT`, without a password, with 4,096 databases.
/// `with-services` sets it.
pub const REDIS_VARIABLE: &str = "EVENKEEL_TEST_REDIS";

/// Databases of a server. Number 0 counts which were given away; after the last one they are emptied and used again.
const DATABASES: u32 = 4096;
const PROGRAM: &str = "redis-server";
const START_DEADLINE: Duration = Duration::from_secs(30);
const STOP_DEADLINE: Duration = Duration::from_secs(30);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the server ("$@") in a process group of its own and ends the group when stdin reaches end-of-file, that is when the
/// process that started us is gone. `$1` is the file that keeps the group's number while the server runs.
const WATCHDOG: &str = r#"
group=$1; shift
exec 3<&0 </dev/null
setsid "$@" 3<&- &
server=$!
echo "$server" > "$group"
{ read -r _ <&3; kill -KILL "-$server"; } 2>/dev/null &
dog=$!
wait "$server"
code=$?
rm -f "$group"
kill -KILL "$dog" 2>/dev/null
exit "$code"
"#;

/// The server of this test process, if none was named. Statics are not dropped: its watchdog ends it with the process.
static PRIVATE: OnceCell<PrivateRedis> = OnceCell::const_new();

/// A Redis of our own, without persistence: it is empty after every start. It ends with this value, or with this process.
#[derive(Debug)]
pub struct PrivateRedis {
    port: u16,
    watchdog: Option<Child>,
    scratch: Scratch,
}

impl PrivateRedis {
    /// Starts a server on a free port of 127.0.0.1 and waits until it answers: some 30 ms.
    ///
    /// # Panics
    /// If there is no `redis-server` on the PATH, or it does not answer within 30 s.
    pub async fn start() -> Self {
        let mut redis = Self {
            port: free_port(),
            watchdog: None,
            scratch: Scratch::new().expect("a directory can be made in the temporary directory"),
        };
        redis.restart().await;
        redis
    }

    /// Returns the URL of the server, without a database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills the server as a power cut does.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    /// Stops the server in order.
    ///
    /// # Panics
    /// If it does not run, or does not end within 30 s.
    pub async fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.ended().await;
    }

    /// Stops the server's clock, as it were: connections stay, and nothing is answered until [`resume`](Self::resume).
    ///
    /// # Panics
    /// If it does not run.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets the server go on.
    ///
    /// # Panics
    /// If it does not run.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Starts the server again after [`kill`](Self::kill) or [`stop`](Self::stop), on the same port, empty.
    ///
    /// # Panics
    /// If it runs already, or does not answer within 30 s.
    pub async fn restart(&mut self) {
        assert!(self.watchdog.is_none(), "the server runs already");
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", WATCHDOG, "redis-watchdog"])
            .arg(self.group_file())
            .args([PROGRAM, "--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args([
                "--databases",
                &DATABASES.to_string(),
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .arg("--dir")
            .arg(self.scratch.path())
            .current_dir(self.scratch.path())
            .stdin(Stdio::piped())
            // A test runner waits for everybody who holds its stdout.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for us; the server ends after us.
            .process_group(0);
        self.watchdog = Some(command.spawn().expect("/bin/sh runs"));
        let address = address(&self.url());
        let watchdog = &mut self.watchdog;
        eventually(START_DEADLINE, || {
            let child = watchdog.as_mut().expect("it was started above");
            let ended = child.try_wait().expect("a child can be waited for");
            assert!(
                ended.is_none(),
                "{PROGRAM} ended at once ({ended:?}): run deploy/ensure-redis.sh"
            );
            async move { blocking(address, vec!["PING".to_owned()]).await }
        })
        .await;
    }

    fn group_file(&self) -> PathBuf {
        self.scratch.path().join("redis-group")
    }

    fn signal(&self, signal: Signal) {
        let text = fs::read_to_string(self.group_file()).expect("the server runs");
        let group = text.trim().parse().ok().and_then(Pid::from_raw);
        let group = group.expect("the watchdog wrote the group's number");
        kill_process_group(group, signal).expect("the server is ours");
    }

    async fn ended(&mut self) {
        let mut watchdog = self.watchdog.take().expect("the server runs");
        eventually(STOP_DEADLINE, || {
            let ended = watchdog.try_wait().expect("a child can be waited for").is_some();
            async move { ended }
        })
        .await;
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            // The end of its stdin ends the server, and then it.
            drop(watchdog.stdin.take());
            // An error means that it has ended already.
            let _ = watchdog.wait();
        }
    }
}

/// Says whether there is a `redis-server` on the PATH.
#[must_use]
pub fn has_redis_binary() -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(PROGRAM).is_file()))
}

/// An empty database of its own for one test, on the server that [`REDIS_VARIABLE`] names, or on a private one that is
/// started once for each test process. Emptied when this value is dropped.
#[derive(Debug)]
pub struct TestRedis {
    server: String,
    number: u32,
}

impl TestRedis {
    /// Takes a database.
    ///
    /// # Panics
    /// If there is no server, or it does not do as it is told.
    pub async fn create() -> Self {
        let named = std::env::var(REDIS_VARIABLE).ok().filter(|url| !url.is_empty());
        let server = match named {
            Some(url) => url,
            None => PRIVATE.get_or_init(PrivateRedis::start).await.url(),
        };
        let server = server.trim_end_matches('/').to_owned();
        let count = blocking(address(&server), vec!["INCR evenkeel:test:databases".to_owned()])
            .await
            .unwrap_or_else(|error| panic!("{server}: {error}"));
        let count: u32 = count.trim_start_matches(':').parse().expect("Redis counts");
        let redis = Self {
            server,
            number: 1 + count % (DATABASES - 1),
        };
        redis.flush().await;
        redis
    }

    /// Returns the URL of the database: `redis://127.0.0.1:PORT/NUMBER`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/{}", self.server, self.number)
    }

    /// Empties the database, as a restart without persistence does.
    ///
    /// # Panics
    /// If the server does not do as it is told.
    pub async fn flush(&self) {
        blocking(address(&self.server), self.flushing())
            .await
            .unwrap_or_else(|error| panic!("{}: {error} (it needs {DATABASES} databases)", self.url()));
    }

    fn flushing(&self) -> Vec<String> {
        vec![format!("SELECT {}", self.number), "FLUSHDB".to_owned()]
    }
}

impl Drop for TestRedis {
    /// Only a best effort: the server may be gone.
    fn drop(&mut self) {
        if let Err(error) = ask(address(&self.server), &self.flushing()) {
            eprintln!("{} was not emptied: {error}", self.url());
        }
    }
}

/// Reads `redis://ADDRESS:PORT`.
fn address(url: &str) -> SocketAddr {
    url.strip_prefix("redis://")
        .and_then(|address| address.parse().ok())
        .unwrap_or_else(|| panic!("{url} is not redis://ADDRESS:PORT"))
}

async fn blocking(address: SocketAddr, commands: Vec<String>) -> Result<String, String> {
    let asked = tokio::task::spawn_blocking(move || ask(address, &commands));
    asked.await.map_err(|error| error.to_string())?
}

/// Sends commands that are answered with one line each, and returns the last line.
fn ask(address: SocketAddr, commands: &[String]) -> Result<String, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT).map_err(text)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(text)?;
    let mut lines = BufReader::new(stream.try_clone().map_err(text)?).lines();
    let mut last = String::new();
    for command in commands {
        stream
            .write_all(format!("{command}\r\n").as_bytes())
            .map_err(text)?;
        last = lines.next().ok_or("no answer")?.map_err(text)?;
        if last.starts_with('-') {
            return Err(last);
        }
    }
    Ok(last)
}
