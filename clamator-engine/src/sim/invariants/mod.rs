//! [`Invariants`]: what must hold in every run, whatever goes wrong.
//!
//! Each is a type of its own that watches the facts and says when it is broken; its file is about
//! one subject. None looks into an engine: all judge from outside, by what was sent, executed,
//! started and told. Each cites the rule of the design that it holds.

mod calls;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::fact::Fact;
use super::history::History;
use super::network::Network;
use super::plan::Plan;
use crate::time::Instant;

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
        Self(vec![Box::new(calls::EndsOnce)])
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
