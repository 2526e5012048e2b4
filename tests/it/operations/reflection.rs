//! Server reflection, both versions, as grpcurl and its like use it: list, find a symbol, fetch the
//! files that it needs.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;

use crate::support::{Engine, TestServer};

/// The services that callers and operators use.
const SERVICES: [&str; 4] = [
    "auditlogs.v1.ApiKeys",
    "auditlogs.v1.AuditLogs",
    "auditlogs.v1.Organizations",
    "grpc.health.v1.Health",
];

/// A client of one version: the messages are the same, the types are not.
macro_rules! reflection_client {
    ($version:ident) => {
        use tonic::{Status, transport::Channel};
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };

        async fn ask(
            channel: &Channel,
            question: MessageRequest,
        ) -> Result<MessageResponse, Status> {
            let message_request = Some(question);
            let request = ServerReflectionRequest { host: String::new(), message_request };
            let mut client = ServerReflectionClient::new(channel.clone());
            let requests = tokio_stream::once(request);
            let response = client.server_reflection_info(requests).await?;
            let answer = response.into_inner().message().await?.unwrap();
            Ok(answer.message_response.unwrap())
        }

        pub async fn list(channel: &Channel) -> Vec<String> {
            let answer = ask(channel, MessageRequest::ListServices(String::new())).await.unwrap();
            let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
            list.service.into_iter().map(|service| service.name).collect()
        }

        pub async fn files(channel: &Channel, name: &str, is_symbol: bool) -> Vec<Vec<u8>> {
            let question = if is_symbol {
                MessageRequest::FileContainingSymbol(name.to_owned())
            } else {
                MessageRequest::FileByFilename(name.to_owned())
            };
            let answer = ask(channel, question).await.unwrap();
            let MessageResponse::FileDescriptorResponse(files) = answer else {
                panic!("{name}: {answer:?}")
            };
            files.file_descriptor_proto
        }

        /// The code of the answer to a question for something that is not there. tonic ends the
        /// stream with it, where others send it as a message.
        pub async fn missing(channel: &Channel, symbol: &str) -> tonic::Code {
            let question = MessageRequest::FileContainingSymbol(symbol.to_owned());
            match ask(channel, question).await {
                Err(status) => status.code(),
                Ok(MessageResponse::ErrorResponse(error)) => error.error_code.into(),
                Ok(answer) => panic!("{answer:?}"),
            }
        }

        /// Everything that is needed to understand a symbol.
        pub async fn resolve(channel: &Channel, symbol: &str) -> super::DescriptorPool {
            let mut known = super::Known::default();
            known.add(files(channel, symbol, true).await);
            while let Some(name) = known.missing() {
                known.add(files(channel, &name, false).await);
            }
            known.pool()
        }
    };
}

mod v1 {
    reflection_client!(v1);
}
mod v1alpha {
    reflection_client!(v1alpha);
}

/// Files that reflection told of, by name. Their bytes are kept as they came, because they have
/// options that only their reader knows.
#[derive(Default)]
struct Known {
    files: BTreeMap<String, Vec<u8>>,
    imports: BTreeSet<String>,
}

/// `google.protobuf.FileDescriptorSet`: a message is bytes on the wire.
#[derive(Clone, PartialEq, Message)]
struct RawFiles {
    #[prost(bytes = "vec", repeated, tag = "1")]
    file: Vec<Vec<u8>>,
}

impl Known {
    fn add(&mut self, files: Vec<Vec<u8>>) {
        for bytes in files {
            let file = FileDescriptorProto::decode(&*bytes).unwrap();
            self.imports.extend(file.dependency.iter().cloned());
            self.files.insert(file.name().to_owned(), bytes);
        }
    }

    /// A file that another one imports and that was not fetched yet.
    fn missing(&self) -> Option<String> {
        self.imports.iter().find(|name| !self.files.contains_key(*name)).cloned()
    }

    fn pool(self) -> DescriptorPool {
        let files = RawFiles { file: self.files.into_values().collect() };
        DescriptorPool::decode(&*files.encode_to_vec()).unwrap()
    }
}

#[tokio::test]
async fn every_service_is_listed_without_a_key() {
    let server = TestServer::start(Engine::Sqlite).await;
    let channel = server.channel().await;
    for (list, reflection) in [
        (v1::list(&channel).await, "grpc.reflection.v1.ServerReflection"),
        (v1alpha::list(&channel).await, "grpc.reflection.v1alpha.ServerReflection"),
    ] {
        let list: BTreeSet<_> = list.iter().map(String::as_str).collect();
        for service in SERVICES.into_iter().chain([reflection]) {
            assert!(list.contains(service), "{service} is not in {list:?}");
        }
    }
}

#[tokio::test]
async fn whatever_is_named_is_resolved_with_its_imports() {
    let server = TestServer::start(Engine::Sqlite).await;
    let channel = server.channel().await;
    for service in SERVICES {
        for pool in
            [v1::resolve(&channel, service).await, v1alpha::resolve(&channel, service).await]
        {
            let found = pool.get_service_by_name(service).unwrap();
            assert!(found.methods().count() > 0, "{service}");
        }
    }
    // What is in the details of an error is no part of any method, but must be readable too.
    for message in ["ErrorInfo", "BadRequest", "RetryInfo", "ResourceInfo", "Status"] {
        let message = format!("google.rpc.{message}");
        for pool in
            [v1::resolve(&channel, &message).await, v1alpha::resolve(&channel, &message).await]
        {
            assert!(pool.get_message_by_name(&message).is_some());
        }
    }
}

#[tokio::test]
async fn reflection_tells_the_comments_and_the_rest_twins() {
    let server = TestServer::start(Engine::Sqlite).await;
    let channel = server.channel().await;
    let pool = v1::resolve(&channel, "auditlogs.v1.AuditLogs").await;
    let method = pool.get_service_by_name("auditlogs.v1.AuditLogs").unwrap();
    let method = method.methods().find(|method| method.name() == "CreateEvent").unwrap();
    assert!(
        method.options().has_extension(&pool.get_extension_by_name("google.api.http").unwrap())
    );
    let file = method.parent_file();
    let comments = file.file_descriptor_proto().source_code_info.as_ref().unwrap();
    let told = comments.location.iter().filter_map(|place| place.leading_comments.as_deref());
    assert!(told.into_iter().any(|comment| comment.contains("Records one event.")));
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let server = TestServer::start(Engine::Sqlite).await;
    let channel = server.channel().await;
    let not_found = tonic::Code::NotFound;
    assert_eq!(v1::missing(&channel, "auditlogs.v1.Nonsense").await, not_found);
    assert_eq!(v1alpha::missing(&channel, "auditlogs.v1.Nonsense").await, not_found);
}
