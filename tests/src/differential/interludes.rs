//! What happens in a sequence besides commands: connections are closed, an operator does something,
//! a wait runs out, and in the end all that still wait are released.
//!
//! Not batched like commands: each is done alone, and all that comes of it is known before the next
//! step. Where something cannot be told to the millisecond, or not in order, it is left out.

use std::io;
use std::thread;
use std::time::Duration;

use clamator_engine::{Command, Value};

use super::generate::SEATS;
use super::player::{Player, Seat, pace, time};
use super::step::{Meddling, block_ms, client_of};
use super::trace::Happening;

impl Player {
    pub(super) fn close(&mut self, label: Option<u64>, seat: usize) -> io::Result<()> {
        self.flush()?;
        let gone = std::mem::replace(&mut self.seats[seat], Seat::open(self.port)?);
        let client = gone.client.to_string();
        drop(gone);
        // Until the server has noticed, it might still give an entry to the connection.
        loop {
            let list = self.control.ask(&[b"CLIENT", b"LIST", b"ID", client.as_bytes()])?;
            if matches!(&list, Value::Bytes(list) if list.is_empty()) {
                break;
            }
        }
        let now = self.time()?;
        self.event(label, seat, Happening::Close, (now, now));
        self.settle()
    }

    pub(super) fn meddle(&mut self, label: Option<u64>, meddling: &Meddling) -> io::Result<()> {
        self.flush()?;
        // Redis promises no order in which connections on several keys go on.
        let queues = self.seats.iter().filter(|seat| seat.open.len() > 1).count();
        if *meddling == Meddling::FlushAll && queues > 1 {
            return Ok(());
        }
        pace();
        self.control.push_words(&[b"TIME"]);
        let len;
        let words: &[&[u8]] = match meddling {
            Meddling::Delete(key) => &[b"DEL", key],
            Meddling::DestroyGroup(key, group) => &[b"XGROUP", b"DESTROY", key, group],
            Meddling::FlushAll => &[b"FLUSHALL"],
            Meddling::SetString(key) => &[b"SET", key, b"text"],
            Meddling::Trim(key, max_len) => {
                len = (*max_len).min(i64::MAX.cast_unsigned()).to_string();
                &[b"XTRIM", key, b"MAXLEN", b"=", len.as_bytes()]
            }
        };
        self.control.push_words(words);
        self.control.flush()?;
        let from = time(self.control.receive()?)?;
        let said = match self.control.receive()? {
            Value::Integer(number) => number,
            _ => 0,
        };
        let to = self.time()?;
        let happening = Happening::Meddle(meddling.clone(), said);
        self.event(label, 0, happening, (from, to));
        self.settle()
    }

    pub(super) fn wait_out(
        &mut self,
        label: Option<u64>,
        seat: usize,
        read: &Command,
        behind: Option<&Command>,
    ) -> io::Result<()> {
        self.flush()?;
        // What waits behind other reads could go on during the wait, at a time not known.
        if self.seats.iter().any(|seat| seat.open.len() > 1) || !self.seats[seat].open.is_empty() {
            return Ok(());
        }
        pace();
        self.seats[seat].wire.push_words(&[b"TIME"]);
        let tickets: Vec<usize> =
            [Some(read), behind].into_iter().flatten().map(|it| self.ticket(label, it)).collect();
        for ticket in &tickets {
            self.push(seat, *ticket);
        }
        let seated = &mut self.seats[seat];
        seated.wire.flush()?;
        let from = time(seated.wire.receive()?)?;
        seated.open.extend(&tickets);
        let to = self.time()?;
        for ticket in &tickets {
            self.event(label, seat, self.happening(*ticket), (from, to));
        }
        // The server may answer from now on, so nothing is compared before the time is over.
        self.seats[seat].open.pop_front();
        let value = self.seats[seat].wire.receive()?;
        let until = self.time()?;
        let soonest = from + block_ms(read);
        self.event(label, seat, Happening::Tick, (soonest.min(until), until));
        self.tell(tickets[0], value);
        self.settle()
    }

    /// Waits until a key has expired.
    pub(super) fn outlive(
        &mut self,
        label: Option<u64>,
        seat: usize,
        command: &Command,
    ) -> io::Result<()> {
        self.flush()?;
        if self.seats.iter().any(|seat| !seat.open.is_empty()) {
            return Ok(());
        }
        self.ask(label, seat, command)?;
        self.flush()?;
        if let Command::PExpire { ttl, .. } = command {
            thread::sleep(*ttl + Duration::from_millis(2));
        }
        Ok(())
    }

    /// Ends what still waits: every sequence leaves idle connections behind.
    pub(super) fn end_waits(&mut self) -> io::Result<()> {
        while let Some(seat) = self.seats.iter().position(|seat| !seat.open.is_empty()) {
            let ticket = self.ticket(None, &Command::ClientUnblock { client: client_of(seat) });
            pace();
            self.control.push_words(&[b"TIME"]);
            self.control.push(&self.asked[ticket].0);
            self.control.flush()?;
            let from = time(self.control.receive()?)?;
            let value = self.control.receive()?;
            // What waits behind the read is carried out before this one, and not before that.
            let to = self.time()?;
            self.event(None, SEATS, self.happening(ticket), (from, to));
            self.tell(ticket, value);
            self.settle()?;
        }
        Ok(())
    }
}
