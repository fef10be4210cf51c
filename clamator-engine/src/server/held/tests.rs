//! What is held, alone: no server around it.

use clamator_proto::RequestId;

use super::super::outbound::LOSSES_IN_COMPANY;
use super::*;

fn key(number: u64) -> Key {
    Key { epoch: 0, id: StreamId::new(number, 0) }
}

fn outbound() -> Outbound {
    Outbound::new(Bytes::new(), Vec::new(), Write::Reply(RequestId::from_text("1")))
}

#[test]
fn a_reply_with_which_lanes_end_is_sent_behind_all_others_and_alone() {
    let mut held = Held::default();
    held.insert_replying(key(1), outbound());
    held.insert_replying(key(2), outbound());
    for _ in 0..LOSSES_IN_COMPANY {
        assert_eq!(held.next_unsent(Turn::Others), Some(key(1)));
        assert!(held.send_reply(key(1)).is_some_and(|reply| !reply.is_suspect()));
        assert!(held.lose_reply(key(1)).is_some());
        held.unsend_reply(key(1));
    }
    assert_eq!(
        (held.next_unsent(Turn::Others), held.next_unsent(Turn::Any)),
        (Some(key(2)), Some(key(2)))
    );
    held.send_reply(key(2));
    assert_eq!((held.next_unsent(Turn::Others), held.next_unsent(Turn::Any)), (None, Some(key(1))));
}

fn waiting(held: &mut Held, number: u64) {
    held.insert_waiting(key(number), Unstarted::new(Vec::new(), 1));
}

#[test]
fn the_oldest_entry_starts_first_whatever_came_first() {
    let mut held = Held::default();
    waiting(&mut held, 2);
    waiting(&mut held, 1);
    assert_eq!(held.pop_waiting().map(|(key, _)| key), Some(key(1)));
    assert_eq!(held.pop_waiting().map(|(key, _)| key), Some(key(2)));
}

#[test]
fn an_entry_whose_deliveries_are_not_known_does_not_start() {
    let mut held = Held::default();
    held.insert_uncounted(key(1), Vec::new());
    assert!(held.pop_waiting().is_none());
    assert_eq!(held.unstarted(), 1);
    held.count(key(1), 3);
    assert_eq!(held.pop_waiting().map(|(_, unstarted)| unstarted.deliveries), Some(3));
}

#[test]
fn what_is_dropped_is_not_held_in_any_way() {
    let mut held = Held::default();
    waiting(&mut held, 1);
    held.insert_uncounted(key(2), Vec::new());
    let (fields, job) = (Vec::new(), JobId(1));
    let (started, reply) = (Instant::ZERO, None);
    let deliveries = 1;
    let run =
        Run { fields, job, started, deliveries, reply, lost: false, overdue: false, again: None };
    held.insert_running(key(3), run);
    held.insert_replying(key(4), outbound());
    for number in 1..=4 {
        held.remove(key(number));
    }
    assert_eq!((held.len(), held.unstarted(), held.running()), (0, 0, 0));
    assert_eq!(held.next_unsent(Turn::Any), None);
}
