//! What every sequence ends in: a look at all that it may have left behind.
//!
//! Not only what engines may ask: also `XLEN`, `PTTL`, `XINFO CONSUMERS` and all of `XPENDING`, since a
//! state that is wrong is a wrong reply to come. Everything is read through the connection that is
//! nobody's.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;
use clamator_engine::{Command, Reply, ReplyShape, StreamId, Value};

use super::generate::SEATS;
use super::player::Player;
use super::step::{Deed, Step};
use super::trace::{Happening, Look, Sight};

/// Looks at every stream and group that the steps name.
pub fn look_at_all(player: &mut Player, steps: &[Step]) -> io::Result<()> {
    let commands = steps.iter().flat_map(|step| match &step.deed {
        Deed::Ask(command) | Deed::Outlive(command) => [Some(command), None],
        Deed::WaitOut { read, behind } => [Some(read), behind.as_ref()],
        _ => [None, None],
    });
    let (mut keys, mut groups) = (BTreeSet::new(), BTreeSet::new());
    for command in commands.flatten() {
        keys.extend(command.key().cloned());
        if let (Command::XGroupCreate { group, .. }, Some(key)) = (command, command.key()) {
            groups.insert((key.clone(), group.clone()));
        }
    }
    let count = i64::MAX.cast_unsigned();
    let of_key = |key: Bytes| {
        let (start, end) = (StreamId::ZERO, StreamId::MAX);
        [
            Command::XInfoStream { key: key.clone() },
            Command::XInfoGroups { key: key.clone() },
            Command::XRange { key, start, end, count },
        ]
    };
    let of_group = |(key, group): (Bytes, Bytes)| Command::XPending { key, group };
    let commands: Vec<Command> =
        keys.iter().cloned().flat_map(of_key).chain(groups.iter().cloned().map(of_group)).collect();
    player.control_ask(&commands)?;
    let mut looks: Vec<Look> =
        keys.into_iter().flat_map(|key| [Look::Len(key.clone()), Look::Ttl(key)]).collect();
    for (key, group) in groups {
        looks.push(Look::Consumers(key.clone(), group.clone()));
        looks.push(Look::Pending(key, group));
    }
    player.look(looks)
}

impl Player {
    fn look(&mut self, looks: Vec<Look>) -> io::Result<()> {
        let mut from = self.time()?;
        for look in &looks {
            match look {
                Look::Consumers(key, group) => {
                    self.control.push_words(&[b"XINFO", b"CONSUMERS", key, group]);
                }
                Look::Len(key) => self.control.push_words(&[b"XLEN", key]),
                Look::Pending(key, group) => {
                    self.control.push_words(&[b"XPENDING", key, group, b"-", b"+", b"1000000"]);
                }
                Look::Ttl(key) => self.control.push_words(&[b"PTTL", key]),
            }
            self.control.push_words(&[b"TIME"]);
        }
        self.control.flush()?;
        for look in looks {
            let value = self.control.receive()?;
            let to = super::player::time(self.control.receive()?)?;
            let sight = sight(&look, value);
            self.event(None, SEATS, Happening::Look(look, sight), (from, to));
            from = to;
        }
        self.settle()
    }
}

fn sight(look: &Look, value: Value) -> Sight {
    let odd = format!("{value:?}");
    match look {
        Look::Consumers(..) => consumers(value).map(Sight::Consumers),
        Look::Len(_) => match ReplyShape::Integer.decode(value) {
            Ok(Ok(Reply::Integer(len))) => Some(Sight::Len(len)),
            Ok(Err(_)) => Some(Sight::Len(0)),
            _ => None,
        },
        Look::Pending(..) => match ReplyShape::PendingRange.decode(value) {
            Ok(Ok(Reply::PendingRange(pending))) => Some(Sight::Pending(pending)),
            Ok(Err(_)) => Some(Sight::Pending(vec![])),
            _ => None,
        },
        // Less than nothing for a key that lives on, or is not there.
        Look::Ttl(_) => match ReplyShape::Integer.decode(value) {
            Ok(Ok(Reply::Integer(ttl))) => Some(Sight::Ttl(u64::try_from(ttl).ok())),
            _ => None,
        },
    }
    .unwrap_or(Sight::Odd(odd))
}

/// The names in the reply to `XINFO CONSUMERS`.
fn consumers(value: Value) -> Option<Vec<Bytes>> {
    let name = |consumer: Value| match consumer {
        Value::Array(fields) => fields.into_iter().nth(1).and_then(|name| match name {
            Value::Bytes(name) => Some(name),
            _ => None,
        }),
        _ => None,
    };
    match value {
        Value::Array(consumers) => consumers.into_iter().map(name).collect(),
        Value::Error(_) => Some(vec![]),
        _ => None,
    }
}
