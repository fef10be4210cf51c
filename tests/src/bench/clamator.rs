//! clamator's side of the benchmark: a typed service, and a client that keeps it busy.
//!
//! Not tuned: default settings, typed parameters and results, as a program would have them.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::rc::Rc;
use std::time::Instant;

use clamator_tokio::{Client, Context, Server, Service, Target};
use serde::{Deserialize, Serialize};

use super::{Clock, Figures, WARM_UP};

const PREFIX: &str = "bench";

#[derive(Deserialize, Serialize)]
struct Add {
    a: f64,
    b: f64,
}

#[derive(Deserialize, Serialize)]
struct Sum {
    sum: f64,
}

/// Serves until the process ends; calls `ready` when it does.
pub async fn serve(port: u16, ready: impl FnOnce()) -> Result<(), Box<dyn Error>> {
    let arith = Service::new("arith")
        .request("add", async |Add { a, b }: Add, _: Context| Ok(Sum { sum: a + b }));
    let server = Server::builder(PREFIX).service(arith).start(&target(port)?).await?;
    ready();
    std::future::pending::<()>().await;
    drop(server);
    Ok(())
}

/// Makes calls, `window` at a time, and measures all but the first few.
///
/// Must run on a `LocalSet`.
pub async fn call(port: u16, window: usize, calls: usize) -> Result<Figures, Box<dyn Error>> {
    let client = Client::connect(PREFIX, &target(port)?).await?;
    run(&client, window, WARM_UP).await?;
    let figures = run(&client, window, calls).await?;
    client.stop().await;
    Ok(figures)
}

async fn run(client: &Client, window: usize, calls: usize) -> Result<Figures, Box<dyn Error>> {
    let left = Rc::new(Cell::new(calls));
    let clock = Rc::new(RefCell::new(Clock::start(calls)));
    let callers: Vec<_> = (0..window)
        .map(|_| {
            let (client, left, clock) = (client.clone(), Rc::clone(&left), Rc::clone(&clock));
            tokio::task::spawn_local(async move {
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    let sent = Instant::now();
                    let Sum { sum } = client.call("arith.add", Add { a: 2.0, b: 3.0 }).await?;
                    assert!((sum - 5.0).abs() < f64::EPSILON, "2 + 3 = {sum}");
                    clock.borrow_mut().answered(sent);
                }
                Ok::<_, clamator_tokio::CallError>(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    let clock = Rc::try_unwrap(clock).map_err(|_| "a caller is still running")?;
    Ok(clock.into_inner().stop())
}

fn target(port: u16) -> Result<Target, Box<dyn Error>> {
    Ok(Target::url(&format!("redis://127.0.0.1:{port}"))?)
}
