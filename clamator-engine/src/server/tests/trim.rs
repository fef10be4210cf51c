//! Trimming of what peers have left (rule 4.11).
//!
//! Not the deleting of what the server settles itself: see `settle`.

use super::*;
use crate::engine::Lane;

/// A server that trims as soon as its mark is read.
fn rig() -> Rig<Server> {
    let mut config = config();
    config.trim_tick = SECOND / 100;
    let mut rig = serving(config, service("arith"));
    rig.habit = |command| match command {
        Command::DelIdleConsumers { .. } => Some(Reply::Integer(0)),
        Command::XAutoClaim { .. } => Some(claimed(StreamId::ZERO, vec![])),
        _ => None,
    };
    rig
}

/// What the groups say of themselves: how far they were given the stream.
fn told(groups: &[(&'static str, u64)]) -> Reply {
    let group = |(name, last): &(&'static str, u64)| {
        GroupInfo::new(Bytes::from_static(name.as_bytes()), id(*last))
    };
    Reply::Groups(groups.iter().map(group).collect())
}

fn pending(first: Option<u64>) -> Reply {
    Reply::Pending { count: u64::from(first.is_some()), first: first.map(id) }
}

impl Rig<Server> {
    /// Lets the server ask for its mark.
    fn ask_for_mark(&mut self) {
        for _ in 0..10 {
            if self.count("XINFO GROUPS") > 0 {
                break;
            }
            self.run(SECOND);
        }
    }

    /// Lets the server read its mark: this is what it finds.
    fn read_mark(&mut self, groups: &[(&'static str, u64)], first: Option<u64>) {
        self.ask_for_mark();
        self.answer("XINFO GROUPS", told(groups));
        self.answer("XPENDING", pending(first));
    }

    /// Below which id the stream is trimmed, if it is.
    fn trimmed(&mut self) -> Option<StreamId> {
        let Sent { token, command, .. } = self.find("XTRIM")?;
        let Command::XTrim { key, min_id } = command else { panic!() };
        assert_eq!(key, "app:cmds:arith");
        self.reply(token, Reply::Integer(0));
        Some(min_id)
    }
}

#[test]
fn a_stream_is_trimmed_up_to_what_was_given_out_last() {
    let mut rig = rig();
    rig.read_mark(&[("arith", 70)], None);
    assert_eq!(rig.trimmed(), Some(id(70).next()));
}

#[test]
fn nothing_is_trimmed_that_is_pending() {
    let mut rig = rig();
    rig.read_mark(&[("arith", 70)], Some(30));
    assert_eq!(rig.trimmed(), Some(id(30)));
}

#[test]
fn nothing_is_trimmed_that_another_group_has_yet_to_be_given_or_has_pending() {
    let mut rig = rig();
    rig.read_mark(&[("audit", 20), ("arith", 70), ("copy", 60)], None);
    assert_eq!(rig.trimmed(), None, "before the others have told");
    let groups: Vec<Bytes> = [("audit", None), ("copy", Some(15))]
        .into_iter()
        .map(|(_, first)| match rig.answer("XPENDING", pending(first)) {
            Command::XPending { group, .. } => group,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(groups, ["audit", "copy"]);
    assert_eq!(rig.trimmed(), Some(id(15)));
}

#[test]
fn another_group_that_has_nothing_pending_keeps_what_it_has_yet_to_be_given() {
    let mut rig = rig();
    rig.read_mark(&[("audit", 20), ("arith", 70)], None);
    rig.answer("XPENDING", pending(None));
    assert_eq!(rig.trimmed(), Some(id(20).next()));
}

#[test]
fn a_stream_whose_group_has_not_moved_on_is_not_trimmed_again() {
    let mut rig = rig();
    rig.read_mark(&[("arith", 70)], None);
    rig.answer("XTRIM", Reply::Integer(0));
    rig.read_mark(&[("arith", 70)], None);
    assert_eq!(rig.trimmed(), None);
    rig.read_mark(&[("arith", 71)], None);
    assert_eq!(rig.trimmed(), Some(id(71).next()));
}

#[test]
fn a_stream_is_trimmed_when_another_group_has_moved_on() {
    let mut rig = rig();
    for audited in [20, 40] {
        rig.read_mark(&[("audit", audited), ("arith", 70)], Some(60));
        rig.answer("XPENDING", pending(None));
        assert_eq!(rig.trimmed(), Some(id(audited).next()));
    }
    rig.read_mark(&[("arith", 70)], Some(60));
    assert_eq!(rig.trimmed(), Some(id(60)));
}

#[test]
fn what_is_full_of_what_was_left_is_trimmed_on_at_once() {
    let mut rig = rig();
    for _ in 0..3 {
        rig.read_mark(&[("arith", 70)], None);
        rig.answer("XTRIM", Reply::Integer(9900));
        assert_eq!(rig.count("XINFO GROUPS"), 1, "the threshold is read anew");
    }
    rig.read_mark(&[("arith", 70)], None);
    rig.answer("XTRIM", Reply::Integer(4999));
    assert_eq!(rig.count("XINFO GROUPS"), 0);
    assert_eq!(rig.engine.stats().entries_trimmed, 3 * 9900 + 4999);
}

#[test]
fn a_threshold_dies_with_its_lane() {
    let mut rig = rig();
    rig.read_mark(&[("audit", 20), ("arith", 70)], None);
    let sent = rig.take("XPENDING");
    rig.lose(Lane::Command);
    rig.input(crate::engine::Input::Reply(sent.token, Ok(pending(None))));
    rig.run(SECOND / 2);
    rig.open_lanes();
    assert_eq!(rig.trimmed(), None);
    rig.read_mark(&[("arith", 70)], None);
    assert_eq!(
        rig.trimmed(),
        Some(id(70).next()),
        "the mark has not moved, but nothing was trimmed"
    );
}

#[test]
fn a_threshold_dies_with_its_group() {
    let mut rig = rig();
    rig.read_mark(&[("audit", 20), ("arith", 70)], None);
    let sent = rig.take("XREADGROUP");
    rig.refuse(sent.token, "NOGROUP");
    rig.answer("XPENDING", pending(None));
    assert_eq!(rig.trimmed(), None);
}

#[test]
fn another_group_that_is_gone_is_not_taken_for_the_own_one() {
    let mut rig = rig();
    rig.read_mark(&[("audit", 20), ("arith", 70)], None);
    let sent = rig.take("XPENDING");
    rig.refuse(sent.token, "NOGROUP");
    rig.run(2 * SECOND);
    assert_eq!(
        (rig.trimmed(), rig.count("XINFO STREAM"), rig.count("XGROUP CREATE")),
        (None, 0, 0)
    );
}

#[test]
fn a_stream_is_trimmed_again_until_there_is_nothing_more() {
    let mut rig = rig();
    for left in [900, 300, 0] {
        rig.read_mark(&[("arith", 70)], None);
        rig.answer("XTRIM", Reply::Integer(left));
    }
    rig.read_mark(&[("arith", 70)], None);
    assert_eq!(rig.trimmed(), None);
}

#[test]
fn whoever_may_not_ask_a_group_for_what_is_pending_trims_nothing() {
    let mut rig = rig();
    rig.read_mark(&[("audit", 20), ("arith", 70)], None);
    let sent = rig.take("XPENDING");
    rig.refuse(sent.token, "NOPERM");
    assert_eq!(rig.trimmed(), None);
}

#[test]
fn a_server_that_stops_trims_no_more() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    rig.job();
    rig.ask_for_mark();
    rig.engine.drain(rig.now, 60 * SECOND);
    rig.drain();
    rig.read_mark(&[("arith", 70)], None);
    assert_eq!(rig.trimmed(), None);
}
