//! What only smol has: executors that belong to the program, come and go.
//!
//! Not what every runtime does, which is tested on all of them alike.

use std::sync::Arc;

use clamator_smol::{CallError, Client, ConnectError, Context, MemoryBus, Server, Service, Smol};
use smol::{Executor, block_on};

/// A runtime for tasks inside an executor, as long as there is one.
fn runtime(executor: &Arc<Executor<'static>>) -> Smol {
    let executor = Arc::downgrade(executor);
    Smol::on(move |task| {
        if let Some(executor) = executor.upgrade() {
            executor.spawn(task).detach();
        }
    })
}

fn echo() -> Service {
    Service::new("echo").request("echo", async |value: u64, _: Context| Ok(value))
}

#[test]
fn an_executor_that_goes_away_takes_its_clients_and_servers_with_it() {
    let bus = MemoryBus::new();
    let executor = Arc::new(Executor::new());
    let smol = runtime(&executor);
    let (server, client) = block_on(executor.run(async {
        let server = Server::builder("p").service(echo()).start_on(smol.clone(), &bus).await;
        let client = Client::builder("p").connect_on(smol.clone(), &bus).await.unwrap();
        assert_eq!(client.call("echo.echo", 7).await, Ok(7_u64));
        (server.unwrap(), client)
    }));
    drop(executor);
    // Nobody runs them any more, and nobody waits for ever.
    assert_eq!(block_on(client.call::<u64>("echo.echo", 7)), Err(CallError::Stopped));
    assert_eq!(block_on(server.shutdown()).left, 0);
    let late = block_on(Client::builder("p").connect_on(smol, &bus));
    assert!(matches!(late, Err(ConnectError::Shutdown)), "{late:?}");
}

#[test]
fn a_client_and_a_server_may_live_in_executors_of_their_own() {
    let bus = MemoryBus::new();
    let (ours, theirs) = (Arc::new(Executor::new()), Arc::new(Executor::new()));
    let (smol, other) = (runtime(&ours), runtime(&theirs));
    let (alive, ended) = smol::channel::bounded::<()>(1);
    let thread = std::thread::spawn({
        let theirs = Arc::clone(&theirs);
        move || block_on(theirs.run(async { _ = ended.recv().await }))
    });
    let server = Server::builder("p").service(echo());
    let server = block_on(server.start_on(other, &bus)).unwrap();
    block_on(ours.run(async {
        let client = Client::builder("p").connect_on(smol, &bus).await.unwrap();
        for value in 0..100 {
            assert_eq!(client.call("echo.echo", value).await, Ok(value));
        }
        client.stop().await;
    }));
    assert_eq!(block_on(server.shutdown()).left, 0);
    drop(alive);
    thread.join().unwrap();
}
