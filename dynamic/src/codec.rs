//! A tonic codec for messages that are known by their descriptors alone.

use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Encodes any [`DynamicMessage`], and decodes messages of one descriptor.
#[derive(Clone, Debug)]
pub struct DynamicCodec {
    decoded: MessageDescriptor,
}

impl DynamicCodec {
    /// A codec that decodes messages of `decoded`: the response at a client, the request at a server.
    #[must_use]
    pub fn new(decoded: MessageDescriptor) -> Self {
        Self { decoded }
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
            decoded: self.decoded.clone(),
        }
    }
}

/// Writes messages whose type they bring along.
#[derive(Debug)]
pub struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message
            .encode(buffer)
            .map_err(|error| Status::internal(format!("encode the message: {error}")))
    }
}

/// Reads messages of one type.
#[derive(Debug)]
pub struct DynamicDecoder {
    decoded: MessageDescriptor,
}

impl Decoder for DynamicDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.decoded.clone(), buffer)
            .map(Some)
            .map_err(|error| Status::internal(format!("decode a `{}`: {error}", self.decoded.full_name())))
    }
}
