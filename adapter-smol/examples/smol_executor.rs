//! A server and a client inside an executor of the program's own, on its one thread: smol's global
//! executor, and its thread, are never started.
//!
//! Over memory, or over the Redis server whose URL is the first argument.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use clamator_smol::{Client, Context, InvalidTarget, MemoryBus, Server, Service, Smol, Target};
use serde::{Deserialize, Serialize};
use smol::Executor;

#[derive(Serialize, Deserialize)]
struct Add {
    a: i64,
    b: i64,
}

static EXECUTOR: Executor<'_> = Executor::new();

fn main() -> Result<(), Box<dyn std::error::Error>> {
    smol::block_on(EXECUTOR.run(serve_and_call()))
}

async fn serve_and_call() -> Result<(), Box<dyn std::error::Error>> {
    let (smol, target) = (Smol::on(|task| EXECUTOR.spawn(task).detach()), target()?);
    let arith = Service::new("arith").request("add", async |p: Add, _: Context| Ok(p.a + p.b));
    let server = Server::builder("smol").service(arith).start_on(smol.clone(), &target).await?;
    let client = Client::builder("smol").connect_on(smol, &target).await?;

    let sum: i64 = client.call("arith.add", Add { a: 2, b: 3 }).await?;
    println!("2 + 3 = {sum}, in the program's own executor");

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
