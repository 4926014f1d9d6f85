//! A port that is bound before anything else happens.

use std::io;
use std::net::{SocketAddr, TcpListener};

use tonic::transport::server::TcpIncoming;

/// A bound port. Bind early: a taken port is then an error before a service claims anything, and its number is known
/// when port 0 was asked for.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    addr: SocketAddr,
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
        Ok(Self { listener, addr })
    }

    /// Returns the address with the real port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Turns it into a listener of the runtime, for servers of other protocols.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn into_tokio(self) -> io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::from_std(self.listener)
    }

    /// Turns it into a stream of connections with `TCP_NODELAY`, without which a call may take 40 ms.
    pub(super) fn incoming(self) -> io::Result<TcpIncoming> {
        Ok(TcpIncoming::from(self.into_tokio()?).with_nodelay(Some(true)))
    }
}
