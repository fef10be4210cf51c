//! Rule 4.10: what is handed back at a stop, and how.
//!
//! Not the order of the stop (`stop`).

use super::intake::pending;
use super::look_back::{fetched, listed};
use super::missing::given_out;
use super::*;
use crate::command::ClaimAs;
use crate::engine::Lane;

/// A server whose handler runs for entry 1, with entry 2 behind it, when it is stopped.
fn stopping(grace: Duration) -> (Rig<Server>, Job) {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.deliver(vec![request(2)]);
    rig.run(SECOND);
    rig.stop(grace);
    (rig, job)
}

/// So long after an entry was given out Redis can tell that nobody has touched it since.
const RIPE: Duration = Duration::from_millis(1);

/// What is being handed back: which entries, how idle they must be, how often they were given out.
fn hand_back(rig: &mut Rig<Server>) -> (Sent, Vec<StreamId>, Duration, u64) {
    let sent = rig.take("XCLAIM");
    let Command::XClaim {
        ids,
        idle_min,
        consumer,
        claim_as: ClaimAs::HandedBack { deliveries },
        ..
    } = &sent.command
    else {
        panic!("{sent:?}")
    };
    assert_eq!(&consumer[..], b"arith:released");
    let (ids, idle_min, count) = (ids.clone(), *idle_min, *deliveries);
    (sent, ids, idle_min, count)
}

/// Hands back what is asked for, and says what that is.
fn handed_back(rig: &mut Rig<Server>) -> (Vec<StreamId>, u64) {
    let (sent, ids, _, count) = hand_back(rig);
    rig.reply(sent.token, Reply::Ids(ids.clone()));
    (ids, count)
}

fn finish(rig: &mut Rig<Server>, job: &Job) {
    rig.end(job);
    rig.answer("XADD", added());
    rig.acknowledged();
    rig.remove_consumer();
}

#[test]
fn what_waits_is_handed_back_at_once_as_it_was_before_and_what_runs_goes_on() {
    let (mut rig, job) = stopping(5 * SECOND);
    let (sent, ids, idle_min, count) = hand_back(&mut rig);
    assert_eq!((&ids[..], idle_min, count), (&[id(2)][..], SECOND, 0));
    rig.reply(sent.token, Reply::Ids(ids));
    assert_eq!(rig.stopped(), None);
    finish(&mut rig, &job);
    rig.no_job();
    assert_eq!(rig.stopped(), Some(1));
    assert_eq!(rig.engine.stats().entries_handed_back, 1);
}

#[test]
fn what_a_read_still_brings_at_a_stop_is_handed_back() {
    let mut rig = rig();
    rig.stop(5 * SECOND);
    rig.deliver(vec![notification(1)]);
    rig.no_job();
    assert_eq!(rig.count("XCLAIM"), 0, "that would be in vain");
    rig.run(RIPE);
    assert_eq!(handed_back(&mut rig), (vec![id(1)], 0));
    rig.remove_consumer();
    assert_eq!(rig.stopped(), Some(1));
}

#[test]
fn what_a_read_brings_after_the_grace_is_handed_back() {
    let mut rig = rig();
    rig.reads_run_out = false;
    rig.stop(SECOND / 2);
    rig.run(SECOND / 2);
    rig.deliver(vec![notification(1)]);
    rig.no_job();
    assert_eq!(rig.count("XCLAIM"), 0, "that would be in vain");
    rig.run(RIPE);
    assert_eq!(handed_back(&mut rig), (vec![id(1)], 0));
}

#[test]
fn what_was_taken_over_is_counted_and_handed_back_as_it_was_before() {
    let mut rig = rig();
    rig.run(2 * SECOND);
    rig.stop(5 * SECOND);
    rig.unblocked();
    rig.answer("XAUTOCLAIM", claimed(StreamId::ZERO, vec![notification(1)]));
    assert_eq!(rig.count("XCLAIM"), 0);
    rig.answer("XPENDING", Reply::PendingRange(vec![pending(1, 4)]));
    rig.run(RIPE);
    assert_eq!(handed_back(&mut rig), (vec![id(1)], 3));
    rig.no_job();
}

#[test]
fn a_handler_past_the_grace_is_dropped_first_and_its_entry_handed_back_as_started() {
    let (mut rig, job) = stopping(5 * SECOND);
    handed_back(&mut rig);
    rig.run(5 * SECOND);
    let abandon = |event: &ServerEvent| matches!(event, ServerEvent::Abandon(it) if *it == job.id);
    assert!(rig.events().iter().any(abandon));
    assert_eq!(rig.count("XCLAIM"), 0, "its handler runs");
    rig.engine.abandoned(rig.now, job.id);
    rig.drain();
    assert_eq!(handed_back(&mut rig), (vec![id(1)], 1));
    rig.remove_consumer();
    assert_eq!((rig.count("XACK"), rig.stopped()), (0, Some(2)));
}

#[test]
fn what_another_worker_has_is_not_handed_back() {
    let (mut rig, job) = stopping(5 * SECOND);
    let (sent, ..) = hand_back(&mut rig);
    rig.reply(sent.token, Reply::Ids(vec![]));
    rig.answer("XPENDING", Reply::PendingRange(vec![]));
    given_out(&mut rig, id(2));
    rig.answer("XRANGE", Reply::Entries(vec![request(2)]));
    finish(&mut rig, &job);
    assert_eq!((rig.count("XCLAIM"), rig.stopped()), (0, Some(0)));
}

#[test]
fn an_entry_that_was_left_out_and_is_still_ours_is_handed_back_by_the_idle_time_that_redis_tells() {
    let (mut rig, _) = stopping(5 * SECOND);
    let (sent, ..) = hand_back(&mut rig);
    rig.reply(sent.token, Reply::Ids(vec![]));
    let row = crate::reply::PendingEntry { idle_ms: 7, ..pending(2, 1) };
    rig.answer("XPENDING", Reply::PendingRange(vec![row]));
    assert_eq!(rig.count("XCLAIM"), 0, "not at once: that would be in vain again");
    rig.run(SECOND);
    let (_, ids, idle_min, _) = hand_back(&mut rig);
    assert_eq!((ids, idle_min), (vec![id(2)], Duration::from_millis(1007)));
}

#[test]
fn after_its_lane_was_lost_it_is_found_out_whether_it_was_handed_back() {
    let (mut rig, _) = stopping(5 * SECOND);
    hand_back(&mut rig);
    rig.lose(Lane::Command);
    rig.run(2 * SECOND);
    rig.open_lanes();
    let row = crate::reply::PendingEntry { idle_ms: 3000, ..pending(2, 1) };
    rig.answer("XPENDING", Reply::PendingRange(vec![row]));
    assert_eq!(handed_back(&mut rig), (vec![id(2)], 0));
}

#[test]
fn what_may_have_been_handed_back_and_is_gone_was_run_by_another() {
    let (mut rig, job) = stopping(5 * SECOND);
    hand_back(&mut rig);
    rig.lose(Lane::Command);
    rig.run(2 * SECOND);
    rig.open_lanes();
    rig.answer("XPENDING", Reply::PendingRange(vec![]));
    given_out(&mut rig, id(50));
    rig.end(&job);
    rig.no_job();
    assert_eq!(rig.count("XRANGE"), 0);
}

#[test]
fn what_is_being_handed_back_does_not_start_although_the_group_is_gone() {
    let (mut rig, job) = stopping(5 * SECOND);
    let (sent, ids, ..) = hand_back(&mut rig);
    rig.habit = |_| None;
    rig.end(&job);
    rig.answer("XADD", added());
    let acknowledge = rig.take("XACK");
    rig.refuse(acknowledge.token, "NOGROUP");
    rig.no_job();
    rig.reply(sent.token, Reply::Ids(ids));
    rig.no_job();
}

#[test]
fn whoever_may_not_hand_back_serves_within_the_grace() {
    let (mut rig, job) = stopping(5 * SECOND);
    let (sent, ..) = hand_back(&mut rig);
    rig.refuse(sent.token, "NOPERM");
    rig.end(&job);
    rig.answer("XADD", added());
    rig.acknowledged();
    let next = rig.job();
    assert_eq!(next.entry, id(2));
    finish(&mut rig, &next);
    assert_eq!(rig.stopped(), Some(0));
}

#[test]
fn whoever_may_not_hand_back_leaves_what_has_not_started_when_the_grace_is_over() {
    let (mut rig, job) = stopping(5 * SECOND);
    let (sent, ..) = hand_back(&mut rig);
    rig.refuse(sent.token, "NOPERM");
    rig.run(5 * SECOND);
    rig.engine.abandoned(rig.now, job.id);
    rig.drain();
    rig.answer("XPENDING", Reply::PendingRange(vec![pending(1, 1), pending(2, 1)]));
    rig.no_job();
    assert_eq!(rig.stopped(), Some(2));
}

#[test]
fn what_another_read_brings_while_it_is_handed_back_is_not_handed_back_twice_at_once() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    rig.job();
    rig.lose(Lane::Blocking(0));
    rig.run(SECOND);
    rig.open_lanes();
    listed(&mut rig, vec![pending(2, 2), pending(3, 1)]);
    fetched(&mut rig, request(2));
    rig.run(RIPE);
    rig.stop(5 * SECOND);
    hand_back(&mut rig);
    fetched(&mut rig, request(2));
    rig.run(2 * RIPE);
    assert_eq!(rig.count("XCLAIM"), 0);
}

#[test]
fn without_a_group_what_is_not_counted_is_served_within_the_grace() {
    let (mut rig, count) = reclaim::uncounted();
    rig.stop(5 * SECOND);
    rig.refuse(count.token, "NOGROUP");
    assert_eq!(rig.jobs().len(), 2);
}

#[test]
fn a_count_that_redis_refuses_for_a_while_is_asked_for_again_during_a_stop() {
    let (mut rig, count) = reclaim::uncounted();
    rig.stop(5 * SECOND);
    rig.refuse(count.token, "BUSY");
    assert_eq!(rig.count("XPENDING"), 0);
    rig.run(2 * SECOND);
    assert_eq!(rig.count("XPENDING"), 1);
}

#[test]
fn a_hand_back_that_redis_refuses_for_a_while_is_tried_again() {
    let (mut rig, _) = stopping(5 * SECOND);
    let (sent, ..) = hand_back(&mut rig);
    rig.refuse(sent.token, "BUSY");
    assert!(rig.notices().is_empty());
    rig.run(2 * SECOND);
    assert_eq!(handed_back(&mut rig), (vec![id(2)], 0));
}

#[test]
fn without_a_lane_nothing_is_handed_back_until_there_is_one() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    rig.job();
    rig.deliver(vec![request(2)]);
    rig.run(SECOND);
    rig.lose(Lane::Command);
    rig.stop(5 * SECOND);
    rig.run(SECOND / 2);
    rig.open_lanes();
    assert_eq!(handed_back(&mut rig), (vec![id(2)], 0));
}
