//! The client's rules, one by one, without a Redis: every reply here is hand-made.
//!
//! Not scenarios with a server: those are in the workspace's `tests`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use clamator_proto::{Envelope, Json, Method};

use super::replies::SILENCE_MAX;
use super::{Client, ClientConfig, ClientEvent};
use crate::call::{CallError, CallId, ProtocolFault};
use crate::command::Command;
use crate::engine::{Hello, Input, Lane, Version};
use crate::reply::{Entry, Reply};
use crate::stream_id::StreamId;
use crate::testing::{Rig, Sent};
use crate::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const NONCE: &str = "07070707070707070707070707070707";

fn rig_with(change: impl FnOnce(&mut ClientConfig)) -> Rig<Client> {
    let mut config = ClientConfig::new("app", [7; 16], 1);
    change(&mut config);
    Rig::new(Client::new(Instant::ZERO, config))
}

/// A client with both lanes open and its first read under way.
fn rig() -> Rig<Client> {
    let mut rig = rig_with(|_| {});
    rig.open_lanes();
    rig.events();
    rig
}

impl Rig<Client> {
    fn call(&mut self) -> CallId {
        self.call_within(None)
    }

    fn call_within(&mut self, timeout: Option<Duration>) -> CallId {
        let method = Method::parse("arith.add").unwrap();
        let params = Json::encode(&[1, 2]).unwrap();
        let id = self.engine.call(self.now, &method, &params, timeout);
        self.drain();
        id
    }

    fn notify(&mut self) -> CallId {
        let method = Method::parse("arith.ping").unwrap();
        let id = self.engine.notify(self.now, &method, &Json::null());
        self.drain();
        id
    }

    /// Confirms the oldest request.
    fn confirm(&mut self) -> Command {
        self.answer("XADD", Reply::Added(Some(StreamId::new(1, 1))))
    }

    /// Hands in entries of the reply stream.
    fn replies(&mut self, entries: Vec<(u64, String)>) -> Command {
        let entries = entries.into_iter().map(|(ms, text)| entry(ms, &text)).collect();
        self.answer("XREAD", Reply::Entries(entries))
    }

    fn finished(&mut self) -> Vec<(CallId, Result<Json, CallError>)> {
        self.events()
            .into_iter()
            .map(|event| match event {
                ClientEvent::Finished(id, outcome) => (id, outcome),
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

fn entry(ms: u64, text: &str) -> Entry {
    let envelope = Bytes::copy_from_slice(text.as_bytes());
    let fields = vec![(Bytes::from_static(b"envelope"), envelope)];
    Entry::new(StreamId::new(ms, 0), Some(fields))
}

fn success(id: CallId, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":"{NONCE}-{}","result":{result}}}"#, id.0)
}

fn field(command: &Command, name: &str) -> Option<String> {
    let Command::XAdd { fields, .. } = command else { panic!("{command:?}") };
    let value = &fields.iter().find(|(field, _)| field == name.as_bytes())?.1;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn a_request_goes_to_its_service_with_the_peers_fields() {
    let mut rig = rig();
    let id = rig.call();
    let Sent { command, .. } = rig.take("XADD");
    let Command::XAdd { key, create, max_len, fields } = &command else { panic!("{command:?}") };
    assert_eq!((&key[..], *create, *max_len), (&b"app:cmds:arith"[..], true, None));
    let names: Vec<&[u8]> = fields.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, [&b"type"[..], b"envelope", b"reply-to"]);
    assert_eq!(field(&command, "type").unwrap(), "rpc");
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
    assert_eq!(rig.engine.counters().replies_unmatched, 3);
    let late = rig.call_within(Some(SECOND / 10));
    rig.confirm();
    rig.pass(SECOND / 10);
    assert_eq!(rig.finished(), [(late, Err(CallError::Timeout))]);
    rig.replies(vec![(5, success(late, "1"))]);
    assert!(rig.finished().is_empty());
    assert_eq!(rig.engine.counters().replies_unmatched, 4);
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
    assert_eq!(rig.engine.counters().replies_unparsable, 2);
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
fn a_client_that_hears_nothing_reads_from_the_start_once() {
    let mut rig = rig();
    rig.replies(vec![(5, "x".into())]);
    rig.call();
    rig.confirm();
    let mut starts = Vec::new();
    while rig.now < Instant::ZERO + Duration::from_secs(20) {
        rig.run(SECOND - Duration::from_millis(1));
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
    assert!(!from_start.is_empty(), "{starts:?}");
    assert!(from_start[0].since(Instant::ZERO) >= SILENCE_MAX, "{starts:?}");
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
    assert_eq!(rig.closed, [Lane::Command]);
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
