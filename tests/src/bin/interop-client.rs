//! Makes a list of calls for the interop tests, as `tests/python/arith_client.py` does with the
//! published peer: the same flags, the same JSON in and out.
//!
//! With flags it reads a JSON list of calls `{method, params?, notification?, timeoutMs?, traceparent?}` and
//! prints one JSON list of outcomes in the same order; without flags it reads one JSON object
//! `{redisUrl, keyPrefix, instanceId?, defaultTimeoutMs?, calls, concurrent?}` and prints
//! `{"results": […]}`. A failed call is an outcome: the status is 0 unless what it was told is
//! unusable (2). Params and results pass through as the text they are. It runs on the runtime that
//! `CLAMATOR_RUNTIME` names.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is what the program is for")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clamator_driver::{Client, Json, Runtime, Target};
use clamator_tests::interop::calls::{Call, Outcome};
use clamator_tests::interop::config::{Config, read_input};
use clamator_tests::interop::runtime::RuntimeName;
use clamator_tests::world::{Async, AsyncStdThreads, SmolGlobal, TokioCurrentThread, World};
use tracing_subscriber::filter::LevelFilter;

/// How long a call may take when nobody says how long.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(std::io::stderr).init();
    match configuration().map_err(Into::into).and_then(start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("interop-client: {error}");
            ExitCode::from(2)
        }
    }
}

fn configuration() -> Result<(RuntimeName, Config), String> {
    let name = RuntimeName::from_env()?;
    let config = Config::read()?;
    let calls = if config.by_flags { read_input()? } else { config.calls };
    Ok((name, Config { calls, ..config }))
}

fn start((name, config): (RuntimeName, Config)) -> Result<(), Box<dyn Error>> {
    match name {
        RuntimeName::AsyncStd => AsyncStdThreads::run(|runtime| run(runtime, config)),
        RuntimeName::Smol => SmolGlobal::run(|runtime| run(runtime, config)),
        RuntimeName::Tokio => TokioCurrentThread::run(|runtime| run(runtime, config)),
    }
}

async fn run<R: Runtime>(runtime: R, config: Config) -> Result<(), Box<dyn Error>> {
    let target = Target::url(&config.redis_url)?;
    // As the peers' clients: what nobody takes times out.
    let mut builder = Client::builder(&config.key_prefix).withdraw(false);
    if let Some(instance) = &config.instance_id {
        builder = builder.instance(instance);
    }
    // As with the peers, starting succeeds whether Redis is there or not; calls tell.
    let builder = builder.timeout(config.timeout().unwrap_or(TIMEOUT_DEFAULT));
    let client = builder.connect_lazy_on(runtime.clone(), &target);

    let rounds = config.concurrent.unwrap_or(1).max(1);
    let mut outcomes = Vec::new();
    if config.parallel || rounds > 1 {
        let calls = (0..rounds).flat_map(|_| config.calls.iter().cloned());
        let tasks: Vec<_> = calls.map(|call| runtime.task(attempt(client.clone(), call))).collect();
        for task in tasks {
            outcomes.push(task.await);
        }
    } else {
        for call in config.calls {
            outcomes.push(attempt(client.clone(), call).await);
        }
    }
    client.stop().await;
    let outcomes = serde_json::to_string(&outcomes)?;
    if config.by_flags {
        println!("{outcomes}");
    } else {
        println!("{{\"results\":{outcomes}}}");
    }
    Ok(())
}

/// Makes one call and turns whatever comes of it into an outcome.
async fn attempt<R: Runtime>(client: Client<R>, call: Call) -> Outcome {
    let method = call.full_method();
    // Absent params are null here, which a client sends as `{}`.
    let params = call.params.unwrap_or_else(Json::null);
    if call.notification {
        let sent = client.notify(&method, params).traceparent(call.traceparent.as_deref()).await;
        return sent.map_or_else(Outcome::error, |()| Outcome::notification());
    }
    let mut request = client.call(&method, params).traceparent(call.traceparent.as_deref());
    if let Some(ms) = call.timeout_ms {
        request = request.timeout(Duration::from_millis(ms));
    }
    request.await.map_or_else(Outcome::error, Outcome::result)
}
