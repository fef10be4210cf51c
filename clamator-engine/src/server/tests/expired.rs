//! Rule 4.9: whose caller has given up is not run.
//!
//! Not the clock that this is told by (`clock`).

use super::*;
use crate::engine::Lane;

/// So far is Redis's clock ahead, in milliseconds.
const AHEAD: u64 = 1_000_000;

/// A server of one handler that has seen Redis's clock show `AHEAD` at its start, and what this
/// changes.
fn rig_with(change: impl FnOnce(&mut ServerConfig)) -> Rig<Server> {
    let mut config = config();
    change(&mut config);
    let mut rig = rig_of(config, vec![service("arith")]);
    rig.ahead = Some(Duration::from_millis(AHEAD));
    rig.open_lanes();
    rig.answer("XGROUP CREATE", Reply::Ok);
    rig.mark(StreamId::ZERO, None);
    rig.habit = quiet;
    rig.events();
    rig
}

/// Answers whatever an entry needs to be settled.
fn served(command: &Command) -> Option<Reply> {
    match command {
        Command::XAdd { .. } => Some(added()),
        Command::XAck { .. } | Command::XDel { .. } => Some(Reply::Integer(1)),
        other => quiet(other),
    }
}

#[test]
fn what_is_overdue_by_more_than_the_slack_is_settled_and_what_is_behind_it_runs() {
    let mut rig = rig_with(|_| {});
    let overdue = request_within(AHEAD - 6001, 5000);
    rig.deliver(vec![overdue, request_within(AHEAD - 6000, 5000)]);
    assert_eq!(rig.job().entry, id(AHEAD - 6000));
    assert_eq!(rig.acknowledged(), [id(AHEAD - 6001)]);
    assert_eq!((rig.count("XADD"), rig.count("XDEL")), (0, 1), "nobody is answered");
    assert_eq!(rig.engine.stats().expired, 1);
    assert_eq!(rig.engine.stats().jobs_started, 1);
    let [Notice::Expired { entry, .. }] = rig.notices()[..] else { panic!("one notice") };
    assert_eq!(entry, id(AHEAD - 6001));
}

#[test]
fn the_slack_is_what_it_is_set_to() {
    let mut rig = rig_with(|config| config.deadline_slack = 10 * SECOND);
    rig.deliver(vec![request_within(AHEAD - 15_000, 5000)]);
    assert_eq!(rig.job().entry, id(AHEAD - 15_000));
    let mut rig = rig_with(|config| config.deadline_slack = Duration::ZERO);
    rig.deliver(vec![request_within(AHEAD - 5001, 5000)]);
    rig.no_job();
}

#[test]
fn what_does_not_say_how_long_runs_however_old_it_is() {
    let text = r#"{"jsonrpc":"2.0","method":"arith.add","params":[],"id":1}"#;
    let odd = entry_of(2, &[("envelope", text), ("timeout-ms", "soon")]);
    let endless = request_within(3, u64::MAX);
    for entry in [request(1), odd, endless] {
        let mut rig = rig_with(|_| {});
        let id = entry.id;
        rig.deliver(vec![entry]);
        assert_eq!(rig.job().entry, id);
    }
}

#[test]
fn what_is_over_is_looked_at_when_it_would_start_and_not_only_when_it_comes() {
    let mut rig = rig_with(|_| {});
    rig.deliver(vec![request_within(AHEAD, 60_000)]);
    let first = rig.job();
    rig.deliver(vec![request_within(AHEAD + 1, 5000)]);
    rig.run(9 * SECOND);
    rig.end(&first);
    rig.no_job();
    assert_eq!(rig.engine.stats().expired, 1);
}

#[test]
fn nothing_is_skipped_before_redis_has_told_its_time_on_this_lane() {
    let mut rig = rig_with(|_| {});
    rig.deliver(vec![request_within(AHEAD, 60_000)]);
    let first = rig.job();
    rig.deliver(vec![request_within(AHEAD + 1, 5000)]);
    rig.run(9 * SECOND);
    rig.ahead = None;
    rig.lose(Lane::Command);
    rig.run(SECOND / 2);
    rig.open_lanes();
    rig.end(&first);
    assert_eq!(rig.job().entry, id(AHEAD + 1));
}

#[test]
fn nothing_is_skipped_that_was_written_before_a_clock_jumped() {
    let mut rig = rig_with(|_| {});
    rig.deliver(vec![request_within(AHEAD, 60_000)]);
    let first = rig.job();
    rig.deliver(vec![request_within(AHEAD + 1, 5000)]);
    rig.ahead = rig.ahead.map(|ahead| ahead + 60 * SECOND);
    rig.run(4 * SECOND);
    rig.habit = served;
    rig.end(&first);
    let second = rig.job();
    assert_eq!(second.entry, id(AHEAD + 1));
    assert_eq!(rig.engine.stats().clock_jumps, 1);
    // What was written since is judged by what the clock shows since.
    let written = AHEAD + 70_000;
    rig.deliver(vec![request_within(written, 1000)]);
    rig.run(20 * SECOND);
    rig.end(&second);
    rig.no_job();
    assert_eq!(rig.engine.stats().expired, 1);
}

#[test]
fn a_job_says_for_how_long_its_caller_still_waits_at_most() {
    let waits = |entry: Entry| {
        let mut rig = rig_with(|_| {});
        rig.deliver(vec![entry]);
        rig.job().remaining.map(|left| left.as_millis())
    };
    assert_eq!(waits(request_within(AHEAD - 2000, 5000)), Some(3000));
    assert_eq!(waits(request_within(AHEAD - 5500, 5000)), Some(0));
    // Its id is ahead of the clock.
    assert_eq!(waits(request_within(AHEAD + 2000, 5000)), Some(5000));
    assert_eq!(waits(request(AHEAD)), None);
}

#[test]
fn without_redis_time_a_caller_is_taken_to_wait_from_now_on() {
    let mut rig = rig_of(config(), vec![service("arith")]);
    rig.ahead = None;
    rig.open_lanes();
    rig.answer("XGROUP CREATE", Reply::Ok);
    rig.deliver(vec![request_within(1, 5000)]);
    assert_eq!(rig.job().remaining, Some(5 * SECOND));
}

#[test]
fn what_is_given_out_again_and_overdue_neither_runs_nor_is_put_aside() {
    let mut rig = rig_with(|config| config.deliveries_max = 1);
    rig.habit = marks;
    rig.run(3 * SECOND / 2);
    let entry = request_within(AHEAD - 60_000, 5000);
    rig.answer("XAUTOCLAIM", claimed(StreamId::ZERO, vec![entry]));
    let row = intake::pending(AHEAD - 60_000, 7);
    rig.answer("XPENDING", Reply::PendingRange(vec![row]));
    rig.no_job();
    assert_eq!(rig.acknowledged(), [id(AHEAD - 60_000)]);
    let counters = rig.engine.stats();
    assert_eq!((counters.expired, counters.dead_letters), (1, 0));
}
