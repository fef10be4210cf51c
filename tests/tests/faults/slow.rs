//! A connection so slow that a value takes longer than any command may.
//!
//! Not a frozen one, which is in `outages`, nor one that merely drips: as long as a large reply is
//! coming in, nobody gives it up.

use std::time::Duration;

use clamator_driver::{Client, Context, Runtime, Server, Service};
use clamator_engine::access::Role;
use clamator_tests::capture::{Capture, unique};
use clamator_tests::rights::target;
use clamator_tests::world::Async;

use crate::proxy::Proxy;
use crate::scene::{PREFIX, restricted_redis};

clamator_tests::scenarios!(
    a_reply_that_takes_longer_than_a_command_may_is_written_once,
    a_value_that_takes_longer_than_a_read_may_arrives_all_the_same,
);

/// Bytes a second.
const RATE: usize = 1_000_000;
/// Takes three seconds each time it passes; a read may take BLOCK and a second, which is two.
const SIZE: usize = 3_000_000;
/// Takes eight seconds; a command may take five.
const SIZE_REPLY: usize = 8_000_000;

async fn a_reply_that_takes_longer_than_a_command_may_is_written_once<R: Runtime>(runtime: R) {
    let redis = restricted_redis(&[]);
    let proxy = Proxy::start_slow(redis.port(), Some(RATE));
    let server = unique("server");
    let capture = Capture::of(&[&server]);
    let large = async |size: usize, _: Context| Ok("x".repeat(size));
    let server = Server::builder(PREFIX)
        .instance(server)
        .service(Service::new("large").request("make", large))
        .service(Service::new("small").request("make", large));
    let server = server.start_on(runtime.clone(), target(Role::Server, proxy.port)).await.unwrap();
    let client = Client::builder(PREFIX).instance("caller");
    let client = client.connect_on(runtime.clone(), redis.target(Role::Client));
    let client = client.await.unwrap();

    let large = runtime.task(client.call::<String>("large.make", SIZE_REPLY));
    runtime.sleep(Duration::from_secs(1)).await;
    // Waits behind the large reply, on the same lane, and no longer.
    let small = client.call::<String>("small.make", 1);
    let small = runtime.within(Duration::from_secs(15), "the small reply", small).await;
    assert_eq!(small.as_deref(), Ok("x"));
    assert_eq!(large.await.map(|reply| reply.len()), Ok(SIZE_REPLY));
    let key = format!("{PREFIX}:replies:caller");
    assert_eq!(redis.command(&format!("XLEN {key}")).integer(), 2, "a reply was written twice");
    assert_eq!(server.shutdown().await.left, 0);
    let warnings = capture.take("");
    assert!(warnings.is_empty(), "{warnings:?}");
}

async fn a_value_that_takes_longer_than_a_read_may_arrives_all_the_same<R: Runtime>(runtime: R) {
    let redis = restricted_redis(&[]);
    let proxy = Proxy::start_slow(redis.port(), Some(RATE));
    let (server, client) = (unique("server"), unique("client"));
    let capture = Capture::of(&[&server, &client]);
    let echo = Service::new("echo").request("echo", async |text: String, _: Context| Ok(text));
    let server = Server::builder(PREFIX).instance(server).service(echo);
    let server = server.start_on(runtime.clone(), target(Role::Server, proxy.port)).await.unwrap();
    let client = Client::builder(PREFIX).instance(client);
    let client = client.connect_on(runtime.clone(), target(Role::Client, proxy.port)).await;
    let client = client.unwrap();

    let text = "x".repeat(SIZE);
    let call = client.call::<String>("echo.echo", &text);
    let echoed = runtime.within(Duration::from_secs(20), "the large reply", call).await;
    assert_eq!(echoed.map(|echoed| echoed.len()), Ok(SIZE));
    let call = client.call::<String>("echo.echo", "small");
    let echoed = runtime.within(Duration::from_secs(5), "the small reply behind it", call).await;
    assert_eq!(echoed.as_deref(), Ok("small"));
    assert_eq!(server.stats().await.jobs_started, 2);
    let warnings = capture.take("");
    assert!(warnings.is_empty(), "{warnings:?}");
}
