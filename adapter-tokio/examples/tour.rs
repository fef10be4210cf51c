//! Everything in one program: a server and a client, over this process's memory.
//!
//! `cargo run --example tour`, or `cargo run --example tour redis://localhost:6379`.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::time::Duration;

use clamator_tokio::{CallError, Client, Context, MemoryBus, RpcError, Server, Service, Target};
use serde_json::{Value, json};
use tokio::time::sleep;

#[derive(serde::Deserialize)]
struct Pair {
    a: i64,
    b: i64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).filter(|argument| argument != "memory");
    let memory = || Ok(Target::memory(&MemoryBus::new()));
    let target = url.map_or_else(memory, |url| Target::url(&url))?;

    let arith = Service::new("arith")
        .request("add", async |p: Pair, _: Context| Ok(json!({ "sum": p.a + p.b })))
        .request("divide", async |p: Pair, _: Context| {
            let zero = || RpcError::new(-32000, "division by zero");
            Ok(json!({ "quotient": p.a.checked_div(p.b).ok_or_else(zero)? }))
        })
        .request("sleep", async |(): (), _: Context| {
            sleep(Duration::from_millis(300)).await;
            Ok(())
        })
        .notification("log", async |params: Value, _: Context| {
            println!("   the server's handler got {params}");
            Ok(())
        });
    let server = Server::builder("tour").service(arith).start(&target).await?;
    println!("1. a server serves \"arith\" at {target}");
    let client = Client::connect("tour", &target).await?;
    let sum: Value = client.call("arith.add", json!({ "a": 2, "b": 3 })).await?;
    println!("2. a call: the request and its reply, {sum}, each went through a stream");

    println!("3. a notification: it is put on the stream, and nobody waits for an answer");
    client.notify("arith.log", json!({ "line": "hello" })).await?;

    let divided = client.call::<Value>("arith.divide", json!({ "a": 1, "b": 0 })).await;
    let Err(CallError::Rpc(error)) = divided else { return Err("1 / 0 is a number".into()) };
    println!("4. an error: the handler's own, \"{error}\"");

    let slow = client.call::<()>("arith.sleep", ()).timeout(Duration::from_millis(50)).await;
    assert_eq!(slow, Err(CallError::Timeout));
    println!("5. a timeout: no reply within 50 ms; the handler still runs, and may finish");

    client.stop().await;
    println!("6. the client stopped and deleted its reply stream");
    println!("7. the server stopped, with {} requests left over", server.shutdown().await.left);
    Ok(())
}
