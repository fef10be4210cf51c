//! Reply streams that live for a limited time (rule 4.11).
//!
//! Not what is written to them: see `settle`.

use super::*;
use crate::engine::Lane;

/// A server that has sent the reply to this request.
fn replying(rig: &mut Rig<Server>, ms: u64) {
    rig.deliver(vec![request(ms)]);
    let job = rig.job();
    rig.end(&job);
}

/// Takes the oldest reply: whether it creates its stream.
fn take_reply(rig: &mut Rig<Server>) -> (Sent, bool) {
    let sent = rig.take("XADD");
    let Command::XAdd { create, .. } = sent.command else { panic!() };
    (sent, create)
}

#[test]
fn a_reply_stream_is_told_how_long_it_lives_behind_its_first_reply_and_once_in_a_quarter() {
    let mut config = config();
    config.reply_stream_ttl = 40 * SECOND;
    let mut rig = serving(config, service("arith"));
    replying(&mut rig, 1);
    let (sent, create) = take_reply(&mut rig);
    assert!(create, "nobody knows whether it is there");
    let Sent { token, command, .. } = rig.take("PEXPIRE");
    let key = Bytes::from_static(b"app:replies:c1");
    assert_eq!(command, Command::PExpire { key, ttl: 40 * SECOND });
    rig.reply(sent.token, added());
    rig.reply(token, Reply::Integer(1));
    rig.habit = |command| match command {
        Command::XAck { .. } | Command::XDel { .. } => Some(Reply::Integer(1)),
        Command::PExpire { .. } => None,
        other => quiet(other),
    };
    for (seconds, told) in [(9, false), (2, true)] {
        rig.run(seconds * SECOND);
        replying(&mut rig, 10 + u64::from(seconds));
        let (sent, create) = take_reply(&mut rig);
        assert_eq!((create, rig.count("PEXPIRE") == 1), (told, told));
        rig.reply(sent.token, added());
    }
}

#[test]
fn a_stream_that_is_gone_is_created_again_and_told_again() {
    let mut rig = rig();
    replying(&mut rig, 1);
    let (first, _) = take_reply(&mut rig);
    rig.answer("PEXPIRE", Reply::Integer(1));
    rig.reply(first.token, added());
    replying(&mut rig, 2);
    let (second, create) = take_reply(&mut rig);
    assert!(!create);
    rig.reply(second.token, Reply::Added(None));
    let (third, create) = take_reply(&mut rig);
    assert!(create, "the reply is not lost");
    assert_eq!(rig.count("PEXPIRE"), 1, "what it creates does not live on");
    rig.reply(third.token, added());
    assert_eq!([rig.acknowledged(), rig.acknowledged()].concat(), [id(1), id(2)]);
}

#[test]
fn whoever_says_that_a_created_stream_is_missing_is_not_asked_again() {
    let mut rig = rig();
    replying(&mut rig, 1);
    let (first, _) = take_reply(&mut rig);
    rig.reply(first.token, Reply::Added(None));
    assert_eq!((rig.count("XADD"), rig.acknowledged()), (0, vec![id(1)]));
}

#[test]
fn a_stream_that_was_not_there_to_be_told_is_told_behind_the_next_reply() {
    let mut rig = rig();
    rig.habit = |command| match command {
        Command::PExpire { .. } => None,
        other => quiet(other),
    };
    replying(&mut rig, 1);
    let (first, _) = take_reply(&mut rig);
    rig.refuse(first.token, "OOM");
    rig.answer("PEXPIRE", Reply::Integer(0));
    rig.run(SECOND / 2);
    let (_, create) = take_reply(&mut rig);
    assert!(create);
    assert_eq!(rig.count("PEXPIRE"), 1);
}

#[test]
fn what_may_not_have_been_told_is_told_again() {
    let troubles: [fn(&mut Rig<Server>); 2] = [
        |rig| {
            let sent = rig.take("PEXPIRE");
            rig.refuse(sent.token, "MISCONF");
        },
        |rig| {
            rig.lose(Lane::Command);
            rig.run(SECOND / 2);
            rig.open_lanes();
        },
    ];
    for trouble in troubles {
        let mut rig = rig();
        rig.habit = |command| match command {
            Command::PExpire { .. } => None,
            other => quiet(other),
        };
        replying(&mut rig, 1);
        let (first, _) = take_reply(&mut rig);
        rig.reply(first.token, added());
        rig.acknowledged();
        trouble(&mut rig);
        rig.run(2 * SECOND);
        assert_eq!(rig.count("PEXPIRE"), 1);
        rig.run(2 * SECOND);
        assert_eq!(rig.count("PEXPIRE"), 1, "while it is under way");
    }
}

#[test]
fn what_is_no_reply_stream_of_this_deployment_is_not_told_when_to_end() {
    let mut config = config();
    config.relaxed_reply_to = true;
    let mut rig = serving(config, service("arith"));
    for ms in 1..3 {
        let envelope = r#"{"jsonrpc":"2.0","method":"arith.add","id":1}"#;
        rig.deliver(vec![entry_of(ms, &[("envelope", envelope), ("reply-to", "app:cmds:mail")])]);
        let job = rig.job();
        rig.end(&job);
        let (sent, create) = take_reply(&mut rig);
        assert!(create);
        assert_eq!(rig.count("PEXPIRE"), 0);
        rig.reply(sent.token, added());
        assert_eq!(rig.acknowledged(), [id(ms)]);
    }
}

#[test]
fn whoever_may_not_let_streams_expire_is_told_once_and_replies_go_on() {
    let mut rig = rig();
    for ms in 1..4 {
        replying(&mut rig, ms);
        let (sent, _) = take_reply(&mut rig);
        if let Some(sent) = rig.find("PEXPIRE") {
            rig.refuse(sent.token, "NOPERM");
        }
        rig.reply(sent.token, added());
        assert_eq!(rig.acknowledged(), [id(ms)]);
    }
    let notices = rig.notices();
    assert!(
        matches!(&notices[..], [Notice::ExpiryRefused { refusal }] if refusal.code == "NOPERM")
    );
}
