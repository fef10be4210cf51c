//! A contract built by hand at run time, `custom-commands`, beside another service on one server:
//! for commands that are only known when the program starts, such as those of a configuration.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::sync::Arc;

use clamator_tokio::{BoxFuture, Client, Context, Handler, HandlerError, HandlerResult};
use clamator_tokio::{InvalidTarget, Json, MemoryBus, MethodKind, Server, Service, Target};
use serde_json::{Value, json};

/// One handler for every command; the context says which one was called.
struct Command {
    answer: &'static str,
}

impl Handler for Command {
    fn handle(&self, params: Json, context: Context) -> BoxFuture<'static, HandlerResult> {
        let answer = json!({ "command": context.method().as_str(), "answer": self.answer });
        Box::pin(async move {
            if params.decode::<Value>()?.get("fail").is_some() {
                return Err(HandlerError::boxed("CommandFailed", "asked to fail"));
            }
            Ok(Json::encode(&answer)?)
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = target()?;
    let configured = [("launch", "launched"), ("land", "landed")];
    let mut custom = Service::new("custom-commands");
    for (name, answer) in configured {
        custom = custom.handler(name, MethodKind::Request, Arc::new(Command { answer }));
    }
    let echo = Service::new("echo").request("say", async |said: Value, _: Context| Ok(said));
    let server = Server::builder("custom").service(custom).service(echo).start(&target).await?;

    let client = Client::connect("custom", &target).await?;
    println!("{}", client.call::<Value>("custom-commands.launch", ()).await?);
    println!("{}", client.call::<Value>("custom-commands.land", ()).await?);
    println!("{:?}", client.call::<Value>("custom-commands.land", json!({ "fail": 1 })).await);
    println!("{}", client.call::<Value>("echo.say", json!({ "a": 1 })).await?);
    client.stop().await;
    server.shutdown().await;
    Ok(())
}

/// The streams in this process, or those of the Redis server named by the first argument.
fn target() -> Result<Target, InvalidTarget> {
    let url = std::env::args().nth(1).filter(|argument| argument != "memory");
    url.map_or_else(|| Ok(Target::memory(&MemoryBus::new())), |url| Target::url(&url))
}
