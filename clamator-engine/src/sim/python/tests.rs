//! Tests of the simulated Python worker: that it has the peer's habits, bad ones included.
//!
//! Not of how workers of ours bear them, which simulated runs show.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::command::GroupStart;
use crate::engine::{Loss, Version};
use crate::memory::{ConnectionId, Options, Progress, Streams};

const STREAM: Bytes = Bytes::from_static(b"app:cmds:arith");
const GROUP: Bytes = Bytes::from_static(b"arith");
const REPLIES: Bytes = Bytes::from_static(b"app:replies:c0");
const SECOND: Duration = Duration::from_secs(1);

/// A worker, its Redis, and what it did.
struct Desk {
    python: Python,
    streams: Streams,
    now: Instant,
    connections: BTreeMap<Lane, ConnectionId>,
    tokens: BTreeMap<u64, Token>,
    sent: Vec<(Instant, Command)>,
    jobs: Vec<PythonJob>,
    reachable: bool,
}

impl Desk {
    fn new(claim_idle: Duration) -> Self {
        let now = Instant::ZERO;
        let streams = Streams::new(Options { epoch_ms: 1000, version: Version::new(7, 0, 15) });
        Self {
            python: Python::new(now, STREAM, GROUP, "py", claim_idle),
            streams,
            now,
            connections: BTreeMap::new(),
            tokens: BTreeMap::new(),
            sent: Vec::new(),
            jobs: Vec::new(),
            reachable: true,
        }
    }

    fn with_group(claim_idle: Duration) -> Self {
        let mut desk = Self::new(claim_idle);
        let start = GroupStart::New;
        let create = Command::XGroupCreate { key: STREAM, group: GROUP, start };
        assert!(desk.streams.carry_out(desk.now, create).is_ok());
        desk
    }

    fn add(&mut self, entries: u32) {
        for number in 0..entries {
            let text = format!("{{\"id\":\"x-{number}\"}}");
            let fields = wire::fields(text.into(), Some(REPLIES));
            let add = Command::XAdd { key: STREAM, create: true, max_len: None, fields };
            assert!(self.streams.carry_out(self.now, add).is_ok());
        }
    }

    /// Lets time pass, millisecond by millisecond.
    fn sleep(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.turn();
            self.now = self.now + Duration::from_millis(1);
        }
        self.turn();
    }

    fn turn(&mut self) {
        self.python.handle_input(self.now, Input::Tick);
        loop {
            self.drain();
            let Progress::Replied { ticket, reply, .. } = self.streams.poll(self.now) else {
                return;
            };
            let token = self.tokens.remove(&ticket).unwrap();
            self.python.handle_input(self.now, Input::Reply(token, reply));
        }
    }

    fn drain(&mut self) {
        loop {
            match self.python.poll_output() {
                Output::Close(lane) => self.disconnect(lane),
                Output::Command { lane, token, command, .. } => {
                    self.sent.push((self.now, command.clone()));
                    let (ticket, connection) = (token.number(), self.connections[&lane]);
                    self.tokens.insert(ticket, token);
                    self.streams.handle(self.now, connection, ticket, command);
                }
                Output::Event(job) => self.jobs.push(job),
                Output::Idle(_) => return,
                Output::Open(lane) if self.reachable => {
                    self.connections.insert(lane, self.streams.connect());
                    let hello = Hello::new(Version::new(7, 0, 15));
                    self.python.handle_input(self.now, Input::LaneOpen(lane, hello));
                }
                Output::Open(_) => {}
            }
        }
    }

    fn disconnect(&mut self, lane: Lane) {
        if let Some(connection) = self.connections.remove(&lane) {
            self.streams.disconnect(self.now, connection);
        }
    }

    fn lose(&mut self, lane: Lane) {
        self.disconnect(lane);
        let loss = Loss::Closed { detail: "".into() };
        self.python.handle_input(self.now, Input::LaneLost(lane, loss));
    }

    /// Ends the oldest handler.
    fn answer(&mut self) -> StreamId {
        let job = self.jobs.remove(0);
        self.python.answer(self.now, &job, Some((REPLIES, "{}".into())));
        self.turn();
        job.entry.id
    }

    fn pending(&self) -> usize {
        self.streams.pending(self.now, &STREAM, &GROUP).len()
    }

    /// When each command of a kind was sent.
    fn times(&self, which: fn(&Command) -> bool) -> Vec<Instant> {
        self.sent.iter().filter(|(_, command)| which(command)).map(|(at, _)| *at).collect()
    }
}

const fn is_claim(command: &Command) -> bool {
    matches!(command, Command::XAutoClaim { .. })
}

#[test]
fn it_reads_sixteen_at_a_time_and_runs_them_one_after_another() {
    let mut desk = Desk::with_group(SECOND * 60);
    desk.add(20);
    desk.sleep(SECOND);
    assert_eq!((desk.pending(), desk.jobs.len()), (16, 1));
    for left in (0..16).rev() {
        let before = desk.jobs[0].entry.id;
        assert_eq!(desk.answer(), before);
        if left > 0 {
            assert_eq!((desk.pending(), desk.jobs.len()), (left, 1));
        }
    }
    assert_eq!((desk.pending(), desk.jobs.len()), (4, 1), "it reads once all have run");
}

#[test]
fn it_replies_before_it_acknowledges_and_deletes_nothing() {
    let mut desk = Desk::with_group(SECOND * 60);
    desk.add(1);
    desk.sleep(SECOND);
    desk.answer();
    let steps: Vec<&Command> = desk.sent.iter().map(|(_, command)| command).collect();
    let reply = steps.iter().position(|it| matches!(it, Command::XAdd { max_len: Some(1024), .. }));
    let acknowledge = steps.iter().position(|it| matches!(it, Command::XAck { .. }));
    assert!(reply.is_some() && reply < acknowledge, "{steps:?}");
    assert_eq!((desk.pending(), desk.streams.len(&STREAM), desk.streams.len(&REPLIES)), (0, 1, 1));
}

#[test]
fn it_looks_for_what_others_left_four_times_in_claim_idle_but_once_a_second_at_most() {
    for (claim_idle, pause) in [(SECOND * 8, SECOND * 2), (SECOND, SECOND)] {
        let mut desk = Desk::with_group(claim_idle);
        desk.sleep(SECOND * 9);
        let times = desk.times(is_claim);
        assert!(times.len() >= 4, "{times:?}");
        for pair in times.windows(2) {
            assert!(pair[1].since(pair[0]) >= pause, "{times:?}");
            assert!(pair[1].since(pair[0]) <= pause + SECOND / 10, "{times:?}");
        }
    }
}

#[test]
fn it_always_looks_from_the_start_and_renews_nothing() {
    let mut desk = Desk::with_group(SECOND * 2);
    desk.add(40);
    desk.sleep(SECOND * 6);
    for (_, command) in &desk.sent {
        match command {
            Command::XAutoClaim { start, count, .. } => {
                assert_eq!((*start, *count), (StreamId::ZERO, 32));
            }
            Command::XReadGroup { count, .. } => assert_eq!(*count, 16),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn it_takes_back_what_it_holds_itself_and_runs_it_beside_its_other_loop() {
    let mut desk = Desk::with_group(SECOND);
    desk.add(3);
    desk.sleep(SECOND / 2);
    assert_eq!(desk.jobs.len(), 1);
    desk.sleep(SECOND * 2);
    let ids: Vec<StreamId> = desk.jobs.iter().map(|job| job.entry.id).collect();
    assert_eq!(ids.len(), 2, "two handlers at once of a service that runs one at a time");
    assert_eq!(ids[0], ids[1], "of one entry, even");
}

#[test]
fn it_never_creates_a_group_again() {
    let mut desk = Desk::with_group(SECOND);
    desk.sleep(SECOND);
    desk.streams.flush_all(desk.now);
    desk.sent.clear();
    desk.sleep(SECOND * 5);
    let reads = desk.times(|command| matches!(command, Command::XReadGroup { .. }));
    assert!((40..=51).contains(&reads.len()), "every 100 ms: {}", reads.len());
    assert_eq!(desk.sent.len(), reads.len() + desk.times(is_claim).len());
    desk.add(1);
    desk.sleep(SECOND * 2);
    assert!(desk.jobs.is_empty());
}

#[test]
fn a_reply_that_is_refused_costs_it_the_rest_of_its_batch() {
    let mut desk = Desk::with_group(SECOND * 60);
    desk.add(4);
    desk.sleep(SECOND / 2);
    desk.streams.set_string(desk.now, REPLIES);
    desk.answer();
    desk.sleep(SECOND);
    assert_eq!((desk.pending(), desk.jobs.len()), (4, 0));
    desk.add(1);
    desk.sleep(SECOND);
    assert_eq!((desk.pending(), desk.jobs.len()), (5, 1), "what comes later is run");
}

#[test]
fn its_batch_goes_on_when_the_connection_that_brought_it_ends() {
    let mut desk = Desk::with_group(SECOND * 60);
    desk.add(2);
    desk.sleep(SECOND / 2);
    desk.lose(READING);
    desk.answer();
    desk.answer();
    assert_eq!((desk.pending(), desk.jobs.len()), (0, 0));
}

#[test]
fn it_gives_up_connections_that_nothing_comes_of() {
    let mut desk = Desk::with_group(SECOND);
    desk.reachable = false;
    desk.sleep(PATIENCE + PAUSE / 2);
    desk.reachable = true;
    desk.add(1);
    desk.sleep(SECOND);
    assert_eq!(desk.jobs.len(), 1);
}
