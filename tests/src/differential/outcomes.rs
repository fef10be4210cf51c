//! Outcomes: what a comparison met, by name, and what it must have met to be worth anything.
//!
//! Not a comparison. A checker that never sees an entry deleted while it is pending says nothing
//! about that; so a run counts what it met, and fails when something is missing. What only some
//! versions of Redis do is asked of those.

use std::collections::BTreeMap;
use std::time::Duration;

use clamator_engine::{ClaimAs, Command, Refusal, Reply, StreamId, Version};

use super::step::{Meddling, may_block};
use super::trace::{Answer, Happening};

/// How an answer came about.
#[derive(Debug)]
pub struct Ending<'a> {
    /// Whether it did not come at once.
    pub waited: bool,
    /// What happened then.
    pub by: &'a Happening,
}

/// Which versions of Redis show an outcome.
#[derive(Clone, Copy)]
enum On {
    All,
    Before(u32, u32),
    /// From the first one on, before the second one.
    Only([u32; 2], [u32; 2]),
    Since(u32, u32),
}

/// What must be met.
const REQUIRED: [(&str, On); 85] = [
    ("CLIENT UNBLOCK", On::All),
    ("CLIENT UNBLOCK: it waited", On::All),
    ("CLIENT UNBLOCK: it did not wait", On::All),
    ("DEL", On::All),
    ("DEL: there was one", On::All),
    ("DEL: there was none", On::All),
    ("EVAL", On::All),
    ("EVAL: some consumers", On::All),
    ("EVAL: no consumers", On::All),
    ("PEXPIRE", On::All),
    ("PEXPIRE: there was one", On::All),
    ("PEXPIRE: there was none", On::All),
    ("XACK", On::All),
    ("XACK: some", On::All),
    ("XACK: none", On::All),
    ("XADD", On::All),
    ("XADD: added", On::All),
    ("XADD: nil", On::All),
    ("XADD: trimmed", On::All),
    ("XAUTOCLAIM", On::All),
    ("XAUTOCLAIM: took entries", On::All),
    ("XAUTOCLAIM: took nothing", On::All),
    ("XAUTOCLAIM: cursor not zero", On::All),
    ("XAUTOCLAIM: deleted", On::Since(7, 0)),
    ("XAUTOCLAIM: nameless", On::Before(7, 0)),
    ("XCLAIM", On::All),
    ("XCLAIM: delivered", On::All),
    ("XCLAIM: delivered nothing", On::All),
    ("XCLAIM: took entries", On::All),
    ("XCLAIM: took nothing", On::All),
    ("XCLAIM: handed back", On::All),
    ("XCLAIM: left some", On::All),
    ("XDEL", On::All),
    ("XDEL: some", On::All),
    ("XDEL: none", On::All),
    ("XGROUP CREATE", On::All),
    ("XGROUP CREATE: done", On::All),
    ("XGROUP DELCONSUMER", On::All),
    ("XGROUP DELCONSUMER: some", On::All),
    ("XGROUP DELCONSUMER: none", On::All),
    ("XINFO GROUPS", On::All),
    ("XINFO GROUPS: some", On::All),
    ("XINFO STREAM", On::All),
    ("XINFO STREAM: some", On::All),
    ("XPENDING", On::All),
    ("XPENDING: some", On::All),
    ("XPENDING: none", On::All),
    ("XPENDING range", On::All),
    ("XPENDING range: some", On::All),
    ("XPENDING range: none", On::All),
    ("XRANGE", On::All),
    ("XRANGE: some", On::All),
    ("XRANGE: none", On::All),
    ("XREAD", On::All),
    ("XREAD: some", On::All),
    ("XREAD: none", On::All),
    ("XREADGROUP", On::All),
    ("XREADGROUP: some", On::All),
    ("XREADGROUP: none", On::All),
    ("XTRIM", On::All),
    ("XTRIM: some", On::All),
    ("XTRIM: none", On::All),
    ("blocked read ended by XADD", On::All),
    ("blocked read ended by CLIENT UNBLOCK", On::All),
    ("blocked read ended by DEL", On::Since(7, 0)),
    ("blocked read ended by FLUSHALL", On::Since(7, 0)),
    ("blocked read ended by SET", On::Since(7, 0)),
    ("blocked read ended by XGROUP CREATE", On::Before(7, 0)),
    ("blocked read ended by XGROUP DESTROY", On::All),
    ("blocked read ended by its time", On::All),
    ("command behind a blocked read", On::All),
    ("a key expired", On::All),
    ("connection closed", On::All),
    ("connection closed while it waited", On::All),
    ("operator: DEL", On::All),
    ("operator: FLUSHALL", On::All),
    ("operator: SET", On::All),
    ("operator: XGROUP DESTROY", On::All),
    ("operator: XTRIM", On::All),
    ("refused: BUSYGROUP", On::All),
    ("refused: ERR", On::All),
    ("refused: NOGROUP", On::All),
    ("refused: UNBLOCKED", On::Only([7, 0], [7, 2])),
    ("refused: WRONGTYPE", On::All),
    ("refused: a number or a list", On::All),
];

/// How often what was met.
pub type Counts = BTreeMap<&'static str, u64>;

/// What was met less often than it must be in a run of so many commands.
pub fn missing(counts: &Counts, version: Version, commands: u64) -> Vec<String> {
    let least = least(commands);
    let met = |name: &str| counts.get(name).copied().unwrap_or(0);
    REQUIRED
        .into_iter()
        .filter(|(_, on)| on.includes(version))
        .filter(|(name, _)| met(name) < least)
        .map(|(name, _)| format!("{name}: {} times, {least} wanted", met(name)))
        .collect()
}

/// How often everything must be met; a short run says nothing.
pub const fn least(commands: u64) -> u64 {
    commands / 25_000
}

impl On {
    fn includes(self, version: Version) -> bool {
        match self {
            Self::All => true,
            Self::Before(major, minor) => version < Version::new(major, minor, 0),
            Self::Only(from, to) => {
                Self::Since(from[0], from[1]).includes(version)
                    && Self::Before(to[0], to[1]).includes(version)
            }
            Self::Since(major, minor) => version >= Version::new(major, minor, 0),
        }
    }
}

/// Whether this is the name of a kind of commands, and not of an outcome.
pub fn is_kind(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase()) && !name.contains(": ")
}

/// The kind of a command, under which commands are counted.
pub const fn kind(command: &Command) -> &'static str {
    match command {
        Command::ClientUnblock { .. } => "CLIENT UNBLOCK",
        Command::Del { .. } => "DEL",
        Command::DelIdleConsumers { .. } => "EVAL",
        Command::PExpire { .. } => "PEXPIRE",
        Command::XAck { .. } => "XACK",
        Command::XAdd { .. } => "XADD",
        Command::XAutoClaim { .. } => "XAUTOCLAIM",
        Command::XClaim { .. } => "XCLAIM",
        Command::XDel { .. } => "XDEL",
        Command::XGroupCreate { .. } => "XGROUP CREATE",
        Command::XGroupDelConsumer { .. } => "XGROUP DELCONSUMER",
        Command::XInfoGroups { .. } => "XINFO GROUPS",
        Command::XInfoStream { .. } => "XINFO STREAM",
        Command::XPending { .. } => "XPENDING",
        Command::XPendingRange { .. } => "XPENDING range",
        Command::XRange { .. } => "XRANGE",
        Command::XRead { .. } => "XREAD",
        Command::XReadGroup { .. } => "XREADGROUP",
        Command::XTrim { .. } => "XTRIM",
        _ => "another command",
    }
}

pub const fn of_meddling(meddling: &Meddling) -> &'static str {
    match meddling {
        Meddling::Delete(_) => "operator: DEL",
        Meddling::DestroyGroup(..) => "operator: XGROUP DESTROY",
        Meddling::FlushAll => "operator: FLUSHALL",
        Meddling::SetString(_) => "operator: SET",
        Meddling::Trim(..) => "operator: XTRIM",
    }
}

/// Names what an answer shows. `own` says that it came on the connection that did something.
pub fn of_answer(
    command: &Command,
    answer: &Answer,
    ending: &Ending<'_>,
    own: bool,
    met: &mut Vec<&'static str>,
) {
    if ending.waited && may_block(command) {
        met.extend(of_ending(answer, ending.by, own));
    } else if ending.waited {
        met.push("command behind a blocked read");
    }
    match answer {
        Answer::Reply(Ok(reply)) => of_reply(command, reply, met),
        Answer::Reply(Err(refusal)) => met.push(of_refusal(refusal)),
        Answer::Odd(_) => {}
    }
}

fn of_ending(answer: &Answer, by: &Happening, own: bool) -> Option<&'static str> {
    let is_empty =
        matches!(answer, Answer::Reply(Ok(Reply::Entries(entries))) if entries.is_empty());
    Some(match by {
        Happening::Ask { command, .. } if !own => match command {
            Command::ClientUnblock { .. } if is_empty => "blocked read ended by CLIENT UNBLOCK",
            Command::Del { .. } => "blocked read ended by DEL",
            Command::XAdd { .. } => "blocked read ended by XADD",
            Command::XGroupCreate { .. } => "blocked read ended by XGROUP CREATE",
            _ => return None,
        },
        Happening::Meddle(meddling, _) => match meddling {
            Meddling::Delete(_) => "blocked read ended by DEL",
            Meddling::DestroyGroup(..) => "blocked read ended by XGROUP DESTROY",
            Meddling::FlushAll => "blocked read ended by FLUSHALL",
            Meddling::SetString(_) => "blocked read ended by SET",
            Meddling::Trim(..) => return None,
        },
        Happening::Tick => "blocked read ended by its time",
        _ => return None,
    })
}

fn of_refusal(refusal: &Refusal) -> &'static str {
    match refusal.code.as_str() {
        "BUSYGROUP" => "refused: BUSYGROUP",
        "NOGROUP" => "refused: NOGROUP",
        "UNBLOCKED" => "refused: UNBLOCKED",
        "WRONGTYPE" => "refused: WRONGTYPE",
        _ if refusal.message.contains("range") || refusal.message.contains("arguments") => {
            "refused: a number or a list"
        }
        _ => "refused: ERR",
    }
}

fn of_reply(command: &Command, reply: &Reply, met: &mut Vec<&'static str>) {
    let either = |some: bool, names: [&'static str; 2]| if some { names[0] } else { names[1] };
    match (command, reply) {
        (Command::XReadGroup { .. }, Reply::Entries(entries)) => {
            met.push(either(!entries.is_empty(), ["XREADGROUP: some", "XREADGROUP: none"]));
        }
        (Command::XClaim { .. }, Reply::Entries(entries)) => met
            .push(either(!entries.is_empty(), ["XCLAIM: delivered", "XCLAIM: delivered nothing"])),
        (Command::XRead { .. }, Reply::Entries(entries)) => {
            met.push(either(!entries.is_empty(), ["XREAD: some", "XREAD: none"]));
        }
        (_, Reply::Entries(entries)) => {
            met.push(either(!entries.is_empty(), ["XRANGE: some", "XRANGE: none"]));
        }
        (_, Reply::Claimed { next, entries, deleted, nameless }) => {
            met.push(either(
                !entries.is_empty(),
                ["XAUTOCLAIM: took entries", "XAUTOCLAIM: took nothing"],
            ));
            let more = [
                (*next != StreamId::ZERO, "XAUTOCLAIM: cursor not zero"),
                (!deleted.is_empty(), "XAUTOCLAIM: deleted"),
                (*nameless > 0, "XAUTOCLAIM: nameless"),
            ];
            met.extend(more.into_iter().filter(|(is, _)| *is).map(|(_, name)| name));
        }
        (Command::XClaim { ids, claim_as, .. }, Reply::Ids(claimed)) => {
            met.push(either(!claimed.is_empty(), ["XCLAIM: took entries", "XCLAIM: took nothing"]));
            if matches!(claim_as, ClaimAs::HandedBack { .. }) && !claimed.is_empty() {
                met.push("XCLAIM: handed back");
            }
            if claimed.len() < ids.len() {
                met.push("XCLAIM: left some");
            }
        }
        (_, Reply::Added(id)) => met.push(either(id.is_some(), ["XADD: added", "XADD: nil"])),
        (_, Reply::Groups(groups)) => {
            met.push(either(!groups.is_empty(), ["XINFO GROUPS: some", "XINFO GROUPS: none"]));
        }
        (_, Reply::Ok) => met.push("XGROUP CREATE: done"),
        (_, Reply::Pending { count, .. }) => {
            met.push(either(*count > 0, ["XPENDING: some", "XPENDING: none"]));
        }
        (_, Reply::PendingRange(pending)) => {
            let names = ["XPENDING range: some", "XPENDING range: none"];
            met.push(either(!pending.is_empty(), names));
        }
        (_, Reply::Stream(_)) => met.push("XINFO STREAM: some"),
        (Command::PExpire { ttl, .. }, Reply::Integer(1)) if *ttl < Duration::from_secs(1) => {
            met.push("a key expired");
        }
        (command, Reply::Integer(number)) => met.push(of_number(command, *number > 0)),
        _ => {}
    }
}

const fn of_number(command: &Command, some: bool) -> &'static str {
    match (command, some) {
        (Command::ClientUnblock { .. }, true) => "CLIENT UNBLOCK: it waited",
        (Command::ClientUnblock { .. }, false) => "CLIENT UNBLOCK: it did not wait",
        (Command::Del { .. }, true) => "DEL: there was one",
        (Command::Del { .. }, false) => "DEL: there was none",
        (Command::DelIdleConsumers { .. }, true) => "EVAL: some consumers",
        (Command::DelIdleConsumers { .. }, false) => "EVAL: no consumers",
        (Command::PExpire { .. }, true) => "PEXPIRE: there was one",
        (Command::PExpire { .. }, false) => "PEXPIRE: there was none",
        (Command::XAck { .. }, true) => "XACK: some",
        (Command::XAck { .. }, false) => "XACK: none",
        (Command::XDel { .. }, true) => "XDEL: some",
        (Command::XDel { .. }, false) => "XDEL: none",
        (Command::XTrim { .. }, true) => "XTRIM: some",
        (Command::XTrim { .. }, false) => "XTRIM: none",
        (_, true) => "XGROUP DELCONSUMER: some",
        (_, false) => "XGROUP DELCONSUMER: none",
    }
}
