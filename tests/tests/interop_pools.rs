//! Pools of workers, of one language and of both, and what becomes of a request whose worker is
//! killed in the middle of it (scenarios 7 and 8 of the peers' own interop suite).
//!
//! Rust runs on each of its runtimes in turn. Not the calls themselves, which are in
//! `interop_scenarios.rs`. Upstream's crash scenario usually kills a worker that has nothing; here
//! the worker is killed with the request in its hands, which Redis confirms.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "tests wait and hope, and say so by failing"
)]

use clamator_tests::interop::peers::{Deployment, Peer, Worker, eventually};
use clamator_tests::interop::runtime::RuntimeName;
use clamator_tests::interop::streams::Pending;
use clamator_tests::{both_directions, on_every_runtime, programs};
use serde_json::{Value, json};

/// How long a request must be idle before it is taken over from another worker.
const CLAIM_IDLE: [&str; 2] = ["--claim-idle-ms", "1500"];

both_directions!(
    on every runtime:
    a_pool_shares_the_requests,
    a_mixed_pool_shares_the_requests,
    a_new_worker_finishes_what_a_killed_one_had_begun,
    a_worker_of_the_other_language_finishes_what_a_killed_one_had_begun,
    a_mixed_pool_finishes_what_either_worker_had_begun,
);

fn a_pool_shares_the_requests(deployment: &Deployment) {
    fifty_calls_are_shared(deployment, deployment.server, deployment.server);
}

fn a_mixed_pool_shares_the_requests(deployment: &Deployment) {
    fifty_calls_are_shared(deployment, Peer::Rust, Peer::Python);
}

fn fifty_calls_are_shared(deployment: &Deployment, first: Peer, second: Peer) {
    let first = deployment.serve_as(first, "A", &[]);
    let second = deployment.serve_as(second, "B", &[]);
    let call = json!({ "method": "add", "params": { "a": 1, "b": 1 } });
    let outcomes = deployment.call(Value::from(vec![call; 50]));
    assert_eq!(outcomes.len(), 50);
    assert!(outcomes.iter().all(|outcome| outcome.sum() == 2.0));
    deployment.settled();
    let (first, second) = (first.stop().0, second.stop().0);
    assert_eq!(first + second, 50, "{first} and {second}");
    assert!(first >= 5 && second >= 5, "{first} and {second}");
}

fn a_new_worker_finishes_what_a_killed_one_had_begun(deployment: &Deployment) {
    a_killed_worker_is_replaced(deployment, deployment.server);
}

fn a_worker_of_the_other_language_finishes_what_a_killed_one_had_begun(deployment: &Deployment) {
    a_killed_worker_is_replaced(deployment, deployment.server.other());
}

/// Kills a worker in the middle of a request, then starts another of this language.
fn a_killed_worker_is_replaced(deployment: &Deployment, successor: Peer) {
    let victim = deployment.serve_as(deployment.server, "victim", &CLAIM_IDLE);
    let calling = deployment.calling(deployment.client, slow_add(), &[]);
    let held = kill_in_the_middle(deployment, vec![("victim", victim)]).0;
    let rescuer = deployment.serve_as(successor, "rescuer", &CLAIM_IDLE);
    let outcomes = calling.outcomes();
    assert_eq!(outcomes[0].sum(), 3.0);
    deployment.settled();
    assert_eq!(held.deliveries, 1);
    assert_eq!(rescuer.stop().0, 1, "it took over more than there was");
}

/// Kills whichever worker of a mixed pool has the request; the other one is there already.
fn a_mixed_pool_finishes_what_either_worker_had_begun(deployment: &Deployment) {
    let workers = [("A", deployment.server), ("B", deployment.server.other())];
    let workers = workers
        .map(|(name, peer)| (name, deployment.serve_as(peer, name, &CLAIM_IDLE)))
        .into_iter()
        .collect();
    let calling = deployment.calling(deployment.client, slow_add(), &[]);
    let (_, survivors) = kill_in_the_middle(deployment, workers);
    assert_eq!(calling.outcomes()[0].sum(), 3.0);
    deployment.settled();
    for (_, survivor) in survivors {
        assert_eq!(survivor.stop().0, 1);
    }
}

on_every_runtime!(a_long_handler_is_not_started_again_by_an_impatient_python_worker);

/// Python takes over what has been idle for a second; ours is told so, and its own patience is 60.
fn a_long_handler_is_not_started_again_by_an_impatient_python_worker(runtime: RuntimeName) {
    let deployment = Deployment::on(runtime, programs!(), Peer::Rust, Peer::Python);
    let ours = deployment.serve_as(Peer::Rust, "ours", &["--peer-claim-idle-ms", "1000"]);
    let slow = json!([{ "method": "slowAdd", "params": { "a": 1, "b": 2, "sleepMs": 4000 } }]);
    let calling = deployment.calling(Peer::Python, slow, &[]);
    ours.begun();
    let impatient = deployment.serve_as(Peer::Python, "impatient", &["--claim-idle-ms", "1000"]);
    assert_eq!(calling.outcomes()[0].sum(), 3.0);
    deployment.settled();
    assert_eq!((ours.stop().0, impatient.stop().0), (1, 0));
}

on_every_runtime!(a_stopped_rust_worker_finishes_and_acknowledges_what_it_has);

fn a_stopped_rust_worker_finishes_and_acknowledges_what_it_has(runtime: RuntimeName) {
    let deployment = Deployment::on(runtime, programs!(), Peer::Rust, Peer::Python);
    let stopped = deployment.serve("stopped");
    let calling = deployment.calling(Peer::Python, slow_add(), &[]);
    stopped.begun();
    assert_eq!(stopped.stop().0, 1);
    assert_eq!(deployment.pending(), []);
    assert_eq!(calling.outcomes()[0].sum(), 3.0);
    // Nothing is left for a successor.
    let successor = deployment.serve("successor");
    assert_eq!(deployment.stats().counts.len(), 1);
    assert_eq!(successor.stop().0, 1);
}

fn slow_add() -> Value {
    json!([{ "method": "slowAdd", "params": { "a": 1, "b": 2, "sleepMs": 1500 } }])
}

/// Waits until one of these workers has begun the one request, and kills it. Gives back what it had,
/// and the other workers.
fn kill_in_the_middle<'a>(
    deployment: &Deployment,
    workers: Vec<(&'a str, Worker)>,
) -> (Pending, Vec<(&'a str, Worker)>) {
    let held = eventually("a worker has the request", || deployment.pending().pop());
    let (victims, others): (Vec<_>, Vec<_>) =
        workers.into_iter().partition(|(name, _)| *name == held.worker);
    assert_eq!(victims.len(), 1);
    for (_, victim) in victims {
        victim.begun();
        victim.kill();
    }
    assert_eq!(deployment.pending(), std::slice::from_ref(&held), "it died in the handler");
    (held, others)
}
