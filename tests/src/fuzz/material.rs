//! What scripts make replies of: envelopes, fields, refusals, losses, whole and damaged.
//!
//! Not the choice among them, which is the script's, and no check.

use bytes::Bytes;
use clamator_engine::{
    Fields, GroupInfo, Hello, Loss, PendingEntry, Refusal, Reply, StreamId, StreamInfo, Version,
};

use super::script::Script;

const PIECES: [&str; 14] = [
    "null",
    "{}",
    "[]",
    "0",
    "-1.5e3",
    "true",
    r#""text""#,
    r#"{"a":[1,{"b":"é"}],"a":2}"#,
    r#""\ud800""#,
    "1e999",
    r#"{"code":-32000,"message":"m","data":null}"#,
    r#"{"code":1.0,"message":"\ud800"}"#,
    r#"{"code":"1","message":2}"#,
    "123456789012345678901234567890",
];
const VERSIONS: [&str; 4] = [r#""2.0""#, r#""\u0032.0""#, r#""1.0""#, "2.0"];
const METHODS: [&str; 7] = [
    "arith.echo",
    "arith.echo",
    "arith.note",
    "arith.none",
    "other.echo",
    "nodot",
    r"arith.\u0065cho",
];
const CODES: [&str; 16] = [
    "OOM",
    "ERR",
    "NOGROUP",
    "WRONGTYPE",
    "LOADING",
    "READONLY",
    "UNBLOCKED",
    "NOPERM",
    "BUSY",
    "NOAUTH",
    "MOVED",
    "CLUSTERDOWN",
    "BUSYGROUP",
    "MISCONF",
    "",
    "ODD",
];

/// A piece of JSON, as text.
pub(crate) fn json(script: &mut Script<'_>) -> String {
    script.pick(&PIECES).to_owned()
}

/// An envelope of any kind under one of these ids (JSON text), whole or damaged.
pub(crate) fn envelope(script: &mut Script<'_>, ids: &[String]) -> Bytes {
    if script.once_in(16) {
        return script.bytes(64);
    }
    let versions = if script.once_in(8) { VERSIONS.len() } else { 1 };
    let version = script.pick(&VERSIONS[..versions]);
    let mut text = format!(r#"{{"jsonrpc":{version}"#);
    let id = script.pick(ids);
    let kind = script.roll(8);
    if kind < 4 {
        let method = script.pick(&METHODS);
        text.push_str(&format!(r#","method":"{method}","params":{}"#, json(script)));
    } else if kind < 6 {
        text.push_str(&format!(r#","result":{}"#, json(script)));
    } else if kind == 6 {
        text.push_str(&format!(r#","error":{}"#, PIECES[10 + script.roll(2)]));
    } else {
        let member = script.pick(&["result", "error", "method", "x"]);
        text.push_str(&format!(r#","{member}":{}"#, json(script)));
    }
    if !script.once_in(8) {
        text.push_str(&format!(r#","id":{id}"#));
    }
    text.push('}');
    damaged(script, text.into_bytes())
}

/// Mostly the same, else with some bytes taken out or put in.
fn damaged(script: &mut Script<'_>, mut text: Vec<u8>) -> Bytes {
    if script.roll(4) == 3 {
        let from = script.roll(text.len() + 1);
        let to = (from + script.roll(4)).min(text.len());
        text.splice(from..to, script.bytes(4));
    }
    text.into()
}

/// Fields of an entry: most often the usual ones around this envelope.
pub(crate) fn fields(script: &mut Script<'_>, envelope: Bytes, reply_to: Option<Bytes>) -> Fields {
    let pair = |name: &'static str, value| (Bytes::from_static(name.as_bytes()), value);
    let mut fields = vec![pair("type", Bytes::from_static(b"rpc")), pair("envelope", envelope)];
    fields.extend(reply_to.map(|key| pair("reply-to", key)));
    if script.roll(6) == 5 {
        let place = script.roll(fields.len());
        match script.roll(6) {
            0 => drop(fields.remove(place)),
            1 => fields[place].1 = script.bytes(16),
            2 => fields[place].0 = script.bytes(16),
            3 => fields.swap(0, place),
            4 => fields.push(fields[place].clone()),
            _ => fields.clear(),
        }
    }
    fields
}

pub(crate) fn refusal(script: &mut Script<'_>) -> Refusal {
    Refusal::new(script.pick(&CODES), "text")
}

pub(crate) fn loss(script: &mut Script<'_>) -> Loss {
    let detail = "said so".to_owned();
    match script.roll(6) {
        0 => Loss::Closed { detail },
        1 => Loss::Unreachable { address: "there".into(), detail },
        2 => Loss::Credentials { detail },
        3 => Loss::Garbled { detail },
        4 => Loss::Tls { address: "there".into(), detail },
        _ => Loss::Unfit(refusal(script)),
    }
}

pub(crate) fn hello(script: &mut Script<'_>) -> Hello {
    let old = script.once_in(16);
    let mut hello = Hello::new(if old { Version::new(6, 0, 9) } else { Version::new(7, 0, 15) });
    hello.client_id = (!script.once_in(4)).then_some(7);
    hello.embedded = script.once_in(8);
    hello
}

/// A reply of any command, with small numbers in it.
pub(crate) fn any_reply(script: &mut Script<'_>) -> Reply {
    let id =
        |script: &mut Script<'_>| StreamId::new(u64::try_from(script.roll(64)).unwrap_or(0), 0);
    match script.roll(9) {
        0 => Reply::Ok,
        1 => Reply::Added((!script.once_in(4)).then(|| id(script))),
        2 => Reply::Integer(i64::try_from(script.roll(4)).unwrap_or(0) - 1),
        3 => Reply::Entries(Vec::new()),
        4 => Reply::Groups(vec![GroupInfo::new(Bytes::from_static(b"arith"), id(script))]),
        5 => Reply::Pending { count: u64::from(script.once_in(2)), first: Some(id(script)) },
        6 => {
            let entry = PendingEntry::new(id(script), Bytes::from_static(b"c"), 0, 1);
            Reply::PendingRange(vec![entry])
        }
        7 => Reply::Stream(StreamInfo::new(id(script))),
        _ => Reply::Claimed {
            next: id(script),
            entries: Vec::new(),
            deleted: Vec::new(),
            nameless: script.roll(2),
        },
    }
}
