//! Targets that are broken on purpose: the search finds what breaks them and makes it small.

use std::time::Duration;

use clamator_tests::fuzz::Seen;

use crate::runner::{Broken, canary, search};

fn broken_by_a_byte_pair(data: &[u8]) -> Seen {
    assert!(!data.windows(2).any(|pair| pair == b"[\\"), "broken on purpose");
    Seen::default()
}

#[test]
fn a_broken_target_is_caught_and_its_input_made_small() {
    let target = canary(broken_by_a_byte_pair);
    let Err(Broken { input, place }) = search(&target, 1, Duration::from_secs(60)) else {
        panic!("not caught")
    };
    assert_eq!(input, b"[\\");
    assert!(place.contains("canary.rs"), "{place}");
}

#[test]
fn a_seed_makes_the_same_inputs_again() {
    let target = canary(broken_by_a_byte_pair);
    let found = [5, 5].map(|seed| search(&target, seed, Duration::from_secs(60)).map(drop));
    let [Err(one), Err(two)] = found else { panic!("not caught") };
    assert_eq!(one.input, two.input);
}
