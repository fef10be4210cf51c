//! Tests of the injector: that each fault of the network and of Redis does what its name says.
//!
//! Not of how engines bear them. Each fault strikes alone, again and again, until it has been seen
//! to do what it is to do; a fault that only claims to strike fails here.

use alloc::vec::Vec;

use super::super::network::stage::{GROUP, SOON, STREAM, Stage, add, look, node, read};
use super::*;
use crate::reply::Refusal;

const REPLIES: Bytes = Bytes::from_static(b"app:replies:c0");
const END: Instant = Instant::from_start(Duration::from_secs(600));
const LANES: [Lane; 2] = [Lane::Command, Lane::Blocking(0)];

/// A network in use, and an injector of one fault.
struct Strike {
    stage: Stage,
    injector: Injector,
    fault: Fault,
}

impl Strike {
    fn new(seed: u64, fault: Fault) -> Self {
        let mut stage = Stage::with(seed, node(1), &LANES);
        for _ in 0..5 {
            stage.ask(node(1), Lane::Command, add()).unwrap();
        }
        stage.ask(node(1), Lane::Blocking(0), read(0)).unwrap();
        stage.ask(node(1), Lane::Command, add()).unwrap();
        let fields = add_fields();
        let reply = Command::XAdd { key: REPLIES, create: true, max_len: None, fields };
        stage.ask(node(1), Lane::Command, reply).unwrap();
        Self { stage, injector: Injector::new(seed, &[fault], "app", END), fault }
    }

    /// Lets the fault strike, once.
    fn strike(&mut self) {
        for _ in 0..1000 {
            let due = self.injector.due().expect("it goes on");
            self.stage.sleep(due.since(self.stage.now));
            let struck = self.injector.strike(self.stage.now, &mut self.stage.network);
            if let Some(fault) = struck {
                assert_eq!(fault, self.fault);
                return;
            }
        }
        panic!("{} never strikes", self.fault);
    }

    /// What a connected node, which connects again if it must, is answered.
    fn ask(&mut self, command: Command) -> Result<Reply, Refusal> {
        if !self.stage.network.lanes(node(1)).contains(&Lane::Command) {
            self.stage.network.open(self.stage.now, node(1), Lane::Command);
            self.stage.sleep(SOON);
        }
        self.stage.ask(node(1), Lane::Command, command)
    }

    /// How many entries a stream has.
    fn len(&self, key: &[u8]) -> u64 {
        self.stage.network.streams().len(key)
    }

    fn consumers(&self) -> usize {
        self.stage.network.streams().consumers(&STREAM, &GROUP).count()
    }

    fn has_group(&self, group: &[u8]) -> bool {
        self.stage.network.streams().last_delivered(&STREAM, group).is_some()
    }

    /// How far Redis's clock is ahead of the time that has passed.
    fn epoch(&self) -> Duration {
        let now = self.stage.now;
        self.stage.network.streams().time(now).saturating_sub(now.since_start())
    }
}

fn add_fields() -> Fields {
    vec![(Bytes::from_static(b"a"), Bytes::from_static(b"b"))]
}

/// Lets a fault strike in many runs, and counts those in which it was seen.
fn seen(fault: Fault, look: fn(&mut Strike) -> bool) -> usize {
    (0..40)
        .filter(|seed| {
            let mut strike = Strike::new(*seed, fault);
            strike.strike();
            assert_eq!(strike.injector.counts().of(fault), 1);
            look(&mut strike)
        })
        .count()
}

fn always(fault: Fault, look: fn(&mut Strike) -> bool) {
    assert_eq!(seen(fault, look), 40, "{fault}");
}

fn code(reply: &Result<Reply, Refusal>) -> &str {
    reply.as_ref().err().map_or("ok", |refusal| refusal.code.as_str())
}

/// What a command is answered right after the strike, on a quick connection of its own.
fn refusals(fault: Fault, command: fn() -> Command, wanted: &str) -> usize {
    (0..40)
        .filter(|seed| {
            let mut strike = Strike::new(*seed, fault);
            strike.strike();
            let sent = strike.stage.send(node(1), Lane::Command, command());
            strike.stage.sleep(SOON);
            let replies = strike.stage.replies();
            replies.iter().any(|(ticket, reply)| *ticket == sent && code(reply) == wanted)
        })
        .count()
}

#[test]
fn troubles_refuse_with_their_codes() {
    let troubles = [
        (Fault::ClusterDown, "CLUSTERDOWN"),
        (Fault::Loading, "LOADING"),
        (Fault::Misconfigured, "MISCONF"),
        (Fault::OutOfMemory, "OOM"),
        (Fault::ReadOnly, "READONLY"),
    ];
    for (fault, wanted) in troubles {
        // The shortest are over before the command arrives.
        let refused = refusals(fault, add, wanted);
        assert!(refused > 30, "{fault}: {refused}");
    }
    let one_of_eleven = refusals(Fault::NoPermission, add, "NOPERM");
    assert!((1..12).contains(&one_of_eleven), "{one_of_eleven}");
}

#[test]
fn troubles_end_by_themselves() {
    let faults = [
        Fault::ClusterDown,
        Fault::ConnectHangs,
        Fault::ConnectRefused,
        Fault::Loading,
        Fault::Misconfigured,
        Fault::NoPermission,
        Fault::OutOfMemory,
        Fault::ReadOnly,
    ];
    for fault in faults {
        always(fault, |strike| {
            strike.stage.sleep(Duration::from_secs(5));
            code(&strike.ask(add())) == "ok"
        });
    }
}

#[test]
fn connections_are_refused_or_hang_after_some_were_cut() {
    for fault in [Fault::ConnectHangs, Fault::ConnectRefused] {
        let (mut cut, mut hurt) = (0, 0);
        for seed in 0..40 {
            let mut strike = Strike::new(seed, fault);
            strike.strike();
            strike.stage.sleep(Duration::ZERO);
            cut += usize::from(!strike.stage.lost().is_empty());
            strike.stage.heard.clear();
            strike.stage.network.open(strike.stage.now, node(2), Lane::Command);
            strike.stage.sleep(SOON);
            let heard = strike.stage.heard.len();
            let lost = strike.stage.lost().iter().any(|(_, of, _)| *of == node(2));
            let fails = if fault == Fault::ConnectHangs { heard == 0 } else { lost };
            hurt += usize::from(fails);
        }
        assert!(cut > 20 && hurt > 20, "{fault}: {cut}, {hurt}");
    }
}

#[test]
fn connections_end_with_what_was_written_or_without() {
    for (fault, executed) in [(Fault::ResetBeforeReply, 1), (Fault::ResetBeforeWrite, 0)] {
        let mut cuts = 0;
        for seed in 0..40 {
            let mut strike = Strike::new(seed, fault);
            let due = strike.injector.due().expect("it strikes");
            strike.stage.sleep(due.since(strike.stage.now));
            let before = strike.len(&STREAM);
            strike.stage.send(node(1), Lane::Command, add());
            let (now, network) = (strike.stage.now, &mut strike.stage.network);
            let struck = strike.injector.strike(now, network).is_some();
            strike.stage.sleep(Duration::from_secs(3));
            let lost = strike.stage.lost().iter().any(|(_, _, lane)| *lane == Lane::Command);
            assert!(struck || !lost);
            if lost {
                cuts += 1;
                assert_eq!(strike.len(&STREAM) - before, executed, "{fault}");
                assert!(strike.stage.replies().is_empty());
            }
        }
        assert!(cuts > 10, "{fault}: {cuts}");
    }
}

#[test]
fn half_open_and_slow_connections_do_not_answer_soon() {
    for fault in [Fault::HalfOpen, Fault::Slow] {
        let silent = (0..40).filter(|seed| {
            let mut strike = Strike::new(*seed, fault);
            strike.strike();
            let sent = [Lane::Command, Lane::Blocking(0)]
                .map(|lane| strike.stage.send(node(1), lane, look()));
            strike.stage.sleep(SOON);
            assert!(strike.stage.lost().is_empty(), "{fault}");
            let heard = strike.stage.replies().len();
            strike.stage.sleep(Duration::from_secs(9));
            let all = strike.stage.replies().len();
            assert!(fault == Fault::HalfOpen || all == sent.len(), "what is slow arrives");
            heard < 2
        });
        let silent = silent.count();
        assert!(silent > 15, "{fault}: {silent}");
    }
}

#[test]
fn restarts_lose_connections_and_what_their_names_say() {
    always(Fault::RestartEmpty, |strike| {
        strike.stage.sleep(Duration::ZERO);
        strike.stage.lost().len() == 2 && strike.stage.network.streams().keys().count() == 0
    });
    always(Fault::RestartKept, |strike| {
        strike.stage.sleep(Duration::ZERO);
        strike.stage.lost().len() == 2 && strike.len(&STREAM) == 6
    });
    for fault in [Fault::RestartTruncated, Fault::Failover] {
        for seed in 0..10 {
            let mut strike = Strike::new(seed, fault);
            while strike.injector.snapshots.is_empty() {
                let due = strike.injector.due().expect("it goes on");
                strike.stage.sleep(due.since(strike.stage.now));
                let (now, network) = (strike.stage.now, &mut strike.stage.network);
                let nothing = strike.injector.inflict(now, network, fault);
                assert!(!nothing, "there is no older copy yet");
                strike.injector.snapshots.push_back(strike.stage.network.streams().snapshot());
            }
            strike.ask(add()).unwrap();
            assert_eq!(strike.len(&STREAM), 7);
            let (now, network) = (strike.stage.now, &mut strike.stage.network);
            assert!(strike.injector.inflict(now, network, fault));
            assert_eq!(strike.len(&STREAM), 6, "{fault} loses the last write");
        }
    }
}

#[test]
fn data_is_deleted_trimmed_and_flushed() {
    always(Fault::FlushAll, |strike| strike.stage.network.streams().keys().count() == 0);
    always(Fault::StreamDeleted, |strike| {
        strike.len(&STREAM) == 0 && !strike.has_group(&GROUP) && strike.len(&REPLIES) == 1
    });
    always(Fault::StreamTrimmed, |strike| strike.len(&STREAM) < 4 && strike.has_group(&GROUP));
    always(Fault::EntryDeleted, |strike| strike.len(&STREAM) == 5);
    always(Fault::GroupDestroyed, |strike| !strike.has_group(&GROUP) && strike.len(&STREAM) == 6);
    always(Fault::ConsumerDeleted, |strike| {
        strike.consumers() == 0 && strike.stage.pending() == 0 && strike.has_group(&GROUP)
    });
}

#[test]
fn strangers_add_groups_entries_and_replies() {
    always(Fault::ForeignGroup, |strike| strike.has_group(b"audit") && strike.has_group(&GROUP));
    always(Fault::Garbage, |strike| strike.len(&STREAM) == 7);
    always(Fault::ForeignReply, |strike| strike.len(&REPLIES) == 2);
    always(Fault::ReplyDuplicated, |strike| {
        let streams = strike.stage.network.streams();
        let all: Vec<_> = streams.ids(&REPLIES).map(|id| streams.find(&REPLIES, id)).collect();
        all.len() == 2 && all[0] == all[1]
    });
}

#[test]
fn a_spoiled_reply_key_is_mended_by_itself() {
    always(Fault::ReplyKeyWrongType, |strike| {
        let fields = add_fields();
        let reply = Command::XAdd { key: REPLIES, create: true, max_len: None, fields };
        let (now, network) = (strike.stage.now, &mut strike.stage.network);
        let spoiled = code(&network.streams_mut().carry_out(now, reply.clone())) == "WRONGTYPE";
        let mended = now + Duration::from_secs(5);
        strike.injector.until = mended;
        strike.injector.strike(mended, network);
        spoiled && network.streams_mut().carry_out(mended, reply).is_ok()
    });
}

#[test]
fn the_clock_of_redis_is_turned_in_both_directions() {
    let before = Duration::from_millis(1_700_000_000_000);
    assert_eq!(Strike::new(1, Fault::Slow).epoch(), before);
    for seed in 0..40 {
        let mut strike = Strike::new(seed, Fault::RedisClockAhead);
        strike.strike();
        assert!(strike.epoch() > before);
        let mut strike = Strike::new(seed, Fault::RedisClockBack);
        strike.strike();
        assert!(strike.epoch() < before);
    }
}

#[test]
fn faults_of_processes_are_left_to_others_and_nothing_strikes_after_the_end() {
    let of_processes: Vec<Fault> =
        Fault::ALL.iter().copied().filter(|fault| fault.is_of_process()).collect();
    assert!(of_processes.len() > 10);
    assert_eq!(Injector::new(1, &of_processes, "app", END).due(), None);
    let mut strike = Strike::new(1, Fault::FlushAll);
    let (now, network) = (strike.stage.now, &mut strike.stage.network);
    strike.injector.heal(now, network);
    assert_eq!(strike.injector.due(), None);
    assert_eq!(strike.injector.strike(END, network), None);
}

#[test]
fn healing_puts_right_what_still_lasts() {
    for fault in Fault::ALL.iter().filter(|fault| !fault.is_of_process()) {
        let mut strike = Strike::new(3, *fault);
        // Some strike only once there is an older copy of the data.
        strike.injector.snapshots.push_back(strike.stage.network.streams().snapshot());
        strike.strike();
        let (now, network) = (strike.stage.now, &mut strike.stage.network);
        strike.injector.heal(now, network);
        // Whoever has a connection that is no good finds out in its own time.
        strike.stage.sleep(Duration::from_secs(10));
        assert_eq!(code(&strike.ask(add())), "ok", "{fault}");
    }
}
