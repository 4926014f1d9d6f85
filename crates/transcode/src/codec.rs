//! Calls any method with messages that are known by their descriptors only.

use std::fmt;

use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// A tonic codec for one method, unary or streaming: requests are encoded as they are, replies decoded as `response`.
///
/// ```
/// # use transcode::codec::DynamicCodec;
/// # use prost_reflect::{DynamicMessage, MethodDescriptor};
/// # use tonic::{Request, Response, Status, client::Grpc, transport::Channel};
/// async fn call(
///     channel: Channel,
///     route: &transcode::Route<'_>,
///     request: DynamicMessage,
/// ) -> Result<Response<DynamicMessage>, Status> {
///     let mut client = Grpc::new(channel);
///     client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
///     let codec = DynamicCodec::new(route.method().output());
///     client.unary(Request::new(request), route.grpc_path().clone(), codec).await
/// }
/// ```
#[derive(Clone)]
pub struct DynamicCodec {
    response: MessageDescriptor,
}

impl DynamicCodec {
    /// Makes a codec for a method whose replies are of this type.
    #[must_use]
    pub const fn new(response: MessageDescriptor) -> Self {
        Self { response }
    }
}

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = DynamicDecoder;

    fn encoder(&mut self) -> DynamicEncoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> DynamicDecoder {
        DynamicDecoder {
            response: self.response.clone(),
        }
    }
}

// Descriptors show what they refer to, without end for types that contain themselves.
impl fmt::Debug for DynamicCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DynamicCodec")
            .field(&self.response.full_name())
            .finish()
    }
}

/// Encodes requests.
#[derive(Debug)]
pub struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message
            .encode(out)
            .map_err(|error| Status::internal(format!("a request was not encoded: {error}")))
    }
}

/// Decodes replies.
pub struct DynamicDecoder {
    response: MessageDescriptor,
}

impl fmt::Debug for DynamicDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DynamicDecoder")
            .field(&self.response.full_name())
            .finish()
    }
}

impl Decoder for DynamicDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.response.clone(), bytes)
            .map(Some)
            .map_err(|error| Status::internal(format!("a reply was not decoded: {error}")))
    }
}
