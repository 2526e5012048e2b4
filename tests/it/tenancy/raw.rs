//! Calls by path, as the descriptors name them, so that a new RPC is called too.

use audit_logs::proto::{
    DESCRIPTORS,
    v1::{IngestEventsResponse, ingest_acknowledgement},
};
use bytes::{Buf, BufMut, Bytes};
use futures::Stream;
use prost::Message;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

/// Every RPC of our services.
pub fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let ours = pool.services().filter(|service| service.package_name() == "auditlogs.v1");
    let methods: Vec<_> = ours.flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    assert!(methods.len() >= 20, "an RPC is missing");
    methods
}

/// The name of an RPC with its service, such as `ApiKeys/Create`.
pub fn name(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().name(), method.name())
}

/// The value of an `authorization` header.
pub fn bearer(key: &str) -> MetadataValue<Ascii> {
    format!("Bearer {key}").parse().unwrap()
}

/// Calls the RPC with that name and waits for the first answer.
pub async fn call(
    channel: &Channel,
    name: &str,
    authorization: Option<MetadataValue<Ascii>>,
    message: impl Into<Bytes>,
) -> Result<(), Status> {
    let headers = authorization.into_iter().map(|value| ("authorization", value));
    call_with(channel, name, headers, message).await.map(|_| ())
}

/// The same with any headers; returns the first answer, if there is one.
pub async fn call_with(
    channel: &Channel,
    name: &str,
    headers: impl IntoIterator<Item = (&'static str, MetadataValue<Ascii>)>,
    message: impl Into<Bytes>,
) -> Result<Bytes, Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let mut request = Request::new(message.into());
    for (header, value) in headers {
        request.metadata_mut().insert(header, value);
    }
    let path = PathAndQuery::try_from(format!("/auditlogs.v1.{name}")).unwrap();
    // Reads an answer that is no stream as a stream of one.
    let mut answers = client.server_streaming(request, path, Raw).await?.into_inner();
    match answers.message().await? {
        Some(answer) if name == "AuditLogs/IngestEvents" => {
            refused_item(answer.clone()).map(|()| answer)
        }
        answer => Ok(answer.unwrap_or_default()),
    }
}

/// The error of an item as that of the call.
fn refused_item(frame: Bytes) -> Result<(), Status> {
    let frame = IngestEventsResponse::decode(frame).unwrap();
    match frame.acknowledgements.into_iter().next().unwrap().result.unwrap() {
        ingest_acknowledgement::Result::Created(_) => Ok(()),
        ingest_acknowledgement::Result::Error(error) => {
            let details = error.encode_to_vec().into();
            Err(Status::with_details(error.code.into(), error.message, details))
        }
    }
}

/// Opens a stream both ways.
pub async fn stream(
    channel: &Channel,
    name: &str,
    authorization: Option<MetadataValue<Ascii>>,
    messages: impl Stream<Item = Bytes> + Send + 'static,
) -> Result<Streaming<Bytes>, Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let mut request = Request::new(messages);
    if let Some(authorization) = authorization {
        request.metadata_mut().insert("authorization", authorization);
    }
    let path = PathAndQuery::try_from(format!("/auditlogs.v1.{name}")).unwrap();
    Ok(client.streaming(request, path, Raw).await?.into_inner())
}

/// Messages as the bytes they are.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
