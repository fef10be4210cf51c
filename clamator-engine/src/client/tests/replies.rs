//! Rule 5.1: reading the reply stream, and what a reply ends.
//!
//! Not how calls are sent (`sending`).

use super::*;

#[test]
fn a_reply_ends_the_call_it_names_and_no_other() {
    let mut rig = rig();
    let (first, second) = (rig.call(), rig.call());
    rig.confirm();
    rig.confirm();
    rig.replies(vec![(1, success(second, "[1.0, 2e3]"))]);
    let finished = rig.finished();
    assert_eq!(finished.len(), 1);
    assert_eq!(finished[0].0, second);
    assert_eq!(finished[0].1.as_ref().unwrap().as_str(), "[1.0, 2e3]");
    rig.replies(vec![(2, success(first, "null"))]);
    assert_eq!(rig.finished(), [(first, Ok(Json::null()))]);
}

#[test]
fn an_id_that_is_almost_a_calls_ends_nothing() {
    let mut rig = rig();
    let id = rig.call();
    rig.confirm();
    for almost in ["01", "+1", "1 ", ""] {
        let reply = format!(r#"{{"jsonrpc":"2.0","id":"{NONCE}-{almost}","result":1}}"#);
        rig.replies(vec![(1, reply)]);
        assert!(rig.finished().is_empty(), "{almost:?}");
    }
    rig.replies(vec![(2, success(id, "1"))]);
    assert_eq!(rig.finished().len(), 1);
}

#[test]
fn a_reply_may_come_before_its_request_is_confirmed() {
    let mut rig = rig();
    let id = rig.call();
    rig.replies(vec![(1, success(id, "1"))]);
    assert_eq!(rig.finished().len(), 1);
    rig.confirm();
    assert!(rig.events().is_empty());
}

#[test]
fn unknown_late_and_duplicate_replies_are_counted_and_dropped() {
    let mut rig = rig();
    let id = rig.call();
    rig.confirm();
    let foreign = r#"{"jsonrpc":"2.0","id":"other-1","result":2}"#.to_string();
    let nobody = r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}"#.to_string();
    let reply = success(id, "1");
    rig.replies(vec![(1, foreign), (2, nobody), (3, reply.clone()), (4, reply)]);
    assert_eq!(rig.finished(), [(id, Ok(Json::encode(&1).unwrap()))]);
    assert_eq!(rig.engine.stats().replies_unmatched, 3);
    let late = rig.call_within(Some(SECOND / 10));
    rig.confirm();
    rig.pass(SECOND / 10);
    assert_eq!(rig.finished(), [(late, Err(CallError::Timeout))]);
    rig.replies(vec![(5, success(late, "1"))]);
    assert!(rig.finished().is_empty());
    assert_eq!(rig.engine.stats().replies_unmatched, 4);
}

#[test]
fn an_error_reply_is_the_servers_own_error() {
    let mut rig = rig();
    let id = rig.call();
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":"{NONCE}-{}","error":{{"code":-32000,"message":"no","data":[1]}}}}"#,
        id.0
    );
    rig.replies(vec![(1, text)]);
    let Some((_, Err(CallError::Rpc(error)))) = rig.finished().pop() else { panic!() };
    assert_eq!((error.code, error.message.as_str()), (-32000, "no"));
    assert_eq!(error.data.unwrap().as_str(), "[1]");
}

#[test]
fn a_senseless_reply_under_a_calls_id_is_a_protocol_error() {
    let mut rig = rig();
    let (one, two) = (rig.call(), rig.call());
    let both = format!(r#"{{"jsonrpc":"2.0","id":"{NONCE}-{}","result":1,"error":null}}"#, one.0);
    let request = format!(r#"{{"jsonrpc":"2.0","id":"{NONCE}-{}","method":"a.b"}}"#, two.0);
    rig.replies(vec![(1, both), (2, request)]);
    let texts: Vec<String> =
        rig.finished().into_iter().map(|(_, outcome)| outcome.unwrap_err().to_string()).collect();
    assert!(texts[0].starts_with("invalid response envelope: "), "{texts:?}");
    assert_eq!(texts[1], "unexpected response kind: request");
}

#[test]
fn an_entry_that_is_no_response_is_dropped_and_the_next_one_read() {
    let mut rig = rig();
    let id = rig.call();
    let bare = Entry::new(StreamId::new(1, 0), Some(vec![]));
    let bytes = vec![(Bytes::from_static(b"envelope"), Bytes::from_static(b"\xff{"))];
    let garbage = Entry::new(StreamId::new(2, 0), Some(bytes));
    let reply = entry(3, &success(id, "1"));
    rig.answer("XREAD", Reply::Entries(vec![bare, garbage, reply]));
    let events = rig.events();
    assert!(matches!(events[0], ClientEvent::Unparsable { fault: None, .. }), "{events:?}");
    assert!(matches!(events[1], ClientEvent::Unparsable { fault: Some(_), .. }), "{events:?}");
    assert!(matches!(events[2], ClientEvent::Finished(_, Ok(_))), "{events:?}");
    assert_eq!(rig.engine.stats().replies_unparsable, 2);
}

#[test]
fn reading_goes_on_behind_the_last_reply() {
    let mut rig = rig();
    let read = rig.replies(vec![(5, "x".into()), (7, "y".into())]);
    assert!(matches!(read, Command::XRead { after: StreamId::ZERO, .. }), "{read:?}");
    let Sent { command: Command::XRead { after, block, .. }, .. } = rig.take("XREAD") else {
        panic!()
    };
    assert_eq!((after, block), (StreamId::new(7, 0), Some(SECOND)));
}

#[test]
fn a_new_reply_lane_reads_from_the_start() {
    let mut rig = rig();
    rig.replies(vec![(5, "x".into())]);
    rig.lose(Lane::Blocking(0));
    rig.run(SECOND);
    rig.open_lanes();
    let Sent { command, .. } = rig.take("XREAD");
    assert!(matches!(command, Command::XRead { after: StreamId::ZERO, .. }), "{command:?}");
}

#[test]
fn a_reply_lane_that_is_opened_again_after_a_refusal_reads_at_once_and_as_much() {
    let mut rig = rig();
    let count = |command: &Command| match command {
        Command::XRead { count, .. } => *count,
        other => panic!("{other:?}"),
    };
    let refused = rig.take("XREAD");
    rig.refuse(refused.token, "LOADING");
    assert!(rig.find("XREAD").is_none());
    rig.run(SECOND / 5);
    rig.open_lanes();
    assert_eq!(count(&rig.take("XREAD").command), count(&refused.command));
}

#[test]
fn a_new_command_lane_leaves_the_reading_where_it_is() {
    let mut rig = rig();
    rig.replies(vec![(5, "x".into())]);
    rig.lose(Lane::Command);
    rig.reads_run_out = false;
    rig.run(SECOND);
    rig.open_lanes();
    rig.replies(vec![]);
    let Sent { command, .. } = rig.take("XREAD");
    let Command::XRead { after, .. } = command else { panic!("{command:?}") };
    assert_eq!(after, StreamId::new(5, 0));
}

#[test]
fn a_client_that_hears_nothing_reads_from_the_start_ever_less_often() {
    let mut rig = rig();
    rig.replies(vec![(5, "x".into())]);
    rig.call();
    rig.confirm();
    let mut starts = Vec::new();
    while rig.now < Instant::ZERO + Duration::from_secs(20) {
        rig.run(SECOND - Duration::from_millis(1));
        if rig.count("XREAD") == 0 {
            rig.run(SECOND / 5);
            rig.open_lanes();
        }
        let Some(Sent { token, command: Command::XRead { after, .. }, .. }) = rig.find("XREAD")
        else {
            panic!("no read at {}", rig.now)
        };
        starts.push((rig.now, after));
        let entries = if after == StreamId::ZERO { vec![entry(5, "x")] } else { vec![] };
        rig.reply(token, Reply::Entries(entries));
    }
    let from_start: Vec<Instant> =
        starts.iter().filter(|(_, after)| *after == StreamId::ZERO).map(|(at, _)| *at).collect();
    let apart = [from_start[0].since(Instant::ZERO), from_start[1].since(from_start[0])];
    for (number, apart) in (1..).zip(apart) {
        let due = SILENCE_MAX * number;
        assert!(apart + SECOND >= due && apart <= due + 2 * SECOND, "{starts:?}");
    }
}

#[test]
fn a_client_that_hears_nothing_for_long_looks_on_a_new_lane_and_says_nothing_of_it() {
    let mut rig = rig();
    rig.call_within(Some(60 * SECOND));
    rig.confirm();
    rig.run(SILENCE_MAX + SECOND);
    assert_eq!(rig.closed, [], "once on the same lane");
    rig.run(SILENCE_MAX * 2);
    assert_eq!(rig.closed, [Lane::Blocking(0)]);
    rig.run(SECOND / 5);
    rig.open_lanes();
    let Sent { command, .. } = rig.take("XREAD");
    assert!(matches!(command, Command::XRead { after: StreamId::ZERO, .. }), "{command:?}");
    assert!(rig.events().is_empty(), "as far as anybody knows all is well");
}

#[test]
fn a_client_whose_calls_are_answered_stays_on_its_lane() {
    let mut rig = rig();
    for number in 1..10 {
        let id = rig.call_within(Some(60 * SECOND));
        rig.confirm();
        rig.run(SILENCE_MAX * 2);
        rig.replies(vec![(number, success(id, "1"))]);
    }
    assert_eq!(rig.closed, []);
}

#[test]
fn a_client_that_hears_something_new_does_not_read_from_the_start() {
    let mut rig = rig();
    rig.call_within(Some(60 * SECOND));
    rig.confirm();
    for number in 1..10 {
        rig.run(SECOND * 7 / 2);
        let foreign = r#"{"jsonrpc":"2.0","id":"other-1","result":1}"#;
        let read = rig.replies(vec![(number, foreign.into())]);
        let Command::XRead { after, .. } = read else { panic!("{read:?}") };
        assert_eq!(after, StreamId::new(number - 1, 0));
    }
}

#[test]
fn a_reply_stream_that_cannot_be_read_is_tried_again_without_a_hot_loop() {
    let mut rig = rig();
    let mut refused = 0;
    while rig.now < Instant::ZERO + 10 * SECOND {
        if let Some(sent) = rig.find("XREAD") {
            rig.refuse(sent.token, "WRONGTYPE");
            refused += 1;
        }
        rig.run(SECOND / 4);
    }
    assert!((8..=11).contains(&refused), "{refused}");
}

#[test]
fn a_result_may_be_anything_but_absent() {
    let mut rig = rig();
    let id = rig.call();
    let text = format!(r#"{{"jsonrpc":"2.0","id":"{NONCE}-{}"}}"#, id.0);
    rig.replies(vec![(1, text)]);
    let Some((_, Err(CallError::Protocol(ProtocolFault::Envelope(_))))) = rig.finished().pop()
    else {
        panic!()
    };
}

#[test]
fn old_replies_seen_again_are_no_news() {
    let mut rig = rig();
    rig.call_within(Some(60 * SECOND));
    rig.confirm();
    let mut from_zero = 0;
    rig.reads_run_out = false;
    // The stream holds one old reply, to nobody, and one that is none: every read from the start
    // returns both.
    let start = rig.now;
    while rig.now < start + 55 * SECOND {
        rig.open_lanes();
        if let Some(sent) = rig.find("XREAD") {
            let Command::XRead { after, .. } = sent.command else { panic!() };
            let entries = if after == StreamId::ZERO {
                from_zero += 1;
                vec![entry(5, r#"{"jsonrpc":"2.0","id":"other-1","result":1}"#), entry(6, "{")]
            } else {
                vec![]
            };
            rig.reply(sent.token, Reply::Entries(entries));
        }
        rig.now = rig.now + SECOND;
        rig.pass(Duration::ZERO);
    }
    assert!((2..=4).contains(&from_zero), "the stream was read {from_zero} times in 55 s");
    let stats = rig.engine.stats();
    assert_eq!((stats.replies_unmatched, stats.replies_unparsable), (1, 1));
    let events = rig.events().into_iter();
    assert_eq!(events.filter(|it| matches!(it, ClientEvent::Unparsable { .. })).count(), 1);
}

#[test]
fn a_read_answered_with_another_commands_reply_is_made_again() {
    let mut rig = rig();
    let sent = rig.take("XREAD");
    rig.reply(sent.token, Reply::Integer(1));
    rig.run(SECOND);
    rig.open_lanes();
    assert_eq!(rig.count("XREAD"), 1);
}
