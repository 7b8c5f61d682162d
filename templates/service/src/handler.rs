//! What the service answers.

use tonic::{Request, Response, Status, codegen::BoxStream};
use tracing::info;

use crate::proto::{GreetingsRequest, HelloReply, HelloRequest, say_server::Say};

const COUNT_MAX: u32 = 1_000;

/// Answers the calls of `Say`.
#[derive(Debug)]
pub struct Handler;

#[tonic::async_trait]
impl Say for Handler {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let name = checked(request.into_inner().name)?;
        info!(name, "hello");
        Ok(Response::new(HelloReply {
            message: format!("Hello {name}"),
        }))
    }

    type GreetingsStream = BoxStream<HelloReply>;

    async fn greetings(
        &self,
        request: Request<GreetingsRequest>,
    ) -> Result<Response<Self::GreetingsStream>, Status> {
        let GreetingsRequest { name, count } = request.into_inner();
        let name = checked(name)?;
        if count > COUNT_MAX {
            return Err(Status::invalid_argument(format!(
                "`count` is at most {COUNT_MAX}"
            )));
        }
        info!(name, count, "greetings");
        let replies = tokio_stream::iter((1..=count).map(move |number| {
            Ok(HelloReply {
                message: format!("Hello {name}, {number} of {count}"),
            })
        }));
        Ok(Response::new(Box::pin(replies)))
    }
}

fn checked(name: String) -> Result<String, Status> {
    if name.is_empty() {
        return Err(Status::invalid_argument("`name` is empty"));
    }
    Ok(name)
}
