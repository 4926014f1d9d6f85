//! A port that is bound before anything else happens.

use std::io;
use std::net::{SocketAddr, TcpListener};

use futures::{Stream, StreamExt as _, future};
use tls::Mutual;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::TcpIncoming;

/// Most TLS handshakes at once; further connections wait in the queue of the kernel. One takes less than a millisecond of
/// work, and 5 s at most when the client is silent.
const MAX_HANDSHAKES: usize = 512;

/// A bound port. Bind early: a taken port is then an error before a service claims anything, and its number is known
/// when port 0 was asked for.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    addr: SocketAddr,
    mutual: Option<Mutual>,
}

impl Listener {
    /// Binds `addr`; port 0 takes a free one. Connections wait in the queue of the kernel until
    /// [`serve`](super::serve).
    ///
    /// # Errors
    /// The port is taken or may not be used.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        Ok(Self {
            listener,
            addr,
            mutual: None,
        })
    }

    /// Lets gRPC be spoken over TLS only, with clients that show a certificate. [`Admin`](crate::admin::Admin) speaks plain
    /// HTTP all the same.
    #[must_use]
    pub fn secured(mut self, mutual: Mutual) -> Self {
        self.mutual = Some(mutual);
        self
    }

    /// Returns the address with the real port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns how its URLs begin: `http` or `https`.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        if self.mutual.is_some() { "https" } else { "http" }
    }

    /// Turns it into a listener of the runtime, for servers of other protocols.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn into_tokio(self) -> io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::from_std(self.listener)
    }

    /// Turns it into a stream of connections.
    pub(super) fn incoming(
        mut self,
    ) -> io::Result<Incoming<impl Stream<Item = io::Result<TlsStream<TcpStream>>>>> {
        let mutual = self.mutual.take();
        // A call may take 40 ms without TCP_NODELAY.
        let tcp = TcpIncoming::from(self.into_tokio()?).with_nodelay(Some(true));
        Ok(match mutual {
            None => Incoming::Plain(tcp),
            Some(mutual) => Incoming::Mutual(handshakes(tcp, mutual)),
        })
    }
}

/// Connections as they are served.
pub(super) enum Incoming<T> {
    Plain(TcpIncoming),
    Mutual(T),
}

/// Makes the handshakes side by side, so that a slow client holds up no other.
fn handshakes(tcp: TcpIncoming, mutual: Mutual) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    tcp.map(move |connection| {
        let mutual = mutual.clone();
        async move {
            match connection {
                Ok(connection) => mutual.accept(connection).await.map(Ok),
                Err(error) => Some(Err(error)),
            }
        }
    })
    .buffer_unordered(MAX_HANDSHAKES)
    .filter_map(future::ready)
}
