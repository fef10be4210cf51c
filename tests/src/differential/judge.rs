//! [`judge`]: carries a trace out on the model and compares every answer.
//!
//! Not tolerant. The only freedom is when a command was carried out, and only between the two
//! `TIME`s around it: where a millisecond begins between them, the times are tried one after the
//! other until one explains all that the server said. If none does, that is a difference, certain
//! when no time was in doubt.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clamator_engine::memory::{ConnectionId, Options, Progress, Streams};
use clamator_engine::{Command, Instant, Refusal, Reply, Version};

use super::generate::SEATS;
use super::outcomes::{self, Ending};
use super::show;
use super::step::{Meddling, seat_of};
use super::trace::{Answer, Event, Happening, Look, Sight, Trace};

/// Alters what the model says, to see that it is noticed.
pub type Tamper = fn(&Command, &mut Result<Reply, Refusal>);

/// Most times that are tried for one trace.
const ATTEMPTS_MAX: usize = 400;

/// What came of a comparison.
#[derive(Debug)]
pub enum Verdict {
    /// All is the same. Tells what was met.
    Same(Vec<&'static str>),
    /// Something is not. `certain` when the time of no command was in doubt.
    Differs { difference: Difference, certain: bool },
}

/// Where server and model part.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Place of the event in the trace.
    pub event: usize,
    /// Which command was answered, if it is one.
    pub ticket: Option<usize>,
    pub server: String,
    pub model: String,
}

/// Compares a trace with what the model of this version does.
pub fn judge(trace: &Trace, version: Version, tamper: Option<Tamper>) -> Verdict {
    let mut chosen = BTreeMap::new();
    let mut first: Option<Difference> = None;
    for _ in 0..ATTEMPTS_MAX {
        let mut run = Run::new(trace, version, tamper, chosen);
        let difference = match run.finish() {
            Ok(()) => return Verdict::Same(run.met),
            Err(difference) => *difference,
        };
        chosen = run.chosen;
        let event = difference.event;
        let is_in_doubt = |event: &Event| event.span.0 < event.span.1;
        let certain = !trace.events.iter().take(event + 1).any(is_in_doubt);
        // The one that got furthest is nearest to the truth.
        if first.as_ref().is_none_or(|first| first.event < event) {
            first = Some(difference);
        }
        if !next_times(&mut chosen, event) {
            let difference = first.unwrap_or_else(|| unreachable!("there is one"));
            return Verdict::Differs { difference, certain };
        }
    }
    let difference = first.unwrap_or_else(|| unreachable!("there is one"));
    Verdict::Differs { difference, certain: false }
}

/// The next times to try, by event: what is tried and how far one may go. `false` when there are
/// no more.
fn next_times(chosen: &mut BTreeMap<usize, (u64, u64)>, event: usize) -> bool {
    chosen.retain(|at, _| *at <= event);
    while let Some(mut last) = chosen.last_entry() {
        let (now, end) = last.get_mut();
        if now < end {
            *now += 1;
            return true;
        }
        last.remove();
    }
    false
}

/// One attempt.
struct Run<'a> {
    trace: &'a Trace,
    tamper: Option<Tamper>,
    streams: Streams,
    /// By seat; the last one is nobody's.
    connections: Vec<ConnectionId>,
    chosen: BTreeMap<usize, (u64, u64)>,
    now: Instant,
    /// Tickets that the model has not answered.
    open: BTreeMap<usize, Asked<'a>>,
    /// Tickets that the model has answered and the server perhaps not yet.
    early: BTreeSet<usize>,
    met: Vec<&'static str>,
}

/// A command that waits for the model's answer.
#[derive(Clone, Copy)]
struct Asked<'a> {
    command: &'a Command,
    seat: usize,
    event: usize,
}

type Step = Result<(), Box<Difference>>;

impl<'a> Run<'a> {
    fn new(
        trace: &'a Trace,
        version: Version,
        tamper: Option<Tamper>,
        chosen: BTreeMap<usize, (u64, u64)>,
    ) -> Self {
        let mut options = Options::default();
        options.epoch_ms = 0;
        options.version = version;
        let mut streams = Streams::new(options);
        let connections = (0..=SEATS).map(|_| streams.connect()).collect();
        let (open, early, met) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        let now = Instant::ZERO;
        Self { trace, tamper, streams, connections, chosen, now, open, early, met }
    }

    fn finish(&mut self) -> Step {
        for (place, event) in self.trace.events.iter().enumerate() {
            self.happen(place, event)?;
            self.compare_replies(place, event)?;
            if event.settled {
                self.compare_who_waits(place)?;
            }
        }
        Ok(())
    }

    fn happen(&mut self, place: usize, event: &'a Event) -> Step {
        self.now = Instant::from_start(Duration::from_millis(self.time(place, event)));
        let now = self.now;
        match &event.happening {
            Happening::Ask { ticket, command } => {
                let asked = Asked { command, seat: event.seat, event: place };
                self.open.insert(*ticket, asked);
                if event.label.is_some() {
                    self.met.push(outcomes::kind(command));
                }
                let len = self.bounded_len(command);
                let connection = self.connections[event.seat];
                self.streams.handle(now, connection, *ticket as u64, self.with_client(command));
                if len.is_some_and(|len| self.bounded_len(command) <= Some(len)) {
                    self.met.push("XADD: trimmed");
                }
            }
            Happening::Close => {
                self.met.push("connection closed");
                if self.open.values().any(|asked| asked.seat == event.seat) {
                    self.met.push("connection closed while it waited");
                }
                self.streams.disconnect(now, self.connections[event.seat]);
                self.connections[event.seat] = self.streams.connect();
                self.open.retain(|_, asked| asked.seat != event.seat);
            }
            Happening::Meddle(meddling, said) => {
                let modelled = self.meddle(meddling);
                self.met.push(outcomes::of_meddling(meddling));
                if modelled != *said {
                    return Err(differ(place, None, [*said, modelled].map(|it| it.to_string())));
                }
            }
            Happening::Tick => {}
            Happening::Look(look, sight) => {
                let seen = self.look(look);
                if seen != *sight {
                    return Err(differ(place, None, [sight, &seen].map(show::sight)));
                }
            }
        }
        Ok(())
    }

    /// The model's number for what the trace has as a seat.
    fn with_client(&self, command: &Command) -> Command {
        let mut command = command.clone();
        if let Command::ClientUnblock { client } = &mut command
            && let Some(seat) = seat_of(*client)
        {
            *client = self.connections[seat].number();
        }
        command
    }

    /// How long the stream is that a command adds to within a bound.
    fn bounded_len(&self, command: &Command) -> Option<u64> {
        match command {
            Command::XAdd { key, max_len: Some(_), .. } => {
                Some(self.streams.len(key)).filter(|len| *len > 0)
            }
            _ => None,
        }
    }

    fn meddle(&mut self, meddling: &Meddling) -> i64 {
        let (now, streams) = (self.now, &mut self.streams);
        match meddling {
            Meddling::Delete(key) => streams.delete(now, key).into(),
            Meddling::DestroyGroup(key, group) => streams.destroy_group(now, key, group).into(),
            Meddling::FlushAll => {
                streams.flush_all(now);
                0
            }
            Meddling::SetString(key) => {
                streams.set_string(now, key.clone());
                0
            }
            Meddling::Trim(key, max_len) => {
                i64::try_from(streams.trim(now, key, *max_len)).unwrap_or(i64::MAX)
            }
        }
    }

    fn look(&self, look: &Look) -> Sight {
        match look {
            Look::Consumers(key, group) => {
                Sight::Consumers(self.streams.consumers(key, group).cloned().collect())
            }
            Look::Len(key) => Sight::Len(i64::try_from(self.streams.len(key)).unwrap_or(i64::MAX)),
            Look::Ttl(key) => {
                let ttl = self.streams.ttl(self.now, key);
                Sight::Ttl(ttl.and_then(|ttl| u64::try_from(ttl.as_millis()).ok()))
            }
            Look::Pending(key, group) => Sight::Pending(self.streams.pending(self.now, key, group)),
        }
    }

    /// Compares what the model says now, to whomever.
    fn compare_replies(&mut self, place: usize, event: &Event) -> Step {
        while let Progress::Replied { ticket, mut reply, .. } = self.streams.poll(self.now) {
            let ticket = usize::try_from(ticket).unwrap();
            let Some(asked) = self.open.remove(&ticket) else {
                unreachable!("the model answers what it was asked, once")
            };
            if let Some(tamper) = self.tamper {
                tamper(asked.command, &mut reply);
            }
            let model = Answer::Reply(reply);
            let server = self.trace.answers[ticket].answer.as_ref();
            if server != Some(&model) {
                let said = [server, Some(&model)].map(show::answer);
                return Err(differ(place, Some(ticket), said));
            }
            self.early.insert(ticket);
            let ending = Ending { waited: asked.event < place, by: &event.happening };
            let own = event.seat == asked.seat;
            outcomes::of_answer(asked.command, &model, &ending, own, &mut self.met);
        }
        Ok(())
    }

    /// Compares which commands are not answered, where all answers of the server are known.
    fn compare_who_waits(&mut self, place: usize) -> Step {
        let told = |ticket: &usize| self.trace.answers[*ticket].since <= place;
        if let Some(ticket) = self.early.iter().find(|ticket| !told(ticket)) {
            let model = self.trace.answers[*ticket].answer.as_ref();
            return Err(differ(place, Some(*ticket), [None, model].map(show::answer)));
        }
        self.early.clear();
        if let Some(ticket) = self.open.keys().find(|ticket| told(ticket)) {
            let server = self.trace.answers[*ticket].answer.as_ref();
            return Err(differ(place, Some(*ticket), [server, None].map(show::answer)));
        }
        Ok(())
    }

    /// When the event happened, in milliseconds.
    fn time(&mut self, place: usize, event: &Event) -> u64 {
        let (mut from, mut to) = event.span;
        if !depends_on_time(&event.happening) {
            return from;
        }
        // An entry's id tells when it was added, or that it was not later.
        if let Happening::Ask { ticket, command: Command::XAdd { .. } } = &event.happening
            && let Some(Answer::Reply(Ok(Reply::Added(Some(id))))) =
                &self.trace.answers[*ticket].answer
            && (from..=to).contains(&id.ms)
        {
            to = id.ms;
            if id.seq == 0 {
                from = id.ms;
            }
        }
        if from >= to {
            return from;
        }
        self.chosen.entry(place).or_insert((from, to)).0
    }
}

/// Whether it makes a difference when this is done: times are kept or compared, or entries are
/// given to whoever waits.
const fn depends_on_time(happening: &Happening) -> bool {
    match happening {
        Happening::Ask { command, .. } => matches!(
            command,
            Command::ClientUnblock { .. }
                | Command::Del { .. }
                | Command::DelIdleConsumers { .. }
                | Command::PExpire { .. }
                | Command::XAdd { .. }
                | Command::XAutoClaim { .. }
                | Command::XClaim { .. }
                | Command::XGroupCreate { .. }
                | Command::XPendingRange { .. }
                | Command::XRead { block: Some(_), .. }
                | Command::XReadGroup { .. }
        ),
        Happening::Look(look, _) => matches!(look, Look::Pending(..) | Look::Ttl(_)),
        Happening::Meddle(..) | Happening::Tick => true,
        Happening::Close => false,
    }
}

fn differ(event: usize, ticket: Option<usize>, said: [String; 2]) -> Box<Difference> {
    let [server, model] = said;
    Box::new(Difference { event, ticket, server, model })
}
