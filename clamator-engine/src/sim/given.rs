//! Which entries a command gave to whoever sent it, and for how many more one asks.
//!
//! Not whose they were before: for that, see `history` and the judges.

use bytes::Bytes;

use super::verb::{Verb, Verbs};
use crate::command::{ClaimAs, Command};
use crate::engine::Lane;
use crate::reply::{Entry, Reply};

/// What gives entries.
pub(super) const GIVING: Verbs = Verbs::of(&[Verb::XAutoClaim, Verb::XClaim, Verb::XReadGroup]);

/// The entries that a command gave to whoever sent it, and the stream that they are of.
pub(super) fn given<'a>(
    command: &'a Command,
    reply: &'a Reply,
) -> Option<(&'a Bytes, &'a [Entry])> {
    match (command, reply) {
        (
            Command::XReadGroup { key, .. }
            | Command::XClaim { key, claim_as: ClaimAs::Delivered, .. },
            Reply::Entries(entries),
        )
        | (Command::XAutoClaim { key, .. }, Reply::Claimed { entries, .. }) => Some((key, entries)),
        _ => None,
    }
}

/// What gives entries, and what tells of those that were given before.
pub(super) const HANDING: Verbs =
    Verbs::of(&[Verb::XAutoClaim, Verb::XClaim, Verb::XRange, Verb::XReadGroup]);

/// The entries whose bodies a worker is handed: those that it is given, and on a lane where otherwise
/// new ones are read those that it looks back for.
pub(super) fn handed<'a>(
    lane: Lane,
    command: &'a Command,
    reply: &'a Reply,
) -> Option<(&'a Bytes, &'a [Entry])> {
    match (lane, command, reply) {
        (Lane::Blocking(_), Command::XRange { key, .. }, Reply::Entries(entries)) => {
            Some((key, entries))
        }
        _ => given(command, reply),
    }
}

/// How many entries more a command asks for, and of which stream.
pub(super) fn asked(command: &Command) -> Option<(&Bytes, u64)> {
    if let Command::XReadGroup { key, count, .. } | Command::XAutoClaim { key, count, .. } = command
    {
        return Some((key, *count));
    }
    let Command::XClaim { key, claim_as: ClaimAs::Delivered, ids, .. } = command else {
        return None;
    };
    Some((key, u64::try_from(ids.len()).unwrap_or(u64::MAX)))
}
