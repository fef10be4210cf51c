//! [`Pool`]: worker processes of one service, a Redis, and a client that keeps them busy.
//!
//! Not what is to be true afterwards: see `ledger`.

use std::io::{BufRead, BufReader};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use clamator_driver::Target;
use clamator_tokio::Client;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use super::ledger::{Account, Ending, Ledger};
use crate::process::{Process, now};
use crate::redis::{RawReply, RedisServer};
use crate::seed;

/// Calls under way at once.
const CALLERS: usize = 24;
/// What a process may take to start, or to stop.
const SOON: Duration = Duration::from_secs(20);

pub const STREAM: &str = "chaos:cmds:chaos";
/// The consumer for whom is pending what is handed back.
const RELEASED: &str = "chaos:released";

/// What a pool is like.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub workers: usize,
    /// The program of a worker in Rust: `env!("CARGO_BIN_EXE_chaos-worker")`.
    pub program: &'static str,
    /// Whether every second worker is a published Python peer.
    pub mixed: bool,
    pub claim_idle: Duration,
    /// Much longer than a call may take, where nothing is forgotten.
    pub call_timeout: Duration,
}

#[derive(Debug, Serialize)]
pub struct Work {
    pub number: u64,
}

#[derive(Debug, Deserialize)]
pub struct Done {
    pub value: u64,
}

#[derive(Debug)]
pub struct Pool {
    redis: RedisServer,
    setup: Setup,
    ledger: Arc<Ledger>,
    workers: Vec<Seat>,
    /// How many processes there were.
    started: usize,
    stop: Arc<AtomicBool>,
    callers: Option<JoinHandle<(Runtime, Client)>>,
}

/// A place in the pool, and who has it.
#[derive(Debug)]
struct Seat {
    process: Process,
    worker: usize,
    reader: JoinHandle<()>,
}

impl Pool {
    pub fn start(redis: RedisServer, setup: Setup) -> Self {
        let (ledger, stop) = (Arc::<Ledger>::default(), Arc::<AtomicBool>::default());
        let (workers, callers) = (Vec::new(), None);
        let mut pool = Self { redis, setup, ledger, workers, started: 0, stop, callers };
        for place in 0..setup.workers {
            let seat = pool.spawn(place);
            pool.workers.push(seat);
        }
        pool
    }

    /// Has calls made until the pool is finished.
    pub fn busy(mut self) -> Self {
        self.callers = Some(self.call());
        self
    }

    /// What decides who is struck, and when. Printed, so that it can be repeated as far as processes
    /// can.
    pub fn seed(&self) -> u64 {
        let seed = seed::of_environment().unwrap_or_else(|| self.redis.port().into());
        println!("CLAMATOR_SEED={seed:#x}");
        seed
    }

    pub fn redis(&self) -> &RedisServer {
        &self.redis
    }

    pub fn worker(&self, place: usize) -> &Process {
        &self.workers[place].process
    }

    pub fn target(&self) -> Target {
        Target::url(&self.redis.url()).expect("a valid URL")
    }

    fn spawn(&mut self, place: usize) -> Seat {
        let worker = self.ledger.worker();
        self.started += 1;
        let claim_idle = self.setup.claim_idle.as_millis().to_string();
        let is_peer = self.setup.mixed && place % 2 == 1;
        let mut program = if is_peer { python_worker() } else { Command::new(self.setup.program) };
        program.arg(self.redis.url());
        if is_peer {
            program.arg(format!("w{}", self.started));
        }
        program.arg(&claim_idle);
        if self.setup.mixed && !is_peer {
            program.arg(&claim_idle);
        }
        let mut process = Process::spawn(&mut program);
        let stdout = process.child().stdout.take().expect("output is piped");
        let ledger = Arc::clone(&self.ledger);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line == "ready" {
                    let _ = ready.send(());
                } else {
                    ledger.read(worker, &line);
                }
            }
        });
        is_ready.recv_timeout(SOON).expect("a worker is ready");
        Seat { process, worker, reader }
    }

    /// Ends a worker, and puts another one in its place.
    pub fn end_worker(&mut self, place: usize, ending: Ending) {
        let next = self.spawn(place);
        let seat = std::mem::replace(&mut self.workers[place], next);
        self.end(seat, ending);
    }

    fn end(&self, mut seat: Seat, ending: Ending) {
        match ending {
            Ending::Killed => {
                self.ledger.ended(seat.worker, ending);
                seat.process.kill();
            }
            Ending::Stopped => {
                seat.process.signal("TERM");
                assert!(seat.process.wait(SOON), "a worker that was told to stop failed");
                self.ledger.ended(seat.worker, ending);
            }
        }
        seat.reader.join().expect("it reads to the end");
    }

    /// Lets a worker do nothing for a while.
    pub fn freeze(&self, place: usize, duration: Duration) {
        let Seat { process, worker, .. } = &self.workers[place];
        let since = now();
        process.signal("STOP");
        std::thread::sleep(duration);
        process.signal("CONT");
        self.ledger.froze(*worker, since);
    }

    /// Kills Redis and starts it again; tells how long it then took until a call was answered.
    pub fn restart_redis(
        &mut self,
        forgets: bool,
        meanwhile: impl FnOnce(),
        at_most: Duration,
    ) -> Duration {
        let since = now();
        self.redis.kill();
        meanwhile();
        self.redis.restart();
        let back = now();
        self.ledger.away(since, forgets);
        self.ledger.resumed(back, at_most)
    }

    /// Makes calls until told to stop. Gives back the client, and the runtime on which it goes on.
    fn call(&self) -> JoinHandle<(Runtime, Client)> {
        let (ledger, stop) = (Arc::clone(&self.ledger), Arc::clone(&self.stop));
        let (target, timeout) = (self.target(), self.setup.call_timeout);
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
            let client = runtime.block_on(async move {
                let client = Client::builder("chaos").timeout(timeout);
                let client = client.connect(target).await.expect("Redis is there");
                let next = Arc::<AtomicU64>::default();
                let callers = (0..CALLERS).map(|_| {
                    let (client, next) = (client.clone(), Arc::clone(&next));
                    let (ledger, stop) = (Arc::clone(&ledger), Arc::clone(&stop));
                    tokio::spawn(async move {
                        while !stop.load(Ordering::Relaxed) {
                            let number = next.fetch_add(1, Ordering::Relaxed);
                            ledger.call(number);
                            let result = client.call::<Done>("chaos.work", Work { number }).await;
                            let is_err = result.is_err();
                            ledger.answer(number, result.map(|done| done.value));
                            if is_err {
                                tokio::time::sleep(Duration::from_millis(50)).await;
                            }
                        }
                    })
                });
                for caller in callers.collect::<Vec<_>>() {
                    caller.await.expect("no caller panics");
                }
                client
            });
            (runtime, client)
        })
    }

    /// Ends the calls, then the client, then the workers; asserts that nothing is left behind, and
    /// tells what came of it all. The client outlives its requests: what is run again for one that is
    /// gone leaves its reply, until that expires.
    pub fn finish(mut self) -> Account {
        self.stop.store(true, Ordering::Relaxed);
        let callers = self.callers.take().map(|it| it.join().expect("no caller panics"));
        self.settle();
        if let Some((runtime, client)) = callers {
            runtime.block_on(client.stop());
        }
        for seat in std::mem::take(&mut self.workers) {
            self.end(seat, Ending::Stopped);
        }
        let keys = self.redis.command("KEYS *");
        let keys = keys.array().iter().map(RawReply::text).collect::<Vec<_>>();
        assert_eq!(keys, [STREAM], "left behind");
        let consumers = self.redis.command(&format!("XINFO CONSUMERS {STREAM} chaos"));
        let consumers = consumers.array().iter().map(|consumer| consumer.array()[1].text());
        let consumers = consumers.filter(|name| name != RELEASED).count();
        self.ledger.account(self.setup.claim_idle, consumers)
    }

    /// Waits until nothing is pending or still to be given out: what a killed worker has answered but
    /// not acknowledged is run again first, and so is what Redis forgot that it had given out.
    fn settle(&self) {
        let end = now() + 5 * self.setup.claim_idle + Duration::from_secs(2);
        loop {
            let new = self.redis.command(&format!("XINFO GROUPS {STREAM}"));
            let last_delivered = new.array()[0].array()[7].text();
            let new = self.redis.command(&format!("XRANGE {STREAM} ({last_delivered} +"));
            let new = new.array().len();
            // Behind the other question: what was given out meanwhile is pending.
            let pending = self.redis.command(&format!("XPENDING {STREAM} chaos"));
            let pending = pending.array()[0].integer();
            if new == 0 && pending == 0 {
                return;
            }
            assert!(now() < end, "{new} stay new, {pending} pending, although all was answered");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn python_worker() -> Command {
    let python = std::env::var_os("CLAMATOR_PYTHON").expect(
        "CLAMATOR_PYTHON names no Python with the published peer: run the tests with tests/run.sh",
    );
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/chaos_worker.py"));
    command
}
