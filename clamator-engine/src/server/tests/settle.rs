//! Section 4's order of steps, and rules 4.2, 4.6, 4.7, 4.8: running, replying, acknowledging.
//!
//! Not how entries come in (`intake`).

use alloc::string::ToString;

use super::*;
use crate::engine::Lane;

#[test]
fn an_entry_is_acknowledged_only_after_its_reply_was_answered() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    assert_eq!(rig.count("XADD"), 0);
    rig.end(&job);
    assert_eq!((rig.count("XADD"), rig.count("XACK")), (1, 0));
    rig.answer("XADD", added());
    assert_eq!(rig.acknowledged(), [id(1)]);
}

#[test]
fn a_reply_goes_to_the_callers_stream_with_the_peers_fields() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.end(&job);
    let Sent { command, .. } = rig.take("XADD");
    let Command::XAdd { key, create, max_len, fields } = command else { panic!() };
    assert_eq!((&key[..], create, max_len), (&b"app:replies:c1"[..], true, Some(1024)));
    assert_eq!((&fields[0].0[..], &fields[0].1[..]), (&b"type"[..], &b"rpc"[..]));
    let envelope = br#"{"jsonrpc":"2.0","id":1,"result":1}"#;
    assert_eq!((&fields[1].0[..], &fields[1].1[..]), (&b"envelope"[..], &envelope[..]));
}

#[test]
fn what_is_settled_is_deleted_behind_its_acknowledgement_while_ours_is_the_only_group() {
    let mut rig = rig();
    rig.deliver(vec![notification(1)]);
    let job = rig.job();
    rig.end(&job);
    let (ack, delete) = (rig.take("XACK"), rig.take("XDEL"));
    assert!(ack.token.number() < delete.token.number());
    assert!(matches!(delete.command, Command::XDel { ids, .. } if ids == [id(1)]));
}

#[test]
fn nothing_is_deleted_while_another_group_reads_the_stream() {
    let mut rig = rig_of(config(), vec![service("arith")]);
    rig.open_lanes();
    rig.answer("XGROUP CREATE", Reply::Ok);
    let groups = ["arith", "audit"]
        .map(|name| GroupInfo::new(Bytes::copy_from_slice(name.as_bytes()), StreamId::ZERO));
    rig.answer("XINFO GROUPS", Reply::Groups(groups.to_vec()));
    rig.deliver(vec![notification(1)]);
    let job = rig.job();
    rig.end(&job);
    assert_eq!((rig.count("XACK"), rig.count("XDEL")), (1, 0));
}

#[test]
fn nothing_is_acknowledged_before_it_is_known_whether_it_may_be_deleted() {
    let mut rig = rig_of(config(), vec![service("arith")]);
    rig.open_lanes();
    rig.answer("XGROUP CREATE", Reply::Ok);
    rig.deliver(vec![notification(1)]);
    let job = rig.job();
    rig.end(&job);
    assert_eq!((rig.count("XACK"), rig.count("XDEL")), (0, 0));
    let sole = GroupInfo::new(Bytes::from_static(b"arith"), StreamId::ZERO);
    rig.answer("XINFO GROUPS", Reply::Groups(vec![sole]));
    assert_eq!((rig.count("XACK"), rig.count("XDEL")), (1, 1));
}

#[test]
fn whoever_may_not_look_at_the_groups_acknowledges_and_deletes_nothing() {
    let mut rig = rig_of(config(), vec![service("arith")]);
    rig.open_lanes();
    rig.answer("XGROUP CREATE", Reply::Ok);
    let look = rig.take("XINFO GROUPS");
    rig.refuse(look.token, "NOPERM");
    rig.deliver(vec![notification(1)]);
    let job = rig.job();
    rig.end(&job);
    assert_eq!((rig.count("XACK"), rig.count("XDEL")), (1, 0));
}

#[test]
fn a_look_at_the_groups_that_is_refused_for_a_while_is_taken_again_before_anything_is_deleted() {
    let mut rig = rig();
    rig.deliver(vec![notification(1)]);
    let job = rig.job();
    rig.habit = |_| None;
    rig.run(2 * SECOND);
    let look = rig.take("XINFO GROUPS");
    rig.refuse(look.token, "CLUSTERDOWN");
    rig.end(&job);
    assert_eq!((rig.count("XACK"), rig.count("XDEL")), (0, 0));
    rig.habit = quiet;
    rig.run(2 * SECOND);
    assert_eq!((rig.count("XACK"), rig.count("XDEL")), (1, 1));
}

#[test]
fn what_is_known_of_the_groups_dies_with_the_lane() {
    let mut rig = rig();
    rig.deliver(vec![notification(1)]);
    let job = rig.job();
    rig.lose(Lane::Command);
    rig.end(&job);
    rig.run(SECOND / 2);
    rig.habit = |_| None;
    rig.open_lanes();
    assert_eq!((rig.count("XACK"), rig.count("XDEL")), (0, 0));
    let groups = ["arith", "audit"]
        .map(|name| GroupInfo::new(Bytes::copy_from_slice(name.as_bytes()), StreamId::ZERO));
    rig.answer("XINFO GROUPS", Reply::Groups(groups.to_vec()));
    assert_eq!((rig.count("XACK"), rig.count("XDEL")), (1, 0));
}

#[test]
fn the_acknowledgements_of_a_turn_are_one_command() {
    let mut rig = rig_with_handlers(3);
    rig.deliver((1..=3).map(notification).collect());
    let jobs = rig.jobs();
    for job in &jobs {
        let answer = Answer::Result(Json::null());
        rig.engine.answer(rig.now, job.id, answer);
    }
    rig.drain();
    assert_eq!(rig.count("XACK"), 1);
    assert_eq!(rig.acknowledged(), [id(1), id(2), id(3)]);
}

#[test]
fn one_handler_runs_at_a_time_in_stream_order() {
    let mut rig = rig();
    rig.deliver(vec![request(2), request(1)]);
    let first = rig.job();
    assert_eq!(first.entry, id(1));
    rig.run(SECOND / 2);
    rig.no_job();
    rig.end(&first);
    assert_eq!(rig.job().entry, id(2));
}

#[test]
fn a_limit_allows_so_many_handlers_and_no_more() {
    let mut rig = rig_with_handlers(2);
    rig.deliver((1..=3).map(request).collect());
    let jobs = rig.jobs();
    assert_eq!(jobs.len(), 2);
    rig.end(&jobs[1]);
    assert_eq!(rig.jobs().len(), 1);
}

#[test]
fn services_do_not_wait_for_each_other() {
    let mut rig = rig_of(config(), vec![service("arith"), service("other")]);
    rig.open_lanes();
    rig.answer("XGROUP CREATE", Reply::Ok);
    rig.answer("XGROUP CREATE", Reply::Ok);
    rig.deliver(vec![request(1)]);
    let text = r#"{"jsonrpc":"2.0","method":"other.add","id":1}"#;
    rig.deliver(vec![entry_of(1, &[("envelope", text)])]);
    assert_eq!(rig.jobs().len(), 2);
}

#[test]
fn a_refused_reply_that_can_heal_is_kept_and_sent_again_and_nothing_runs_again() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.end(&job);
    for code in ["OOM", "MISCONF", "CLUSTERDOWN", "BUSY"] {
        let sent = rig.take("XADD");
        rig.refuse(sent.token, code);
        assert_eq!((rig.count("XADD"), rig.count("XACK")), (0, 0), "{code}: not at once");
        rig.run(2 * SECOND);
        assert_eq!(rig.count("XADD"), 1, "{code}");
    }
    rig.no_job();
    rig.answer("XADD", added());
    assert_eq!(rig.acknowledged(), [id(1)]);
}

#[test]
fn nothing_is_read_while_redis_cannot_take_replies() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.end(&job);
    let sent = rig.take("XADD");
    rig.deliver(vec![]);
    rig.refuse(sent.token, "OOM");
    while let Some(read) = rig.find("XREADGROUP") {
        rig.reply(read.token, Reply::Entries(vec![]));
    }
    rig.run(2 * SECOND);
    assert_eq!(rig.count("XREADGROUP"), 0);
    rig.answer("XADD", added());
    assert_eq!(rig.count("XREADGROUP"), 1);
}

#[test]
fn a_reply_that_will_never_be_taken_is_dropped_and_its_entry_acknowledged() {
    for code in ["WRONGTYPE", "NOPERM", "ERR"] {
        let mut rig = rig();
        rig.deliver(vec![request(1)]);
        let job = rig.job();
        rig.end(&job);
        let sent = rig.take("XADD");
        rig.refuse(sent.token, code);
        assert!(matches!(rig.notices()[..], [Notice::ReplyRefused { .. }]), "{code}");
        assert_eq!(rig.acknowledged(), [id(1)]);
        assert_eq!(rig.engine.stats().replies_refused, 1);
    }
}

#[test]
fn a_reply_whose_answer_got_lost_is_sent_again() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.end(&job);
    rig.lose(Lane::Command);
    rig.run(SECOND / 2);
    rig.open_lanes();
    rig.answer("XADD", added());
    assert_eq!(rig.acknowledged(), [id(1)]);
    rig.no_job();
}

#[test]
fn reading_goes_on_when_what_could_not_be_written_will_never_be() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.end(&job);
    let reply = rig.take("XADD");
    rig.refuse(reply.token, "OOM");
    rig.run(SECOND / 4);
    let reply = rig.take("XADD");
    rig.refuse(reply.token, "WRONGTYPE");
    assert_eq!(rig.acknowledged(), [id(1)]);
    rig.deliver(vec![]);
    rig.run(SECOND);
    assert_eq!(rig.count("XREADGROUP"), 1);
}

#[test]
fn a_reply_is_written_elsewhere_when_its_server_became_a_replica() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.end(&job);
    let sent = rig.take("XADD");
    rig.refuse(sent.token, "READONLY");
    assert_eq!(rig.closed, [Lane::Command]);
    rig.run(SECOND / 2);
    rig.open_lanes();
    rig.answer("XADD", added());
    assert_eq!(rig.acknowledged(), [id(1)]);
}

#[test]
fn an_acknowledgement_whose_answer_got_lost_or_was_refused_is_sent_again() {
    let mut rig = rig();
    rig.deliver(vec![notification(1)]);
    let job = rig.job();
    rig.end(&job);
    rig.lose(Lane::Command);
    rig.run(SECOND / 2);
    rig.open_lanes();
    let sent = rig.take("XACK");
    rig.refuse(sent.token, "NOPERM");
    assert_eq!(rig.count("XACK"), 0, "not at once");
    rig.run(2 * SECOND);
    assert_eq!(rig.acknowledged(), [id(1)]);
}

#[test]
fn a_second_answer_to_one_job_changes_nothing() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.end(&job);
    rig.fail(&job);
    assert_eq!(rig.count("XADD"), 1);
}

#[test]
fn an_error_is_replied_with_its_code_and_null_data() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.fail(&job);
    let wanted = r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no","data":null}}"#;
    assert_eq!(rig.reply_text(), wanted);
}

#[test]
fn a_notification_is_never_answered() {
    let mut rig = rig();
    rig.deliver(vec![notification(1)]);
    let job = rig.job();
    assert_eq!(job.request, None);
    rig.fail(&job);
    assert_eq!(rig.count("XADD"), 0);
    assert_eq!(rig.acknowledged(), [id(1)]);
}

#[test]
fn an_unknown_method_is_answered_without_running_anything() {
    let mut rig = rig();
    for (number, method) in (1..).zip(["arith.subtract", "other.add"]) {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"{method}","id":7}}"#);
        let fields = [("envelope", text.as_str()), ("reply-to", "app:replies:c1")];
        rig.deliver(vec![entry_of(number, &fields)]);
        rig.no_job();
        let Sent { token, command, .. } = rig.take("XADD");
        let Command::XAdd { fields, .. } = command else { panic!() };
        let text = String::from_utf8(fields[1].1.to_vec()).unwrap();
        assert!(text.contains(r#""code":-32601,"message":"Method not found","data":null"#));
        rig.reply(token, added());
        assert_eq!(rig.acknowledged(), [id(number)]);
    }
}

#[test]
fn a_malformed_entry_is_warned_of_and_acknowledged_and_the_next_one_runs() {
    let mut rig = rig_with_handlers(4);
    let text = r#"{"jsonrpc":"2.0","method":"nodot","id":7}"#;
    let answerable = entry_of(3, &[("envelope", text), ("reply-to", "app:replies:c1")]);
    let poison = [entry_of(1, &[("envelope", "{")]), entry_of(2, &[]), answerable];
    rig.deliver(poison.into_iter().chain([request(4)]).collect());
    assert_eq!(rig.jobs().len(), 1);
    assert_eq!(rig.notices().len(), 3);
    assert_eq!(rig.engine.stats().poison, 3);
    let Sent { token, command: Command::XAdd { fields, .. }, .. } = rig.take("XADD") else {
        panic!()
    };
    let text = String::from_utf8(fields[1].1.to_vec()).unwrap();
    let message =
        r#""code":-32600,"message":"Invalid Request: method must be \"<service>.<method>\"""#;
    assert!(text.contains(message), "{text}");
    assert_eq!(rig.acknowledged(), [id(1), id(2)]);
    rig.reply(token, added());
    assert_eq!(rig.acknowledged(), [id(3)]);
}

#[test]
fn a_reply_to_outside_the_deployment_is_not_written_but_the_request_runs() {
    let mut rig = rig();
    let text = r#"{"jsonrpc":"2.0","method":"arith.add","id":7}"#;
    rig.deliver(vec![entry_of(1, &[("envelope", text), ("reply-to", "app:cmds:arith")])]);
    let job = rig.job();
    assert_eq!(rig.engine.stats().reply_to_refused, 1);
    rig.end(&job);
    assert_eq!(rig.count("XADD"), 0);
    assert_eq!(rig.acknowledged(), [id(1)]);
}

#[test]
fn a_method_declared_as_notification_is_answered_when_it_is_called() {
    let mut rig = rig();
    let text = r#"{"jsonrpc":"2.0","method":"arith.ping","id":"x"}"#;
    rig.deliver(vec![entry_of(1, &[("envelope", text), ("reply-to", "app:replies:c1")])]);
    let job = rig.job();
    assert_eq!(job.request.as_ref().unwrap().text().to_string(), "x");
    rig.end(&job);
    assert_eq!(rig.reply_text(), r#"{"jsonrpc":"2.0","id":"x","result":1}"#);
}

#[test]
fn when_redis_takes_replies_again_every_service_goes_on_at_once() {
    let mut rig = rig_of(config(), vec![service("arith"), service("geo")]);
    rig.open_lanes();
    rig.answer("XGROUP CREATE", Reply::Ok);
    rig.answer("XGROUP CREATE", Reply::Ok);
    rig.habit = quiet;
    rig.run(SECOND / 100);
    // First read is arith's, second geo's.
    let arith = rig.take("XREADGROUP");
    let geo = rig.take("XREADGROUP");
    rig.reply(arith.token, Reply::Entries(vec![request(1)]));
    let text = r#"{"jsonrpc":"2.0","method":"geo.add","params":[],"id":2}"#;
    let entry = entry_of(2, &[("type", "rpc"), ("envelope", text), ("reply-to", "app:replies:c1")]);
    rig.reply(geo.token, Reply::Entries(vec![entry]));
    let jobs = rig.jobs();
    assert_eq!(jobs.len(), 2);
    rig.end(&jobs[0]);
    let sent = rig.take("XADD");
    rig.refuse(sent.token, "OOM");
    rig.run(SECOND / 5); // the retry
    let sent = rig.take("XADD");
    rig.end(&jobs[1]); // geo's reply is held back: Redis is not known to take any
    assert_eq!(rig.count("XADD"), 0);
    rig.reply(sent.token, added());
    assert_eq!(rig.count("XADD"), 1, "geo's reply still waits");
}

#[test]
fn acknowledgements_that_are_refused_are_told() {
    let mut rig = rig();
    rig.deliver(vec![notification(1)]);
    let job = rig.job();
    rig.end(&job);
    let sent = rig.take("XACK");
    rig.refuse(sent.token, "NOPERM");
    assert!(matches!(rig.notices()[..], [Notice::AckRefused { .. }]));
}

#[test]
fn a_refused_reply_is_sent_again_when_its_pause_is_over_and_not_before() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.end(&job);
    let add = rig.take("XADD");
    rig.refuse(add.token, "OOM");
    rig.pass(SECOND / 100);
    assert_eq!(rig.count("XADD"), 0);
    // Late, as after a long turn of whoever drives the server.
    rig.pass(SECOND);
    assert_eq!(rig.count("XADD"), 1);
}

#[test]
fn more_acknowledgements_than_one_command_takes_go_out_in_one_turn() {
    let mut rig = rig();
    let odd = |ms| entry_of(ms, &[("type", "rpc")]);
    rig.deliver((1..=2001).map(odd).collect());
    let acks: Vec<Sent> = core::iter::from_fn(|| rig.find("XACK")).collect();
    let sizes = acks.iter().map(|sent| match &sent.command {
        Command::XAck { ids, .. } => ids.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [1000, 1000, 1]);
}

#[test]
fn acknowledgements_that_are_refused_hold_no_other_service_up() {
    let mut rig = rig_of(config(), vec![service("arith"), service("geo")]);
    rig.open_lanes();
    rig.answer("XGROUP CREATE", Reply::Ok);
    rig.answer("XGROUP CREATE", Reply::Ok);
    rig.habit = |command| match command {
        Command::XInfoGroups { .. } => {
            let group = |name| GroupInfo::new(Bytes::from_static(name), id(1));
            Some(Reply::Groups(vec![group(b"arith"), group(b"geo")]))
        }
        other => quiet(other),
    };
    rig.run(SECOND / 100);
    let arith = rig.take("XREADGROUP");
    let geo = rig.take("XREADGROUP");
    rig.reply(arith.token, Reply::Entries(vec![notification(1)]));
    let job = rig.job();
    rig.end(&job);
    let sent = rig.take("XACK");
    rig.refuse(sent.token, "NOPERM");
    let text = r#"{"jsonrpc":"2.0","method":"geo.ping","params":{}}"#;
    rig.reply(geo.token, Reply::Entries(vec![entry_of(2, &[("envelope", text)])]));
    let job = rig.job();
    rig.end(&job);
    let Command::XAck { key, .. } = rig.take("XACK").command else { unreachable!() };
    assert_eq!(key, "app:cmds:geo");
    assert_eq!(rig.count("XACK"), 0, "arith's waits");
    rig.run(2 * SECOND);
    assert!(rig.count("XACK") > 0, "not for ever");
}
