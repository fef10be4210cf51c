//! What is deleted from a command stream that peers have left there (4.11).
//!
//! Not what a worker has settled itself: see `settling`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::{Fact, Invariant, Kind, REWRITES, Scene};
use crate::command::Command;
use crate::memory::Streams;
use crate::sim::fault::{Fault, FaultSet};
use crate::sim::history::{NodeKind, NodeState};
use crate::sim::network::Executed;
use crate::sim::verb::{Verb, Verbs};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// How long a threshold may be on its way, at the longest.
const ON_ITS_WAY: Duration = Duration::from_secs(15);

/// The smallest id that a group has yet to be given, or has not acknowledged.
fn needed(streams: &Streams, now: Instant, stream: &[u8], group: &[u8]) -> Option<StreamId> {
    let undelivered = streams.last_delivered(stream, group)?.next();
    let pending = streams.pending(now, stream, group);
    Some(pending.first().map_or(undelivered, |first| undelivered.min(first.id)))
}

/// Nothing is trimmed that a group has yet to be given, or has not acknowledged (4.11).
#[derive(Debug, Default)]
pub(super) struct TrimsNothingLive;

impl Invariant for TrimsNothingLive {
    fn title(&self) -> (&'static str, &'static str) {
        ("nothing-is-trimmed-that-a-group-needs", "4.11")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Executed]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XTrim])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Executed(Executed {
            node,
            command: Command::XTrim { key, min_id },
            reply: Ok(_),
            ..
        }) = fact
        else {
            return Ok(());
        };
        // A group that is made while a threshold is on its way may begin before it.
        let made = REWRITES.and(FaultSet::of(&[Fault::ForeignGroup]));
        if scene.history.struck_within(scene.now, ON_ITS_WAY, made) {
            return Ok(());
        }
        let streams = scene.network.streams();
        for group in streams.groups(key) {
            let needed = needed(streams, scene.now, key, group);
            if let Some(needed) = needed.filter(|needed| needed < min_id) {
                return Err(format!("{node} trims below {min_id}, and {group:?} needs {needed}"));
            }
        }
        Ok(())
    }
}

/// Where a server runs, what everybody has acknowledged does not stay (4.11).
#[derive(Debug, Default)]
pub(super) struct TrimsWhatIsLeft {
    /// Up to where everybody had acknowledged each stream when everything had settled.
    acknowledged: Vec<(Bytes, StreamId)>,
}

impl Invariant for TrimsWhatIsLeft {
    fn title(&self) -> (&'static str, &'static str) {
        ("what-everybody-has-acknowledged-does-not-stay", "4.11")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Settled, Kind::Stopping]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let streams = scene.network.streams();
        if matches!(fact, Fact::Settled) {
            let serves =
                scene.history.nodes.iter().any(|(_, node)| {
                    node.kind == NodeKind::Server && node.state != NodeState::Gone
                });
            for names in scene.history.services.iter().filter(|_| serves) {
                let stream: &Bytes = &names.stream;
                let needed =
                    streams.groups(stream).filter_map(|it| needed(streams, scene.now, stream, it));
                self.acknowledged.extend(needed.min().map(|min_id| (stream.clone(), min_id)));
            }
        } else if scene.now >= Instant::ZERO + scene.plan.end {
            for (stream, min_id) in &self.acknowledged {
                let left = streams.trimmable(stream, *min_id);
                if left > 0 {
                    return Err(format!("{left} entries below {min_id} are left in {stream:?}"));
                }
            }
        }
        Ok(())
    }
}
