//! Rules 4.3 and 4.5: reading, reading again after a lost read, taking over.
//!
//! Not what becomes of the entries (`settle`).

use super::*;
use crate::engine::Lane;
use crate::reply::PendingEntry;

fn read_count(command: &Command) -> u64 {
    let Command::XReadGroup { count, .. } = command else { panic!("{command:?}") };
    *count
}

pub(super) fn pending(ms: u64, deliveries: u64) -> PendingEntry {
    PendingEntry::new(id(ms), Bytes::from_static(b"arith:w1"), 0, deliveries)
}

/// Runs until the next claim and takes it.
pub(super) fn claim(rig: &mut Rig<Server>) -> Sent {
    for _ in 0..100 {
        if let Some(sent) = rig.find("XAUTOCLAIM") {
            return sent;
        }
        rig.run(SECOND / 50);
    }
    panic!("no claim until {}", rig.now)
}

#[test]
fn a_read_waits_for_a_second_and_asks_for_one_before_the_pace_is_known() {
    let mut rig = rig();
    let command = rig.deliver(vec![]);
    let Command::XReadGroup { key, group, consumer, count, block, .. } = command else { panic!() };
    assert_eq!((&key[..], &group[..]), (&b"app:cmds:arith"[..], &b"arith"[..]));
    assert_eq!((&consumer[..], count, block), (&b"arith:w1"[..], 1, Some(SECOND)));
    assert_eq!(rig.count("XREADGROUP"), 1, "the next read follows at once");
}

#[test]
fn fast_handlers_let_many_be_read_and_slow_ones_few() {
    let mut rig = rig();
    rig.deliver(vec![notification(1)]);
    let job = rig.job();
    rig.end(&job);
    rig.deliver(vec![]);
    assert_eq!(read_count(&rig.deliver(vec![notification(2)])), 256);
    let job = rig.job();
    rig.run(4 * SECOND);
    rig.end(&job);
    rig.deliver(vec![]);
    assert_eq!(read_count(&rig.take("XREADGROUP").command), 1);
}

#[test]
fn no_more_is_read_than_may_wait() {
    let mut rig = rig();
    rig.deliver(vec![notification(1)]);
    rig.deliver(vec![notification(2)]);
    assert_eq!(rig.count("XREADGROUP"), 0, "one runs, one waits");
    let job = rig.job();
    rig.end(&job);
    assert_eq!(rig.count("XREADGROUP"), 1);
}

#[test]
fn an_entry_that_is_held_is_not_started_again_when_it_is_taken_over() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    for _ in 0..3 {
        let sent = claim(&mut rig);
        rig.reply(sent.token, claimed(StreamId::ZERO, vec![request(1)]));
        rig.run(2 * SECOND);
    }
    rig.no_job();
    rig.end(&job);
    let sent = claim(&mut rig);
    rig.reply(sent.token, claimed(StreamId::ZERO, vec![request(1)]));
    rig.no_job();
    assert_eq!(rig.count("XADD"), 1);
}

#[test]
fn what_is_taken_over_starts_with_its_delivery_count_and_oldest_first() {
    let mut rig = rig_with_handlers(2);
    let sent = claim(&mut rig);
    assert!(
        matches!(sent.command, Command::XAutoClaim { idle_min, .. } if idle_min == 60 * SECOND)
    );
    rig.reply(sent.token, claimed(StreamId::ZERO, vec![request(1), request(2)]));
    rig.no_job();
    let Sent { token, command, .. } = rig.take("XPENDING");
    let Command::XPendingRange { start, end, consumer, .. } = &command else { panic!() };
    assert_eq!((*start, *end, &consumer[..]), (id(1), id(2), &b"arith:w1"[..]));
    rig.reply(token, Reply::PendingRange(vec![pending(1, 4), pending(2, 2)]));
    let jobs: Vec<_> = rig.jobs().iter().map(|job| (job.entry, job.deliveries)).collect();
    assert_eq!(jobs, [(id(1), 4), (id(2), 2)]);
    assert_eq!(rig.engine.stats().jobs_redelivered, 2);
}

#[test]
fn an_entry_that_another_took_over_before_it_was_started_is_not_started() {
    let mut rig = rig_with_handlers(2);
    let sent = claim(&mut rig);
    rig.reply(sent.token, claimed(StreamId::ZERO, vec![request(1), request(2)]));
    let sent = rig.take("XPENDING");
    rig.reply(sent.token, Reply::PendingRange(vec![pending(2, 2)]));
    assert_eq!(rig.job().entry, id(2));
}

#[test]
fn the_cursor_is_carried_from_claim_to_claim_and_starts_over_at_the_end() {
    let mut rig = rig();
    let mut starts = Vec::new();
    for next in [id(50), id(90), StreamId::ZERO, id(50)] {
        let sent = claim(&mut rig);
        let Command::XAutoClaim { start, .. } = sent.command else { panic!() };
        starts.push(start);
        rig.reply(sent.token, claimed(next, vec![]));
    }
    assert_eq!(starts, [StreamId::ZERO, id(50), id(90), StreamId::ZERO]);
}

#[test]
fn a_restored_group_is_scanned_from_its_start() {
    let mut rig = rig();
    let sent = claim(&mut rig);
    rig.reply(sent.token, claimed(id(50), vec![]));
    let read = rig.take("XREADGROUP");
    rig.refuse(read.token, "NOGROUP");
    while let Some(sent) = rig.find("XAUTOCLAIM") {
        rig.refuse(sent.token, "NOGROUP");
    }
    rig.run(SECOND);
    let inspect = rig.take("XINFO STREAM");
    rig.refuse_key(inspect.token);
    rig.answer("XGROUP CREATE", Reply::Ok);
    let sent = claim(&mut rig);
    assert!(matches!(sent.command, Command::XAutoClaim { start: StreamId::ZERO, .. }));
}

#[test]
fn a_claim_that_came_back_full_goes_on_as_soon_as_there_is_room() {
    let mut rig = rig();
    let sent = claim(&mut rig);
    let Command::XAutoClaim { count, .. } = sent.command else { panic!() };
    assert_eq!(count, 1);
    rig.reply(sent.token, claimed(id(2), vec![notification(1)]));
    assert_eq!(rig.count("XAUTOCLAIM"), 0, "no room yet");
    rig.answer("XPENDING", Reply::PendingRange(vec![pending(1, 2)]));
    let before = rig.now;
    let sent = claim(&mut rig);
    assert_eq!(rig.now, before);
    assert!(matches!(sent.command, Command::XAutoClaim { start, .. } if start == id(2)));
}

#[test]
fn one_tick_scans_only_so_far() {
    let mut rig = rig();
    let mut sent = claim(&mut rig);
    let mut scans = 0;
    loop {
        rig.reply(sent.token, claimed(id(50), vec![]));
        scans += 1;
        match rig.find("XAUTOCLAIM") {
            Some(next) => sent = next,
            None => break,
        }
    }
    assert_eq!(scans, 16);
}

#[test]
fn deleted_entries_that_redis_names_are_counted() {
    let mut rig = rig();
    let sent = claim(&mut rig);
    let deleted = vec![id(1), id(2)];
    let reply = Reply::Claimed { next: StreamId::ZERO, entries: vec![], deleted, nameless: 0 };
    rig.reply(sent.token, reply);
    assert_eq!(rig.engine.stats().entries_deleted, 2);
}

#[test]
fn deleted_entries_that_redis_6_2_does_not_name_are_found_and_settled() {
    let mut rig = rig();
    rig.deliver(vec![request(3)]);
    let sent = claim(&mut rig);
    let reply =
        Reply::Claimed { next: StreamId::ZERO, entries: vec![], deleted: vec![], nameless: 1 };
    rig.reply(sent.token, reply);
    rig.answer("XPENDING", Reply::PendingRange(vec![pending(1, 2), pending(2, 1), pending(3, 1)]));
    let asked: Vec<Sent> = core::iter::from_fn(|| rig.find("XRANGE")).collect();
    assert_eq!(asked.len(), 2, "what is held is no ghost");
    let mut asked = asked.into_iter();
    let ghost = asked.next().unwrap();
    rig.reply(ghost.token, Reply::Entries(vec![]));
    let on_its_way = asked.next().unwrap();
    rig.reply(on_its_way.token, Reply::Entries(vec![request(2)]));
    assert_eq!(rig.acknowledged(), [id(1)]);
    assert_eq!(rig.count("XACK"), 0);
}

#[test]
fn ticks_are_spread_and_do_not_follow_claim_idle() {
    let mut rig = rig();
    let mut at = Vec::new();
    for _ in 0..20 {
        let sent = claim(&mut rig);
        at.push(rig.now);
        rig.reply(sent.token, claimed(StreamId::ZERO, vec![]));
    }
    let gaps: Vec<u128> = at.windows(2).map(|pair| pair[1].since(pair[0]).as_millis()).collect();
    assert!(gaps.iter().all(|gap| (730..=1270).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap != gaps[0]), "{gaps:?}");
}

#[test]
fn a_read_that_is_refused_for_good_is_tried_again_once_a_second() {
    let mut rig = rig();
    let mut reads = 0;
    while rig.now < Instant::ZERO + 5 * SECOND {
        while let Some(sent) = rig.find("XREADGROUP") {
            rig.refuse(sent.token, "WRONGTYPE");
            reads += 1;
        }
        rig.run(SECOND / 10);
    }
    assert!((4..=6).contains(&reads), "{reads}");
    assert_eq!(rig.notices().len(), reads);
}

#[test]
fn a_read_that_is_not_answered_in_time_ends_its_lane() {
    let mut rig = rig();
    rig.reads_run_out = false;
    rig.run(2 * SECOND);
    assert_eq!(rig.closed, [Lane::Blocking(0)]);
}

#[test]
fn what_a_second_claim_brings_before_the_count_of_the_first_is_not_dropped() {
    let mut rig = rig_with_handlers(300);
    let page = |from: u64, to: u64| (from..=to).map(request).collect();
    let rows =
        |from: u64, to: u64| Reply::PendingRange((from..=to).map(|ms| pending(ms, 2)).collect());
    let sent = claim(&mut rig);
    rig.reply(sent.token, claimed(id(101), page(1, 100)));
    // The count of 1..=100 and the next claim are now under way.
    let count = rig.take("XPENDING");
    let sent = rig.take("XAUTOCLAIM");
    rig.reply(sent.token, claimed(StreamId::ZERO, page(101, 200)));
    rig.reply(count.token, rows(1, 100));
    assert_eq!(rig.jobs().len(), 100);
    rig.answer("XPENDING", rows(101, 200));
    assert_eq!(rig.jobs().len(), 100);
}

#[test]
fn a_server_that_may_not_ask_for_pending_entries_goes_on_serving() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.now = rig.now + SECOND / 20; // a 50 ms handler: one place
    rig.end(&job);
    rig.answer("XADD", added());
    rig.acknowledged();
    rig.answer("XDEL", Reply::Integer(1));
    rig.run(SECOND * 2);
    let sent = rig.take("XAUTOCLAIM");
    rig.reply(sent.token, claimed(StreamId::ZERO, vec![request(2)]));
    rig.habit = quiet;
    let mut served = 0;
    for ms in 10..30 {
        while let Some(sent) = rig.find("XPENDING") {
            rig.refuse(sent.token, "NOPERM");
        }
        if let Some(sent) = rig.find("XREADGROUP") {
            rig.reply(sent.token, Reply::Entries(vec![request(ms)]));
        }
        for job in rig.jobs() {
            served += 1;
            rig.end(&job);
        }
        while let Some(sent) = rig.find("XADD") {
            rig.reply(sent.token, added());
        }
        while let Some(sent) = rig.find("XACK").or_else(|| rig.find("XDEL")) {
            rig.reply(sent.token, Reply::Integer(1));
        }
        rig.run(SECOND / 2);
    }
    assert!(served >= 10, "served only {served} in 10 s");
}

#[test]
fn a_redis_that_is_loading_is_not_asked_ten_times_a_second_for_ever() {
    let mut rig = rig();
    rig.habit = |_| None;
    let mut opened = 0;
    let start = rig.now;
    while rig.now < start + 30 * SECOND {
        opened += rig.opening.iter().filter(|lane| **lane == Lane::Blocking(0)).count();
        rig.open_lanes();
        while let Some(sent) = rig.find("XREADGROUP") {
            rig.refuse(sent.token, "LOADING");
        }
        for name in ["XINFO GROUPS", "XPENDING", "XAUTOCLAIM"] {
            while let Some(sent) = rig.find(name) {
                rig.refuse(sent.token, "LOADING");
            }
        }
        rig.run(SECOND / 50);
    }
    let said = rig.events().iter().filter(|e| matches!(e, ServerEvent::Disconnected(_))).count();
    assert!(opened <= 60, "{opened} connections of one lane in 30 s, {said} times 'disconnected'");
}

#[test]
fn a_tick_of_zero_is_no_hot_loop() {
    let mut config = config();
    config.reclaim_tick = Duration::ZERO;
    let mut rig = serving(config, service("arith"));
    rig.habit = quiet;
    rig.run(SECOND);
}

#[test]
fn an_idle_time_of_zero_is_no_hot_loop() {
    let mut config = config();
    config.claim_idle = Duration::ZERO;
    let mut rig = serving(config, service("arith"));
    rig.deliver(vec![notification(1)]);
    let _job = rig.job();
    rig.run(2 * SECOND);
    for n in 0..1000 {
        match rig.find("XAUTOCLAIM") {
            Some(sent) => rig.reply(sent.token, claimed(StreamId::ZERO, vec![notification(1)])),
            None => return,
        }
        assert!(n < 100, "{n} claims without any time passing");
    }
}

#[test]
fn no_limit_is_a_count_that_redis_takes() {
    let rig = &mut rig_with_handlers(usize::MAX);
    let sent = rig.take("XREADGROUP");
    let Command::XReadGroup { count, .. } = sent.command else { panic!() };
    assert!(count <= 100_000, "COUNT {count}");
}
