//! What the service answers, and whom it asks.

use micro::{Channel, Peer};
use tonic::{Request, Response, Status};
use tracing::info;

use crate::proto::{
    callee::{HelloRequest, say_client::SayClient},
    own::{WelcomeReply, WelcomeRequest, reception_server::Reception},
};

/// Answers the calls of `Reception`.
#[derive(Debug)]
pub struct Handler {
    say: SayClient<Channel>,
}

impl Handler {
    /// The handler that calls the other service through `channel`.
    pub fn new(channel: Channel) -> Self {
        Self {
            say: SayClient::new(channel),
        }
    }
}

#[tonic::async_trait]
impl Reception for Handler {
    async fn welcome(
        &self,
        request: Request<WelcomeRequest>,
    ) -> Result<Response<WelcomeReply>, Status> {
        let WelcomeRequest { name } = request.into_inner();
        info!(name, "welcome");
        // What is left of the caller's deadline goes along. What the other refuses is refused here, in its words.
        let greeting = self.say.clone().hello(HelloRequest { name }).await?;
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
