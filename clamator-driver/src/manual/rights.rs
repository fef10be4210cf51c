//! Rights: what clients, servers and operators must be allowed in Redis.
//!
//! There is no authorisation of our own, and nothing in a request says who sent it: whoever may write
//! a service's stream may call it, and whoever may read a reply stream sees the replies. Redis
//! decides who that is, by its
//! [access lists](https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/). Give
//! clients, servers and operators users of their own, which may do what is said here and nothing
//! else. `HELLO` and `AUTH` need no right.
//!
//! Within a prefix a server writes replies to `<prefix>:replies:…` only, whatever a request asks
//! for, unless [`relaxed_reply_to`] is set. Errors of handlers that are no [`RpcError`] reach the
//! caller with their name and text: let what is secret not be in them.
//!
//! # What each may do
//!
//! What is required is sent by all; when it is refused, that is what a call or a start ends with, or
//! stands in the [log](super#what-the-log-says). What is optional and refused is left undone,
//! but for an entry in Redis's `ACL LOG`; leave it out where what it exposes is worse than what it
//! buys.
//!
//! <!-- from here written by `CLAMATOR_BLESS=1 cargo test -p clamator-tests --test workspace rights` -->
//! ## A client
//!
//! | right | on | need | what it buys | what else it lets its owner do |
//! |---|---|---|---|---|
//! | `+xadd` | writes `<prefix>:cmds:<service>` | required | calls and notifications | writes anything to the stream of a service, also what is no request, and has the answers written to any stream of replies |
//! | `+xread` | reads `<prefix>:replies:<instance>` | required | replies | reads the replies to all clients whose streams it may read |
//! | `+del` | writes `<prefix>:replies:<instance>` | optional | a client that stops leaves no stream of replies behind, which expires after an hour at the earliest | deletes replies that were not read yet |
//! | `+xdel`, since Redis 7.0 | writes `<prefix>:cmds:<service>` | optional | a call that no worker was given says so, and its request is not run later; without either of `xdel` and `xinfo\|groups` it ends as any other whose time is over | deletes requests of others that nobody has run |
//! | `+xinfo\|groups`, since Redis 7.0 | reads `<prefix>:cmds:<service>` | optional | a call that no worker was given says so, and its request is not run later; without either of `xdel` and `xinfo\|groups` it ends as any other whose time is over | shows names and progress of groups |
//! | `+client\|setname` |  | optional | connections have a name in `CLIENT LIST` | nothing |
//! | `+select` |  | optional | a target may name a database other than 0 | the same keys in every database |
//! | `+time` |  | optional | the handshake's look at the clock leaves no trace in `ACL LOG` | nothing |
//!
//! ## A server
//!
//! | right | on | need | what it buys | what else it lets its owner do |
//! |---|---|---|---|---|
//! | `+xack` | writes `<prefix>:cmds:<service>` | required | what is settled is not run again | settles requests that nobody has run |
//! | `+xadd` | writes `<prefix>:replies:<instance>` | required | answers | answers calls that others have been given |
//! | `+xgroup\|create` | writes `<prefix>:cmds:<service>` | required | the service's group is there, at the start and whenever it was lost | makes other groups, for which everything stays in the stream |
//! | `+xreadgroup` | reads `<prefix>:cmds:<service>` | required | requests and notifications | takes requests without running them |
//! | `+client\|unblock` |  | optional | a stop does not wait until its reads run out, by default up to 1 s | ends the blocking read of any connection of any user |
//! | `+eval` | reads and writes `<prefix>:cmds:<service>` | optional | consumers that workers leave in the group when they are killed are removed from it, together with `xinfo\|consumers` and `xgroup\|delconsumer` | runs scripts, of the commands that it may send |
//! | `+xinfo\|consumers` | reads `<prefix>:cmds:<service>` | optional | consumers that workers leave in the group when they are killed are removed from it, as with `eval` | shows the names of workers, and when each was there last |
//! | `+pexpire` | writes `<prefix>:replies:<instance>` | optional | streams of replies that nobody deletes expire | lets replies expire that were not read yet |
//! | `+time` |  | optional | requests whose callers have given up are told by Redis's clock, and not run | nothing |
//! | `+xadd` | writes `<prefix>:dead:<service>` | optional | what is given out too often is kept as a dead letter, and not just acknowledged | makes dead letters up, which an operator may put back as requests |
//! | `+xautoclaim` | writes `<prefix>:cmds:<service>` | optional | what dead workers leave, and what others hand back, is taken over; without it, only by other servers, and no record of the log says so | takes over what another worker is running, and reads it |
//! | `+xclaim` | writes `<prefix>:cmds:<service>` | optional | what runs or waits for longer than `claim_idle` is not given to another worker; what waits at a stop is handed back; and a worker that is started again under its name takes back what it held | takes over what another worker is running, and reads it |
//! | `+xdel` | writes `<prefix>:cmds:<service>` | optional | what was handled leaves its stream at once | deletes requests that nobody has run |
//! | `+xgroup\|delconsumer` | writes `<prefix>:cmds:<service>` | optional | a server that stops leaves no consumer behind | removes others' consumers, and with them the requests that they hold |
//! | `+xinfo\|groups` | reads `<prefix>:cmds:<service>` | optional | it is known whether others read the stream too, without which nothing leaves it, and how far a group has come that has to be made again, without which that runs anew what is still in the stream | shows names and progress of groups |
//! | `+xinfo\|stream` | reads `<prefix>:cmds:<service>` | optional | a stream that was deleted, and begins again with lower ids, is served from its beginning | shows the stream's first and last entry |
//! | `+xpending` | reads `<prefix>:cmds:<service>` | optional | it is known how often an entry was given out, so that there are dead letters; who holds it when a lease is in doubt; what a worker held that is started again under its name; what a connection was given that has ended, as with `xrange`; and how far a group has come, as with `xinfo\|groups`; a server that stops removes its consumer | shows who holds what |
//! | `+xrange` | reads `<prefix>:cmds:<service>` | optional | what was deleted from the stream before it was settled is noticed: by Redis 6.2 at all, by others while it is run; and what a connection was given that has ended does not wait for `claim_idle`, together with `xpending` | reads the requests of the service, also those that others run |
//! | `+xtrim` | writes `<prefix>:cmds:<service>` | optional | what peers have acknowledged and left in the stream leaves it | deletes requests that nobody has run |
//! | `+client\|setname` |  | optional | connections have a name in `CLIENT LIST` | nothing |
//! | `+select` |  | optional | a target may name a database other than 0 | the same keys in every database |
//!
//! ## An operator
//!
//! | right | on | need | what it buys | what else it lets its owner do |
//! |---|---|---|---|---|
//! | `+xrange` | reads `<prefix>:dead:<service>` | required | dead letters are listed | reads the requests that have become dead letters |
//! | `+xadd` | writes `<prefix>:cmds:<service>` | optional | dead letters are put back | calls any method of the service |
//! | `+xdel` | writes `<prefix>:dead:<service>` | optional | dead letters are removed, also those that were put back | removes dead letters that nobody has seen |
//! | `+client\|setname` |  | optional | connections have a name in `CLIENT LIST` | nothing |
//! | `+select` |  | optional | a target may name a database other than 0 | the same keys in every database |
//! | `+time` |  | optional | the handshake's look at the clock leaves no trace in `ACL LOG` | nothing |
//!
//! # The users
//!
//! With all of that, for the prefix `app`, on Redis 7.0 and later, and Valkey:
//!
//! ```text
//! ACL SETUSER app-client on >password resetkeys resetchannels clearselectors -@all +client|setname +select +time (%RW~app:cmds:* +xadd +xdel +xinfo|groups) (%RW~app:replies:* +xread +del)
//! ACL SETUSER app-server on >password resetkeys resetchannels clearselectors -@all +client|unblock +time +client|setname +select (%RW~app:cmds:* +xack +xgroup|create +xreadgroup +eval +xinfo|consumers +xautoclaim +xclaim +xdel +xgroup|delconsumer +xinfo|groups +xinfo|stream +xpending +xrange +xtrim) (%W~app:replies:* +xadd +pexpire) (%W~app:dead:* +xadd)
//! ACL SETUSER app-operator on >password resetkeys resetchannels clearselectors -@all +client|setname +select +time (%RW~app:dead:* +xrange +xdel) (%W~app:cmds:* +xadd)
//! ```
//!
//! With all of that, for the prefix `app`, on Redis 6.2:
//!
//! ```text
//! ACL SETUSER app-client on >password resetkeys resetchannels -@all ~app:cmds:* +xadd ~app:replies:* +xread +del +client|setname +select +time
//! ACL SETUSER app-server on >password resetkeys resetchannels -@all ~app:cmds:* +xack ~app:replies:* +xadd +xgroup|create +xreadgroup +client|unblock +eval +xinfo|consumers +pexpire +time ~app:dead:* +xautoclaim +xclaim +xdel +xgroup|delconsumer +xinfo|groups +xinfo|stream +xpending +xrange +xtrim +client|setname +select
//! ACL SETUSER app-operator on >password resetkeys resetchannels -@all ~app:dead:* +xrange ~app:cmds:* +xadd +xdel +client|setname +select +time
//! ```
//! <!-- to here -->
//!
//! # Fewer keys
//!
//! Where a client has no business with most services, name those that it has instead of
//! `app:cmds:*`; and so for servers. A client that is named by [`instance`] hears its replies on
//! `app:replies:<name>`: with that instead of `app:replies:*` it reads and deletes no other's. What
//! cannot be helped is that a client may name another's stream as the one for its replies.
//!
//! Redis before 7.0 does not tell reading from writing, and has no selectors, the rights in
//! parentheses: there, a server may also read all replies, and send itself requests.
//!
//! `clamator_engine::access` writes the words for any prefix, services and version, with the optional
//! rights that you want:
//!
//! ```
//! use clamator_engine::Version;
//! use clamator_engine::access::{Role, Scope, grants, rules};
//!
//! let mut scope = Scope::new("app");
//! scope.services = vec!["mail".parse()?];
//! scope.instance = Some("web-1".into());
//! let wanted = grants(Role::Client).filter(|grant| grant.required || grant.command == "del");
//! assert_eq!(
//!     rules(wanted, &scope, Version::new(7, 0, 0)),
//!     "resetkeys resetchannels clearselectors -@all (%W~app:cmds:mail +xadd) \
//!      (%RW~app:replies:web-1 +xread +del)"
//! );
//! # Ok::<(), clamator_tokio::InvalidName>(())
//! ```
//!
//! [`RpcError`]: crate::RpcError
//! [`instance`]: crate::ClientBuilder::instance
//! [`relaxed_reply_to`]: crate::ServerBuilder::relaxed_reply_to
