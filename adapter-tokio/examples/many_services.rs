//! One client for many services, which two servers serve. The client has two connections and one
//! reply stream, however many services it calls.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use clamator_tokio::{Client, Context, InvalidTarget, MemoryBus, Server, Service, Target};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Serialize, Deserialize)]
struct Text {
    text: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = target()?;
    let upper = Service::new("upper")
        .request("convert", async |p: Text, _: Context| Ok(Text { text: p.text.to_uppercase() }));
    let count = Service::new("count")
        .request("letters", async |p: Text, _: Context| Ok(p.text.chars().count()));
    let whoami = Service::new("whoami").request("tell", async |(): (), context: Context| {
        Ok(json!({ "service": context.service().as_str(), "server": context.instance() }))
    });
    // Services of one server run beside each other; each by itself is served in order.
    let first = Server::builder("many").service(upper).service(count).start(&target).await?;
    let second = Server::builder("many").instance("second").service(whoami).start(&target).await?;

    let client = Client::connect("many", &target).await?;
    let shout = || Text { text: "shout".into() };
    let (upper, count, who) = tokio::try_join!(
        client.call::<Text>("upper.convert", shout()),
        client.call::<usize>("count.letters", shout()),
        client.call::<Value>("whoami.tell", ()),
    )?;
    println!("upper.convert: {}\ncount.letters: {count}\nwhoami.tell: {who}", upper.text);

    client.stop().await;
    first.shutdown().await;
    second.shutdown().await;
    Ok(())
}

/// The streams in this process, or those of the Redis server named by the first argument.
fn target() -> Result<Target, InvalidTarget> {
    let url = std::env::args().nth(1).filter(|argument| argument != "memory");
    url.map_or_else(|| Ok(Target::memory(&MemoryBus::new())), |url| Target::url(&url))
}
