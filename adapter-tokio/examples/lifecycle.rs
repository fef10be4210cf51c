//! A server's life: start, serve, a signal, drain. What was taken in when the signal comes is
//! finished and answered; what nobody had taken waits in Redis for other servers.
//!
//! Over a Redis server it waits for ctrl-c or SIGTERM; over memory it does not wait for a signal.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::time::Duration;

use clamator_tokio::{Client, Context, InvalidTarget, MemoryBus, Server, Service, Target};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = target()?;
    // Before the server starts: a signal that nobody waits for ends the process.
    let terminate = signal(SignalKind::terminate())?;
    let report = Service::new("report").request("make", async |(): (), _: Context| {
        println!("the handler works for 200 ms");
        sleep(Duration::from_millis(200)).await;
        Ok("the report")
    });
    let server = Server::builder("lifecycle").service(report).start(&target).await?;
    println!("serving");

    let client = Client::connect("lifecycle", &target).await?;
    let call = tokio::spawn(client.call::<String>("report.make", ()));
    wait_for_signal(terminate).await;

    println!("told to stop: no new requests, running handlers have 5 s");
    let stopped = server.stop(Duration::from_secs(5)).await;
    println!("stopped, {} requests left for other servers", stopped.left);
    println!("the caller got {:?}", call.await??);
    client.stop().await;
    Ok(())
}

async fn wait_for_signal(mut terminate: Signal) {
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        () = sleep(Duration::from_millis(100)), if !over_redis() => println!("(as if by SIGTERM)"),
    }
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
