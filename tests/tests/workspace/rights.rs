//! The manual's page about rights says what the table of rights says.
//!
//! Not whether that is true, which `endpoints` tries on a Redis. `CLAMATOR_BLESS=1` writes it.

use std::fs;

use clamator_engine::Version;
use clamator_engine::access::{Access, Grant, Role, Scope, Stream, grants, rules};

use crate::root;

const PAGE: &str = "clamator-driver/src/manual/rights.rs";
/// Begin the first and the last line of what is written.
const FROM: &str = "//! <!-- from here ";
const TO: &str = "//! <!-- to here ";
const PREFIX: &str = "app";

#[test]
fn the_manual_shows_the_rights_as_they_are() {
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    let (head, rest) = page.split_once(FROM).expect("it begins somewhere");
    let (first, rest) = rest.split_once('\n').expect("a line");
    let (_, tail) = rest.split_once(TO).expect("it ends somewhere");
    let lines = written();
    let lines = lines.iter().map(|line| format!("//! {line}").trim_end().to_owned() + "\n");
    let wanted = format!("{head}{FROM}{first}\n{}{TO}{tail}", lines.collect::<String>());
    if std::env::var_os("CLAMATOR_BLESS").is_some() {
        fs::write(root().join(PAGE), wanted).unwrap();
        return;
    }
    assert!(page == wanted, "{PAGE} is out of date: CLAMATOR_BLESS=1 writes it\n{wanted}");
}

/// For each role its table; and the lists with all of it.
fn written() -> Vec<String> {
    let roles = [
        (Role::Client, "client", "A client"),
        (Role::Server, "server", "A server"),
        (Role::Operator, "operator", "An operator"),
    ];
    let mut lines = Vec::new();
    for (role, _, title) in roles {
        lines.extend([format!("## {title}"), String::new()]);
        lines.push("| right | on | need | what it buys | what else it lets its owner do |".into());
        lines.push("|---|---|---|---|---|".into());
        lines.extend(grants(role).map(row));
        lines.push(String::new());
    }
    lines.push("# The users".into());
    let versions = [
        (Version::new(7, 0, 0), "Redis 7.0 and later, and Valkey"),
        (Version::OLDEST, "Redis 6.2"),
    ];
    for (version, title) in versions {
        lines.extend([
            String::new(),
            format!("With all of that, for the prefix `{PREFIX}`, on {title}:"),
        ]);
        lines.extend([String::new(), "```text".into()]);
        for (role, user, _) in roles {
            let rules = rules(grants(role), &Scope::new(PREFIX), version);
            lines.push(format!("ACL SETUSER {PREFIX}-{user} on >password {rules}"));
        }
        lines.push("```".into());
    }
    lines
}

fn row(grant: &Grant) -> String {
    let on = match grant.keys {
        None => String::new(),
        Some((stream, access)) => {
            let does = match access {
                Access::Read => "reads",
                Access::ReadWrite => "reads and writes",
                _ => "writes",
            };
            let keys = match stream {
                Stream::Commands => "cmds:<service>",
                Stream::Dead => "dead:<service>",
                _ => "replies:<instance>",
            };
            format!("{does} `<prefix>:{keys}`")
        }
    };
    let need = if grant.required { "required" } else { "optional" };
    let mut right = format!("`+{}`", grant.command);
    if grant.since > Version::OLDEST {
        right += &format!(", since Redis {}.{}", grant.since.major, grant.since.minor);
    }
    let cells = [&right, &on, need, grant.buys, grant.exposes];
    format!("| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}
