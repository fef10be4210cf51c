//! Rule 4.4: what is held is renewed, and given up when it is lost.
//!
//! Not the taking over (`reclaim`).

use super::group::created_anew;
use super::intake::pending;
use super::look_back::{fetched, listed};
use super::missing::given_out;
use super::*;
use crate::command::ClaimAs;
use crate::engine::Lane;
use crate::reply::PendingEntry;

/// A third of the default `claim_idle`.
pub(super) const PERIOD: Duration = Duration::from_secs(20);

/// A server whose handler runs for entry 1, with entry 2 behind it.
fn busy() -> (Rig<Server>, Job) {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.deliver(vec![request(2)]);
    rig.no_job();
    (rig, job)
}

/// The renewal that is under way: which entries, and how long idle they must be.
fn renewal(rig: &mut Rig<Server>) -> (Sent, Vec<StreamId>, Duration) {
    let sent = rig.take("XCLAIM");
    let Command::XClaim { ids, idle_min, consumer, claim_as: ClaimAs::Renewed, .. } = &sent.command
    else {
        panic!("{sent:?}")
    };
    assert_eq!(&consumer[..], b"arith:w1");
    let (ids, idle_min) = (ids.clone(), *idle_min);
    (sent, ids, idle_min)
}

/// Renews all that is asked for.
pub(super) fn renew(rig: &mut Rig<Server>) -> Vec<StreamId> {
    let (sent, ids, _) = renewal(rig);
    rig.reply(sent.token, Reply::Ids(ids.clone()));
    ids
}

/// Loses the lease of the first entry that is asked for; all others are renewed.
fn lose_first(rig: &mut Rig<Server>) -> StreamId {
    let (sent, ids, _) = renewal(rig);
    rig.reply(sent.token, Reply::Ids(ids[1..].to_vec()));
    let look = rig.take("XPENDING");
    assert!(matches!(look.command, Command::XPendingRange { start, .. } if start == ids[0]));
    rig.reply(look.token, Reply::PendingRange(vec![]));
    give_away(rig, ids[0]);
    ids[0]
}

/// Entry 1 comes again while its handler runs, whose lease is lost.
pub(super) fn come_again(rig: &mut Rig<Server>) -> Job {
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.run(PERIOD + SECOND);
    lose_first(rig);
    rig.lose(Lane::Blocking(0));
    rig.run(SECOND);
    rig.open_lanes();
    listed(rig, vec![pending(1, 2)]);
    fetched(rig, request(1));
    rig.no_job();
    job
}

/// Tells of an entry that was not found that it was given out and is in the stream.
fn give_away(rig: &mut Rig<Server>, id: StreamId) {
    given_out(rig, id);
    // Of one whose lease had run out nothing more is asked.
    if rig.count("XRANGE") > 0 {
        rig.answer("XRANGE", Reply::Entries(vec![request(id.ms)]));
    }
}

#[test]
fn what_runs_and_what_waits_is_renewed_three_times_in_claim_idle() {
    let (mut rig, _) = busy();
    for round in 0..6 {
        rig.run(PERIOD - 2 * SECOND);
        assert_eq!(rig.count("XCLAIM"), 0, "round {round}");
        rig.run(2 * SECOND);
        let (sent, ids, idle_min) = renewal(&mut rig);
        assert_eq!(ids, [id(1), id(2)]);
        assert!(idle_min >= PERIOD - 3 * SECOND && idle_min <= PERIOD + 2 * SECOND, "{idle_min:?}");
        rig.reply(sent.token, Reply::Ids(ids));
    }
}

#[test]
fn nothing_is_renewed_when_nothing_is_held() {
    let (mut rig, job) = busy();
    rig.end(&job);
    let next = rig.job();
    rig.answer("XADD", added());
    rig.end(&next);
    rig.answer("XADD", added());
    assert_eq!(rig.acknowledged(), [id(1)]);
    assert_eq!(rig.acknowledged(), [id(2)]);
    rig.run(3 * PERIOD);
    assert_eq!(rig.count("XCLAIM"), 0);
}

#[test]
fn what_a_handler_says_whose_lease_is_lost_is_not_heard() {
    let (mut rig, job) = busy();
    rig.run(PERIOD + SECOND);
    assert_eq!(lose_first(&mut rig), id(1));
    let events = rig.events();
    assert!(
        events.iter().any(|event| matches!(event, ServerEvent::LeaseLost(it) if *it == job.id))
    );
    assert_eq!(rig.engine.stats().leases_lost, 1);
    rig.end(&job);
    assert_eq!((rig.count("XADD"), rig.count("XACK")), (0, 0));
    assert_eq!(rig.job().entry, id(2), "the next one goes on");
}

#[test]
fn what_waits_and_is_lost_is_not_started() {
    let (mut rig, job) = busy();
    rig.run(PERIOD + SECOND);
    let (sent, ids, _) = renewal(&mut rig);
    rig.reply(sent.token, Reply::Ids(vec![ids[0]]));
    rig.answer("XPENDING", Reply::PendingRange(vec![]));
    give_away(&mut rig, id(2));
    rig.end(&job);
    rig.no_job();
}

/// The renewal that is under way leaves out entry 1, which is pending and idle for so long.
fn leave_out_first(rig: &mut Rig<Server>, idle_ms: u64) {
    let (sent, ids, _) = renewal(rig);
    rig.reply(sent.token, Reply::Ids(ids[1..].to_vec()));
    let row = PendingEntry { idle_ms, ..pending(1, 1) };
    rig.answer("XPENDING", Reply::PendingRange(vec![row]));
}

#[test]
fn an_entry_that_was_left_out_and_is_still_ours_is_kept() {
    let (mut rig, job) = busy();
    rig.run(PERIOD + SECOND);
    // Redis's clock was set back.
    leave_out_first(&mut rig, 0);
    assert_eq!(rig.count("XCLAIM"), 0);
    rig.run(PERIOD - SECOND);
    let (sent, ids, idle_min) = renewal(&mut rig);
    assert_eq!((ids.clone(), idle_min), (vec![id(1), id(2)], PERIOD - SECOND));
    rig.reply(sent.token, Reply::Ids(ids));
    rig.end(&job);
    assert_eq!(rig.count("XADD"), 1);
}

#[test]
fn an_entry_that_has_long_been_idle_is_renewed_with_the_idle_time_that_redis_tells() {
    let (mut rig, job) = busy();
    for _ in 0..3 {
        rig.run(PERIOD);
        renew(&mut rig);
    }
    rig.run(PERIOD);
    // Redis's clock was set forward.
    leave_out_first(&mut rig, 61_000);
    let (sent, ids, idle_min) = renewal(&mut rig);
    assert_eq!((ids.clone(), idle_min), (vec![id(1)], 61 * SECOND));
    rig.end(&job);
    assert_eq!(rig.count("XADD"), 0);
    rig.reply(sent.token, Reply::Ids(ids));
    assert_eq!(rig.count("XADD"), 1);
}

#[test]
fn what_arrives_when_others_may_have_it_is_looked_at_before_it_is_claimed() {
    let mut rig = rig();
    rig.habit = quiet;
    let read = rig.take("XREADGROUP");
    // The process did nothing for a long time; the answer waited in its socket.
    rig.now = rig.now + 4 * PERIOD;
    rig.reply(read.token, Reply::Entries(vec![notification(1), notification(2), notification(3)]));
    rig.no_job();
    assert_eq!(rig.count("XCLAIM"), 0, "it would be taken back from whoever has it");
    let row = |number, idle_ms| PendingEntry { idle_ms, ..pending(number, 1) };
    rig.answer("XPENDING", Reply::PendingRange(vec![row(1, 7), row(3, 79_000)]));
    assert_eq!(rig.job().entry, id(1));
    let (sent, ids, idle_min) = renewal(&mut rig);
    assert_eq!((ids, idle_min), (vec![id(3)], 79 * SECOND));
    rig.reply(sent.token, Reply::Ids(vec![id(3)]));
    give_away(&mut rig, id(50));
    assert_eq!(rig.engine.stats().leases_lost, 1);
}

#[test]
fn after_a_lease_has_run_out_it_is_renewed_before_its_reply_is_sent() {
    let (mut rig, job) = busy();
    // The process did nothing for a long time.
    rig.now = rig.now + 4 * PERIOD;
    rig.end(&job);
    assert_eq!(rig.count("XADD"), 0);
    assert_eq!(renew(&mut rig), [id(1), id(2)]);
    assert_eq!(rig.count("XADD"), 1);
    assert_eq!(rig.job().entry, id(2));
}

#[test]
fn a_reply_whose_lease_was_lost_meanwhile_is_not_sent() {
    let (mut rig, job) = busy();
    rig.now = rig.now + 4 * PERIOD;
    rig.end(&job);
    assert_eq!(lose_first(&mut rig), id(1));
    assert_eq!((rig.count("XADD"), rig.count("XACK")), (0, 0));
}

#[test]
fn an_entry_that_comes_again_while_its_lost_handler_runs_starts_behind_it() {
    let mut rig = rig_with_handlers(4);
    let job = come_again(&mut rig);
    rig.end(&job);
    rig.answer("XPENDING", Reply::PendingRange(vec![pending(1, 3)]));
    let again = rig.job();
    assert_eq!((again.entry, again.deliveries), (id(1), 3));
}

#[test]
fn whoever_may_not_renew_serves_on_and_says_so_once() {
    let (mut rig, job) = busy();
    rig.run(PERIOD + SECOND);
    let (sent, _, _) = renewal(&mut rig);
    rig.refuse(sent.token, "NOPERM");
    let refused =
        |event: &ServerEvent| matches!(event, ServerEvent::Notice(Notice::RenewalRefused { .. }));
    assert_eq!(rig.events().iter().filter(|event| refused(event)).count(), 1);
    for _ in 0..4 {
        rig.run(PERIOD);
        let (sent, _, _) = renewal(&mut rig);
        rig.refuse(sent.token, "NOPERM");
    }
    assert_eq!(rig.events().iter().filter(|event| refused(event)).count(), 0);
    rig.end(&job);
    assert_eq!(rig.count("XADD"), 1);
}

#[test]
fn where_a_peer_is_less_patient_renewal_goes_by_it() {
    let mut config = config();
    config.peer_claim_idle = Some(3 * SECOND);
    let mut rig = serving(config, service("arith"));
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    rig.job();
    rig.run(SECOND + SECOND / 10);
    assert_eq!(renew(&mut rig), [id(1)]);
}

#[test]
fn a_renewal_that_got_lost_is_made_again_on_the_next_lane() {
    let (mut rig, _) = busy();
    rig.run(PERIOD + SECOND);
    renewal(&mut rig);
    rig.lose(Lane::Command);
    rig.run(2 * SECOND);
    rig.open_lanes();
    assert_eq!(renew(&mut rig), [id(1), id(2)]);
}

#[test]
fn whoever_may_not_look_at_what_is_pending_serves_on() {
    let mut rig = rig();
    rig.habit = quiet;
    let read = rig.take("XREADGROUP");
    rig.now = rig.now + 4 * PERIOD;
    rig.reply(read.token, Reply::Entries(vec![request(1)]));
    rig.no_job();
    let look = rig.take("XPENDING");
    rig.refuse(look.token, "NOPERM");
    assert_eq!(rig.job().entry, id(1));
}

#[test]
fn what_came_late_is_renewed_in_time_all_the_same() {
    let mut rig = rig();
    rig.habit = quiet;
    let read = rig.take("XREADGROUP");
    // Redis may have given it out at once.
    rig.now = rig.now + PERIOD + SECOND;
    rig.reply(read.token, Reply::Entries(vec![request(1)]));
    rig.job();
    assert_eq!(renew(&mut rig), [id(1)]);
}

#[test]
fn what_was_on_its_way_for_half_of_claim_idle_is_looked_at_first() {
    let mut rig = rig();
    rig.habit = quiet;
    let read = rig.take("XREADGROUP");
    rig.now = rig.now + 2 * PERIOD;
    rig.reply(read.token, Reply::Entries(vec![request(1)]));
    rig.job();
    assert_eq!(rig.count("XCLAIM"), 0);
    let row = PendingEntry { idle_ms: 40_000, ..pending(1, 1) };
    rig.answer("XPENDING", Reply::PendingRange(vec![row]));
}

#[test]
fn what_a_look_told_of_long_ago_is_looked_at_again_before_it_is_renewed() {
    let mut rig = rig();
    rig.habit = quiet;
    let read = rig.take("XREADGROUP");
    rig.now = rig.now + 2 * PERIOD;
    rig.reply(read.token, Reply::Entries(vec![request(1)]));
    rig.job();
    let look = rig.take("XPENDING");
    // It was this server's when Redis was asked, and may be somebody else's by now.
    rig.now = rig.now + 2 * PERIOD;
    let row = PendingEntry { idle_ms: 5, ..pending(1, 1) };
    rig.reply(look.token, Reply::PendingRange(vec![row]));
    assert_eq!((rig.count("XCLAIM"), rig.count("XPENDING")), (0, 1));
}

#[test]
fn a_reply_that_was_under_way_when_its_lease_was_lost_is_not_sent_again() {
    let (mut rig, job) = busy();
    rig.run(PERIOD + SECOND);
    let (sent, ids, _) = renewal(&mut rig);
    rig.reply(sent.token, Reply::Ids(ids[1..].to_vec()));
    rig.end(&job);
    let reply = rig.take("XADD");
    rig.answer("XPENDING", Reply::PendingRange(vec![]));
    give_away(&mut rig, id(1));
    rig.refuse(reply.token, "OOM");
    rig.run(3 * SECOND);
    assert_eq!((rig.count("XADD"), rig.count("XACK")), (0, 0));
}

#[test]
fn nothing_is_started_behind_a_lost_handler_at_a_stop() {
    let mut rig = rig_with_handlers(4);
    let job = come_again(&mut rig);
    rig.deliver(vec![]);
    rig.engine.drain(rig.now, SECOND);
    rig.drain();
    rig.end(&job);
    rig.answer("XPENDING", Reply::PendingRange(vec![pending(1, 3)]));
    rig.no_job();
    rig.run(Duration::from_millis(1));
    assert_eq!(rig.count("XCLAIM"), 1, "it is handed back");
}

#[test]
fn a_renewal_or_a_look_that_redis_refuses_for_a_while_is_tried_again() {
    let (mut rig, _) = busy();
    rig.run(PERIOD + SECOND);
    let (sent, ids, _) = renewal(&mut rig);
    rig.refuse(sent.token, "BUSY");
    rig.run(2 * SECOND);
    let (sent, again, _) = renewal(&mut rig);
    assert_eq!(ids, again);
    rig.reply(sent.token, Reply::Ids(vec![]));
    let look = rig.take("XPENDING");
    rig.refuse(look.token, "BUSY");
    rig.run(2 * SECOND);
    assert_eq!(renew(&mut rig), ids);
    assert_eq!(rig.engine.stats().renewals_refused, 0);
    assert!(rig.notices().is_empty());
}

#[test]
fn a_notification_that_ends_after_its_lease_has_run_out_is_acknowledged_once_it_is_renewed() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![notification(1)]);
    let job = rig.job();
    // The process did nothing for a long time.
    rig.now = rig.now + 4 * PERIOD;
    rig.end(&job);
    assert_eq!(rig.count("XACK"), 0);
    assert_eq!(renew(&mut rig), [id(1)]);
    assert_eq!(rig.acknowledged(), [id(1)]);
}

#[test]
fn a_server_that_stops_too_renews_what_has_run_out_before_its_reply_is_sent() {
    let (mut rig, job) = busy();
    rig.engine.drain(rig.now, 10 * PERIOD);
    rig.drain();
    // The process did nothing for a long time.
    rig.now = rig.now + 4 * PERIOD;
    rig.end(&job);
    assert_eq!(rig.count("XADD"), 0);
}

#[test]
fn what_is_behind_the_last_row_of_a_full_answer_is_looked_at_again() {
    let mut rig = rig();
    rig.habit = quiet;
    let read = rig.take("XREADGROUP");
    rig.now = rig.now + 4 * PERIOD;
    rig.reply(read.token, Reply::Entries(vec![notification(1), notification(2000)]));
    let rows = (1..=1000).map(|number| PendingEntry { idle_ms: 7, ..pending(number, 1) });
    rig.answer("XPENDING", Reply::PendingRange(rows.collect()));
    assert_eq!(rig.count("XINFO GROUPS"), 0, "it is not missing");
    assert_eq!(rig.job().entry, id(1));
    rig.run(SECOND / 100);
    let look = rig.take("XPENDING");
    assert!(matches!(look.command, Command::XPendingRange { start, .. } if start == id(2000)));
}

#[test]
fn an_entry_that_came_again_is_not_started_once_its_stream_is_another_one() {
    let mut rig = rig_with_handlers(4);
    let job = come_again(&mut rig);
    rig.habit = |_| None;
    let read = rig.take("XREADGROUP");
    rig.refuse(read.token, "NOGROUP");
    created_anew(&mut rig);
    rig.mark(StreamId::ZERO, None);
    rig.end(&job);
    rig.no_job();
    assert_eq!((rig.count("XPENDING"), rig.engine.stats().held), (0, 0));
}

#[test]
fn what_is_answered_is_acknowledged_although_its_lease_has_run_out() {
    let (mut rig, job) = busy();
    rig.end(&job);
    let reply = rig.take("XADD");
    // Redis was slow to say that it is written.
    rig.now = rig.now + 4 * PERIOD;
    rig.reply(reply.token, added());
    assert_eq!(rig.acknowledged(), [id(1)]);
}
