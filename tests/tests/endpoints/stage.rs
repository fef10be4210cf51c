//! [`Pair`]: a server and a client of it at any target, and an ear for what they log.
//!
//! Not the Redis they meet at.

use std::time::{Duration, Instant};

use clamator_driver::{
    Client, ConnectError, Context, Loss, Runtime, Server, Service, StartError, Target,
};
use clamator_tests::capture::{Capture, unique};
use clamator_tests::world::Async;
use tracing::Level;

pub(crate) const PREFIX: &str = "endpoints";
/// What any step may take.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// A server and a client of it.
#[derive(Debug)]
pub(crate) struct Pair<R> {
    runtime: R,
    server: Server<R>,
    client: Client<R>,
    /// What the client logs.
    capture: Capture,
}

impl<R: Runtime> Pair<R> {
    /// Starts both, and makes a call.
    pub(crate) async fn start(runtime: &R, target: &Target) -> Self {
        let (server, client) = (unique("server"), unique("client"));
        let capture = Capture::of(&[&client]);
        let server = Server::builder(PREFIX).instance(server).service(echo());
        let server = server.start_on(runtime.clone(), target);
        let server = runtime.within(SOON, "the server", server).await.expect("the server starts");
        let client = Client::builder(PREFIX).instance(client).connect_on(runtime.clone(), target);
        let client = runtime.within(SOON, "the client", client).await.expect("it connects");
        let pair = Self { runtime: runtime.clone(), server, client, capture };
        pair.assert_serves().await;
        pair
    }

    /// Asserts that a call is answered at once.
    pub(crate) async fn assert_serves(&self) {
        let call = self.client.call::<u64>("echo.echo", 7);
        assert_eq!(self.runtime.within(SOON, "a reply", call).await, Ok(7));
    }

    /// Waits until a call is answered.
    pub(crate) async fn await_service(&self, at_most: Duration) {
        let end = Instant::now() + at_most;
        while self.client.call::<u64>("echo.echo", 7).timeout(SOON).await != Ok(7) {
            assert!(Instant::now() < end, "not served within {at_most:?}");
            self.runtime.sleep(Duration::from_millis(20)).await;
        }
    }

    /// Takes what the client warned about its connection, with what it said was wrong.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let lines = self.capture.take("redis disconnected");
        lines.iter().map(|line| line.field("error").to_owned()).collect()
    }

    /// Waits until the client has warned this often, and gives its warnings back; then waits a
    /// little longer, for what should not be said.
    pub(crate) async fn await_warnings(&self, count: usize) -> Vec<String> {
        let mut warnings = Vec::new();
        for _ in 0..300 {
            warnings.extend(self.warnings());
            if warnings.len() >= count {
                break;
            }
            self.runtime.sleep(Duration::from_millis(20)).await;
        }
        self.runtime.sleep(Duration::from_millis(1200)).await;
        warnings.extend(self.warnings());
        assert_eq!(warnings.len(), count, "{warnings:#?}");
        warnings
    }

    /// Asserts that the client said once that it is connected again, and warned of nothing.
    pub(crate) fn assert_reconnected(&self) {
        let lines = self.capture.take_all();
        let said: Vec<(Level, &str)> =
            lines.iter().map(|line| (line.level, line.message.as_str())).collect();
        assert_eq!(said, [(Level::INFO, "redis connected")], "{lines:?}");
    }

    /// Stops both; nothing is left over.
    pub(crate) async fn stop(self) {
        self.runtime.within(SOON, "the client's end", self.client.stop()).await;
        let stopped = self.runtime.within(SOON, "the server's end", self.server.shutdown()).await;
        assert_eq!(stopped.left, 0);
    }
}

fn echo() -> Service {
    Service::new("echo").request("echo", async |value: u64, _: Context| Ok(value))
}

/// What a client and a server are told that cannot connect: the same.
pub(crate) async fn loss<R: Runtime>(runtime: &R, target: &Target) -> Loss {
    let client = Client::builder(PREFIX).connect_on(runtime.clone(), target);
    let client = runtime.within(SOON, "an answer", client).await;
    let Err(ConnectError::Lost { loss, target: place }) = client else { panic!("{client:?}") };
    assert_eq!(place, target.to_string());
    let server = Server::builder(PREFIX).service(echo()).start_on(runtime.clone(), target);
    let server = runtime.within(SOON, "an answer", server).await;
    let Err(StartError::Connect(ConnectError::Lost { loss: told, .. })) = server else {
        panic!("{server:?}")
    };
    let kind = std::mem::discriminant::<Loss>;
    assert_eq!(kind(&loss), kind(&told), "{loss:?} and {told:?}");
    loss
}
