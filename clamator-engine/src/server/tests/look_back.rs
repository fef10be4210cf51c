//! Rule 4.5: what this consumer was given on lanes that ended is looked for.
//!
//! Not the lanes that end because of what is looked for (`lost`).

use super::intake::{claim, pending};
use super::lease::{PERIOD, renew};
use super::*;
use crate::engine::Lane;
use crate::reply::{PendingEntry, StreamInfo};

/// Takes the oldest list of what is pending for this server. Tells from which id on.
fn list(rig: &mut Rig<Server>) -> (Sent, StreamId) {
    let sent = rig.take_on(Lane::Blocking(0), "XPENDING");
    let Command::XPendingRange { start, end, consumer, .. } = &sent.command else {
        panic!("{sent:?}")
    };
    assert_eq!((*end, &consumer[..]), (StreamId::MAX, &b"arith:w1"[..]));
    let start = *start;
    (sent, start)
}

/// Answers the oldest list. Tells from which id on it was asked for.
pub(super) fn listed(rig: &mut Rig<Server>, rows: Vec<PendingEntry>) -> StreamId {
    let (sent, start) = list(rig);
    rig.reply(sent.token, Reply::PendingRange(rows));
    start
}

/// Answers the oldest question for a body.
pub(super) fn fetched(rig: &mut Rig<Server>, entry: Entry) {
    rig.answer("XRANGE", Reply::Entries(vec![entry]));
}

/// Loses the lane that reads, and opens it again.
fn lose(rig: &mut Rig<Server>) {
    rig.lose(Lane::Blocking(0));
    rig.run(SECOND * 9 / 10);
    rig.open_lanes();
}

/// A server whose read was lost: it looks for what that was given.
pub(super) fn looking_back() -> Rig<Server> {
    let mut rig = rig_with_handlers(4);
    lose(&mut rig);
    rig
}

fn starts(rig: &mut Rig<Server>) -> Vec<(u64, u64)> {
    rig.jobs().iter().map(|job| (job.entry.ms, job.deliveries)).collect()
}

#[test]
fn what_a_lost_read_was_given_starts_as_the_delivery_that_it_is() {
    let mut rig = looking_back();
    assert_eq!(rig.count("XREADGROUP"), 0, "nothing new before that");
    assert_eq!(listed(&mut rig, vec![pending(1, 1), pending(2, 3)]), StreamId::ZERO);
    fetched(&mut rig, request(1));
    fetched(&mut rig, request(2));
    assert_eq!(starts(&mut rig), [(1, 1), (2, 3)]);
    assert_eq!(rig.count("XPENDING"), 0, "how often it was given out is known");
    assert_eq!(rig.engine.stats().entries_found, 2);
    rig.deliver(vec![]);
}

#[test]
fn a_list_that_is_full_is_read_on_behind_its_last_row() {
    let mut rig = rig_with_handlers(4);
    rig.deliver(vec![request(1)]);
    rig.job();
    lose(&mut rig);
    listed(&mut rig, (0..1000).map(|_| pending(1, 1)).collect());
    assert_eq!(listed(&mut rig, vec![]), StreamId::new(1, 1));
    rig.deliver(vec![]);
}

#[test]
fn it_is_looked_for_again_when_the_lost_reads_block_has_ended() {
    let mut rig = looking_back();
    listed(&mut rig, vec![]);
    rig.run(3 * SECOND);
    assert_eq!(listed(&mut rig, vec![pending(1, 1)]), StreamId::ZERO);
    fetched(&mut rig, request(1));
    assert_eq!(starts(&mut rig), [(1, 1)]);
    rig.run(10 * SECOND);
    assert_eq!(rig.count("XPENDING"), 0, "two looks are enough");
}

#[test]
fn the_second_look_waits_until_redis_is_in_reach_again() {
    let mut rig = rig_with_handlers(4);
    rig.habit = quiet;
    rig.lose(Lane::Blocking(0));
    for _ in 0..5 {
        rig.run(SECOND);
        rig.opening.clear();
        rig.lose(Lane::Blocking(0));
    }
    rig.run(2 * SECOND);
    rig.open_lanes();
    listed(&mut rig, vec![]);
    rig.run(3 * SECOND);
    assert_eq!(listed(&mut rig, vec![]), StreamId::ZERO);
}

#[test]
fn a_claim_whose_answer_got_lost_is_followed_by_a_look() {
    let mut rig = rig();
    claim(&mut rig);
    rig.lose(Lane::Command);
    rig.run(SECOND / 2);
    rig.open_lanes();
    rig.deliver(vec![]);
    assert_eq!(listed(&mut rig, vec![]), StreamId::ZERO);
}

#[test]
fn what_is_held_is_not_asked_for() {
    let mut rig = rig_with_handlers(4);
    rig.deliver(vec![request(1)]);
    rig.job();
    lose(&mut rig);
    listed(&mut rig, vec![pending(1, 1)]);
    assert_eq!(rig.count("XRANGE"), 0);
    rig.deliver(vec![]);
    rig.no_job();
}

#[test]
fn what_an_older_copy_of_the_data_brings_back_is_found_however_long_ago_it_was_given_out() {
    let mut rig = rig_with_handlers(4);
    rig.run(SECOND / 2);
    lose(&mut rig);
    listed(&mut rig, vec![PendingEntry { idle_ms: 3_600_000, ..pending(1, 1) }]);
    fetched(&mut rig, request(1));
    assert_eq!(rig.count("XCLAIM"), 1, "it is renewed before it starts");
}

#[test]
fn what_was_settled_while_a_look_was_under_way_is_not_started_by_it() {
    for fetches in [false, true] {
        let mut rig = rig_with_handlers(4);
        let claim = claim(&mut rig);
        lose(&mut rig);
        let rows = || Reply::PendingRange(vec![pending(1, 1)]);
        let look = if fetches {
            listed(&mut rig, vec![pending(1, 1)]);
            None
        } else {
            Some(list(&mut rig).0)
        };
        rig.reply(claim.token, claimed(StreamId::ZERO, vec![notification(1)]));
        rig.answer("XPENDING", rows());
        let job = rig.job();
        rig.end(&job);
        assert_eq!(rig.acknowledged(), [id(1)]);
        look.into_iter().for_each(|look| rig.reply(look.token, rows()));
        fetched(&mut rig, notification(1));
        rig.no_job();
        assert_eq!(rig.acknowledged(), [id(1)], "it may have been given out again");
    }
}

#[test]
fn what_is_being_acknowledged_is_acknowledged_once_more_if_it_is_pending_all_the_same() {
    let mut rig = rig_with_handlers(4);
    rig.deliver(vec![notification(1)]);
    let job = rig.job();
    rig.end(&job);
    assert_eq!(rig.count("XACK"), 1);
    lose(&mut rig);
    listed(&mut rig, vec![pending(1, 1)]);
    assert_eq!((rig.count("XACK"), rig.count("XRANGE")), (2, 0));
}

#[test]
fn what_another_lane_brought_and_was_given_up_meanwhile_is_not_started_by_a_look() {
    for ended in [false, true] {
        let mut config = config();
        config.handler_timeout = Some(SECOND);
        let mut rig = serving(config, service("arith"));
        let claim = claim(&mut rig);
        lose(&mut rig);
        listed(&mut rig, vec![pending(1, 2)]);
        rig.reply(claim.token, claimed(StreamId::ZERO, vec![request(1)]));
        rig.answer("XPENDING", Reply::PendingRange(vec![pending(1, 2)]));
        let job = rig.job();
        rig.habit = quiet;
        rig.run(3 * SECOND);
        assert_eq!(rig.engine.stats().handlers_overdue, 1);
        if ended {
            rig.engine.abandoned(rig.now, job.id);
        }
        fetched(&mut rig, request(1));
        if !ended {
            rig.engine.abandoned(rig.now, job.id);
            rig.drain();
        }
        rig.no_job();
        assert_eq!(rig.engine.stats().held, 0, "{ended}");
    }
}

#[test]
fn what_was_given_up_is_looked_for_if_a_new_group_has_given_it_out() {
    let (mut rig, job) = overdue();
    rig.engine.abandoned(rig.now, job.id);
    rig.drain();
    let look = list(&mut rig).0;
    rig.habit = |_| None;
    rig.refuse(look.token, "NOGROUP");
    rig.run(SECOND / 10);
    rig.answer("XINFO STREAM", Reply::Stream(StreamInfo::new(id(50))));
    rig.answer("XGROUP CREATE", Reply::Ok);
    lose(&mut rig);
    listed(&mut rig, vec![pending(1, 1)]);
    assert_eq!(rig.count("XRANGE"), 1);
}

#[test]
fn a_body_that_cannot_be_read_is_asked_for_again() {
    let mut rig = looking_back();
    listed(&mut rig, vec![pending(1, 1)]);
    rig.answer("XRANGE", Reply::Ok);
    assert_eq!(rig.closed, [Lane::Blocking(0)]);
    rig.run(SECOND);
    rig.open_lanes();
    listed(&mut rig, vec![pending(1, 1)]);
    assert_eq!(rig.count("XRANGE"), 1);
}

#[test]
fn an_entry_that_is_no_longer_in_the_stream_is_settled() {
    let mut rig = looking_back();
    listed(&mut rig, vec![pending(1, 1)]);
    rig.answer("XRANGE", Reply::Entries(vec![]));
    assert_eq!(rig.acknowledged(), [id(1)]);
    assert_eq!(rig.engine.stats().entries_deleted, 1);
}

#[test]
fn a_second_look_that_is_due_during_the_first_is_not_skipped() {
    let mut rig = looking_back();
    // The list takes its time, until the second look is due.
    let (sent, _) = list(&mut rig);
    rig.habit = quiet;
    rig.run(SECOND * 3);
    rig.reply(sent.token, Reply::PendingRange(vec![]));
    assert_eq!(listed(&mut rig, vec![]), StreamId::ZERO);
}

#[test]
fn a_look_that_got_lost_starts_over() {
    let mut rig = looking_back();
    listed(&mut rig, vec![pending(1, 1), pending(2, 1)]);
    fetched(&mut rig, request(1));
    lose(&mut rig);
    assert_eq!(listed(&mut rig, vec![pending(1, 1), pending(2, 1)]), StreamId::ZERO);
    fetched(&mut rig, request(2));
    assert_eq!(starts(&mut rig), [(1, 1), (2, 1)]);
}

#[test]
fn a_look_that_redis_cannot_answer_now_is_taken_again_after_a_second_and_told_about_once() {
    for fetches in [false, true] {
        let mut rig = looking_back();
        if fetches {
            listed(&mut rig, vec![pending(1, 1), pending(2, 1)]);
        }
        while let Some(sent) = rig.find(if fetches { "XRANGE" } else { "XPENDING" }) {
            rig.refuse(sent.token, "BUSY");
        }
        let notices = rig.notices();
        assert!(matches!(&notices[..], [Notice::ReadRefused { .. }]), "{notices:?}");
        assert_eq!((rig.count("XPENDING"), rig.count("XREADGROUP")), (0, 0));
        rig.run(SECOND * 11 / 10);
        assert_eq!(listed(&mut rig, vec![pending(1, 1)]), StreamId::ZERO);
        fetched(&mut rig, request(1));
        assert_eq!(starts(&mut rig), [(1, 1)]);
    }
}

#[test]
fn whoever_may_not_look_reads_on_and_tells_about_it_once() {
    let mut rig = looking_back();
    for round in 0..3 {
        let (sent, _) = list(&mut rig);
        rig.refuse(sent.token, "NOPERM");
        let told =
            rig.notices().iter().filter(|it| matches!(it, Notice::LookRefused { .. })).count();
        assert_eq!(told, usize::from(round == 0));
        assert_eq!(rig.count("XREADGROUP"), 1, "at once");
        lose(&mut rig);
    }
    let told = |rig: &mut Rig<Server>| {
        listed(rig, vec![pending(2, 1)]);
        let body = rig.take("XRANGE");
        rig.refuse(body.token, "NOPERM");
        rig.notices().iter().filter(|it| matches!(it, Notice::LookRefused { .. })).count()
    };
    assert_eq!(told(&mut rig), 0, "nothing was found meanwhile");
    lose(&mut rig);
    listed(&mut rig, vec![pending(1, 1)]);
    fetched(&mut rig, request(1));
    lose(&mut rig);
    assert_eq!(told(&mut rig), 1);
    rig.deliver(vec![]);
}

#[test]
fn what_was_idle_before_it_was_found_is_renewed_so_much_earlier() {
    let mut rig = rig_with_handlers(4);
    rig.habit = quiet;
    rig.run(SECOND / 2);
    lose(&mut rig);
    listed(&mut rig, vec![PendingEntry { idle_ms: 900, ..pending(1, 1) }]);
    fetched(&mut rig, request(1));
    rig.job();
    rig.run(PERIOD - SECOND);
    assert_eq!(rig.count("XCLAIM"), 0);
    rig.run(SECOND / 5);
    assert_eq!(renew(&mut rig), [id(1)]);
}

/// A server that has given 1 up, as its handler took too long, and that looks for what is pending.
pub(super) fn overdue() -> (Rig<Server>, Job) {
    let mut config = config();
    config.handler_timeout = Some(SECOND);
    let mut arith = service("arith");
    arith.concurrency = Concurrency::Limit(4);
    let mut rig = serving(config, arith);
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.run(3 * SECOND);
    assert_eq!(rig.engine.stats().handlers_overdue, 1);
    lose(&mut rig);
    (rig, job)
}

#[test]
fn what_was_started_here_and_given_up_is_not_taken_in_again_as_the_same_delivery() {
    for ended in [false, true] {
        for deliveries in [1, 2] {
            let (mut rig, job) = overdue();
            if ended {
                rig.engine.abandoned(rig.now, job.id);
                rig.drain();
            }
            listed(&mut rig, vec![pending(1, deliveries)]);
            assert_eq!(rig.count("XRANGE"), usize::from(deliveries > 1), "{ended}");
        }
    }
}
