//! Runs a target on the inputs of a seed for its time, and counts what they have reached.
//!
//! Not the making of inputs (`dice`), nor of smaller ones (`shrink`). Inputs that reach what no
//! other did in that combination are kept, to be changed further. A failure is printed with one
//! line that repeats it.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clamator_tests::fuzz::{Seen, TARGETS, Target};

use crate::dice::{Dice, corpus, seed};
use crate::shrink::{run, shrink};

/// Targets that run at once.
const AT_ONCE: usize = 2;
/// Most inputs that are kept.
const POOL_MAX: usize = 512;

/// What a run has come to.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) inputs: u64,
    /// How many inputs reached what.
    pub(crate) reached: BTreeMap<&'static str, u64>,
}

/// An input that breaks a target.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) input: Vec<u8>,
    /// Where it panicked.
    pub(crate) place: String,
}

/// Tests the target of this name.
pub(crate) fn test(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    if let Ok(text) = env::var("CLAMATOR_FUZZ_INPUT") {
        let seen = (target.run)(&bytes(&text).expect("CLAMATOR_FUZZ_INPUT is hexadecimal"));
        println!("{name}: {:?}", seen.marks().collect::<Vec<_>>());
        return;
    }
    let seconds = env::var("CLAMATOR_FUZZ_SECONDS").map_or(30, |text| text.parse().unwrap());
    let _turn = Turn::wait();
    let report = match search(target, seed(), Duration::from_secs(seconds)) {
        Ok(report) => report,
        Err(Broken { input, place }) => {
            let input = hexadecimal(&input);
            println!("FAILED target={name} seed={:#x} at {place} input={input}", seed());
            println!(
                "reproduce: CLAMATOR_FUZZ_INPUT={input} \
                 cargo test -p clamator-tests --test fuzz -- --exact {name} --nocapture"
            );
            let seen = (target.run)(&bytes(&input).unwrap());
            panic!("the input fails at times only; this time it reached {seen:?}");
        }
    };
    // Told whether the test passes or fails: `eprintln` would be kept back.
    let (inputs, seed, reached) = (report.inputs, seed(), &report.reached);
    let line = format!("fuzz {name}: {inputs} inputs of seed {seed:#x}, {reached:?}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
    for (what, least) in target.reaches {
        let times = report.reached.get(what).copied().unwrap_or(0);
        let enough = times * 1000 >= report.inputs * least;
        assert!(enough, "only {times} of {} inputs reach {what:?}", report.inputs);
    }
}

/// Runs a target on inputs until the time is over or one breaks it.
pub(crate) fn search(target: &Target, seed: u64, time: Duration) -> Result<Report, Broken> {
    let start = Instant::now();
    let mut dice = Dice::new(
        target.name.bytes().fold(seed, |seed, byte| seed.rotate_left(8) ^ u64::from(byte)),
    );
    let mut pool = corpus(target.name);
    let mut combinations = BTreeSet::new();
    let mut report = Report { inputs: 0, reached: BTreeMap::new() };
    let mut first = pool.clone().into_iter();
    while report.inputs == 0 || start.elapsed() < time {
        let input = first.next().unwrap_or_else(|| dice.input(&pool));
        report.inputs += 1;
        match run(target.run, &input) {
            Ok(seen) => {
                let marks: Vec<&'static str> = seen.marks().collect();
                for mark in &marks {
                    *report.reached.entry(mark).or_default() += 1;
                }
                if pool.len() < POOL_MAX && combinations.insert(marks) {
                    pool.push(input);
                }
            }
            Err(place) => {
                let input = shrink(target.run, &input, &place);
                return Err(Broken { input, place });
            }
        }
    }
    Ok(report)
}

/// The right to run now.
struct Turn;

static TURNS: (Mutex<usize>, Condvar) = (Mutex::new(AT_ONCE), Condvar::new());

impl Turn {
    fn wait() -> Self {
        let free = TURNS.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = TURNS.1.wait_while(free, |free| *free == 0).unwrap();
        *free -= 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TURNS.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        TURNS.1.notify_one();
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let places = (0..text.len()).step_by(2);
    places.map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// A target that breaks on what the search has to find and to cut free.
pub(crate) const fn canary(run: fn(&[u8]) -> Seen) -> Target {
    Target { name: "canary", run, reaches: &[] }
}
