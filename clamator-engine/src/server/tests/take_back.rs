//! Rule 4.5: what an earlier process of the same name was given, taken back at a start.
//!
//! Not what other workers left (`reclaim`). With the default `claim_idle` of 60 s an entry is renewed
//! every 20 s: what nobody renews has been idle for 40 s.

use super::look_back::listed;
use super::reclaim::uncounted;
use super::*;
use crate::command::ClaimAs;
use crate::engine::{Engine, Input, Lane};
use crate::reply::PendingEntry;

const ENOUGH: u64 = 40_000;

/// A server of `arith` whose group was there, and which has just asked what is pending for its name.
fn started(service: ServiceConfig) -> Rig<Server> {
    started_as(config(), service)
}

fn started_as(config: ServerConfig, service: ServiceConfig) -> Rig<Server> {
    let mut rig = rig_of(config, vec![service]);
    rig.open_lanes();
    let create = rig.take("XGROUP CREATE");
    rig.refuse(create.token, "BUSYGROUP");
    rig.mark(id(9), Some(id(1)));
    rig.habit = quiet;
    rig
}

fn with_handlers(count: usize) -> Rig<Server> {
    let mut arith = service("arith");
    arith.concurrency = Concurrency::Limit(count);
    started(arith)
}

/// An entry that is pending for this name, and was given out once.
fn left(ms: u64, idle_ms: u64) -> PendingEntry {
    PendingEntry::new(id(ms), Bytes::from_static(b"arith:w1"), idle_ms, 1)
}

/// Answers the question what is pending for this name.
fn find(rig: &mut Rig<Server>, rows: Vec<PendingEntry>) {
    let Sent { token, command, .. } = rig.take_on(Lane::Command, "XPENDING");
    rig.reply(token, Reply::PendingRange(rows));
    let Command::XPendingRange { start, end, consumer, .. } = command else {
        panic!("{command:?}")
    };
    assert_eq!((start, end, &consumer[..]), (StreamId::ZERO, StreamId::MAX, &b"arith:w1"[..]));
}

/// What is claimed.
fn claim_back(rig: &mut Rig<Server>) -> (Sent, Vec<StreamId>) {
    let sent = rig.take("XCLAIM");
    let Command::XClaim { consumer, idle_min, ids, claim_as, .. } = &sent.command else { panic!() };
    assert_eq!((&consumer[..], *claim_as), (&b"arith:w1"[..], ClaimAs::Delivered));
    assert_eq!(*idle_min, Duration::from_millis(ENOUGH), "the fence");
    let ids = ids.clone();
    (sent, ids)
}

#[test]
fn what_nobody_of_this_name_renews_is_taken_back_counted_and_run() {
    let mut rig = with_handlers(4);
    find(&mut rig, vec![left(1, ENOUGH), left(2, ENOUGH - 1), left(3, ENOUGH + 5)]);
    let (sent, ids) = claim_back(&mut rig);
    assert_eq!(ids, [id(1), id(3)], "the second may be renewed by a twin");
    rig.reply(sent.token, Reply::Entries(vec![request(1), request(3)]));
    rig.no_job();
    let counts = vec![PendingEntry::new(id(1), Bytes::new(), 0, 2), left(3, 0)];
    rig.answer("XPENDING", Reply::PendingRange(counts));
    let deliveries: Vec<u64> = rig.jobs().iter().map(|job| job.deliveries).collect();
    assert_eq!(deliveries, [2, 1]);
    assert_eq!(rig.engine.stats().entries_taken_back, 2);
}

#[test]
fn what_is_younger_is_looked_at_again_when_it_may_be_old_enough() {
    let mut rig = with_handlers(4);
    find(&mut rig, vec![left(1, ENOUGH - 10_000), left(2, ENOUGH - 30_000)]);
    assert_eq!(rig.count("XCLAIM"), 0);
    rig.run(9 * SECOND);
    assert_eq!(rig.count("XPENDING"), 0, "not before");
    rig.run(3 * SECOND);
    find(&mut rig, vec![left(1, ENOUGH), left(2, ENOUGH - 20_000)]);
    assert_eq!(claim_back(&mut rig).1, [id(1)]);
}

#[test]
fn a_twin_that_lives_keeps_what_it_has() {
    let mut rig = with_handlers(4);
    let mut looks = 0;
    for _ in 0..200 {
        if let Some(sent) = rig.find("XPENDING") {
            looks += 1;
            rig.reply(sent.token, Reply::PendingRange(vec![left(1, 15_000)]));
        }
        rig.run(SECOND);
    }
    assert_eq!(rig.count("XCLAIM"), 0);
    assert_eq!(looks, 2, "it was touched since the start: whoever did that lives");
}

#[test]
fn what_there_was_no_room_for_is_anybodys_when_claim_idle_is_over() {
    let mut rig = started(service("arith"));
    find(&mut rig, vec![left(1, ENOUGH), left(2, ENOUGH), left(3, ENOUGH)]);
    for ms in [1, 2] {
        let (sent, _) = claim_back(&mut rig);
        rig.reply(sent.token, Reply::Entries(vec![notification(ms)]));
        rig.answer("XPENDING", Reply::PendingRange(vec![left(ms, 0)]));
        if ms == 1 {
            find(&mut rig, vec![left(2, ENOUGH), left(3, ENOUGH)]);
        }
    }
    let job = rig.job();
    for _ in 0..61 {
        rig.run(SECOND);
        while let Some(sent) = rig.find("XCLAIM") {
            let Command::XClaim { ids, .. } = &sent.command else { panic!() };
            let ids = ids.clone();
            rig.reply(sent.token, Reply::Ids(ids));
        }
    }
    rig.end(&job);
    assert_eq!(rig.count("XPENDING"), 0);
}

#[test]
fn what_this_process_was_given_and_gave_up_is_not_taken_back_early() {
    let mut rig = with_handlers(4);
    find(&mut rig, vec![left(1, ENOUGH - 5000)]);
    rig.run(6 * SECOND);
    find(&mut rig, vec![left(1, ENOUGH + 1000), left(2, 5500)]);
    let (sent, _) = claim_back(&mut rig);
    rig.reply(sent.token, Reply::Entries(vec![]));
    rig.answer("XRANGE", Reply::Entries(vec![request(1)]));
    rig.run(2 * SECOND);
    find(&mut rig, vec![left(2, 7500)]);
    rig.run(60 * SECOND);
    assert_eq!((rig.count("XPENDING"), rig.count("XCLAIM")), (0, 0));
}

#[test]
fn what_is_no_longer_in_the_stream_is_settled_and_counted() {
    let mut rig = with_handlers(4);
    find(&mut rig, vec![left(1, ENOUGH), left(2, ENOUGH), left(3, ENOUGH)]);
    let (sent, _) = claim_back(&mut rig);
    rig.reply(sent.token, Reply::Entries(vec![request(2)]));
    rig.answer("XRANGE", Reply::Entries(vec![]));
    rig.answer("XRANGE", Reply::Entries(vec![request(3)]));
    assert_eq!(rig.acknowledged(), [id(1)], "the third is somebody else's by now");
    assert_eq!(rig.engine.stats().entries_deleted, 1);
}

#[test]
fn of_what_gets_lost_half_is_asked_for_the_next_time() {
    let mut rig = with_handlers(8);
    let rows = || (1..=8).map(|ms| left(ms, ENOUGH)).collect();
    find(&mut rig, rows());
    assert_eq!(claim_back(&mut rig).1.len(), 8);
    rig.lose(Lane::Command);
    rig.run(SECOND);
    rig.open_lanes();
    find(&mut rig, rows());
    assert_eq!(claim_back(&mut rig).1.len(), 4);
}

#[test]
fn behind_a_full_answer_of_what_is_held_there_may_be_more() {
    let mut rig = with_handlers(1);
    rig.deliver(vec![request(1)]);
    rig.job();
    let rows = (0..1000).map(|_| left(1, 0)).collect();
    find(&mut rig, rows);
    rig.run(2 * SECOND);
    find(&mut rig, vec![left(1, 2000), left(2, ENOUGH)]);
    assert_eq!(claim_back(&mut rig).1, [id(2)]);
}

#[test]
fn nothing_is_looked_for_in_a_group_that_is_new_nor_when_nothing_is_left() {
    let mut new = rig();
    new.run(3 * SECOND);
    assert_eq!(new.count("XPENDING"), 0);
    let mut rig = with_handlers(1);
    find(&mut rig, vec![]);
    rig.run(90 * SECOND);
    assert_eq!((rig.count("XPENDING"), rig.count("XCLAIM")), (0, 0));
}

#[test]
fn no_more_is_taken_back_than_there_is_room_for_and_the_rest_is_looked_up_again() {
    let mut rig = started(service("arith"));
    find(&mut rig, vec![left(1, ENOUGH), left(2, ENOUGH)]);
    let (sent, ids) = claim_back(&mut rig);
    assert_eq!(ids, [id(1)]);
    rig.reply(sent.token, Reply::Entries(vec![notification(1)]));
    rig.answer("XPENDING", Reply::PendingRange(vec![left(1, 0)]));
    let job = rig.job();
    find(&mut rig, vec![left(1, ENOUGH), left(2, ENOUGH), left(3, ENOUGH)]);
    let (sent, ids) = claim_back(&mut rig);
    assert_eq!(ids, [id(2)], "one runs, one may wait");
    rig.reply(sent.token, Reply::Entries(vec![notification(2)]));
    rig.answer("XPENDING", Reply::PendingRange(vec![left(2, 0)]));
    rig.run(3 * SECOND);
    assert_eq!(rig.count("XPENDING"), 0, "there is no room");
    rig.end(&job);
    find(&mut rig, vec![left(2, 3000), left(3, ENOUGH + 3000)]);
    assert_eq!(claim_back(&mut rig).1, [id(3)]);
}

#[test]
fn what_is_read_in_the_same_turn_takes_the_place_and_what_was_found_is_looked_up_again() {
    let mut rig = started(service("arith"));
    let look = rig.take_on(Lane::Command, "XPENDING");
    rig.deliver(vec![notification(5)]);
    let job = rig.job();
    let read = rig.take("XREADGROUP");
    let found = Reply::PendingRange(vec![left(1, ENOUGH)]);
    rig.engine.handle_input(rig.now, Input::Reply(look.token, Ok(found)));
    rig.reply(read.token, Reply::Entries(vec![notification(6)]));
    assert_eq!(rig.count("XCLAIM"), 0, "one runs and one waits");
    rig.run(SECOND);
    rig.end(&job);
    assert_eq!(rig.count("XCLAIM"), 0, "it may be somebody else's by now");
    find(&mut rig, vec![left(1, ENOUGH + 1000)]);
    assert_eq!(claim_back(&mut rig).1, [id(1)]);
}

#[test]
fn what_was_found_is_claimed_although_the_turn_has_taken_time() {
    let mut rig = started(service("arith"));
    let look = rig.take_on(Lane::Command, "XPENDING");
    let found = Reply::PendingRange(vec![left(1, ENOUGH)]);
    rig.deliver(vec![notification(5)]);
    let job = rig.job();
    let read = rig.take("XREADGROUP");
    rig.engine.handle_input(rig.now, Input::Reply(look.token, Ok(found)));
    rig.reply(read.token, Reply::Entries(vec![notification(6)]));
    assert_eq!(rig.count("XCLAIM"), 0, "there is no place");
    rig.now = rig.now + SECOND / 50;
    rig.end(&job);
    assert_eq!(claim_back(&mut rig).1, [id(1)]);
}

#[test]
fn what_somebody_was_faster_to_take_is_let_be_until_the_next_tick() {
    let mut rig = with_handlers(2);
    find(&mut rig, vec![left(1, ENOUGH)]);
    let (sent, _) = claim_back(&mut rig);
    rig.reply(sent.token, Reply::Entries(vec![]));
    assert_eq!(rig.count("XPENDING"), 0);
    rig.run(2 * SECOND);
    find(&mut rig, vec![]);
    rig.no_job();
}

#[test]
fn whoever_may_not_look_or_claim_waits_like_everybody_else() {
    let mut rig = with_handlers(2);
    let look = rig.take_on(Lane::Command, "XPENDING");
    rig.refuse(look.token, "NOPERM");
    rig.run(5 * SECOND);
    assert_eq!(rig.count("XPENDING"), 0);
    let mut rig = with_handlers(2);
    find(&mut rig, vec![left(1, ENOUGH)]);
    let (sent, _) = claim_back(&mut rig);
    rig.refuse(sent.token, "NOPERM");
    rig.run(5 * SECOND);
    assert_eq!((rig.count("XPENDING"), rig.count("XCLAIM")), (0, 0));
    assert_eq!(rig.count("XREADGROUP"), 1, "it serves all the same");
}

#[test]
fn a_claim_that_redis_cannot_carry_out_now_follows_another_look_with_the_next_tick() {
    let mut rig = with_handlers(2);
    find(&mut rig, vec![left(1, ENOUGH)]);
    let (sent, _) = claim_back(&mut rig);
    rig.refuse(sent.token, "BUSY");
    assert_eq!((rig.count("XPENDING"), rig.count("XCLAIM")), (0, 0));
    rig.run(2 * SECOND);
    find(&mut rig, vec![left(1, ENOUGH)]);
    assert_eq!(claim_back(&mut rig).1, [id(1)]);
}

#[test]
fn a_look_that_redis_cannot_answer_now_is_made_again_with_the_next_tick() {
    let mut rig = with_handlers(2);
    let look = rig.take_on(Lane::Command, "XPENDING");
    rig.refuse(look.token, "BUSY");
    assert_eq!(rig.count("XPENDING"), 0);
    rig.run(2 * SECOND);
    find(&mut rig, vec![left(1, ENOUGH)]);
    assert_eq!(claim_back(&mut rig).1, [id(1)]);
}

#[test]
fn a_claim_whose_answer_is_lost_is_followed_by_a_look_at_the_own_pending_list() {
    let mut rig = with_handlers(2);
    find(&mut rig, vec![left(1, ENOUGH)]);
    claim_back(&mut rig);
    rig.deliver(vec![]);
    rig.lose(Lane::Command);
    rig.deliver(vec![]);
    assert_eq!(listed(&mut rig, vec![]), StreamId::ZERO);
}

#[test]
fn a_service_without_prefetch_looks_before_it_waits_for_new_entries() {
    let mut arith = service("arith");
    arith.prefetch = false;
    let mut rig = started(arith);
    assert_eq!(rig.count("XREADGROUP"), 0);
    find(&mut rig, vec![left(1, ENOUGH)]);
    let (sent, _) = claim_back(&mut rig);
    assert_eq!(rig.count("XREADGROUP"), 0, "one question at a time");
    rig.reply(sent.token, Reply::Entries(vec![notification(1)]));
    rig.answer("XPENDING", Reply::PendingRange(vec![left(1, 0)]));
    let job = rig.job();
    rig.end(&job);
    find(&mut rig, vec![]);
    rig.run(SECOND / 100);
    assert_eq!(rig.count("XREADGROUP"), 1);
}

#[test]
fn whoever_has_a_fresh_name_looks_for_nothing() {
    let mut config = config();
    config.instance_is_fresh = true;
    let mut rig = started_as(config, service("arith"));
    rig.run(3 * SECOND);
    assert_eq!(rig.count("XPENDING"), 0);
}

/// An earlier process that is gone with its machine may have left a read that Redis still serves.
#[test]
fn a_stop_right_behind_the_start_leaves_the_consumer_unless_the_name_is_fresh() {
    for (age, is_fresh, removes) in [(1, false, false), (2, false, true), (0, true, true)] {
        let mut config = config();
        config.instance_is_fresh = is_fresh;
        let mut rig = started_as(config, service("arith"));
        if !is_fresh {
            find(&mut rig, vec![]);
        }
        rig.run(age * SECOND);
        rig.stop(5 * SECOND);
        rig.unblocked();
        if removes {
            rig.remove_consumer();
        }
        assert_eq!(rig.stopped(), Some(0), "{age} {is_fresh}");
        assert_eq!(rig.count("XPENDING"), 0);
    }
}

#[test]
fn nothing_is_taken_back_after_a_stop_has_begun() {
    let mut rig = with_handlers(2);
    rig.engine.drain(rig.now, SECOND);
    rig.drain();
    let look = rig.take_on(Lane::Command, "XPENDING");
    rig.reply(look.token, Reply::PendingRange(vec![left(1, ENOUGH)]));
    rig.run(SECOND);
    assert_eq!(rig.count("XCLAIM"), 0);
}

#[test]
fn a_group_that_is_made_anew_is_no_start() {
    let (mut rig, sent) = uncounted();
    rig.refuse(sent.token, "NOGROUP");
    rig.answer("XINFO STREAM", Reply::Stream(crate::reply::StreamInfo::new(id(9))));
    let create = rig.take("XGROUP CREATE");
    rig.refuse(create.token, "BUSYGROUP");
    let own =
        |sent: &Sent| matches!(sent.command, Command::XPendingRange { end: StreamId::MAX, .. });
    while let Some(sent) = rig.find("XPENDING") {
        assert!(!own(&sent), "{sent:?}");
    }
}

#[test]
fn what_an_earlier_process_was_given_is_not_looked_for_after_a_lost_read() {
    let mut rig = with_handlers(2);
    rig.lose(Lane::Blocking(0));
    rig.run(SECOND * 9 / 10);
    rig.open_lanes();
    // Redis may say a little more than it was.
    listed(&mut rig, vec![left(1, 1001), left(2, 1000)]);
    rig.answer("XRANGE", Reply::Entries(vec![notification(2)]));
    assert_eq!((rig.job().entry, rig.count("XRANGE")), (id(2), 0));
}
