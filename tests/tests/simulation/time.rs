//! Time is virtual, and a run is a function of its seed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clamator_tokio::runtime::Instant;
use clamator_tokio::sim::{Fault, Simulation};

use crate::faults::work;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
#[expect(clippy::disallowed_methods, reason = "what passes in the real world is what it is about")]
fn a_wait_of_an_hour_takes_no_time() {
    let began = std::time::Instant::now();
    let simulation = Simulation::new().limit(2 * HOUR);
    let now = simulation.run(1, async |sim| {
        sim.sleep(HOUR).await;
        sim.now()
    });
    assert_eq!(now, Instant::from_start(HOUR));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn waits_end_in_the_order_of_their_times_and_then_of_their_beginning() {
    let ended: Arc<Mutex<Vec<(u32, u64)>>> = Arc::default();
    let heard = Arc::clone(&ended);
    Simulation::new().run(1, async move |sim| {
        for (number, seconds) in [(1, 3), (2, 1), (3, 2), (4, 1)] {
            let (own, ended) = (sim.clone(), Arc::clone(&ended));
            sim.spawn(async move {
                own.sleep(Duration::from_secs(seconds)).await;
                ended.lock().unwrap().push((number, own.now().since_start().as_secs()));
            });
        }
        sim.sleep(Duration::from_secs(5)).await;
    });
    assert_eq!(*heard.lock().unwrap(), [(2, 1), (4, 1), (3, 2), (1, 3)]);
}

#[test]
fn a_run_with_the_same_seed_repeats_itself_under_all_faults() {
    let simulation = Simulation::new().span(Duration::from_secs(3)).faults(Fault::ALL.to_vec());
    let hash = |seed| {
        simulation.run(seed, async |sim| {
            work(&sim).await;
            sim.trace_hash()
        })
    };
    let hashes: Vec<u64> = (0..100).map(hash).collect();
    assert_eq!(hashes, (0..100).map(hash).collect::<Vec<_>>());
    assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), 100);
}

#[test]
fn what_a_test_draws_is_decided_by_the_seed_too() {
    let draw = |seed| Simulation::new().run(seed, async |sim| sim.dice().word());
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}
