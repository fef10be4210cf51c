//! Services without prefetch: nothing is held behind a handler that runs.
//!
//! Not rule 4.3's measure of how much may wait otherwise: that is in `intake`.

use super::super::look_back::Look;
use super::*;

fn rig_without_prefetch(handlers: Concurrency) -> Rig<Server> {
    let mut arith = service("arith");
    (arith.concurrency, arith.prefetch) = (handlers, false);
    let mut rig = serving(config(), arith);
    rig.habit = |command| match command {
        Command::XDel { .. } => Some(Reply::Integer(1)),
        other => marks(other),
    };
    rig
}

/// How many entries the oldest waiting command asks for.
fn count(rig: &mut Rig<Server>, name: &str) -> u64 {
    let Sent { token, command, .. } = rig.take(name);
    let reply = match command {
        Command::XAutoClaim { .. } => claimed(StreamId::ZERO, vec![]),
        _ => Reply::Entries(vec![]),
    };
    rig.reply(token, reply);
    match command {
        Command::XAutoClaim { count, .. } | Command::XReadGroup { count, .. } => count,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_prefetch_nothing_is_read_or_taken_over_while_a_handler_runs() {
    let mut rig = rig_without_prefetch(Concurrency::Serial);
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    // So fast a pace that hundreds would be fetched.
    rig.end(&job);
    rig.answer("XADD", added());
    rig.acknowledged();
    while rig.count("XREADGROUP") == 0 {
        assert_eq!(count(&mut rig, "XAUTOCLAIM"), 1);
    }
    rig.deliver(vec![request(2)]);
    let job = rig.job();
    rig.run(5 * SECOND);
    assert_eq!((rig.count("XREADGROUP"), rig.count("XAUTOCLAIM")), (0, 0));
    rig.end(&job);
    assert_eq!(rig.count("XREADGROUP") + rig.count("XAUTOCLAIM"), 1);
}

#[test]
fn without_prefetch_what_a_lost_read_was_given_waits_until_the_handler_has_ended() {
    let mut rig = rig_without_prefetch(Concurrency::Limit(1));
    rig.deliver(vec![request(1)]);
    let job = rig.job();
    rig.lose(crate::engine::Lane::Blocking(0));
    rig.engine.services[0].reader.look = Some(Look::new());
    rig.run(SECOND);
    rig.open_lanes();
    rig.run(SECOND);
    assert_eq!(rig.count("XPENDING"), 0);
    rig.end(&job);
    assert_eq!(rig.count("XPENDING"), 1);
}

#[test]
fn without_prefetch_a_read_and_a_claim_are_never_under_way_together_and_neither_starves() {
    let mut rig = rig_without_prefetch(Concurrency::Serial);
    let (mut reads, mut claims) = (0, 0);
    for _ in 0..200 {
        rig.run(SECOND / 20);
        let waiting = (rig.count("XREADGROUP"), rig.count("XAUTOCLAIM"));
        assert!(matches!(waiting, (1, 0) | (0, 1)), "{waiting:?}");
        reads += waiting.0;
        if rig.count("XAUTOCLAIM") > 0 {
            claims += 1;
            assert_eq!(count(&mut rig, "XAUTOCLAIM"), 1);
        }
    }
    assert!(reads > 150 && claims >= 4, "{reads} {claims}");
}

#[test]
fn without_prefetch_a_read_waits_no_longer_than_a_claim_may() {
    let (mut config, mut arith) = (config(), service("arith"));
    (config.read_block, arith.prefetch) = (60 * SECOND, false);
    let mut rig = serving(config, arith);
    let Command::XReadGroup { block, .. } = rig.take("XREADGROUP").command else { panic!() };
    assert_eq!(block, Some(SECOND));
}

#[test]
fn without_prefetch_as_many_are_asked_for_as_there_are_free_handlers() {
    let mut rig = rig_without_prefetch(Concurrency::Limit(3));
    rig.deliver(vec![request(1)]);
    rig.job();
    while rig.count("XREADGROUP") == 0 {
        assert_eq!(count(&mut rig, "XAUTOCLAIM"), 2);
    }
    assert_eq!(count(&mut rig, "XREADGROUP"), 2);
}
