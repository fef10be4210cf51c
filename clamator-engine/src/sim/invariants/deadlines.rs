//! Which requests are skipped, and which are not, when their callers give up (4.9).
//!
//! Not what becomes of those that are: see `settling`. Whether somebody waits is judged by the
//! world's time; what a worker should know, by what Redis has told it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

use clamator_proto::entry::CommandFields;

use super::{Fact, Invariant, Kind, Scene};
use crate::command::Command;
use crate::engine::Lane;
use crate::reply::Reply;
use crate::server::Notice;
use crate::sim::fact::Start;
use crate::sim::fault::{Fault, FaultSet};
use crate::sim::history::NodeKind;
use crate::sim::network::NodeId;
use crate::sim::verb::{Verb, Verbs};
use crate::time::Instant;

/// By which clocks go otherwise than the world's.
const CLOCKS: FaultSet =
    FaultSet::of(&[Fault::RedisClockAhead, Fault::RedisClockBack, Fault::WorkerClockAhead]);
/// How long a worker may be kept from seeing that a clock was set.
const UNSEEN_MAX: Duration = Duration::from_secs(60);
/// What a worker is told in less than this it can use.
const ROUND_TRIP: Duration = Duration::from_millis(200);
/// How long Redis's time may be unknown to a worker where nothing goes wrong.
const UNKNOWN_MAX: Duration = Duration::from_secs(5);
/// How long ago something must have gone wrong for its consequences to be over.
const CALM: Duration = Duration::from_secs(15);

/// What processes are told of Redis's time.
#[derive(Debug, Default)]
struct Samples {
    /// When each has asked.
    asked: BTreeMap<NodeId, Instant>,
}

impl Samples {
    /// Who is told the time so soon after it has asked that it can use it.
    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Option<(NodeId, Duration)> {
        match fact {
            Fact::Sent { node, command: Command::Time, .. } => {
                self.asked.insert(*node, scene.now);
                None
            }
            Fact::Replied { node, reply: Ok(Reply::Time(time)), .. } => {
                let asked = self.asked.remove(node)?;
                (scene.now.since(asked) < ROUND_TRIP).then_some((*node, *time))
            }
            _ => None,
        }
    }
}

/// Nothing is skipped whose caller still waits (4.9).
#[derive(Debug, Default)]
pub(super) struct SparesWaiting {
    samples: Samples,
    /// When each process was first told Redis's time.
    told: BTreeMap<NodeId, Instant>,
}

impl Invariant for SparesWaiting {
    fn title(&self) -> (&'static str, &'static str) {
        ("nothing-is-skipped-whose-caller-waits", "4.9")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Noticed, Kind::Replied, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::Time])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if let Some((node, _)) = self.samples.observe(scene, fact) {
            self.told.entry(node).or_insert(scene.now);
        }
        let Fact::Noticed { node, notice: Notice::Expired { service, entry } } = fact else {
            return Ok(());
        };
        let service = scene.history.service_named(service.as_str());
        let number = service.and_then(|service| scene.history.number_of(service, *entry));
        let Some(call) = number.and_then(|number| scene.history.calls.get(&number)) else {
            return Ok(());
        };
        let waits = call.outcomes == 0 && !call.cancelled;
        if !waits || scene.now >= call.made_at + call.timeout {
            return Ok(());
        }
        // A clock that was set forth before anybody asked it makes entries look old, and so does one
        // that was set back and forth between two looks at it.
        let unseen = self.told.get(node).is_none_or(|told| {
            let forth = |(at, fault): &(Instant, Fault)| {
                *fault == Fault::RedisClockAhead && (call.made_at..=*told).contains(at)
            };
            scene.history.strikes.iter().any(forth)
        });
        let lately =
            |fault| scene.history.struck_within(scene.now, UNSEEN_MAX, FaultSet::of(&[fault]));
        // Nor can a process see what becomes of two clocks that are set forth by as much.
        let both = lately(Fault::RedisClockAhead) && lately(Fault::WorkerClockAhead);
        if unseen || both || lately(Fault::RedisClockBack) {
            return Ok(());
        }
        Err(format!("{node} skips {entry}, call {number:?}: {call:?}"))
    }
}

/// What expired before the last look at Redis's clock is not run, and where nothing goes wrong there
/// was such a look (4.9).
#[derive(Debug, Default)]
pub(super) struct SkipsExpired {
    samples: Samples,
    /// What Redis told each process last on its command lane.
    told: BTreeMap<NodeId, Duration>,
}

impl Invariant for SkipsExpired {
    fn title(&self) -> (&'static str, &'static str) {
        ("what-has-expired-is-not-run", "4.9")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Closed, Kind::Lost, Kind::Replied, Kind::Sent, Kind::Started]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::Time])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        self.told.extend(self.samples.observe(scene, fact));
        match fact {
            Fact::Closed { node, lane: Lane::Command }
            | Fact::Lost { node, lane: Lane::Command } => {
                self.told.remove(node);
            }
            Fact::Started { node, start, .. }
                if scene.history.kind_of(*node) == Some(NodeKind::Server) =>
            {
                return self.judge(scene, *node, start);
            }
            _ => {}
        }
        Ok(())
    }
}

impl SkipsExpired {
    fn judge(&self, scene: &Scene<'_>, node: NodeId, start: &Start) -> Result<(), String> {
        let (Some(names), Some(call)) = (
            scene.history.services.get(start.service),
            start.number.and_then(|number| scene.history.calls.get(&number)),
        ) else {
            return Ok(());
        };
        let streams = scene.network.streams();
        let fields = streams.find(&names.stream, start.entry);
        let timeout = fields.and_then(|fields| CommandFields::read(fields).ok()?.timeout);
        let Some(timeout) = timeout else { return Ok(()) };
        let end = Duration::from_millis(start.entry.ms) + timeout + scene.plan.deadline_slack;
        let made = call.made_at.since_start().saturating_sub(UNSEEN_MAX);
        // What has struck may be seen late; the end of all faults sets Redis's clock as well.
        let set = scene.history.struck_since(Instant::from_start(made), CLOCKS)
            || scene.plan.allowed.intersects(CLOCKS) && made <= scene.plan.heal;
        if set {
            return Ok(());
        }
        let told = self.told.get(&node).is_some_and(|told| *told > end);
        // Whoever is frozen goes on long after that has struck.
        let frozen = FaultSet::of(&[Fault::WorkerFrozen]);
        let frozen =
            scene.history.struck_within(scene.now, scene.plan.claim_idle * 3 + CALM, frozen);
        let struck = scene.history.strikes.last();
        let calm = !frozen && struck.is_none_or(|(at, _)| scene.now.since(*at) > CALM);
        let born = scene.history.nodes.get(node).map_or(scene.now, |info| info.born);
        let up = scene.now.since(born) > UNKNOWN_MAX;
        if told || calm && up && streams.time(scene.now) > end + UNKNOWN_MAX {
            return Err(format!("{node} starts {start:?}, expired {end:?}: {call:?}"));
        }
        Ok(())
    }
}
