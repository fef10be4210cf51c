//! How long reply streams get, and how long they live (4.11, 5.3).
//!
//! Not what is written to them: see `answers` and `settling`.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use bytes::Bytes;

use super::{Fact, Invariant, Kind, Scene};
use crate::command::Command;
use crate::reply::Reply;
use crate::sim::fault::{Fault, FaultSet};
use crate::sim::history::{NodeKind, NodeState, is_dead};
use crate::sim::network::{Executed, NodeId};
use crate::sim::verb::{Verb, Verbs};
use crate::time::Instant;

/// A reply stream keeps no more replies than it may (4.11).
#[derive(Debug)]
pub(super) struct BoundsReplies;

impl Invariant for BoundsReplies {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-reply-stream-is-bounded", "4.11")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAdd])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Sent { node, command: Command::XAdd { key, max_len, .. }, .. } = fact else {
            return Ok(());
        };
        let served = scene.history.kind_of(*node) == Some(NodeKind::Server);
        if served && !is_dead(key) && *max_len != Some(scene.plan.reply_stream_max_len) {
            return Err(format!("{node} adds to {key:?}, which may keep {max_len:?}"));
        }
        Ok(())
    }
}

/// Faults after which Redis may have forgotten how long a key lives.
const FORGETS_TIMES: FaultSet = FaultSet::of(&[Fault::Failover, Fault::RestartTruncated]);

/// Whether this is a server, and has not been told to stop or crashed.
fn runs(scene: &Scene<'_>, node: NodeId) -> bool {
    let info = scene.history.nodes.get(node);
    info.is_some_and(|info| info.kind == NodeKind::Server && info.state == NodeState::Running)
}

/// A reply stream that a worker has created does not live on for ever (4.11).
#[derive(Debug, Default)]
pub(super) struct LivesForLimitedTime {
    /// Which worker has written to each reply stream last since the stream was told how long it
    /// lives; none while it may live on, as Redis refuses to let it expire, or
    /// a worker of Python may have created it, or one that has ended before it told the stream.
    written: BTreeMap<Bytes, Option<NodeId>>,
}

impl Invariant for LivesForLimitedTime {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-reply-stream-lives-for-a-limited-time", "4.11")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Crashed, Kind::Executed, Kind::Settled]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::PExpire, Verb::XAdd])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Executed(Executed {
                node,
                command: Command::XAdd { key, max_len: Some(_), .. },
                reply: Ok(Reply::Added(Some(_))),
                ..
            }) if !is_dead(key) => {
                let write = Some(*node).filter(|_| runs(scene, *node));
                let written = self.written.entry(key.clone()).or_insert(write);
                *written = written.and(write);
            }
            Fact::Executed(Executed { command: Command::PExpire { key, .. }, reply, .. }) => {
                self.written.remove(key);
                if reply.is_err() {
                    self.written.insert(key.clone(), None);
                }
            }
            Fact::Crashed(node) => {
                let own = self.written.values_mut().filter(|it| **it == Some(*node));
                own.for_each(|written| *written = None);
            }
            Fact::Settled => {
                for (key, written) in &self.written {
                    let Some(node) = written else { continue };
                    let there = runs(scene, *node);
                    let forgotten = scene.history.struck_since(Instant::ZERO, FORGETS_TIMES);
                    let streams = scene.network.streams();
                    let lives = streams.last_generated(key).is_some();
                    if there && !forgotten && lives && streams.ttl(scene.now, key).is_none() {
                        return Err(format!("{key:?}, written by {node}, lives on"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
