//! Rule 5.2: what is taken back of a call that is about to end, or was cancelled, and what is said
//! of it.
//!
//! Not how calls end otherwise (`sending`).

use super::*;
use crate::reply::GroupInfo;

/// How long before its end a call with a timeout of a second is looked at.
const ENDING: Duration = Duration::from_micros(62_500);

fn at(seq: u64) -> StreamId {
    StreamId::new(5, seq)
}

fn group(name: &'static str, last_delivered: StreamId) -> GroupInfo {
    GroupInfo::new(Bytes::from_static(name.as_bytes()), last_delivered)
}

impl Rig<Client> {
    /// A call of a second whose request has become this entry.
    fn queued(&mut self, seq: u64) -> CallId {
        let id = self.call_within(Some(SECOND));
        self.answer("XADD", Reply::Added(Some(at(seq))));
        id
    }

    /// Goes on to where a call of a second is looked at.
    fn pass_to_ending(&mut self) {
        self.pass(SECOND - ENDING);
    }

    /// Tells who was given what: the service's workers up to this entry.
    fn given(&mut self, seq: u64) -> Command {
        self.answer("XINFO GROUPS", Reply::Groups(vec![group("arith", at(seq))]))
    }

    /// Deletes, or says that it was gone. Tells what.
    fn delete(&mut self, there: bool) -> Vec<StreamId> {
        let command = self.answer("XDEL", Reply::Integer(i64::from(there)));
        let Command::XDel { key, ids } = command else { panic!("{command:?}") };
        assert_eq!(key, "app:cmds:arith");
        ids
    }

    /// What ended, whatever became of the lanes.
    fn ended(&mut self) -> Vec<(CallId, Result<Json, CallError>)> {
        self.events.retain(|event| matches!(event, ClientEvent::Finished(..)));
        self.finished()
    }

    fn sends_nothing(&self) -> bool {
        self.count("XINFO") + self.count("XDEL") == 0
    }
}

fn failed(id: CallId, error: CallError) -> Vec<(CallId, Result<Json, CallError>)> {
    vec![(id, Err(error))]
}

#[test]
fn a_request_that_no_worker_was_given_is_deleted_and_its_caller_told_so() {
    let mut rig = rig();
    let id = rig.queued(2);
    assert_eq!(rig.deadline, Some(Deadline::new(rig.now + (SECOND - ENDING), Timer::Call)));
    rig.pass_to_ending();
    assert_eq!(rig.given(1), Command::XInfoGroups { key: Bytes::from_static(b"app:cmds:arith") });
    assert_eq!(rig.count("XINFO GROUPS"), 1, "in one pipeline");
    assert_eq!(rig.delete(true), [at(2)]);
    assert!(rig.events().is_empty(), "it may have been given to somebody just before");
    rig.given(1);
    assert_eq!(rig.finished(), failed(id, CallError::NoWorkers));
    assert_eq!(rig.engine.stats().withdrawn, 1);
    assert!(rig.deadline.is_none_or(|deadline| deadline.timer != Timer::Call));
}

#[test]
fn a_request_that_a_worker_was_given_is_left_alone() {
    let mut rig = rig();
    let id = rig.queued(2);
    rig.pass_to_ending();
    rig.given(2);
    assert!(rig.sends_nothing());
    rig.pass(ENDING);
    assert_eq!(rig.finished(), failed(id, CallError::Timeout));
    assert_eq!(rig.engine.stats().withdrawn, 0);
}

#[test]
fn what_a_worker_is_given_at_the_last_moment_is_not_said_to_have_no_worker() {
    let mut rig = rig();
    let id = rig.queued(2);
    rig.pass_to_ending();
    rig.given(1);
    rig.delete(true);
    rig.given(2);
    assert!(rig.events().is_empty());
    rig.pass(ENDING);
    assert_eq!(rig.finished(), failed(id, CallError::Timeout));
    assert_eq!(rig.engine.stats().withdrawn, 0);
}

#[test]
fn of_what_was_gone_before_it_was_deleted_nothing_is_known() {
    let mut rig = rig();
    let id = rig.queued(2);
    rig.pass_to_ending();
    rig.given(1);
    rig.delete(false);
    rig.given(1);
    rig.pass(ENDING);
    assert_eq!(rig.finished(), failed(id, CallError::Timeout));
}

#[test]
fn a_stream_that_nobody_ever_served_has_no_group() {
    let mut rig = rig();
    let id = rig.queued(2);
    rig.pass_to_ending();
    rig.answer("XINFO GROUPS", Reply::Groups(Vec::new()));
    rig.delete(true);
    rig.answer("XINFO GROUPS", Reply::Groups(Vec::new()));
    assert_eq!(rig.finished(), failed(id, CallError::NoWorkers));
}

#[test]
fn nothing_is_deleted_that_another_group_reads() {
    let mut rig = rig();
    let id = rig.queued(2);
    rig.pass_to_ending();
    let groups = vec![group("arith", at(1)), group("audit", at(1))];
    rig.answer("XINFO GROUPS", Reply::Groups(groups));
    assert!(rig.sends_nothing());
    rig.pass(ENDING);
    assert_eq!(rig.finished(), failed(id, CallError::Timeout));
}

#[test]
fn a_stream_that_is_gone_says_nothing_of_who_was_given_its_requests() {
    let mut rig = rig();
    let id = rig.queued(2);
    rig.pass_to_ending();
    let look = rig.take("XINFO GROUPS");
    rig.refuse_key(look.token);
    assert!(rig.sends_nothing());
    rig.pass(ENDING);
    assert_eq!(rig.finished(), failed(id, CallError::Timeout));
}

#[test]
fn calls_that_end_together_are_looked_at_together_and_each_has_its_own_outcome() {
    let mut rig = rig();
    let ids = [2, 3, 4].map(|seq| rig.queued(seq));
    rig.pass_to_ending();
    assert_eq!(rig.count("XINFO GROUPS"), 1);
    rig.given(2);
    assert_eq!((rig.count("XDEL"), rig.count("XINFO GROUPS")), (2, 1));
    assert_eq!((rig.delete(false), rig.delete(true)), (vec![at(3)], vec![at(4)]));
    rig.given(2);
    assert_eq!(rig.finished(), failed(ids[2], CallError::NoWorkers));
    rig.pass(ENDING);
    let timed_out: Vec<CallId> = rig.finished().into_iter().map(|(id, _)| id).collect();
    assert_eq!(timed_out, ids[..2]);
}

#[test]
fn cancelled_calls_are_withdrawn_at_once_and_together() {
    let mut rig = rig_with(|config| config.in_flight_max = 2);
    rig.open_lanes();
    rig.events();
    let ids = [2, 3].map(|seq| rig.queued(seq));
    rig.call();
    assert_eq!(rig.count("XADD"), 0, "no place is free");
    ids.iter().for_each(|id| rig.engine.cancel(rig.now, *id));
    rig.drain();
    assert_eq!(rig.count("XINFO GROUPS"), 1);
    rig.given(1);
    rig.delete(true);
    rig.delete(true);
    rig.given(1);
    assert!(rig.events().is_empty(), "nobody waits");
    assert_eq!(rig.engine.stats().withdrawn, 2);
    assert_eq!(rig.count("XADD"), 1, "their places are free");
}

#[test]
fn a_call_that_is_cancelled_before_its_request_is_confirmed_is_withdrawn_behind_that() {
    let mut rig = rig();
    let id = rig.call();
    rig.engine.cancel(rig.now, id);
    rig.drain();
    assert!(rig.sends_nothing());
    rig.answer("XADD", Reply::Added(Some(at(2))));
    rig.given(1);
    assert_eq!(rig.delete(true), [at(2)]);
}

#[test]
fn a_request_that_is_confirmed_when_its_call_is_about_to_end_is_looked_at_then() {
    let mut rig = rig();
    let id = rig.call_within(Some(SECOND));
    rig.pass_to_ending();
    assert!(rig.sends_nothing());
    rig.answer("XADD", Reply::Added(Some(at(2))));
    rig.given(1);
    rig.delete(true);
    rig.given(1);
    assert_eq!(rig.finished(), failed(id, CallError::NoWorkers));
}

#[test]
fn a_reply_during_the_withdrawal_ends_the_call() {
    let mut rig = rig();
    let id = rig.queued(2);
    rig.pass_to_ending();
    rig.given(1);
    rig.replies(vec![(1, success(id, "1"))]);
    rig.delete(true);
    rig.given(2);
    assert_eq!(rig.finished(), [(id, Ok(Json::encode(&1).unwrap()))]);
}

#[test]
fn a_withdrawal_that_takes_too_long_frees_the_place_of_a_call_that_timed_out() {
    let mut rig = rig_with(|config| config.in_flight_max = 1);
    rig.open_lanes();
    rig.events();
    let id = rig.queued(2);
    rig.call_within(Some(60 * SECOND));
    rig.pass_to_ending();
    rig.given(1);
    rig.pass(ENDING);
    assert_eq!(rig.finished(), failed(id, CallError::Timeout));
    assert_eq!(rig.count("XADD"), 0);
    rig.delete(true);
    rig.given(1);
    assert!(rig.events().is_empty());
    assert_eq!(rig.count("XADD"), 1);
}

#[test]
fn no_request_is_withdrawn_whose_entry_another_connection_told() {
    let mut rig = rig();
    let id = rig.queued(2);
    rig.lose(Lane::Command);
    rig.run(SECOND / 2);
    rig.open_lanes();
    rig.events();
    rig.run(SECOND / 2);
    assert_eq!(rig.finished(), failed(id, CallError::Timeout));
    assert!(rig.sends_nothing());
}

#[test]
fn a_withdrawal_ends_with_its_connection() {
    let mut rig = rig();
    let id = rig.queued(2);
    rig.pass_to_ending();
    rig.given(1);
    rig.delete(true);
    rig.lose(Lane::Command);
    rig.events();
    rig.pass(ENDING);
    assert_eq!(rig.finished(), failed(id, CallError::Timeout));
}

#[test]
fn whoever_may_not_look_or_delete_tries_it_once_a_connection() {
    for deletes in [false, true] {
        let mut rig = rig();
        for tries in [1, 0] {
            rig.queued(2);
            rig.pass_to_ending();
            assert_eq!(rig.count("XINFO GROUPS"), tries);
            if deletes && tries == 1 {
                rig.given(1);
            }
            let refused = rig.find(if deletes { "XDEL" } else { "XINFO GROUPS" });
            refused.into_iter().for_each(|sent| rig.refuse(sent.token, "NOPERM"));
            if deletes && tries == 1 {
                rig.given(1);
            }
            rig.pass(ENDING);
            assert!(matches!(rig.ended()[..], [(_, Err(CallError::Timeout))]));
        }
        rig.lose(Lane::Command);
        rig.run(SECOND / 2);
        rig.open_lanes();
        rig.queued(2);
        rig.pass_to_ending();
        assert_eq!(rig.count("XINFO GROUPS"), 1);
    }
}

#[test]
fn a_right_that_was_taken_away_later_is_noticed() {
    let mut rig = rig();
    rig.queued(2);
    rig.pass_to_ending();
    rig.given(1);
    rig.delete(true);
    rig.given(1);
    rig.queued(3);
    rig.pass_to_ending();
    let look = rig.take("XINFO GROUPS");
    rig.refuse(look.token, "NOPERM");
    rig.pass(ENDING);
    rig.queued(4);
    rig.pass_to_ending();
    assert!(rig.sends_nothing());
}

#[test]
fn what_is_looked_at_when_the_right_turns_out_to_be_missing_is_not_deleted() {
    let mut rig = rig();
    rig.queued(2);
    rig.pass(SECOND / 10);
    rig.queued(3);
    rig.pass(SECOND * 9 / 10 - ENDING);
    rig.pass(SECOND / 10);
    assert_eq!(rig.count("XINFO GROUPS"), 2);
    rig.given(1);
    let delete = rig.take("XDEL");
    rig.refuse(delete.token, "NOPERM");
    rig.given(1);
    assert_eq!(rig.count("XDEL"), 0);
}

#[test]
fn calls_that_end_one_after_the_other_are_looked_at_apart() {
    let mut rig = rig();
    let first = rig.queued(2);
    rig.pass(SECOND / 100);
    let second = rig.queued(3);
    rig.pass(SECOND - ENDING - SECOND / 100);
    rig.pass(SECOND / 100);
    assert_eq!(rig.count("XINFO GROUPS"), 2);
    rig.given(1);
    rig.given(1);
    assert_eq!((rig.delete(true), rig.delete(true)), (vec![at(2)], vec![at(3)]));
    rig.given(1);
    rig.given(1);
    let both = [first, second].map(|id| (id, Err(CallError::NoWorkers)));
    assert_eq!(rig.finished(), both);
}

#[test]
fn a_call_that_is_cancelled_while_it_is_looked_at_is_not_looked_at_twice() {
    let mut rig = rig();
    let id = rig.queued(2);
    rig.pass_to_ending();
    rig.engine.cancel(rig.now, id);
    rig.drain();
    assert_eq!(rig.count("XINFO GROUPS"), 1);
    rig.given(1);
    assert_eq!(rig.delete(true), [at(2)]);
    rig.given(1);
    assert!(rig.sends_nothing());
    assert_eq!(rig.engine.stats().withdrawn, 1);
}

#[test]
fn a_refusal_that_heals_is_the_end_of_one_withdrawal_only() {
    let mut rig = rig();
    for _ in 0..2 {
        let id = rig.queued(2);
        rig.pass_to_ending();
        let look = rig.take("XINFO GROUPS");
        rig.refuse(look.token, "BUSY");
        assert!(rig.sends_nothing());
        rig.pass(ENDING);
        assert_eq!(rig.ended(), failed(id, CallError::Timeout));
    }
}

#[test]
fn nothing_is_withdrawn_on_a_redis_before_7_or_against_the_clients_will() {
    for (version, withdraw) in [(Version::new(6, 2, 14), true), (Version::new(7, 0, 0), false)] {
        let mut rig = rig_with(|config| config.withdraw = withdraw);
        for lane in core::mem::take(&mut rig.opening) {
            rig.input(Input::LaneOpen(lane, Hello::new(version)));
        }
        rig.events();
        let id = rig.queued(2);
        rig.pass_to_ending();
        assert!(rig.sends_nothing());
        rig.pass(ENDING);
        assert_eq!(rig.finished(), failed(id, CallError::Timeout));
        let cancelled = rig.queued(3);
        rig.engine.cancel(rig.now, cancelled);
        rig.drain();
        assert!(rig.sends_nothing());
    }
}

#[test]
fn a_notification_is_never_withdrawn() {
    let mut rig = rig();
    let id = rig.notify();
    rig.engine.cancel(rig.now, id);
    rig.confirm();
    rig.run(100 * SECOND);
    assert!(rig.sends_nothing());
}

#[test]
fn what_has_not_left_or_is_not_confirmed_is_not_looked_at() {
    let mut rig = rig_with(|config| config.in_flight_max = 1);
    rig.open_lanes();
    rig.events();
    rig.call_within(Some(SECOND));
    rig.call_within(Some(SECOND));
    rig.pass_to_ending();
    assert!(rig.sends_nothing());
}

#[test]
fn a_call_without_an_end_is_never_withdrawn_unless_it_is_cancelled() {
    let mut rig = rig();
    rig.run(SECOND);
    let id = rig.call_within(Some(Duration::MAX));
    rig.answer("XADD", Reply::Added(Some(at(2))));
    assert!(rig.sends_nothing());
    rig.run(3600 * SECOND);
    assert!(rig.ended().is_empty() && rig.sends_nothing());
    rig.engine.cancel(rig.now, id);
    rig.drain();
    assert_eq!(rig.count("XINFO GROUPS"), 1);
}

#[test]
fn a_call_with_a_long_timeout_is_looked_at_a_tenth_of_a_second_before_its_end() {
    let mut rig = rig();
    rig.call_within(Some(60 * SECOND));
    rig.answer("XADD", Reply::Added(Some(at(2))));
    let looks_at = rig.now + (60 * SECOND - SECOND / 10);
    rig.pass(59 * SECOND);
    assert!(rig.sends_nothing());
    rig.now = looks_at;
    rig.input(Input::Tick);
    assert_eq!(rig.count("XINFO GROUPS"), 1);
}

#[test]
fn nothing_is_withdrawn_where_a_group_was_set_back_or_is_gone() {
    for told in [vec![group("arith", at(4))], vec![]] {
        let mut rig = rig();
        rig.queued(9);
        rig.pass_to_ending();
        rig.given(9);
        rig.pass(SECOND);
        rig.events();
        // It was given up to the ninth before, and now to the fourth.
        rig.queued(8);
        rig.pass_to_ending();
        rig.answer("XINFO GROUPS", Reply::Groups(told));
        assert_eq!(rig.count("XDEL"), 0);
    }
}

#[test]
fn a_stopped_client_withdraws_nothing() {
    let mut rig = rig();
    rig.queued(2);
    rig.engine.stop(rig.now);
    rig.drain();
    rig.pass_to_ending();
    assert!(rig.sends_nothing());
}

#[test]
fn a_reply_of_another_command_ends_the_withdrawal_and_the_lane() {
    for integer in [false, true] {
        let mut rig = rig();
        let id = rig.queued(2);
        rig.pass_to_ending();
        if integer {
            rig.answer("XINFO GROUPS", Reply::Integer(1));
        } else {
            rig.given(1);
            rig.answer("XDEL", Reply::Groups(Vec::new()));
        }
        assert_eq!(rig.closed, [Lane::Command]);
        rig.events();
        rig.pass(ENDING);
        assert_eq!(rig.finished(), failed(id, CallError::Timeout));
    }
}
