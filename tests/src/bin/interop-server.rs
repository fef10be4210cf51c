//! Serves `arith` and `notifications` for the interop tests, as `tests/python/arith_server.py`
//! does on the published peer: the same flags, the same standard streams, the same services.
//!
//! With flags it serves both services and reads no input; without flags it reads one JSON object
//! `{redisUrl, keyPrefix, contract?, instanceId?, consumerClaimIdleMs?}`. It prints `READY` once it
//! serves, stops gracefully on SIGTERM or SIGINT, and ends with `HANDLED:<handlers begun>` on
//! standard error, where its log goes too, and `BEGUN` whenever a handler that pauses begins. It
//! never outlives [`LIFETIME_MAX`]. It runs on the runtime that `CLAMATOR_RUNTIME` names.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is what the program is for")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use async_signal::{Signal, Signals};
use clamator_driver::{Runtime, Server, Target};
use clamator_tests::interop::arith::{self, Record};
use clamator_tests::interop::config::Config;
use clamator_tests::interop::runtime::RuntimeName;
use clamator_tests::world::{Async, AsyncStdThreads, SmolGlobal, TokioCurrentThread, World};
use futures_util::StreamExt;
use tracing_subscriber::filter::LevelFilter;

/// How long a server that nobody stops goes on.
const LIFETIME_MAX: Duration = Duration::from_secs(900);

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(std::io::stderr).init();
    let (name, config) = match configuration() {
        Ok(configuration) => configuration,
        Err(fault) => {
            eprintln!("interop-server: {fault}");
            return ExitCode::from(2);
        }
    };
    let served = match name {
        RuntimeName::AsyncStd => AsyncStdThreads::run(|runtime| serve(runtime, config)),
        RuntimeName::Smol => SmolGlobal::run(|runtime| serve(runtime, config)),
        RuntimeName::Tokio => TokioCurrentThread::run(|runtime| serve(runtime, config)),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("interop-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn configuration() -> Result<(RuntimeName, Config), String> {
    Ok((RuntimeName::from_env()?, Config::read()?))
}

async fn serve<R: Runtime>(runtime: R, config: Config) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::new([Signal::Term, Signal::Int])?;
    let target = Target::url(&config.redis_url)?;

    let mut builder = Server::builder(&config.key_prefix);
    if let Some(instance) = &config.instance_id {
        builder = builder.instance(instance);
    }
    if let Some(idle) = config.claim_idle() {
        builder = builder.claim_idle(idle);
    }
    if let Some(idle) = config.peer_claim_idle() {
        builder = builder.peer_claim_idle(idle);
    }
    let record = Record::new(runtime.clone(), config.instance_id.as_deref().unwrap_or("unnamed"));
    let contract = config.contract.as_deref();
    if contract != Some("notifications") {
        builder = builder.service(arith::arith(&record));
    }
    if contract != Some("arith") {
        builder = builder.service(arith::notifications(&record));
    }
    let server = builder.start_on(runtime.clone(), &target).await?;
    println!("READY");

    let stopped_in_time = runtime.timeout(LIFETIME_MAX, signals.next()).await.is_ok();
    server.shutdown().await;
    eprintln!("HANDLED:{}", record.handled());
    stopped_in_time.then_some(()).ok_or_else(|| "nobody stopped it".into())
}
