//! What callers are promised.
//!
//! Not what becomes of their requests at the workers: see `runs` and `settling`.

use alloc::format;
use alloc::string::String;

use super::{Fact, Invariant, Scene};

/// A call ends exactly once (5.2).
#[derive(Debug)]
pub(super) struct EndsOnce;

impl Invariant for EndsOnce {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-call-ends-exactly-once", "5.2")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Finished { number, .. } => {
                let ends = scene.history.calls.get(number).map_or(0, |call| call.outcomes);
                if ends == 1 {
                    Ok(())
                } else {
                    Err(format!("call {number} has ended {ends} times"))
                }
            }
            Fact::Over => {
                let endless = scene
                    .history
                    .calls
                    .iter()
                    .find(|(_, call)| call.outcomes == 0 && !call.cancelled);
                match endless {
                    None => Ok(()),
                    Some((number, call)) => Err(format!("call {number} never ended: {call:?}")),
                }
            }
            _ => Ok(()),
        }
    }
}
