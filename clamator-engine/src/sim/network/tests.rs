//! Tests of the simulated network: order, time, and each way in which a connection can end.
//!
//! Not of the streams behind it, which are tested on their own and against real servers.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::stage::{GROUP, LATENCY, SOON, STREAM, Stage, add, look, node, read};
use super::*;
use crate::command::GroupStart;
use crate::engine::Loss;

const COMMANDS: Lane = Lane::Command;
const READS: Lane = Lane::Blocking(0);
const SECOND: Duration = Duration::from_secs(1);

fn code(reply: &Result<Reply, Refusal>) -> &str {
    reply.as_ref().err().map_or("ok", |refusal| refusal.code.as_str())
}

fn read_all() -> Command {
    Command::XRead { key: STREAM, after: StreamId::ZERO, count: 9, block: None }
}

#[test]
fn a_lane_is_told_which_server_it_found_and_its_time() {
    let mut stage = Stage::new(1);
    stage.network.open(stage.now, node(1), COMMANDS);
    stage.sleep(SOON);
    let [(at, NetworkEvent::Opened { node: of, lane, hello })] = stage.heard.as_slice() else {
        panic!("{:?}", stage.heard);
    };
    assert_eq!((*of, *lane), (node(1), COMMANDS));
    assert_eq!(hello.version, Version::new(7, 0, 15));
    assert!(hello.client_id.is_some());
    assert_eq!(hello.time, Some(stage.network.streams().time(*at)));
}

#[test]
fn a_connection_keeps_the_order_of_commands_and_replies() {
    for seed in 0..20 {
        let mut stage = Stage::with(seed, node(1), &[COMMANDS]);
        let sent: Vec<u64> = (0..200)
            .map(|_| {
                stage.sleep(Duration::from_micros(100));
                stage.send(node(1), COMMANDS, add())
            })
            .collect();
        stage.sleep(SOON);
        let heard: Vec<u64> = stage.replies().iter().map(|(ticket, _)| *ticket).collect();
        assert_eq!(heard, sent);
        let executed = core::iter::from_fn(|| stage.network.take_executed());
        let executed: Vec<(u64, NodeId)> = executed.map(|it| (it.ticket, it.node)).collect();
        assert_eq!(executed, sent.iter().map(|it| (*it, node(1))).collect::<Vec<_>>());
    }
}

#[test]
fn connections_overtake_each_other() {
    let overtakes = |seed| {
        let mut stage = Stage::with(seed, node(1), &[COMMANDS, READS]);
        stage.send(node(1), COMMANDS, look());
        let second = stage.send(node(1), READS, look());
        stage.sleep(SOON);
        stage.replies().first().is_some_and(|(ticket, _)| *ticket == second)
    };
    let overtook = (0..100).filter(|seed| overtakes(*seed)).count();
    assert!((20..80).contains(&overtook), "{overtook}");
}

#[test]
fn a_command_usually_takes_about_twice_the_latency() {
    let mut stage = Stage::with(1, node(1), &[COMMANDS]);
    let mut takes = Vec::new();
    for _ in 0..1000 {
        let (sent, before) = (stage.now, stage.heard.len());
        stage.send(node(1), COMMANDS, look());
        stage.sleep(SOON);
        takes.push(stage.heard[before].0.since(sent));
    }
    takes.sort_unstable();
    assert!(takes[0] >= LATENCY, "{:?}", takes[0]);
    assert!(takes[500] >= LATENCY && takes[500] <= LATENCY * 3, "{:?}", takes[500]);
    assert!(takes[999] > LATENCY * 20, "some are late: {:?}", takes[999]);
}

#[test]
fn a_slow_connection_carries_nothing_before_its_time_and_the_others_go_on() {
    let mut stage = Stage::with(1, node(1), &[COMMANDS, READS]);
    assert!(stage.network.slow(stage.now, node(1), COMMANDS, SECOND));
    assert!(!stage.network.slow(stage.now, node(2), COMMANDS, SECOND));
    let slow = stage.send(node(1), COMMANDS, add());
    let fast = stage.send(node(1), READS, look());
    stage.sleep(SECOND - LATENCY);
    assert_eq!(stage.replies().iter().map(|it| it.0).collect::<Vec<_>>(), [fast]);
    assert_eq!(stage.len(), 0);
    stage.sleep(SOON);
    assert_eq!(stage.replies()[1].0, slow);
    assert_eq!(stage.len(), 1);
}

#[test]
fn what_was_written_before_a_reset_that_comes_first_never_arrives() {
    let mut stage = Stage::with(1, node(1), &[COMMANDS]);
    stage.send(node(1), COMMANDS, add());
    assert!(stage.network.cut(stage.now, node(1), COMMANDS, Cut::BeforeWrite));
    assert_eq!(stage.network.due(), Some(Instant::ZERO), "there is something to hear now");
    let at = stage.now;
    stage.sleep(SECOND);
    assert_eq!(stage.lost(), [(at, node(1), COMMANDS)]);
    assert_eq!((stage.heard.len(), stage.len()), (1, 0));
    assert!(!stage.network.cut(stage.now, node(1), COMMANDS, Cut::BeforeWrite), "it is gone");
}

#[test]
fn what_was_written_before_a_reset_that_comes_later_is_carried_out_unheard() {
    for seed in 0..20 {
        let mut stage = Stage::with(seed, node(1), &[COMMANDS]);
        stage.send(node(1), COMMANDS, add());
        stage.send(node(1), COMMANDS, add());
        assert!(stage.network.cut(stage.now, node(1), COMMANDS, Cut::BeforeReply));
        stage.sleep(SECOND);
        assert_eq!((stage.lost().len(), stage.heard.len(), stage.len()), (1, 1, 2));
    }
}

#[test]
fn a_reply_on_its_way_is_lost_with_its_connection() {
    let mut stage = Stage::with(1, node(1), &[COMMANDS]);
    stage.send(node(1), COMMANDS, add());
    while stage.network.take_executed().is_none() {
        stage.sleep(Duration::from_micros(10));
    }
    stage.network.cut(stage.now, node(1), COMMANDS, Cut::BeforeReply);
    stage.sleep(SECOND);
    assert_eq!((stage.replies().len(), stage.len()), (0, 1));
}

#[test]
fn a_read_that_waited_is_gone_once_redis_hears_of_the_end() {
    let mut stage = Stage::with(1, node(1), &[READS]);
    stage.send(node(1), READS, read(60));
    stage.sleep(SOON);
    stage.network.cut(stage.now, node(1), READS, Cut::BeforeReply);
    stage.network.streams_mut().carry_out(stage.now, add()).unwrap();
    stage.sleep(SOON);
    assert_eq!(stage.pending(), 1, "Redis had not heard of it");
    stage.network.streams_mut().carry_out(stage.now, add()).unwrap();
    stage.sleep(SOON);
    assert_eq!(stage.pending(), 1);
}

#[test]
fn a_half_open_connection_carries_nothing_and_neither_side_notices_for_long() {
    let mut stage = Stage::with(1, node(1), &[READS]);
    stage.send(node(1), READS, read(60));
    stage.sleep(SOON);
    assert!(stage.network.cut(stage.now, node(1), READS, Cut::HalfOpen));
    assert!(!stage.network.cut(stage.now, node(1), READS, Cut::HalfOpen), "it is that already");
    stage.send(node(1), READS, look());
    stage.network.streams_mut().carry_out(stage.now, add()).unwrap();
    stage.sleep(SECOND * 7);
    assert!(stage.heard.is_empty(), "{:?}", stage.heard);
    assert_eq!(stage.pending(), 1, "Redis gave it to nobody");
    stage.sleep(SECOND * 2);
    assert_eq!(stage.lost().len(), 1, "{:?}", stage.heard);
}

#[test]
fn redis_keeps_the_end_of_a_half_open_connection_that_its_node_gave_up() {
    let mut stage = Stage::with(1, node(1), &[READS]);
    stage.send(node(1), READS, read(60));
    stage.sleep(SOON);
    stage.network.cut(stage.now, node(1), READS, Cut::HalfOpen);
    stage.network.close(stage.now, node(1), READS);
    stage.network.open(stage.now, node(1), READS);
    stage.sleep(SECOND);
    assert!(matches!(stage.heard.as_slice(), [(_, NetworkEvent::Opened { .. })]));
    stage.network.streams_mut().carry_out(stage.now, add()).unwrap();
    assert_eq!(stage.pending(), 1, "the old connection's read was waiting");
    stage.send(node(1), READS, read(1));
    stage.sleep(SECOND * 10);
    assert_eq!((stage.lost().len(), stage.replies().len()), (0, 1), "the new one is sound");
}

#[test]
fn what_was_sent_on_a_lane_that_its_node_closes_arrives() {
    let mut stage = Stage::with(1, node(1), &[COMMANDS]);
    stage.send(node(1), COMMANDS, add());
    stage.network.close(stage.now, node(1), COMMANDS);
    assert_eq!(stage.network.lanes(node(1)), []);
    stage.send(node(1), COMMANDS, add());
    stage.sleep(SECOND);
    assert!(stage.heard.is_empty(), "{:?}", stage.heard);
    assert_eq!(stage.len(), 1, "nothing can be sent behind the end");
}

#[test]
fn a_node_that_is_killed_hears_nothing_more_and_others_do() {
    for seed in 0..20 {
        let mut stage = Stage::with(seed, node(1), &[COMMANDS, READS]);
        stage.network.open(stage.now, node(2), COMMANDS);
        stage.sleep(SOON);
        stage.heard.clear();
        for of in [node(1), node(2)] {
            stage.send(of, COMMANDS, look());
        }
        stage.send(node(1), READS, read(60));
        stage.sleep(Duration::from_micros(900));
        stage.network.kill(stage.now, node(1));
        stage.heard.clear();
        assert_eq!(stage.network.nodes(), [node(2)]);
        stage.sleep(SOON);
        let ours = |it: &&(Instant, NetworkEvent)| it.1.node() == Some(node(1));
        assert_eq!(stage.heard.iter().filter(ours).count(), 0, "{:?}", stage.heard);
        stage.network.streams_mut().carry_out(stage.now, add()).unwrap();
        assert_eq!(stage.pending(), 0, "Redis has heard of the end");
    }
}

#[test]
fn a_restart_loses_every_connection_and_what_was_under_way() {
    for seed in 0..20 {
        let mut stage = Stage::with(seed, node(1), &[COMMANDS, READS]);
        stage.send(node(1), COMMANDS, add());
        let up = stage.now + SECOND;
        stage.network.restart(stage.now, up, Revival::Kept);
        stage.sleep(SOON);
        assert_eq!((stage.lost().len(), stage.replies().len(), stage.len()), (2, 0, 0));
        stage.heard.clear();
        stage.network.open(stage.now, node(1), COMMANDS);
        stage.sleep(SOON);
        let [(_, NetworkEvent::Lost { loss: Loss::Unreachable { .. }, .. })] =
            stage.heard.as_slice()
        else {
            panic!("it is not up yet: {:?}", stage.heard);
        };
        stage.sleep(SECOND);
        stage.network.open(stage.now, node(1), COMMANDS);
        stage.sleep(SOON);
        assert_eq!(code(&stage.ask(node(1), COMMANDS, add())), "ok");
    }
}

#[test]
fn after_a_restart_the_data_is_there_or_gone_or_old() {
    for (revival, entries) in [("kept", 2), ("empty", 0), ("old", 1)] {
        let mut stage = Stage::with(1, node(1), &[COMMANDS]);
        stage.ask(node(1), COMMANDS, add()).unwrap();
        let snapshot = stage.network.streams().snapshot();
        stage.ask(node(1), COMMANDS, add()).unwrap();
        let revival = match revival {
            "kept" => Revival::Kept,
            "empty" => Revival::Empty,
            _ => Revival::Old(snapshot),
        };
        stage.network.restart(stage.now, stage.now, revival);
        assert_eq!(stage.len(), entries);
    }
}

#[test]
fn a_failover_ends_some_connections_and_leaves_others_with_a_server_that_takes_no_writes() {
    let (mut stayed, mut ended) = (0, 0);
    for seed in 0..60 {
        let mut stage = Stage::with(seed, node(1), &[COMMANDS, READS]);
        let snapshot = stage.network.streams().snapshot();
        stage.ask(node(1), COMMANDS, add()).unwrap();
        stage.ask(node(1), READS, read(0)).unwrap();
        let waits = stage.send(node(1), READS, read(60));
        stage.sleep(SOON);
        stage.network.fail_over(stage.now, snapshot);
        assert_eq!(stage.len(), 0, "the last write is gone");
        stage.sleep(SOON);
        if stage.network.lanes(node(1)).contains(&READS) {
            let replies = stage.replies();
            let [(ticket, reply)] = replies.as_slice() else { panic!("{replies:?}") };
            assert_eq!((*ticket, code(reply)), (waits, "UNBLOCKED"));
        } else {
            assert!(stage.replies().is_empty());
        }
        if stage.network.lanes(node(1)).contains(&COMMANDS) {
            stayed += 1;
            assert_eq!(code(&stage.ask(node(1), COMMANDS, add())), "READONLY");
            assert_eq!(code(&stage.ask(node(1), COMMANDS, look())), "ok");
            let now = stage.now;
            stage.network.streams_mut().carry_out(now, add()).unwrap();
            let nothing = Ok(Reply::Entries(Vec::new()));
            assert_eq!(
                stage.ask(node(1), COMMANDS, read_all()),
                nothing,
                "it is written elsewhere"
            );
            stage.network.heal();
            assert_ne!(stage.ask(node(1), COMMANDS, read_all()), nothing);
            assert_eq!(code(&stage.ask(node(1), COMMANDS, add())), "ok");
        } else {
            ended += 1;
            stage.network.open(stage.now, node(1), COMMANDS);
            stage.sleep(SOON);
            assert_eq!(code(&stage.ask(node(1), COMMANDS, add())), "ok", "a new one finds it");
        }
    }
    assert!(stayed > 15 && ended > 15, "{stayed} stayed, {ended} ended");
}

#[test]
fn a_connection_that_hangs_is_never_answered_and_a_later_one_is() {
    let mut stage = Stage::new(1);
    stage.network.hang_until(stage.now + SECOND);
    stage.network.open(stage.now, node(1), COMMANDS);
    stage.sleep(SECOND * 20);
    assert!(stage.heard.is_empty(), "{:?}", stage.heard);
    stage.network.close(stage.now, node(1), COMMANDS);
    stage.network.open(stage.now, node(1), COMMANDS);
    stage.sleep(SOON);
    assert_eq!(stage.heard.len(), 1);
}

#[test]
fn a_refusal_waits_behind_the_read_before_it() {
    let mut stage = Stage::with(1, node(1), &[READS]);
    let waits = stage.send(node(1), READS, read(1));
    stage.sleep(SOON);
    stage.network.trouble_until(stage.now + SECOND * 9, Trouble::OutOfMemory);
    let refused = stage.send(node(1), READS, add());
    let behind = stage.send(node(1), READS, look());
    stage.sleep(SOON);
    assert!(stage.replies().is_empty(), "the read waits");
    stage.sleep(SECOND);
    let heard: Vec<(u64, &str)> =
        stage.replies().into_iter().map(|(ticket, reply)| (ticket, code(reply))).collect();
    assert_eq!(heard, [(waits, "ok"), (refused, "OOM"), (behind, "ok")]);
}

#[test]
fn a_trouble_refuses_what_it_is_about_until_it_ends() {
    let create = || {
        let (group, start) = (Bytes::from_static(b"new"), GroupStart::New);
        Command::XGroupCreate { key: STREAM, group, start }
    };
    let acknowledge = || Command::XAck { key: STREAM, group: GROUP, ids: vec![StreamId::MAX] };
    let claim = || {
        let (start, idle_min, count) = (StreamId::ZERO, SECOND, 1);
        let consumer = Bytes::from_static(b"c");
        Command::XAutoClaim { key: STREAM, group: GROUP, consumer, idle_min, start, count }
    };
    let all = [add(), read(0), acknowledge(), claim(), look(), create()];
    let troubles = [
        (Trouble::ClusterDown, "CLUSTERDOWN", [true, true, true, true, true, true]),
        (Trouble::Loading, "LOADING", [true, true, true, true, true, true]),
        (Trouble::Misconfigured, "MISCONF", [true, true, true, true, false, true]),
        (Trouble::NoAck, "NOPERM", [false, false, true, false, false, false]),
        (Trouble::NoClaim, "NOPERM", [false, false, false, true, false, false]),
        (Trouble::NoRead, "NOPERM", [false, true, false, false, false, false]),
        (Trouble::NoWrite, "NOPERM", [true, false, false, false, false, false]),
        (Trouble::OutOfMemory, "OOM", [true, false, false, false, false, true]),
        (Trouble::ReadOnly, "READONLY", [true, true, true, true, false, true]),
    ];
    for (trouble, says, refuses) in troubles {
        let mut stage = Stage::with(1, node(1), &[COMMANDS]);
        stage.network.trouble_until(stage.now + SECOND * 9, trouble);
        for (command, refused) in all.iter().zip(refuses) {
            let reply = stage.ask(node(1), COMMANDS, command.clone());
            let wanted = if refused { says } else { "ok" };
            assert_eq!(code(&reply), wanted, "{trouble:?}, {command:?}");
        }
        stage.sleep(SECOND * 9);
        for command in all.iter().take(5) {
            assert_eq!(code(&stage.ask(node(1), COMMANDS, command.clone())), "ok", "{trouble:?}");
        }
    }
}

#[test]
fn healing_ends_every_trouble_at_once() {
    let mut stage = Stage::with(1, node(1), &[COMMANDS]);
    let long = stage.now + SECOND * 60;
    stage.network.trouble_until(long, Trouble::Loading);
    stage.network.refuse_until(long);
    stage.network.hang_until(long);
    stage.network.heal();
    stage.network.open(stage.now, node(1), READS);
    stage.sleep(SOON);
    assert!(matches!(stage.heard.as_slice(), [(_, NetworkEvent::Opened { .. })]));
    assert_eq!(code(&stage.ask(node(1), COMMANDS, add())), "ok");
}

#[test]
fn nothing_is_due_where_nobody_is_connected() {
    let mut stage = Stage::new(1);
    assert_eq!(stage.network.due(), None);
    assert!(matches!(stage.network.poll(stage.now), NetworkEvent::Idle(None)));
    stage.network.open(stage.now, node(1), READS);
    let due = stage.network.due().unwrap();
    assert!(due > stage.now && due <= stage.now + LATENCY * 90);
    stage.sleep(SOON);
    assert_eq!(stage.network.due(), None, "a connection without commands waits for its node");
    stage.send(node(1), READS, read(1));
    stage.sleep(SOON);
    let due = stage.network.due().unwrap();
    assert!(due > stage.now && due <= stage.now + SECOND, "a read that waits ends");
}
