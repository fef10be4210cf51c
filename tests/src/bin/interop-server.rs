//! Serves `arith` and `notifications` for the interop tests, as `tests/python/arith_server.py`
//! does on the published peer: the same flags, the same standard streams, the same services.
//!
//! With flags it serves both services and reads no input; without flags it reads one JSON object
//! `{redisUrl, keyPrefix, contract?, instanceId?, consumerClaimIdleMs?}`. It prints `READY` once it
//! serves, stops gracefully on SIGTERM or SIGINT, and ends with `HANDLED:<handlers begun>` on
//! standard error, where its log goes too. It never outlives [`LIFETIME_MAX`].
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is what the program is for")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clamator_tests::interop::arith::{self, Record};
use clamator_tests::interop::config::Config;
use clamator_tokio::{Server, Target};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

/// How long a server that nobody stops goes on.
const LIFETIME_MAX: Duration = Duration::from_secs(900);

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(std::io::stderr).init();
    let config = match Config::read() {
        Ok(config) => config,
        Err(fault) => {
            eprintln!("interop-server: {fault}");
            return ExitCode::from(2);
        }
    };
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("interop-server: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let target = Target::url(&config.redis_url)?;

    let mut builder = Server::builder(&config.key_prefix);
    if let Some(instance) = &config.instance_id {
        builder = builder.instance(instance);
    }
    if let Some(idle) = config.claim_idle() {
        builder = builder.claim_idle(idle);
    }
    let record = Record::new(config.instance_id.as_deref().unwrap_or("unnamed"));
    let contract = config.contract.as_deref();
    if contract != Some("notifications") {
        builder = builder.service(arith::arith(&record));
    }
    if contract != Some("arith") {
        builder = builder.service(arith::notifications(&record));
    }
    let server = builder.start(&target).await?;
    println!("READY");

    let stopped_in_time = tokio::select! {
        _ = terminate.recv() => true,
        _ = interrupt.recv() => true,
        () = tokio::time::sleep(LIFETIME_MAX) => false,
    };
    server.shutdown().await;
    eprintln!("HANDLED:{}", record.handled());
    stopped_in_time.then_some(()).ok_or_else(|| "nobody stopped it".into())
}
