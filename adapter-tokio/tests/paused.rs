//! What only tokio has: a clock that a test may pause.
//!
//! Not what every runtime does, which is tested on all of them alike.

use std::time::Duration;

use clamator_tokio::{CallError, Client, Context, MemoryBus, Server, Service};
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn a_paused_clock_is_the_clock_of_timeouts() {
    let bus = MemoryBus::new();
    let slow = Service::new("slow").request("sleep", async |seconds: u64, _: Context| {
        sleep(Duration::from_secs(seconds)).await;
        Ok(seconds)
    });
    let server = Server::builder("paused").service(slow).start(&bus).await.unwrap();
    let client = Client::connect("paused", &bus).await.unwrap();
    let before = Instant::now();
    assert_eq!(client.call("slow.sleep", 20).await, Ok(20_u64));
    assert_eq!(client.call::<u64>("slow.sleep", 3600).await, Err(CallError::Timeout));
    let waited = before.elapsed();
    assert!((50..51).contains(&waited.as_secs()), "{waited:?}");
    assert_eq!(server.stop(Duration::from_secs(1)).await.left, 1);
}
