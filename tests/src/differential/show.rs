//! Showing: sequences and answers as `redis-cli` would show them.
//!
//! Not read by programs. Commands are spelled such that they can be pasted, unless a value is long;
//! an id in them is the one that the server gave, so pasting them again needs the ids that are
//! given then.

use std::fmt::Write;

use clamator_engine::{Command, Entry, PendingEntry, Reply};

use super::generate::SEATS;
use super::judge::Difference;
use super::step::{Meddling, seat_of};
use super::trace::{Answer, Event, Happening, Look, Sight, Trace};

/// What is longer is shown by its beginning.
const LONG: usize = 60;

/// Shows a trace up to a difference, and the difference. Each line begins with the connection.
pub fn trace(trace: &Trace, difference: &Difference) -> String {
    let mut text = String::new();
    for (place, event) in trace.events.iter().enumerate().take(difference.event + 1) {
        let is_last = place == difference.event;
        let own = match &event.happening {
            Happening::Ask { ticket, .. } => Some(*ticket),
            _ => None,
        };
        // Of what every sequence ends in only the last look is of interest.
        if event.label.is_none() && !is_last {
            continue;
        }
        let _ = writeln!(text, "{}", line(event));
        for (ticket, told) in trace.answers.iter().enumerate() {
            if told.since == place && !(is_last && difference.ticket == Some(ticket)) {
                let note = if own == Some(ticket) { String::new() } else { whose(trace, ticket) };
                let _ = writeln!(text, "    {note}{}", answer(told.answer.as_ref()));
            }
        }
        if !is_last && own.is_some_and(|ticket| trace.answers[ticket].since != place) {
            let _ = writeln!(text, "    {}", answer(None));
        }
        if is_last {
            let other = difference.ticket.filter(|ticket| own != Some(*ticket));
            let note = other.map_or_else(String::new, |ticket| whose(trace, ticket));
            let _ = writeln!(text, "    {note}server: {}", difference.server);
            let _ = writeln!(text, "    {note}model:  {}", difference.model);
        }
    }
    text
}

/// To whom an answer goes that comes on another connection, or late.
fn whose(trace: &Trace, ticket: usize) -> String {
    let asked = trace.events.iter().find(|event| {
        matches!(&event.happening, Happening::Ask { ticket: other, .. } if *other == ticket)
    });
    asked.map_or_else(String::new, |event| {
        let words = match &event.happening {
            Happening::Ask { command, .. } => spell(command),
            _ => String::new(),
        };
        format!("[{}, to {}] ", seat(event.seat), words.split(' ').next().unwrap_or_default())
    })
}

fn line(event: &Event) -> String {
    let words = match &event.happening {
        Happening::Ask { command, .. } => spell(command),
        Happening::Close => "(closes its connection)".to_owned(),
        Happening::Meddle(meddling, said) => {
            return format!("operator> {}\n    {said}", spell_meddling(meddling));
        }
        Happening::Tick => "(waits until its time is over)".to_owned(),
        Happening::Look(look, _) => spell_look(look),
    };
    let (from, to) = event.span;
    let doubt = if from == to { String::new() } else { format!("…{}", to % 1000) };
    format!("{}> {words}    (at {}{doubt})", seat(event.seat), from % 1_000_000)
}

fn seat(seat: usize) -> String {
    const NAMES: [&str; SEATS + 1] = ["A", "B", "C", "D", "E", "look"];
    NAMES[seat].to_owned()
}

/// Spells a command for `redis-cli`.
pub fn spell(command: &Command) -> String {
    if let Command::ClientUnblock { client } = command
        && let Some(other) = seat_of(*client)
    {
        return format!("CLIENT UNBLOCK <client id of {}>", seat(other));
    }
    let mut words = Vec::new();
    command.args(&mut |arg| words.push(quote(arg)));
    words.join(" ")
}

fn spell_meddling(meddling: &Meddling) -> String {
    match meddling {
        Meddling::Delete(key) => format!("DEL {}", quote(key)),
        Meddling::DestroyGroup(key, group) => {
            format!("XGROUP DESTROY {} {}", quote(key), quote(group))
        }
        Meddling::FlushAll => "FLUSHALL".to_owned(),
        Meddling::SetString(key) => format!("SET {} text", quote(key)),
        Meddling::Trim(key, len) => format!("XTRIM {} MAXLEN = {len}", quote(key)),
    }
}

fn spell_look(look: &Look) -> String {
    match look {
        Look::Consumers(key, group) => {
            format!("XINFO CONSUMERS {} {}", quote(key), quote(group))
        }
        Look::Len(key) => format!("XLEN {}", quote(key)),
        Look::Pending(key, group) => {
            format!("XPENDING {} {} - + 1000000", quote(key), quote(group))
        }
        Look::Ttl(key) => format!("PTTL {}", quote(key)),
    }
}

fn quote(bytes: &[u8]) -> String {
    if bytes.len() > LONG {
        return format!("{}…({} bytes)", quote(&bytes[..10]), bytes.len());
    }
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    format!("\"{}\"", bytes.escape_ascii())
}

/// Shows an answer; `None` is one that has not come.
pub fn answer(answer: Option<&Answer>) -> String {
    match answer {
        None => "(waits)".to_owned(),
        Some(Answer::Odd(value)) => format!("(not a reply to this command) {value}"),
        Some(Answer::Reply(Err(refusal))) => format!("(error) {refusal}"),
        Some(Answer::Reply(Ok(reply))) => show(reply),
    }
}

fn show(reply: &Reply) -> String {
    match reply {
        Reply::Added(id) => id.map_or_else(|| "(nil)".to_owned(), |id| id.to_string()),
        Reply::Claimed { next, entries: claimed, deleted, nameless } => {
            let entries = entries(claimed);
            format!("next {next}, {entries}, deleted {deleted:?}, nil without id: {nameless}")
        }
        Reply::Entries(read) => entries(read),
        Reply::Groups(groups) => {
            let show = |group: &clamator_engine::GroupInfo| {
                format!("{} last-delivered-id {}", quote(&group.name), group.last_delivered)
            };
            list(groups, show)
        }
        Reply::Integer(number) => format!("(integer) {number}"),
        Reply::Ok => "OK".to_owned(),
        Reply::Pending { count, first } => format!("{count} pending, first {first:?}"),
        Reply::PendingRange(rows) => pending(rows),
        Reply::Stream(info) => format!("last-generated-id {}", info.last_generated),
        other => format!("{other:?}"),
    }
}

pub fn sight(sight: &Sight) -> String {
    match sight {
        Sight::Consumers(names) => list(names, |name| quote(name)),
        Sight::Len(len) => format!("(integer) {len}"),
        Sight::Odd(value) => value.clone(),
        Sight::Pending(rows) => pending(rows),
        Sight::Ttl(ttl) => format!("{ttl:?} ms"),
    }
}

fn entries(entries: &[Entry]) -> String {
    list(entries, |entry| match &entry.fields {
        None => format!("{} (nil)", entry.id),
        Some(fields) => {
            let words = fields.iter().flat_map(|(name, value)| [quote(name), quote(value)]);
            format!("{} {}", entry.id, words.collect::<Vec<_>>().join(" "))
        }
    })
}

fn pending(rows: &[PendingEntry]) -> String {
    list(rows, |row| {
        let PendingEntry { id, consumer, idle_ms, deliveries, .. } = row;
        format!("{id} {} idle {idle_ms} ms, delivered {deliveries} times", quote(consumer))
    })
}

fn list<T>(items: &[T], show: impl FnMut(&T) -> String) -> String {
    format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", "))
}
