//! Lanes that end because of what was sent on them, or asked for (rule 4.6).
//!
//! Not the losses that anybody may suffer: what is looked for after those is in `intake`, what is
//! sent again in `settle`.

use super::intake::pending;
use super::look_back::{fetched, listed, overdue};
use super::*;
use crate::engine::Lane;

/// Loses a lane, and opens it again.
fn lose(rig: &mut Rig<Server>, lane: Lane) {
    rig.lose(lane);
    rig.run(2 * SECOND);
    rig.open_lanes();
}

/// The envelopes of the replies that are under way.
fn replies(rig: &mut Rig<Server>) -> Vec<(Sent, String)> {
    core::iter::from_fn(|| rig.find("XADD"))
        .map(|sent| {
            let Command::XAdd { fields, .. } = &sent.command else { panic!() };
            let text = String::from_utf8(fields[1].1.to_vec()).unwrap();
            (sent, text)
        })
        .collect()
}

/// A server that has tried to send the replies to 1 and 2 on this many lanes.
fn rig_after(losses: u32) -> Rig<Server> {
    let mut rig = rig_with_handlers(2);
    rig.deliver(vec![request(1), request(2)]);
    for job in rig.jobs() {
        rig.end(&job);
    }
    for _ in 0..losses {
        assert_eq!(replies(&mut rig).len(), 2);
        lose(&mut rig, Lane::Command);
    }
    rig
}

#[test]
fn replies_with_which_three_lanes_ended_are_sent_one_by_one() {
    let mut rig = rig_after(3);
    for number in [1, 2] {
        let mut sent = replies(&mut rig);
        let (sent, text) = sent.pop().filter(|_| sent.is_empty()).unwrap();
        assert!(text.contains(&format!(r#""id":{number}"#)), "{text}");
        rig.reply(sent.token, added());
        assert_eq!(rig.acknowledged(), [id(number)]);
    }
}

#[test]
fn a_reply_with_which_every_lane_ends_becomes_an_error_and_all_others_go_on() {
    let mut rig = rig_after(3);
    for _ in 0..5 {
        let sent = replies(&mut rig);
        assert!(
            matches!(&sent[..], [(_, text)] if text.contains(r#""id":1,"result""#)),
            "{sent:?}"
        );
        lose(&mut rig, Lane::Command);
    }
    let mut sent = replies(&mut rig).into_iter();
    let (first, text) = sent.next().unwrap();
    assert!(text.contains("-32603") && text.contains(r#""id":1"#), "{text}");
    assert!(sent.next().is_none(), "the other one is still to be sent alone");
    rig.reply(first.token, added());
    let (second, text) = replies(&mut rig).pop().unwrap();
    assert!(text.contains(r#""id":2,"result""#), "{text}");
    rig.reply(second.token, added());
    assert_eq!(rig.acknowledged(), [id(1)]);
    assert_eq!(rig.acknowledged(), [id(2)]);
    assert_eq!(rig.engine.stats().replies_refused, 1);
}

#[test]
fn a_reply_is_no_suspect_where_redis_said_why_the_lane_ends() {
    let mut rig = rig_after(0);
    rig.habit = quiet;
    for _ in 0..10 {
        let mut sent = replies(&mut rig);
        assert_eq!(sent.len(), 2, "{sent:?}");
        rig.refuse(sent.remove(0).0.token, "READONLY");
        assert_eq!(rig.closed, [Lane::Command]);
        rig.closed.clear();
        rig.run(2 * SECOND);
        rig.open_lanes();
    }
    let texts: Vec<String> = replies(&mut rig).into_iter().map(|(_, text)| text).collect();
    assert!(texts.iter().all(|text| text.contains("\"result\"")), "{texts:?}");
}

#[test]
fn a_reply_that_redis_has_answered_is_no_suspect() {
    let mut rig = rig();
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.end(&job);
    let try_again = |rig: &mut Rig<Server>| {
        while rig.count("XADD") == 0 {
            rig.run(SECOND / 4);
        }
    };
    for _ in 0..8 {
        for (sent, text) in replies(&mut rig) {
            assert!(text.contains("\"result\""), "{text}");
            rig.refuse(sent.token, "OOM");
        }
        try_again(&mut rig);
        lose(&mut rig, Lane::Command);
        try_again(&mut rig);
    }
    let (_, text) = replies(&mut rig).pop().unwrap();
    assert!(text.contains("\"result\""), "{text}");
}

#[test]
fn a_new_reply_does_not_wait_for_one_that_is_suspected_and_is_not_sent_along_with_it() {
    let mut rig = rig_after(3);
    let (suspect, _) = replies(&mut rig).pop().unwrap();
    // A claim may have been lost, so both looks come first.
    listed(&mut rig, vec![]);
    listed(&mut rig, vec![]);
    rig.deliver(vec![request(3)]);
    let job = rig.job();
    rig.end(&job);
    assert!(replies(&mut rig).is_empty());
    rig.reply(suspect.token, added());
    let sent = replies(&mut rig);
    assert!(matches!(&sent[..], [(_, text)] if text.contains(r#""id":3"#)), "{sent:?}");
}

#[test]
fn after_a_lane_that_ended_with_a_read_half_as_much_is_asked_for() {
    for (handlers, expected) in [(1, [1; 4]), (90, [45, 23, 12, 6])] {
        let mut rig = rig_with_handlers(handlers);
        let asked = expected.map(|_| {
            lose(&mut rig, Lane::Blocking(0));
            listed(&mut rig, vec![]);
            let Command::XReadGroup { count, .. } = rig.take("XREADGROUP").command else {
                panic!()
            };
            count
        });
        assert_eq!(asked, expected);
    }
}

#[test]
fn after_a_lane_that_ended_with_bodies_half_as_many_are_asked_for_and_twice_as_many_after_an_answer()
 {
    let mut rig = rig_with_handlers(90);
    let rows: Vec<_> = (1..=90).map(|ms| pending(ms, 1)).collect();
    let mut asked = Vec::new();
    for _ in 0..3 {
        lose(&mut rig, Lane::Blocking(0));
        listed(&mut rig, rows.clone());
        asked.push(rig.count("XRANGE"));
    }
    for ms in 1..=12 {
        fetched(&mut rig, notification(ms));
    }
    asked.push(rig.count("XRANGE"));
    assert_eq!(asked, [45, 23, 12, 24]);
}

/// Loses lanes on which nothing is asked for but the body of 1, until that is given up.
fn give_up(rig: &mut Rig<Server>) -> u32 {
    for losses in 0..20 {
        lose(rig, Lane::Blocking(0));
        listed(rig, vec![pending(1, 1)]);
        if rig.count("XRANGE") == 0 {
            return losses;
        }
    }
    panic!("it is asked for again and again")
}

#[test]
fn an_entry_whose_body_ends_every_lane_is_settled_and_told_about() {
    let mut rig = rig_with_handlers(2);
    assert_eq!(give_up(&mut rig), 8);
    assert_eq!(rig.acknowledged(), [id(1)]);
    let notices = rig.notices();
    assert!(
        matches!(&notices[..], [Notice::Unreadable { entry, settled: true, .. }] if *entry == id(1)),
        "{notices:?}"
    );
    assert_eq!(rig.engine.stats().entries_unreadable, 1);
    rig.deliver(vec![notification(2)]);
    rig.job();
}

#[test]
fn a_lane_on_which_redis_says_why_not_clears_an_entry_of_those_that_ended_before() {
    let mut rig = rig_with_handlers(2);
    for _ in 0..7 {
        lose(&mut rig, Lane::Blocking(0));
        listed(&mut rig, vec![pending(1, 1)]);
        assert_eq!(rig.count("XRANGE"), 1);
    }
    let body = rig.take("XRANGE");
    rig.refuse(body.token, "BUSY");
    rig.run(SECOND * 11 / 10);
    listed(&mut rig, vec![pending(1, 1)]);
    assert_eq!(rig.count("XRANGE"), 1);
    assert_eq!(give_up(&mut rig), 7, "one more since that");
}

#[test]
fn an_entry_whose_body_only_takes_too_long_is_left_to_others() {
    let mut rig = rig_with_handlers(2);
    lose(&mut rig, Lane::Blocking(0));
    for _ in 0..8 {
        listed(&mut rig, vec![pending(1, 1)]);
        assert_eq!(rig.count("XRANGE"), 1);
        rig.habit = quiet;
        rig.run(5 * SECOND);
        assert_eq!(rig.count("XRANGE"), 0, "overdue");
        rig.run(2 * SECOND);
        rig.open_lanes();
    }
    listed(&mut rig, vec![pending(1, 1)]);
    assert_eq!((rig.count("XRANGE"), rig.count("XACK")), (0, 0));
    let notices = rig.notices();
    assert!(
        notices.iter().any(|it| matches!(it, Notice::Unreadable { settled: false, .. })),
        "{notices:?}"
    );
    assert_eq!((rig.engine.stats().entries_unreadable, rig.engine.stats().held), (1, 0));
}

#[test]
fn an_entry_that_is_given_up_while_a_handler_still_runs_for_it_is_left_to_others() {
    let (mut rig, job) = overdue();
    for _ in 0..9 {
        lose(&mut rig, Lane::Blocking(0));
        listed(&mut rig, vec![pending(1, 2)]);
    }
    assert_eq!(rig.engine.stats().entries_unreadable, 1);
    assert_eq!((rig.count("XACK"), rig.engine.stats().running), (0, 1));
    rig.end(&job);
    assert_eq!((rig.count("XACK"), rig.engine.stats().held), (0, 0));
}

#[test]
fn after_a_lane_that_ended_with_a_claim_half_as_much_is_claimed() {
    let mut rig = rig_with_handlers(90);
    let mut asked = Vec::new();
    for _ in 0..3 {
        rig.run(SECOND * 3 / 2);
        let Command::XAutoClaim { count, .. } = rig.take("XAUTOCLAIM").command else { panic!() };
        asked.push(count);
        lose(&mut rig, Lane::Command);
    }
    assert_eq!(asked, [90, 45, 23]);
}

/// A request to the service `other`.
pub(super) fn other_request(ms: u64) -> Entry {
    let text = format!(r#"{{"jsonrpc":"2.0","method":"other.add","params":[],"id":{ms}}}"#);
    entry_of(ms, &[("envelope", &text), ("reply-to", "app:replies:c1")])
}

/// A server of `other`, whose reply to 2 is under way, and of `arith`, whose reply to 1 has to be alone.
pub(super) fn two_services() -> Rig<Server> {
    let groups = || {
        let group = |name| GroupInfo::new(Bytes::from_static(name), id(50));
        Reply::Groups(vec![group(b"arith"), group(b"other")])
    };
    let mut rig = rig_of(config(), vec![service("other"), service("arith")]);
    rig.open_lanes();
    for _ in 0..2 {
        rig.answer("XGROUP CREATE", Reply::Ok);
    }
    for _ in 0..2 {
        rig.answer("XINFO GROUPS", groups());
        rig.answer("XPENDING", Reply::Pending { count: 0, first: None });
    }
    let mut reads = [rig.take("XREADGROUP"), rig.take("XREADGROUP")];
    reads.sort_by_key(|sent| sent.token.lane());
    let [other, arith] = reads;
    rig.reply(arith.token, Reply::Entries(vec![request(1)]));
    let job = rig.job();
    rig.end(&job);
    rig.reply(other.token, Reply::Entries(vec![other_request(2)]));
    let job = rig.job();
    for loss in 0..3 {
        assert_eq!(replies(&mut rig).len(), 1);
        rig.lose(Lane::Command);
        if loss == 2 {
            rig.end(&job);
        }
        rig.run(SECOND);
        rig.open_lanes();
    }
    rig
}

#[test]
fn a_suspected_reply_is_sent_as_soon_as_those_of_other_services_are_answered() {
    let mut rig = two_services();
    let mut sent = replies(&mut rig);
    let (sent, text) = sent.pop().filter(|_| sent.is_empty()).unwrap();
    assert!(text.contains(r#""id":2"#), "{text}");
    rig.reply(sent.token, added());
    let sent = replies(&mut rig);
    assert!(matches!(&sent[..], [(_, text)] if text.contains(r#""id":1"#)), "{sent:?}");
}
