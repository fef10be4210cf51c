//! What simulations are for: a handler that charges an account once for every delivery is caught
//! within few seeds, and one that remembers what it has charged passes ten thousand.
//!
//! Not the machinery. The books play the database: they outlive the workers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clamator_tokio::sim::{Sim, Simulation};
use clamator_tokio::{Client, Context, Server, Service};
use serde::{Deserialize, Serialize};

use crate::failure;

const CLAIM_IDLE: Duration = Duration::from_millis(500);

#[derive(Serialize, Deserialize)]
struct Charge {
    /// Chosen by the caller, and the same in each attempt.
    order: u32,
    cents: u64,
}

/// A table of charges by order, and the account.
#[derive(Default)]
struct Books {
    charged: BTreeMap<u32, u64>,
    account: u64,
}

type Bill = fn(&Mutex<Books>, Charge);

/// Charges whatever comes.
fn naive(books: &Mutex<Books>, charge: Charge) {
    let mut books = books.lock().unwrap();
    books.account += charge.cents;
    books.charged.insert(charge.order, charge.cents);
}

/// Charges an order once: its number is kept with the effect.
fn idempotent(books: &Mutex<Books>, charge: Charge) {
    let mut books = books.lock().unwrap();
    if books.charged.insert(charge.order, charge.cents).is_none() {
        books.account += charge.cents;
    }
}

fn billing(books: &Arc<Mutex<Books>>, bill: Bill) -> Service {
    let books = Arc::clone(books);
    Service::new("billing").request("charge", move |charge: Charge, _: Context| {
        bill(&books, charge);
        async { Ok(()) }
    })
}

/// Two workers, and a caller that repeats a charge until it is confirmed.
async fn shop(sim: Sim, bill: Bill) {
    let books: Arc<Mutex<Books>> = Arc::default();
    for name in ["worker-1", "worker-2"] {
        let books = Arc::clone(&books);
        let _ = sim.worker(name, move |process| {
            let server = Server::builder("shop").claim_idle(CLAIM_IDLE);
            server.service(billing(&books, bill)).start(process)
        });
    }
    let client = Client::connect_lazy("shop", &sim);
    for order in 1..=4 {
        loop {
            let charge = client.call::<()>("billing.charge", Charge { order, cents: 100 });
            if charge.timeout(Duration::from_secs(2)).await.is_ok() {
                break;
            }
            sim.sleep(Duration::from_millis(100)).await;
        }
        sim.sleep(sim.dice().time(Duration::ZERO, Duration::from_secs(1))).await;
    }
    sim.healed().await;
    sim.sleep(4 * CLAIM_IDLE).await;
    assert_eq!(books.lock().unwrap().account, 400, "four orders of 100");
}

fn simulation() -> Simulation {
    Simulation::new().span(Duration::from_secs(3))
}

#[test]
fn a_handler_that_is_not_idempotent_is_caught_within_few_seeds() {
    let said = failure(|| {
        // Whatever the environment says of seeds.
        for seed in 0..100 {
            simulation().run(seed, async |sim| shop(sim, naive).await);
        }
    });
    assert!(said.contains("four orders of 100"), "{said}");
    assert!(said.contains("CLAMATOR_SEED=0x"), "{said}");
}

#[test]
fn an_idempotent_handler_passes_ten_thousand_seeds() {
    simulation().seeds(0, 10_000, async |sim| shop(sim, idempotent).await);
}
