//! Rule 4.4 and 4.1: who has what is held here and is not pending for this server any more.
//!
//! Not the renewal (`lease`).

use super::intake::pending;
use super::*;
use crate::reply::{PendingEntry, StreamInfo};

/// A server whose handler runs for entry 1, whose lease is being renewed.
fn running() -> (Rig<Server>, Job) {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.run(21 * SECOND);
    (rig, job)
}

/// A server whose handler runs for entry 1, with entry 2 behind it, when neither is found.
fn missing() -> (Rig<Server>, Job) {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.deliver(vec![request(2)]);
    rig.run(21 * SECOND);
    rig.answer("XCLAIM", Reply::Ids(vec![]));
    rig.answer("XPENDING", Reply::PendingRange(vec![]));
    (rig, job)
}

/// A server whose handler runs for entry 1, with entry 2 behind it, when the group is another one.
fn anew() -> (Rig<Server>, Job) {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.deliver(vec![request(2)]);
    remake_group(&mut rig);
    (rig, job)
}

/// The next look at the mark finds that the group is gone; somebody else creates it.
fn remake_group(rig: &mut Rig<Server>) {
    rig.habit = |_| None;
    while rig.count("XINFO GROUPS") == 0 {
        rig.run(SECOND);
    }
    rig.answer("XINFO GROUPS", Reply::Groups(vec![]));
    rig.answer("XPENDING", Reply::Pending { count: 0, first: None });
    rig.answer("XINFO STREAM", Reply::Stream(StreamInfo::new(id(9))));
    let create = rig.take("XGROUP CREATE");
    rig.refuse(create.token, "BUSYGROUP");
    rig.mark(StreamId::ZERO, None);
    rig.habit = quiet;
}

/// So far the group has given entries out; what was looked for is not found all the same.
pub(super) fn given_out(rig: &mut Rig<Server>, last_delivered: StreamId) {
    rig.answer("XINFO GROUPS", groups(last_delivered));
    rig.answer("XPENDING", Reply::PendingRange(vec![]));
}

/// Neither entry is pending for this server, and so far the group has given entries out.
fn not_found(rig: &mut Rig<Server>, last_delivered: StreamId) {
    rig.answer("XPENDING", Reply::PendingRange(vec![]));
    rig.answer("XINFO GROUPS", groups(last_delivered));
}

#[test]
fn an_entry_that_was_deleted_is_answered_as_nobody_else_can_have_it() {
    let (mut rig, job) = missing();
    given_out(&mut rig, id(9));
    rig.answer("XRANGE", Reply::Entries(vec![]));
    rig.answer("XRANGE", Reply::Entries(vec![]));
    assert_eq!(rig.engine.stats().leases_lost, 0);
    rig.run(60 * SECOND);
    assert_eq!(rig.count("XCLAIM"), 0, "there is nothing to renew");
    rig.end(&job);
    rig.answer("XADD", added());
    assert_eq!(rig.job().entry, id(2));
}

#[test]
fn an_entry_that_was_deleted_after_its_lease_had_run_out_may_have_been_run_by_another() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    // The process did nothing for a long time.
    rig.now = rig.now + 70 * SECOND;
    rig.end(&job);
    rig.answer("XCLAIM", Reply::Ids(vec![]));
    rig.answer("XPENDING", Reply::PendingRange(vec![]));
    given_out(&mut rig, id(9));
    assert_eq!((rig.count("XRANGE"), rig.count("XADD")), (0, 0));
    assert_eq!(rig.engine.stats().leases_lost, 1);
}

#[test]
fn whoever_may_look_at_neither_groups_nor_entries_gives_up_what_is_not_found() {
    let (mut rig, _) = missing();
    let groups = rig.take("XINFO GROUPS");
    rig.refuse(groups.token, "NOPERM");
    rig.answer("XPENDING", Reply::PendingRange(vec![]));
    for _ in 0..2 {
        let entry = rig.take("XRANGE");
        rig.refuse(entry.token, "NOPERM");
    }
    assert_eq!(rig.engine.stats().leases_lost, 2);
}

#[test]
fn what_was_given_to_this_server_again_meanwhile_is_not_missing() {
    let (mut rig, job) = running();
    rig.answer("XCLAIM", Reply::Ids(vec![]));
    rig.answer("XPENDING", Reply::PendingRange(vec![]));
    let sought = rig.take("XINFO GROUPS");
    rig.now = rig.now + SECOND / 10;
    let read = rig.take("XREADGROUP");
    rig.reply(read.token, Reply::Entries(vec![request(1)]));
    rig.reply(sought.token, groups(id(9)));
    let row = PendingEntry { idle_ms: 10, ..pending(1, 1) };
    rig.answer("XPENDING", Reply::PendingRange(vec![row]));
    assert_eq!((rig.count("XRANGE"), rig.engine.stats().leases_lost), (0, 0));
    rig.end(&job);
    assert_eq!(rig.count("XADD"), 1);
}

#[test]
fn a_look_that_was_sent_before_an_entry_was_given_out_again_does_not_tell_of_it() {
    let (mut rig, job) = running();
    rig.answer("XCLAIM", Reply::Ids(vec![]));
    let look = rig.take("XPENDING");
    rig.now = rig.now + SECOND / 10;
    // The read was sent before the look, and is answered behind it.
    let read = rig.take("XREADGROUP");
    rig.reply(read.token, Reply::Entries(vec![request(1)]));
    rig.reply(look.token, Reply::PendingRange(vec![]));
    assert_eq!(rig.count("XINFO GROUPS"), 0);
    rig.end(&job);
    assert_eq!(rig.count("XADD"), 1);
}

#[test]
fn what_another_group_has_not_given_out_yet_is_not_started_but_comes_again() {
    let (mut rig, job) = anew();
    rig.end(&job);
    assert_eq!(rig.count("XADD"), 0, "somebody may have been given it");
    not_found(&mut rig, StreamId::ZERO);
    rig.answer("XRANGE", Reply::Entries(vec![request(1)]));
    rig.answer("XRANGE", Reply::Entries(vec![request(2)]));
    assert_eq!(rig.engine.stats().leases_lost, 0);
    rig.answer("XADD", added());
    rig.no_job();
    rig.deliver(vec![request(1), request(2)]);
    assert_eq!(rig.job().entry, id(2), "what is settled is not run again");
}

#[test]
fn what_runs_and_another_group_has_not_given_out_yet_is_looked_for_when_it_ends() {
    let (mut rig, job) = anew();
    not_found(&mut rig, StreamId::ZERO);
    rig.answer("XRANGE", Reply::Entries(vec![request(1)]));
    rig.answer("XRANGE", Reply::Entries(vec![request(2)]));
    rig.now = rig.now + SECOND;
    rig.end(&job);
    assert_eq!(rig.count("XADD"), 0);
    // Somebody else was given it meanwhile.
    rig.answer("XPENDING", Reply::PendingRange(vec![]));
    given_out(&mut rig, id(1));
    rig.answer("XRANGE", Reply::Entries(vec![request(1)]));
    assert_eq!(rig.engine.stats().leases_lost, 1);
    assert_eq!((rig.count("XADD"), rig.count("XACK")), (0, 0));
}

#[test]
fn what_another_group_has_given_to_this_server_stays_its_own() {
    let (mut rig, job) = anew();
    let row = |number| PendingEntry { idle_ms: 10, ..pending(number, 1) };
    rig.answer("XPENDING", Reply::PendingRange(vec![row(1), row(2)]));
    rig.end(&job);
    rig.answer("XADD", added());
    assert_eq!(rig.job().entry, id(2));
}

#[test]
fn what_a_read_brings_that_was_sent_to_the_group_before_is_not_trusted() {
    let mut config = config();
    config.read_block = 30 * SECOND;
    let mut rig = serving(config, service("arith"));
    rig.habit = quiet;
    let read = rig.take("XREADGROUP");
    remake_group(&mut rig);
    rig.reply(read.token, Reply::Entries(vec![request(1)]));
    rig.no_job();
    let row = PendingEntry { idle_ms: 10, ..pending(1, 1) };
    rig.answer("XPENDING", Reply::PendingRange(vec![row]));
    assert_eq!(rig.job().entry, id(1));
}

#[test]
fn what_another_group_gives_to_this_server_while_it_is_looked_for_stays_its_own() {
    let (mut rig, job) = anew();
    rig.answer("XPENDING", Reply::PendingRange(vec![]));
    // The read that was under way has given both to this server; its answer is on its way.
    rig.answer("XINFO GROUPS", groups(id(2)));
    let row = |number| PendingEntry { idle_ms: 1, ..pending(number, 1) };
    rig.answer("XPENDING", Reply::PendingRange(vec![row(1), row(2)]));
    assert_eq!((rig.count("XRANGE"), rig.engine.stats().leases_lost), (0, 0));
    rig.end(&job);
    assert_eq!(rig.count("XADD"), 1);
}

#[test]
fn what_redis_refuses_for_a_while_to_tell_of_what_is_missing_says_nothing() {
    let (mut rig, _) = missing();
    let groups = rig.take("XINFO GROUPS");
    rig.refuse(groups.token, "BUSY");
    assert_eq!(rig.count("XPENDING") + rig.count("XRANGE"), 0);
    rig.run(2 * SECOND);
    rig.answer("XCLAIM", Reply::Ids(vec![]));
    rig.answer("XPENDING", Reply::PendingRange(vec![]));
    given_out(&mut rig, id(9));
    for _ in 0..2 {
        let entry = rig.take("XRANGE");
        rig.refuse(entry.token, "BUSY");
    }
    assert_eq!(rig.engine.stats().leases_lost, 0);
    rig.run(2 * SECOND);
    assert_eq!(rig.count("XCLAIM"), 1);
}

#[test]
fn a_stream_that_is_gone_has_given_nothing_to_anybody_else() {
    let (mut rig, _) = missing();
    let groups = rig.take("XINFO GROUPS");
    rig.refuse_key(groups.token);
    assert_eq!((rig.count("XPENDING"), rig.engine.stats().leases_lost), (0, 0));
    assert_eq!(rig.count("XINFO STREAM"), 1, "the group is made anew");
}

#[test]
fn an_entry_is_not_renewed_while_it_is_looked_for() {
    let (mut rig, _) = missing();
    given_out(&mut rig, id(9));
    rig.run(3 * SECOND);
    assert_eq!((rig.count("XRANGE"), rig.count("XCLAIM")), (2, 0));
}

#[test]
fn what_another_group_has_not_given_out_and_is_gone_may_have_been_run_once_its_lease_has_run_out() {
    for (passed, lost) in [(SECOND, 0), (70 * SECOND, 2)] {
        let (mut rig, _) = anew();
        rig.now = rig.now + passed;
        not_found(&mut rig, StreamId::ZERO);
        rig.answer("XRANGE", Reply::Entries(vec![]));
        rig.answer("XRANGE", Reply::Entries(vec![]));
        assert_eq!(rig.engine.stats().leases_lost, lost);
    }
}
