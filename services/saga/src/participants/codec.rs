//! A gRPC codec for messages whose type is known only at run time.

use std::fmt;

use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Largest reply that is read, in bytes: replies are kept in the journal.
pub(crate) const MAX_REPLY_BYTES: usize = 256 * 1024;

/// Sends any message, reads messages of one type.
#[derive(Debug, Clone)]
pub(crate) struct DynamicCodec {
    pub(crate) reply: MessageDescriptor,
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
        DynamicDecoder(self.reply.clone())
    }
}

/// Writes messages.
#[derive(Debug)]
pub(crate) struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message
            .encode(buffer)
            .map_err(|error| Status::internal(format!("the request cannot be encoded: {error}")))
    }
}

/// Reads messages.
#[derive(Debug)]
pub(crate) struct DynamicDecoder(MessageDescriptor);

impl Decoder for DynamicDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        match DynamicMessage::decode(self.0.clone(), buffer) {
            Ok(message) => Ok(Some(message)),
            Err(error) => {
                let bad = BadReply(format!("the reply is not a {}: {error}", self.0.full_name()));
                let mut status = Status::internal(bad.0.clone());
                status.set_source(std::sync::Arc::new(bad));
                Err(status)
            }
        }
    }
}

/// Marks a status as made here, about bytes that are no message; no participant can send it.
#[derive(Debug)]
struct BadReply(String);

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for BadReply {}

/// Tells whether a status says that the reply could not be read: not a message, or too large a one.
pub(crate) fn is_bad_reply(status: &Status) -> bool {
    let decoder = std::error::Error::source(status).is_some_and(|source| source.is::<BadReply>());
    // tonic has no type for this; a test against a real server notices if the words change.
    decoder || status.code() == tonic::Code::OutOfRange && status.message().contains("decoded message length")
}
