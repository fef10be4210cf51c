//! Runs one input and tells whether it breaks the target; makes an input that does so smaller.
//!
//! Not the search for such inputs: `runner`. A smaller input counts only when it panics at the same
//! line of code.

use std::cell::{Cell, RefCell};
use std::panic;
use std::sync::Once;
use std::time::{Duration, Instant};

use clamator_tests::fuzz::Seen;

/// How long an input is made smaller at most.
const PATIENCE: Duration = Duration::from_secs(10);

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a target on an input; where it panicked if it did. Says nothing.
pub(crate) fn run(target: fn(&[u8]) -> Seen, input: &[u8]) -> Result<Seen, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if QUIET.get() {
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                PLACE.with_borrow_mut(|of| *of = place);
            } else {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let outcome = panic::catch_unwind(|| target(input));
    QUIET.set(false);
    outcome.map_err(|_| PLACE.with_borrow(Clone::clone))
}

/// Makes an input that breaks the target as small as patience allows.
pub(crate) fn shrink(target: fn(&[u8]) -> Seen, input: &[u8], place: &str) -> Vec<u8> {
    let start = Instant::now();
    let breaks = |input: &[u8]| {
        start.elapsed() < PATIENCE && run(target, input).is_err_and(|at| at == place)
    };
    let mut best = input.to_vec();
    loop {
        let before = best.clone();
        let mut piece = best.len().next_power_of_two();
        while piece > 0 {
            let mut from = 0;
            while from < best.len() {
                let mut less = best.clone();
                less.drain(from..(from + piece).min(best.len()));
                if breaks(&less) {
                    best = less;
                } else {
                    from += piece;
                }
            }
            piece /= 2;
        }
        for at in 0..best.len() {
            // Plain bytes are easier to read: nothing, or what text uses.
            for plain in [0, b'0', b' '] {
                let mut plainer = best.clone();
                plainer[at] = plain;
                if best[at] != 0 && best[at] != b'0' && breaks(&plainer) {
                    best = plainer;
                    break;
                }
            }
        }
        if best == before {
            return best;
        }
    }
}
