//! Rule 5.3: a client that calls ever new services does not grow with their number.

use super::*;
use crate::client::streams::KNOWN_MIN;
use crate::reply::GroupInfo;

impl Rig<Client> {
    /// Calls so many services, one after the other, each of which answers.
    fn meet(&mut self, services: usize) {
        for number in 0..services {
            let method = format!("device-{number}.read");
            let method = Method::parse(&method).unwrap();
            let id = self.engine.call(self.now, &method, &Json::null(), None, None);
            self.drain();
            self.confirm();
            self.replies(vec![(id.0, success(id, "1"))]);
            assert_eq!(self.finished().len(), 1);
        }
    }

    /// Withdraws a call whose request became this entry, when the workers had been given this one.
    fn withdraw(&mut self, entry: u64, given: u64) -> usize {
        self.call_within(Some(SECOND));
        self.answer("XADD", Reply::Added(Some(StreamId::new(entry, 0))));
        self.run(SECOND - SECOND / 16);
        let arith = GroupInfo::new(Bytes::from_static(b"arith"), StreamId::new(given, 0));
        self.answer("XINFO GROUPS", Reply::Groups(vec![arith]));
        self.count("XDEL")
    }
}

#[test]
fn services_with_nothing_under_way_are_forgotten_and_others_are_not() {
    let mut rig = rig();
    let id = rig.call();
    rig.confirm();
    for _ in 0..5 {
        rig.meet(KNOWN_MIN);
        assert!(rig.engine.streams.len() <= KNOWN_MIN);
        assert!(rig.engine.calls.services() <= KNOWN_MIN);
    }
    assert!(rig.engine.streams.find("arith").is_some());
    assert_eq!(rig.engine.stats().in_flight, 1);
    rig.replies(vec![(9, success(id, "3"))]);
    assert_eq!(rig.finished(), [(id, Ok(Json::encode(&3).unwrap()))]);
    rig.meet(KNOWN_MIN);
    assert!(rig.engine.streams.find("arith").is_none());
    assert_eq!(rig.engine.stats().in_flight, 0);
}

#[test]
fn what_workers_were_given_is_known_of_services_with_calls_under_way() {
    for busy in [true, false] {
        let mut rig = rig();
        assert_eq!(rig.withdraw(9, 9), 0);
        rig.run(3 * SECOND);
        rig.events();
        if busy {
            rig.call();
            rig.confirm();
        }
        rig.meet(KNOWN_MIN);
        // The group was set back: if that is known, nobody is sure who was given what.
        assert_eq!(rig.withdraw(8, 4), usize::from(!busy));
    }
}
