//! [`Trace`]: what happened in a run, as a hash that identifies it and as text for a reader.
//!
//! Not evidence for invariants: those see facts, not text. Text is made only when somebody is going
//! to read it; the hash is always made, and of the same things.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::fact::Fact;
use super::network::NodeId;
use crate::engine::Lane;
use crate::reply::{Refusal, Reply};
use crate::server::Answer;
use crate::time::Instant;

/// What happened in a run.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    hash: u64,
    /// The last lines, at most so many; none are made when there is no room for any.
    lines: VecDeque<String>,
    lines_max: usize,
}

impl Trace {
    /// Makes an empty trace that keeps the last lines, this many.
    pub(super) const fn new(lines_max: usize) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: VecDeque::new(), lines_max }
    }

    /// Notes what happened.
    pub(super) fn tell(&mut self, now: Instant, fact: &Fact<'_>) {
        let [first, second] = words(fact);
        self.note(now, [fact.kind() as u64, first, second], format_args!("{fact:?}"));
    }

    /// Notes something: numbers for the hash, and how it reads.
    pub(super) fn note(&mut self, now: Instant, words: [u64; 3], text: fmt::Arguments<'_>) {
        for word in [micros(now), words[0], words[1], words[2]] {
            // FNV-1a over words: cheap, and the same on every machine.
            self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
        if self.lines_max == 0 {
            return;
        }
        if self.lines.len() == self.lines_max {
            self.lines.pop_front();
        }
        self.lines.push_back(alloc::format!("{now} {text}"));
    }

    /// Identifies what happened.
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines, oldest first.
    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}

/// What identifies a fact among all of its kind that could have happened instead.
fn words(fact: &Fact<'_>) -> [u64; 2] {
    let of = |node: &NodeId| u64::from(node.number());
    match fact {
        Fact::Healed | Fact::Over | Fact::Settled => [0, 0],
        Fact::Born(node)
        | Fact::Crashed(node)
        | Fact::Noticed { node, .. }
        | Fact::Stopping { node, .. } => [of(node), 0],
        Fact::Called { number } => [*number, 0],
        Fact::Closed { node, lane }
        | Fact::Lost { node, lane }
        | Fact::Opened { node, lane }
        | Fact::Opening { node, lane } => [of(node), at(*lane)],
        Fact::Dropped { node, job, .. } => [of(node), *job],
        Fact::Ended { node, job, entry, answer, .. } => {
            let failed = matches!(answer, Answer::Error(_));
            [of(node) << 32 | *job, entry.ms << 1 | u64::from(failed)]
        }
        Fact::Executed(executed) => [of(&executed.node), answer(&executed.reply)],
        Fact::Finished { number, outcome } => [*number, u64::from(outcome.is_ok())],
        Fact::Idle { node, due, .. } => [of(node), due.map_or(0, |due| micros(due.at))],
        Fact::Replied { node, reply, .. } => [of(node), answer(reply)],
        Fact::Sent { node, ticket, command, .. } => {
            let mut sum = *ticket;
            command.args(&mut |arg| sum = sum.rotate_left(7) ^ length(arg.len()));
            [of(node), sum]
        }
        Fact::Started { node, job, start } => [of(node) << 32 | *job, start.entry.ms],
        Fact::Stopped { node, left } => [of(node), length(*left)],
        Fact::Struck(fault) => [*fault as u64, 0],
    }
}

fn at(lane: Lane) -> u64 {
    match lane {
        Lane::Command => 0,
        Lane::Blocking(number) => u64::from(number) + 1,
    }
}

fn answer(reply: &Result<Reply, Refusal>) -> u64 {
    match reply {
        Ok(Reply::Added(id)) => id.map_or(0, |id| id.ms),
        Ok(Reply::Entries(entries)) => length(entries.len()),
        Ok(Reply::Integer(number)) => number.unsigned_abs(),
        Ok(_) => 1,
        Err(refusal) => length(refusal.code.len()) << 8,
    }
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn micros(at: Instant) -> u64 {
    u64::try_from(at.since_start().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn the_order_of_what_happened_and_each_part_of_it_count() {
        let hash = |notes: &[(u64, [u64; 3])]| {
            let mut trace = Trace::new(0);
            for (millis, words) in notes {
                let now = Instant::from_start(Duration::from_millis(*millis));
                trace.note(now, *words, format_args!(""));
            }
            trace.hash()
        };
        let notes = [(1, [1, 2, 3]), (1, [1, 2, 4])];
        assert_eq!(hash(&notes), hash(&notes));
        let others = [
            [(1, [1, 2, 4]), (1, [1, 2, 3])],
            [(2, [1, 2, 3]), (1, [1, 2, 4])],
            [(1, [2, 2, 3]), (1, [1, 2, 4])],
            [(1, [1, 3, 3]), (1, [1, 2, 4])],
        ];
        for other in others {
            assert_ne!(hash(&notes), hash(&other), "{other:?}");
        }
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut trace = Trace::new(2);
        for number in 0..5u64 {
            trace.note(Instant::ZERO, [number, 0, 0], format_args!("line {number}"));
        }
        assert_eq!(trace.into_lines(), ["0.000000s line 3", "0.000000s line 4"]);
    }
}
