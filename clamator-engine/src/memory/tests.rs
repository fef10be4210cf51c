//! Tests of the server as a whole: waiting reads, the clock, and what nobody asks for on a
//! connection (an operator's deeds, older copies of the data).
//!
//! Not of single commands, which are tested beside them.

use super::testing::{
    Desk, GROUP, KEY, ack, add, add_to, create_group, delete, id, read, read_group,
};
use super::*;
use crate::command::GroupStart;
use alloc::vec;

const WAIT: Duration = Duration::from_millis(50);

#[test]
fn a_wait_ends_empty_when_its_time_runs_out() {
    let mut desk = Desk::with_group();
    let reader = desk.send_anew(read_group(50));
    assert_eq!(desk.streams.poll(desk.now), Progress::Idle(Some(desk.now + WAIT)));
    desk.sleep(49);
    assert_eq!(desk.replies(), []);
    desk.sleep(1);
    assert_eq!(desk.replies(), [(reader, "[]".into())]);
    assert_eq!(desk.streams.poll(desk.now), Progress::Idle(None));
}

#[test]
fn an_entry_at_the_last_instant_is_read_and_one_after_it_is_not() {
    for (millis, expected) in [(50, "[1050-0]"), (51, "[]")] {
        let mut desk = Desk::with_group();
        let reader = desk.send_anew(read_group(50));
        desk.sleep(millis);
        desk.send(desk.main, add());
        assert!(desk.replies().contains(&(reader, expected.into())), "{millis}");
    }
}

#[test]
fn commands_behind_a_blocked_read_wait_and_are_answered_in_order() {
    let mut desk = Desk::with_group();
    let reader = desk.send_anew(read_group(50));
    desk.send(reader, add_to(Bytes::from_static(b"other")));
    desk.send(reader, read_group(50));
    desk.send(reader, read(0));
    assert_eq!((desk.replies(), desk.streams.len(b"other")), (vec![], 0));
    desk.sleep(20);
    assert_eq!(desk.ask_among(add(), reader), ["[1020-0]", "1020-0"]);
    desk.sleep(50);
    assert_eq!(desk.replies(), [(reader, "[]".into()), (reader, "[1020-0]".into())]);
}

#[test]
fn a_disconnected_reader_is_given_nothing_and_its_queue_is_dropped() {
    let mut desk = Desk::with_group();
    let reader = desk.send_anew(read_group(50));
    desk.send(reader, add_to(Bytes::from_static(b"other")));
    desk.streams.disconnect(desk.now, reader);
    assert_eq!(desk.ask(add()), "1000-0");
    assert_eq!((desk.streams.len(b"other"), desk.pending()), (0, 0));
    desk.send(reader, read(0));
    assert_eq!(desk.replies(), []);
}

#[test]
fn what_was_given_to_a_connection_before_it_closed_stays_pending() {
    let mut desk = Desk::with_group();
    let reader = desk.send_anew(read_group(50));
    desk.send(desk.main, add());
    desk.streams.disconnect(desk.now, reader);
    assert_eq!(desk.replies(), [(desk.main, "1000-0".into())]);
    assert_eq!(desk.pending(), 1);
}

#[test]
fn client_unblock_ends_a_wait_empty_and_says_whether_there_was_one() {
    let mut desk = Desk::with_group();
    let reader = desk.send_anew(read_group(50));
    let unblock = Command::ClientUnblock { client: reader.number() };
    assert_eq!(desk.ask_among(unblock.clone(), reader), ["[]"]);
    assert_eq!(desk.ask(unblock), "0");
}

#[test]
fn the_clock_is_the_epoch_plus_what_has_passed_and_may_step_back() {
    let mut desk = Desk::with_group();
    desk.sleep(7);
    assert_eq!(desk.streams.time(desk.now), Duration::from_millis(1007));
    assert_eq!(desk.ask(add()), "1007-0");
    desk.streams.set_epoch_ms(500);
    assert_eq!(desk.ask(add()), "1007-1");
}

/// A desk whose stream has entries at 1000, 1001, … ms.
fn desk_with(entries: u64) -> Desk {
    let mut desk = Desk::with_group();
    for _ in 0..entries {
        desk.ask(add());
        desk.sleep(1);
    }
    desk
}

fn ids_of(desk: &Desk) -> Vec<StreamId> {
    desk.streams.ids(&KEY).collect()
}

#[test]
fn trimming_drops_the_oldest_entries_pending_or_not() {
    let mut desk = desk_with(4);
    desk.ask(read_group(0));
    assert_eq!(desk.streams.trim(desk.now, &KEY, 1), 3);
    assert_eq!(ids_of(&desk), [id(3)]);
    assert_eq!(desk.pending(), 4, "what is pending stays so");
    assert_eq!(desk.streams.trim(desk.now, &KEY, 1), 0);
    assert_eq!(desk.streams.trim(desk.now, &KEY, 0), 1);
    assert_eq!((desk.streams.len(&KEY), desk.streams.keys().count()), (0, 1));
    assert_eq!(desk.streams.trim(desk.now, b"nothing", 0), 0);
}

#[test]
fn what_an_operator_does_is_done_at_once_and_wakes_who_waits() {
    let mut desk = Desk::with_group();
    let reader = desk.send_anew(read_group(50));
    let added = desk.streams.carry_out(desk.now, add());
    assert_eq!(added, Ok(Reply::Added(Some(id(0)))));
    assert_eq!(desk.replies(), [(reader, "[1000-0]".into())], "the operator's answer is not here");
}

#[test]
fn an_operator_never_waits() {
    let mut desk = Desk::with_group();
    let nothing = desk.streams.carry_out(desk.now, read_group(50));
    assert_eq!(nothing, Ok(Reply::Entries(vec![])));
    assert_eq!(desk.streams.poll(desk.now), Progress::Idle(None), "nobody waits");
    assert_eq!(desk.ask(add()), "1000-0");
    assert_eq!(desk.pending(), 0, "the operator's read has ended");
}

#[test]
fn what_an_operator_is_refused_changes_nothing() {
    let mut desk = desk_with(1);
    desk.streams.set_string(desk.now, Bytes::from_static(b"other"));
    let refused = desk.streams.carry_out(desk.now, add_to(Bytes::from_static(b"other")));
    assert_eq!(refused.map_err(|refusal| refusal.code), Err("WRONGTYPE".into()));
    assert_eq!(ids_of(&desk), [id(0)]);
}

#[test]
fn an_older_copy_brings_back_entries_groups_and_what_was_pending() {
    let mut desk = desk_with(2);
    desk.ask(read_group(0));
    let snapshot = desk.streams.snapshot();
    desk.ask(ack(&[id(0), id(1)]));
    desk.ask(delete(&[id(0)]));
    desk.ask(add());
    desk.ask(read_group(0));
    desk.ask(add_to(Bytes::from_static(b"later")));
    desk.streams.restore(desk.now, snapshot);
    assert_eq!(ids_of(&desk), [id(0), id(1)]);
    assert_eq!(desk.pending(), 2);
    assert_eq!(desk.streams.last_delivered(&KEY, &GROUP), Some(id(1)));
    assert_eq!(desk.streams.keys().collect::<Vec<_>>(), [&KEY]);
    assert_eq!(desk.ask(add()), "1002-0", "an id that was given before is given again");
}

#[test]
fn restoring_wakes_who_waits_for_what_is_back() {
    let mut desk = desk_with(1);
    let snapshot = desk.streams.snapshot();
    desk.ask(read_group(0));
    let reader = desk.send_anew(read_group(50));
    desk.streams.restore(desk.now, snapshot);
    assert_eq!(desk.replies(), [(reader, "[1000-0]".into())]);
}

#[test]
fn restoring_a_time_without_the_group_ends_its_reads() {
    let mut desk = Desk::new(Version::new(7, 0, 0));
    let snapshot = desk.streams.snapshot();
    desk.ask(create_group(GroupStart::New));
    let reader = desk.send_anew(read_group(50));
    desk.streams.restore(desk.now, snapshot);
    let replies = desk.replies();
    let [(to, reply)] = replies.as_slice() else { unreachable!("{replies:?}") };
    assert!(*to == reader && reply.starts_with("UNBLOCKED"), "{reply}");
    assert_eq!(desk.streams.keys().count(), 0);
}

#[test]
fn looking_tells_what_the_commands_tell() {
    let mut desk = desk_with(2);
    assert_eq!(desk.streams.last_delivered(&KEY, &GROUP), Some(StreamId::ZERO));
    assert_eq!(desk.streams.consumers(&KEY, &GROUP).count(), 0);
    desk.ask(read_group(0));
    assert_eq!(desk.streams.last_delivered(&KEY, &GROUP), Some(id(1)));
    assert_eq!(desk.streams.consumers(&KEY, &GROUP).collect::<Vec<_>>(), [&b"c"[..]]);
    assert_eq!(desk.streams.groups(&KEY).collect::<Vec<_>>(), [&GROUP]);
    desk.sleep(7);
    let told = desk.streams.pending_entry(desk.now, &KEY, &GROUP, id(1));
    assert_eq!(told.map(|entry| (entry.idle_ms, entry.deliveries)), Some((7, 1)));
    assert!(desk.streams.find(&KEY, id(1)).is_some());
    desk.ask(ack(&[id(1)]));
    desk.ask(delete(&[id(1)]));
    assert_eq!(desk.streams.pending_entry(desk.now, &KEY, &GROUP, id(1)), None);
    assert_eq!(desk.streams.find(&KEY, id(1)), None);
    assert_eq!(ids_of(&desk), [id(0)]);
}

#[test]
fn looking_for_what_is_not_there_finds_nothing() {
    let mut desk = desk_with(1);
    desk.streams.set_string(desk.now, Bytes::from_static(b"other"));
    for key in [&b"nothing"[..], b"other"] {
        assert_eq!(desk.streams.ids(key).count(), 0);
        assert_eq!(desk.streams.groups(key).count(), 0);
        assert_eq!(desk.streams.consumers(key, &GROUP).count(), 0);
        assert_eq!(desk.streams.last_delivered(key, &GROUP), None);
        assert_eq!(desk.streams.len(key), 0);
        assert_eq!(desk.streams.pending(desk.now, key, &GROUP), []);
    }
    assert_eq!(desk.streams.last_delivered(&KEY, b"nobody"), None);
    assert_eq!(desk.streams.keys().collect::<Vec<_>>(), [&b"other"[..], &KEY]);
}

#[test]
fn the_next_end_of_a_wait_is_known_without_asking() {
    let mut desk = Desk::with_group();
    assert_eq!(desk.streams.due(), None);
    let first = desk.send_anew(read_group(50));
    desk.sleep(10);
    desk.send_anew(read_group(20));
    assert_eq!(desk.streams.due(), Some(desk.now + Duration::from_millis(20)));
    desk.sleep(20);
    assert_eq!(desk.replies().len(), 1);
    assert_eq!(desk.streams.due(), Some(desk.now + Duration::from_millis(20)));
    desk.streams.disconnect(desk.now, first);
    assert_eq!(desk.streams.due(), None);
}

#[test]
fn a_key_lives_until_the_last_millisecond_of_its_time() {
    let mut desk = Desk::with_group();
    let expire = |millis| Command::PExpire { key: KEY, ttl: Duration::from_millis(millis) };
    assert_eq!(desk.ask(expire(20)), "1");
    desk.sleep(5);
    assert_eq!(desk.streams.ttl(desk.now, &KEY), Some(Duration::from_millis(15)));
    assert_eq!((desk.ask(add()), desk.ask(expire(10))), ("1005-0".into(), "1".into()));
    desk.sleep(10);
    assert_eq!(desk.ask(read(0)), "[1005-0]");
    desk.sleep(1);
    assert_eq!((desk.ask(read(0)), desk.ask(expire(10))), ("[]".into(), "0".into()));
    assert_eq!(desk.streams.keys().count(), 0);
}

#[test]
fn a_key_that_is_made_anew_lives_on() {
    let expire = |millis| Command::PExpire { key: KEY, ttl: Duration::from_millis(millis) };
    let ends: [fn(&mut Desk); 3] = [
        |desk| assert_eq!(desk.ask(Command::Del { key: KEY }), "1"),
        |desk| desk.streams.flush_all(desk.now),
        |desk| desk.streams.set_string(desk.now, KEY),
    ];
    for end in ends {
        let mut desk = Desk::with_group();
        assert_eq!(desk.ask(expire(20)), "1");
        end(&mut desk);
        desk.ask(add());
        desk.sleep(30);
        desk.ask(add());
        assert_eq!((desk.streams.ttl(desk.now, &KEY), desk.streams.keys().count()), (None, 1));
    }
    let mut desk = Desk::with_group();
    assert_eq!(desk.ask(expire(0)), "1");
    assert_eq!(desk.streams.keys().count(), 0, "no time is none");
}

#[test]
fn an_older_copy_of_the_data_knows_how_long_its_keys_live() {
    let mut desk = Desk::with_group();
    let ttl = Duration::from_millis(20);
    assert_eq!(desk.ask(Command::PExpire { key: KEY, ttl }), "1");
    let copy = desk.streams.snapshot();
    assert_eq!(desk.ask(Command::Del { key: KEY }), "1");
    desk.streams.restore(desk.now, copy);
    assert_eq!(desk.streams.ttl(desk.now, &KEY), Some(ttl));
    desk.sleep(21);
    assert_eq!(desk.replies(), []);
    assert_eq!(desk.streams.keys().count(), 0);
}

#[test]
fn the_time_is_that_of_the_clock() {
    let mut desk = Desk::with_group();
    desk.sleep(5);
    assert_eq!(desk.ask(Command::Time), "Time(1.005s)");
}
