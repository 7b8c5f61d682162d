//! A client of gRPC reflection that fetches everything a server describes: v1, and v1alpha where that is all there is.

use std::collections::{BTreeMap, VecDeque};

use futures_util::StreamExt;
use http::uri::PathAndQuery;
use prost::{Message, bytes::Bytes};
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};

use super::{Catalog, Transport};

/// The two versions carry the same messages under different names.
const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// The most services of one server.
const SERVICES_MAX: usize = 1024;
/// The most files of one server, imports included.
const FILES_MAX: usize = 4096;
/// All files of one server together, in bytes.
const FILES_SIZE_MAX: usize = 32 * 1024 * 1024;

/// Asks the server behind `channel` for all its services and for all files that describe them.
///
/// It waits for as long as the server takes: limit it from outside.
///
/// # Errors
///
/// `UNIMPLEMENTED` when the server has no reflection, `INTERNAL` when what it says makes no sense, `RESOURCE_EXHAUSTED`
/// when it describes more than anybody could want to know, and whatever the channel fails with.
pub async fn reflect<T: Transport>(channel: T) -> Result<Catalog, Status> {
    let (mut session, services) = match list(channel.clone(), V1).await {
        Err(status) if status.code() == Code::Unimplemented => list(channel, V1_ALPHA).await?,
        listed => listed?,
    };
    let mut files = Files::default();
    for service in &services {
        match session
            .ask(MessageRequest::FileContainingSymbol(service.clone()))
            .await
        {
            Ok(answer) => files.add(answer)?,
            // Served without descriptors: the others are good all the same.
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => return Err(status),
        }
        while let Some(import) = files.missing.pop_front() {
            let answer = session.ask(MessageRequest::FileByFilename(import.clone())).await;
            files.add(answer.map_err(|status| missing_import(&import, &status))?)?;
        }
    }
    files.into_catalog(services)
}

async fn list<T: Transport>(channel: T, path: &'static str) -> Result<(Session<T>, Vec<String>), Status> {
    let mut session = Session {
        channel,
        path: PathAndQuery::from_static(path),
        stream: None,
    };
    let answer = session.ask(MessageRequest::ListServices(String::new())).await?;
    let MessageResponse::ListServicesResponse(list) = answer else {
        return Err(Status::internal(
            "reflection answered a list of services with something else",
        ));
    };
    if list.service.len() > SERVICES_MAX {
        return Err(Status::resource_exhausted(format!(
            "reflection lists more than {SERVICES_MAX} services"
        )));
    }
    let mut services: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    services.sort();
    services.dedup();
    Ok((session, services))
}

fn missing_import(import: &str, status: &Status) -> Status {
    let reason = format!(
        "reflection does not have the imported file `{import}`: {}",
        status.message()
    );
    Status::new(status.code(), reason)
}

/// Questions and answers on one stream, so that one node answers all of them.
struct Session<T> {
    channel: T,
    path: PathAndQuery,
    stream: Option<(
        mpsc::Sender<ServerReflectionRequest>,
        Streaming<ServerReflectionResponse>,
    )>,
}

impl<T: Transport> Session<T> {
    async fn ask(&mut self, question: MessageRequest) -> Result<MessageResponse, Status> {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(question),
        };
        let (sender, mut answers) = match self.stream.take() {
            Some((sender, answers)) => {
                // A stream that has ended says why when it is read.
                let _ = sender.send(request).await;
                (sender, answers)
            }
            None => self.open(request).await?,
        };
        let answer = answers
            .next()
            .await
            .unwrap_or_else(|| Err(Status::internal("reflection ended without an answer")))?;
        // Some servers end the stream with an error where others answer with one: only a live stream is kept.
        self.stream = Some((sender, answers));
        match answer.message_response {
            Some(MessageResponse::ErrorResponse(error)) => {
                Err(Status::new(Code::from_i32(error.error_code), error.error_message))
            }
            Some(answer) => Ok(answer),
            None => Err(Status::internal("reflection answered with nothing")),
        }
    }

    async fn open(
        &mut self,
        first: ServerReflectionRequest,
    ) -> Result<
        (
            mpsc::Sender<ServerReflectionRequest>,
            Streaming<ServerReflectionResponse>,
        ),
        Status,
    > {
        // One question at a time. It is queued before the call: a server may send headers with the first answer only.
        let (sender, receiver) = mpsc::channel(1);
        sender
            .try_send(first)
            .map_err(|_| Status::internal("a new queue has room for one"))?;
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready()
            .await
            .map_err(|error| Status::from_error(error.into()))?;
        let request = Request::new(ReceiverStream::new(receiver));
        let response = grpc
            .streaming(request, self.path.clone(), ProstCodec::default())
            .await?;
        Ok((sender, response.into_inner()))
    }
}

/// The files fetched so far, and the imports still to fetch.
#[derive(Default)]
struct Files {
    files: BTreeMap<String, Bytes>,
    size: usize,
    missing: VecDeque<String>,
}

/// A file descriptor set whose files stay as they were sent, options of the user's own included.
#[derive(Clone, PartialEq, Message)]
struct RawSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

impl Files {
    fn add(&mut self, answer: MessageResponse) -> Result<(), Status> {
        let MessageResponse::FileDescriptorResponse(answer) = answer else {
            return Err(Status::internal(
                "reflection answered a question for a file with something else",
            ));
        };
        for bytes in answer.file_descriptor_proto {
            self.add_file(bytes.into())?;
        }
        self.missing.retain(|import| !self.files.contains_key(import));
        Ok(())
    }

    fn add_file(&mut self, bytes: Bytes) -> Result<(), Status> {
        let file = FileDescriptorProto::decode(bytes.clone())
            .map_err(|error| Status::internal(format!("reflection sent no file descriptor: {error}")))?;
        if self.files.contains_key(file.name()) {
            return Ok(());
        }
        self.size += bytes.len();
        self.files.insert(file.name().to_owned(), bytes);
        if self.files.len() > FILES_MAX || self.size > FILES_SIZE_MAX {
            return Err(Status::resource_exhausted(format!(
                "reflection describes more than {FILES_MAX} files or {FILES_SIZE_MAX} bytes"
            )));
        }
        for import in file.dependency {
            self.want(import)?;
        }
        Ok(())
    }

    fn want(&mut self, import: String) -> Result<(), Status> {
        if self.files.contains_key(&import) || self.missing.contains(&import) {
            return Ok(());
        }
        // Google's own files are known, and not every server has them.
        match DescriptorPool::global().get_file_by_name(&import) {
            Some(known) => self.add_file(known.encode_to_vec().into()),
            None => {
                self.missing.push_back(import);
                Ok(())
            }
        }
    }

    fn into_catalog(self, services: Vec<String>) -> Result<Catalog, Status> {
        let set = RawSet {
            file: self.files.into_values().collect(),
        };
        let set: Bytes = set.encode_to_vec().into();
        let pool = DescriptorPool::decode(set.clone()).map_err(|error| {
            Status::internal(format!("the files of reflection do not fit together: {error}"))
        })?;
        Ok(Catalog::new(pool, set, services))
    }
}
