//! Thousands of entries made from good ones by a few random changes each, always the same ones.
//!
//! What an entry deserves is judged here once more, by `serde_json`'s own reader and the rules of
//! the wire, and not by the code under test.

use clamator_driver::Runtime;
use clamator_tests::scenarios;
use serde_json::Value;

use crate::stage::{Fields, Stage, UNREAD, Warning, texts};

scenarios!(
    two_thousand_mutated_requests_are_each_settled_and_warned_about_once,
    two_thousand_mutated_replies_are_each_dropped_and_warned_about_once,
);

/// Change it to see other entries; a failure names its entry.
const SEED: u64 = 0x00c1_a3a7_0000_0001;
const BATCHES: usize = 10;
const BATCH: usize = 200;
/// What is put between or in place of bytes.
const TOKENS: [&[u8]; 24] = [
    b"null",
    b"true",
    b"NaN",
    b"-",
    b"0",
    b"2.0",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b"\\",
    b",",
    b":",
    b"\"id\":",
    b"\"method\":",
    b"\"jsonrpc\":",
    b"\xff",
    b"\xc3",
    b"\0",
    b"\xef\xbb\xbf",
    b"envelope",
    b"reply-to",
    b"\xf0\x9f\xa6\x80",
];

async fn two_thousand_mutated_requests_are_each_settled_and_warned_about_once<R: Runtime>(
    runtime: R,
) {
    let mut stage = Stage::start(runtime).await;
    let mut dice = Dice(SEED);
    let mut poison = 0;
    for _ in 0..BATCHES {
        for _ in 0..BATCH {
            let mut fields =
                texts(&[("type", "rpc"), ("envelope", dice.pick(&REQUESTS)), ("reply-to", UNREAD)]);
            dice.mutate(&mut fields);
            let warning = deserved_request(&fields);
            poison += usize::from(warning.is_some());
            stage.add_request(&fields, warning);
        }
        stage.assert_served().await;
        stage.assert_settled().await;
        stage.assert_warned().await;
    }
    // The changes do what they are for: most entries are broken, and not all.
    assert!((1000..1950).contains(&poison), "{poison} of 2000 were garbage");
}

async fn two_thousand_mutated_replies_are_each_dropped_and_warned_about_once<R: Runtime>(
    runtime: R,
) {
    let mut stage = Stage::start(runtime).await;
    let mut dice = Dice(SEED);
    let mut garbage = 0;
    for _ in 0..BATCHES {
        for _ in 0..BATCH {
            let mut fields = texts(&[("type", "rpc"), ("envelope", REPLY)]);
            dice.mutate(&mut fields);
            let warning = deserved_reply(&fields);
            garbage += usize::from(warning.is_some());
            stage.add_reply(&fields, warning);
        }
        stage.assert_served().await;
        stage.assert_warned().await;
    }
    assert!((1000..1950).contains(&garbage), "{garbage} of 2000 were garbage");
}

const REQUESTS: [&str; 3] = [
    r#"{"jsonrpc":"2.0","method":"echo.echo","params":{"a":[1,2.5,"x"],"b":null},"id":"i-1"}"#,
    r#"{"id": 7, "method": "echo.echo", "jsonrpc": "2.0", "params": ["\u00e9", "é", true]}"#,
    r#"{"jsonrpc":"2.0","method":"echo.echo","params":{}}"#,
];
const REPLY: &str = r#"{"jsonrpc":"2.0","id":"nobody-1","result":{"a":[1,2.5,"x"],"b":null}}"#;

/// What a server should say about this entry.
fn deserved_request(fields: &Fields) -> Warning {
    let poison = Some("redis poison envelope");
    let Some(Value::Object(members)) = read(fields) else { return poison };
    let Some((service, method)) = method_of(&members) else { return poison };
    let known = (service.as_str(), method.as_str()) == ("echo", "echo");
    let lost = (!known).then_some("RPC method not found");
    match members.get("id") {
        None | Some(Value::Null) => return lost,
        Some(Value::String(_) | Value::Number(_)) => {}
        Some(_) => return poison,
    }
    let key = last(fields, b"reply-to").filter(|key| !key.is_empty());
    let proper =
        key.is_none_or(|key| key.strip_prefix(b"bad:replies:").is_some_and(|id| !id.is_empty()));
    match (known, proper && key.is_some()) {
        (true, _) => (!proper).then_some("reply-to refused"),
        (false, answered) => lost.filter(|_| !answered),
    }
}

/// What a client should say about this entry.
fn deserved_reply(fields: &Fields) -> Warning {
    let unreadable = Some("redis reply parse failed");
    let Some(Value::Object(members)) = read(fields) else { return unreadable };
    let member = |name| members.get(name);
    let id = member("id").filter(|id| !id.is_null());
    if member("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return unreadable;
    }
    if member("method").is_some_and(Value::is_string) {
        let id_fits = id.is_none_or(|id| id.is_string() || id.is_number());
        return if method_of(&members).is_some() && id_fits { None } else { unreadable };
    }
    let is_success = member("result").is_some() && member("error").is_none() && id.is_some();
    if is_success { None } else { unreadable }
}

/// Reads the envelope as JSON of any kind.
fn read(fields: &Fields) -> Option<Value> {
    serde_json::from_slice(last(fields, b"envelope")?).ok()
}

/// The method of a request or notification of version 2.0, in its two parts.
fn method_of(members: &serde_json::Map<String, Value>) -> Option<(String, String)> {
    members.get("jsonrpc").filter(|version| *version == "2.0")?;
    let (service, method) = members.get("method")?.as_str()?.split_once('.')?;
    let begins = |name: &str| name.starts_with(|letter: char| letter.is_ascii_lowercase());
    let rest = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let fits = begins(service)
        && begins(method)
        && service.chars().all(|letter| rest(letter) || letter == '-')
        && method.chars().all(|letter| rest(letter) || letter.is_ascii_uppercase());
    fits.then(|| (service.into(), method.into()))
}

/// The value of a field, the last of its name.
fn last<'a>(fields: &'a Fields, wanted: &[u8]) -> Option<&'a [u8]> {
    let mut named = fields.iter().rev().filter(|(name, _)| name == wanted);
    named.next().map(|(_, value)| &value[..])
}

/// A stream of numbers that looks random: xorshift64*.
struct Dice(u64);

impl Dice {
    /// A number below `sides`; 0 when there are none.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % sides.max(1)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }

    /// Changes an entry in one to three ways, most often its envelope.
    fn mutate(&mut self, fields: &mut Fields) {
        for _ in 0..=self.roll(3) {
            let place = self.roll(fields.len());
            match self.roll(20) {
                0 => _ = fields.remove(place),
                1 => fields.swap(0, place),
                2 => fields.push((self.pick(&TOKENS).into(), self.pick(&TOKENS).into())),
                3 => fields[place].0 = self.pick(&TOKENS).into(),
                4 => fields[place].1.clear(),
                5 => self.damage(&mut fields[place].0),
                6 => self.damage(&mut fields[place].1),
                _ => {
                    if let Some((_, text)) = fields.iter_mut().find(|(name, _)| name == b"envelope")
                    {
                        self.damage(text);
                    }
                }
            }
            if fields.is_empty() {
                // Redis takes no entry without a field.
                fields.push((Vec::new(), Vec::new()));
            }
        }
    }

    /// Changes a few bytes.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        let (from, length) = (self.roll(bytes.len() + 1), 1 + self.roll(6));
        let to = (from + length).min(bytes.len());
        match self.roll(6) {
            0 => bytes.truncate(from),
            1 => _ = bytes.drain(from..to),
            2 => {
                let copy = bytes[from..to].to_vec();
                bytes.splice(to..to, copy);
            }
            3 => _ = bytes.splice(from..to, self.pick(&TOKENS).iter().copied()),
            4 => _ = bytes.splice(from..from, self.pick(&TOKENS).iter().copied()),
            _ => {
                if let Some(byte) = bytes.get_mut(from) {
                    *byte ^= 1 << self.roll(8);
                }
            }
        }
    }
}
