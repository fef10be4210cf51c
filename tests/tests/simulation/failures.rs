//! What a run says that fails, and that everything that should fail it does.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use clamator_tokio::sim::{Sim, Simulation};

use crate::failure;

/// A run of this test without faults.
fn fails<T>(test: impl AsyncFnOnce(Sim) -> T) -> String {
    failure(|| {
        Simulation::new().span(Duration::ZERO).run(28, test);
    })
}

#[test]
fn an_assertion_that_fails_is_shown_with_seed_events_and_the_line_that_repeats_it() {
    let said = fails(async |sim| {
        sim.sleep(Duration::from_millis(1500)).await;
        sim.note("about to look");
        assert_eq!(1 + 1, 3, "sums");
    });
    let lines: Vec<&str> = said.lines().collect();
    let first = "FAILED seed=0x1c at 1.500000s: assertion `left == right` failed: sums";
    assert_eq!(lines[0], first, "{said}");
    assert!(lines.contains(&"  1.500000s about to look"), "{said}");
    let name =
        "failures::an_assertion_that_fails_is_shown_with_seed_events_and_the_line_that_repeats_it";
    let line =
        format!("reproduce: CLAMATOR_SEED=0x1c cargo test -p clamator-tests -- --exact {name}");
    assert_eq!(*lines.last().unwrap(), line, "{said}");
}

#[test]
fn a_panic_in_any_task_fails_the_run() {
    let said = fails(async |sim| {
        sim.process("other").spawn(async { panic!("in a task") });
        sim.sleep(Duration::from_secs(1)).await;
    });
    assert!(said.starts_with("FAILED seed=0x1c at 0.000000s: in a task\n"), "{said}");
}

#[test]
fn a_panic_in_a_drop_fails_the_run() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let said = fails(async |sim| {
        let process = sim.process("other");
        let bomb = Bomb;
        process.spawn(async move {
            let _bomb = bomb;
            std::future::pending::<()>().await;
        });
        sim.sleep(Duration::from_secs(1)).await;
        process.crash();
        sim.sleep(Duration::from_secs(1)).await;
    });
    assert!(said.starts_with("FAILED seed=0x1c at 1.000000s: dropped\n"), "{said}");
}

#[test]
fn a_test_that_waits_for_nothing_is_a_deadlock() {
    let said = fails(async |_| std::future::pending::<()>().await);
    assert!(said.contains("deadlock: no task is runnable"), "{said}");
}

#[test]
fn a_task_that_wakes_itself_for_ever_is_a_hot_loop() {
    let said = fails(async |sim| {
        let spin = std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        sim.process("spinner").spawn(spin);
        sim.sleep(Duration::from_secs(1)).await;
    });
    assert!(said.contains("hot loop: 100000 polls"), "{said}");
    assert!(said.contains("of a task of \"spinner\""), "{said}");
}

#[test]
fn a_test_that_never_ends_meets_the_limit() {
    let said = fails(async |sim| {
        loop {
            sim.sleep(Duration::from_secs(1)).await;
        }
    });
    assert!(said.contains("the test did not end within 600.000000s"), "{said}");
}

#[test]
fn a_test_with_a_chance_of_its_own_is_told_so() {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let said = failure(|| {
        Simulation::new().seeds(7, 2, async |sim| {
            let other = Duration::from_millis(RUNS.fetch_add(1, Ordering::Relaxed) + 1);
            sim.sleep(other).await;
        });
    });
    assert!(said.starts_with("FAILED seed=0x7 at 0.002000s: another run of this seed"), "{said}");
    assert!(said.contains("reproduce: CLAMATOR_SEED=0x7 cargo test"), "{said}");
}

#[test]
fn as_many_seeds_are_run_as_were_asked_for_and_none_is_a_mistake() {
    let runs = AtomicU64::new(0);
    let count = async |_: Sim| {
        runs.fetch_add(1, Ordering::Relaxed);
    };
    Simulation::new().seeds(u64::MAX - 1, 4, count);
    assert_eq!(
        runs.load(Ordering::Relaxed),
        5,
        "behind the last seed comes 0; the first runs twice"
    );
    let none = catch_unwind(|| Simulation::new().seeds(7, 0, async |_| {}));
    assert_eq!(none.unwrap_err().downcast_ref::<&str>(), Some(&"no seed is to be run"));
}
