//! What is on a deployment's streams, as any Redis client sees it.
//!
//! Not clamator's way to Redis: it reads what was written, byte for byte, and writes what no client
//! would.

use super::peers::{Deployment, PREFIX, eventually};
use crate::redis::RawReply;

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: String,
    pub fields: Vec<(String, String)>,
}

/// An entry that was given to a worker and not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub id: String,
    /// The worker's instance name.
    pub worker: String,
    pub deliveries: i64,
}

impl Entry {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(field, _)| field == name);
        field.map(|(_, value)| value.as_str())
    }

    /// The names of the fields, in the order they were written.
    pub fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// The stream that a service's requests are on.
pub fn commands(service: &str) -> String {
    format!("{PREFIX}:cmds:{service}")
}

/// The stream that a client's replies are on.
pub fn replies(instance: &str) -> String {
    format!("{PREFIX}:replies:{instance}")
}

impl Deployment {
    /// Everything on a stream.
    pub fn entries(&self, key: &str) -> Vec<Entry> {
        let reply = self.redis.command(&format!("XRANGE {key} - +"));
        reply.array().iter().map(entry).collect()
    }

    /// Writes an entry, its fields as they are given, and gives its id back.
    pub fn add(&self, key: &str, fields: &[(&str, &str)]) -> String {
        let mut words = vec!["XADD".as_bytes(), key.as_bytes(), b"*"];
        words.extend(fields.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]));
        self.redis.connect().command(&words).text()
    }

    /// Writes a request to `arith` whose replies go to [`replies`] of `raw`, and gives its id back.
    pub fn request(&self, envelope: &str) -> String {
        let fields = [("type", "rpc"), ("envelope", envelope), ("reply-to", &replies("raw"))];
        self.add(&commands("arith"), &fields)
    }

    /// Waits until `raw` has this many replies; gives back all their envelopes.
    pub fn raw_replies(&self, count: usize) -> Vec<String> {
        let entries = eventually("the replies are there", || {
            Some(self.entries(&replies("raw"))).filter(|entries| entries.len() >= count)
        });
        entries.iter().filter_map(|entry| Some(entry.field("envelope")?.to_owned())).collect()
    }

    /// What `arith` has given to workers that did not acknowledge it. Empty without a group.
    pub fn pending(&self) -> Vec<Pending> {
        let RawReply::Array(rows) =
            self.redis.command(&format!("XPENDING {} arith - + 1000", commands("arith")))
        else {
            return Vec::new();
        };
        let row = |row: &RawReply| {
            let (id, worker) = (row.array()[0].text(), row.array()[1].text());
            let worker = worker.strip_prefix("arith:").expect("a consumer of arith").to_owned();
            Pending { id, worker, deliveries: row.array()[3].integer() }
        };
        rows.iter().map(row).collect()
    }

    /// Waits until `arith` has nothing pending.
    pub fn settled(&self) {
        eventually("nothing is pending", || self.pending().is_empty().then_some(()));
    }

    /// How often a command was sent to this Redis since its start.
    pub fn command_count(&self, name: &str) -> u64 {
        let stats = self.redis.command("INFO commandstats").text();
        let prefix = format!("cmdstat_{name}:calls=");
        let line = stats.lines().find_map(|line| line.strip_prefix(&prefix));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }
}

fn entry(reply: &RawReply) -> Entry {
    let [id, fields] = reply.array() else { panic!("no entry: {reply:?}") };
    let texts: Vec<String> = fields.array().iter().map(RawReply::text).collect();
    let fields = texts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    Entry { id: id.text(), fields }
}
