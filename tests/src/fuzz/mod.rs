//! The fuzz targets: each turns any bytes into input for one part of clamator and checks what holds
//! whatever comes in.
//!
//! Not what chooses the bytes: libFuzzer does in `tests/fuzz`, and `tests/tests/fuzz` runs the same
//! functions as property tests. A target is a pure function of its bytes; a broken promise is a
//! panic. What an input has reached is told by its [`Seen`], so that a target that no longer gets
//! anywhere is noticed.

mod client;
mod entry;
mod envelope;
mod material;
mod mishaps;
mod names;
mod port;
mod reply;
mod resp;
mod script;
mod server;
mod world;

use std::collections::BTreeSet;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]) -> Seen,
    /// What must be reached, and by how many of a thousand inputs at least.
    pub reaches: &'static [(&'static str, u64)],
}

/// Every target.
pub const TARGETS: [Target; 7] = [
    Target {
        name: "envelope",
        run: envelope::run,
        reaches: &[
            ("failure", 8),
            ("notification", 8),
            ("refused", 100),
            ("request", 8),
            ("success", 8),
            ("too deep", 1),
        ],
    },
    Target {
        name: "entry",
        run: entry::run,
        reaches: &[
            ("acknowledged unrun", 200),
            ("answered unrun", 50),
            ("good beside bad", 200),
            ("started", 300),
            ("started without reply", 20),
        ],
    },
    Target {
        name: "reply",
        run: reply::run,
        reaches: &[
            ("dropped", 200),
            ("error", 20),
            ("protocol fault", 20),
            ("result", 200),
            ("unparsable", 100),
        ],
    },
    Target {
        name: "resp",
        run: resp::run,
        reaches: &[("decoded", 50), ("read back", 400), ("refusal", 5), ("undecodable", 200)],
    },
    Target {
        name: "client",
        run: client::run,
        reaches: &[
            ("connected", 300),
            ("lane closed", 100),
            ("lane lost", 100),
            ("not sent", 100),
            ("notified", 50),
            ("outcome unknown", 20),
            ("refused", 20),
            ("reply stream deleted", 50),
            ("result", 100),
            ("stream read again", 20),
            ("timeout", 50),
        ],
    },
    Target {
        name: "server",
        run: server::run,
        reaches: &[
            ("abandoned", 20),
            ("acknowledged", 200),
            ("claimed", 50),
            ("consumer removed", 20),
            ("ghost", 1),
            ("group restored", 5),
            ("lane closed", 100),
            ("lane lost", 100),
            ("looked back", 50),
            ("looked back and found", 20),
            ("redelivered", 20),
            ("reply retried", 20),
            ("started", 300),
            ("stopped clean", 100),
            ("taken back", 20),
        ],
    },
    Target {
        name: "names",
        run: names::run,
        reaches: &[("id", 10), ("integer", 10), ("method", 10), ("version", 10)],
    },
];

/// What one input has reached.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen(BTreeSet<&'static str>);

impl Seen {
    pub(crate) fn mark(&mut self, what: &'static str) {
        self.0.insert(what);
    }

    /// The names of what was reached.
    pub fn marks(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }
}
