//! The rules of a consumer group, one by one.
//!
//! Not the commands that lead here: see `commands`. What is expected is what real servers do, as the
//! comparison with them shows.

use super::*;
use crate::engine::Version;
use alloc::vec;

const ANA: Bytes = Bytes::from_static(b"ana");
const BOB: Bytes = Bytes::from_static(b"bob");

fn id(ms: u64) -> StreamId {
    StreamId::new(ms, 0)
}

fn log(entries: u64) -> Log {
    let mut log = Log::default();
    for ms in 1..=entries {
        log.add(ms, vec![(Bytes::from_static(b"a"), Bytes::from_static(b"b"))]);
    }
    log
}

/// A group whose consumer `ana` was given all entries of the log at time 1000.
fn group(log: &Log) -> Group {
    let mut group = Group::new(StreamId::ZERO);
    group.read_new(log, 1000, &ANA, 0);
    group
}

const fn on(major: u32, minor: u32) -> Dialect {
    Dialect::new(Version::new(major, minor, 0))
}

fn scan(count: u64) -> Scan {
    Scan { consumer: BOB, count, dialect: on(7, 0), idle_ms_min: 50, start: StreamId::ZERO }
}

fn ids(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.id.ms).collect()
}

/// Next, claimed, deleted, nameless.
fn told(reply: Result<Reply, Refusal>) -> (u64, Vec<u64>, Vec<u64>, usize) {
    let Ok(Reply::Claimed { next, entries, deleted, nameless }) = reply else {
        unreachable!("a claim is answered by Claimed")
    };
    (next.ms, ids(&entries), deleted.iter().map(|id| id.ms).collect(), nameless)
}

fn held(group: &Group, consumer: &Bytes) -> Vec<u64> {
    group.held(1000, consumer, StreamId::ZERO).map(|entry| entry.id.ms).collect()
}

#[test]
fn consumers_are_given_disjoint_entries_in_order() {
    let log = log(5);
    let mut group = Group::new(id(1));
    assert_eq!(ids(&group.read_new(&log, 9, &ANA, 2)), [2, 3]);
    assert_eq!(ids(&group.read_new(&log, 9, &BOB, 9)), [4, 5]);
    assert_eq!(ids(&group.read_new(&log, 9, &ANA, 9)), [0_u64; 0]);
    assert_eq!(group.last_delivered(), id(5));
    assert_eq!((held(&group, &ANA), held(&group, &BOB)), (vec![2, 3], vec![4, 5]));
}

#[test]
fn a_claim_takes_what_is_idle_for_exactly_the_minimum() {
    let log = log(2);
    let mut group = group(&log);
    assert_eq!(told(group.scan(&log, 1049, &scan(9))), (0, vec![], vec![], 0));
    assert_eq!(told(group.scan(&log, 1050, &scan(9))), (0, vec![1, 2], vec![], 0));
    assert_eq!((held(&group, &ANA), held(&group, &BOB)), (vec![], vec![1, 2]));
    let pending: Vec<_> = group.pending(1050).collect();
    assert_eq!(pending[0], PendingEntry::new(id(1), BOB, 0, 2));
}

#[test]
fn a_claim_of_own_entries_keeps_them() {
    let log = log(1);
    let mut group = group(&log);
    let own = Scan { consumer: ANA, ..scan(9) };
    assert_eq!(told(group.scan(&log, 1050, &own)), (0, vec![1], vec![], 0));
    assert_eq!(held(&group, &ANA), [1]);
}

#[test]
fn a_claim_takes_count_entries_and_says_where_to_go_on() {
    let log = log(5);
    let mut group = group(&log);
    assert_eq!(told(group.scan(&log, 1050, &scan(2))), (3, vec![1, 2], vec![], 0));
    let rest = Scan { start: id(4), ..scan(2) };
    assert_eq!(told(group.scan(&log, 1050, &rest)), (0, vec![4, 5], vec![], 0));
}

#[test]
fn a_claim_looks_at_ten_pending_entries_for_each_it_may_take() {
    let log = log(25);
    let mut group = group(&log);
    assert_eq!(told(group.scan(&log, 1001, &scan(2))), (21, vec![], vec![], 0));
    let rest = Scan { start: id(21), ..scan(2) };
    assert_eq!(told(group.scan(&log, 1001, &rest)), (0, vec![], vec![], 0));
}

#[test]
fn a_claim_drops_deleted_entries_however_fresh_and_they_use_up_count() {
    let mut log = log(4);
    let mut group = group(&log);
    log.remove(id(1));
    log.remove(id(2));
    assert_eq!(told(group.scan(&log, 1000, &scan(1))), (2, vec![], vec![1], 0));
    assert_eq!(told(group.scan(&log, 1050, &scan(2))), (4, vec![3], vec![2], 0));
    assert_eq!((held(&group, &ANA), held(&group, &BOB)), (vec![4], vec![3]));
}

#[test]
fn redis_6_2_claims_deleted_entries_without_naming_them() {
    let mut log = log(2);
    let mut group = group(&log);
    log.remove(id(1));
    let old = Scan { dialect: on(6, 2), ..scan(1) };
    assert_eq!(told(group.scan(&log, 1049, &old)), (0, vec![], vec![], 0));
    assert_eq!(told(group.scan(&log, 1050, &old)), (2, vec![], vec![], 1));
    assert_eq!(held(&group, &BOB), [1]);
}

#[test]
fn before_7_2_a_claim_that_takes_nothing_leaves_no_consumer_behind() {
    let log = log(1);
    for (dialect, consumers) in
        [(on(6, 2), vec![&ANA]), (on(7, 0), vec![&ANA]), (on(7, 2), vec![&ANA, &BOB])]
    {
        let mut group = group(&log);
        let claim = Scan { dialect, ..scan(1) };
        assert_eq!(told(group.scan(&log, 1049, &claim)), (0, vec![], vec![], 0));
        assert_eq!(group.consumers().collect::<Vec<_>>(), consumers);
        assert_eq!(told(group.scan(&log, 1050, &claim)), (0, vec![1], vec![], 0));
        assert_eq!(group.consumers().collect::<Vec<_>>(), [&ANA, &BOB]);
    }
}

#[test]
fn from_7_0_on_a_claim_of_more_than_any_memory_holds_is_refused() {
    let log = log(1);
    let most = i64::MAX.cast_unsigned() / 16;
    let mut group = group(&log);
    let refused = group.scan(&log, 1050, &scan(most));
    let text = "Insufficient memory, failed allocating transient memory, COUNT too high.";
    assert_eq!(refused, Err(Refusal::new("ERR", text)));
    let old = Scan { dialect: on(6, 2), ..scan(most) };
    assert_eq!(told(group.scan(&log, 1050, &old)), (0, vec![1], vec![], 0));
}

fn take(dialect: Dialect, idle_ms_min: u64, claim_as: ClaimAs) -> Claim {
    Claim { claim_as, consumer: BOB, dialect, idle_ms_min }
}

#[test]
fn a_claim_by_id_takes_what_is_idle_enough_and_counts_no_delivery() {
    let log = log(3);
    let mut group = group(&log);
    let wanted = [id(3), id(1), id(9)];
    assert_eq!(group.claim(&log, 1049, &take(on(7, 0), 50, ClaimAs::Renewed), &wanted), []);
    let claimed = group.claim(&log, 1050, &take(on(7, 0), 50, ClaimAs::Renewed), &wanted);
    assert_eq!(claimed, [id(3), id(1)]);
    assert_eq!((held(&group, &ANA), held(&group, &BOB)), (vec![2], vec![1, 3]));
    let pending: Vec<_> = group.pending(1060).collect();
    assert_eq!(pending[0], PendingEntry::new(id(1), BOB, 10, 1));
}

#[test]
fn a_claim_by_id_that_delivers_counts_it() {
    let log = log(1);
    let mut group = group(&log);
    assert_eq!(group.claim(&log, 1050, &take(on(7, 0), 50, ClaimAs::Delivered), &[id(1)]), [id(1)]);
    let pending: Vec<_> = group.pending(1060).collect();
    assert_eq!(pending, [PendingEntry::new(id(1), BOB, 10, 2)]);
}

#[test]
fn what_is_handed_back_is_as_idle_as_can_be_and_has_the_count_that_is_told() {
    let log = log(1);
    let mut group = group(&log);
    assert_eq!(
        group.claim(
            &log,
            1050,
            &take(on(7, 0), 1, ClaimAs::HandedBack { deliveries: 0 }),
            &[id(1)]
        ),
        [id(1)]
    );
    let pending: Vec<_> = group.pending(1060).collect();
    assert_eq!(pending, [PendingEntry::new(id(1), BOB, 1060, 0)]);
}

#[test]
fn from_7_0_on_a_claim_by_id_drops_what_is_gone_from_the_stream() {
    for (dialect, claimed, pending) in
        [(on(6, 2), vec![id(1), id(2)], 2), (on(7, 0), vec![id(2)], 1)]
    {
        let mut log = log(2);
        let mut group = group(&log);
        log.remove(id(1));
        let ids = [id(1), id(2)];
        assert_eq!(group.claim(&log, 1050, &take(dialect, 0, ClaimAs::Renewed), &ids), claimed);
        assert_eq!(group.pending(1050).count(), pending);
    }
}

#[test]
fn before_7_2_a_claim_by_id_that_takes_nothing_leaves_no_consumer_behind() {
    for (dialect, consumers) in [(on(7, 0), vec![&ANA]), (on(7, 2), vec![&ANA, &BOB])] {
        let log = log(1);
        let mut group = group(&log);
        assert_eq!(group.claim(&log, 1049, &take(dialect, 50, ClaimAs::Renewed), &[id(1)]), []);
        assert_eq!(group.consumers().collect::<Vec<_>>(), consumers);
    }
}

#[test]
fn a_settled_entry_is_no_longer_pending() {
    let log = log(2);
    let mut group = group(&log);
    assert!(group.settle(id(1)));
    assert!(!group.settle(id(1)));
    assert_eq!(held(&group, &ANA), [2]);
    assert_eq!(group.summary(), Reply::Pending { count: 1, first: Some(id(2)) });
}

#[test]
fn deleting_a_consumer_destroys_what_it_holds_for_good() {
    let log = log(3);
    let mut group = group(&log);
    assert_eq!(group.delete_consumer(&ANA), 3);
    assert_eq!(group.delete_consumer(&ANA), 0);
    assert_eq!(group.summary(), Reply::Pending { count: 0, first: None });
    assert_eq!(group.read_new(&log, 1000, &ANA, 9), vec![]);
}

#[test]
fn idle_time_is_never_negative() {
    let group = group(&log(1));
    assert_eq!(group.pending(10).map(|entry| entry.idle_ms).collect::<Vec<_>>(), [0]);
}
