//! Rule 4.5: what is taken over from dead workers, counted before it starts, and its ghosts.
//!
//! Not the order in which claims come (`intake`).

use super::intake::{claim, pending};
use super::*;
use crate::engine::Lane;
use crate::reply::{PendingEntry, StreamInfo};

/// A server whose two claimed entries wait for their delivery counts.
pub(super) fn uncounted() -> (Rig<Server>, Sent) {
    let mut rig = rig_with_handlers(2);
    let sent = claim(&mut rig);
    rig.reply(sent.token, claimed(StreamId::ZERO, vec![request(1), request(2)]));
    let sent = rig.take("XPENDING");
    (rig, sent)
}

#[test]
fn a_claim_full_of_entries_that_are_gone_goes_on_at_once() {
    for (deleted, nameless) in [(vec![id(1)], 0), (vec![], 1)] {
        let mut rig = rig();
        let sent = claim(&mut rig);
        let next = StreamId::ZERO;
        rig.reply(sent.token, Reply::Claimed { next, entries: vec![], deleted, nameless });
        assert_eq!(rig.count("XAUTOCLAIM"), 1);
        let sent = rig.take("XAUTOCLAIM");
        rig.reply(sent.token, claimed(next, vec![]));
        assert_eq!(rig.count("XAUTOCLAIM"), 0, "the scan is complete");
    }
}

#[test]
fn a_claim_that_was_not_full_ends_its_scan() {
    let mut rig = rig_with_handlers(3);
    let sent = claim(&mut rig);
    rig.reply(sent.token, claimed(StreamId::ZERO, vec![notification(1)]));
    assert_eq!(rig.count("XAUTOCLAIM"), 0);
}

#[test]
fn counts_that_redis_cannot_tell_now_are_asked_for_again_with_the_next_tick() {
    let (mut rig, sent) = uncounted();
    rig.refuse(sent.token, "OOM");
    rig.no_job();
    assert_eq!(rig.count("XPENDING"), 0, "not before the tick");
    rig.run(2 * SECOND);
    rig.answer("XPENDING", Reply::PendingRange(vec![pending(1, 2), pending(2, 2)]));
    assert_eq!(rig.jobs().len(), 2);
}

#[test]
fn counts_are_asked_for_once_however_many_ticks_pass() {
    let (mut rig, sent) = uncounted();
    rig.run(3 * SECOND);
    assert_eq!(rig.count("XPENDING"), 0);
    rig.reply(sent.token, Reply::PendingRange(vec![pending(1, 2), pending(2, 2)]));
    assert_eq!(rig.jobs().len(), 2);
}

#[test]
fn an_entry_that_an_answer_should_have_named_is_not_asked_for_again() {
    let (mut rig, sent) = uncounted();
    rig.reply(sent.token, Reply::PendingRange(vec![pending(1, 2)]));
    assert_eq!(rig.job().entry, id(1));
    assert_eq!(rig.count("XPENDING"), 0, "the second is another's");
}

#[test]
fn behind_a_full_answer_counting_goes_on() {
    let (mut rig, sent) = uncounted();
    // A thousand rows, of which the last is the first entry's.
    let others = (0..999).map(|seq| {
        let mut row = pending(0, 2);
        row.id = StreamId::new(0, seq);
        row
    });
    let rows = others.chain([pending(1, 2)]).collect();
    rig.reply(sent.token, Reply::PendingRange(rows));
    assert_eq!(rig.job().entry, id(1));
    let Sent { token, command, .. } = rig.take("XPENDING");
    assert!(matches!(command, Command::XPendingRange { start, .. } if start == id(2)));
    rig.reply(token, Reply::PendingRange(vec![pending(2, 2)]));
    assert_eq!(rig.job().entry, id(2));
}

#[test]
fn counts_whose_answer_got_lost_are_asked_for_again() {
    let (mut rig, _) = uncounted();
    rig.lose(Lane::Command);
    rig.run(SECOND / 2);
    rig.open_lanes();
    rig.answer("XPENDING", Reply::PendingRange(vec![pending(1, 2), pending(2, 2)]));
    assert_eq!(rig.jobs().len(), 2);
}

#[test]
fn a_count_under_way_when_the_group_is_there_again_is_not_asked_for_twice() {
    let (mut rig, sent) = uncounted();
    rig.refuse(sent.token, "NOGROUP");
    rig.answer("XINFO STREAM", Reply::Stream(StreamInfo::new(id(9))));
    let create = rig.take("XGROUP CREATE");
    rig.run(2 * SECOND);
    let count = rig.take("XPENDING");
    rig.reply(create.token, Reply::Ok);
    rig.run(Duration::ZERO);
    // Whose they are is asked, how often they were given out is not.
    let row = |number| PendingEntry { idle_ms: 0, ..pending(number, 2) };
    rig.answer("XPENDING", Reply::PendingRange(vec![row(1), row(2)]));
    assert_eq!(rig.count("XPENDING"), 0);
    rig.reply(count.token, Reply::PendingRange(vec![pending(1, 2), pending(2, 2)]));
    assert_eq!(rig.jobs().len(), 2);
}

#[test]
fn ghosts_are_looked_for_in_what_was_scanned() {
    for (next, wanted) in [(id(5), id(5)), (StreamId::ZERO, StreamId::MAX)] {
        let mut rig = rig();
        let sent = claim(&mut rig);
        let reply = Reply::Claimed { next, entries: vec![], deleted: vec![], nameless: 1 };
        rig.reply(sent.token, reply);
        let Command::XPendingRange { start, end, .. } = rig.take("XPENDING").command else {
            panic!()
        };
        assert_eq!((start, end), (StreamId::ZERO, wanted));
    }
}

#[test]
fn ghosts_are_counted() {
    let mut rig = rig();
    let sent = claim(&mut rig);
    let next = StreamId::ZERO;
    rig.reply(sent.token, Reply::Claimed { next, entries: vec![], deleted: vec![], nameless: 1 });
    rig.answer("XPENDING", Reply::PendingRange(vec![pending(1, 2)]));
    rig.answer("XRANGE", Reply::Entries(vec![]));
    assert_eq!(rig.acknowledged(), [id(1)]);
    assert_eq!(rig.engine.stats().entries_deleted, 1);
}

#[test]
fn a_reply_of_another_command_ends_the_lane_that_reads() {
    let mut rig = rig();
    rig.answer("XREADGROUP", Reply::Ok);
    assert_eq!(rig.closed, [Lane::Blocking(0)]);
    rig.run(SECOND / 2);
    rig.open_lanes();
    let read = rig.take("XREADGROUP");
    rig.reply(read.token, Reply::Ok);
    assert_eq!(rig.closed, [Lane::Blocking(0); 2]);
}

#[test]
fn what_was_settled_before_a_read_began_may_be_given_out_again() {
    let mut rig = rig();
    rig.deliver(vec![notification(1)]);
    let job = rig.job();
    rig.end(&job);
    assert_eq!(rig.acknowledged(), [id(1)], "while the next read is under way");
    rig.deliver(vec![]);
    rig.deliver(vec![notification(1)]);
    assert_eq!(rig.job().entry, id(1));
}

#[test]
fn a_service_whose_group_cannot_be_made_keeps_no_other_from_taking_over() {
    let mut rig = rig_of(config(), vec![service("arith"), service("geo")]);
    rig.open_lanes();
    let arith = rig.take("XGROUP CREATE");
    rig.refuse(arith.token, "WRONGTYPE");
    rig.answer("XGROUP CREATE", Reply::Ok);
    let Command::XAutoClaim { key, .. } = claim(&mut rig).command else { unreachable!() };
    assert_eq!(key, "app:cmds:geo");
}
