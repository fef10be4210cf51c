//! [`Scene`]: a Redis, a client, servers and a ledger; and [`Load`], which keeps them busy.
//!
//! Not the faults. Everything waits for a bounded time and says what it waited for.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clamator_driver::{
    CallError, Client, ClientBuilder, Concurrency, Context, HandlerError, Runtime, Server,
    ServerBuilder, Service,
};
use clamator_engine::access::{Role, Scope};
use clamator_tests::redis::{RawConnection, RawReply};
use clamator_tests::rights::{RestrictedRedis, target};
use clamator_tests::world::{Async, Task};
use futures_channel::oneshot;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::ledger::Ledger;

pub(crate) const PREFIX: &str = "faults";
pub(crate) const COMMANDS: &str = "faults:cmds:work";
/// The client's reply stream.
pub(crate) const REPLIES: &str = "faults:replies:caller";
/// The reply stream of those who are not the client.
pub(crate) const RAW: &str = "faults:replies:raw";
/// What a fault may take until calls succeed again.
pub(crate) const RECOVERY_MAX: Duration = Duration::from_secs(2);
/// How long a call of a [`Load`] takes that is slow.
const SLOW_MS: u64 = 300;
/// Most calls of a [`Load`] in flight.
const IN_FLIGHT_MAX: usize = 300;

/// What a call asks for.
#[derive(Debug, Deserialize, Serialize)]
struct Work {
    number: u64,
    /// How long its handler works.
    ms: u64,
}

/// A Redis with a client and servers, each with the rights of its role and no other.
#[derive(Debug)]
pub(crate) struct Scene<R> {
    pub(crate) redis: RestrictedRedis,
    pub(crate) caller: Caller<R>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) servers: Vec<Server<R>>,
    runtime: R,
}

impl<R: Runtime> Scene<R> {
    /// Starts a Redis, a client, and one server with default settings whose handlers run at once.
    pub(crate) async fn start(runtime: &R) -> Self {
        let mut scene = Self::without_server(runtime).await;
        scene.serve(Concurrency::Limit(64), |builder| builder).await;
        scene
    }

    /// Starts a Redis and a client.
    pub(crate) async fn without_server(runtime: &R) -> Self {
        Self::with_caller(runtime, |builder| builder).await
    }

    /// Starts a Redis and a client that is not like all others.
    pub(crate) async fn with_caller(
        runtime: &R,
        configure: impl FnOnce(ClientBuilder<R>) -> ClientBuilder<R>,
    ) -> Self {
        let redis = restricted_redis(&["--maxmemory-policy", "noeviction"]);
        let port = redis.port();
        Self::on(runtime, redis, port, configure).await
    }

    /// Starts a client that finds this Redis at this port.
    pub(crate) async fn on(
        runtime: &R,
        redis: RestrictedRedis,
        port: u16,
        configure: impl FnOnce(ClientBuilder<R>) -> ClientBuilder<R>,
    ) -> Self {
        let ledger = Arc::new(Ledger::default());
        let caller = Caller::connect(runtime, port, &ledger, configure).await;
        Self { redis, caller, ledger, servers: Vec::new(), runtime: runtime.clone() }
    }

    /// Starts one more server.
    pub(crate) async fn serve(
        &mut self,
        concurrency: Concurrency,
        configure: impl FnOnce(ServerBuilder<R>) -> ServerBuilder<R>,
    ) -> &Server<R> {
        self.serve_from(self.redis.port(), concurrency, configure).await
    }

    /// Starts one more server, which finds its Redis at this port.
    pub(crate) async fn serve_from(
        &mut self,
        port: u16,
        concurrency: Concurrency,
        configure: impl FnOnce(ServerBuilder<R>) -> ServerBuilder<R>,
    ) -> &Server<R> {
        let builder = Server::builder(PREFIX).service(self.service(concurrency));
        let starting =
            configure(builder).start_on(self.runtime.clone(), target(Role::Server, port));
        let server =
            self.runtime.within(Duration::from_secs(10), "the server's start", starting).await;
        self.servers.push(server.expect("the server starts"));
        self.servers.last().expect("there is a server")
    }

    /// Asserts that soon everything was given out, nothing is pending, and no more is left in the
    /// command stream than a server settles before it knows that it may delete.
    pub(crate) async fn assert_settled(&self) {
        let mut seen = String::new();
        for _ in 0..100 {
            let stream = pairs(&self.redis.command("XINFO STREAM faults:cmds:work"));
            let groups = self.redis.command("XINFO GROUPS faults:cmds:work");
            let group = pairs(&groups.array()[0]);
            let left = self.length(COMMANDS);
            // What was taken back is never given out.
            let everything_out =
                left == 0 || stream["last-generated-id"] == group["last-delivered-id"];
            if everything_out && group["pending"].integer() == 0 && left < 100 {
                return;
            }
            seen = format!("{left} in the stream, {group:?}");
            self.runtime.sleep(Duration::from_millis(50)).await;
        }
        panic!("not settled after 5 s: {seen}");
    }

    /// How many entries are pending; -1 when there is no group.
    pub(crate) fn pending(&self) -> i64 {
        match self.redis.command("XPENDING faults:cmds:work work") {
            RawReply::Array(summary) => summary[0].integer(),
            _ => -1,
        }
    }

    pub(crate) fn length(&self, key: &str) -> i64 {
        self.redis.command(&format!("XLEN {key}")).integer()
    }

    /// Waits until `reached` is true, at most this long.
    pub(crate) async fn await_that(
        &self,
        what: &str,
        at_most: Duration,
        reached: impl Fn(&Self) -> bool,
    ) {
        let reaching = async {
            while !reached(self) {
                self.runtime.sleep(Duration::from_millis(10)).await;
            }
        };
        self.runtime.within(at_most, what, reaching).await;
    }

    /// The service `work`: its handlers sleep as long as they are told to.
    fn service(&self, concurrency: Concurrency) -> Service {
        let (ledger, runtime) = (Arc::clone(&self.ledger), self.runtime.clone());
        let run = move |Work { number, ms }: Work, context: Context| {
            let running = ledger.start(number, context.instance());
            let runtime = runtime.clone();
            async move {
                if ms > 0 {
                    runtime.sleep(Duration::from_millis(ms)).await;
                }
                running.finish();
                Ok(Ledger::reply(number))
            }
        };
        Service::new("work").request("run", run).concurrency(concurrency)
    }
}

/// A client whose calls are in the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Caller<R> {
    pub(crate) client: Client<R>,
    ledger: Arc<Ledger>,
    next: Arc<AtomicU64>,
    runtime: R,
}

impl<R: Runtime> Caller<R> {
    async fn connect(
        runtime: &R,
        port: u16,
        ledger: &Arc<Ledger>,
        configure: impl FnOnce(ClientBuilder<R>) -> ClientBuilder<R>,
    ) -> Self {
        let builder = Client::builder(PREFIX).instance("caller").timeout(Duration::from_secs(20));
        let target = target(Role::Client, port);
        let connecting = configure(builder).connect_on(runtime.clone(), target);
        let client =
            runtime.within(Duration::from_secs(10), "the client's connection", connecting).await;
        let client = client.expect("the client connects");
        let (ledger, runtime) = (Arc::clone(ledger), runtime.clone());
        Self { client, ledger, next: Arc::default(), runtime }
    }

    /// Makes one call whose handler works for `ms`.
    pub(crate) async fn call(&self, ms: u64) -> Result<u64, CallError> {
        self.call_within(ms, None).await
    }

    pub(crate) async fn call_within(
        &self,
        ms: u64,
        timeout: Option<Duration>,
    ) -> Result<u64, CallError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.ledger.call(number);
        let mut call = self.client.call("work.run", Work { number, ms });
        if let Some(timeout) = timeout {
            call = call.timeout(timeout);
        }
        let result = call.await;
        self.ledger.ended(number, result.clone());
        result
    }

    /// Makes several calls at once.
    pub(crate) fn calls(&self, count: usize, ms: u64) -> Calls<R> {
        let call = |_| {
            let caller = self.clone();
            self.runtime.task(async move {
                let _ = caller.call(ms).await;
            })
        };
        Calls { tasks: (0..count).map(call).collect(), runtime: self.runtime.clone() }
    }

    /// Makes several calls at once from each of several threads, which are not the runtime's.
    pub(crate) fn calls_from_threads(&self, threads: usize, count: usize) -> Calls<R> {
        let start = |_| {
            let (caller, (done, ended)) = (self.clone(), oneshot::channel());
            std::thread::spawn(move || {
                // Of smol only this, which does nothing but park the thread.
                smol::future::block_on(join_all((0..count).map(|_| caller.call(0))));
                // Nobody waits any more when the test has failed.
                let _ = done.send(());
            });
            self.runtime.task(async move { ended.await.expect("no call panics") })
        };
        Calls { tasks: (0..threads).map(start).collect(), runtime: self.runtime.clone() }
    }

    /// Makes a call every so often, one in ten of them slow, until the load is stopped.
    pub(crate) fn load(&self, every: Duration, call_timeout: Duration) -> Load<R> {
        let (caller, stop) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let task = self.runtime.task(async move {
            let (runtime, mut beat) = (caller.runtime.clone(), Instant::now());
            let mut tasks: Vec<Task<()>> = Vec::new();
            for count in 0_u64.. {
                runtime.sleep(beat.saturating_duration_since(Instant::now())).await;
                // Missed beats are not made up for.
                beat = beat.max(Instant::now() - every) + every;
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                tasks.retain_mut(|call| call.finished().is_none());
                if tasks.len() < IN_FLIGHT_MAX {
                    let caller = caller.clone();
                    let ms = if count % 10 == 0 { SLOW_MS } else { count % 4 };
                    tasks.push(runtime.task(async move {
                        let _ = caller.call_within(ms, Some(call_timeout)).await;
                    }));
                }
            }
            Calls { tasks, runtime }
        });
        Load { stop, task, call_timeout }
    }
}

/// Calls under way.
#[derive(Debug)]
pub(crate) struct Calls<R> {
    tasks: Vec<Task<()>>,
    runtime: R,
}

impl<R: Runtime> Calls<R> {
    /// Waits for the end of all, at most this long.
    pub(crate) async fn end(self, at_most: Duration) {
        self.runtime.within(at_most, "the end of every call", join_all(self.tasks)).await;
    }
}

/// Calls that are made all the time, until it is dropped.
#[derive(Debug)]
pub(crate) struct Load<R> {
    stop: Arc<AtomicBool>,
    task: Task<Calls<R>>,
    call_timeout: Duration,
}

impl<R: Runtime> Load<R> {
    /// Makes no more calls and waits for those under way.
    pub(crate) async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let calls = (&mut self.task).await;
        calls.end(self.call_timeout + Duration::from_secs(5)).await;
    }
}

impl<R> Drop for Load<R> {
    fn drop(&mut self) {
        // The runtime may outlive a scenario that fails.
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What Redis tells as names and values in one list.
fn pairs(reply: &RawReply) -> BTreeMap<String, RawReply> {
    let pairs = reply.array().chunks(2);
    pairs.map(|pair| (pair[0].text(), pair[1].clone())).collect()
}

/// A Redis whose users may do what clients and servers do here, and nothing else.
pub(crate) fn restricted_redis(options: &[&str]) -> RestrictedRedis {
    RestrictedRedis::start(&Scope::new(PREFIX), options)
}

/// Serves `odd.run` with this handler.
pub(crate) async fn served<R, F, Fut, T>(
    runtime: &R,
    scene: &Scene<R>,
    handler: F,
    configure: impl FnOnce(ServerBuilder<R>) -> ServerBuilder<R>,
) -> Server<R>
where
    R: Runtime,
    F: Fn((), Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, HandlerError>> + Send + 'static,
    T: Serialize + 'static,
{
    let service = Service::new("odd").request("run", handler);
    let builder = configure(Server::builder(PREFIX).service(service));
    let starting = builder.start_on(runtime.clone(), scene.redis.target(Role::Server));
    runtime.within(Duration::from_secs(10), "the start", starting).await.expect("the server starts")
}

/// Adds a request as a client would that is not ours; gives its id back.
pub(crate) fn add_request(
    connection: &mut RawConnection,
    number: u64,
    ms: u64,
    reply_to: &str,
) -> String {
    let reply = connection.command(&request(&envelope(number, ms), reply_to));
    reply.text()
}

pub(crate) fn envelope(number: u64, ms: u64) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"work.run","params":{{"number":{number},"ms":{ms}}},"id":{number}}}"#
    )
}

/// The words of the command that adds a request.
pub(crate) fn request<'a>(envelope: &'a str, reply_to: &'a str) -> [&'a [u8]; 9] {
    let words = ["XADD", COMMANDS, "*", "type", "rpc", "envelope", envelope, "reply-to", reply_to];
    words.map(str::as_bytes)
}
