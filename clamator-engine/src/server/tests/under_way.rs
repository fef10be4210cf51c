//! Rules 4.4 and 4.6: what does not wait for ever behind the replies that are under way.
//!
//! Not the suspicion against a reply (`lost`), nor what is renewed and handed back when it is time
//! (`lease`, `hand_back`).

use super::super::held::Key;
use super::intake::pending;
use super::lease::{PERIOD, renew};
use super::lost::{other_request, two_services};
use super::*;
use crate::command::ClaimAs;
use crate::engine::{Input, Lane};

/// Lets time pass on a slow link: bytes move all the time.
fn slowly(rig: &mut Rig<Server>, time: Duration) {
    for _ in 0..time.as_secs() {
        rig.run(SECOND);
        rig.input(Input::Progress { lane: Lane::Command, bytes: 64 * 1024 });
    }
}

/// A handler ends whose result has so many bytes.
fn end_with(rig: &mut Rig<Server>, job: &Job, bytes: usize) {
    let result = Json::encode(&"a".repeat(bytes)).unwrap();
    rig.engine.answer(rig.now, job.id, Answer::Result(result));
    rig.drain();
}

/// Three handlers run; one ends, with a result of so many bytes, and its reply is under way for a
/// period. The jobs of the other two.
fn behind(bytes: usize) -> (Rig<Server>, Vec<Job>) {
    let mut rig = rig_with_handlers(3);
    rig.habit = quiet;
    rig.deliver(vec![request(1), request(2), request(3)]);
    let mut jobs = rig.jobs();
    rig.run(SECOND / 2);
    end_with(&mut rig, &jobs.remove(0), bytes);
    assert_eq!(rig.count("XADD"), 1);
    slowly(&mut rig, PERIOD);
    (rig, jobs)
}

#[test]
fn a_renewal_is_not_sent_behind_a_large_reply_and_comes_before_the_next_one() {
    let (mut rig, jobs) = behind(100_000);
    assert_eq!(rig.count("XCLAIM"), 0);
    end_with(&mut rig, &jobs[0], 100_000);
    assert_eq!(rig.count("XADD"), 1, "it would keep the renewal waiting as well");
    rig.answer("XADD", added());
    assert_eq!(rig.count("XADD"), 1, "now it may go");
    assert_eq!(renew(&mut rig), [id(1), id(2), id(3)]);
}

#[test]
fn a_renewal_is_sent_behind_a_small_reply() {
    let (mut rig, jobs) = behind(10_000);
    assert_eq!(renew(&mut rig), [id(1), id(2), id(3)]);
    end_with(&mut rig, &jobs[0], 10_000);
    assert_eq!(rig.count("XADD"), 2);
}

#[test]
fn a_lost_lane_leaves_nothing_to_wait_for() {
    let (mut rig, _) = behind(100_000);
    rig.lose(Lane::Command);
    rig.run(SECOND);
    rig.open_lanes();
    assert_eq!(renew(&mut rig), [id(1), id(2), id(3)]);
    assert_eq!(rig.count("XADD"), 1);
}

#[test]
fn nothing_is_handed_back_behind_a_large_reply() {
    let mut rig = rig_with_handlers(2);
    rig.habit = quiet;
    rig.deliver(vec![request(1), request(2)]);
    let jobs = rig.jobs();
    rig.deliver(vec![request(3)]);
    rig.run(SECOND / 2);
    end_with(&mut rig, &jobs[0], 100_000);
    assert_eq!(rig.jobs().len(), 1);
    rig.deliver(vec![request(4)]);
    rig.stop(60 * SECOND);
    slowly(&mut rig, 3 * SECOND);
    assert_eq!(rig.count("XCLAIM"), 0);
    rig.answer("XADD", added());
    let sent = rig.take("XCLAIM");
    let Command::XClaim { ids, claim_as: ClaimAs::HandedBack { .. }, idle_min, .. } = sent.command
    else {
        panic!("{sent:?}")
    };
    assert_eq!(ids, [id(4)]);
    assert!(idle_min >= 3 * SECOND, "as of now: {idle_min:?}");
}

/// The requests whose replies are under way.
fn replying(rig: &Rig<Server>) -> Vec<u64> {
    let id = |text: &[u8]| {
        let text = core::str::from_utf8(text).unwrap();
        let (_, rest) = text.split_once(r#""id":"#).unwrap();
        rest.split_once(',').unwrap().0.parse().unwrap()
    };
    rig.commands("XADD")
        .map(|command| match command {
            Command::XAdd { fields, .. } => id(&fields[1].1),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// A server with a reply to 1 that may be why three lanes have ended, the last one just now. The reply
/// to 2 is under way, and the jobs for more run.
fn suspecting() -> (Rig<Server>, Vec<Job>) {
    let mut rig = rig_with_handlers(40);
    rig.habit = quiet;
    rig.deliver((1..=40).map(request).collect());
    let mut jobs = rig.jobs();
    rig.end(&jobs.remove(0));
    for _ in 0..3 {
        assert_eq!(replying(&rig), [1]);
        // The new lane answers nothing yet.
        rig.habit = |_| None;
        rig.ahead = None;
        rig.lose(Lane::Command);
        rig.run(SECOND * 9 / 10);
        rig.open_lanes();
        rig.habit = quiet;
    }
    rig.end(&jobs.remove(0));
    rig.mark(id(50), None);
    assert_eq!(replying(&rig), [2]);
    (rig, jobs)
}

#[test]
fn a_reply_that_has_to_be_alone_is_sent_after_a_second_however_many_others_there_are() {
    let (mut rig, mut jobs) = suspecting();
    rig.end(&jobs.remove(0));
    assert_eq!(replying(&rig), [2, 3]);
    rig.run(SECOND / 5);
    rig.end(&jobs.remove(0));
    assert_eq!(replying(&rig), [2, 3], "the others wait for it");
    rig.answer("XADD", added());
    assert_eq!(replying(&rig), [3]);
    rig.answer("XADD", added());
    assert_eq!(replying(&rig), [1]);
    rig.end(&jobs.remove(0));
    assert_eq!(replying(&rig), [1]);
    rig.answer("XADD", added());
    assert_eq!(replying(&rig), [4, 5], "and go on");
}

#[test]
fn a_reply_that_has_to_be_alone_and_is_given_up_keeps_nobody_waiting() {
    let (mut rig, mut jobs) = suspecting();
    rig.run(SECOND / 5);
    rig.engine.services[0].held.remove(Key { epoch: 0, id: id(1) });
    rig.end(&jobs.remove(0));
    assert_eq!(replying(&rig), [2, 3]);
}

#[test]
fn a_reply_that_has_to_be_alone_and_may_not_be_sent_keeps_nobody_waiting() {
    let (mut rig, mut jobs) = suspecting();
    rig.run(SECOND / 5);
    rig.engine.services[0].held.leases.offer(&[Key { epoch: 0, id: id(1) }]);
    rig.end(&jobs.remove(0));
    assert_eq!(replying(&rig), [2, 3]);
}

#[test]
fn when_the_lease_is_lost_of_a_reply_that_others_wait_for_they_go_on() {
    let mut rig = two_services();
    assert_eq!(replying(&rig), [2]);
    rig.run(SECOND);
    // The second look is due by now.
    for _ in 0..2 {
        let look = rig.take_on(Lane::Blocking(0), "XPENDING");
        rig.reply(look.token, Reply::PendingRange(vec![pending(3, 1)]));
    }
    rig.answer("XRANGE", Reply::Entries(vec![other_request(3)]));
    let job = rig.job();
    rig.end(&job);
    assert_eq!(replying(&rig), [2]);
    rig.engine.lose_lease(1, Key { epoch: 0, id: id(1) });
    rig.drain();
    assert_eq!(replying(&rig), [2, 3]);
}
