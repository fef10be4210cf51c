//! How rights are written.
//!
//! Not whether Redis takes them so, and what is lost without each: clamator-tests asks it.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec;

use clamator_proto::{Keys, ServiceName};

use super::*;

const OLD: Version = Version::new(6, 2, 14);
const NEW: Version = Version::new(7, 0, 0);

fn service(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

fn required(role: Role, scope: &Scope, version: Version) -> String {
    rules(grants(role).filter(|grant| grant.required), scope, version)
}

#[test]
fn every_command_is_allowed_on_the_streams_that_it_is_sent_for() {
    let mut scope = Scope::new("app");
    assert_eq!(
        required(Role::Server, &scope, NEW),
        "resetkeys resetchannels clearselectors -@all (%RW~app:cmds:* +xack +xgroup|create \
         +xreadgroup) (%W~app:replies:* +xadd)"
    );
    scope.services = vec![service("mail"), service("print")];
    scope.instance = Some("web-1".into());
    assert_eq!(
        required(Role::Server, &scope, NEW),
        "resetkeys resetchannels clearselectors -@all (%RW~app:cmds:mail %RW~app:cmds:print +xack \
         +xgroup|create +xreadgroup) (%W~app:replies:* +xadd)"
    );
    assert_eq!(
        required(Role::Client, &scope, NEW),
        "resetkeys resetchannels clearselectors -@all (%W~app:cmds:mail %W~app:cmds:print +xadd) \
         (%R~app:replies:web-1 +xread)"
    );
}

#[test]
fn before_redis_7_commands_and_keys_are_allowed_each_for_itself() {
    assert_eq!(
        required(Role::Server, &Scope::new("app"), OLD),
        "resetkeys resetchannels -@all ~app:cmds:* +xack ~app:replies:* +xadd +xgroup|create \
         +xreadgroup"
    );
}

#[test]
fn what_is_sent_to_later_versions_only_is_not_allowed_earlier() {
    let later = Grant { since: NEW, ..*grants(Role::Client).next().unwrap() };
    let scope = Scope::new("app");
    assert_eq!(rules([&later], &scope, OLD), "resetkeys resetchannels -@all");
    assert!(rules([&later], &scope, NEW).ends_with("-@all (%W~app:cmds:* +xadd)"));
}

#[test]
fn patterns_are_the_names_that_keys_have() {
    let (keys, mail) = (Keys::new("app"), service("mail"));
    let mut scope = Scope::new("app");
    scope.services = vec![mail.clone()];
    scope.instance = Some("web-1".into());
    let patterns = |stream| scope.patterns(Role::Client, stream);
    assert_eq!(patterns(Stream::Commands), [keys.commands(&mail)]);
    assert_eq!(patterns(Stream::Dead), [keys.dead(&mail)]);
    assert_eq!(patterns(Stream::Replies), [keys.replies("web-1")]);
    assert_eq!(scope.patterns(Role::Server, Stream::Replies), [keys.replies("*")]);
}

#[test]
fn a_name_is_no_pattern_and_takes_no_second_word() {
    let mut scope = Scope::new("a*[b]? \\{c}\u{e9}");
    scope.instance = Some("(x\n\"')".into());
    assert_eq!(
        scope.patterns(Role::Client, Stream::Replies),
        ["a\\*\\[b\\]\\??\\\\{c}\u{e9}:replies:?x????"]
    );
}

#[test]
fn a_role_needs_each_right_once_and_those_first_that_it_cannot_do_without() {
    for role in [Role::Client, Role::Operator, Role::Server] {
        let mut known = BTreeSet::new();
        for grant in grants(role) {
            assert!(known.insert((grant.command, grant.keys)), "twice: {grant:?}");
            assert!(!grant.buys.is_empty() && !grant.exposes.is_empty(), "{grant:?}");
        }
        let order: Vec<bool> = grants(role).map(|grant| !grant.required).collect();
        assert!(order.is_sorted() && order.first() == Some(&false) && order.last() == Some(&true));
    }
}
