//! Entries that no client and no server of ours would write, of every kind that was ever met.
//!
//! Not a fuzzer: few shapes, each of which has to be settled in its own way.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::dice::Dice;
use crate::reply::Fields;

/// What is written to a command stream although it is no request of a client of ours. The ids of
/// requests among it start with `foreign-`.
pub(super) fn request(dice: &mut Dice, prefix: &[u8], service: &[u8]) -> Fields {
    let prefix = String::from_utf8_lossy(prefix).into_owned();
    let service = String::from_utf8_lossy(service).into_owned();
    let id = format!("foreign-{}", dice.roll(1 << 30));
    let replies = format!("{prefix}replies:stranger");
    let good = |id: &str| {
        format!(r#"{{"jsonrpc":"2.0","method":"{service}.echo","params":[0],"id":{id}}}"#)
    };
    let call = good(&format!("\"{id}\""));
    let (envelope, reply_to): (Vec<u8>, Option<String>) = match dice.roll(17) {
        0 => return vec![(Bytes::from_static(b"type"), Bytes::from_static(b"rpc"))],
        1 => (Vec::new(), Some(replies)),
        2 => (b"\xff\xfe{".to_vec(), Some(replies)),
        3 => (b"{".to_vec(), Some(replies)),
        4 => (format!("[{call}]").into_bytes(), Some(replies)),
        5 => (format!(r#"{{"jsonrpc":"2.0","id":"{id}","result":1}}"#).into_bytes(), None),
        6 => (good("1.5").into_bytes(), Some(replies)),
        7 => (good("true").into_bytes(), Some(replies)),
        8 => (good("null").into_bytes(), Some(replies)),
        9 => (call.replace("\"2.0\"", "2.0").into_bytes(), Some(replies)),
        10 => (call.replace(".echo", "").into_bytes(), Some(replies)),
        11 => (call.replace(&service, "other").into_bytes(), Some(replies)),
        12 => (call.replace(".echo", ".nothing").into_bytes(), Some(replies)),
        13 => (call.into_bytes(), Some(format!("{prefix}cmds:{service}"))),
        14 => (call.into_bytes(), Some("elsewhere".into())),
        15 => {
            let note = format!(r#"{{"jsonrpc":"2.0","method":"{service}.nothing"}}"#);
            (note.into_bytes(), None)
        }
        _ => {
            let deep = "[".repeat(300) + &"]".repeat(300);
            (call.replace("[0]", &deep).into_bytes(), None)
        }
    };
    let mut fields = vec![
        (Bytes::from_static(b"type"), Bytes::from_static(b"rpc")),
        (Bytes::from_static(b"envelope"), envelope.into()),
    ];
    fields.extend(reply_to.map(|key| (Bytes::from_static(b"reply-to"), key.into())));
    fields
}

/// What is written to a reply stream although it is no reply to a call of that client.
pub(super) fn reply(dice: &mut Dice) -> Fields {
    let envelope: &'static [u8] = match dice.roll(6) {
        0 => return vec![(Bytes::from_static(b"odd"), Bytes::from_static(b"field"))],
        1 => b"\xff",
        2 => b"{\"jsonrpc\":\"2.0\",\"id\":\"nobody-1\",\"result\":7}",
        3 => b"{\"jsonrpc\":\"2.0\",\"method\":\"arith.echo\",\"id\":\"nobody-1\"}",
        4 => b"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":\"x\"}}",
        _ => b"7",
    };
    vec![(Bytes::from_static(b"envelope"), Bytes::from_static(envelope))]
}
