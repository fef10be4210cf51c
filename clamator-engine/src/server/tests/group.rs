//! Rule 4.1: the consumer group, its mark, and its return.
//!
//! Not what is read from it (`intake`).

use super::intake::{claim, pending};
use super::look_back::{listed, looking_back};
use super::*;
use crate::command::GroupStart;
use crate::engine::Lane;
use crate::reply::StreamInfo;
use crate::server::StartFrom;

fn created(rig: &mut Rig<Server>) -> GroupStart {
    let Command::XGroupCreate { key, group, start } = rig.answer("XGROUP CREATE", Reply::Ok) else {
        panic!()
    };
    assert_eq!((&key[..], &group[..]), (&b"app:cmds:arith"[..], &b"arith"[..]));
    start
}

/// The stream is gone with its group, which is created with the stream.
pub(super) fn created_anew(rig: &mut Rig<Server>) -> GroupStart {
    let look = rig.take("XINFO STREAM");
    rig.refuse_key(look.token);
    created(rig)
}

/// Refuses the read under way because the group is gone.
fn lose_group(rig: &mut Rig<Server>, code: &str) {
    rig.run(SECOND);
    let sent = rig.take("XREADGROUP");
    rig.refuse(sent.token, code);
}

#[test]
fn what_was_queued_before_the_first_server_started_is_served() {
    let mut rig = rig_of(config(), vec![service("arith")]);
    rig.open_lanes();
    assert_eq!(created(&mut rig), GroupStart::After(StreamId::ZERO));
}

#[test]
fn a_service_may_start_with_new_requests_only() {
    let mut arith = service("arith");
    arith.start_from = StartFrom::New;
    let mut rig = rig_of(config(), vec![arith]);
    rig.open_lanes();
    assert_eq!(created(&mut rig), GroupStart::New);
}

#[test]
fn a_group_that_is_there_is_used() {
    let mut rig = rig_of(config(), vec![service("arith")]);
    rig.open_lanes();
    let sent = rig.take("XGROUP CREATE");
    rig.refuse(sent.token, "BUSYGROUP");
    assert_eq!(rig.count("XREADGROUP"), 1);
    assert!(rig.notices().is_empty());
}

#[test]
fn a_refused_group_is_told_and_tried_again_once_a_second() {
    let mut rig = rig_of(config(), vec![service("arith")]);
    rig.open_lanes();
    let mut tries = 0;
    while rig.now < Instant::ZERO + 5 * SECOND {
        while let Some(sent) = rig.find("XGROUP CREATE") {
            rig.refuse(sent.token, "NOPERM");
            tries += 1;
        }
        rig.run(SECOND / 10);
    }
    assert!((4..=6).contains(&tries), "{tries}");
    assert_eq!(rig.notices().len(), tries);
}

#[test]
fn a_group_that_is_gone_returns_at_its_mark() {
    for code in ["NOGROUP", "UNBLOCKED"] {
        let mut rig = rig();
        rig.deliver(vec![notification(5)]);
        rig.habit = |_| None;
        rig.run(2 * SECOND);
        rig.mark(id(9), Some(id(7)));
        lose_group(&mut rig, code);
        rig.answer("XINFO STREAM", Reply::Stream(StreamInfo::new(id(20))));
        assert_eq!(created(&mut rig), GroupStart::After(id(7).previous()), "{code}");
        let notices = rig.notices();
        assert!(matches!(notices[..], [Notice::GroupRestored { .. }]), "{notices:?}");
        assert_eq!(rig.engine.stats().groups_restored, 1);
        assert_eq!(rig.count("XREADGROUP"), 1);
    }
}

#[test]
fn a_mark_without_anything_pending_is_the_last_entry_given_out() {
    let mut rig = rig();
    rig.deliver(vec![notification(5)]);
    rig.habit = |_| None;
    rig.run(2 * SECOND);
    rig.mark(id(9), None);
    lose_group(&mut rig, "NOGROUP");
    rig.answer("XINFO STREAM", Reply::Stream(StreamInfo::new(id(9))));
    assert_eq!(created(&mut rig), GroupStart::After(id(9)));
}

#[test]
fn another_stream_of_the_name_is_read_from_its_start() {
    let mut rig = rig();
    rig.deliver(vec![notification(5)]);
    rig.habit = |_| None;
    rig.run(2 * SECOND);
    rig.mark(id(9), None);
    lose_group(&mut rig, "NOGROUP");
    rig.answer("XINFO STREAM", Reply::Stream(StreamInfo::new(id(8))));
    assert_eq!(created(&mut rig), GroupStart::After(StreamId::ZERO));
}

/// A server whose handler runs for an entry of a stream that is gone.
fn orphaned() -> (Rig<Server>, Job) {
    let mut rig = rig_with_handlers(2);
    rig.deliver(vec![notification(5)]);
    let job = rig.job();
    rig.habit = |_| None;
    lose_group(&mut rig, "NOGROUP");
    created_anew(&mut rig);
    (rig, job)
}

#[test]
fn a_read_that_began_before_the_stream_was_another_one_is_looked_up_in_the_pending_list() {
    let mut rig = rig();
    rig.run(SECOND * 3 / 2);
    let claim = rig.take("XAUTOCLAIM");
    rig.habit = |_| None;
    rig.refuse(claim.token, "NOGROUP");
    created_anew(&mut rig);
    rig.deliver(vec![notification(5)]);
    rig.no_job();
    assert_eq!(listed(&mut rig, vec![]), StreamId::ZERO);
    rig.deliver(vec![notification(6)]);
    rig.job();
}

#[test]
fn where_the_stream_cannot_be_looked_at_its_history_is_not_replayed() {
    let mut rig = rig();
    rig.deliver(vec![notification(5)]);
    rig.habit = |_| None;
    rig.run(2 * SECOND);
    rig.mark(id(9), None);
    lose_group(&mut rig, "NOGROUP");
    let look = rig.take("XINFO STREAM");
    rig.refuse_with(look.token, "ERR", "unknown command 'XINFO'");
    assert_eq!(created(&mut rig), GroupStart::After(id(9)));
}

#[test]
fn an_entry_that_an_older_copy_of_the_data_brings_back_does_not_run_beside_itself() {
    let (mut rig, job) = orphaned();
    rig.deliver(vec![notification(5)]);
    rig.no_job();
    rig.mark(id(5), None);
    rig.end(&job);
    assert_eq!(rig.acknowledged(), [id(5)], "in the group that gave it out again");
}

#[test]
fn another_entry_under_the_id_of_one_that_is_gone_runs() {
    let (mut rig, _) = orphaned();
    rig.deliver(vec![request(5)]);
    rig.job();
}

#[test]
fn a_stream_that_is_gone_is_made_anew() {
    let mut rig = rig();
    lose_group(&mut rig, "UNBLOCKED");
    assert_eq!(created_anew(&mut rig), GroupStart::After(StreamId::ZERO));
}

#[test]
fn the_groups_are_read_before_what_is_pending() {
    let mut rig = rig_of(config(), vec![service("arith")]);
    rig.open_lanes();
    created(&mut rig);
    let (groups, pending) = (rig.take("XINFO GROUPS"), rig.take("XPENDING"));
    assert!(groups.token.number() < pending.token.number());
}

#[test]
fn a_group_that_keeps_vanishing_makes_no_hot_loop() {
    let mut rig = rig();
    let (mut reads, mut creations) = (0, 0);
    while rig.now < Instant::ZERO + 5 * SECOND {
        for _ in 0..10 {
            if let Some(sent) = rig.find("XREADGROUP") {
                rig.refuse(sent.token, "NOGROUP");
                reads += 1;
            }
            if let Some(sent) = rig.find("XINFO STREAM") {
                rig.refuse_key(sent.token);
            }
            if let Some(sent) = rig.find("XGROUP CREATE") {
                rig.reply(sent.token, Reply::Ok);
                creations += 1;
            }
        }
        rig.run(SECOND / 10);
    }
    assert!((4..=7).contains(&creations), "{creations}");
    assert!(reads <= creations + 1, "{reads} reads, {creations} creations");
    assert!(rig.notices().len() <= 6);
}

#[test]
fn a_vanished_group_is_back_within_two_seconds() {
    let mut rig = rig();
    lose_group(&mut rig, "NOGROUP");
    rig.run(SECOND);
    created_anew(&mut rig);
    assert!(rig.now <= Instant::ZERO + 2 * SECOND);
}

#[test]
fn an_entry_of_the_old_stream_is_answered_but_not_acknowledged_on_the_new_one() {
    let mut rig = rig();
    rig.deliver(vec![request(5)]);
    let old = rig.job();
    lose_group(&mut rig, "NOGROUP");
    created_anew(&mut rig);
    rig.end(&old);
    rig.deliver(vec![request(5)]);
    let new = rig.job();
    assert_ne!(old.id, new.id);
    rig.answer("XADD", added());
    assert_eq!(rig.count("XACK"), 0);
    rig.end(&new);
    rig.answer("XADD", added());
    assert_eq!(rig.acknowledged(), [id(5)]);
}

#[test]
fn an_entry_given_out_again_by_a_restored_group_is_acknowledged_there_too() {
    let mut rig = rig();
    rig.deliver(vec![notification(5)]);
    let job = rig.job();
    rig.end(&job);
    let first = rig.take("XACK");
    rig.deliver(vec![notification(5)]);
    rig.no_job();
    rig.reply(first.token, Reply::Integer(0));
    assert_eq!(rig.acknowledged(), [id(5)]);
}

#[test]
fn a_creation_whose_answer_got_lost_is_tried_again() {
    let mut rig = rig_of(config(), vec![service("arith")]);
    rig.open_lanes();
    rig.lose(Lane::Command);
    rig.run(SECOND);
    rig.open_lanes();
    created(&mut rig);
}

#[test]
fn a_server_has_started_when_every_service_can_be_read() {
    let mut rig = rig_of(config(), vec![service("arith"), service("other")]);
    let started = |rig: &Rig<Server>| {
        rig.events.iter().filter(|event| matches!(event, ServerEvent::Started)).count()
    };
    rig.open_lanes();
    rig.answer("XGROUP CREATE", Reply::Ok);
    assert_eq!(started(&rig), 0);
    rig.answer("XGROUP CREATE", Reply::Ok);
    assert_eq!(started(&rig), 1);
    rig.lose(Lane::Command);
    rig.run(SECOND);
    rig.open_lanes();
    assert_eq!(started(&rig), 1);
}

#[test]
fn an_idle_server_sends_few_commands() {
    let mut rig = rig();
    let mut sent = 0;
    for _ in 0..60 {
        rig.habit = |_| None;
        rig.run(SECOND);
        // A read each second runs out by itself.
        sent += 1;
        for name in ["XAUTOCLAIM", "XINFO GROUPS", "XPENDING"] {
            sent += rig.count(name);
        }
        rig.habit = quiet;
        rig.run(Duration::ZERO);
    }
    assert!(sent <= 3 * 60, "{sent} commands in a minute");
    assert!(sent > 60, "{sent} commands in a minute");
}

/// A server whose group is gone, with a mark below 7.
fn without_group(start_from: StartFrom) -> Rig<Server> {
    let mut arith = service("arith");
    arith.start_from = start_from;
    let mut rig = serving(config(), arith);
    rig.deliver(vec![notification(5)]);
    rig.habit = |_| None;
    rig.run(2 * SECOND);
    rig.mark(id(9), Some(id(7)));
    let sent = rig.take("XREADGROUP");
    rig.refuse(sent.token, "NOGROUP");
    rig
}

#[test]
fn a_refused_look_at_the_stream_does_not_throw_the_mark_away() {
    for code in ["LOADING", "NOPERM", "BUSY"] {
        let mut rig = without_group(StartFrom::Oldest);
        let sent = rig.take("XINFO STREAM");
        rig.refuse(sent.token, code);
        for _ in 0..10 {
            rig.open_lanes();
            if rig.count("XINFO STREAM") > 0 || rig.count("XGROUP CREATE") > 0 {
                break;
            }
            rig.run(SECOND / 2);
        }
        if rig.count("XINFO STREAM") > 0 {
            rig.answer("XINFO STREAM", Reply::Stream(StreamInfo::new(id(20))));
        }
        let Command::XGroupCreate { start, .. } = rig.answer("XGROUP CREATE", Reply::Ok) else {
            panic!()
        };
        assert_eq!(start, GroupStart::After(id(7).previous()), "{code}");
    }
}

#[test]
fn a_stream_that_nobody_may_look_at_is_taken_for_the_same_at_once() {
    let mut rig = without_group(StartFrom::Oldest);
    let look = rig.take("XINFO STREAM");
    rig.refuse(look.token, "NOPERM");
    assert_eq!(created(&mut rig), GroupStart::After(id(7).previous()));
}

#[test]
fn a_stream_that_cannot_be_looked_at_for_a_while_is_looked_at_again_before_its_group_is_made() {
    let mut rig = without_group(StartFrom::Oldest);
    let look = rig.take("XINFO STREAM");
    rig.refuse(look.token, "BUSY");
    rig.run(SECOND - Duration::from_millis(1));
    assert_eq!((rig.count("XINFO STREAM"), rig.count("XGROUP CREATE")), (0, 0));
    rig.run(Duration::from_millis(1));
    rig.answer("XINFO STREAM", Reply::Stream(StreamInfo::new(id(6))));
    assert_eq!(created(&mut rig), GroupStart::After(StreamId::ZERO), "another stream");
}

#[test]
fn a_second_try_at_another_stream_still_reads_it_from_its_start() {
    let mut rig = without_group(StartFrom::New);
    let sent = rig.take("XINFO STREAM");
    rig.refuse_key(sent.token);
    let sent = rig.take("XGROUP CREATE");
    let Command::XGroupCreate { start, .. } = &sent.command else { panic!() };
    assert_eq!(*start, GroupStart::After(StreamId::ZERO));
    rig.refuse(sent.token, "OOM");
    // Meanwhile a client has added a request: the stream is there again.
    rig.run(2 * SECOND);
    rig.answer("XINFO STREAM", Reply::Stream(StreamInfo::new(id(30))));
    let Command::XGroupCreate { start, .. } = rig.answer("XGROUP CREATE", Reply::Ok) else {
        panic!()
    };
    assert_eq!(start, GroupStart::After(StreamId::ZERO), "the request at 30 would be skipped");
}

#[test]
fn what_was_settled_while_the_group_was_gone_is_deleted_and_cannot_be_given_out_again() {
    let mut rig = rig();
    rig.deliver(vec![notification(5)]);
    let job = rig.job();
    rig.habit = |_| None;
    rig.run(SECOND * 3 / 2);
    rig.answer("XINFO GROUPS", Reply::Groups(vec![]));
    let sent = rig.take("XPENDING");
    rig.refuse(sent.token, "NOGROUP");
    rig.end(&job);
    assert_eq!(rig.count("XACK"), 0, "there is no group to acknowledge to");
    rig.answer("XINFO STREAM", Reply::Stream(StreamInfo::new(id(5))));
    created(&mut rig);
    let (ack, delete) = (rig.take("XACK"), rig.take("XDEL"));
    assert!(ack.token.number() < delete.token.number());
}

#[test]
fn what_was_settled_while_a_read_of_a_restored_group_was_under_way_is_not_started_by_it() {
    let mut rig = rig();
    rig.deliver(vec![notification(5)]);
    let job = rig.job();
    rig.end(&job);
    assert_eq!(rig.acknowledged(), [id(5)]);
    rig.deliver(vec![notification(5)]);
    rig.no_job();
    assert_eq!(rig.acknowledged(), [id(5)], "it is pending in the group that gave it out");
}

/// Loses every lane, and opens them again; the pending list of before holds what an older copy of
/// the data has brought back.
fn bring_back(rig: &mut Rig<Server>, ms: u64) {
    rig.lose(Lane::Command);
    rig.lose(Lane::Blocking(0));
    rig.run(SECOND / 2);
    rig.open_lanes();
    listed(rig, vec![pending(ms, 1)]);
}

#[test]
fn what_is_acknowledged_again_is_not_started_when_an_older_copy_brings_it_back() {
    let mut rig = rig();
    rig.deliver(vec![notification(5)]);
    let job = rig.job();
    rig.end(&job);
    assert_eq!(rig.acknowledged(), [id(5)]);
    rig.deliver(vec![notification(5)]);
    rig.take("XACK");
    bring_back(&mut rig, 5);
    assert_eq!(rig.count("XRANGE"), 0);
    assert!(rig.acknowledged().contains(&id(5)));
    rig.no_job();
}

#[test]
fn what_is_acknowledged_twice_at_once_is_not_started_when_an_older_copy_brings_it_back() {
    let mut rig = rig();
    rig.deliver(vec![notification(5)]);
    let job = rig.job();
    rig.end(&job);
    let first = rig.take("XACK");
    rig.deliver(vec![notification(5)]);
    rig.take("XACK");
    rig.reply(first.token, Reply::Integer(1));
    bring_back(&mut rig, 5);
    assert_eq!(rig.count("XRANGE"), 0);
    assert!(rig.acknowledged().contains(&id(5)));
    rig.no_job();
}

#[test]
fn what_waits_to_be_acknowledged_again_is_not_started_when_an_older_copy_brings_it_back() {
    let mut rig = rig();
    rig.deliver(vec![notification(5)]);
    let job = rig.job();
    rig.end(&job);
    assert_eq!(rig.acknowledged(), [id(5)]);
    rig.lose(Lane::Command);
    rig.deliver(vec![notification(5)]);
    rig.lose(Lane::Blocking(0));
    rig.run(SECOND / 2);
    rig.open_lanes();
    rig.deliver(vec![notification(5)]);
    assert_eq!(rig.count("XPENDING"), 0);
    assert!(rig.acknowledged().contains(&id(5)));
    rig.no_job();
}

#[test]
fn a_look_that_began_before_the_stream_was_another_one_is_taken_anew() {
    for fetches in [false, true] {
        let mut rig = looking_back();
        if fetches {
            listed(&mut rig, vec![pending(5, 1)]);
        }
        let look = rig.take(if fetches { "XRANGE" } else { "XPENDING" });
        rig.habit = |_| None;
        let claim = claim(&mut rig);
        rig.refuse(claim.token, "NOGROUP");
        created_anew(&mut rig);
        let entries = Reply::Entries(vec![notification(5)]);
        let rows = Reply::PendingRange(vec![pending(5, 1)]);
        rig.reply(look.token, if fetches { entries } else { rows });
        rig.no_job();
        assert_eq!(rig.count("XRANGE"), 0);
        assert_eq!(listed(&mut rig, vec![]), StreamId::ZERO);
    }
}
