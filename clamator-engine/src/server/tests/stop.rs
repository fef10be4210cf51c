//! Rule 4.10: stopping.
//!
//! Not what is handed back to other workers (`hand_back`).

use super::group::created_anew;
use super::look_back::listed;
use super::*;
use crate::engine::Lane;
use crate::reply::PendingEntry;

impl Rig<Server> {
    pub(super) fn stop(&mut self, grace: Duration) {
        self.engine.drain(self.now, grace);
        self.drain();
    }

    pub(super) fn stopped(&self) -> Option<usize> {
        self.events.iter().find_map(|event| match event {
            ServerEvent::Stopped { left } => Some(*left),
            _ => None,
        })
    }

    /// Answers the waiting read with nothing, as CLIENT UNBLOCK makes Redis do.
    pub(super) fn unblocked(&mut self) {
        self.deliver(vec![]);
    }

    pub(super) fn remove_consumer(&mut self) {
        self.answer("XPENDING", Reply::PendingRange(vec![]));
        self.answer("XGROUP DELCONSUMER", Reply::Integer(0));
    }
}

#[test]
fn a_stop_ends_the_waiting_read_without_closing_its_lane() {
    let mut rig = rig();
    rig.stop(5 * SECOND);
    let Sent { command, .. } = rig.take("CLIENT UNBLOCK");
    assert_eq!(command, Command::ClientUnblock { client: 2 });
    assert!(rig.closed.is_empty());
    rig.unblocked();
    assert_eq!(rig.count("XREADGROUP"), 0, "nothing more is read");
    rig.remove_consumer();
    assert_eq!(rig.closed, [Lane::Command, Lane::Blocking(0)]);
    assert_eq!(rig.stopped(), Some(0));
    assert_eq!(rig.deadline, None);
}

#[test]
fn a_stop_waits_for_the_read_where_unblocking_is_not_allowed() {
    let mut rig = rig();
    rig.stop(5 * SECOND);
    let sent = rig.take("CLIENT UNBLOCK");
    rig.refuse(sent.token, "NOPERM");
    assert!(rig.closed.is_empty());
    rig.unblocked();
    rig.remove_consumer();
    assert_eq!(rig.stopped(), Some(0));
}

#[test]
fn what_runs_at_a_stop_is_finished_answered_and_acknowledged() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.stop(5 * SECOND);
    rig.unblocked();
    rig.end(&job);
    rig.answer("XADD", added());
    assert!(rig.stopped().is_none());
    rig.acknowledged();
    rig.remove_consumer();
    assert_eq!(rig.stopped(), Some(0));
}

#[test]
fn a_consumer_with_something_pending_is_not_removed() {
    let mut rig = rig();
    rig.stop(5 * SECOND);
    rig.unblocked();
    let row = PendingEntry::new(id(1), Bytes::from_static(b"arith:w1"), 0, 1);
    rig.answer("XPENDING", Reply::PendingRange(vec![row]));
    assert_eq!(rig.count("XGROUP DELCONSUMER"), 0, "its entries would be lost");
    assert_eq!(rig.stopped(), Some(0));
}

#[test]
fn the_consumer_stays_while_a_lost_read_may_still_be_given_something() {
    let mut rig = rig();
    rig.lose(Lane::Blocking(0));
    rig.events();
    rig.stop(5 * SECOND);
    assert_eq!((rig.count("XPENDING"), rig.count("XGROUP DELCONSUMER")), (0, 0));
    assert_eq!(rig.stopped(), Some(0));
}

#[test]
fn the_consumer_stays_until_the_second_look_for_what_a_lost_read_was_given() {
    let mut rig = rig();
    rig.lose(Lane::Blocking(0));
    rig.run(SECOND / 2);
    rig.open_lanes();
    listed(&mut rig, vec![]);
    rig.events();
    rig.stop(5 * SECOND);
    rig.unblocked();
    assert_eq!((rig.count("XPENDING"), rig.count("XGROUP DELCONSUMER")), (0, 0));
    assert_eq!(rig.stopped(), Some(0));
}

#[test]
fn the_consumer_stays_for_a_lost_read_although_the_stream_is_another_one_by_now() {
    let mut rig = rig();
    rig.lose(Lane::Blocking(0));
    rig.run(SECOND / 2);
    rig.open_lanes();
    let look = rig.take_on(Lane::Blocking(0), "XPENDING");
    rig.refuse(look.token, "NOGROUP");
    rig.run(SECOND);
    created_anew(&mut rig);
    rig.events();
    rig.stop(5 * SECOND);
    rig.unblocked();
    assert_eq!((rig.count("XPENDING"), rig.count("XGROUP DELCONSUMER")), (0, 0));
    assert_eq!(rig.stopped(), Some(0));
}

#[test]
fn a_consumer_that_had_something_pending_after_all_is_reported() {
    let mut rig = rig();
    rig.stop(SECOND);
    rig.unblocked();
    rig.answer("XPENDING", Reply::PendingRange(vec![]));
    rig.answer("XGROUP DELCONSUMER", Reply::Integer(3));
    assert!(matches!(rig.notices()[..], [Notice::ConsumerLeft { destroyed: 3, .. }]));
}

#[test]
fn a_consumer_that_is_still_there_is_reported_and_one_that_is_removed_is_not() {
    for (removal, left) in [("", 0), ("NOPERM", 1)] {
        let mut rig = rig();
        rig.stop(SECOND);
        rig.unblocked();
        rig.answer("XPENDING", Reply::PendingRange(vec![]));
        let sent = rig.take("XGROUP DELCONSUMER");
        match removal {
            "" => rig.reply(sent.token, Reply::Integer(0)),
            code => rig.refuse(sent.token, code),
        }
        let notices = rig.notices();
        assert_eq!(notices.len(), left, "{notices:?}");
        assert!(notices.iter().all(|it| matches!(it, Notice::ConsumerLeft { destroyed: 0, .. })));
    }
}

#[test]
fn a_stop_ends_although_redis_does_not_answer() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.stop(SECOND);
    rig.end(&job);
    rig.run(30 * SECOND);
    assert_eq!(rig.stopped(), Some(1));
    assert!(rig.now <= Instant::ZERO + 31 * SECOND);
}

#[test]
fn a_stop_without_redis_ends_at_once() {
    let mut rig = rig_of(config(), vec![service("arith")]);
    rig.lose(Lane::Command);
    rig.stop(5 * SECOND);
    rig.stop(5 * SECOND);
    assert_eq!(rig.stopped(), Some(0));
    assert_eq!(rig.now, Instant::ZERO);
}

#[test]
fn a_claim_under_way_at_a_stop_is_waited_for() {
    let mut rig = rig();
    rig.run(2 * SECOND);
    rig.stop(5 * SECOND);
    rig.unblocked();
    assert_eq!(rig.count("XPENDING"), 0, "the claim is not answered yet");
    rig.answer("XAUTOCLAIM", claimed(StreamId::ZERO, vec![]));
    rig.remove_consumer();
    assert_eq!(rig.stopped(), Some(0));
}

#[test]
fn stopping_twice_is_stopping_once() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.stop(SECOND);
    rig.run(SECOND / 2);
    rig.stop(60 * SECOND);
    rig.run(SECOND / 2);
    assert!(matches!(rig.events()[..], [ServerEvent::Abandon(id)] if id == job.id));
}

#[test]
fn a_second_stop_with_less_grace_ends_the_first_ones() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.stop(60 * SECOND);
    rig.run(SECOND);
    rig.stop(SECOND);
    rig.run(SECOND - SECOND / 100);
    assert!(rig.events().is_empty());
    rig.run(SECOND / 100);
    assert!(matches!(rig.events()[..], [ServerEvent::Abandon(id)] if id == job.id));
}

#[test]
fn a_stop_does_not_wait_for_a_group_that_is_gone() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![notification(1)]);
    let job = rig.job();
    rig.run(SECOND / 10);
    let sent = rig.take("XREADGROUP");
    rig.refuse(sent.token, "NOGROUP");
    let start = rig.now;
    rig.engine.drain(rig.now, 5 * SECOND);
    rig.drain();
    rig.end(&job);
    rig.answer("XACK", Reply::Integer(0));
    while !rig.events.iter().any(|event| matches!(event, ServerEvent::Stopped { .. })) {
        rig.run(SECOND / 10);
    }
    let took = rig.now.since(start);
    assert!(took <= 5 * SECOND, "nothing ran, and the stop took {took:?}");
}

#[test]
fn a_stop_does_not_wait_for_acknowledgements_to_a_stream_that_is_gone() {
    let mut rig = rig();
    rig.deliver(vec![notification(5)]);
    let job = rig.job();
    rig.run(SECOND);
    let read = rig.take("XREADGROUP");
    rig.refuse(read.token, "NOGROUP");
    rig.end(&job);
    created_anew(&mut rig);
    rig.run(Duration::ZERO);
    rig.stop(5 * SECOND);
    rig.unblocked();
    rig.remove_consumer();
    assert_eq!(rig.stopped(), Some(0));
}

#[test]
fn without_a_group_a_stop_does_not_wait_to_know_whose_a_reply_is() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.run(SECOND / 10);
    let read = rig.take("XREADGROUP");
    rig.refuse(read.token, "NOGROUP");
    rig.stop(200 * SECOND);
    // The process did nothing for a long time.
    rig.now = rig.now + 100 * SECOND;
    rig.end(&job);
    assert_eq!(rig.count("XADD"), 1);
}

#[test]
fn the_consumer_stays_while_a_lost_renewal_may_take_back_what_was_handed_back() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.run(21 * SECOND);
    rig.take("XCLAIM");
    rig.lose(Lane::Command);
    rig.run(SECOND);
    rig.open_lanes();
    rig.end(&job);
    rig.answer("XADD", added());
    rig.acknowledged();
    rig.events();
    rig.stop(5 * SECOND);
    rig.unblocked();
    assert_eq!((rig.count("XPENDING"), rig.count("XGROUP DELCONSUMER")), (0, 0));
    assert_eq!(rig.stopped(), Some(0));
}
