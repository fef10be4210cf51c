//! The benchmark: clamator beside its floor, client and server in two processes each.
//!
//! Not a test: it passes no judgement, it prints a table. It starts a Redis of its own and runs
//! both sides in alternation, so that a noisy machine is noisy for both. The floor is what Redis
//! allows on the same wire: see `clamator_tests::bench::floor`.
//!
//! ```text
//! cargo run --release -p clamator-tests --bin bench -- --calls 20000 --windows 1,64,256 --rounds 5
//! ```
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    reason = "a program of the tests: it hopes, and says so by failing"
)]

use std::error::Error;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clamator_tests::bench::{Figures, WARM_UP, clamator, each, floor, processor_time};
use clamator_tests::process::Process;
use clamator_tests::redis::RedisServer;

const USAGE: &str = "usage: bench [--calls N] [--windows N,N,…] [--rounds N] [--json]

  --calls N      calls of each client in each round, default 20000
  --windows N,…  calls in flight, one row of the table each, default 1,64,256
  --rounds N     rounds of each side, of which the median is shown, default 3
  --json         one line of JSON for each row instead of the table

The server is $CLAMATOR_REDIS_SERVER, else the one of tests/setup.sh, else that on PATH.";
/// What a server prints when it serves.
const READY: &str = "READY";
/// The variable that names the server to start.
const SERVER: &str = "CLAMATOR_REDIS_SERVER";

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["part", side, "server", port] => serve(side, port),
        ["part", side, "client", port, window, calls] => call(side, port, window, calls),
        ["-h" | "--help"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ if std::env::var_os(SERVER).is_none() => with_server_found(&words),
        _ => Options::read(&words).and_then(|options| compare(&options)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the command line says.
struct Options {
    calls: usize,
    windows: Vec<usize>,
    rounds: usize,
    json: bool,
}

impl Options {
    fn read(words: &[&str]) -> Outcome<Self> {
        let mut options = Self { calls: 20_000, windows: vec![1, 64, 256], rounds: 3, json: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
            match *word {
                "--calls" => options.calls = number(value()?)?,
                "--windows" => {
                    options.windows = value()?.split(',').map(number).collect::<Outcome<_>>()?;
                }
                "--rounds" => options.rounds = number(value()?)?,
                "--json" => options.json = true,
                _ => return Err(format!("unknown option {word}\n{USAGE}").into()),
            }
        }
        Ok(options)
    }
}

/// Runs everything and prints it.
fn compare(options: &Options) -> Outcome<()> {
    let redis = RedisServer::start();
    if !options.json {
        println!("{} calls a round, median of {} rounds", options.calls, options.rounds);
        println!("CPU: processor time of client + server for a call, in µs");
        println!("{:>6}  {:^41}  {:^41}", "", "floor", "clamator");
        let [rate, p50, p99] = ["calls/s", "p50 µs", "p99 µs"];
        let head = format!("{rate:>9}{p50:>9}{p99:>9}{:>14}", "CPU");
        println!("{:>6}  {head}  {head}  {:>5}", "window", "ratio");
    }
    for window in &options.windows {
        let (mut floors, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            floors.push(measure(&redis, "floor", *window, options.calls)?);
            ours.push(measure(&redis, "clamator", *window, options.calls)?);
        }
        let (floor, ours) = (Figures::median(&floors), Figures::median(&ours));
        let ratio = ours.calls_per_second / floor.calls_per_second;
        if options.json {
            let row = serde_json::json!({
                "window": window, "calls": options.calls, "rounds": options.rounds,
                "floor": floor, "clamator": ours, "ratio": ratio,
            });
            println!("{row}");
        } else {
            println!("{window:>6}  {}  {}  {ratio:>5.2}", row(&floor), row(&ours));
        }
    }
    Ok(())
}

fn row(figures: &Figures) -> String {
    let Figures { calls_per_second, p50_us, p99_us, .. } = figures;
    let cpu = |figure: Option<f64>| figure.map_or_else(|| "?".into(), |us| format!("{us:.1}"));
    let cpu = format!("{} + {}", cpu(figures.client_cpu_us), cpu(figures.server_cpu_us));
    format!("{calls_per_second:>9.0}{p50_us:>9.0}{p99_us:>9.0}{cpu:>14}")
}

/// One round of one side: an empty Redis, a server process, a client process.
fn measure(redis: &RedisServer, side: &str, window: usize, calls: usize) -> Outcome<Figures> {
    redis.command("FLUSHALL");
    let port = redis.port().to_string();
    let mut server = Process::spawn(part()?.args([side, "server", &port]));
    server.await_line(READY, Duration::from_secs(10));
    let pid = server.pid().to_string();
    let before = processor_time(&pid);
    let client = part()?
        .args([side, "client", &port, &window.to_string(), &calls.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    if !client.status.success() {
        return Err(format!("the client of {side} failed: {}", client.status).into());
    }
    let server_cpu_us = each(before, processor_time(&pid), calls + WARM_UP);
    Ok(Figures { server_cpu_us, ..serde_json::from_slice(&client.stdout)? })
}

/// This program, as one of the processes that it starts.
fn part() -> Outcome<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("part").stdin(Stdio::null());
    Ok(command)
}

fn serve(side: &str, port: &str) -> Outcome<()> {
    let port = number(port)?;
    match side {
        "floor" => {
            println!("{READY}");
            Ok(floor::serve(port)?)
        }
        _ => single_threaded()?.block_on(clamator::serve(port, || println!("{READY}"))),
    }
}

fn call(side: &str, port: &str, window: &str, calls: &str) -> Outcome<()> {
    let (port, window, calls) = (number(port)?, number(window)?, number(calls)?);
    let figures = match side {
        "floor" => floor::call(port, window, calls)?,
        _ => {
            let local = tokio::task::LocalSet::new();
            local.block_on(&single_threaded()?, clamator::call(port, window, calls))?
        }
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

fn single_threaded() -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Reads a number that is not zero.
fn number<N: std::str::FromStr + Default + PartialEq>(text: &str) -> Outcome<N> {
    let number = text.parse().ok().filter(|number| *number != N::default());
    number.ok_or_else(|| format!("\"{text}\" is no number from 1").into())
}

/// Runs this program again, with the server that tests/setup.sh brought, or else the one on PATH.
fn with_server_found(words: &[&str]) -> Outcome<()> {
    let works = |server: &&str| {
        let version = Command::new(server).arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|version| version.success())
    };
    let servers = [concat!(env!("CARGO_MANIFEST_DIR"), "/.env/redis-server"), "redis-server"];
    let server = servers.into_iter().find(works).ok_or(
        "no redis-server: run tests/setup.sh, which brings one, or set CLAMATOR_REDIS_SERVER",
    )?;
    let mut again = Command::new(std::env::current_exe()?);
    let status = again.args(words).env(SERVER, server).status()?;
    if status.success() { Ok(()) } else { Err("the run above failed".into()) }
}
