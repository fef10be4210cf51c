//! Rule 4.9: when Redis is asked for its time, and what is made of clocks that disagree.
//!
//! Not the comparing of samples, which has its tests beside it.

use super::*;
use crate::engine::{Input, Lane};

/// How many times Redis is asked for its time while this passes, all answered.
fn asked(rig: &mut Rig<Server>, seconds: u32) -> usize {
    rig.ahead = None;
    let mut count = 0;
    for _ in 0..seconds * 100 {
        rig.run(SECOND / 100);
        while let Some(sent) = rig.find("TIME") {
            count += 1;
            let now = rig.now.since_start();
            rig.reply(sent.token, Reply::Time(now));
        }
    }
    count
}

#[test]
fn the_time_is_asked_first_on_each_new_lane() {
    let mut rig = rig_of(config(), vec![service("arith")]);
    rig.ahead = None;
    for _ in 0..2 {
        rig.open_lanes();
        assert_eq!(rig.count("TIME"), 1);
        rig.lose(Lane::Command);
        rig.run(SECOND / 2);
    }
    rig.ahead = Some(SECOND);
    rig.open_lanes();
    assert_eq!(rig.engine.stats().clock_jumps, 0, "it was never told before");
}

#[test]
fn an_idle_server_asks_seldom_and_one_with_entries_once_a_tick() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.run(5 * SECOND);
    let idle = asked(&mut rig, 60);
    assert!((8..=16).contains(&idle), "{idle}");
    // One runs, and one waits behind it.
    rig.deliver(vec![request(1)]);
    rig.deliver(vec![request(2)]);
    let busy = asked(&mut rig, 20);
    assert!((15..=28).contains(&busy), "{busy}");
}

#[test]
fn the_time_is_asked_neither_twice_at_once_nor_behind_what_is_long_unanswered() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    rig.deliver(vec![request(2)]);
    rig.ahead = None;
    rig.run(4 * SECOND);
    assert_eq!(rig.count("TIME"), 1);
    let sent = rig.take("TIME");
    rig.refuse(sent.token, "NOPERM");
    rig.run(2 * SECOND);
    let sent = rig.take("TIME");
    rig.reply(sent.token, Reply::Time(rig.now.since_start()));
    let job = rig.jobs().remove(0);
    rig.end(&job);
    // A reply that is long on its way, and the ticks behind it.
    rig.run(4 * SECOND);
    assert_eq!((rig.count("XADD"), rig.count("TIME")), (1, 0));
}

#[test]
fn clocks_that_disagree_are_counted_and_told_once_until_they_agree() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    rig.deliver(vec![request(2)]);
    rig.run(3 * SECOND);
    assert_eq!(rig.engine.stats().clock_jumps, 0);
    rig.ahead = Some(5 * SECOND);
    rig.run(3 * SECOND);
    assert_eq!(rig.engine.stats().clock_jumps, 1);
    assert_eq!(rig.notices(), [Notice::ClockJumped]);
    rig.ahead = Some(SECOND);
    rig.run(3 * SECOND);
    assert_eq!(rig.engine.stats().clock_jumps, 2);
    assert_eq!(rig.notices(), [Notice::ClockJumped]);
}

#[test]
fn a_server_that_stops_asks_no_more() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    rig.ahead = None;
    rig.engine.drain(rig.now, 60 * SECOND);
    rig.drain();
    rig.run(20 * SECOND);
    rig.input(Input::Tick);
    assert_eq!(rig.count("TIME"), 0);
    rig.lose(Lane::Command);
    rig.run(SECOND);
    rig.open_lanes();
    assert_eq!(rig.count("TIME"), 0);
}
