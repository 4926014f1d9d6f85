//! The Redis of a benchmark: one that runs already, or a private one.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::exit::Failure;

const PROGRAM: &str = "redis-server";
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// A Redis. A private one ends when this is dropped, and with Ctrl-C.
pub(super) struct Redis {
    pub(super) url: String,
    _child: Option<Child>,
}

impl Redis {
    /// Uses the server that `url` names, or starts one without persistence in `dir`; `None` if there is no program for that.
    ///
    /// # Errors
    /// The program is there and does not serve.
    pub(super) async fn open(url: Option<&str>, dir: &Path) -> Result<Option<Self>, Failure> {
        if let Some(url) = url {
            let url = url.to_owned();
            return Ok(Some(Self { url, _child: None }));
        }
        let failed = |e: std::io::Error| Failure::unavailable("cannot start redis-server").because(&e);
        // Another process may take the port before the server does, which then ends.
        let free = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let address = free.local_addr().map_err(failed)?;
        drop(free);
        let port = address.port().to_string();
        let started = Command::new(PROGRAM)
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port,
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .arg("--dir")
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let begun = Instant::now();
        while ping(address).await.is_err() {
            let ended = child.try_wait().map_err(failed)?.is_some();
            if ended || begun.elapsed() > PATIENCE {
                return Err(Failure::unavailable("redis-server does not answer"));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(Some(Self {
            url: format!("redis://{address}"),
            _child: Some(child),
        }))
    }
}

async fn ping(address: std::net::SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await?;
    match &answer {
        b"+PONG\r\n" => Ok(()),
        _ => Err(std::io::Error::other("it is no Redis")),
    }
}
