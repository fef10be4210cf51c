//! A server. Over a Redis server it serves until it is told to stop, with ctrl-c or SIGTERM; over
//! memory it calls itself once, because nobody else could.
//!
//! `cargo run --example server redis://localhost:6379`, then the example `client`.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use clamator_tokio::{Client, Context, InvalidTarget, MemoryBus, Server, Service, Target};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Deserialize)]
struct Add {
    a: f64,
    b: f64,
}

#[derive(Serialize)]
struct Sum {
    sum: f64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = target()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let arith =
        Service::new("arith").request("add", async |p: Add, _: Context| Ok(Sum { sum: p.a + p.b }));
    let server = Server::builder("example").service(arith).start(&target).await?;
    println!("serving arith at {target}");

    if over_redis() {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    } else {
        let client = Client::connect("example", &target).await?;
        let sum: Value = client.call("arith.add", json!({ "a": 2, "b": 3 })).await?;
        println!("arith.add answered {sum}");
        client.stop().await;
    }
    let stopped = server.shutdown().await;
    println!("stopped, {} requests left for other servers", stopped.left);
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
