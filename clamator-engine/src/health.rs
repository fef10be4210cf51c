//! [`Health`]: whether an engine can do its work, as far as it knows from what Redis last said.
//!
//! Not the healing, which goes on whatever is said here, and not the faults of single calls and
//! entries: those are told to whom they concern. What is not needed is not asked of Redis, so that an
//! engine with nothing to do may not know yet that Redis would refuse.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use clamator_proto::ServiceName;

use crate::engine::Loss;
use crate::reply::{Refusal, RefusalKind};
use crate::time::Instant;
use crate::wire::READ_SLACK;

/// Whether a client or a server can do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// As far as it knows.
    Healthy,
    /// It cannot, or not all of it. It goes on trying, unless it has stopped.
    Unhealthy {
        /// Why. At least one.
        reasons: Vec<Ailment>,
    },
}

impl Health {
    pub(crate) fn of(reasons: Vec<Ailment>) -> Self {
        if reasons.is_empty() { Self::Healthy } else { Self::Unhealthy { reasons } }
    }

    /// Whether it is [`Health::Healthy`].
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        matches!(self, Self::Healthy)
    }
}

/// Unhealthy for this one reason.
impl From<Ailment> for Health {
    fn from(reason: Ailment) -> Self {
        Self::Unhealthy { reasons: alloc::vec![reason] }
    }
}

/// Writes `healthy`, or `unhealthy` and the reasons.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Unhealthy { reasons } = self else { return f.write_str("healthy") };
        for (number, reason) in reasons.iter().enumerate() {
            write!(f, "{} {reason}", if number == 0 { "unhealthy:" } else { ";" })?;
        }
        Ok(())
    }
}

/// Why a client or a server cannot do its work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ailment {
    /// A connection cannot be made. One that has just ended, and is being made again, is no ailment.
    #[error("not connected: {_0}")]
    Disconnected(Loss),
    /// Redis refuses a command that is needed, as far as its last answer tells: because it is full,
    /// cannot write to its disk, is a replica, or does not allow it.
    #[error("Redis refuses {command}: {refusal}")]
    Refused {
        /// Which command, as Redis names it.
        command: &'static str,
        /// What Redis said last.
        refusal: Refusal,
        /// Whose stream it is about; `None` for a client's.
        service: Option<ServiceName>,
    },
    /// No blocking read was answered for longer than two of them may take: twice `read_block`, and
    /// 1 s.
    #[error("no blocking read was answered for {unanswered:?}")]
    Silent {
        /// For how long.
        unanswered: Duration,
    },
    /// It was stopped.
    #[error("stopped")]
    Stopped,
}

impl Ailment {
    /// The silence of reads that have been unanswered since then, if it has lasted for too long.
    pub(crate) fn silence(now: Instant, since: Option<Instant>, block: Duration) -> Option<Self> {
        let unanswered = now.since(since?);
        (unanswered > block * 2 + READ_SLACK).then_some(Self::Silent { unanswered })
    }

    /// The losses of connections that cannot be made, each once.
    pub(crate) fn losses<'a>(losses: impl Iterator<Item = &'a Loss>) -> Vec<Self> {
        let mut reasons = Vec::new();
        for loss in losses {
            let reason = Self::Disconnected(loss.clone());
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        reasons
    }
}

/// What an engine cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    Acknowledge,
    Claim,
    CreateGroup,
    Listen,
    Read,
    Renew,
    Write,
}

impl Need {
    pub(crate) const fn command(self) -> &'static str {
        match self {
            Self::Acknowledge => "XACK",
            Self::Claim => "XAUTOCLAIM",
            Self::CreateGroup => "XGROUP CREATE",
            Self::Listen => "XREAD",
            Self::Read => "XREADGROUP",
            Self::Renew => "XCLAIM",
            Self::Write => "XADD",
        }
    }

    /// Whether a refusal that is about this command alone, such as `NOPERM`, keeps the engine from
    /// its work. Without claims and renewals it serves, if with less certainty; a write concerns one
    /// entry or call.
    const fn is_vital(self) -> bool {
        matches!(self, Self::Acknowledge | Self::CreateGroup | Self::Listen | Self::Read)
    }

    /// How much Redis must be able to do for it: to read, to write, to write with more memory.
    const fn demand(self) -> u8 {
        match self {
            Self::Listen => 0,
            Self::Acknowledge | Self::Claim | Self::Read | Self::Renew => 1,
            Self::CreateGroup | Self::Write => 2,
        }
    }
}

/// What Redis refused, and has not done since.
#[derive(Debug, Default)]
pub(crate) struct Refusals(BTreeMap<(usize, Need), (Instant, Refusal)>);

impl Refusals {
    /// Takes an answer to what one service, or the client, needs.
    pub(crate) fn note<T>(
        &mut self,
        now: Instant,
        service: usize,
        need: Need,
        answer: &Result<T, Refusal>,
    ) {
        match answer {
            Err(refusal) => match refusal.kind() {
                RefusalKind::GroupExists => self.done(service, need),
                // It is made again; if that is refused, that is noted.
                RefusalKind::NoGroup => {}
                RefusalKind::Final if !need.is_vital() => {}
                RefusalKind::Final | RefusalKind::Heals | RefusalKind::WrongServer => {
                    self.0.insert((service, need), (now, refusal.clone()));
                }
            },
            Ok(_) => self.done(service, need),
        }
    }

    /// Redis has done it. If it was in trouble, that is over for all that asks no more of it.
    fn done(&mut self, service: usize, need: Need) {
        if self.0.is_empty() {
            return;
        }
        self.0.retain(|(of, refused), (_, refusal)| {
            let same = (*of, *refused) == (service, need);
            let general = refusal.kind() != RefusalKind::Final;
            !(same || general && refused.demand() <= need.demand())
        });
    }

    /// What was refused, when last, and with what words.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, Need, Instant, &Refusal)> {
        self.0.iter().map(|((service, need), (at, refusal))| (*service, *need, *at, refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusals(noted: &[(Need, &str)]) -> Vec<&'static str> {
        let mut refusals = Refusals::default();
        for (need, code) in noted {
            let answer = if code.is_empty() { Ok(()) } else { Err(Refusal::new(*code, "")) };
            refusals.note(Instant::ZERO, 0, *need, &answer);
        }
        refusals.iter().map(|(_, need, ..)| need.command()).collect()
    }

    #[test]
    fn what_redis_does_again_is_refused_no_more() {
        let refused = [(Need::Acknowledge, "NOPERM"), (Need::Acknowledge, "")];
        assert_eq!(refusals(&refused[..1]), ["XACK"]);
        assert!(refusals(&refused).is_empty());
    }

    #[test]
    fn a_write_proves_that_redis_takes_writes_but_not_that_it_has_memory_left() {
        let refused = [(Need::Write, "OOM"), (Need::Read, "MISCONF"), (Need::Renew, "")];
        assert_eq!(refusals(&refused), ["XADD"]);
        let refused = [(Need::Write, "OOM"), (Need::Read, "MISCONF"), (Need::Write, "")];
        assert!(refusals(&refused).is_empty());
        // Nor that of one command which is not allowed.
        let refused = [(Need::Read, "NOPERM"), (Need::Write, "")];
        assert_eq!(refusals(&refused), ["XREADGROUP"]);
        // Reading proves nothing at all.
        let refused = [(Need::Write, "READONLY"), (Need::Listen, "")];
        assert_eq!(refusals(&refused), ["XADD"]);
    }

    #[test]
    fn what_can_be_done_without_and_what_is_made_again_is_no_ailment() {
        let refused = [
            (Need::Claim, "NOPERM"),
            (Need::Renew, "NOPERM"),
            (Need::Write, "WRONGTYPE"),
            (Need::Read, "NOGROUP"),
            (Need::CreateGroup, "BUSYGROUP"),
        ];
        assert!(refusals(&refused).is_empty());
    }

    #[test]
    fn health_says_what_is_wrong() {
        let refusal = Refusal::new("OOM", "command not allowed");
        let refused = Ailment::Refused { command: "XADD", refusal, service: None };
        let health = Health::of(alloc::vec![refused, Ailment::Stopped]);
        let text = "unhealthy: Redis refuses XADD: OOM command not allowed; stopped";
        assert_eq!(alloc::format!("{health}"), text);
        assert!(!health.is_healthy() && Health::of(Vec::new()).is_healthy());
        assert_eq!(alloc::format!("{}", Health::Healthy), "healthy");
    }
}
