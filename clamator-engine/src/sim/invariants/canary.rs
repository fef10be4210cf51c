//! [`Canary`]: an invariant that is always broken, to see that a broken one is found and explained.
//!
//! Not among the invariants of a run, unless asked for.

use alloc::string::String;

use super::{Fact, Invariant, Kind, Scene};

/// Broken once the faults end.
#[derive(Debug)]
pub(in super::super) struct Canary;

impl Invariant for Canary {
    fn title(&self) -> (&'static str, &'static str) {
        ("nothing-ever-heals", "0")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Healed]
    }

    fn observe(&mut self, _scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if matches!(fact, Fact::Healed) {
            return Err("everything healed".into());
        }
        Ok(())
    }
}
