//! Which entries a command gave to whoever sent it, and which commands do.
//!
//! Not whose they were before: for that, see `history` and the judges.

use bytes::Bytes;

use super::verb::{Verb, Verbs};
use crate::command::{ClaimAs, Command};
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
