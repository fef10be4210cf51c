//! A client of the example `server`. Over memory it brings a server of its own.
//!
//! `cargo run --example client redis://localhost:6379`, while the example `server` runs.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::time::Duration;

use clamator_tokio::{
    CallError, Client, Context, InvalidTarget, MemoryBus, Server, Service, Target,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Add {
    a: f64,
    b: f64,
}

#[derive(Serialize, Deserialize)]
struct Sum {
    sum: f64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = target()?;
    let arith =
        Service::new("arith").request("add", async |p: Add, _: Context| Ok(Sum { sum: p.a + p.b }));
    let builder = Server::builder("example").service(arith);
    let server = if over_redis() { None } else { Some(builder.start(&target).await?) };
    let client = Client::builder("example").timeout(Duration::from_secs(5));
    let client = client.connect(&target).await?;
    match client.call("arith.add", Add { a: 2.0, b: 3.0 }).await {
        Ok(Sum { sum }) => println!("2 + 3 = {sum}"),
        // Each kind of error says what may be done next.
        Err(CallError::Rpc(error)) => println!("the server says no: {error}"),
        Err(CallError::NoWorkers | CallError::NotSent) => println!("not sent, safe to try again"),
        Err(CallError::Refused(refusal)) => println!("Redis refused it: {refusal}"),
        Err(error) => println!("it may have run: {error}"),
    }

    client.stop().await;
    if let Some(server) = server {
        server.shutdown().await;
    }
    Ok(())
}

/// The streams in this process, or those of the Redis server named by the first argument.
fn target() -> Result<Target, InvalidTarget> {
    match std::env::args().nth(1) {
        Some(url) if over_redis() => Target::url(&url),
        _ => Ok(Target::memory(&MemoryBus::new())),
    }
}

fn over_redis() -> bool {
    std::env::args().nth(1).is_some_and(|argument| argument != "memory")
}
