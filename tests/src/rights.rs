//! [`RestrictedRedis`]: a Redis server with a user for each role, which has the rights that the table
//! of rights gives its role, and no other.
//!
//! Not for tests of passwords: whoever names a user is let in as it. What a test looks at by itself
//! it sees as the default user, who may do all. A server whose users lack nothing fails its test
//! when it has refused them anything.

use std::net::TcpStream;
use std::ops::{Deref, DerefMut};

use clamator_driver::Target;
use clamator_engine::access::{Grant, Role, Scope, grants, rules};

use crate::redis::{RawReply, RedisServer};

const ROLES: [Role; 3] = [Role::Client, Role::Operator, Role::Server];

/// A Redis server whose users have the rights of their roles.
#[derive(Debug)]
pub struct RestrictedRedis {
    redis: RedisServer,
    scope: Scope,
    /// Whether everything is allowed that is sent.
    complete: bool,
}

impl RestrictedRedis {
    /// Starts a server whose users have all rights that their roles have a use for.
    pub fn start(scope: &Scope, options: &[&str]) -> Self {
        Self::start_without(scope, options, |_| false)
    }

    /// Starts a server whose users lack some of these rights.
    pub fn start_without(scope: &Scope, options: &[&str], lacks: impl Fn(&Grant) -> bool) -> Self {
        let version = RedisServer::version();
        let mut options: Vec<String> = options.iter().map(|it| (*it).to_owned()).collect();
        let mut complete = true;
        for role in ROLES {
            let granted: Vec<&Grant> = grants(role).filter(|grant| !lacks(grant)).collect();
            complete &= granted.len() == grants(role).count();
            let rules = rules(granted, scope, version);
            options.extend(["--user", user(role), "on", "nopass"].map(str::to_owned));
            options.extend(rules.split(' ').map(str::to_owned));
        }
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Self { redis: RedisServer::start_with(&options), scope: scope.clone(), complete }
    }

    /// Takes some of their rights from the users, whoever is connected, and gives back all others.
    pub fn restrict(&mut self, lacks: impl Fn(&Grant) -> bool) {
        self.complete = false;
        for role in ROLES {
            let granted = grants(role).filter(|grant| !lacks(grant));
            let rules = rules(granted, &self.scope, RedisServer::version());
            let set = self.redis.command(&format!("ACL SETUSER {} {rules}", user(role)));
            assert_eq!(set, RawReply::Simple("OK".into()), "{rules}");
        }
    }

    /// The way here, as a role's user.
    pub fn target(&self, role: Role) -> Target {
        target(role, self.port())
    }

    /// What was refused, and to whom.
    pub fn refused(&self) -> Vec<String> {
        let log = self.redis.command("ACL LOG");
        let entry = |entry: &RawReply| {
            let fields = entry.array().iter().map(|field| match field {
                RawReply::Integer(integer) => integer.to_string(),
                other => other.text(),
            });
            fields.collect::<Vec<String>>().join(" ")
        };
        log.array().iter().map(entry).collect()
    }
}

impl Deref for RestrictedRedis {
    type Target = RedisServer;

    fn deref(&self) -> &RedisServer {
        &self.redis
    }
}

impl DerefMut for RestrictedRedis {
    fn deref_mut(&mut self) -> &mut RedisServer {
        &mut self.redis
    }
}

impl Drop for RestrictedRedis {
    fn drop(&mut self) {
        let is_there = || TcpStream::connect(("127.0.0.1", self.port())).is_ok();
        if self.complete && !std::thread::panicking() && is_there() {
            let refused = self.refused();
            assert!(refused.is_empty(), "something was refused that is sent: {refused:#?}");
        }
    }
}

/// The way to a [`RestrictedRedis`] behind this port, as a role's user.
pub fn target(role: Role, port: u16) -> Target {
    let url = format!("redis://{}:any@127.0.0.1:{port}", user(role));
    Target::url(&url).expect("a valid URL")
}

/// The user of a role.
pub fn user(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Operator => "operator",
        Role::Server => "server",
        other => unreachable!("no user for {other:?}"),
    }
}
