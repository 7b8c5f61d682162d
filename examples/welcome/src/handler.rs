//! What the reception answers, and whom it asks.

use micro::{Channel, Peer};
use tonic::{Request, Response, Status};
use tracing::info;

use crate::proto::{
    greeter::{HelloRequest, say_client::SayClient},
    welcome::{WelcomeReply, WelcomeRequest, reception_server::Reception},
};

/// Answers the calls of `Reception`.
#[derive(Debug)]
pub(crate) struct Receptionist {
    node: String,
    greeter: SayClient<Channel>,
}

impl Receptionist {
    /// The handler of the node with the id `node`, which calls the greeter through `greeter`.
    pub(crate) fn new(node: &str, greeter: Channel) -> Self {
        Self {
            node: node.to_owned(),
            greeter: SayClient::new(greeter),
        }
    }
}

#[tonic::async_trait]
impl Reception for Receptionist {
    async fn welcome(&self, request: Request<WelcomeRequest>) -> Result<Response<WelcomeReply>, Status> {
        let WelcomeRequest { name } = request.into_inner();
        info!(node = self.node, name, "welcome");
        // What is left of the caller's deadline goes along, and so does the metadata that travels. What the greeter
        // refuses is refused here, in its words.
        let greeting = self.greeter.clone().hello(HelloRequest { name }).await?;
        let greeted_by = greeting
            .extensions()
            .get::<Peer>()
            .map(|peer| peer.node_id().to_owned());
        Ok(Response::new(WelcomeReply {
            message: format!("{}, welcome", greeting.into_inner().message),
            greeted_by: greeted_by.unwrap_or_default(),
        }))
    }
}
