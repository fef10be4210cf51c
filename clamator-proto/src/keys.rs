//! The names of things in Redis: streams, consumer groups and consumers.
//!
//! They are the peers' names, so one deployment can be mixed. Not the fields of an entry, which are
//! in [`entry`](crate::entry). Prefix and instance id are used verbatim, without escaping: a prefix
//! that ends in `:cmds` or an instance id with a colon can collide with others, as for the peers.

use alloc::{format, string::String, sync::Arc};

use crate::name::ServiceName;

/// The keys under one prefix. A clone shares the prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    prefix: Arc<str>,
}

impl Keys {
    /// Takes the prefix that all peers of a deployment share; it may be empty.
    pub fn new(prefix: impl Into<Arc<str>>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The prefix as it was given.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The stream that a service's requests and notifications are sent on.
    pub fn commands(&self, service: &ServiceName) -> String {
        format!("{}:cmds:{service}", self.prefix)
    }

    /// The name of the service whose command stream this is, and of its consumer group; `None` for
    /// any other key.
    pub fn service<'a>(&self, commands: &'a [u8]) -> Option<&'a [u8]> {
        commands.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b":cmds:")
    }

    /// The stream of a service's dead letters: entries that were started too often.
    pub fn dead(&self, service: &ServiceName) -> String {
        format!("{}:dead:{service}", self.prefix)
    }

    /// The stream that a client instance gets its replies on.
    pub fn replies(&self, instance: &str) -> String {
        format!("{}:replies:{instance}", self.prefix)
    }

    /// Whether `key` is the reply stream of some instance, so that a server may write to it.
    pub fn is_replies(&self, key: &[u8]) -> bool {
        key.strip_prefix(self.prefix.as_bytes())
            .and_then(|rest| rest.strip_prefix(b":replies:"))
            .is_some_and(|instance| !instance.is_empty())
    }

    /// The consumer group on a service's command stream: the service's own name.
    pub fn group<'a>(&self, service: &'a ServiceName) -> &'a str {
        service.as_str()
    }

    /// The instance name under which entries wait that were handed back to a pool. No server has it.
    pub const RELEASED: &'static str = "released";

    /// The consumer of one server instance in a service's group.
    pub fn consumer(&self, service: &ServiceName, instance: &str) -> String {
        format!("{service}:{instance}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> ServiceName {
        ServiceName::new("engine").unwrap()
    }

    #[test]
    fn the_names_are_those_of_the_peers() {
        let keys = Keys::new("app");
        assert_eq!(keys.prefix(), "app");
        assert_eq!(keys.commands(&service()), "app:cmds:engine");
        assert_eq!(keys.service(b"app:cmds:engine"), Some(&b"engine"[..]));
        assert_eq!(keys.dead(&service()), "app:dead:engine");
        assert_eq!(keys.replies("inst-1"), "app:replies:inst-1");
        assert_eq!(keys.group(&service()), "engine");
        assert_eq!(keys.consumer(&service(), "inst-1"), "engine:inst-1");
    }

    #[test]
    fn prefix_and_instance_are_used_verbatim() {
        let keys = Keys::new("{a:b} *");
        assert_eq!(keys.commands(&service()), "{a:b} *:cmds:engine");
        assert_eq!(keys.replies("x:y z"), "{a:b} *:replies:x:y z");
        assert_eq!(Keys::new("").replies(""), ":replies:");
    }

    #[test]
    fn only_a_command_stream_under_the_prefix_has_a_service() {
        let keys = Keys::new("app");
        for key in [&b"app:replies:engine"[..], b"app2:cmds:engine", b"app:cmds", b"cmds:engine"] {
            assert_eq!(keys.service(key), None, "{key:?}");
        }
    }

    #[test]
    fn only_a_reply_stream_under_the_prefix_is_one() {
        let keys = Keys::new("app");
        for key in [&b"app:replies:i"[..], b"app:replies::", b"app:replies:\xff"] {
            assert!(keys.is_replies(key), "{key:?}");
        }
        let refused = [
            &b""[..],
            b"app",
            b"app:replies",
            b"app:replies:",
            b"app:cmds:engine",
            b"app2:replies:i",
            b"other:replies:i",
            b" app:replies:i",
            b"APP:replies:i",
        ];
        for key in refused {
            assert!(!keys.is_replies(key), "{key:?}");
        }
    }
}
