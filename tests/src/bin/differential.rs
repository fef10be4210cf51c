//! Compares the in-memory model with a real server, command by command.
//!
//! Not a test target: `tests/tests/differential.rs` runs a short comparison; this one is as long
//! as one likes. It ends with status 1 when something differs, or when it did not meet what it must
//! have met.
//!
//! ```text
//! cargo run --release -p clamator-tests --bin differential -- --commands 1000000 --seed 7
//! ```
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    reason = "a program of the tests"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clamator_tests::differential::{self, Options};
use clamator_tests::seed;

const USAGE: &str = "usage: differential [--commands N] [--seed S] [--server PATH]

  --commands N   commands to compare, at least, in whole sequences; default 1000000
  --seed S       decimal, 0x-hexadecimal or a commit's hash; default $CLAMATOR_SEED, else 1
  --server PATH  the redis-server or valkey-server to start; default $CLAMATOR_REDIS_SERVER, else
                 the one of tests/setup.sh, else that on PATH";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "-h" || argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match read(&arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("differential: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let summary = differential::run(&options);
    println!("{summary}");
    if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(arguments: &[String]) -> Result<Options, String> {
    let mut options =
        Options { commands: 1_000_000, seed: 1, progress: true, ..Options::default() };
    if let Some(seed) = seed::of_environment() {
        options.seed = seed;
    }
    let mut arguments = arguments.iter();
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--commands" => {
                options.commands = value.parse().map_err(|error| format!("{value}: {error}"))?;
            }
            "--seed" => options.seed = seed::parse(value)?,
            "--server" => options.server = Some(value.into()),
            other => return Err(format!("what is {other}?")),
        }
    }
    if options.server.is_none() && std::env::var_os("CLAMATOR_REDIS_SERVER").is_none() {
        let prepared = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.env/redis-server"));
        let prepared = prepared.exists().then(|| prepared.to_owned());
        options.server = Some(prepared.unwrap_or_else(|| PathBuf::from("redis-server")));
    }
    Ok(options)
}
