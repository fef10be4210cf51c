//! What a client, a server and an operator must be allowed in Redis, command by command, as
//! [access lists](https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/) for
//! those who grant no more than is needed.
//!
//! Not who may call whom within a service: there are no such rights but Redis's. The table is
//! [`of`], which says of each [`Command`] who sends it; [`rules`] writes a role's rows as the words
//! of `ACL SETUSER`. `HELLO` and `AUTH`, with which each connection begins, need no right.
//!
//! ```
//! use clamator_engine::Version;
//! use clamator_engine::access::{Role, Scope, grants, rules};
//!
//! let operator = grants(Role::Operator).filter(|grant| grant.required);
//! assert_eq!(
//!     rules(operator, &Scope::new("app"), Version::new(7, 0, 0)),
//!     "resetkeys resetchannels clearselectors -@all (%R~app:dead:* +xrange)",
//! );
//! ```
//!
//! [`Command`]: crate::Command

use alloc::string::String;
use alloc::vec::Vec;

use clamator_proto::ServiceName;

use crate::engine::Version;

mod table;

pub use table::of;

/// From here on Redis tells reading a key from writing it, and a user may have selectors: rights to
/// some commands on some keys.
const SELECTORS: Version = Version::new(7, 0, 0);

/// Who sends commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Role {
    /// A [`Client`](crate::Client).
    Client,
    /// An [`Operator`](crate::Operator).
    Operator,
    /// A [`Server`](crate::Server).
    Server,
}

/// A right to send one command: what it is for, and what else it lets its owner do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// Who sends the command.
    pub role: Role,
    /// Its name, as access lists have it, such as `xgroup|create`.
    pub command: &'static str,
    /// The streams that it is sent for, and what it does to them; `None` for none.
    pub keys: Option<(Stream, Access)>,
    /// Whether the role cannot do its work without. It then says so: Redis's refusal is what a call
    /// or a start ends with, or is told as an event. What is optional and refused is left undone.
    pub required: bool,
    /// Oldest version of Redis that it is sent to. An older one need not allow it.
    pub since: Version,
    /// What there is with it and is not without.
    pub buys: &'static str,
    /// What else somebody could do with it.
    pub exposes: &'static str,
}

/// Which streams of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stream {
    /// Those of requests and notifications: see [`Keys::commands`](clamator_proto::Keys::commands).
    Commands,
    /// Those of dead letters: see [`Keys::dead`](clamator_proto::Keys::dead).
    Dead,
    /// Those of replies: see [`Keys::replies`](clamator_proto::Keys::replies).
    Replies,
}

/// What a command does to a key, as Redis sees it: `XAUTOCLAIM` only writes, whatever it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Access {
    /// `%R~`.
    Read,
    /// `%RW~`: what a script does to its keys is not known beforehand.
    ReadWrite,
    /// `%W~`.
    Write,
}

/// Which keys rights are about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scope {
    /// First part of every key.
    pub prefix: String,
    /// Services that are called, served or looked after. Default none, which stands for all.
    pub services: Vec<ServiceName>,
    /// Instance name of the client, so that it hears no other client's replies. Default `None`, for
    /// any name, as clients have when they are given none. Of no account to servers, which answer
    /// everybody.
    pub instance: Option<String>,
}

impl Scope {
    /// Makes the scope of all services and clients under this key prefix.
    #[must_use]
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), services: Vec::new(), instance: None }
    }

    /// The patterns of these streams' keys.
    fn patterns(&self, role: Role, stream: Stream) -> Vec<String> {
        let kind = match stream {
            Stream::Commands => "cmds",
            Stream::Dead => "dead",
            Stream::Replies => "replies",
        };
        let prefix = literal(&self.prefix);
        let pattern = |name: &str| alloc::format!("{prefix}:{kind}:{name}");
        let services = self.services.iter().map(|service| pattern(service.as_str()));
        match (stream, &self.instance) {
            (Stream::Replies, Some(instance)) if role == Role::Client => {
                Vec::from([pattern(&literal(instance))])
            }
            (Stream::Commands | Stream::Dead, _) if !self.services.is_empty() => services.collect(),
            _ => Vec::from([pattern("*")]),
        }
    }
}

/// All rights that a role has a use for: first what is required, then what is optional.
pub fn grants(role: Role) -> impl Iterator<Item = &'static Grant> {
    let all = move |required| {
        let rows = table::ALL.iter().copied().flatten();
        rows.filter(move |grant| grant.role == role && grant.required == required)
    };
    all(true).chain(all(false))
}

/// Writes rights as words of `ACL SETUSER`, separated by blanks: those that a user has from then
/// on, whatever it had before. Passwords, and whether it is `on`, are left as they are.
///
/// Each command is allowed on the keys that it is sent for, and for what it does to them. Before
/// Redis 7.0, which `version` says it is, there is no such thing: whoever has a right to one of the
/// keys may then send each of the commands for it.
///
/// A character that access lists cannot hold, as a blank, is written as `?`, which stands for any.
pub fn rules<'a>(
    grants: impl IntoIterator<Item = &'a Grant>,
    scope: &Scope,
    version: Version,
) -> String {
    let selects = version >= SELECTORS;
    let mut words = Words::default();
    words.add("resetkeys resetchannels");
    if selects {
        words.add("clearselectors");
    }
    words.add("-@all");
    // Rights to the same streams are one selector.
    let mut selectors: Vec<Selector<'a>> = Vec::new();
    for grant in grants.into_iter().filter(|grant| grant.since <= version) {
        match grant.keys.filter(|_| selects) {
            Some((stream, _)) => {
                let same = |it: &&mut Selector<'_>| (it.role, it.stream) == (grant.role, stream);
                match selectors.iter_mut().find(same) {
                    Some(selector) => selector.grants.push(grant),
                    None => selectors.push(Selector {
                        role: grant.role,
                        stream,
                        grants: Vec::from([grant]),
                    }),
                }
            }
            None => {
                let keys = grant.keys.map(|(stream, _)| scope.patterns(grant.role, stream));
                for pattern in keys.into_iter().flatten() {
                    words.add_once(&alloc::format!("~{pattern}"));
                }
                words.add_once(&alloc::format!("+{}", grant.command));
            }
        }
    }
    for selector in &selectors {
        words.add(&alloc::format!("({})", selector.words(scope).0));
    }
    words.0
}

/// Rights to the same streams.
struct Selector<'a> {
    role: Role,
    stream: Stream,
    grants: Vec<&'a Grant>,
}

impl Selector<'_> {
    fn words(&self, scope: &Scope) -> Words {
        let mut words = Words::default();
        let does = |some| {
            let accesses = self.grants.iter().filter_map(|it| it.keys.map(|(_, access)| access));
            accesses.into_iter().any(|access| access == some || access == Access::ReadWrite)
        };
        let access = match (does(Access::Read), does(Access::Write)) {
            (true, true) => "RW",
            (true, false) => "R",
            (false, _) => "W",
        };
        for pattern in scope.patterns(self.role, self.stream) {
            words.add(&alloc::format!("%{access}~{pattern}"));
        }
        for grant in &self.grants {
            words.add_once(&alloc::format!("+{}", grant.command));
        }
        words
    }
}

/// Words with blanks between them.
#[derive(Default)]
struct Words(String);

impl Words {
    fn add(&mut self, words: &str) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(words);
    }

    fn add_once(&mut self, word: &str) {
        if !self.0.split(' ').any(|known| known == word) {
            self.add(word);
        }
    }
}

/// A pattern that only this text matches, but for what access lists cannot hold.
fn literal(text: &str) -> String {
    let mut pattern = String::new();
    for letter in text.chars() {
        match letter {
            '*' | '?' | '[' | ']' | '\\' => pattern.extend(['\\', letter]),
            '"' | '\'' | '(' | ')' => pattern.push('?'),
            _ if letter.is_ascii_control() || letter == ' ' => pattern.push('?'),
            _ => pattern.push(letter),
        }
    }
    pattern
}

#[cfg(test)]
mod tests;
