//! What a client counts, and whether it says that it cannot call when it cannot.
//!
//! Not what single calls end with: that is with the rules of sending and of replies.

use super::*;
use crate::engine::Loss;
use crate::health::{Ailment, Health};

impl Rig<Client> {
    fn healthy(&self) -> bool {
        self.engine.health(self.now).is_healthy()
    }

    fn refused(&self) -> Vec<&'static str> {
        let Health::Unhealthy { reasons } = self.engine.health(self.now) else { return vec![] };
        let command = |reason: &Ailment| match reason {
            Ailment::Refused { command, service: None, .. } => *command,
            other => panic!("{other:?}"),
        };
        reasons.iter().map(command).collect()
    }
}

#[test]
fn every_call_is_counted_by_how_it_ends() {
    let mut rig = rig();
    let answered = rig.call();
    rig.notify();
    rig.confirm();
    rig.confirm();
    assert_eq!(rig.engine.stats().in_flight, 1);
    rig.replies(vec![(1, success(answered, "1"))]);
    for code in ["OOM", "WRONGTYPE"] {
        rig.call();
        let sent = rig.take("XADD");
        rig.refuse(sent.token, code);
    }
    rig.call();
    rig.answer("XADD", Reply::Added(None));
    rig.call_within(Some(SECOND / 10));
    rig.confirm();
    rig.pass(SECOND / 10);
    rig.call();
    rig.lose(Lane::Command);
    rig.notify();
    rig.run(SECOND / 2);
    rig.open_lanes();
    let stats = rig.engine.stats();
    let ends = (stats.replies, stats.refused, stats.no_workers, stats.timeouts);
    assert_eq!((stats.calls, stats.notifications, ends), (6, 2, (1, 2, 1, 1)));
    assert_eq!((stats.outcomes_unknown, stats.not_sent, stats.reconnects), (1, 1, 1));
    let named: u64 = stats.counters().map(|(_, count)| count).sum();
    assert_eq!(named, 6 + 2 + 5 + 1 + 1 + 1);
}

#[test]
fn a_client_whose_reads_are_not_answered_is_unhealthy_after_two_of_them_and_a_second() {
    let mut rig = rig();
    rig.run(10 * SECOND);
    assert!(rig.healthy());
    rig.reads_run_out = false;
    for _ in 0..29 {
        rig.run(SECOND / 10);
        rig.open_lanes();
        assert!(rig.healthy(), "{:?}", rig.now);
    }
    for _ in 0..12 {
        rig.run(SECOND / 10);
        rig.open_lanes();
    }
    let Health::Unhealthy { reasons } = rig.engine.health(rig.now) else { panic!() };
    assert!(matches!(&reasons[..], [Ailment::Silent { unanswered }] if *unanswered > 3 * SECOND));
    rig.replies(vec![]);
    assert!(rig.healthy());
}

#[test]
fn a_client_that_cannot_connect_is_unhealthy_until_it_can() {
    let mut rig = rig_with(|_| {});
    assert!(rig.healthy());
    let unreachable = Loss::Unreachable { address: "here".into(), detail: "refused".into() };
    for lane in [Lane::Command, Lane::Blocking(0)] {
        rig.opening.retain(|opening| *opening != lane);
        rig.input(Input::LaneLost(lane, unreachable.clone()));
    }
    // Both for one reason.
    let reasons = vec![Ailment::Disconnected(unreachable)];
    assert_eq!(rig.engine.health(rig.now), Health::Unhealthy { reasons });
    rig.run(SECOND);
    rig.open_lanes();
    assert!(rig.healthy());
}

#[test]
fn a_request_that_redis_refuses_in_its_trouble_is_an_ailment_for_a_moment() {
    let mut rig = rig();
    for (code, ailment) in [("OOM", true), ("MISCONF", true), ("NOPERM", false)] {
        rig.call();
        let sent = rig.take("XADD");
        rig.refuse(sent.token, code);
        assert_eq!(!rig.healthy(), ailment, "{code}");
        rig.call();
        rig.confirm();
        assert!(rig.healthy(), "{code}");
        rig.call();
        let sent = rig.take("XADD");
        rig.refuse(sent.token, code);
        assert_eq!(!rig.refused().is_empty(), ailment, "{code}");
        rig.run(4 * SECOND);
        assert!(rig.healthy(), "{code}");
    }
}

#[test]
fn a_client_that_may_not_read_its_replies_is_unhealthy_until_it_may() {
    let mut rig = rig();
    for _ in 0..5 {
        let read = rig.take("XREAD");
        rig.refuse(read.token, "NOPERM");
        rig.run(SECOND);
        assert_eq!(rig.refused(), ["XREAD"]);
    }
    rig.replies(vec![]);
    assert!(rig.healthy());
}

#[test]
fn a_client_that_has_stopped_says_so() {
    let mut rig = rig();
    rig.engine.stop(rig.now);
    rig.drain();
    rig.answer("DEL", Reply::Integer(1));
    let stopped = Health::Unhealthy { reasons: vec![Ailment::Stopped] };
    assert_eq!(rig.engine.health(rig.now), stopped);
}
