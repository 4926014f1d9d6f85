//! A RabbitMQ for tests: one shared by all tests, each with a virtual host of its own, or one that a test may kill.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{Scratch, eventually, free_port};

/// Environment variable that names the broker to use: `amqp://guest:guest@127.0.0.1:PORT`. `with-services` sets it.
pub const BROKER_VARIABLE: &str = "EVENKEEL_TEST_AMQP";
/// Environment variable that names the broker's HTTP API: `127.0.0.1:PORT`. `with-services` sets it.
pub const BROKER_API_VARIABLE: &str = "EVENKEEL_TEST_AMQP_API";

/// A start takes 3 s on an idle machine and 9 s on a busy one.
const START_DEADLINE: Duration = Duration::from_secs(120);
const STOP_DEADLINE: Duration = Duration::from_secs(30);
const API_TIMEOUT: Duration = Duration::from_secs(20);
/// `guest:guest`, which a broker accepts from its own machine only.
const AUTHORIZATION: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";

/// Runs the broker ("$@") in a process group of its own and ends the group when stdin reaches end-of-file, that is when
/// the process that started us is gone. The name service of Erlang (epmd) makes itself independent, and refuses to end
/// before it has noticed that the broker has. `$1` is the directory; the group's number is kept there while the broker runs.
const WATCHDOG: &str = r#"
dir=$1; shift
exec 3<&0 </dev/null
setsid "$@" 3<&- &
server=$!
echo "$server" > "$dir/group"
{ read -r _ <&3; kill -KILL "-$server"; } 2>/dev/null &
dog=$!
wait "$server"
code=$?
kill -KILL "-$server" 2>/dev/null
n=0
while epmd -names >/dev/null 2>&1 && [ "$n" -lt 50 ]; do epmd -kill >/dev/null 2>&1; sleep 0.1; n=$((n+1)); done
rm -f "$dir/group"
kill -KILL "$dog" 2>/dev/null
exit "$code"
"#;

/// The broker of this test process, if none was named. Statics are not dropped: its watchdog ends it with the process.
static PRIVATE: OnceCell<PrivateBroker> = OnceCell::const_new();

/// A RabbitMQ of our own. It ends with this value, or with this process.
#[derive(Debug)]
pub struct PrivateBroker {
    ports: Ports,
    watchdog: Option<Child>,
    scratch: Scratch,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    amqp: u16,
    api: u16,
    epmd: u16,
    distribution: u16,
}

impl PrivateBroker {
    /// Starts a broker with empty data on free ports of 127.0.0.1 and waits until it answers: 3 to 9 s.
    ///
    /// # Panics
    /// If there are no RabbitMQ binaries (Debian: `rabbitmq-server`), or it does not answer within 2 min.
    pub async fn start() -> Self {
        let scratch = Scratch::new().expect("a directory can be made in the temporary directory");
        let ports = Ports {
            amqp: free_port(),
            api: free_port(),
            epmd: free_port(),
            distribution: free_port(),
        };
        let mut broker = Self {
            ports,
            watchdog: None,
            scratch,
        };
        broker.prepare().expect("a directory of ours can be written");
        broker.restart().await;
        broker
    }

    /// Returns the URL of the default virtual host.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.ports.amqp)
    }

    /// Returns address and port of the HTTP API.
    #[must_use]
    pub fn api(&self) -> String {
        format!("127.0.0.1:{}", self.ports.api)
    }

    /// Kills the broker as a power cut does. Its data stays.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn kill(&mut self) {
        let group = self.group().expect("the broker runs");
        kill_process_group(group, Signal::KILL).expect("the broker is ours");
        self.ended().await;
    }

    /// Stops the broker in order. Its data stays.
    ///
    /// # Panics
    /// If it does not run, or does not end within 30 s.
    pub async fn stop(&mut self) {
        let group = self.group().expect("the broker runs");
        kill_process(group, Signal::TERM).expect("the broker is ours");
        self.ended().await;
    }

    /// Starts the broker again after [`kill`](Self::kill) or [`stop`](Self::stop), on the same ports and data.
    ///
    /// # Panics
    /// If it runs already, or does not answer within 2 min.
    pub async fn restart(&mut self) {
        assert!(self.watchdog.is_none(), "the broker runs already");
        let program = server_program().expect("RabbitMQ is installed: run deploy/ensure-rabbitmq.sh");
        let dir = self.dir();
        let text = |path: PathBuf| path.into_os_string();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", WATCHDOG, "broker-watchdog"])
            .arg(&dir)
            .arg(program)
            // Where the broker writes what it has to say when it is killed in the middle of something.
            .current_dir(&dir)
            .env("HOME", text(dir.join("home")))
            .env("RABBITMQ_NODENAME", format!("test{}@localhost", self.ports.amqp))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.ports.amqp.to_string())
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string())
            .env("RABBITMQ_MNESIA_BASE", text(dir.join("mnesia")))
            .env("RABBITMQ_LOG_BASE", text(dir.join("log")))
            .env("RABBITMQ_LOGS", text(dir.join("log/rabbit.log")))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", text(dir.join("enabled_plugins")))
            .env("RABBITMQ_CONFIG_FILE", text(dir.join("rabbitmq")))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            // Schedulers that do not spin leave the processors to the tests; nothing listens for other machines.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 2:2 +sbwt none +sbwtdcpu none",
            )
            .env("ERL_EPMD_PORT", self.ports.epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .stdin(Stdio::piped())
            // A test runner waits for everybody who holds its stdout.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for us; the broker ends after us.
            .process_group(0);
        self.watchdog = Some(command.spawn().expect("/bin/sh runs"));
        let api = self.api();
        eventually(START_DEADLINE, || async {
            blocking(api.clone(), "GET", "/api/overview".to_owned(), "").await
        })
        .await;
        // On a busy machine the API may answer first.
        let amqp = self.ports.amqp;
        eventually(START_DEADLINE, || {
            tokio::net::TcpStream::connect(("127.0.0.1", amqp))
        })
        .await;
    }

    fn dir(&self) -> PathBuf {
        self.scratch.broker_dir()
    }

    fn prepare(&self) -> std::io::Result<()> {
        let dir = self.dir();
        for name in ["home", "mnesia", "log"] {
            fs::create_dir_all(dir.join(name))?;
        }
        fs::write(dir.join("enabled_plugins"), "[rabbitmq_management].\n")?;
        let settings = format!(
            "management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {}\nmanagement_agent.disable_metrics_collector = true\n\
             disk_free_limit.absolute = 10MB\nraft.wal_max_size_bytes = 16777216\nlog.file.level = warning\n",
            self.ports.api
        );
        fs::write(dir.join("rabbitmq.conf"), settings)
    }

    /// The process group of the broker, `None` if it does not run.
    fn group(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.dir().join("group")).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }

    async fn ended(&mut self) {
        let mut watchdog = self.watchdog.take().expect("the broker runs");
        eventually(STOP_DEADLINE, || {
            let ended = watchdog.try_wait().expect("a child can be waited for").is_some();
            async move { ended }
        })
        .await;
    }
}

impl Drop for PrivateBroker {
    fn drop(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            // The end of its stdin ends the broker, and then it.
            drop(watchdog.stdin.take());
            // An error means that it has ended already.
            let _ = watchdog.wait();
        }
    }
}

/// The inner script of the newest version: the outer one insists on a user and on directories of the package.
fn server_program() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = ["/usr/lib/rabbitmq/lib", "/opt/rabbitmq/lib", "/opt/rabbitmq"]
        .iter()
        .filter_map(|base| fs::read_dir(base).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("sbin/rabbitmq-server")))
        .chain([Path::new("/opt/rabbitmq/sbin/rabbitmq-server").to_path_buf()])
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found.pop()
}

/// Says whether RabbitMQ binaries are on this machine.
#[must_use]
pub fn has_broker_binaries() -> bool {
    server_program().is_some()
}

/// A virtual host of its own for one test, on the broker that [`BROKER_VARIABLE`] names, or on a private one that is started
/// once for each test process. Removed with this value.
#[derive(Debug)]
pub struct TestBroker {
    url: String,
    api: String,
    vhost: String,
}

impl TestBroker {
    /// Makes the virtual host.
    ///
    /// # Panics
    /// If there is no broker, or it does not do as it is told.
    pub async fn create() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (url, api) = match (variable(BROKER_VARIABLE), variable(BROKER_API_VARIABLE)) {
            (Some(url), Some(api)) => (url, api),
            (Some(_) | None, _) => {
                let broker = PRIVATE.get_or_init(PrivateBroker::start).await;
                (broker.url(), broker.api())
            }
        };
        let vhost = format!("test_{}", Uuid::new_v4().simple());
        let all = r#"{"configure":".*","write":".*","read":".*"}"#;
        for (path, body) in [
            (format!("/api/vhosts/{vhost}"), "{}"),
            (format!("/api/permissions/{vhost}/guest"), all),
        ] {
            blocking(api.clone(), "PUT", path, body)
                .await
                .unwrap_or_else(|error| panic!("the broker's API: {error}"));
        }
        Self { url, api, vhost }
    }

    /// Returns the URL of the virtual host.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/{}", self.url, self.vhost)
    }
}

impl Drop for TestBroker {
    /// Only a best effort: the broker may be gone.
    fn drop(&mut self) {
        let path = format!("/api/vhosts/{}", self.vhost);
        if let Err(error) = request(&self.api, "DELETE", &path, "") {
            eprintln!("the virtual host {} was not removed: {error}", self.vhost);
        }
    }
}

async fn blocking(api: String, method: &'static str, path: String, body: &'static str) -> Result<(), String> {
    let asked = tokio::task::spawn_blocking(move || request(&api, method, &path, body));
    asked.await.map_err(|error| error.to_string())?
}

/// Makes one request of the HTTP API; anything but 2xx is an error.
fn request(api: &str, method: &str, path: &str, body: &str) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let address: SocketAddr = api.parse().map_err(|_| format!("{api} is no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, API_TIMEOUT).map_err(text)?;
    stream.set_read_timeout(Some(API_TIMEOUT)).map_err(text)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {api}\r\nAuthorization: {AUTHORIZATION}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).map_err(text)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(text)?;
    let status = answer.lines().next().unwrap_or_default();
    let good = status.split(' ').nth(1).is_some_and(|code| code.starts_with('2'));
    if good {
        Ok(())
    } else {
        Err(format!("{method} {path}: {status:?}"))
    }
}
