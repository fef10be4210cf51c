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
        self.note(now, words(fact), format_args!("{fact:?}"));
    }

    /// Notes something: numbers for the hash, and how it reads.
    pub(super) fn note(&mut self, now: Instant, words: [u64; 3], text: fmt::Arguments<'_>) {
        let micros = u64::try_from(now.since_start().as_micros()).unwrap_or(u64::MAX);
        for word in [micros, words[0], words[1], words[2]] {
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

/// What identifies a fact among all that could have happened instead.
fn words(fact: &Fact<'_>) -> [u64; 3] {
    let of = |node: &NodeId| u64::from(node.number());
    match fact {
        Fact::Born(node) => [1, of(node), 0],
        Fact::Called { number } => [2, *number, 0],
        Fact::Closed { node, lane } => [3, of(node), at(*lane)],
        Fact::Crashed(node) => [4, of(node), 0],
        Fact::Dropped { node, job, .. } => [5, of(node), *job],
        Fact::Ended { node, job, entry, answer, .. } => {
            let failed = matches!(answer, Answer::Error(_));
            [6, of(node) << 32 | *job, entry.ms << 1 | u64::from(failed)]
        }
        Fact::Executed(executed) => [7, of(&executed.node), answer(&executed.reply)],
        Fact::Finished { number, outcome } => [8, *number, u64::from(outcome.is_ok())],
        Fact::Healed => [9, 0, 0],
        Fact::Idle { node, due, .. } => [10, of(node), due.map_or(0, |due| micros(due.at))],
        Fact::Lost { node, lane } => [11, of(node), at(*lane)],
        Fact::Noticed { node, .. } => [12, of(node), 0],
        Fact::Opened { node, lane } => [13, of(node), at(*lane)],
        Fact::Opening { node, lane } => [14, of(node), at(*lane)],
        Fact::Over => [15, 0, 0],
        Fact::Replied { node, reply, .. } => [16, of(node), answer(reply)],
        Fact::Sent { node, ticket, command, .. } => {
            let mut sum = *ticket;
            command.args(&mut |arg| sum = sum.rotate_left(7) ^ length(arg.len()));
            [17, of(node), sum]
        }
        Fact::Settled => [18, 0, 0],
        Fact::Started { node, job, start } => [19, of(node) << 32 | *job, start.entry.ms],
        Fact::Stopping { node, .. } => [20, of(node), 0],
        Fact::Stopped { node, left } => [21, of(node), length(*left)],
        Fact::Struck(fault) => [22, *fault as u64, 0],
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
