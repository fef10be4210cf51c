//! Rules 5.2 to 5.7: sending calls and notifications, and how they end without a reply.
//!
//! Not what replies do (`replies`).

use super::*;
use crate::testing::deepest;

#[test]
fn a_request_goes_to_its_service_with_the_peers_fields() {
    let mut rig = rig();
    let id = rig.call();
    let Sent { command, .. } = rig.take("XADD");
    let Command::XAdd { key, create, max_len, fields } = &command else { panic!("{command:?}") };
    assert_eq!((&key[..], *create, *max_len), (&b"app:cmds:arith"[..], true, None));
    let names: Vec<&[u8]> = fields.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, [&b"type"[..], b"envelope", b"reply-to", b"timeout-ms"]);
    assert_eq!(field(&command, "type").unwrap(), "rpc");
    assert_eq!(field(&command, "timeout-ms").unwrap(), "30000");
    assert_eq!(field(&command, "reply-to").unwrap(), format!("app:replies:{NONCE}"));
    assert_eq!(
        field(&command, "envelope").unwrap(),
        format!(
            r#"{{"jsonrpc":"2.0","method":"arith.add","params":[1,2],"id":"{NONCE}-{}"}}"#,
            id.0
        )
    );
}

#[test]
fn a_request_says_which_trace_it_belongs_to_behind_what_peers_know() {
    let mut rig = rig();
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let method = Method::parse("arith.add").unwrap();
    let trace = text.parse().ok();
    rig.engine.call(rig.now, &method, &Json::null(), None, trace);
    rig.engine.notify(rig.now, &method, &Json::null(), trace);
    rig.drain();
    for ahead in [4, 2] {
        let command = rig.confirm();
        assert_eq!(field(&command, "traceparent").as_deref(), Some(text));
        let Command::XAdd { fields, .. } = command else { panic!() };
        assert_eq!(fields.iter().position(|(name, _)| name == "traceparent"), Some(ahead));
    }
    rig.call();
    assert_eq!(field(&rig.confirm(), "traceparent"), None);
}

#[test]
fn a_request_says_for_how_long_its_caller_still_waits_when_it_is_sent() {
    let mut rig = rig_with(|config| config.in_flight_max = 1);
    rig.open_lanes();
    rig.call_within(Some(SECOND));
    rig.call_within(Some(5 * SECOND));
    assert_eq!(field(&rig.confirm(), "timeout-ms").unwrap(), "1000");
    assert_eq!(rig.count("XADD"), 0, "it waits for the place of the first");
    rig.pass(SECOND);
    // The first has expired, and keeps its place for one timeout more.
    rig.now = rig.now + Duration::from_micros(1_000_500);
    rig.input(Input::Tick);
    assert_eq!(field(&rig.confirm(), "timeout-ms").unwrap(), "3000", "rounded up");
}

#[test]
fn what_finds_no_room_on_the_connection_is_not_sent_when_its_time_is_over() {
    let mut rig = rig_with(|config| config.in_flight_max = 10_000);
    rig.open_lanes();
    let calls: Vec<CallId> = (0..4100).map(|_| rig.call_within(Some(SECOND))).collect();
    assert_eq!(rig.count("XADD"), 4096);
    rig.confirm();
    assert_eq!(rig.count("XADD"), 4096, "one more");
    rig.events();
    rig.pass(SECOND);
    let ended = rig.finished();
    assert_eq!(ended.len(), calls.len());
    assert_eq!(ended.last(), Some(&(calls[4099], Err(CallError::NotSent))));
    rig.confirm();
    assert_eq!(rig.count("XADD"), 4095, "its time is over");
}

#[test]
fn neither_a_notification_nor_a_call_that_may_take_for_ever_says_how_long() {
    let mut rig = rig();
    rig.notify();
    assert_eq!(field(&rig.confirm(), "timeout-ms"), None);
    rig.call_within(Some(Duration::MAX));
    assert_eq!(field(&rig.confirm(), "timeout-ms"), None);
}

#[test]
fn a_call_of_a_client_with_an_empty_name_is_refused_as_no_reply_could_reach_it() {
    let mut rig = rig_with(|config| config.instance = String::new());
    rig.open_lanes();
    rig.events();
    let id = rig.call();
    assert_eq!(rig.count("XADD"), 0);
    assert_eq!(rig.finished(), [(id, Err(CallError::Invalid(InvalidCall::Instance)))]);
    rig.notify();
    assert_eq!(rig.count("XADD"), 1, "nobody replies to a notification");
}

#[test]
fn a_call_times_out_from_when_it_was_made() {
    let mut rig = rig();
    let id = rig.call_within(Some(Duration::from_millis(100)));
    rig.pass(Duration::from_millis(99));
    assert!(rig.events().is_empty());
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.finished(), [(id, Err(CallError::Timeout))]);
}

#[test]
fn a_client_idles_no_longer_than_its_first_call_may_take() {
    let mut rig = rig_with(|config| config.withdraw = false);
    rig.open_lanes();
    rig.events();
    rig.call_within(Some(SECOND / 2));
    rig.call_within(Some(SECOND / 4));
    assert_eq!(rig.deadline, Some(Deadline::new(rig.now + SECOND / 4, Timer::Call)));
}

#[test]
fn a_reply_in_the_turn_of_the_timeout_beats_it() {
    let mut rig = rig();
    let id = rig.call_within(Some(SECOND / 2));
    rig.now = rig.now + SECOND / 2;
    rig.replies(vec![(1, success(id, "1"))]);
    rig.input(Input::Tick);
    assert_eq!(rig.finished().len(), 1);
}

#[test]
fn a_cancelled_call_says_nothing_more() {
    let mut rig = rig();
    let id = rig.call();
    rig.confirm();
    rig.engine.cancel(rig.now, id);
    rig.replies(vec![(1, success(id, "1"))]);
    rig.run(Duration::from_secs(100));
    let events = rig.events();
    assert!(!events.iter().any(|event| matches!(event, ClientEvent::Finished(..))), "{events:?}");
}

#[test]
fn a_call_cancelled_in_the_turn_in_which_it_failed_says_nothing_more() {
    let mut rig = rig();
    rig.lose(Lane::Command);
    rig.events();
    let method = Method::parse("arith.add").unwrap();
    let id = rig.engine.call(rig.now, &method, &Json::null(), None, None);
    let note = rig.engine.notify(rig.now, &method, &Json::null(), None);
    rig.engine.cancel(rig.now, id);
    rig.drain();
    let [ClientEvent::Notified(other, _)] = rig.events()[..] else { panic!("one event") };
    assert_eq!(other, note);
}

#[test]
fn a_call_waits_for_a_connection_that_is_being_made() {
    let mut rig = rig_with(|_| {});
    rig.call();
    assert_eq!(rig.count("XADD"), 0);
    rig.open_lanes();
    assert_eq!(rig.count("XADD"), 1);
}

#[test]
fn a_call_fails_at_once_as_not_sent_while_redis_is_out_of_reach() {
    let mut rig = rig_with(|_| {});
    let waiting = rig.call();
    rig.lose(Lane::Command);
    let late = rig.call();
    let outcomes: Vec<_> = rig
        .events()
        .into_iter()
        .filter_map(|event| match event {
            ClientEvent::Finished(id, outcome) => Some((id, outcome)),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, [(waiting, Err(CallError::NotSent)), (late, Err(CallError::NotSent))]);
}

#[test]
fn a_request_that_was_not_confirmed_when_the_lane_ended_has_an_unknown_outcome() {
    let mut rig = rig();
    let (confirmed, unconfirmed) = (rig.call(), rig.call());
    rig.confirm();
    rig.lose(Lane::Command);
    let events = rig.events();
    let failed = |event: &&ClientEvent| matches!(event, ClientEvent::Finished(id, Err(CallError::OutcomeUnknown)) if *id == unconfirmed);
    assert_eq!(events.iter().filter(failed).count(), 1, "{events:?}");
    rig.replies(vec![(1, success(confirmed, "1"))]);
    assert_eq!(rig.finished(), [(confirmed, Ok(Json::encode(&1).unwrap()))]);
}

#[test]
fn a_notification_that_was_not_confirmed_when_the_lane_ended_has_an_unknown_outcome() {
    let mut rig = rig();
    let id = rig.notify();
    rig.lose(Lane::Command);
    let mut events = rig.events();
    events.retain(|event| event.call() == Some(id));
    let [ClientEvent::Notified(_, Err(CallError::OutcomeUnknown))] = events[..] else {
        panic!("{events:?}")
    };
}

#[test]
fn a_request_that_waited_for_its_turn_when_the_lane_ended_was_not_sent() {
    let mut rig = rig();
    let ids = [(); 5000].map(|()| rig.notify());
    let sent = rig.count("XADD");
    assert!(sent < ids.len());
    rig.lose(Lane::Command);
    let mut ended = rig.events();
    ended.retain(|event| matches!(event, ClientEvent::Notified(..)));
    assert_eq!(ended.len(), ids.len());
    for (place, (event, id)) in ended.into_iter().zip(ids).enumerate() {
        let ClientEvent::Notified(of, Err(error)) = event else { panic!("{event:?}") };
        assert_eq!(of, id);
        let wanted = if place < sent { CallError::OutcomeUnknown } else { CallError::NotSent };
        assert_eq!(error, wanted, "{place} of {sent}");
    }
}

#[test]
fn no_request_is_sent_again() {
    let mut rig = rig();
    rig.call();
    rig.lose(Lane::Command);
    rig.run(SECOND);
    rig.open_lanes();
    rig.run(SECOND);
    assert_eq!(rig.count("XADD"), 0);
}

#[test]
fn a_refused_request_says_what_redis_said() {
    let mut rig = rig();
    let id = rig.call();
    let sent = rig.take("XADD");
    rig.refuse(sent.token, "OOM");
    let Some((failed, Err(CallError::Refused(refusal)))) = rig.finished().pop() else { panic!() };
    assert_eq!((failed, refusal.code.as_str()), (id, "OOM"));
}

#[test]
fn a_server_that_has_become_a_replica_is_left() {
    let mut rig = rig();
    rig.call();
    let sent = rig.take("XADD");
    rig.refuse(sent.token, "READONLY");
    assert_eq!(rig.closed, [Lane::Command, Lane::Blocking(0)], "it would go on answering reads");
}

#[test]
fn what_an_unfit_server_refuses_in_one_turn_is_refused_and_no_more_is_sent_to_it() {
    let mut rig = rig();
    let calls = [rig.call(), rig.call(), rig.call()];
    for _ in 0..2 {
        rig.refuse_within_the_turn("XADD", "READONLY");
    }
    let late = rig.call();
    let failed = |event| match event {
        ClientEvent::Finished(id, outcome) => Some((id, outcome.unwrap_err())),
        _ => None,
    };
    let ended: Vec<_> = rig.events().into_iter().filter_map(failed).collect();
    let refused =
        |id| ended.iter().any(|it| matches!(it, (of, CallError::Refused(_)) if *of == id));
    assert!(refused(calls[0]) && refused(calls[1]), "{ended:?}");
    assert!(ended.contains(&(calls[2], CallError::OutcomeUnknown)), "{ended:?}");
    assert!(ended.contains(&(late, CallError::NotSent)), "{ended:?}");
    assert_eq!(rig.closed, [Lane::Command, Lane::Blocking(0)]);
}

#[test]
fn a_server_that_refuses_to_read_and_to_write_in_one_turn_is_left_by_both() {
    for order in [["XREAD", "XADD"], ["XADD", "XREAD"]] {
        let mut rig = rig();
        rig.call();
        for name in order {
            rig.refuse_within_the_turn(name, "LOADING");
        }
        rig.drain();
        assert_eq!(rig.closed, [Lane::Command, Lane::Blocking(0)]);
        assert_eq!(rig.count("XREAD"), 0);
    }
}

#[test]
fn a_notification_has_no_id_and_no_reply_and_ends_when_it_is_on_the_stream() {
    let mut rig = rig();
    let id = rig.notify();
    assert!(rig.events().is_empty());
    let command = rig.confirm();
    assert_eq!(field(&command, "reply-to"), None);
    let envelope = field(&command, "envelope").unwrap();
    assert!(matches!(Envelope::parse(envelope.as_bytes()), Ok(Envelope::Notification(_))));
    assert!(!envelope.contains("\"id\""), "{envelope}");
    let events = rig.events();
    assert!(matches!(events[..], [ClientEvent::Notified(done, Ok(()))] if done == id));
}

#[test]
fn the_deepest_params_that_can_be_made_are_no_poison() {
    let mut rig = rig();
    let method = Method::parse("arith.add").unwrap();
    rig.engine.call(rig.now, &method, &deepest(), None, None);
    rig.engine.notify(rig.now, &method, &deepest(), None);
    rig.drain();
    for _ in 0..2 {
        let envelope = field(&rig.confirm(), "envelope").unwrap();
        assert!(Envelope::parse(envelope.as_bytes()).is_ok(), "{envelope}");
    }
}

#[test]
fn streams_in_this_process_are_not_created_by_a_request() {
    let mut rig = rig_with(|_| {});
    for lane in core::mem::take(&mut rig.opening) {
        let mut hello = Hello::new(Version::new(7, 0, 0));
        hello.embedded = true;
        rig.input(Input::LaneOpen(lane, hello));
    }
    rig.events();
    let id = rig.call();
    let Sent { token, command, .. } = rig.take("XADD");
    assert!(matches!(command, Command::XAdd { create: false, .. }), "{command:?}");
    rig.reply(token, Reply::Added(None));
    assert_eq!(rig.finished(), [(id, Err(CallError::NoWorkers))]);
}

#[test]
fn more_calls_than_allowed_wait_for_a_place() {
    let mut rig = rig_with(|config| config.in_flight_max = 2);
    rig.open_lanes();
    rig.events();
    let ids = [(); 3].map(|()| rig.call());
    assert_eq!(rig.count("XADD"), 2);
    rig.replies(vec![(1, success(ids[0], "1"))]);
    assert_eq!(rig.count("XADD"), 3);
}

#[test]
fn a_call_that_never_got_a_place_was_not_sent() {
    let mut rig = rig_with(|config| config.in_flight_max = 1);
    rig.open_lanes();
    rig.events();
    rig.call_within(Some(60 * SECOND));
    let waiting = rig.call_within(Some(SECOND));
    rig.confirm();
    rig.pass(SECOND);
    assert_eq!(rig.finished(), [(waiting, Err(CallError::NotSent))]);
}

#[test]
fn a_stop_fails_every_call_and_deletes_the_reply_stream() {
    let mut rig = rig();
    let id = rig.call();
    rig.confirm();
    rig.engine.stop(rig.now);
    rig.drain();
    assert_eq!(rig.finished(), [(id, Err(CallError::Stopped))]);
    assert_eq!(rig.engine.stats().in_flight, 0);
    let deleted = rig.answer("DEL", Reply::Integer(1));
    let key = Bytes::from(format!("app:replies:{NONCE}"));
    assert_eq!(deleted, Command::Del { key });
    assert!(matches!(rig.events()[..], [ClientEvent::Stopped]));
    assert_eq!(rig.closed, [Lane::Command, Lane::Blocking(0)]);
    assert_eq!(rig.deadline, None);
    let after = rig.call();
    assert_eq!(rig.finished(), [(after, Err(CallError::Stopped))]);
}

#[test]
fn a_stop_without_redis_ends_at_once() {
    let mut rig = rig_with(|_| {});
    rig.lose(Lane::Command);
    rig.events();
    rig.engine.stop(rig.now);
    rig.engine.stop(rig.now);
    rig.drain();
    assert!(matches!(rig.events()[..], [ClientEvent::Stopped]));
}

#[test]
fn a_stop_ends_within_the_command_timeout_whatever_moves_on_the_lane() {
    let mut rig = rig();
    rig.engine.stop(rig.now);
    rig.drain();
    for _ in 0..4 {
        rig.pass(Duration::from_secs(1));
        for lane in [Lane::Command, Lane::Blocking(0)] {
            rig.input(Input::Progress { lane, bytes: 1 << 20 });
        }
        assert!(rig.events().is_empty());
    }
    rig.pass(Duration::from_secs(1));
    assert!(matches!(rig.events()[..], [ClientEvent::Stopped]));
    assert_eq!(rig.closed, [Lane::Command, Lane::Blocking(0)]);
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let trace = || {
        let mut rig = rig();
        rig.call();
        rig.lose(Lane::Command);
        rig.lose(Lane::Blocking(0));
        rig.run(Duration::from_secs(3));
        format!("{:?} {:?} {:?}", rig.events, rig.deadline, rig.opening)
    };
    assert_eq!(trace(), trace());
}

#[test]
fn a_reply_of_another_command_closes_the_lane() {
    let mut rig = rig();
    let id = rig.call();
    rig.answer("XADD", Reply::Integer(1));
    assert_eq!(rig.closed, [Lane::Command]);
    let events = rig.events();
    let unknown = |event: &ClientEvent| matches!(event, ClientEvent::Finished(of, Err(CallError::OutcomeUnknown)) if *of == id);
    assert!(events.iter().any(unknown), "{events:?}");
}

#[test]
fn a_stopped_client_waits_for_nothing_not_even_for_a_read_that_was_refused() {
    let mut rig = rig();
    let read = rig.take("XREAD");
    rig.refuse(read.token, "OOM");
    assert!(rig.deadline.is_some());
    rig.engine.stop(rig.now);
    rig.drain();
    rig.answer("DEL", Reply::Integer(1));
    assert!(matches!(rig.events().last(), Some(ClientEvent::Stopped)));
    assert_eq!(rig.deadline, None);
}

#[test]
fn the_place_of_a_refused_call_is_taken_at_once() {
    let mut rig = rig_with(|config| config.in_flight_max = 1);
    rig.open_lanes();
    let ids = [rig.call(), rig.call(), rig.call()];
    assert_eq!(rig.count("XADD"), 1);
    let add = rig.take("XADD");
    rig.refuse(add.token, "OOM");
    assert_eq!(rig.count("XADD"), 1, "the second call");
    rig.answer("XADD", Reply::Added(None));
    assert_eq!(rig.count("XADD"), 1, "the third call");
    rig.events.retain(|event| matches!(event, ClientEvent::Finished(..)));
    let ended: Vec<CallId> = rig.finished().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ended, ids[..2]);
}
