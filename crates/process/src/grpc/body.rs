//! Refuses a message that is too large by its announced length, before it is read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use rpc::error::Reason;
use tonic::Status;
use tonic::body::Body;

/// Domain of what a listener refuses before any service sees it.
pub(super) const DOMAIN: &str = "listener.evenkeel";

/// A gRPC message is one byte of flags and four bytes of length, then the message (gRPC over HTTP/2, "Length-Prefixed-
/// Message").
const PREFIX_BYTES: usize = 5;

/// Passes a body on until a message announces more bytes than allowed; then the body ends with `PAYLOAD_TOO_LARGE`.
#[derive(Debug)]
pub(super) struct SizeLimit {
    inner: Body,
    scan: Scan,
}

impl SizeLimit {
    pub(super) fn new(inner: Body, max_bytes: u32) -> Self {
        Self {
            inner,
            scan: Scan::new(max_bytes),
        }
    }
}

impl HttpBody for SizeLimit {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(cx)?) else {
            return Poll::Ready(None);
        };
        if let Some(data) = frame.data_ref()
            && let Err(found) = self.scan.see(data)
        {
            let max = self.scan.max_bytes;
            let text = format!("message of {found} bytes is larger than the limit of {max} bytes");
            return Poll::Ready(Some(Err(Reason::PayloadTooLarge.status(DOMAIN, text))));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Follows the lengths of the messages in a stream of bytes that is cut anywhere.
#[derive(Debug)]
struct Scan {
    max_bytes: u32,
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the prefix seen so far.
    seen: usize,
    /// Bytes of the current message still to come.
    rest: usize,
}

impl Scan {
    fn new(max_bytes: u32) -> Self {
        Self {
            max_bytes,
            prefix: [0; PREFIX_BYTES],
            seen: 0,
            rest: 0,
        }
    }

    /// Reads on; the error is the announced length of a message above the limit.
    fn see(&mut self, mut data: &[u8]) -> Result<(), u32> {
        while !data.is_empty() {
            if self.rest > 0 {
                let step = self.rest.min(data.len());
                self.rest -= step;
                data = &data[step..];
                continue;
            }
            let step = (PREFIX_BYTES - self.seen).min(data.len());
            self.prefix[self.seen..self.seen + step].copy_from_slice(&data[..step]);
            self.seen += step;
            data = &data[step..];
            if self.seen == PREFIX_BYTES {
                let [_, a, b, c, d] = self.prefix;
                let length = u32::from_be_bytes([a, b, c, d]);
                if length > self.max_bytes {
                    return Err(length);
                }
                self.seen = 0;
                self.rest = length as usize;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(lengths: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for length in lengths {
            bytes.push(0);
            bytes.extend(length.to_be_bytes());
            bytes.extend(std::iter::repeat_n(0xff, *length as usize));
        }
        bytes
    }

    proptest! {
        #[test]
        fn a_message_above_the_limit_is_found_wherever_the_stream_is_cut(
            lengths in prop::collection::vec(0u32..40, 0..8), limit in 0u32..40, cut in 1usize..50
        ) {
            let mut scan = Scan::new(limit);
            let seen = stream(&lengths).chunks(cut).try_for_each(|chunk| scan.see(chunk));
            let expected = lengths.iter().find(|length| **length > limit);
            prop_assert_eq!(seen.err(), expected.copied());
        }

        #[test]
        fn no_bytes_make_it_panic(chunks in prop::collection::vec(any::<Vec<u8>>(), 0..20), limit: u32) {
            let mut scan = Scan::new(limit);
            let _ = chunks.iter().try_for_each(|chunk| scan.see(chunk));
        }
    }
}
