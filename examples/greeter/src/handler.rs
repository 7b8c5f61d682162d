//! What the greeter answers.

use std::time::Duration;

use tokio_stream::StreamExt;
use tonic::{Request, Response, Status, codegen::BoxStream};
use tracing::info;

use crate::greeter::{GreetingsRequest, HelloReply, HelloRequest, say_server::Say};

const COUNT_DEFAULT: u32 = 3;
const COUNT_MAX: u32 = 1_000;
const INTERVAL_MAX_MS: u32 = 60_000;

/// Answers the calls of `Say`.
#[derive(Debug)]
pub(crate) struct Greeter {
    node: String,
}

impl Greeter {
    /// The handler of the node with the id `node`, which its logs name.
    pub(crate) fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
        }
    }
}

#[tonic::async_trait]
impl Say for Greeter {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let name = checked(request.into_inner().name)?;
        info!(node = self.node, name, "hello");
        Ok(Response::new(HelloReply {
            message: format!("Hello {name}"),
        }))
    }

    type GreetingsStream = BoxStream<HelloReply>;

    async fn greetings(
        &self,
        request: Request<GreetingsRequest>,
    ) -> Result<Response<Self::GreetingsStream>, Status> {
        let GreetingsRequest {
            name,
            count,
            interval_ms,
        } = request.into_inner();
        let name = checked(name)?;
        let count = if count == 0 { COUNT_DEFAULT } else { count };
        if count > COUNT_MAX || interval_ms > INTERVAL_MAX_MS {
            return Err(Status::invalid_argument(format!(
                "`count` is at most {COUNT_MAX}, `interval_ms` at most {INTERVAL_MAX_MS}"
            )));
        }
        info!(node = self.node, name, count, "greetings");
        let replies = tokio_stream::iter(1..=count).map(move |number| {
            Ok(HelloReply {
                message: format!("Hello {name}, {number} of {count}"),
            })
        });
        let interval = Duration::from_millis(interval_ms.into());
        Ok(Response::new(Box::pin(replies.throttle(interval))))
    }
}

fn checked(name: String) -> Result<String, Status> {
    if name.is_empty() {
        return Err(Status::invalid_argument("`name` is empty"));
    }
    Ok(name)
}
