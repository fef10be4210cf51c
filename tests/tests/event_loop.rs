//! The example of a custom event loop keeps its promises over a real Redis, whatever happens to
//! that, and it and the porting page stay what they are: short, and in step with each other.
//!
//! Not the engine's rules: those have their own tests. Counts and times are the example's own
//! words; threads and what is left in Redis are looked at from outside.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests hope")]
#![allow(clippy::disallowed_methods, reason = "a test over real sockets waits for real")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use clamator_tests::process::{Process, now};
use clamator_tests::redis::{RawReply, RedisServer};

/// How long a run may take.
const TIME_MAX: Duration = Duration::from_secs(60);
/// How long it may take to see that there is no Redis: the example's patience, twice.
const GIVE_UP_MAX: Duration = Duration::from_secs(10);
/// Calls that the example has under way at once.
const WINDOW: u64 = 64;
const EXAMPLE: &str = include_str!("../../clamator-engine/examples/event_loop.rs");
const PAGE: &str = include_str!("../../clamator-engine/src/porting.rs");
const OUTCOME_UNKNOWN: &str =
    "the connection ended before Redis confirmed the request, which may have run";
const TIMEOUT: &str = "call timeout";

/// The example under way.
struct Run {
    process: Process,
    output: thread::JoinHandle<String>,
    errors: thread::JoinHandle<String>,
}

/// What it said at its end.
struct Said {
    succeeded: bool,
    output: String,
    errors: String,
}

impl Run {
    fn start(target: &str, calls: u64) -> Self {
        // `cargo test` builds examples beside this test's own folder.
        let own = std::env::current_exe().unwrap();
        let folder = own.parent().and_then(Path::parent).unwrap().join("examples");
        let mut command = Command::new(folder.join("event_loop"));
        command.args([target, &calls.to_string()]).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process::spawn(&mut command);
        let (stdout, stderr) = (process.child().stdout.take(), process.child().stderr.take());
        let output = thread::spawn(|| std::io::read_to_string(stdout.unwrap()).unwrap());
        let errors = thread::spawn(|| std::io::read_to_string(stderr.unwrap()).unwrap());
        Self { process, output, errors }
    }

    /// Waits until this many entries were added to streams.
    fn await_added(&mut self, redis: &RedisServer, entries: u64) {
        let end = now() + TIME_MAX;
        while added(redis) < entries {
            assert!(now() < end, "{} of {entries} entries were added", added(redis));
            assert_eq!(self.process.child().try_wait().unwrap(), None, "it ended");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.process.pid())).map_or(0, Iterator::count)
    }

    fn end(mut self, at_most: Duration) -> Said {
        let succeeded = self.process.wait(at_most);
        Said { succeeded, output: self.output.join().unwrap(), errors: self.errors.join().unwrap() }
    }
}

impl Said {
    fn answered(&self) -> u64 {
        let line = self.output.lines().find(|line| line.contains(" calls answered, in one thread"));
        line.unwrap_or_else(|| panic!("no count: {self}"))
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// How many calls failed, by reason.
    fn failed(&self) -> BTreeMap<&str, u64> {
        let lines = self.output.lines().filter_map(|line| line.split_once(" calls failed: "));
        lines.map(|(count, reason)| (reason, count.parse().unwrap())).collect()
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.output, self.errors)
    }
}

/// How many entries were added to streams: two for each call.
fn added(redis: &RedisServer) -> u64 {
    let stats = redis.command("INFO commandstats").text();
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_xadd:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[test]
fn every_call_is_answered_in_one_thread_and_nothing_is_left_behind() {
    let redis = RedisServer::start();
    let mut run = Run::start(&redis.url(), 10_000);
    run.await_added(&redis, 1000);
    assert_eq!(run.threads(), 1, "threads");
    let said = run.end(TIME_MAX);
    assert!(said.succeeded, "{said}");
    assert_eq!((said.answered(), said.failed()), (10_000, BTreeMap::new()), "{said}");
    assert_eq!(said.output.lines().count(), 1, "{said}");
    assert_eq!(redis.command("XLEN event-loop:cmds:arith"), RawReply::Integer(0));
    let none = RawReply::Array(Vec::new());
    assert_eq!(redis.command("KEYS event-loop:replies:*"), none);
    assert_eq!(redis.command("XINFO CONSUMERS event-loop:cmds:arith arith"), none);
}

#[test]
fn calls_go_on_after_every_connection_was_killed() {
    let (redis, calls) = (RedisServer::start(), 20_000);
    let mut run = Run::start(&redis.url(), calls);
    run.await_added(&redis, calls);
    let killed = redis.command("CLIENT KILL TYPE normal").integer();
    assert!(killed >= 4, "{killed} connections: both engines have two");
    let said = run.end(TIME_MAX);
    assert!(said.succeeded, "{said}");
    let failed = said.failed();
    assert_eq!(said.answered() + failed.values().sum::<u64>(), calls, "{said}");
    assert!(failed.keys().all(|reason| *reason == OUTCOME_UNKNOWN), "{said}");
    assert!(said.answered() >= calls - WINDOW, "{said}");
    assert!(said.output.contains("client: the connection to Redis ended"), "{said}");
}

#[test]
fn calls_go_on_after_redis_was_restarted_empty() {
    let (mut redis, calls) = (RedisServer::start(), 20_000);
    let mut run = Run::start(&redis.url(), calls);
    run.await_added(&redis, calls);
    redis.restart();
    let said = run.end(TIME_MAX);
    assert!(said.succeeded, "{said}");
    let failed = said.failed();
    assert_eq!(said.answered() + failed.values().sum::<u64>(), calls, "{said}");
    assert!(failed.keys().all(|reason| [OUTCOME_UNKNOWN, TIMEOUT].contains(reason)), "{said}");
    assert!(said.answered() >= calls - 2 * WINDOW, "{said}");
    assert!(added(&redis) > calls / 2, "{} entries: the calls did not go on", added(&redis));
}

#[test]
fn calls_go_on_after_redis_was_frozen() {
    let (redis, calls) = (RedisServer::start(), 20_000);
    let mut run = Run::start(&redis.url(), calls);
    run.await_added(&redis, calls);
    redis.signal("STOP");
    // Longer than a blocking read may take, so that lanes are closed while their replies come.
    thread::sleep(Duration::from_millis(3500));
    redis.signal("CONT");
    let said = run.end(TIME_MAX);
    assert!(said.succeeded, "{said}");
    assert_eq!(said.answered() + said.failed().values().sum::<u64>(), calls, "{said}");
    assert!(
        said.failed().keys().all(|reason| [OUTCOME_UNKNOWN, TIMEOUT].contains(reason)),
        "{said}"
    );
    assert!(said.answered() >= calls - 2 * WINDOW, "{said}");
    assert!(said.output.contains("client: no answer from Redis within 2s"), "{said}");
}

#[test]
fn a_run_gives_up_when_redis_stays_away() {
    let (mut redis, calls) = (RedisServer::start(), 1_000_000);
    let mut run = Run::start(&redis.url(), calls);
    run.await_added(&redis, 1000);
    redis.kill();
    let said = run.end(GIVE_UP_MAX);
    assert!(!said.succeeded, "{said}");
    assert!(said.errors.contains("the connection to Redis ended"), "{said}");
}

#[test]
fn replies_may_come_byte_by_byte() {
    let redis = RedisServer::start();
    let port = redis.port();
    let address = listen(move |client| {
        let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut from_client, mut to_server) = (&client, server.try_clone().unwrap());
        client.set_nodelay(true).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || std::io::copy(&mut from_client, &mut to_server));
            let mut byte = [0];
            while server.read_exact(&mut byte).is_ok() && (&client).write_all(&byte).is_ok() {}
            // Both ways end together.
            let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        });
    });
    let said = Run::start(&address, 50).end(TIME_MAX);
    assert_eq!((said.answered(), said.failed()), (50, BTreeMap::new()), "{said}");
}

#[test]
fn what_is_no_redis_is_named() {
    let address = listen(|mut client| {
        let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = std::io::copy(&mut client, &mut std::io::sink());
    });
    assert_gives_up(&address, "the server did not answer as Redis does");
}

#[test]
fn silence_is_no_reason_to_wait_for_ever() {
    let address = listen(|mut client| drop(std::io::copy(&mut client, &mut std::io::sink())));
    assert_gives_up(&address, "no answer from Redis within 2s");
}

#[test]
fn nobody_at_the_address_is_named() {
    let address = listen(drop);
    assert_gives_up(&address, "the connection to Redis ended");
    assert_gives_up("127.0.0.1:1", "Connection refused");
}

/// Takes connections as long as the test runs, each in a thread of its own.
fn listen(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (serve, client) = (serve.clone(), client.unwrap());
            thread::spawn(move || serve(client));
        }
    });
    address
}

fn assert_gives_up(target: &str, wanted: &str) {
    let said = Run::start(target, 10_000).end(GIVE_UP_MAX);
    assert!(!said.succeeded, "{said}");
    assert!(said.errors.contains(wanted), "{said}");
    assert!(!said.output.contains("answered"), "{said}");
}

#[test]
fn the_example_is_short_and_without_a_runtime() {
    let lines = EXAMPLE.lines().count();
    assert!(lines < 350, "{lines} lines");
    for word in ["async", "await", "tokio", "smol", "thread::spawn", "unwrap()", "unsafe"] {
        assert!(!EXAMPLE.contains(word), "{word}");
    }
}

#[test]
fn the_example_says_where_it_keeps_each_line_of_the_contract() {
    let cited = |number| EXAMPLE.contains(&format!("Contract {number}: "));
    let missing: Vec<u32> = (1..=10).filter(|number| !cited(*number)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(!cited(0) && !cited(11), "the contract has ten lines");
}

#[test]
fn the_contract_has_ten_lines_and_each_is_explained() {
    let numbered = PAGE.lines().filter_map(|line| {
        let (number, rule) = line.strip_prefix("//! ")?.split_once(". ")?;
        Some((number.parse::<u32>().ok()?, rule, line.chars().count()))
    });
    let numbered: Vec<_> = numbered.collect();
    let numbers: Vec<u32> = numbered.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<u32>>());
    for (number, rule, columns) in numbered {
        assert!(rule.ends_with('.') && columns <= 100, "line {number}: {rule:?}");
        assert!(PAGE.contains(&format!("//! **{number}. ")), "line {number} is not explained");
    }
}
