//! Faults: each is met, crashes strike at the moment they are named after, and all end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clamator_tokio::sim::{Fault, FaultCounts, Sim, Simulation, Trouble};
use clamator_tokio::{CallError, Client, Context, Server, Service};

const CLAIM_IDLE: Duration = Duration::from_millis(500);

/// How often a handler ran for each parameter.
type Runs = Arc<Mutex<BTreeMap<u32, u32>>>;

/// A worker, and a client in a process of its own. Some calls come to nothing.
pub(crate) async fn work(sim: &Sim) -> Runs {
    let runs: Runs = Arc::default();
    let counted = Arc::clone(&runs);
    let _ = sim.worker("worker", move |process| {
        let (counted, clock) = (Arc::clone(&counted), process.clone());
        let count = Service::new("count").request("run", move |number: u32, _: Context| {
            *counted.lock().unwrap().entry(number).or_default() += 1;
            let work = clock.sleep(Duration::from_millis(5));
            async move {
                work.await;
                Ok(number)
            }
        });
        Server::builder("app").claim_idle(CLAIM_IDLE).service(count).start(process)
    });
    let process = sim.process("caller");
    let client = Client::connect_lazy("app", &process);
    for number in 0..6 {
        let call = client.call::<u32>("count.run", number).timeout(Duration::from_secs(2));
        if let Ok(answer) = call.await {
            assert_eq!(answer, number);
            assert!(runs.lock().unwrap().contains_key(&number));
        }
        sim.sleep(Duration::from_millis(400)).await;
    }
    client.stop().await;
    runs
}

#[test]
fn each_fault_is_met() {
    let simulation = Simulation::new().span(Duration::from_secs(3)).faults(Fault::ALL.to_vec());
    let mut met = FaultCounts::default();
    for seed in 0..500 {
        met.merge(&simulation.run(seed, async |sim| {
            work(&sim).await;
            sim.faults()
        }));
    }
    let foreign = [
        Fault::ClientStopped,
        Fault::HandlerPanics,
        Fault::HandlerSlow,
        Fault::HandlerStuck,
        Fault::PythonWorker,
        Fault::ReplyOverflow,
        Fault::ReplyTooLong,
        Fault::TwinClients,
    ];
    for fault in Fault::ALL {
        assert_eq!(met.of(*fault) == 0, foreign.contains(fault), "{fault}: {met:?}");
    }
}

/// A run of the first seed in which this fault, alone, happens.
fn alone(fault: Fault) -> BTreeMap<u32, u32> {
    let simulation = Simulation::new().span(Duration::from_secs(3)).faults([fault]);
    let meet = |seed| {
        simulation.run(seed, async |sim| {
            let runs = work(&sim).await;
            sim.healed().await;
            sim.sleep(Duration::from_secs(5)).await;
            let runs = runs.lock().unwrap().clone();
            (sim.faults().of(fault) > 0).then_some(runs)
        })
    };
    (0..100).find_map(meet).unwrap_or_else(|| panic!("{fault} is never met"))
}

#[test]
fn a_crash_before_the_reply_lets_the_handler_run_again() {
    let runs = alone(Fault::CrashBeforeReply);
    assert!(runs.values().any(|runs| *runs > 1), "{runs:?}");
    let runs = alone(Fault::CrashInHandler);
    assert!(runs.values().all(|runs| *runs >= 1), "{runs:?}");
}

#[test]
fn a_crash_before_the_handler_or_after_the_acknowledgement_is_not_seen() {
    for fault in [Fault::CrashAfterRead, Fault::CrashAfterAck] {
        let runs = alone(fault);
        assert!(runs.values().all(|runs| *runs >= 1), "{fault}: {runs:?}");
        assert_eq!(runs.len(), 6, "{fault}");
    }
}

#[test]
fn without_faults_nothing_goes_wrong() {
    let simulation = Simulation::new().faults([]);
    let met = simulation.seeds(0, 20, async |sim| {
        let runs = work(&sim).await;
        assert!(runs.lock().unwrap().values().all(|runs| *runs == 1));
        assert_eq!(runs.lock().unwrap().len(), 6);
    });
    assert_eq!(met.total(), 0);
}

#[test]
fn when_faults_are_over_everything_works_again() {
    let simulation = Simulation::new().span(Duration::from_secs(3)).faults(Fault::ALL.to_vec());
    simulation.seeds(0, 1000, async |sim| {
        work(&sim).await;
        sim.healed().await;
        let met = sim.faults();
        let client = Client::connect_lazy("app", &sim);
        // What has been lost is noticed and made again; a clock that jumped is believed again.
        sim.sleep(Duration::from_secs(20)).await;
        let call = client.call::<u32>("count.run", 7).timeout(Duration::from_secs(5));
        assert_eq!(call.await, Ok(7));
        assert_eq!(sim.faults(), met);
    });
}

#[test]
fn faults_can_be_ended_early() {
    let simulation = Simulation::new().span(Duration::from_secs(300));
    simulation.seeds(0, 50, async |sim| {
        work(&sim).await;
        sim.heal();
        sim.healed().await;
        let met = sim.faults();
        sim.sleep(Duration::from_secs(60)).await;
        assert_eq!(sim.faults(), met);
    });
}

/// What a caller is told is true, under everything that loses no data.
#[test]
fn what_is_confirmed_runs_and_what_was_not_sent_does_not() {
    let simulation = Simulation::new().span(Duration::from_secs(3));
    simulation.seeds(0, 1000, async |sim| {
        let runs: Runs = Arc::default();
        for name in ["worker-1", "worker-2"] {
            let runs = Arc::clone(&runs);
            let _ = sim.worker(name, move |process| {
                let runs = Arc::clone(&runs);
                let log =
                    Service::new("log").notification("add", move |number: u32, _: Context| {
                        *runs.lock().unwrap().entry(number).or_default() += 1;
                        async { Ok(()) }
                    });
                Server::builder("app").claim_idle(CLAIM_IDLE).service(log).start(process)
            });
        }
        let client = Client::connect_lazy("app", &sim);
        let mut told = BTreeMap::new();
        for number in 0..30 {
            told.insert(number, client.notify("log.add", number).await);
            sim.sleep(sim.dice().time(Duration::ZERO, Duration::from_millis(200))).await;
        }
        sim.healed().await;
        sim.sleep(Duration::from_secs(15)).await;
        let runs = runs.lock().unwrap();
        for (number, outcome) in told {
            let ran = runs.get(&number).copied().unwrap_or_default();
            match outcome {
                Ok(()) => assert!(ran >= 1, "{number} was confirmed and never ran"),
                Err(CallError::NotSent | CallError::Refused(_)) => {
                    assert_eq!(ran, 0, "{number} was not sent and ran: {outcome:?}");
                }
                Err(_) => {}
            }
        }
    });
}

#[test]
fn what_was_to_last_longer_ends_with_the_faults() {
    let hour = Duration::from_secs(3600);
    Simulation::new().span(Duration::from_secs(5)).faults([]).run(1, async |sim| {
        let runs = work(&sim).await;
        let process = sim.process("frozen");
        sim.network(|now, network| network.trouble_until(now + hour, Trouble::OutOfMemory));
        process.freeze(hour);
        let client = Client::connect("app", &sim).await.unwrap();
        let refused = client.call::<u32>("count.run", 7).await;
        assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
        sim.healed().await;
        assert_eq!(sim.now().since_start(), Duration::from_secs(5));
        assert_eq!(client.call::<u32>("count.run", 8).await, Ok(8));
        let (done, thawed) = futures_channel::oneshot::channel();
        process.spawn(async {
            let _ = done.send(());
        });
        thawed.await.unwrap();
        assert_eq!(runs.lock().unwrap().get(&7), None);
    });
}
