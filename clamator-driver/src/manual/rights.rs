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
