//! Says which threads a program has that serves and calls on one runtime: their names, a line each.
//!
//! Not a test: `tests/tests/threads.rs` runs it, once per runtime, because threads are a
//! process's. Arguments: the runtime (`tokio`, `tokio-current-thread`, `async-std`, `smol`,
//! `smol-executor`) and the URL of a Redis.
#![expect(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;
use std::fs;

use clamator_driver::{Client, Context, Runtime, Server, Service, Target};
use clamator_tests::world::{
    AsyncStdThreads, SmolExecutor, SmolGlobal, TokioCurrentThread, TokioThreads, World,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [runtime, url] = &*arguments else { return Err("usage: threads RUNTIME URL".into()) };
    let names = match runtime.as_str() {
        "async-std" => AsyncStdThreads::run(|runtime| names(runtime, url)),
        "smol" => SmolGlobal::run(|runtime| names(runtime, url)),
        "smol-executor" => SmolExecutor::run(|runtime| names(runtime, url)),
        "tokio" => TokioThreads::run(|runtime| names(runtime, url)),
        "tokio-current-thread" => TokioCurrentThread::run(|runtime| names(runtime, url)),
        other => return Err(format!("no such runtime: {other}").into()),
    };
    for name in names? {
        println!("{name}");
    }
    Ok(())
}

/// Makes calls, and tells the names of the threads that there are then.
async fn names<R: Runtime>(runtime: R, url: &str) -> Outcome<Vec<String>> {
    let target = Target::url(url)?;
    let echo = Service::new("echo").request("echo", async |value: u64, _: Context| Ok(value));
    let server = Server::builder("threads").service(echo);
    let server = server.start_on(runtime.clone(), &target).await?;
    let client = Client::builder("threads").connect_on(runtime, &target).await?;
    for value in 0..10 {
        let echoed: u64 = client.call("echo.echo", value).await?;
        assert_eq!(echoed, value);
    }
    let names = thread_names()?;
    client.stop().await;
    server.shutdown().await;
    Ok(names)
}

/// The names of this process's threads, in the kernel's form of at most 15 letters.
fn thread_names() -> Outcome<Vec<String>> {
    let threads = fs::read_dir("/proc/self/task")?;
    let names = threads.map(|thread| Ok(fs::read_to_string(thread?.path().join("comm"))?));
    let names: Outcome<Vec<String>> = names.collect();
    Ok(names?.iter().map(|name| name.trim_end().to_owned()).collect())
}
