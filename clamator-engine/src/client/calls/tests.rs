//! Numbers, places and ends of calls, one by one.
//!
//! Not whose turn it is, which has its tests beside it.

use super::*;

fn at(seconds: u64) -> Instant {
    Instant::from_start(Duration::from_secs(seconds))
}

fn insert(calls: &mut Calls, kind: Kind) -> u64 {
    insert_at(calls, at(0), b"", kind, Duration::from_secs(10))
}

fn insert_at(
    calls: &mut Calls,
    now: Instant,
    key: &'static [u8],
    kind: Kind,
    timeout: Duration,
) -> u64 {
    let id = calls.number();
    let (key, envelope) = (Bytes::from_static(key), Bytes::new());
    calls.insert(now, id, kind, Outgoing { key, envelope, traceparent: None }, timeout);
    id
}

fn send(calls: &mut Calls, places: usize) -> Option<u64> {
    calls.next_to_send(at(0), places).map(|(id, ..)| id)
}

fn expire(calls: &mut Calls, now: Instant) -> Option<Ended> {
    calls.due(now).map(|due| match due {
        Due::Expired(ended) => ended,
        Due::Ending(id) => panic!("{id} is about to end"),
    })
}

#[test]
fn a_call_whose_time_is_over_is_not_sent() {
    let mut calls = Calls::default();
    let id = insert(&mut calls, Kind::Call);
    assert!(calls.next_to_send(at(10), 1).is_none());
    assert_eq!(expire(&mut calls, at(10)), Some(Ended { id, kind: Kind::Call, sent: false }));
    assert!(!calls.expects_replies());
}

#[test]
fn calls_are_sent_in_order_as_places_get_free() {
    let mut calls = Calls::default();
    let ids = [(); 3].map(|()| insert(&mut calls, Kind::Call));
    assert_eq!(send(&mut calls, 2), Some(ids[0]));
    assert_eq!(send(&mut calls, 2), Some(ids[1]));
    assert_eq!(send(&mut calls, 2), None);
    calls.finish(ids[0]);
    assert_eq!(send(&mut calls, 2), Some(ids[2]));
}

#[test]
fn a_notification_takes_no_place() {
    let mut calls = Calls::default();
    let ids = [Kind::Call, Kind::Notification].map(|kind| insert(&mut calls, kind));
    assert_eq!(send(&mut calls, 1), Some(ids[0]));
    assert_eq!(send(&mut calls, 1), Some(ids[1]));
}

#[test]
fn the_end_of_a_notification_or_of_what_was_not_sent_frees_no_place() {
    let mut calls = Calls::default();
    insert(&mut calls, Kind::Call);
    let notification = insert(&mut calls, Kind::Notification);
    let unsent = insert(&mut calls, Kind::Call);
    while send(&mut calls, 1).is_some() {}
    calls.finish(notification);
    calls.finish(unsent);
    assert!(calls.expects_replies());
}

#[test]
fn the_place_of_an_expired_call_stays_taken_for_one_more_timeout() {
    let mut calls = Calls::default();
    let first = insert(&mut calls, Kind::Call);
    send(&mut calls, 1);
    let ended = Ended { id: first, kind: Kind::Call, sent: true };
    assert_eq!(expire(&mut calls, at(10)), Some(ended));
    assert_eq!(expire(&mut calls, at(19)), None);
    insert(&mut calls, Kind::Notification);
    insert(&mut calls, Kind::Call);
    send(&mut calls, 1);
    assert_eq!(send(&mut calls, 1), None, "the place is taken");
    while expire(&mut calls, at(20)).is_some() {}
    assert!(!calls.expects_replies());
}

#[test]
fn the_place_of_an_expired_call_stays_taken_for_a_minute_at_most() {
    let mut calls = Calls::default();
    insert_at(&mut calls, at(0), b"", Kind::Call, Duration::from_secs(3600));
    send(&mut calls, 1);
    assert!(expire(&mut calls, at(3600)).is_some());
    assert_eq!(expire(&mut calls, at(3659)), None);
    assert!(calls.expects_replies());
    while expire(&mut calls, at(3660)).is_some() {}
    assert!(!calls.expects_replies());
}

#[test]
fn a_service_that_is_never_answered_does_not_hold_up_the_others() {
    let mut calls = Calls::default();
    let timeout = Duration::from_secs(10);
    for second in 0..200 {
        let now = at(second);
        while expire(&mut calls, now).is_some() {}
        for _ in 0..5 {
            insert_at(&mut calls, now, b"unserved", Kind::Call, timeout);
        }
        let served = insert_at(&mut calls, now, b"served", Kind::Call, timeout);
        let mut sent = false;
        while let Some((id, ..)) = calls.next_to_send(now, 20) {
            sent |= id == served;
        }
        assert!(sent, "the call of second {second} has to wait");
        assert!(calls.finish(served).is_some());
    }
}

#[test]
fn the_place_of_an_expired_call_is_free_once_its_late_reply_is_seen() {
    let mut calls = Calls::default();
    let first = insert(&mut calls, Kind::Call);
    send(&mut calls, 1);
    expire(&mut calls, at(10));
    assert_eq!(calls.finish(first), None, "nobody waits for it");
    assert!(!calls.expects_replies());
}

#[test]
fn cancelling_an_expired_or_cancelled_call_does_not_free_its_place() {
    let mut calls = Calls::default();
    let first = insert(&mut calls, Kind::Call);
    send(&mut calls, 1);
    calls.cancel(at(1), first);
    calls.cancel(at(1), first);
    assert!(calls.expects_replies());
    assert_eq!(expire(&mut calls, at(10)), None);
    assert!(calls.expects_replies(), "one more timeout from the cancelling on");
    assert_eq!(expire(&mut calls, at(11)), None);
    assert!(!calls.expects_replies());
}

#[test]
fn a_call_that_was_not_sent_ends_without_taking_a_place() {
    let mut calls = Calls::default();
    let id = insert(&mut calls, Kind::Call);
    assert_eq!(expire(&mut calls, at(9)), None);
    assert_eq!(expire(&mut calls, at(10)), Some(Ended { id, kind: Kind::Call, sent: false }));
    assert_eq!(send(&mut calls, 1), None);
    assert!(!calls.expects_replies());
    assert_eq!(calls.deadline(), None);
}
