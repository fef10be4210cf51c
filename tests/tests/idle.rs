//! What a server costs that has nothing to do: commands to Redis, and time of the processor.
//!
//! Not what it costs at work: that is for the benchmarks.
#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests hope, and say so by failing"
)]

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clamator_tests::process::Process;
use clamator_tests::redis::RedisServer;

const SERVICES: u32 = 100;
/// Most commands of one service in one second.
const COMMANDS_MAX: f64 = 3.0;
/// Fewest: a blocking read and a look for what dead workers left.
const COMMANDS_MIN: f64 = 1.5;
/// Most processor time of all services, in parts of one processor. A program that is not optimised
/// takes more.
const LOAD_MAX: f64 = if cfg!(debug_assertions) { 0.05 } else { 0.02 };
/// Parts of a second in which Linux tells a process's time.
const TICKS: f64 = 100.0;

fn commands(redis: &RedisServer) -> f64 {
    let stats = redis.command("INFO stats").text();
    let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    line.unwrap().trim().parse().unwrap()
}

/// The processor time that a process has taken, in seconds.
fn load(process: &Process) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    // What follows the name, which may have spaces: the state first, the times 12th and 13th.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let times = fields.split(' ').skip(11).take(2);
    times.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS
}

#[test]
fn a_hundred_idle_services_cost_little() {
    let redis = RedisServer::start();
    let url = format!("redis://127.0.0.1:{}", redis.port());
    let mut program = Command::new(env!("CARGO_BIN_EXE_idle"));
    let mut server = Process::spawn(program.args([&SERVICES.to_string(), &url]));
    server.await_line("ready", Duration::from_secs(20));
    // What is done at the start is not idle.
    sleep(Duration::from_secs(3));
    let (since, before) = (Instant::now(), (commands(&redis), load(&server)));
    sleep(Duration::from_secs(10));
    let (seconds, after) = (since.elapsed().as_secs_f64(), (commands(&redis), load(&server)));
    server.kill();
    let rate = (after.0 - before.0) / seconds / f64::from(SERVICES);
    let load = (after.1 - before.1) / seconds;
    assert!((COMMANDS_MIN..=COMMANDS_MAX).contains(&rate), "{rate:.2} commands per second");
    assert!(load <= LOAD_MAX, "{:.1} % of a processor", load * 100.0);
    println!("{rate:.2} commands per second and service, {:.1} % of a processor", load * 100.0);
}
