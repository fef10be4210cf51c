//! Notifications: sent as soon as they are on the stream, handled in order, never answered. They
//! wait in Redis while no server runs.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use clamator_tokio::{Client, Context, InvalidTarget, MemoryBus, Server, Service, Target};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

#[derive(Serialize, Deserialize)]
struct Ping {
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = target()?;
    let (sender, mut handled) = mpsc::unbounded_channel();
    let notifications =
        Service::new("notifications").notification("ping", move |ping: Ping, context: Context| {
            let sender = sender.clone();
            async move { Ok(sender.send((ping.tag, context.entry()))?) }
        });
    let server = Server::builder("fire").service(notifications).start(&target).await?;

    let client = Client::connect("fire", &target).await?;
    for tag in [Some("one"), Some("two"), None] {
        client.notify("notifications.ping", Ping { tag: tag.map(Into::into) }).await?;
        println!("sent {tag:?}");
    }
    // A program that forgets would end here. This one shows what arrives.
    for _ in 0..3 {
        let (tag, entry) = handled.recv().await.ok_or("the server is gone")?;
        println!("handled {tag:?}, entry {entry}");
    }
    client.stop().await;
    server.shutdown().await;
    Ok(())
}

/// The streams in this process, or those of the Redis server named by the first argument.
fn target() -> Result<Target, InvalidTarget> {
    let url = std::env::args().nth(1).filter(|argument| argument != "memory");
    url.map_or_else(|| Ok(Target::memory(&MemoryBus::new())), |url| Target::url(&url))
}
