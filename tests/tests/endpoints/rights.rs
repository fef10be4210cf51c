//! Rights: what each role may do with its own, and what becomes of it without one of them.
//!
//! Not what each optional right buys, which is in `probes`. The users have what the table of rights
//! says ([`clamator_engine::access`]), for one service and one client, and no password.

use std::time::Duration;

use clamator_driver::{
    Client, Context, Operator, Runtime, Server, Service, ServiceName, StartError, StreamId, Target,
};
use clamator_engine::Version;
use clamator_engine::access::{Access, Grant, Role, Scope, Stream, grants, rules};
use clamator_tests::redis::{RawReply, RedisServer};
use clamator_tests::rights::user;
use clamator_tests::world::Async;
use futures_util::future::join_all;

use crate::play::{PREFIX, Play, SERVICE};
use crate::probes::has;

clamator_tests::scenarios!(
    a_role_without_a_right_that_it_needs_says_so,
    each_right_that_is_optional_buys_what_the_table_says_and_nothing_else_breaks_without,
    neither_a_client_nor_a_server_may_do_what_it_never_does,
    the_users_that_the_manual_shows_serve_and_call,
    nothing_is_refused_that_is_granted_and_all_is_served_with_what_is_required,
);

const ROLES: [Role; 3] = [Role::Client, Role::Operator, Role::Server];

/// What this version of Redis has a use for, and no role needs.
fn optional() -> impl Iterator<Item = &'static Grant> {
    let version = RedisServer::version();
    let used = move |grant: &&Grant| !grant.required && grant.since <= version;
    ROLES.into_iter().flat_map(grants).filter(used)
}

async fn nothing_is_refused_that_is_granted_and_all_is_served_with_what_is_required<R: Runtime>(
    runtime: R,
) {
    // It fails as it ends, if anything was refused.
    let play = Play::without(&runtime, |_| false);
    play.assert_serves().await;
    // Long enough for all that is done once in a while.
    let server = play.serve(|builder| builder.trim_tick(Duration::from_millis(200))).await;
    runtime.sleep(Duration::from_millis(1500)).await;
    assert_eq!(server.shutdown().await.left, 0);
    let play = Play::without(&runtime, |grant| !grant.required);
    play.assert_serves().await;
    assert!(!play.redis.refused().is_empty(), "what is optional is sent all the same");
}

async fn each_right_that_is_optional_buys_what_the_table_says_and_nothing_else_breaks_without<
    R: Runtime,
>(
    runtime: R,
) {
    let probe = async |grant: &'static Grant| {
        let (role, command) = (grant.role, grant.command);
        let with = Play::without(&runtime, |_| false);
        assert!(has(&with, grant).await, "{role:?} has no use for {command}: {}", grant.buys);
        let without = Play::without(&runtime, |it| it == grant);
        without.assert_serves().await;
        assert!(!has(&without, grant).await, "{role:?} does without {command}: {}", grant.buys);
        without.assert_serves().await;
        let refused = without.redis.refused();
        let others: Vec<&String> =
            refused.iter().filter(|refused| !is_about(refused, grant)).collect();
        assert!(!refused.is_empty() && others.is_empty(), "{command}: {others:#?}");
    };
    // A few at a time, each with two servers of its own.
    let all: Vec<&Grant> = optional().collect();
    for some in all.chunks(8) {
        join_all(some.iter().map(|grant| probe(grant))).await;
    }
}

/// Whether an entry of Redis's log is about this right: it names the command, or a key that is
/// allowed for others. Redis 6.2 names commands without their subcommands.
fn is_about(refused: &str, grant: &Grant) -> bool {
    let field = |name: &str| {
        let mut words = refused.split(' ').skip_while(|word| *word != name);
        words.nth(1).unwrap_or_default().to_owned()
    };
    let (object, command) = (field("object"), grant.command);
    let name = command.split('|').next().unwrap_or_default();
    let is_key = match grant.keys {
        Some((Stream::Dead, _)) => object.contains(":dead:"),
        _ => false,
    };
    field("username") == user(grant.role) && (object == command || object == name || is_key)
}

async fn a_role_without_a_right_that_it_needs_says_so<R: Runtime>(runtime: R) {
    let refuse = async |grant: &'static Grant| {
        let (role, command) = (grant.role, grant.command);
        // The command is told where the user may send it for nothing at all.
        let play = Play::without(&runtime, |it| it.role == role && it.command == command);
        let told = play.tell(role).await;
        let name = command.split('|').next().unwrap_or_default();
        let named = [format!("'{command}'"), format!("'{name}'")];
        let is_told = |text: &String| {
            text.contains("NOPERM") && named.iter().any(|named| text.contains(named.as_str()))
        };
        assert!(told.iter().any(is_told), "{role:?} without {command}: {told:#?}");
    };
    let required = ROLES.into_iter().flat_map(grants).filter(|grant| grant.required);
    join_all(required.map(refuse)).await;
    let play = Play::without(&runtime, |grant| grant.command == "xgroup|create");
    let start = play.builder().start_on(runtime.clone(), play.redis.target(Role::Server)).await;
    assert!(matches!(start, Err(StartError::Group { .. })), "{start:?}");
}

async fn neither_a_client_nor_a_server_may_do_what_it_never_does<R: Runtime>(runtime: R) {
    // It does not fail as it ends, although it refuses: something that is sent is not allowed.
    let play = Play::without(&runtime, |grant| grant.command == "time");
    let (mut raw, caller) = (play.redis.connect(), play.caller.as_str());
    let mut may = |role, words: &str| {
        raw.command(&[b"AUTH", user(role).as_bytes(), b"any"]);
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let answer = raw.command(&words);
        !matches!(&answer, RawReply::Error(text) if text.starts_with("NOPERM"))
    };
    let (commands, replies) = (format!("{PREFIX}:cmds:{SERVICE}"), format!("{PREFIX}:replies"));
    assert!(may(Role::Client, &format!("XADD {commands} * a b")));
    assert!(may(Role::Client, &format!("XREAD STREAMS {replies}:{caller} 0")));
    assert!(may(Role::Server, &format!("XADD {replies}:anybody * a b")));
    for other in [
        format!("XADD {PREFIX}:cmds:other * a b"),
        format!("XADD elsewhere:cmds:{SERVICE} * a b"),
        format!("XADD {replies}:{caller}-2 * a b"),
        format!("XRANGE {commands} - +"),
        format!("XREAD STREAMS {replies}:{caller}-2 0"),
        format!("DEL {replies}:{caller}-2"),
        "CLIENT KILL TYPE normal".to_owned(),
        "FLUSHALL".to_owned(),
        "KEYS *".to_owned(),
    ] {
        assert!(!may(Role::Client, &other), "a client may {other}");
    }
    for other in [
        format!("XREADGROUP GROUP other me STREAMS {PREFIX}:cmds:other >"),
        format!("XADD elsewhere:replies:{caller} * a b"),
        format!("XGROUP DESTROY {commands} {SERVICE}"),
        "CLIENT LIST".to_owned(),
        "FLUSHALL".to_owned(),
    ] {
        assert!(!may(Role::Server, &other), "a server may {other}");
    }
    if RedisServer::version() >= Version::new(7, 0, 0) {
        for other in [
            format!("XADD {commands} * a b"),
            format!("XRANGE {replies}:{caller} - +"),
            format!("XDEL {replies}:{caller} 1-1"),
            format!("PEXPIRE {commands} 1"),
        ] {
            assert!(!may(Role::Server, &other), "a server may {other}");
        }
    }
}

/// The lists that the manual shows, as they stand there.
async fn the_users_that_the_manual_shows_serve_and_call<R: Runtime>(runtime: R) {
    let redis = RedisServer::start();
    let page = include_str!("../../../clamator-driver/src/manual/rights.rs");
    let lists = page.lines().filter_map(|line| line.strip_prefix("//! ACL SETUSER "));
    let selects = RedisServer::version() >= Version::new(7, 0, 0);
    let lists: Vec<&str> =
        lists.filter(|list| list.contains("clearselectors") == selects).collect();
    assert_eq!(lists.len(), ROLES.len());
    for list in lists {
        let set = format!("ACL SETUSER {list}");
        assert_eq!(redis.command(&set), RawReply::Simple("OK".into()), "{set}");
    }
    let target = |user| {
        let url = format!("redis://app-{user}:password@127.0.0.1:{}", redis.port());
        Target::url(&url).expect("a valid URL")
    };
    let echo = Service::new("echo").request("echo", async |it: u64, _: Context| Ok(it));
    let server = Server::builder("app").service(echo);
    let server = server.start_on(runtime.clone(), target("server")).await.expect("it starts");
    let client = Client::builder("app").connect_on(runtime.clone(), target("client"));
    let client = client.await.expect("it connects");
    assert_eq!(client.call::<u64>("echo.echo", 7).await, Ok(7));
    let operator = Operator::connect_on(runtime.clone(), "app", target("operator")).await;
    let echo = ServiceName::new("echo").expect("a good name");
    let letters = operator.expect("it connects").list(&echo, StreamId::ZERO, 1).await;
    assert_eq!(letters, Ok(vec![]));
    client.stop().await;
    assert_eq!(server.shutdown().await.left, 0);
    assert_eq!(redis.command("ACL LOG").array().len(), 0, "something was refused");
}

/// Since Redis 7.0, which tells reading from writing.
#[test]
fn each_command_does_to_its_keys_what_the_table_says_and_no_more() {
    if RedisServer::version() < Version::new(7, 0, 0) {
        return;
    }
    let redis = RedisServer::start();
    let mut raw = redis.connect();
    for grant in ROLES.into_iter().flat_map(grants) {
        let Some((_, access)) = grant.keys else { continue };
        let (own, other) = match access {
            Access::Read => ("%R~", "%W~"),
            Access::ReadWrite => ("%RW~", "%R~"),
            _ => ("%W~", "%R~"),
        };
        let list = rules([grant], &Scope::new("app"), RedisServer::version());
        assert!(list.contains(own), "{list}");
        for (list, allowed) in [(list.clone(), true), (list.replace(own, other), false)] {
            let set = format!("ACL SETUSER one on nopass {list}");
            assert_eq!(redis.command(&set), RawReply::Simple("OK".into()), "{set}");
            raw.command(&[b"AUTH", b"one", b"any"]);
            let key = match grant.keys {
                Some((Stream::Commands, _)) => "app:cmds:a",
                Some((Stream::Dead, _)) => "app:dead:a",
                _ => "app:replies:a",
            };
            let words = sample(grant.command).replace("KEY", key);
            let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
            let answer = raw.command(&words);
            let refused = matches!(&answer, RawReply::Error(text) if text.starts_with("NOPERM"));
            assert_eq!(!refused, allowed, "{} as {list}: {answer:?}", grant.command);
        }
    }
}

/// Some use of a command.
fn sample(command: &str) -> &'static str {
    match command {
        "del" => "DEL KEY",
        "eval" => "EVAL return 1 KEY",
        "pexpire" => "PEXPIRE KEY 1000",
        "xack" => "XACK KEY a 1-1",
        "xadd" => "XADD KEY * a b",
        "xautoclaim" => "XAUTOCLAIM KEY a b 0 0",
        "xclaim" => "XCLAIM KEY a b 0 1-1 JUSTID",
        "xdel" => "XDEL KEY 1-1",
        "xgroup|create" => "XGROUP CREATE KEY a 0 MKSTREAM",
        "xgroup|delconsumer" => "XGROUP DELCONSUMER KEY a b",
        "xinfo|consumers" => "XINFO CONSUMERS KEY a",
        "xinfo|groups" => "XINFO GROUPS KEY",
        "xinfo|stream" => "XINFO STREAM KEY",
        "xpending" => "XPENDING KEY a",
        "xrange" => "XRANGE KEY - + COUNT 1",
        "xread" => "XREAD STREAMS KEY 0",
        "xreadgroup" => "XREADGROUP GROUP a b STREAMS KEY >",
        "xtrim" => "XTRIM KEY MINID ~ 1-1",
        other => panic!("no sample of {other}"),
    }
}
