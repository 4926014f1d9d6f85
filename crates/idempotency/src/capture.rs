//! Reads answers that are small, and passes on those that are not.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::http::HeaderMap;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::BodyExt;

/// Any error of a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body that was read to its end, or as far as it is of interest.
pub(crate) enum Captured<B: Body> {
    Whole {
        data: Bytes,
        trailers: Option<HeaderMap>,
    },
    /// Too large, or it failed: what was read, and the rest.
    Partial(Resumed<B>),
}

/// Frames that were read already, then those that come.
pub(crate) struct Resumed<B: Body> {
    read: VecDeque<Frame<Bytes>>,
    rest: Rest<B>,
}

enum Rest<B: Body> {
    Body(Pin<Box<B>>),
    Failed(Option<B::Error>),
}

/// Reads a body until its end or until it has more than `most` bytes.
pub(crate) async fn capture<B: Body<Data = Bytes>>(body: B, most: usize) -> Captured<B> {
    let mut body = Box::pin(body);
    let mut read: VecDeque<Frame<Bytes>> = VecDeque::new();
    let mut size = 0_usize;
    while size <= most {
        match body.frame().await {
            Some(Ok(frame)) => {
                // An empty frame counts as well: there may be no end of them.
                size += frame.data_ref().map_or(0, Bytes::len).max(1);
                read.push_back(frame);
            }
            Some(Err(error)) => {
                let rest = Rest::Failed(Some(error));
                return Captured::Partial(Resumed { read, rest });
            }
            None => return whole(read),
        }
    }
    let rest = Rest::Body(body);
    Captured::Partial(Resumed { read, rest })
}

fn whole<B: Body>(read: VecDeque<Frame<Bytes>>) -> Captured<B> {
    let (mut data, mut trailers) = (BytesMut::new(), None);
    for frame in read {
        match frame.into_data() {
            Ok(part) => data.extend_from_slice(&part),
            Err(frame) => trailers = frame.into_trailers().ok().or(trailers),
        }
    }
    Captured::Whole {
        data: data.freeze(),
        trailers,
    }
}

impl<B: Body<Data = Bytes>> Body for Resumed<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(frame) = self.read.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.rest {
            Rest::Body(body) => body.as_mut().poll_frame(cx),
            Rest::Failed(error) => Poll::Ready(error.take().map(Err)),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};
    use http_body_util::{Full, StreamBody};

    use super::*;

    type Frames = Vec<Result<Frame<Bytes>, &'static str>>;

    fn frames(frames: Frames) -> impl Body<Data = Bytes, Error = &'static str> {
        StreamBody::new(stream::iter(frames))
    }

    fn data(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    #[tokio::test]
    async fn a_small_body_is_whole_with_its_trailers() {
        let mut fields = HeaderMap::new();
        fields.insert("grpc-status", "0".parse().unwrap());
        let body = frames(vec![data("ab"), data("c"), Ok(Frame::trailers(fields.clone()))]);
        match capture(body, 10).await {
            Captured::Whole { data, trailers } => {
                assert_eq!(data, "abc");
                assert_eq!(trailers, Some(fields));
            }
            Captured::Partial(_) => panic!("it is small"),
        }
    }

    #[tokio::test]
    async fn a_large_body_is_passed_on_whole() {
        let body = frames(vec![data("abc"), data("def"), data("ghi")]);
        let Captured::Partial(resumed) = capture(body, 4).await else {
            panic!("it is large")
        };
        assert_eq!(resumed.collect().await.unwrap().to_bytes(), "abcdefghi");
        assert!(matches!(
            capture(Full::new(Bytes::from_static(b"abcd")), 4).await,
            Captured::Whole { .. }
        ));
    }

    #[tokio::test]
    async fn a_body_that_fails_fails_for_the_client_as_well() {
        let body = frames(vec![data("abc"), Err("cut")]);
        let Captured::Partial(mut resumed) = capture(body, 10).await else {
            panic!("it failed")
        };
        assert_eq!(
            resumed.frame().await.unwrap().unwrap().into_data().unwrap(),
            "abc"
        );
        assert_eq!(resumed.frame().await.unwrap().unwrap_err(), "cut");
        assert!(resumed.frame().await.is_none());
    }

    #[tokio::test]
    async fn empty_frames_without_end_are_not_collected() {
        let endless = StreamBody::new(stream::repeat(()).map(|()| data("")));
        assert!(matches!(capture(endless, 100).await, Captured::Partial(_)));
    }
}
