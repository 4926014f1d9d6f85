//! A TCP proxy that can be cut: silently, as a network that drops everything, or loudly, as one whose other end is gone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// More than the frames that keep an idle HTTP/2 connection alive, less than any call.
const CALL_BYTES: usize = 64;
const CHUNK: usize = 16 * 1024;

/// What becomes of what goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Nothing arrives and nothing says so. What was sent meanwhile arrives once the way is open again, as TCP does.
    Silent,
    /// Connections end, new ones end at once.
    Closed,
}

/// A listener of our own before one or several others. With several it is what a Kubernetes Service is: new connections go to one
/// that is ready, here the one with the fewest. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) port: u16,
    way: watch::Sender<Way>,
    last_call: Arc<Mutex<Option<Instant>>>,
    targets: Arc<[Target]>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Target {
    port: u16,
    ready: AtomicBool,
    connections: AtomicUsize,
}

impl Gate {
    /// Opens a gate on a port, 0 for a free one, before these ports.
    pub(crate) async fn open(port: u16, targets: &[u16]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (way, _) = watch::channel(Way::Open);
        let last_call = Arc::default();
        let stop = CancellationToken::new();
        let targets: Arc<[Target]> = targets
            .iter()
            .map(|&port| Target {
                port,
                ready: AtomicBool::new(true),
                connections: AtomicUsize::new(0),
            })
            .collect();
        let accepting = accept(
            listener,
            Arc::clone(&targets),
            way.clone(),
            Arc::clone(&last_call),
            stop.clone(),
        );
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Self {
            port,
            way,
            last_call,
            targets,
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Sets whether new connections may go to a target.
    pub(crate) fn set_ready(&self, port: u16, ready: bool) {
        let target = self.targets.iter().find(|target| target.port == port);
        target
            .expect("it is a target")
            .ready
            .store(ready, Ordering::Relaxed);
    }

    /// When something of the size of a call was last sent to the target.
    pub(crate) fn last_call(&self) -> Option<Instant> {
        *self.last_call.lock().expect("nobody panics with it")
    }
}

async fn accept(
    listener: TcpListener,
    targets: Arc<[Target]>,
    way: watch::Sender<Way>,
    last_call: Arc<Mutex<Option<Instant>>>,
    stop: CancellationToken,
) {
    while let Ok((client, _)) = listener.accept().await {
        let (targets, way, last_call) = (Arc::clone(&targets), way.subscribe(), Arc::clone(&last_call));
        let passing = async move {
            if *way.borrow() == Way::Closed {
                return;
            }
            let Some((target, server)) = connect(&targets).await else {
                return;
            };
            target.connections.fetch_add(1, Ordering::Relaxed);
            pass(client, server, way, &last_call).await;
            target.connections.fetch_sub(1, Ordering::Relaxed);
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(passing));
    }
}

/// Connects to whoever is ready, accepts, and has the fewest connections.
async fn connect(targets: &[Target]) -> Option<(&Target, TcpStream)> {
    let ready = |target: &&Target| target.ready.load(Ordering::Relaxed);
    let mut order: Vec<&Target> = targets.iter().filter(ready).collect();
    order.sort_by_key(|target| target.connections.load(Ordering::Relaxed));
    for target in order {
        if let Ok(server) = TcpStream::connect(("127.0.0.1", target.port)).await {
            return Some((target, server));
        }
    }
    None
}

/// Passes both directions on until one side is gone.
async fn pass(
    client: TcpStream,
    server: TcpStream,
    mut way: watch::Receiver<Way>,
    last_call: &Mutex<Option<Instant>>,
) {
    for stream in [&client, &server] {
        // Without it a small call waits 40 ms.
        stream.set_nodelay(true).expect("it is a TCP connection");
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (there, back) = (way.clone(), way.clone());
    let noted = |bytes| {
        if bytes > CALL_BYTES {
            *last_call.lock().expect("nobody panics with it") = Some(Instant::now());
        }
    };
    tokio::select! {
        () = pump(from_client, to_server, there, noted) => {}
        () = pump(from_server, to_client, back, |_| {}) => {}
        _ = way.wait_for(|way| *way == Way::Closed) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    noted: impl Fn(usize),
) {
    let mut bytes = vec![0; CHUNK];
    loop {
        let Ok(count @ 1..) = from.read(&mut bytes).await else {
            return;
        };
        // Held back while the way is silent.
        if way.wait_for(|way| *way == Way::Open).await.is_err() {
            return;
        }
        noted(count);
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
