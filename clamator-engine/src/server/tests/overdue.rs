//! Rule 4.4: handlers that run for longer than `handler_timeout`.
//!
//! Not those that run past the grace of a stop (`stop`).

use super::intake::pending;
use super::lease::{PERIOD, come_again, renew};
use super::*;

#[test]
fn a_handler_past_its_time_is_dropped_once_and_its_entry_left_to_others() {
    let mut config = config();
    config.handler_timeout = Some(2 * SECOND);
    let mut rig = serving(config, service("arith"));
    rig.habit = quiet;
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.run(SECOND);
    assert!(rig.events().is_empty());
    rig.run(5 * SECOND);
    let events = rig.events();
    let overdue = |event: &ServerEvent| matches!(event, ServerEvent::Notice(Notice::HandlerOverdue { entry, .. }) if *entry == id(1));
    assert!(events.iter().any(overdue), "{events:?}");
    let abandon = |event: &&ServerEvent| matches!(event, ServerEvent::Abandon(it) if *it == job.id);
    assert_eq!(events.iter().filter(abandon).count(), 1);
    // What it comes to all the same is not heard.
    rig.end(&job);
    assert_eq!((rig.count("XADD"), rig.count("XACK")), (0, 0));
    rig.run(2 * PERIOD);
    assert_eq!(rig.count("XCLAIM"), 0);
}

#[test]
fn a_handler_past_its_time_that_does_not_end_is_renewed_no_more_and_a_stop_tells_of_it_in_time() {
    for stops in [false, true] {
        let mut config = config();
        config.handler_timeout = Some(2 * SECOND);
        let mut rig = serving(config, service("arith"));
        rig.habit = quiet;
        rig.deliver(vec![request(1)]);
        rig.job();
        if stops {
            rig.stop(10 * PERIOD);
            rig.unblocked();
            assert!(rig.deadline.is_some_and(|it| it.at <= rig.now + 2 * SECOND));
        }
        rig.run(5 * SECOND);
        assert_eq!(rig.engine.stats().handlers_overdue, 1, "{stops}");
        rig.run(PERIOD - 3 * SECOND);
        assert_eq!(rig.count("XCLAIM"), 0, "{stops}");
    }
}

#[test]
fn an_entry_that_came_again_is_renewed_though_the_handler_before_it_is_past_its_time() {
    let mut config = config();
    config.handler_timeout = Some(PERIOD + 10 * SECOND);
    let mut arith = service("arith");
    arith.concurrency = Concurrency::Limit(4);
    let mut rig = serving(config, arith);
    let job = come_again(&mut rig);
    rig.run(10 * SECOND);
    assert_eq!(rig.engine.stats().handlers_overdue, 1);
    rig.engine.abandoned(rig.now, job.id);
    rig.drain();
    rig.answer("XPENDING", Reply::PendingRange(vec![pending(1, 3)]));
    rig.job();
    rig.run(PERIOD - 8 * SECOND);
    assert_eq!(renew(&mut rig), [id(1)]);
}
