//! A server with many services and nothing to do.
//!
//! Not a test: `tests/tests/idle.rs` looks at what it costs, which is a process's. Arguments: how
//! many services, and the URL of a Redis. Prints `ready` once it serves, and goes on until it is
//! killed.
#![expect(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;
use std::future;

use clamator_driver::{Context, Runtime, Server, Service, Target};
use clamator_tests::world::{TokioThreads, World};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [services, url] = &*arguments else { return Err("usage: idle SERVICES URL".into()) };
    let services = services.parse()?;
    TokioThreads::run(|runtime| serve(runtime, services, url))
}

async fn serve<R: Runtime>(runtime: R, services: usize, url: &str) -> Outcome<()> {
    let mut builder = Server::builder("idle");
    for number in 0..services {
        let echo = async |value: u64, _: Context| Ok(value);
        builder = builder.service(Service::new(format!("echo{number}")).request("echo", echo));
    }
    let _server = builder.start_on(runtime, &Target::url(url)?).await?;
    println!("ready");
    future::pending().await
}
