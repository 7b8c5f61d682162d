//! A plain client: greets whoever is named on the command line, by whichever greeter is there.

/// What the greeter's proto file says, as Rust.
mod greeter {
    micro::include_proto!("greeter");
}

use std::{env, error::Error};

use greeter::{GreetingsRequest, HelloRequest, say_client::SayClient};
use micro::{Client, Peer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name = env::args().nth(1).unwrap_or_else(|| "Ada".to_owned());
    let client = Client::from_env()?;
    let mut say = SayClient::new(client.channel("greeter"));

    let reply = say.hello(HelloRequest { name: name.clone() }).await?;
    if let Some(node) = reply.extensions().get::<Peer>() {
        println!("{} at {}:", node.node_id(), node.address());
    }
    println!("{}", reply.into_inner().message);

    let request = GreetingsRequest {
        name,
        ..GreetingsRequest::default()
    };
    let mut greetings = say.greetings(request).await?.into_inner();
    while let Some(reply) = greetings.message().await? {
        println!("{}", reply.message);
    }
    Ok(())
}
