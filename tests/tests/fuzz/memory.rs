//! What reading an envelope takes of memory: no more than the text's size allows.

use clamator_proto::Envelope;

use crate::dice::{Dice, corpus, seed};

/// Most memory at once: this many times the text, and this much beside it.
const TIMES: u64 = 4;
const BESIDE: u64 = 64 * 1024;

#[test]
fn reading_an_envelope_takes_memory_in_proportion_to_it() {
    let (mut dice, pool) = (Dice::new(seed()), corpus("envelope"));
    let (mut most, mut accepted) = (0, 0);
    for number in 0..20_000 {
        let mut text = dice.input(&pool);
        if number % 100 == 0 {
            // A long text, of whatever this one begins with.
            text = text.iter().copied().cycle().take(text.len() * 200).collect();
        }
        let length = u64::try_from(text.len()).unwrap();
        let memory = allocation_counter::measure(|| {
            accepted += u32::from(Envelope::parse(&text).is_ok());
        });
        let limit = TIMES * length + BESIDE;
        assert!(memory.bytes_max <= limit, "{length} bytes took {}", memory.bytes_max);
        most = most.max(memory.bytes_max);
    }
    assert!(accepted > 1000 && most > 0, "{accepted} accepted, {most} bytes at most");
}
