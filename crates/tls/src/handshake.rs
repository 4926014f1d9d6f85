//! Both sides of a handshake.

use std::io;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::material;
use crate::metric::{self, Handshake};
use crate::mutual::{Expected, Mutual};

/// A handshake that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a server is waited for that does not speak first.
const CONFIRMATION: Duration = Duration::from_secs(1);
/// First byte of every TLS connection: a record of the handshake (RFC 8446, 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;
/// How long somebody who is refused is listened to after the answer, and how much of it is read.
const FAREWELL: Duration = Duration::from_millis(500);
const FAREWELL_BYTES: u64 = 64 * 1024;
/// What a gRPC client without TLS is told: an HTTP/2 GOAWAY (RFC 9113, 6.8) after the SETTINGS that must come first. Clients
/// show the code or the text.
const GO_AWAY_TEXT: &[u8] = b"this port speaks TLS: use https://";
/// INADEQUATE_SECURITY (RFC 9113, 7).
const GO_AWAY_CODE: u8 = 0x0c;

/// A connection to a server was not made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The handshake failed: one of the certificates is not believed, the server's has another name, or it does not speak TLS.
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
    /// The server said nothing.
    #[error("the TLS handshake took longer than 5 s")]
    TooSlow,
    /// The server speaks TLS, but not HTTP/2.
    #[error("the server does not speak HTTP/2")]
    Protocol,
    /// The server is to have the name of the own certificate, which has none.
    #[error("the own certificate has no DNS name by which the server could be known")]
    Nameless,
}

impl Mutual {
    /// Takes a connection of a listener. `None` if the client has no certificate that is believed, does not speak TLS, or
    /// takes longer than 5 s; that is counted, and logged at debug level.
    pub async fn accept(&self, connection: TcpStream) -> Option<server::TlsStream<TcpStream>> {
        let accepted = tokio::time::timeout(PATIENCE, self.handshake(connection)).await;
        let (outcome, stream) = match accepted {
            Ok(Ok(Some(stream))) => (Handshake::Done, Some(stream)),
            Ok(Ok(None)) => {
                tracing::debug!("a client does not speak TLS");
                (Handshake::Plain, None)
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake has failed");
                (Handshake::Refused, None)
            }
            Err(_) => (Handshake::TooSlow, None),
        };
        metric::handshake(self.service(), outcome);
        stream
    }

    async fn handshake(&self, mut connection: TcpStream) -> io::Result<Option<server::TlsStream<TcpStream>>> {
        let mut first = [0];
        if connection.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
            say_goodbye(&mut connection, &go_away()).await;
            return Ok(None);
        }
        let acceptor = TlsAcceptor::from(self.current().server.clone());
        match acceptor.accept(connection).into_fallible().await {
            Ok(stream) => Ok(Some(stream)),
            Err((error, mut connection)) => {
                // The alert that says why is on its way already.
                say_goodbye(&mut connection, &[]).await;
                Err(error)
            }
        }
    }

    /// Makes a connection to an HTTP/2 server one that shows the own certificate. The server's must be of a trusted authority and
    /// have the name expected.
    ///
    /// # Errors
    /// [`ConnectError`]: among them, from servers that begin to speak within a second, that the own certificate is refused.
    pub async fn connect(
        &self,
        connection: TcpStream,
        expected: &Expected,
    ) -> Result<client::TlsStream<TcpStream>, ConnectError> {
        let current = self.current();
        let name = match expected {
            Expected::Host(name) => name.clone(),
            Expected::Own => current
                .leaf
                .hosts()
                .iter()
                .find_map(|host| ServerName::try_from(host.clone()).ok())
                .ok_or(ConnectError::Nameless)?,
        };
        let connector = TlsConnector::from(current.client.clone());
        let mut stream = tokio::time::timeout(PATIENCE, connector.connect(name, connection))
            .await
            .map_err(|_| ConnectError::TooSlow)?
            .map_err(ConnectError::Handshake)?;
        if stream.get_ref().1.alpn_protocol() != Some(material::PROTOCOL) {
            return Err(ConnectError::Protocol);
        }
        confirm(&mut stream).await.map_err(ConnectError::Handshake)?;
        Ok(stream)
    }
}

/// Waits until the server speaks. In TLS 1.3 a client is done before the server has seen its certificate: without this a refusal
/// would look like a call that broke off, which may have had its effect. A server that believes sends its settings at once (RFC
/// 9113, 3.4); one that does not do so is taken at its word that the handshake is done.
async fn confirm(stream: &mut client::TlsStream<TcpStream>) -> io::Result<()> {
    match tokio::time::timeout(CONFIRMATION, stream.fill_buf()).await {
        Ok(Ok([])) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

/// Lets a client read why it is refused. Best effort: the connection ends anyway.
async fn say_goodbye(connection: &mut TcpStream, text: &[u8]) {
    let farewell = async {
        connection.write_all(text).await?;
        connection.shutdown().await?;
        // What is not read would make the kernel reset the connection, and the answer would be lost on the way.
        tokio::io::copy(&mut connection.take(FAREWELL_BYTES), &mut tokio::io::sink()).await
    };
    // Too late, or an error: it has been told, or does not listen.
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

fn go_away() -> Vec<u8> {
    let length = u8::try_from(8 + GO_AWAY_TEXT.len()).expect("the text is short");
    let settings = [0, 0, 0, 0x04, 0, 0, 0, 0, 0];
    let header = [0, 0, length, 0x07, 0, 0, 0, 0, 0];
    let last_stream_and_code = [0, 0, 0, 0, 0, 0, 0, GO_AWAY_CODE];
    [&settings[..], &header, &last_stream_and_code, GO_AWAY_TEXT].concat()
}
