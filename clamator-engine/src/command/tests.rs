//! How commands are spelled.
//!
//! Not what they do: see `memory`.

use super::*;
use crate::access;
use alloc::string::String;
use alloc::vec;

fn spelled(command: &Command) -> String {
    let mut words = Vec::new();
    command.args(&mut |arg| words.push(String::from_utf8_lossy(arg).into_owned()));
    words.join(" ")
}

fn key() -> Bytes {
    Bytes::from_static(b"k")
}

fn group() -> Bytes {
    Bytes::from_static(b"g")
}

fn consumer() -> Bytes {
    Bytes::from_static(b"c")
}

#[test]
fn commands_are_spelled_as_redis_wants_them() {
    let id = StreamId::new(10, 2);
    let second = Some(Duration::from_secs(1));
    let cases = [
        (Command::ClientUnblock { client: 7 }, "CLIENT UNBLOCK 7"),
        (Command::Del { key: key() }, "DEL k"),
        (Command::PExpire { key: key(), ttl: Duration::from_micros(1_500_900) }, "PEXPIRE k 1500"),
        (Command::Time, "TIME"),
        (
            Command::XAck { key: key(), group: group(), ids: vec![id, StreamId::MAX] },
            "XACK k g 10-2 18446744073709551615-18446744073709551615",
        ),
        (
            Command::XAutoClaim {
                key: key(),
                group: group(),
                consumer: consumer(),
                idle_min: Duration::from_millis(1500),
                start: StreamId::ZERO,
                count: 100,
            },
            "XAUTOCLAIM k g c 1500 0-0 COUNT 100",
        ),
        (
            Command::XClaim {
                key: key(),
                group: group(),
                consumer: consumer(),
                idle_min: Duration::from_millis(20),
                ids: vec![id, id],
                claim_as: ClaimAs::Renewed,
            },
            "XCLAIM k g c 20 10-2 10-2 JUSTID",
        ),
        (
            Command::XClaim {
                key: key(),
                group: group(),
                consumer: consumer(),
                idle_min: Duration::from_secs(40),
                ids: vec![id],
                claim_as: ClaimAs::Delivered,
            },
            "XCLAIM k g c 40000 10-2",
        ),
        (
            Command::XClaim {
                key: key(),
                group: group(),
                consumer: consumer(),
                idle_min: Duration::from_millis(1),
                ids: vec![id],
                claim_as: ClaimAs::HandedBack { deliveries: 2 },
            },
            "XCLAIM k g c 1 10-2 TIME 0 RETRYCOUNT 2 JUSTID",
        ),
        (Command::XDel { key: key(), ids: vec![id] }, "XDEL k 10-2"),
        (
            Command::XGroupCreate {
                key: key(),
                group: group(),
                start: GroupStart::After(StreamId::ZERO),
            },
            "XGROUP CREATE k g 0-0 MKSTREAM",
        ),
        (
            Command::XGroupCreate { key: key(), group: group(), start: GroupStart::New },
            "XGROUP CREATE k g $ MKSTREAM",
        ),
        (
            Command::DelIdleConsumers {
                key: key(),
                group: group(),
                idle_min: Duration::from_secs(2),
                keep: consumer(),
            },
            concat!("EVAL ", include_str!("del_idle_consumers.lua"), " 1 k g 2000 c"),
        ),
        (
            Command::XGroupDelConsumer { key: key(), group: group(), consumer: consumer() },
            "XGROUP DELCONSUMER k g c",
        ),
        (Command::XInfoGroups { key: key() }, "XINFO GROUPS k"),
        (Command::XInfoStream { key: key() }, "XINFO STREAM k"),
        (Command::XPending { key: key(), group: group() }, "XPENDING k g"),
        (
            Command::XPendingRange {
                key: key(),
                group: group(),
                start: StreamId::ZERO,
                end: id,
                count: 5,
                consumer: consumer(),
            },
            "XPENDING k g 0-0 10-2 5 c",
        ),
        (
            Command::XRange { key: key(), start: id, end: id, count: 1 },
            "XRANGE k 10-2 10-2 COUNT 1",
        ),
        (
            Command::XRead { key: key(), after: id, count: 256, block: second },
            "XREAD COUNT 256 BLOCK 1000 STREAMS k 10-2",
        ),
        (
            Command::XReadGroup {
                key: key(),
                group: group(),
                consumer: consumer(),
                count: 16,
                block: second,
            },
            "XREADGROUP GROUP g c COUNT 16 BLOCK 1000 STREAMS k >",
        ),
        (
            Command::XReadGroup {
                key: key(),
                group: group(),
                consumer: consumer(),
                count: 100,
                block: None,
            },
            "XREADGROUP GROUP g c COUNT 100 STREAMS k >",
        ),
        (Command::XTrim { key: key(), min_id: id }, "XTRIM k MINID ~ 10-2"),
    ];
    for (command, words) in cases {
        assert_eq!(spelled(&command), words);
        for grant in access::of(&command) {
            let named = grant.command.replace('|', " ").to_uppercase();
            let in_script = alloc::format!("'{}'", named.replace(' ', "', '"));
            let sent = alloc::format!("{words} ").starts_with(&(named + " "));
            assert!(sent || words.contains(&in_script), "{grant:?}");
            assert_eq!(grant.keys.is_some(), command.key().is_some(), "{grant:?}");
        }
    }
}

#[test]
fn an_entry_is_added_with_or_without_a_bound_and_creation() {
    let fields = vec![(Bytes::from_static(b"type"), Bytes::from_static(b"rpc"))];
    let add =
        |create, max_len| Command::XAdd { key: key(), create, max_len, fields: fields.clone() };
    assert_eq!(spelled(&add(true, None)), "XADD k * type rpc");
    assert_eq!(spelled(&add(true, Some(1024))), "XADD k MAXLEN ~ 1024 * type rpc");
    assert_eq!(spelled(&add(false, None)), "XADD k NOMKSTREAM * type rpc");
}

#[test]
fn a_blocking_read_never_blocks_for_ever() {
    let read =
        Command::XRead { key: key(), after: StreamId::ZERO, count: 1, block: Some(Duration::ZERO) };
    assert_eq!(spelled(&read), "XREAD COUNT 1 BLOCK 1 STREAMS k 0-0");
}

#[test]
fn the_script_deletes_as_many_consumers_as_is_said_elsewhere() {
    let bound = alloc::format!("if deleted == {IDLE_CONSUMERS_MAX} then break end");
    assert!(DEL_IDLE_CONSUMERS.contains(&bound));
}
