//! Rule 4.8: what was started too often is put aside.
//!
//! Not what is no request at all (`settle`).

use super::intake::{claim, pending};
use super::look_back::{fetched, listed, looking_back};
use super::reclaim::uncounted;
use super::*;
use crate::engine::Lane;

/// A server that has been given 1 for the eleventh time, and 2 for the tenth.
fn spent() -> Rig<Server> {
    let (mut rig, sent) = uncounted();
    rig.reply(sent.token, Reply::PendingRange(vec![pending(1, 11), pending(2, 10)]));
    rig
}

/// The stream and the fields of the oldest command that adds something.
fn added_to(rig: &mut Rig<Server>) -> (Sent, String, Vec<(String, String)>) {
    let sent = rig.take("XADD");
    let Command::XAdd { key, fields, .. } = &sent.command else { panic!() };
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let fields = fields.iter().map(|(name, value)| (text(name), text(value))).collect();
    let key = text(key);
    (sent, key, fields)
}

#[test]
fn what_would_start_for_the_eleventh_time_is_put_aside_and_its_caller_told() {
    let mut rig = spent();
    assert_eq!(rig.job().entry, id(2), "the tenth time is not too often");
    let (sent, key, fields) = added_to(&mut rig);
    assert_eq!(key, "app:dead:arith");
    let Command::XAdd { create: true, max_len: Some(10_000), .. } = sent.command else {
        panic!("{sent:?}")
    };
    let Entry { fields: Some(original), .. } = request(1) else { panic!() };
    let (kept, told) = fields.split_at(original.len());
    for ((name, value), (kept_name, kept_value)) in original.iter().zip(kept) {
        assert_eq!((&name[..], &value[..]), (kept_name.as_bytes(), kept_value.as_bytes()));
    }
    let told: Vec<(&str, &str)> = told.iter().map(|(name, it)| (&name[..], &it[..])).collect();
    assert_eq!(
        told,
        [("dead-entry", "1-0"), ("dead-reason", "delivered too often"), ("dead-deliveries", "10")]
    );
    assert_eq!((rig.count("XADD"), rig.count("XACK"), rig.count("PEXPIRE")), (0, 0, 0));
    rig.reply(sent.token, added());
    let (sent, key, fields) = added_to(&mut rig);
    assert_eq!(key, "app:replies:c1");
    assert!(fields[1].1.contains("-32603") && fields[1].1.contains("DeadLetter"), "{fields:?}");
    rig.reply(sent.token, added());
    assert_eq!(rig.acknowledged(), [id(1)]);
    assert_eq!(rig.engine.stats().dead_letters, 1);
    let notices = rig.notices();
    assert!(
        matches!(notices[..], [Notice::DeadLetter { entry, deliveries: 10, .. }] if entry == id(1))
    );
}

#[test]
fn a_dead_letter_that_redis_cannot_take_now_is_written_later_and_nothing_is_lost() {
    let troubles: [fn(&mut Rig<Server>); 2] = [
        |rig| {
            let sent = rig.take("XADD");
            rig.refuse(sent.token, "OOM");
            rig.run(2 * SECOND);
        },
        |rig| {
            rig.lose(Lane::Command);
            rig.run(SECOND / 2);
            rig.open_lanes();
        },
    ];
    for trouble in troubles {
        let mut rig = spent();
        rig.habit = quiet;
        trouble(&mut rig);
        assert_eq!(rig.count("XACK"), 0);
        let (sent, key, _) = added_to(&mut rig);
        assert_eq!(key, "app:dead:arith");
        rig.reply(sent.token, added());
        let (sent, key, _) = added_to(&mut rig);
        assert_eq!(key, "app:replies:c1");
        rig.reply(sent.token, added());
        assert_eq!(rig.acknowledged(), [id(1)]);
    }
}

#[test]
fn an_entry_that_can_never_be_put_aside_is_answered_and_told() {
    let mut rig = spent();
    let sent = rig.take("XADD");
    rig.refuse(sent.token, "NOPERM");
    rig.answer("XADD", added());
    assert_eq!(rig.acknowledged(), [id(1)]);
    assert_eq!(rig.engine.stats().dead_letters, 0);
    let notices = rig.notices();
    assert!(matches!(&notices[..], [Notice::DeadLetterRefused { refusal, .. }]
        if refusal.code == "NOPERM"));
}

#[test]
fn a_dead_letter_is_not_given_up_however_many_lanes_end() {
    let mut rig = spent();
    rig.habit = quiet;
    for _ in 0..8 {
        let (_, key, _) = added_to(&mut rig);
        assert_eq!(key, "app:dead:arith");
        rig.lose(Lane::Command);
        rig.run(2 * SECOND);
        rig.open_lanes();
    }
    let (sent, key, _) = added_to(&mut rig);
    assert_eq!(key, "app:dead:arith");
    rig.reply(sent.token, added());
    let (_, key, _) = added_to(&mut rig);
    assert_eq!(key, "app:replies:c1");
}

#[test]
fn a_notification_is_put_aside_as_well() {
    let mut rig = rig();
    let sent = claim(&mut rig);
    rig.reply(sent.token, claimed(StreamId::ZERO, vec![notification(3)]));
    rig.answer("XPENDING", Reply::PendingRange(vec![pending(3, 12)]));
    rig.no_job();
    let (sent, key, _) = added_to(&mut rig);
    assert_eq!(key, "app:dead:arith");
    rig.reply(sent.token, added());
    assert_eq!((rig.count("XADD"), rig.acknowledged()), (0, vec![id(3)]));
}

#[test]
fn what_is_no_request_is_poison_however_often_it_came() {
    let mut rig = rig();
    let sent = claim(&mut rig);
    let entry = entry_of(1, &[("envelope", "{")]);
    rig.reply(sent.token, claimed(StreamId::ZERO, vec![entry]));
    rig.answer("XPENDING", Reply::PendingRange(vec![pending(1, 12)]));
    assert_eq!((rig.count("XADD"), rig.acknowledged()), (0, vec![id(1)]));
    assert!(matches!(rig.notices()[..], [Notice::Poison { .. }]));
}

#[test]
fn what_waits_behind_one_that_may_end_the_process_is_not_given_out_along_with_it() {
    for (deliveries, others) in [(2, true), (3, false)] {
        let mut rig = rig();
        let sent = claim(&mut rig);
        rig.reply(sent.token, claimed(StreamId::ZERO, vec![request(1)]));
        rig.answer("XPENDING", Reply::PendingRange(vec![pending(1, deliveries)]));
        let job = rig.job();
        rig.habit = |command| match command {
            Command::XAutoClaim { .. } => None,
            other => quiet(other),
        };
        rig.run(3 * SECOND);
        let asks = rig.count("XAUTOCLAIM") + rig.count("XREADGROUP");
        assert_eq!(asks > 0, others, "{deliveries}");
        rig.end(&job);
        rig.answer("XADD", added());
        rig.acknowledged();
        assert!(rig.count("XREADGROUP") > 0, "it has not ended the process");
    }
}

#[test]
fn what_is_found_looking_back_is_put_aside_only_if_it_would_start_once_too_often() {
    for (deliveries, starts) in [(10, true), (11, false)] {
        let mut rig = looking_back();
        listed(&mut rig, vec![pending(1, deliveries)]);
        fetched(&mut rig, request(1));
        assert_eq!(rig.jobs().len(), usize::from(starts), "{deliveries}");
    }
}

#[test]
fn what_cannot_be_counted_is_not_put_aside() {
    let mut config = config();
    config.deliveries_max = 1;
    let mut rig = serving(config, service("arith"));
    let sent = claim(&mut rig);
    rig.reply(sent.token, claimed(StreamId::ZERO, vec![request(1)]));
    let look = rig.take("XPENDING");
    rig.refuse(look.token, "NOPERM");
    let job = rig.job();
    assert_eq!((job.entry, job.deliveries), (id(1), 2), "a guess");
}
