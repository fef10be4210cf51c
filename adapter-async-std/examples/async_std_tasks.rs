//! Calls from many tasks of async-std through one client, and a server in the same program.
//!
//! Over memory, or over the Redis server whose URL is the first argument.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use async_std::task;
use clamator_async_std::{
    Client, Concurrency, Context, InvalidTarget, MemoryBus, Server, Service, Target,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    task::block_on(serve_and_call())
}

async fn serve_and_call() -> Result<(), Box<dyn std::error::Error>> {
    let target = target()?;
    let squares = Service::new("squares")
        .request("of", async |number: u64, _: Context| Ok(number * number))
        .concurrency(Concurrency::Limit(16));
    let server = Server::builder("async-std").service(squares).start(&target).await?;
    let client = Client::connect("async-std", &target).await?;

    let calls: Vec<_> =
        (1..=100_u64).map(|number| task::spawn(client.call::<u64>("squares.of", number))).collect();
    let mut sum = 0;
    for call in calls {
        sum += call.await?;
    }
    println!("the squares of 1 to 100 make {sum}");

    client.stop().await;
    let stopped = server.shutdown().await;
    println!("stopped, {} requests left", stopped.left);
    Ok(())
}

/// The streams in this process, or those of the Redis server named by the first argument.
fn target() -> Result<Target, InvalidTarget> {
    match std::env::args().nth(1).filter(|argument| argument != "memory") {
        Some(url) => Target::url(&url),
        None => Ok(Target::memory(&MemoryBus::new())),
    }
}
