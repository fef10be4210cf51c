//! What is counted is counted where it happens, and for the service that it happens to.
//!
//! Not the counts that stand with the rules they belong to, in the other files.

use super::*;
use crate::engine::Lane;

#[test]
fn each_service_has_its_own_numbers_and_the_server_their_sum() {
    let mut rig = rig_of(config(), vec![service("arith"), service("other")]);
    rig.open_lanes();
    rig.answer("XGROUP CREATE", Reply::Ok);
    rig.answer("XGROUP CREATE", Reply::Ok);
    rig.habit = marks;
    rig.deliver(vec![request(1)]);
    rig.lose(Lane::Blocking(1));
    rig.run(SECOND);
    rig.open_lanes();
    let of = |rig: &Rig<Server>, name: Option<&str>| {
        let mut all = rig.engine.stats_by_service();
        all.find(|(of, _)| of.map(|of| of.as_str()) == name).unwrap().1
    };
    let arith = of(&rig, Some("arith"));
    assert_eq!((arith.jobs_started, arith.held, arith.running), (1, 1, 1));
    let other = of(&rig, Some("other"));
    assert_eq!((other.jobs_started, other.held, other.running), (0, 0, 0));
    assert_eq!(of(&rig, None).reconnects, 1);
    assert_eq!(rig.engine.stats().jobs_started, 1);
    assert_eq!(rig.engine.stats().reconnects, 1);
}

#[test]
fn what_is_held_and_what_runs_goes_up_and_down_and_replies_are_counted_when_they_are_written() {
    let mut rig = rig();
    rig.deliver((1..=2).map(request).collect());
    let told = |rig: &Rig<Server>| {
        let stats = rig.engine.stats();
        (stats.held, stats.running, stats.replies_written)
    };
    assert_eq!(told(&rig), (2, 1, 0));
    let job = rig.job();
    rig.end(&job);
    assert_eq!(told(&rig), (2, 1, 0));
    rig.answer("XADD", added());
    assert_eq!(told(&rig), (2, 1, 1));
    rig.acknowledged();
    assert_eq!(told(&rig), (1, 1, 1));
}

#[test]
fn groups_of_others_are_counted_as_of_the_last_look() {
    let mut rig = rig();
    rig.habit = |command| match command {
        Command::XInfoGroups { .. } => None,
        other => quiet(other),
    };
    for names in [&["arith", "audit", "copy"][..], &["arith"]] {
        while rig.count("XINFO GROUPS") == 0 {
            rig.run(SECOND / 2);
        }
        let group = |name: &&str| GroupInfo::new(Bytes::copy_from_slice(name.as_bytes()), id(1));
        while let Some(look) = rig.find("XINFO GROUPS") {
            rig.reply(look.token, Reply::Groups(names.iter().map(group).collect()));
        }
        assert_eq!(rig.engine.stats().foreign_groups, names.len() as u64 - 1);
    }
}

#[test]
fn refused_renewals_and_overdue_handlers_are_counted() {
    let mut config = config();
    config.handler_timeout = Some(30 * SECOND);
    let mut rig = serving(config, service("arith"));
    rig.deliver(vec![request(1)]);
    rig.habit = quiet;
    rig.run(21 * SECOND);
    let renewal = rig.take("XCLAIM");
    rig.refuse(renewal.token, "NOPERM");
    assert_eq!(rig.engine.stats().renewals_refused, 1);
    assert_eq!(rig.engine.stats().handlers_overdue, 0);
    rig.run(12 * SECOND);
    assert_eq!(rig.engine.stats().handlers_overdue, 1);
}

#[test]
fn every_number_is_told_by_its_name() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    let stats = rig.engine.stats();
    let told: Vec<_> = stats.counters().filter(|(_, count)| *count > 0).collect();
    assert_eq!(told, [("jobs_started", 1)]);
    let told: Vec<_> = stats.gauges().filter(|(_, count)| *count > 0).collect();
    assert_eq!(told, [("held", 1), ("running", 1)]);
}
