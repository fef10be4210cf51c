//! Processes: what ends with them, what comes back, what waits, and whose clock is whose.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clamator_tokio::runtime::Instant;
use clamator_tokio::sim::{Process, Sim, Simulation};
use clamator_tokio::{Client, Context, Server, Service};

const SECOND: Duration = Duration::from_secs(1);

/// A run without faults.
fn run<T>(test: impl AsyncFnOnce(Sim) -> T) -> T {
    Simulation::new().span(Duration::ZERO).run(1, test)
}

/// Counts how often a task of this process was at work, once a second.
async fn tick(process: Process, ticks: Arc<AtomicU64>) {
    loop {
        process.sleep(SECOND).await;
        ticks.fetch_add(1, Ordering::Relaxed);
    }
}

fn echo() -> Service {
    Service::new("echo").request("say", async |word: String, _: Context| Ok(word))
}

#[test]
fn a_crash_drops_every_task_of_its_process_and_no_other() {
    run(async |sim| {
        let (one, two) = (sim.process("one"), sim.process("two"));
        let ticks: [Arc<AtomicU64>; 3] = Default::default();
        one.spawn(tick(one.clone(), Arc::clone(&ticks[0])));
        one.spawn(tick(one.clone(), Arc::clone(&ticks[1])));
        two.spawn(tick(two.clone(), Arc::clone(&ticks[2])));
        sim.sleep(3 * SECOND + SECOND / 2).await;
        one.crash();
        sim.sleep(3 * SECOND).await;
        assert_eq!(ticks.each_ref().map(|ticks| ticks.load(Ordering::Relaxed)), [3, 3, 6]);
        assert_eq!(ticks.each_ref().map(Arc::strong_count), [1, 1, 2]);
        one.spawn(async { panic!("a task of a process that is gone") });
        sim.sleep(SECOND).await;
    });
}

#[test]
fn a_worker_that_crashes_is_followed_by_another_one() {
    run(async |sim| {
        let worker = sim.worker("worker", |process| {
            Server::builder("app").claim_idle(SECOND).service(echo()).start(process)
        });
        let client = Client::connect("app", &sim).await.unwrap();
        for starts in 1..=5 {
            assert_eq!(client.call::<String>("echo.say", "a").await.unwrap(), "a");
            assert_eq!(worker.starts(), starts);
            worker.crash();
        }
    });
}

#[test]
fn a_worker_that_cannot_start_is_tried_again() {
    run(async |sim| {
        let worker = sim.worker("worker", |_| async { Err::<(), _>("not today") });
        sim.sleep(60 * SECOND).await;
        assert!((60..=600).contains(&worker.starts()), "{}", worker.starts());
    });
}

#[test]
fn a_worker_that_is_told_to_stop_answers_what_it_runs_and_is_followed() {
    run(async |sim| {
        let worker = sim.worker("worker", |process| {
            let clock = process.clone();
            let slow = Service::new("slow").request("work", move |(): (), _: Context| {
                let work = clock.sleep(2 * SECOND);
                async move {
                    work.await;
                    Ok(())
                }
            });
            Server::builder("app").service(slow).start(process)
        });
        let client = Client::connect("app", &sim).await.unwrap();
        let call = client.call::<()>("slow.work", ()).timeout(5 * SECOND);
        let stop = async {
            sim.sleep(SECOND).await;
            worker.stop();
        };
        let (outcome, ()) = futures_util::future::join(call, stop).await;
        assert_eq!(outcome, Ok(()));
        sim.sleep(5 * SECOND).await;
        assert_eq!(worker.starts(), 2);
    });
}

#[test]
fn a_crash_ends_the_connections_of_its_process() {
    run(async |sim| {
        let process = sim.process("other");
        let _own = Client::connect("app", &sim).await.unwrap();
        let _other = Client::connect("app", &process).await.unwrap();
        let lanes = || {
            sim.network(|_, network| {
                network.nodes().iter().map(|node| network.lanes(*node).len()).collect::<Vec<_>>()
            })
        };
        assert_eq!(lanes(), [2, 2]);
        process.crash();
        assert_eq!(lanes(), [2]);
    });
}

#[test]
fn a_frozen_process_does_nothing_and_then_goes_on_with_what_came_in() {
    run(async |sim| {
        let process = sim.process("server");
        let server = Server::builder("app").service(echo()).start(&process).await.unwrap();
        let ticks: Arc<AtomicU64> = Arc::default();
        process.spawn(tick(process.clone(), Arc::clone(&ticks)));
        let client = Client::connect("app", &sim).await.unwrap();
        sim.sleep(SECOND / 2).await;
        process.freeze(10 * SECOND);
        let early = client.call::<String>("echo.say", "early").timeout(8 * SECOND).await;
        assert!(early.is_err(), "{early:?}");
        assert_eq!(ticks.load(Ordering::Relaxed), 0);
        let late = client.call::<String>("echo.say", "late").await;
        assert_eq!(late.as_deref(), Ok("late"));
        assert!(sim.now() > Instant::from_start(10 * SECOND), "{}", sim.now());
        sim.sleep(SECOND).await;
        assert!((1..=3).contains(&ticks.load(Ordering::Relaxed)));
        drop(server);
    });
}

#[test]
fn a_clock_that_jumps_is_its_process_s_only() {
    run(async |sim| {
        let process = sim.process("other");
        let ticks: Arc<AtomicU64> = Arc::default();
        process.spawn(tick(process.clone(), Arc::clone(&ticks)));
        sim.sleep(SECOND / 4).await;
        process.turn_clock(SECOND / 2);
        assert_eq!(sim.now(), Instant::from_start(SECOND / 4));
        assert_eq!(process.now(), Instant::from_start(SECOND * 3 / 4));
        sim.sleep(SECOND / 2).await;
        assert_eq!(ticks.load(Ordering::Relaxed), 1);
    });
}

/// What runs in a simulation is decided by the target, not by the runtime of the type.
#[test]
fn clients_and_servers_of_every_runtime_run_in_a_simulation() {
    run(async |sim| {
        let server = clamator_smol::Server::builder("app").service(echo()).start(&sim).await;
        let server = server.unwrap();
        let one = clamator_async_std::Client::connect("app", &sim).await.unwrap();
        let two = Client::connect("app", &sim).await.unwrap();
        assert_eq!(one.call::<String>("echo.say", "one").await.as_deref(), Ok("one"));
        assert_eq!(two.call::<String>("echo.say", "two").await.as_deref(), Ok("two"));
        one.stop().await;
        two.stop().await;
        assert_eq!(server.stop(SECOND).await.left, 0);
    });
}

/// Nothing of a run outlives it, handles that are kept included.
#[test]
fn a_run_leaves_nothing_behind() {
    let held: Arc<()> = Arc::default();
    let sim = run(async |sim| {
        let (in_task, in_worker) = (Arc::clone(&held), Arc::clone(&held));
        let (own, clone) = (sim.clone(), sim.clone());
        sim.spawn(async move {
            let _held = (in_task, own);
            std::future::pending::<()>().await;
        });
        let _ = sim.worker("worker", move |process| {
            let kept = (Arc::clone(&in_worker), clone.clone(), process);
            async move { Ok::<_, String>(kept) }
        });
        sim.sleep(SECOND).await;
        sim
    });
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(sim.now(), Instant::from_start(SECOND));
}
