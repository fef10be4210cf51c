//! [`Invariants`]: what must hold in every run, whatever goes wrong.
//!
//! Each is a type of its own that watches the facts and says when it is broken; its file is about
//! one subject. None looks into an engine: all judge from outside, by what was sent, executed,
//! started and told. Each cites the rule that it holds by its number in `rules`.
#![expect(clippy::wildcard_enum_match_arm, reason = "an invariant looks at what it is about")]

mod answers;
mod bounds;
mod calls;
mod canary;
mod consumers;
mod dead_letters;
mod deadlines;
mod groups;
mod handing_back;
mod lanes;
mod leases;
mod looking;
mod reading;
mod refusals;
mod reply_streams;
mod runs;
mod settling;
mod taking;
mod trimming;
mod withdrawing;

pub(super) use self::canary::Canary;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::fact::{Fact, Kind};
use super::fault::{Fault, FaultSet};
use super::history::History;
use super::network::Network;
use super::plan::Plan;
use super::verb::{Verb, Verbs};
use crate::time::Instant;

/// Faults after which Redis may give out again what was settled, or something else under an id.
const REWRITES: FaultSet = FaultSet::of(&[
    Fault::ConsumerDeleted,
    Fault::Failover,
    Fault::FlushAll,
    Fault::GroupDestroyed,
    Fault::RedisClockBack,
    Fault::RestartEmpty,
    Fault::RestartTruncated,
    Fault::StreamDeleted,
    Fault::StreamWrongType,
]);

/// Something that must hold in every run.
pub(super) trait Invariant: Debug {
    /// The name, a sentence without spaces, and the rule that it holds.
    fn title(&self) -> (&'static str, &'static str);

    /// What it looks at: it is shown nothing else.
    fn about(&self) -> &'static [Kind];

    /// Of the commands that are sent, executed and answered, those that it looks at.
    fn verbs(&self) -> Verbs {
        Verbs::ALL
    }

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
pub(super) struct Invariants {
    all: Vec<Box<dyn Invariant>>,
    /// Those that are about each kind and verb, a bit for each.
    about: [u128; ABOUT_END],
}

/// How many pairs there are of a kind and a verb, or none.
const ABOUT_END: usize = Kind::END * (Verb::ALL.len() + 1);

/// The place in [`Invariants::about`].
fn about(kind: Kind, verb: Option<Verb>) -> usize {
    kind as usize + Kind::END * verb.map_or(0, |verb| verb as usize + 1)
}

impl Invariants {
    pub(super) fn new() -> Self {
        let mut invariants = Self { all: Vec::new(), about: [0; ABOUT_END] };
        Self::of_callers().into_iter().for_each(|it| invariants.add(it));
        Self::of_workers().into_iter().for_each(|it| invariants.add(it));
        invariants
    }

    fn of_callers() -> [Box<dyn Invariant>; 17] {
        [
            Box::new(calls::EndsOnce),
            Box::new(calls::CancelledIsSilent),
            Box::new(calls::EndsInTime),
            Box::new(calls::OwnResult),
            Box::new(calls::NotSent),
            Box::new(calls::NotifiedIsWritten),
            Box::new(calls::SentInTime),
            Box::new(calls::SentOnce),
            Box::new(calls::FreshSucceed::default()),
            Box::new(calls::InFlight::default()),
            Box::new(calls::Forgets::default()),
            Box::new(withdrawing::GivenToNobody),
            Box::new(withdrawing::LooksFirst::default()),
            Box::new(withdrawing::OwnEntries::default()),
            Box::new(withdrawing::InTheEnd),
            Box::new(withdrawing::KnowsItsRights::default()),
            Box::new(withdrawing::Withdraws::default()),
        ]
    }

    fn of_workers() -> [Box<dyn Invariant>; 61] {
        [
            Box::new(runs::NotTwiceAtOnce::default()),
            Box::new(runs::WithinLimit::default()),
            Box::new(runs::InOrder::default()),
            Box::new(runs::NotAgain::default()),
            Box::new(runs::CountsDeliveries::default()),
            Box::new(answers::OwnMethods::default()),
            Box::new(dead_letters::StartsSoOften),
            Box::new(dead_letters::BuriesOnlySpent::default()),
            Box::new(dead_letters::CountsNoLooks::default()),
            Box::new(looking::FetchesWhatItFinds::default()),
            Box::new(dead_letters::NothingWaitsBehindSuspects::default()),
            Box::new(deadlines::SparesWaiting::default()),
            Box::new(deadlines::SkipsExpired::default()),
            Box::new(answers::OwnAnswers::default()),
            Box::new(runs::HasGrace::default()),
            Box::new(runs::NotSettled::default()),
            Box::new(handing_back::HandsBackWhole::default()),
            Box::new(handing_back::LeavesNothingPending::default()),
            Box::new(handing_back::StartsNothing::default()),
            Box::new(settling::ReplyBeforeAck::default()),
            Box::new(settling::AckOnlyHandled::default()),
            Box::new(settling::AckBeforeDelete::default()),
            Box::new(settling::SpareOthers::default()),
            Box::new(settling::Settles),
            Box::new(settling::ReplyKeys),
            Box::new(reply_streams::BoundsReplies),
            Box::new(reply_streams::LivesForLimitedTime::default()),
            Box::new(trimming::TrimsNothingLive),
            Box::new(trimming::TrimsWhatIsLeft::default()),
            Box::new(refusals::StopsReadingWhenFull::default()),
            Box::new(refusals::FinalIsFinal::default()),
            Box::new(reading::Bounded),
            Box::new(reading::WithinPlaces::default()),
            Box::new(reading::CarriesCursor::default()),
            Box::new(taking::LooksBack::default()),
            Box::new(taking::ScansOften::default()),
            Box::new(reading::StopsReading),
            Box::new(reading::RereadsReplies::default()),
            Box::new(reading::EndsReads::default()),
            Box::new(groups::SkipsNothing),
            Box::new(groups::LeavesEmpty),
            Box::new(groups::StopLeavesNothing::default()),
            Box::new(consumers::GoneLeaveNoConsumer::default()),
            Box::new(groups::GoesOnAtMark::default()),
            Box::new(groups::LeavesLast::default()),
            Box::new(groups::RestoresSoon::default()),
            Box::new(lanes::InTurn::default()),
            Box::new(lanes::GivesUp::default()),
            Box::new(lanes::ReadsWhereItWrites::default()),
            Box::new(lanes::NoHotLoop::default()),
            Box::new(lanes::IdlesQuietly::default()),
            Box::new(lanes::OwnKeys),
            Box::new(lanes::TicksVary::default()),
            Box::new(taking::TakesBackTheDead::default()),
            Box::new(leases::NotTakenBack::default()),
            Box::new(leases::OutcomeIsOwn::default()),
            Box::new(leases::RenewsInTime::default()),
            Box::new(bounds::StopsInTime::default()),
            Box::new(bounds::LeavesNoTrace),
            Box::new(bounds::FairWeather),
            Box::new(bounds::SpeaksSeldom::default()),
        ]
    }

    /// One more.
    pub(super) fn add(&mut self, invariant: Box<dyn Invariant>) {
        let bit = 1 << self.all.len();
        let verbs = Verb::ALL.iter().copied().filter(|verb| invariant.verbs().contains(*verb));
        for kind in invariant.about() {
            for verb in verbs.clone().map(Some).chain([None]) {
                if let Some(about) = self.about.get_mut(about(*kind, verb)) {
                    *about |= bit;
                }
            }
        }
        self.all.push(invariant);
    }

    /// Shows everybody what happened.
    ///
    /// # Errors
    /// What is broken.
    pub(super) fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), Violation> {
        let about = self.about.get(about(fact.kind(), fact.verb()));
        let mut about = about.copied().unwrap_or_default();
        while about != 0 {
            let place = about.trailing_zeros() as usize;
            about &= about - 1;
            let Some(invariant) = self.all.get_mut(place) else { continue };
            if let Err(detail) = invariant.observe(scene, fact) {
                let (invariant, rule) = invariant.title();
                return Err(Violation { invariant, rule, detail });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Invariants {
    /// Shows everything to everybody, to see that nobody looks at more than it says.
    pub(super) fn show_everything(&mut self) {
        let all = core::mem::take(&mut self.all);
        *self = Self { all: Vec::new(), about: [0; ABOUT_END] };
        for invariant in all {
            self.add(Box::new(tests::Shown(invariant)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::world::World;
    use alloc::collections::BTreeSet;

    /// An invariant that is shown everything.
    #[derive(Debug)]
    pub(super) struct Shown(pub(super) Box<dyn Invariant>);

    impl Invariant for Shown {
        fn title(&self) -> (&'static str, &'static str) {
            self.0.title()
        }

        fn about(&self) -> &'static [Kind] {
            Kind::ALL
        }

        fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
            let verb = fact.verb().is_none_or(|verb| self.0.verbs().contains(verb));
            if verb && self.0.about().contains(&fact.kind()) {
                return self.0.observe(scene, fact);
            }
            let before = alloc::format!("{:?}", self.0);
            assert_eq!(self.0.observe(scene, fact), Ok(()), "{fact:?}");
            assert_eq!(alloc::format!("{:?}", self.0), before, "{fact:?}");
            Ok(())
        }
    }

    #[test]
    fn every_rule_that_is_cited_is_written_down() {
        let rules = include_str!("../../rules.rs");
        for invariant in Invariants::new().all {
            let (title, rule) = invariant.title();
            let [alone, named] = [alloc::format!("**{rule}** "), alloc::format!("**{rule} ")];
            assert!(rules.contains(&alone) || rules.contains(&named), "{title} cites {rule}");
        }
    }

    /// So says the README.
    #[test]
    fn there_are_more_than_forty_kinds_of_faults_and_as_many_invariants_of_different_names() {
        let titles: BTreeSet<&str> =
            Invariants::new().all.iter().map(|invariant| invariant.title().0).collect();
        assert_eq!(titles.len(), Invariants::new().all.len());
        assert!(
            titles.len() > 40 && Fault::ALL.len() > 40,
            "{} {}",
            titles.len(),
            Fault::ALL.len()
        );
    }

    #[test]
    fn no_invariant_looks_at_what_it_does_not_say_that_it_is_about() {
        for seed in 0..3 {
            let mut world = World::new(Plan::draw(seed), 0);
            world.show_everything();
            assert_eq!(world.run(), Ok(()), "seed {seed}");
        }
    }
}
