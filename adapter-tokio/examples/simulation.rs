//! Simulations of a service that charges accounts: workers crash, freeze and are replaced,
//! connections break. Charging for every delivery is caught; remembering the orders passes.
//!
//! In a program these are two tests, with `clamator-tokio`'s feature `sim` in its dev-dependencies.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "an example shows its result")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clamator_tokio::sim::{Sim, Simulation};
use clamator_tokio::{Client, Context, Server, Service};

/// Plays the database: what each order was charged. It outlives the workers.
type Ledger = Arc<Mutex<BTreeMap<u32, u64>>>;

async fn shop(sim: Sim, charge: fn(&mut u64)) {
    let ledger = Ledger::default();
    for name in ["worker-1", "worker-2"] {
        let ledger = Arc::clone(&ledger);
        let _ = sim.worker(name, move |process| {
            let ledger = Arc::clone(&ledger);
            let billing =
                Service::new("billing").notification("charge", move |order, _: Context| {
                    charge(ledger.lock().unwrap().entry(order).or_default());
                    async { Ok(()) }
                });
            let server = Server::builder("shop").claim_idle(Duration::from_millis(500));
            server.service(billing).start(process)
        });
    }
    let client = Client::connect_lazy("shop", &sim);
    for order in 0..5 {
        // An error may mean that it is not on the stream, but never that it is there twice.
        if client.notify("billing.charge", order).await.is_ok() {
            ledger.lock().unwrap().entry(order).or_default();
        }
        sim.sleep(sim.dice().time(Duration::ZERO, Duration::from_secs(1))).await;
    }
    sim.healed().await;
    sim.sleep(Duration::from_secs(5)).await;
    let ledger = ledger.lock().unwrap();
    assert!(ledger.values().all(|cents| *cents == 5), "not charged once: {ledger:?}");
}

fn main() {
    let simulation = Simulation::new().span(Duration::from_secs(5));
    let once: fn(&mut u64) = |cents| *cents = 5;
    let met = simulation.seeds(0, 200, async |sim| shop(sim, once).await);
    println!("200 runs with {} faults: what was sent was charged, and once", met.total());

    let again: fn(&mut u64) = |cents| *cents += 5;
    let each = || simulation.seeds(0, 200, async |sim| shop(sim, again).await);
    assert!(std::panic::catch_unwind(each).is_err(), "charging each delivery should be caught");
    println!("charging each delivery is caught: see above");
}
