//! Whether a server says that it cannot serve when it cannot, and does not when it can.
//!
//! Not what it does about it: that is with each rule.

use super::*;
use crate::engine::{Input, Lane, Loss};
use crate::health::{Ailment, Health};

impl Rig<Server> {
    /// The commands that are said to be refused.
    fn refused(&self) -> Vec<&'static str> {
        let Health::Unhealthy { reasons } = self.engine.health(self.now) else { return vec![] };
        let command = |reason: &Ailment| match reason {
            Ailment::Refused { command, service, .. } => {
                assert!(service.is_some());
                *command
            }
            other => panic!("{other}"),
        };
        reasons.iter().map(command).collect()
    }

    fn healthy(&self) -> bool {
        self.engine.health(self.now).is_healthy()
    }
}

#[test]
fn a_server_is_healthy_while_it_starts_serves_and_runs_long_handlers() {
    let mut rig = rig_of(config(), vec![service("arith")]);
    assert!(rig.healthy());
    rig.open_lanes();
    rig.answer("XGROUP CREATE", Reply::Ok);
    rig.habit = quiet;
    rig.run(5 * SECOND);
    assert!(rig.healthy());
    rig.deliver((1..=2).map(request).collect());
    rig.job();
    // No read is under way: there is no place for what it would bring.
    rig.reads_run_out = false;
    rig.run(15 * SECOND);
    assert_eq!(rig.count("XREADGROUP"), 0);
    assert!(rig.healthy());
}

#[test]
fn a_server_whose_reads_are_not_answered_is_unhealthy_after_two_of_them_and_a_second() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.reads_run_out = false;
    // The lane is given up meanwhile, and opened again.
    for _ in 0..29 {
        rig.run(SECOND / 10);
        rig.open_lanes();
        assert!(rig.healthy(), "{:?}", rig.now);
    }
    for _ in 0..2 {
        rig.run(SECOND / 10);
        rig.open_lanes();
    }
    let Health::Unhealthy { reasons } = rig.engine.health(rig.now) else { panic!() };
    assert!(matches!(&reasons[..], [Ailment::Silent { unanswered }] if *unanswered > 3 * SECOND));
    rig.answer("XPENDING", Reply::PendingRange(vec![]));
    assert!(rig.healthy());
}

#[test]
fn a_large_value_on_its_way_is_no_silence() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.reads_run_out = false;
    for _ in 0..10 {
        rig.run(SECOND);
        rig.input(Input::Progress { lane: Lane::Blocking(0), bytes: 1 << 20 });
        assert!(rig.healthy(), "{:?}", rig.now);
    }
    assert!(rig.closed.is_empty());
}

#[test]
fn a_lane_that_ends_is_no_ailment_and_one_that_cannot_be_opened_is() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.lose(Lane::Command);
    rig.run(SECOND / 2);
    assert!(rig.healthy());
    let unreachable = Loss::Unreachable { address: "here".into(), detail: "refused".into() };
    rig.input(Input::LaneLost(Lane::Command, unreachable.clone()));
    let reasons = vec![Ailment::Disconnected(unreachable)];
    assert_eq!(rig.engine.health(rig.now), Health::Unhealthy { reasons });
    rig.run(SECOND);
    rig.open_lanes();
    assert!(rig.healthy());
    assert_eq!(rig.engine.stats().reconnects, 1);
}

#[test]
fn a_server_that_is_too_old_is_an_ailment() {
    let mut rig = rig_of(config(), vec![service("arith")]);
    let version = crate::engine::Version::new(6, 0, 16);
    rig.input(Input::LaneOpen(Lane::Command, crate::engine::Hello::new(version)));
    assert!(!rig.healthy());
}

#[test]
fn acknowledgements_that_are_refused_for_good_are_an_ailment_however_full_the_backlog() {
    let mut config = config();
    config.prefetch_max = 1;
    let mut rig = serving(config, service("arith"));
    rig.habit = |command| match command {
        Command::XAdd { .. } => Some(added()),
        Command::XClaim { ids, .. } => Some(Reply::Ids(ids.clone())),
        Command::XDel { .. } => Some(Reply::Integer(1)),
        Command::XReadGroup { .. } | Command::XAck { .. } => None,
        other => quiet(other),
    };
    for ms in 1..100 {
        while let Some(ack) = rig.find("XACK") {
            rig.refuse(ack.token, "NOPERM");
        }
        if rig.count("XREADGROUP") > 0 {
            rig.deliver(vec![request(ms)]);
        }
        for job in rig.jobs() {
            rig.end(&job);
        }
        rig.run(SECOND);
        assert!(ms < 3 || rig.refused() == ["XACK"], "{ms}: {:?}", rig.engine.health(rig.now));
    }
    assert_eq!(rig.count("XREADGROUP"), 0, "the backlog is not full");
    let held = rig.engine.stats().held;
    assert!(held > 3, "{held}");
    while let Some(ack) = rig.find("XACK") {
        rig.reply(ack.token, Reply::Integer(1));
    }
    assert!(rig.healthy());
    assert_eq!(rig.engine.stats().held, 0);
}

#[test]
fn a_redis_that_takes_no_writes_is_an_ailment_of_an_idle_server() {
    for code in ["MISCONF", "READONLY", "NOPERM"] {
        let mut rig = rig();
        rig.habit = quiet;
        for _ in 0..5 {
            rig.run(SECOND);
            rig.open_lanes();
            while let Some(read) = rig.find("XREADGROUP") {
                rig.refuse(read.token, code);
            }
            assert_eq!(rig.refused(), ["XREADGROUP"], "{code}");
        }
        while rig.count("XREADGROUP") == 0 {
            rig.run(SECOND);
            rig.open_lanes();
        }
        rig.deliver(vec![]);
        assert!(rig.healthy(), "{code}");
    }
}

#[test]
fn a_redis_that_takes_no_writes_is_an_ailment_of_a_busy_server() {
    for code in ["MISCONF", "OOM"] {
        let mut rig = rig_with_handlers(2);
        rig.habit = quiet;
        rig.deliver((1..=2).map(request).collect());
        let jobs = rig.jobs();
        rig.end(&jobs[0]);
        for _ in 0..20 {
            while let Some(reply) = rig.find("XADD") {
                rig.refuse(reply.token, code);
            }
            // Whatever else succeeds that Redis does also when it is full.
            if code == "OOM" {
                while let Some(read) = rig.find("XREADGROUP") {
                    rig.reply(read.token, Reply::Entries(vec![]));
                }
            }
            rig.run(SECOND / 2);
            assert_eq!(rig.refused(), ["XADD"], "{code}");
        }
        rig.answer("XADD", added());
        assert!(rig.healthy(), "{code}");
    }
}

#[test]
fn a_refusal_in_a_trouble_that_is_over_is_forgotten_also_if_that_command_is_not_needed_soon() {
    let mut rig = rig();
    rig.habit = marks;
    let read = rig.take("XREADGROUP");
    rig.refuse(read.token, "MISCONF");
    assert_eq!(rig.refused(), ["XREADGROUP"]);
    // What this brings runs for so long that nothing is read for the time being.
    rig.run(SECOND / 2);
    rig.engine.services[0].reclaim.more = true;
    rig.run(SECOND);
    rig.answer("XAUTOCLAIM", claimed(StreamId::ZERO, vec![]));
    assert!(rig.healthy());
}

#[test]
fn a_reply_that_is_refused_on_its_own_is_no_ailment() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.end(&job);
    let reply = rig.take("XADD");
    rig.refuse(reply.token, "WRONGTYPE");
    assert!(rig.healthy());
    assert_eq!(rig.engine.stats().replies_refused, 1);
}

#[test]
fn a_group_that_cannot_be_made_is_an_ailment_and_one_that_is_made_again_is_none() {
    let mut rig = rig();
    rig.habit = |_| None;
    let read = rig.take("XREADGROUP");
    rig.refuse(read.token, "NOGROUP");
    assert!(rig.healthy());
    rig.run(2 * SECOND);
    let look = rig.take("XINFO STREAM");
    rig.refuse_key(look.token);
    let create = rig.take("XGROUP CREATE");
    rig.refuse(create.token, "OOM");
    assert_eq!(rig.refused(), ["XGROUP CREATE"]);
    rig.run(2 * SECOND);
    let look = rig.take("XINFO STREAM");
    rig.refuse_key(look.token);
    rig.answer("XGROUP CREATE", Reply::Ok);
    assert!(rig.healthy());
}

#[test]
fn a_server_that_has_stopped_says_so() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.engine.drain(rig.now, SECOND);
    rig.drain();
    rig.run(20 * SECOND);
    let stopped = Health::Unhealthy { reasons: vec![Ailment::Stopped] };
    assert_eq!(rig.engine.health(rig.now), stopped);
}
