//! [`Invariants`]: what must hold in every run, whatever goes wrong.
//!
//! Each is a type of its own that watches the facts and says when it is broken; its file is about
//! one subject. None looks into an engine: all judge from outside, by what was sent, executed,
//! started and told. Each cites the rule of the design that it holds.
#![expect(clippy::wildcard_enum_match_arm, reason = "an invariant looks at what it is about")]

mod bounds;
mod calls;
mod canary;
mod groups;
mod lanes;
mod reading;
mod runs;
mod settling;

pub(super) use self::canary::Canary;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::fact::Fact;
use super::fault::Fault;
use super::history::History;
use super::network::Network;
use super::plan::Plan;
use crate::time::Instant;

/// Faults after which Redis may give out again what was settled, or something else under an id.
const REWRITES: [Fault; 8] = [
    Fault::ConsumerDeleted,
    Fault::Failover,
    Fault::FlushAll,
    Fault::GroupDestroyed,
    Fault::RedisClockBack,
    Fault::RestartEmpty,
    Fault::RestartTruncated,
    Fault::StreamDeleted,
];

/// Something that must hold in every run.
pub(super) trait Invariant: Debug {
    /// The name, a sentence without spaces, and the rule that it holds.
    fn title(&self) -> (&'static str, &'static str);

    /// Looks at what happened.
    ///
    /// # Errors
    /// What is broken, in words.
    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String>;
}

/// What every judge may look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) now: Instant,
    pub(super) plan: &'a Plan,
    pub(super) history: &'a History,
    pub(super) network: &'a Network,
}

/// What was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) invariant: &'static str,
    pub(super) rule: &'static str,
    pub(super) detail: String,
}

/// All invariants of one run.
#[derive(Debug)]
pub(super) struct Invariants(Vec<Box<dyn Invariant>>);

impl Invariants {
    pub(super) fn new() -> Self {
        Self(vec![
            Box::new(calls::EndsOnce),
            Box::new(calls::CancelledIsSilent),
            Box::new(calls::EndsInTime),
            Box::new(calls::OwnResult),
            Box::new(calls::NotSent),
            Box::new(calls::SentInTime),
            Box::new(calls::SentOnce),
            Box::new(calls::FreshSucceed::default()),
            Box::new(calls::InFlight::default()),
            Box::new(calls::Forgets::default()),
            Box::new(runs::NotTwiceAtOnce::default()),
            Box::new(runs::WithinLimit::default()),
            Box::new(runs::InOrder::default()),
            Box::new(runs::NotAgain::default()),
            Box::new(runs::CountsDeliveries::default()),
            Box::new(runs::OwnMethods::default()),
            Box::new(runs::OwnAnswers),
            Box::new(settling::ReplyBeforeAck::default()),
            Box::new(settling::AckOnlyHandled::default()),
            Box::new(settling::AckBeforeDelete::default()),
            Box::new(settling::SpareOthers::default()),
            Box::new(settling::Settles),
            Box::new(settling::ReplyKeys),
            Box::new(settling::StopsReadingWhenFull::default()),
            Box::new(reading::Bounded),
            Box::new(reading::WithinPlaces::default()),
            Box::new(reading::CarriesCursor::default()),
            Box::new(reading::LooksBack::default()),
            Box::new(reading::StopsReading),
            Box::new(groups::SkipsNothing),
            Box::new(groups::LeavesEmpty),
            Box::new(groups::StopLeavesNothing::default()),
            Box::new(lanes::InTurn::default()),
            Box::new(lanes::GivesUp::default()),
            Box::new(lanes::NoHotLoop::default()),
            Box::new(lanes::IdlesQuietly::default()),
            Box::new(lanes::OwnKeys),
            Box::new(bounds::StopsInTime::default()),
            Box::new(bounds::LeavesNoTrace),
            Box::new(bounds::FairWeather),
            Box::new(bounds::SpeaksSeldom::default()),
        ])
    }

    /// One more.
    pub(super) fn add(&mut self, invariant: Box<dyn Invariant>) {
        self.0.push(invariant);
    }

    /// Shows everybody what happened.
    ///
    /// # Errors
    /// What is broken.
    pub(super) fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), Violation> {
        for invariant in &mut self.0 {
            if let Err(detail) = invariant.observe(scene, fact) {
                let (invariant, rule) = invariant.title();
                return Err(Violation { invariant, rule, detail });
            }
        }
        Ok(())
    }
}
