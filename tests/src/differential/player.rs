//! [`Player`]: carries a sequence out on a real server and writes down what happened.
//!
//! Not a judge. Commands of one connection are written many at once where that changes nothing,
//! each between two `TIME`s. Where a blocked read or commands behind one may go on, one command is
//! written at a time, because a server takes up a connection's queued commands only when it has
//! served the others. The one thing that could break a comparison: a reply counted as not there
//! while it is under way; `Player::settle` says why that cannot be.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clamator_engine::{Command, Reply, ReplyShape, StreamId, Value};

use super::generate::SEATS;
use super::looks;
use super::step::{Deed, Step, client_of, labels, may_block, resolve, seat_of};
use super::trace::{Answer, Event, Happening, Told, Trace};
use super::wire::Wire;

/// Most commands written at once.
const BATCH_MAX: usize = 32;
/// Most commands behind a blocked read.
const QUEUE_MAX: usize = 4;

/// Connections to a server.
#[derive(Debug)]
pub struct Player {
    pub(super) port: u16,
    /// Nobody's connection: it is never blocked.
    pub(super) control: Wire,
    pub(super) seats: Vec<Seat>,
    /// Commands to be written at once, and the seat that asks.
    batch: VecDeque<(Option<u64>, usize)>,
    batch_seat: usize,
    /// Ids that the steps of a sequence were given, by label.
    ids: BTreeMap<u64, StreamId>,
    pub(super) trace: Trace,
    /// By ticket: what was asked.
    pub(super) asked: Vec<(Command, Option<u64>)>,
}

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) wire: Wire,
    pub(super) client: u64,
    /// Tickets that are not answered, oldest first.
    pub(super) open: VecDeque<usize>,
}

impl Player {
    pub fn open(port: u16) -> io::Result<Self> {
        let seats = (0..SEATS).map(|_| Seat::open(port)).collect::<io::Result<_>>()?;
        Ok(Self {
            port,
            control: Wire::open(port)?,
            seats,
            batch: VecDeque::new(),
            batch_seat: 0,
            ids: BTreeMap::new(),
            trace: Trace::default(),
            asked: Vec::new(),
        })
    }

    /// Carries a sequence out on an empty server.
    pub fn play(&mut self, steps: &[Step]) -> io::Result<Trace> {
        self.control.ask(&[b"FLUSHALL"])?;
        self.ids.clear();
        self.asked.clear();
        for step in steps {
            self.step(step)?;
        }
        self.flush()?;
        self.end_waits()?;
        looks::look_at_all(self, steps)?;
        Ok(std::mem::take(&mut self.trace))
    }

    fn step(&mut self, step: &Step) -> io::Result<()> {
        let (label, seat) = (Some(step.label), step.seat);
        match &step.deed {
            Deed::Ask(command) => self.ask(label, seat, command),
            Deed::Close => self.close(label, seat),
            Deed::Meddle(meddling) => self.meddle(label, meddling),
            Deed::Outlive(command) => self.outlive(label, seat, command),
            Deed::Sleep(duration) => {
                self.flush()?;
                thread::sleep(*duration);
                Ok(())
            }
            Deed::WaitOut { read, behind } => self.wait_out(label, seat, read, behind.as_ref()),
        }
    }

    pub(super) fn ask(
        &mut self,
        label: Option<u64>,
        seat: usize,
        command: &Command,
    ) -> io::Result<()> {
        // An id that is not known before the batch is answered cannot be spelled.
        let is_in_batch = |label: &u64| self.batch.iter().any(|(other, _)| *other == Some(*label));
        let waits_for_id = labels(command).iter().any(is_in_batch);
        if self.batch_seat != seat || self.batch.len() >= BATCH_MAX || waits_for_id {
            self.flush()?;
        }
        if !self.seats[seat].open.is_empty() && self.batch.is_empty() {
            return self.queue(label, seat, command);
        }
        let alone = may_block(command) || self.seats.iter().any(|seat| seat.open.len() > 1);
        if alone {
            self.flush()?;
            return self.ask_alone(label, seat, command);
        }
        self.batch_seat = seat;
        let ticket = self.ticket(label, command);
        self.seats[seat].wire.push_words(&[b"TIME"]);
        self.push(seat, ticket);
        self.batch.push_back((label, ticket));
        Ok(())
    }

    /// Writes what is to be written at once, and reads the answers.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        pace();
        let seat = self.batch_seat;
        let wire = &mut self.seats[seat].wire;
        wire.push_words(&[b"TIME"]);
        wire.flush()?;
        let mut from = time(wire.receive()?)?;
        for (label, ticket) in std::mem::take(&mut self.batch) {
            let wire = &mut self.seats[seat].wire;
            let value = wire.receive()?;
            let to = time(wire.receive()?)?;
            self.event(label, seat, self.happening(ticket), (from, to));
            self.tell(ticket, value);
            from = to;
        }
        if self.seats.iter().any(|seat| !seat.open.is_empty()) {
            self.settle()?;
        }
        if let Some(last) = self.trace.events.last_mut() {
            last.settled = true;
        }
        Ok(())
    }

    /// Sends a command to a connection that waits.
    fn queue(&mut self, label: Option<u64>, seat: usize, command: &Command) -> io::Result<()> {
        if self.seats[seat].open.len() > QUEUE_MAX {
            return Ok(());
        }
        let ticket = self.ticket(label, command);
        self.push(seat, ticket);
        self.seats[seat].wire.flush()?;
        self.seats[seat].open.push_back(ticket);
        let from = self.time()?;
        self.finish(label, seat, ticket, from)
    }

    /// Sends one command and waits until all is known that comes of it.
    fn ask_alone(&mut self, label: Option<u64>, seat: usize, command: &Command) -> io::Result<()> {
        pace();
        let ticket = self.ticket(label, command);
        self.seats[seat].wire.push_words(&[b"TIME"]);
        self.push(seat, ticket);
        let seated = &mut self.seats[seat];
        seated.wire.flush()?;
        let from = time(seated.wire.receive()?)?;
        seated.open.push_back(ticket);
        self.finish(label, seat, ticket, from)
    }

    fn finish(
        &mut self,
        label: Option<u64>,
        seat: usize,
        ticket: usize,
        from: u64,
    ) -> io::Result<()> {
        let to = self.time()?;
        self.event(label, seat, self.happening(ticket), (from, to));
        self.settle()
    }

    /// Lets the connection that is nobody's ask. Its seat is the one behind all others.
    pub(super) fn control_ask(&mut self, commands: &[Command]) -> io::Result<()> {
        pace();
        let first = self.asked.len();
        for command in commands {
            let ticket = self.ticket(None, command);
            self.control.push_words(&[b"TIME"]);
            self.control.push(&self.asked[ticket].0);
        }
        self.control.push_words(&[b"TIME"]);
        self.control.flush()?;
        let mut from = time(self.control.receive()?)?;
        for ticket in first..self.asked.len() {
            let value = self.control.receive()?;
            let to = time(self.control.receive()?)?;
            self.event(None, SEATS, self.happening(ticket), (from, to));
            self.tell(ticket, value);
            from = to;
        }
        Ok(())
    }

    /// Reads what has been answered to connections that waited. The server wrote those answers
    /// before it read the `TIME` that was answered last on the connection that is nobody's, and
    /// what a process on this machine wrote to a socket is there to be read.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        self.time()?;
        for seat in 0..SEATS {
            while let Some(ticket) = self.seats[seat].open.front().copied()
                && let Some(value) = self.seats[seat].wire.ready()?
            {
                self.seats[seat].open.pop_front();
                self.tell(ticket, value);
            }
        }
        if let Some(last) = self.trace.events.last_mut() {
            last.settled = true;
        }
        Ok(())
    }

    pub(super) fn event(
        &mut self,
        label: Option<u64>,
        seat: usize,
        happening: Happening,
        span: (u64, u64),
    ) {
        self.trace.events.push(Event { label, seat, happening, span, settled: false });
    }

    pub(super) fn tell(&mut self, ticket: usize, value: Value) {
        let (command, label) = &self.asked[ticket];
        let answer = answer(command.reply_shape(), value);
        if let (Some(label), Answer::Reply(Ok(Reply::Added(Some(id))))) = (label, &answer) {
            self.ids.insert(*label, *id);
        }
        let since = self.trace.events.len() - 1;
        self.trace.answers[ticket] = Told { answer: Some(answer), since };
    }

    /// Gives a command its number, with the ids that it means.
    pub(super) fn ticket(&mut self, label: Option<u64>, command: &Command) -> usize {
        let mut command = resolve(command, |label| self.ids.get(&label).copied());
        if let Command::ClientUnblock { client } = &mut command
            && let Some(seat) = seat_of(*client)
        {
            *client = self.seats[seat].client;
        }
        self.asked.push((command, label));
        self.trace.answers.push(Told { answer: None, since: usize::MAX });
        self.asked.len() - 1
    }

    pub(super) fn push(&mut self, seat: usize, ticket: usize) {
        self.seats[seat].wire.push(&self.asked[ticket].0);
    }

    /// That this ticket was asked. The number of a connection is told as its seat.
    pub(super) fn happening(&self, ticket: usize) -> Happening {
        let mut command = self.asked[ticket].0.clone();
        if let Command::ClientUnblock { client } = &mut command
            && let Some(seat) = self.seats.iter().position(|seat| seat.client == *client)
        {
            *client = client_of(seat);
        }
        Happening::Ask { ticket, command }
    }

    pub(super) fn time(&mut self) -> io::Result<u64> {
        time(self.control.ask(&[b"TIME"])?)
    }
}

impl Seat {
    pub(super) fn open(port: u16) -> io::Result<Self> {
        let mut wire = Wire::open(port)?;
        let client = match wire.ask(&[b"CLIENT", b"ID"])? {
            Value::Integer(client) => client.cast_unsigned(),
            other => panic!("CLIENT ID was answered {other:?}"),
        };
        Ok(Self { wire, client, open: VecDeque::new() })
    }
}

/// Waits for the next millisecond when this one is almost over, so that few commands are carried
/// out at a time that is not known exactly. The server's clock is this machine's.
pub(super) fn pace() {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_micros());
    let left = 1000 - micros % 1000;
    if left < 300 {
        thread::sleep(Duration::from_micros(left.into()));
    }
}

fn answer(shape: ReplyShape, value: Value) -> Answer {
    let odd = format!("{value:?}");
    shape.decode(value).map_or(Answer::Odd(odd), Answer::Reply)
}

/// Milliseconds since the Unix epoch, from the reply to `TIME`.
pub(super) fn time(value: Value) -> io::Result<u64> {
    let parts = match &value {
        Value::Array(parts) => parts.as_slice(),
        _ => &[],
    };
    let number = |value: &Value| match value {
        Value::Bytes(text) => std::str::from_utf8(text).ok()?.parse::<u64>().ok(),
        _ => None,
    };
    match parts {
        [seconds, micros] => number(seconds).zip(number(micros)),
        _ => None,
    }
    .map(|(seconds, micros)| seconds * 1000 + micros / 1000)
    .ok_or_else(|| io::Error::other(format!("TIME was answered {value:?}")))
}
