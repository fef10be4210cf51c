//! What becomes of calls when Redis is killed: with all its data, without the last of it, and
//! without any.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clamator_engine::sim::Dice;
use clamator_tests::certificates::Folder;
use clamator_tests::chaos::count;
use clamator_tests::chaos::ledger::Account;
use clamator_tests::chaos::pool::{Pool, Setup};
use clamator_tests::redis::RedisServer;

use crate::{SETUP, alone, pause};

/// How soon after Redis is back calls are answered.
const RESUMES_WITHIN: Duration = Duration::from_secs(2);
/// How long a test waits for that, and says how long it was.
const WAITS: Duration = Duration::from_secs(20);

/// What Redis forgets when it is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Forgets {
    Nothing,
    /// What it wrote last, from a random byte on.
    Tail,
    Everything,
}

fn kill_redis(times: usize, forgets: Forgets) -> Account {
    let folder = Folder::new();
    let dir = folder.path("").display().to_string();
    // With `everysec`, Redis may keep confirmed writes to itself for two seconds while the disk is
    // busy. What it has handed to the system outlives its process.
    let options = ["--appendonly", "yes", "--appendfsync", "no", "--dir", &dir];
    let redis = RedisServer::start_with(&options);
    // What is forgotten is never answered.
    let call_timeout = Duration::from_secs(if forgets == Forgets::Nothing { 60 } else { 5 });
    let setup = Setup { call_timeout, ..SETUP };
    let mut pool = Pool::start(redis, setup).busy();
    let mut dice = Dice::new(pool.seed());
    let mut slowest = Duration::ZERO;
    for _ in 0..times {
        pause(&mut dice, 300, 1200);
        let part = dice.between(0, 999);
        let meanwhile = || match forgets {
            Forgets::Nothing => {}
            Forgets::Tail => cut(&log(folder.as_ref()), part),
            Forgets::Everything => empty(folder.as_ref()),
        };
        let resumed = pool.restart_redis(forgets != Forgets::Nothing, meanwhile, WAITS);
        slowest = slowest.max(resumed);
    }
    let account = pool.finish();
    println!("{account}; service resumed within {slowest:?}");
    account.assert_sound();
    assert_eq!(account.away, times);
    assert!(account.answered > 100, "{account}");
    assert!(slowest < RESUMES_WITHIN, "service resumed within {slowest:?}");
    account
}

/// The file that Redis appends to: where it is depends on the version.
fn log(folder: &Path) -> PathBuf {
    let in_folder = |folder: &Path| {
        let files = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        files.filter(|file| file.is_file()).collect::<Vec<_>>()
    };
    let files = [in_folder(folder), in_folder(&folder.join("appendonlydir"))].concat();
    let is_log = |file: &&PathBuf| {
        let name = file.file_name().unwrap().to_string_lossy();
        name.ends_with(".incr.aof") || name == "appendonly.aof"
    };
    let log = files.iter().filter(is_log).max();
    log.unwrap_or_else(|| panic!("no log among {files:?}")).clone()
}

/// Cuts off what follows so many thousandths of a file.
fn cut(log: &Path, part: u64) {
    let file = OpenOptions::new().write(true).open(log).unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(len * part / 1000).unwrap();
}

fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.unwrap();
    }
}

#[test]
fn a_killed_redis_costs_no_request_that_it_has_confirmed() {
    let _alone = alone();
    kill_redis(count(4, 20), Forgets::Nothing);
}

#[test]
fn a_redis_that_forgets_the_last_writes_makes_no_reply_wrong_and_no_run_unexplained() {
    let _alone = alone();
    let account = kill_redis(count(4, 20), Forgets::Tail);
    assert!(account.again > 0, "{account}");
}

#[test]
fn a_redis_that_forgets_everything_leaves_no_caller_without_an_answer() {
    let _alone = alone();
    kill_redis(count(2, 10), Forgets::Everything);
}
