//! [`Chaos`]: what goes wrong in a simulation, and when it ends.
//!
//! Not what becomes of the network and of Redis: that is the engine's injector's. What happens to
//! processes is done here: a crash strikes at the moment it is named after, so that few runs are
//! enough to meet it. The faults of one run are drawn by its seed; after the span there is none.

use std::task::Waker;
use std::time::Duration;

use clamator_engine::sim::{Dice, Fault, FaultCounts, Injector, NetworkEvent};
use clamator_engine::{Command, Instant, Reply};

use super::trace::Event;
use super::world::{ProcessId, World};

/// Longest time between two faults of processes.
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// Shortest such time, and the shortest that a fault lasts.
const MOMENT: Duration = Duration::from_millis(1);
/// What chance a fault has to be among those of a run, in a hundred; one of these is drawn.
const CHANCES: [u64; 6] = [0, 8, 15, 30, 60, 90];
/// Faults of processes that strike when the process does something.
const CRASHES: &[Fault] = &[
    Fault::CrashAfterAck,
    Fault::CrashAfterRead,
    Fault::CrashAfterReply,
    Fault::CrashBeforeReply,
    Fault::CrashInHandler,
];
/// Faults of processes that strike at any time.
const OTHERS: &[Fault] = &[
    Fault::ClientClockAhead,
    Fault::ClientFrozen,
    Fault::WorkerClockAhead,
    Fault::WorkerFrozen,
    Fault::WorkerStopped,
];
/// What is in the key of every reply stream.
const REPLIES: &[u8] = b":replies:";

/// The faults of one run.
#[derive(Debug)]
pub(super) struct Chaos {
    pub(super) dice: Dice,
    counts: FaultCounts,
    healed: bool,
    /// Made when a prefix is known.
    injector: Option<Injector>,
    /// Faults that may happen.
    faults: Vec<Fault>,
    /// Those of processes.
    of_processes: Vec<Fault>,
    next: Instant,
    until: Instant,
}

impl Chaos {
    /// Draws from these faults what may happen until then.
    pub(super) fn new(mut dice: Dice, faults: &[Fault], until: Instant) -> Self {
        let chance = dice.pick(&CHANCES).copied().unwrap_or_default();
        let faults: Vec<Fault> = faults.iter().copied().filter(|_| dice.chance(chance)).collect();
        let ours = |fault: &Fault| CRASHES.contains(fault) || OTHERS.contains(fault);
        let of_processes = faults.iter().copied().filter(ours).collect();
        let next = Instant::ZERO + dice.scale(MOMENT, PAUSE_MAX);
        Self {
            dice,
            counts: FaultCounts::default(),
            healed: false,
            injector: None,
            faults,
            of_processes,
            next,
            until,
        }
    }

    pub(super) fn count(&mut self, fault: Fault) {
        self.counts.add(fault);
    }

    /// What has happened so far.
    pub(super) fn counts(&self) -> FaultCounts {
        let mut counts = self.counts.clone();
        if let Some(injector) = &self.injector {
            counts.merge(injector.counts());
        }
        counts
    }

    pub(super) const fn is_healed(&self) -> bool {
        self.healed
    }

    /// When something happens: a fault, or the end of all.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.healed {
            return None;
        }
        let injector = self.injector.as_ref().and_then(Injector::due);
        let own = (!self.of_processes.is_empty()).then_some(self.next);
        [injector, own, Some(self.until)].into_iter().flatten().min()
    }
}

impl World {
    /// A key prefix is in use: faults of the data may strike at it, if it is the first.
    pub(super) fn learn(&mut self, prefix: &str) {
        let Chaos { dice, faults, injector, until, .. } = &mut self.chaos;
        if injector.is_none() {
            *injector = Some(Injector::new(dice.word(), faults, prefix, *until));
        }
    }

    /// Does what is due of the faults.
    pub(super) fn strike(&mut self) {
        if self.chaos.healed {
            return;
        }
        if let Some(injector) = &mut self.chaos.injector
            && injector.due().is_some_and(|due| due <= self.now)
            && let Some(fault) = injector.strike(self.now, &mut self.network)
        {
            self.trace.add(self.now, Event::Fault(fault));
        }
        if self.chaos.next <= self.now {
            self.chaos.next = self.now + self.chaos.dice.scale(MOMENT, PAUSE_MAX);
            self.strike_process();
        }
        if self.chaos.until <= self.now {
            self.heal();
        }
    }

    /// Ends every fault. Frozen processes go on; those that are dead come back soon.
    pub(super) fn heal(&mut self) {
        if self.chaos.healed {
            return;
        }
        self.chaos.healed = true;
        self.trace.add(self.now, Event::Healed);
        match &mut self.chaos.injector {
            Some(injector) => injector.heal(self.now, &mut self.network),
            None => self.network.heal(),
        }
        let processes: Vec<ProcessId> = self.processes.keys().copied().collect();
        for process in processes {
            self.thaw(process);
            if let Some(life) = self.processes.get_mut(&process) {
                life.armed = None;
                life.crash_at = None;
            }
        }
    }

    /// Those who wait for the end of the faults, once it is there.
    pub(super) fn waiting_if_healed(&mut self) -> Vec<Waker> {
        if self.chaos.healed { std::mem::take(&mut self.waiting) } else { Vec::new() }
    }

    /// Whether a process crashes before it sends this, and does.
    pub(super) fn crashes_before(
        &mut self,
        process: ProcessId,
        commands: &[(u64, Command)],
    ) -> bool {
        self.armed(process) == Some(Fault::CrashBeforeReply)
            && commands.iter().any(|(_, command)| is_reply(command))
            && self.crash(process, Some(Fault::CrashBeforeReply))
    }

    /// What a process crashes of when it has sent this.
    pub(super) fn crash_after(
        &self,
        process: ProcessId,
        commands: &[(u64, Command)],
    ) -> Option<Fault> {
        let armed = self.armed(process)?;
        let mut commands = commands.iter().map(|(_, command)| command);
        let acks = |command: &Command| matches!(command, Command::XAck { .. });
        let crashes = (armed == Fault::CrashAfterReply && commands.any(is_reply))
            || (armed == Fault::CrashAfterAck && commands.any(acks));
        crashes.then_some(armed)
    }

    /// Whether a process crashes of what it is about to hear, and does; or will soon.
    pub(super) fn crashes_by(&mut self, process: ProcessId, event: &NetworkEvent) -> bool {
        let NetworkEvent::Replied { reply: Ok(reply), .. } = event else { return false };
        if !gives_work(reply) {
            return false;
        }
        let armed = self.armed(process);
        if armed == Some(Fault::CrashAfterRead) {
            return self.crash(process, armed);
        }
        if armed == Some(Fault::CrashInHandler)
            && let Some(life) = self.processes.get_mut(&process)
        {
            let within = self.chaos.dice.scale(Duration::from_micros(1), life.claim_idle);
            life.armed = None;
            life.crash_at = Some(self.now + within);
        }
        false
    }

    fn armed(&self, process: ProcessId) -> Option<Fault> {
        self.processes.get(&process).and_then(|life| life.armed)
    }

    /// Does one of the faults of processes to one that is alive, if there is any.
    fn strike_process(&mut self) {
        let Some(fault) = self.chaos.dice.pick(&self.chaos.of_processes).copied() else { return };
        let of_client = matches!(fault, Fault::ClientClockAhead | Fault::ClientFrozen);
        let may = |(id, life): &(&ProcessId, &super::life::Life)| {
            **id != ProcessId::TEST && life.post.is_none() == of_client && !life.is_frozen()
        };
        let among: Vec<ProcessId> = self.processes.iter().filter(may).map(|(id, _)| *id).collect();
        let Some(process) = self.chaos.dice.pick(&among).copied() else { return };
        let Some(life) = self.processes.get_mut(&process) else { return };
        let claim_idle = life.claim_idle;
        if CRASHES.contains(&fault) {
            // Counted when it happens.
            life.armed = Some(fault);
            return;
        }
        let (any, long) = (MOMENT..claim_idle * 2, claim_idle..claim_idle * 2);
        let happened = if fault == Fault::WorkerStopped {
            self.stop(process)
        } else if fault == Fault::WorkerFrozen {
            let lasts = self.chaos.dice.time(long.start, long.end);
            self.freeze(process, lasts)
        } else if fault == Fault::ClientFrozen {
            let lasts = self.chaos.dice.scale(any.start, any.end);
            self.freeze(process, lasts)
        } else {
            let by = self.chaos.dice.scale(any.start, any.end);
            self.turn_clock(process, by)
        };
        if happened {
            self.chaos.count(fault);
            self.trace.add(self.now, Event::Fault(fault));
        }
    }
}

fn is_reply(command: &Command) -> bool {
    let Command::XAdd { key, .. } = command else { return false };
    key.windows(REPLIES.len()).any(|part| part == REPLIES)
}

/// Whether a reply brings entries.
const fn gives_work(reply: &Reply) -> bool {
    if let Reply::Claimed { entries, .. } | Reply::Entries(entries) = reply {
        return !entries.is_empty();
    }
    false
}
