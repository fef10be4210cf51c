//! [`Step`]: one thing that happens in a sequence, before it is known which ids Redis will give.
//!
//! Not what becomes of it. An id that an earlier step will make is named by that step's label, in a
//! range of ids that no server gives; a connection's number likewise. So a sequence is a value: it
//! can be drawn from a seed, run on any server, and lose steps without the others changing meaning.

use std::time::Duration;

use bytes::Bytes;
use clamator_engine::{Command, GroupStart, StreamId};

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Names the step for good, also when others are taken away.
    pub label: u64,
    /// Which connection does it.
    pub seat: usize,
    pub deed: Deed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A command, whose reply may be long in coming.
    Ask(Command),
    /// The connection is closed, whatever it waits for; another one takes the seat.
    Close,
    /// An operator does something, on a connection that is nobody's.
    Meddle(Meddling),
    /// A `PEXPIRE`, and time until it is over, while nobody waits: nothing tells when exactly a
    /// server removes a key for which somebody does.
    Outlive(Command),
    /// Time passes.
    Sleep(Duration),
    /// A blocking read whose time runs out, and a command behind it in the same write. Nobody else
    /// does anything meanwhile, so that it does not matter how late the server notices.
    WaitOut { read: Command, behind: Option<Command> },
}

/// What an operator does that no engine would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meddling {
    Delete(Bytes),
    DestroyGroup(Bytes, Bytes),
    FlushAll,
    SetString(Bytes),
    Trim(Bytes, u64),
}

/// Which id, seen from the one that a step was given.
#[derive(Clone, Copy, Debug)]
pub enum Shift {
    None,
    Before,
    Behind,
}

/// Where labels begin, among the milliseconds of ids and among the numbers of connections. Redis's
/// clock shows less until the year 37648.
const LABELS: u64 = 1 << 50;
const LABELS_MAX: u64 = LABELS + (1 << 32);

/// The id that `XADD` gives in the step of this label.
pub const fn id_of(label: u64, shift: Shift) -> StreamId {
    StreamId::new(LABELS + label, shift as u64)
}

/// The number of the connection that has this seat.
pub const fn client_of(seat: usize) -> u64 {
    LABELS + seat as u64
}

/// The seat that this number of a connection stands for; `None` when it is just a number.
pub fn seat_of(client: u64) -> Option<usize> {
    (LABELS..LABELS_MAX).contains(&client).then(|| usize::try_from(client - LABELS).unwrap())
}

/// The step whose id is meant; `None` when it is just an id.
pub fn label_of(id: StreamId) -> Option<u64> {
    (LABELS..LABELS_MAX).contains(&id.ms).then(|| id.ms - LABELS)
}

/// Names ids as `known` does. An id that was never given becomes one that no server gives.
pub fn resolve(command: &Command, known: impl Fn(u64) -> Option<StreamId>) -> Command {
    let mut command = command.clone();
    for id in ids(&mut command) {
        if let Some(label) = label_of(*id) {
            let given = known(label).unwrap_or_else(|| StreamId::new(label, 7));
            *id = match id.seq {
                1 => given.previous(),
                2 => given.next(),
                _ => given,
            };
        }
    }
    command
}

/// Labels that the command refers to.
pub fn labels(command: &Command) -> Vec<u64> {
    ids(&mut command.clone()).into_iter().filter_map(|id| label_of(*id)).collect()
}

/// All ids in a command.
fn ids(command: &mut Command) -> Vec<&mut StreamId> {
    match command {
        Command::XAck { ids, .. } | Command::XClaim { ids, .. } | Command::XDel { ids, .. } => {
            ids.iter_mut().collect()
        }
        Command::XAutoClaim { start, .. }
        | Command::XTrim { min_id: start, .. }
        | Command::XGroupCreate { start: GroupStart::After(start), .. } => vec![start],
        Command::XPendingRange { start, end, .. } | Command::XRange { start, end, .. } => {
            vec![start, end]
        }
        Command::XRead { after, .. } => vec![after],
        _ => vec![],
    }
}

/// Whether a command may have to wait for its reply.
pub const fn may_block(command: &Command) -> bool {
    matches!(
        command,
        Command::XRead { block: Some(_), .. } | Command::XReadGroup { block: Some(_), .. }
    )
}

/// How long a read waits, in the milliseconds that it is spelled with; 0 when it does not.
pub fn block_ms(command: &Command) -> u64 {
    match command {
        Command::XRead { block: Some(block), .. }
        | Command::XReadGroup { block: Some(block), .. } => {
            u64::try_from(block.as_millis()).unwrap_or(u64::MAX).max(1)
        }
        _ => 0,
    }
}
