//! Target `client`: any sequence of verbs and of what a Redis and a network may do to a client.
//!
//! Checked beside what a [`Port`] checks: a call ends once, in time, and with what was offered under
//! its id; what is said not to have been sent was not; a stop ends in time. Not the reading of odd
//! entries: `reply`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use clamator_engine::{
    CallError, CallId, Client, ClientConfig, ClientEvent, Command, Entry, GroupInfo, Instant, Lane,
    Refusal, Reply, StreamId,
};
use clamator_proto::{Json, Method};
use serde_json::Value;

use super::Seen;
use super::material;
use super::mishaps;
use super::port::{App, Port};
use super::script::Script;

pub(super) fn run(data: &[u8]) -> Seen {
    let mut script = Script::new(data);
    let mut config = ClientConfig::new("app", [7; 16], 1);
    config.in_flight_max = script.pick(&[1, 2, 5, 1000]);
    config.timeout = script.pick(&[1, 30, 300]) * Duration::from_millis(100);
    let mut app = Caller { in_flight_max: config.in_flight_max, ..Caller::default() };
    let stop_within = config.command_timeout;
    let mut port = Port::new(Client::new(Instant::ZERO, config), &mut app);
    for _ in 0..2000 {
        if script.is_over() {
            break;
        }
        step(&mut script, &mut port, &mut app);
        if script.roll(4) != 3 {
            port.turn(&mut app);
            app.check_time(port.now);
        }
    }
    port.turn(&mut app);
    match script.roll(4) {
        0 => {
            let work = app.live.len();
            port.refuse_all(&material::refusal(&mut script), work, &mut app);
        }
        1 => port.pass(Duration::from_secs(120), false, &mut app),
        _ => {}
    }
    app.check_time(port.now);
    port.engine.stop(port.now);
    port.turn(&mut app);
    assert!(app.live.is_empty(), "calls outlive the stop: {:?}", app.live);
    if script.once_in(2) && !app.stopped {
        for lane in port.busy() {
            while port.oldest(lane).is_some() {
                answer(&mut script, &mut port, &mut app, lane);
            }
        }
        port.turn(&mut app);
    }
    port.pass(stop_within, false, &mut app);
    assert!(app.stopped, "the stop takes longer than its command may");
    if port.closed > 0 {
        app.seen.mark("lane closed");
    }
    app.seen
}

/// One thing happens.
fn step(script: &mut Script<'_>, port: &mut Port<Client>, app: &mut Caller) {
    match script.roll(16) {
        0 | 1 => app.call(script, port),
        2 => app.notify(script, port),
        3 => {
            if !app.made.is_empty() {
                let id = script.pick(&app.made);
                app.live.remove(&id);
                port.engine.cancel(port.now, id);
            }
        }
        4 | 5 => mishaps::open(script, port),
        6 => mishaps::lose(script, port, &mut app.seen),
        7..=10 => {
            for lane in port.busy() {
                if !script.once_in(3) {
                    answer(script, port, app, lane);
                }
            }
        }
        11 => mishaps::refuse(script, port),
        12 => mishaps::answer_oddly(script, port, |_, _| true),
        13 | 14 => {
            let (span, late) = (script.span(), script.once_in(4));
            port.pass(span, late, app);
        }
        _ => {
            if script.once_in(16) {
                port.engine.stop(port.now);
            } else if let Some(due) = port.due() {
                port.pass(due.since(port.now), false, app);
            }
        }
    }
}

/// Answers the oldest command of a lane as a Redis would.
fn answer(script: &mut Script<'_>, port: &mut Port<Client>, app: &mut Caller, lane: Lane) {
    let reply = match port.oldest(lane) {
        Some(Command::XRead { .. }) => app.entries(script),
        Some(Command::XAdd { create, .. }) => {
            let added = StreamId::new(app.next_entry, 1);
            Reply::Added((*create || script.once_in(2)).then_some(added))
        }
        Some(Command::XInfoGroups { .. }) => groups(script, app.next_entry),
        Some(Command::XDel { .. }) => Reply::Integer(i64::from(script.once_in(2))),
        _ => Reply::Integer(1),
    };
    port.reply(lane, Ok(reply));
}

/// Who was given what of the command stream: nobody, somebody, or somebody else too.
fn groups(script: &mut Script<'_>, last: u64) -> Reply {
    let mut groups = Vec::new();
    for (name, times) in [(&b"arith"[..], 2), (b"foreign", 8)] {
        if script.once_in(times) {
            let given = if script.once_in(2) { StreamId::ZERO } else { StreamId::new(last, 1) };
            groups.push(GroupInfo::new(Bytes::from_static(name), given));
        }
    }
    Reply::Groups(groups)
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    is_call: bool,
    expires: Instant,
}

#[derive(Default)]
struct Caller {
    seen: Seen,
    in_flight_max: usize,
    made: Vec<CallId>,
    live: BTreeMap<CallId, Waiting>,
    /// The ids that requests went out under, as JSON text, by the number in their parameters.
    ids: BTreeMap<u64, String>,
    notified: BTreeSet<u64>,
    not_sent: BTreeSet<u64>,
    /// The results that were put on the reply stream for a call.
    offered: BTreeMap<u64, BTreeSet<u64>>,
    next_number: u64,
    next_entry: u64,
    next_result: u64,
    last_after: Option<StreamId>,
    stopped: bool,
}

impl Caller {
    fn call(&mut self, script: &mut Script<'_>, port: &mut Port<Client>) {
        let timeout = script.once_in(2).then(|| script.span());
        let (method, params) = self.next();
        let id = port.engine.call(port.now, &method, &params, timeout, None);
        let expires = timeout.map_or(Instant::from_start(Duration::MAX), |span| port.now + span);
        self.made(id, true, expires);
    }

    fn notify(&mut self, _: &mut Script<'_>, port: &mut Port<Client>) {
        let (method, params) = self.next();
        let id = port.engine.notify(port.now, &method, &params, None);
        self.made(id, false, Instant::from_start(Duration::MAX));
    }

    fn next(&mut self) -> (Method<'static>, Json) {
        self.next_number += 1;
        let method = Method::parse("arith.echo").expect("a good method");
        (method, Json::encode(&self.next_number).expect("a number"))
    }

    fn made(&mut self, id: CallId, is_call: bool, expires: Instant) {
        self.made.push(id);
        let waiting = Waiting { number: self.next_number, is_call, expires };
        assert!(self.live.insert(id, waiting).is_none(), "{id:?} names two calls");
    }

    /// No call waits longer than its timeout.
    fn check_time(&self, now: Instant) {
        let late: Vec<_> = self.live.values().filter(|call| call.expires <= now).collect();
        assert!(late.is_empty(), "overdue at {now}: {late:?}");
    }

    /// Some replies, to calls under way, ended and unknown.
    fn entries(&mut self, script: &mut Script<'_>) -> Reply {
        let mut entries = Vec::new();
        for _ in 0..script.roll(4) {
            // Sometimes the stream was made again, with lower ids.
            self.next_entry = if script.once_in(32) { 1 } else { self.next_entry + 1 };
            let ids: Vec<u64> = self.ids.keys().copied().collect();
            let text = if ids.is_empty() || script.once_in(8) {
                material::envelope(script, &["1".to_owned(), r#""x-1""#.to_owned()])
            } else {
                let number = script.pick(&ids);
                self.next_result += 1;
                self.offered.entry(number).or_default().insert(self.next_result);
                let (id, result) = (&self.ids[&number], self.next_result);
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into()
            };
            let fields = vec![(Bytes::from_static(b"envelope"), text)];
            entries.push(Entry::new(StreamId::new(self.next_entry, 0), Some(fields)));
        }
        Reply::Entries(entries)
    }

    fn request(&mut self, fields: &[(Bytes, Bytes)]) {
        let envelope: Value = serde_json::from_slice(&fields[1].1).expect("JSON");
        let number = envelope["params"].as_u64().expect("the call's number");
        assert!(!self.not_sent.contains(&number), "{number} was said not to have been sent");
        let id = &envelope["id"];
        if id.is_null() {
            assert!(self.notified.insert(number), "{number} is sent twice");
            return;
        }
        let old = self.ids.insert(number, id.to_string());
        assert!(old.is_none(), "{number} is sent twice");
        let live = self.live.values().filter(|it| it.is_call && self.ids.contains_key(&it.number));
        assert!(live.count() <= self.in_flight_max, "too many under way");
    }

    fn failed(&mut self, now: Instant, call: &Waiting, error: &CallError) {
        let number = call.number;
        let went_out = self.ids.contains_key(&number) || self.notified.contains(&number);
        match error {
            CallError::NotSent => {
                assert!(!went_out, "{number} was sent");
                self.not_sent.insert(number);
                self.seen.mark("not sent");
            }
            CallError::OutcomeUnknown => self.seen.mark("outcome unknown"),
            CallError::Refused(_) => self.seen.mark("refused"),
            CallError::Timeout => {
                let no_end = Instant::from_start(Duration::MAX);
                assert!(call.expires <= now || call.expires == no_end, "early: {call:?} at {now}");
                self.seen.mark("timeout");
            }
            CallError::NoWorkers => self.seen.mark("no workers"),
            CallError::Stopped => {}
            other => panic!("{call:?} ended with {other:?}"),
        }
    }
}

impl App<Client> for Caller {
    fn command(&mut self, _: Instant, lane: Lane, command: &Command) {
        assert_eq!(lane == Lane::Blocking(0), matches!(command, Command::XRead { .. }));
        match command {
            Command::XAdd { fields, .. } => self.request(fields),
            Command::XRead { after, .. } => {
                if self.last_after.is_some_and(|last| *after < last) {
                    self.seen.mark("stream read again");
                }
                self.last_after = Some(*after);
            }
            Command::Del { .. } => self.seen.mark("reply stream deleted"),
            Command::XInfoGroups { .. } => self.seen.mark("looked at"),
            Command::XDel { ids, .. } => {
                assert_eq!(ids.len(), 1, "what becomes of each cannot be told");
                self.seen.mark("taken back");
            }
            other => panic!("a client does not send {other:?}"),
        }
    }

    fn event(&mut self, now: Instant, _: &mut Client, event: ClientEvent) {
        match event {
            ClientEvent::Finished(id, outcome) => {
                let call = self.live.remove(&id).expect("a call ends once, and not when cancelled");
                assert!(call.is_call, "a notification is not finished");
                match outcome {
                    Ok(result) => {
                        let result = result.decode().expect("a number was offered");
                        let offered = self.offered.get(&call.number);
                        assert!(offered.is_some_and(|offered| offered.contains(&result)));
                        self.seen.mark("result");
                    }
                    Err(error) => self.failed(now, &call, &error),
                }
            }
            ClientEvent::Notified(id, outcome) => {
                let call = self.live.remove(&id).expect("a notification ends once");
                assert!(!call.is_call, "a call is not notified");
                match outcome {
                    Ok(()) => self.seen.mark("notified"),
                    Err(error) => self.failed(now, &call, &error),
                }
            }
            ClientEvent::Connected => self.seen.mark("connected"),
            ClientEvent::Stopped => {
                assert!(!self.stopped, "stopped twice");
                self.stopped = true;
            }
            _ => {}
        }
    }

    fn replied(&mut self, _: &Command, _: &Result<Reply, Refusal>) {}

    fn ended(&mut self, _: Lane) {}

    fn is_stopped(&self) -> bool {
        self.stopped
    }
}
