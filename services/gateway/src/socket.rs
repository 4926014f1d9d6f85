//! A client's socket, bounded in time where the HTTP library is not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How HTTP/2 begins (RFC 9113, 3.4). The library reads on, without a bound in time, until it knows that this is not it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that fails if its client does not say in time which HTTP it speaks, or does not take what it asked for.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// Until the version is known.
    opening: Option<Opening>,
    write_timeout: Duration,
    /// Since the client takes nothing.
    stuck: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
struct Opening {
    end: Pin<Box<Sleep>>,
    /// Bytes of the preface so far.
    seen: usize,
}

impl Socket {
    /// Bounds a new connection.
    pub(crate) fn new(stream: TcpStream, head_timeout: Duration, write_timeout: Duration) -> Self {
        Self {
            stream,
            opening: Some(Opening {
                end: Box::pin(sleep(head_timeout)),
                seen: 0,
            }),
            write_timeout,
            stuck: None,
        }
    }

    /// Bounds the time in which nothing can be written.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let patience = self.write_timeout;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(patience)));
        stuck
            .as_mut()
            .poll(cx)
            .map(|()| Err(late("the client takes nothing")))
    }
}

/// Returns how much of the preface has come with `bytes`, if that is not yet enough to tell the version.
fn undecided(seen: usize, bytes: &[u8]) -> Option<usize> {
    let rest = &PREFACE[seen..];
    (bytes.len() < rest.len() && rest.starts_with(bytes)).then_some(seen + bytes.len())
}

fn late(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, text)
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(opening) = &mut self.opening {
            if read.is_pending() {
                let end = opening.end.as_mut().poll(cx);
                return end.map(|()| Err(late("the client says nothing")));
            }
            match undecided(opening.seen, &buf.filled()[before..]) {
                Some(seen) => opening.seen = seen,
                None => self.opening = None,
            }
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_version_is_known_by_the_first_byte_that_differs_or_by_the_whole_preface() {
        assert_eq!(undecided(0, b"PRI"), Some(3));
        assert_eq!(undecided(3, b" * HT"), Some(8));
        assert_eq!(undecided(0, b"G"), None);
        assert_eq!(undecided(0, b"PRIX"), None);
        assert_eq!(undecided(0, PREFACE), None);
    }

    proptest! {
        #[test]
        fn a_preface_is_followed_however_it_is_cut(cut in 1usize..24) {
            let seen = undecided(0, &PREFACE[..cut]);
            prop_assert_eq!(seen, Some(cut));
            prop_assert_eq!(undecided(cut, &PREFACE[cut..]), None);
        }
    }
}
