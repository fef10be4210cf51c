//! The consumer group and its members (4.1, 4.10).
//!
//! Not the reading. Judged at Redis, by what was carried out.

use alloc::format;
use alloc::string::String;

use super::{Fact, Invariant, Scene};
use crate::command::{Command, GroupStart};
use crate::reply::Reply;
use crate::sim::history::{NodeKind, NodeState};

/// A group that is created leaves nothing behind that was not handled (4.1).
#[derive(Debug)]
pub(super) struct SkipsNothing;

impl Invariant for SkipsNothing {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-new-group-skips-nothing", "4.1")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Executed(executed) = fact else { return Ok(()) };
        let Command::XGroupCreate { key, start, .. } = &executed.command else { return Ok(()) };
        let Some(service) = scene.history.service_of(key).filter(|_| executed.reply.is_ok()) else {
            return Ok(());
        };
        let streams = scene.network.streams();
        for call in scene.history.calls.values() {
            let Some(entry) = call.entries.last() else { continue };
            let skipped = match start {
                GroupStart::After(after) => entry <= after,
                GroupStart::New => true,
            };
            if call.service == service
                && skipped
                && call.ends == 0
                && call.lost.is_none()
                && streams.find(key, *entry).is_some()
            {
                return Err(format!("{} creates a group at {start:?}: {call:?}", executed.node));
            }
        }
        Ok(())
    }
}

/// A consumer is deleted only when it holds nothing (4.10).
#[derive(Debug)]
pub(super) struct LeavesEmpty;

impl Invariant for LeavesEmpty {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-consumer-is-deleted-only-when-it-holds-nothing", "4.10")
    }

    fn observe(&mut self, _scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Executed(executed) = fact else { return Ok(()) };
        match (&executed.command, &executed.reply) {
            (Command::XGroupDelConsumer { .. }, Ok(Reply::Integer(held))) if *held != 0 => {
                Err(format!("{} deleted its consumer with {held} entries", executed.node))
            }
            _ => Ok(()),
        }
    }
}

/// A server that has stopped and says that it left nothing owns nothing, and its consumer is gone
/// (4.10).
#[derive(Debug, Default)]
pub(super) struct StopLeavesNothing {
    /// Whether every fault has ended.
    calm: bool,
}

impl Invariant for StopLeavesNothing {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-drained-server-owns-nothing", "4.10")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Settled => self.calm = true,
            Fact::Stopped { node, left } if self.calm => {
                let Some(info) = scene.history.nodes.get(node) else { return Ok(()) };
                if info.kind != NodeKind::Server {
                    return Ok(());
                }
                if *left != 0 {
                    return Err(format!("{node} left {left} entries when everything worked"));
                }
                let streams = scene.network.streams();
                for names in &scene.history.services {
                    let consumer = format!("{}:{}", names.service, info.name);
                    let twin = scene.history.nodes.iter().any(|(id, other)| {
                        id != node && other.name == info.name && other.state != NodeState::Gone
                    });
                    let mut consumers = streams.consumers(&names.stream, &names.group);
                    if !twin && consumers.any(|name| *name == consumer.as_bytes()) {
                        return Err(format!("{node} left its consumer {consumer}"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
