//! A client that writes whatever bytes it is told to.

use std::net::SocketAddr;

use http::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::within;

/// A connection.
#[derive(Debug)]
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self(within("a connection", TcpStream::connect(addr)).await.unwrap())
    }

    /// Writes; that the gateway no longer listens is no failure here.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within("bytes are taken", self.0.write_all(bytes.as_ref())).await;
    }

    /// Reads until the gateway closes. A reset ends it as well.
    pub(crate) async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = within("the gateway closes", self.0.read_to_end(&mut bytes)).await;
        bytes
    }

    /// Reads one answer that has a `content-length`.
    pub(crate) async fn answer(&mut self) -> RawAnswer {
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = RawAnswer::parse(&bytes) {
                return answer;
            }
            let read = within("an answer comes", self.0.read_buf(&mut bytes)).await;
            let text = String::from_utf8_lossy(&bytes);
            assert!(read.is_ok_and(|n| n > 0), "the answer breaks off: {text:?}");
        }
    }
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

impl RawAnswer {
    /// Returns the first answer in `bytes`, if it is there as a whole.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (status, head, rest) = head(bytes)?;
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let body = rest.get(..length)?.to_vec();
        Some(Self { status, body })
    }

    pub(crate) fn reason(&self) -> String {
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        problem["reason"].as_str().unwrap().to_owned()
    }
}

/// Returns the status of the first answer in `bytes`.
pub(crate) fn status(bytes: &[u8]) -> Option<StatusCode> {
    head(bytes).map(|(status, ..)| status)
}

/// Splits the first head off that is an answer: its status, its lines in lower case, and what follows.
fn head(bytes: &[u8]) -> Option<(StatusCode, String, &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap().to_ascii_lowercase();
    let rest = &bytes[end + 4..];
    let status: StatusCode = head.split(' ').nth(1).unwrap().parse().unwrap();
    if status.is_informational() {
        return self::head(rest);
    }
    Some((status, head, rest))
}

/// Writes a request and reads its answer.
pub(crate) async fn exchange(addr: SocketAddr, request: impl AsRef<[u8]>) -> RawAnswer {
    let mut raw = Raw::connect(addr).await;
    raw.write(request).await;
    raw.answer().await
}
