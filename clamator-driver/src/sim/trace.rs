//! [`Trace`]: what a simulation has done: a hash of everything, and the last events to read.
//!
//! Not a log, and not what decides a run: nothing reads it but the report of a failure and those
//! who compare two runs. Events are kept as values and written only when somebody reads them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use clamator_engine::sim::Fault;
use clamator_engine::{Instant, Lane, Loss};

/// How many events are kept to be read.
const EVENTS_MAX: usize = 40;

/// What has happened.
#[derive(Debug, Default)]
pub(super) struct Trace {
    hash: u64,
    events: VecDeque<(Instant, Event)>,
}

/// Something worth reading when a run has failed.
#[derive(Clone, Debug)]
pub(super) enum Event {
    ClockJumped(Name),
    Crashed(Name, Option<Fault>),
    Failed(Name, String),
    Fault(Fault),
    Frozen(Name),
    Healed,
    Lost(Name, Lane, Loss),
    Note(String),
    Opened(Name, Lane),
    Started(Name),
    Stopping(Name),
    Thawed(Name),
}

/// A process's name.
pub(super) type Name = Arc<str>;

impl Trace {
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    /// Takes a number into the hash.
    pub(super) const fn fold(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// Takes bytes into the hash.
    pub(super) fn fold_bytes(&mut self, bytes: &[u8]) {
        self.fold(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        for part in bytes.chunks(8) {
            self.fold(part.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    /// Takes the time into the hash.
    pub(super) fn fold_time(&mut self, now: Instant) {
        self.fold(u64::try_from(now.since_start().as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn add(&mut self, now: Instant, event: Event) {
        self.fold_time(now);
        self.fold(event.number());
        self.events.push_back((now, event));
        if self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }
}

/// The last events, a line for each.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, event) in &self.events {
            writeln!(f, "  {at} {event}")?;
        }
        Ok(())
    }
}

impl Event {
    /// Tells kinds of events apart.
    const fn number(&self) -> u64 {
        match self {
            Self::ClockJumped(_) => 1,
            Self::Crashed(..) => 2,
            Self::Failed(..) => 3,
            Self::Fault(_) => 4,
            Self::Frozen(_) => 5,
            Self::Healed => 6,
            Self::Lost(..) => 7,
            Self::Note(_) => 8,
            Self::Opened(..) => 9,
            Self::Started(_) => 10,
            Self::Stopping(_) => 11,
            Self::Thawed(_) => 12,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClockJumped(name) => write!(f, "{name}: its clock jumps ahead"),
            Self::Crashed(name, None) => write!(f, "{name}: crashes"),
            Self::Crashed(name, Some(fault)) => write!(f, "{name}: crashes ({fault})"),
            Self::Failed(name, why) => write!(f, "{name}: could not start: {why}"),
            Self::Fault(fault) => write!(f, "{fault}"),
            Self::Frozen(name) => write!(f, "{name}: freezes"),
            Self::Healed => f.write_str("all faults end"),
            Self::Lost(name, lane, loss) => write!(f, "{name}: lane {lane} lost: {loss}"),
            Self::Note(text) => f.write_str(text),
            Self::Opened(name, lane) => write!(f, "{name}: lane {lane} open"),
            Self::Started(name) => write!(f, "{name}: starts"),
            Self::Stopping(name) => write!(f, "{name}: is told to stop"),
            Self::Thawed(name) => write!(f, "{name}: goes on"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_tells_order_length_and_value_apart() {
        let hash = |parts: &[&[u8]]| {
            let mut trace = Trace::default();
            parts.iter().for_each(|part| trace.fold_bytes(part));
            trace.hash()
        };
        let hashes = [hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]), hash(&[b"c", b"ab"])];
        assert_ne!(hashes[0], hashes[1]);
        assert_ne!(hashes[0], hashes[2]);
        assert_eq!(hashes[0], hash(&[b"ab", b"c"]));
    }

    #[test]
    fn the_last_events_are_kept() {
        let mut trace = Trace::default();
        for number in 0..100 {
            trace.add(Instant::ZERO, Event::Note(format!("note {number}")));
        }
        let text = trace.to_string();
        assert_eq!(text.lines().count(), EVENTS_MAX);
        assert!(text.contains("note 99") && !text.contains("note 59\n"), "{text}");
    }
}
