//! The differential runner: random sequences of commands, side by side on the in-memory model and
//! on a real server, every answer and the final state compared.
//!
//! It makes "the model is exact" a claim that is checked. Not tolerant: what versions of Redis do
//! differently is the model's to know. The two things that a server decides by itself are learnt
//! from it and told to the model: the time, and with it the ids of entries. The way of a sequence:
//! [`mod@generate`], [`mod@player`] on the server, [`mod@judge`] on the model, and [`mod@shrink`]
//! when they differ.

pub mod arguments;
pub mod generate;
pub mod interludes;
pub mod judge;
pub mod looks;
pub mod outcomes;
pub mod player;
pub mod show;
pub mod shrink;
pub mod step;
pub mod summary;
pub mod trace;
pub mod wire;

use std::path::PathBuf;
use std::time::Duration;

use clamator_engine::{Value, Version};

use self::judge::{Difference, Tamper, Verdict, judge};
use self::player::Player;
use self::step::{Deed, Step, block_ms};
use self::summary::{Failure, Summary};
use self::trace::Trace;
use self::wire::Wire;
use crate::process::now;
use crate::redis::RedisServer;

/// The distance between the seeds of two sequences. The first one has the run's seed, so that any
/// sequence can be run alone.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// How often a sequence is carried out that cannot be explained, while it is not certain when its
/// commands were carried out. A true difference is one every time.
const REPEATS_MAX: u64 = 10;

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// At least so many commands, in whole sequences.
    pub commands: u64,
    pub seed: u64,
    /// The server's program; `$CLAMATOR_REDIS_SERVER` if there is none.
    pub server: Option<PathBuf>,
    /// What the model takes itself for, if not the server's version.
    pub version: Option<Version>,
    /// Alters what the model says.
    pub tamper: Option<Tamper>,
    /// Whether to say on standard error how far it is.
    pub progress: bool,
}

/// Runs until so many commands were compared, or until something differs.
pub fn run(options: &Options) -> Summary {
    // Time-outs of blocked reads are noticed at the server's next beat.
    let beat = ["--hz", "500"];
    let server = match &options.server {
        Some(program) => RedisServer::start_program(program.clone(), &beat),
        None => RedisServer::start_with(&beat),
    };
    let (name, version) = introduce(server.port());
    let mut bench = Bench {
        player: Player::open(server.port()).expect("a started server takes connections"),
        version: options.version.unwrap_or(version),
        tamper: options.tamper,
        repeats: 0,
    };
    let mut summary = Summary::new(name, version, server.program().to_owned(), options.seed);
    let (begin, mut said) = (now(), now());
    let mut seed = options.seed;
    while summary.commands < options.commands && summary.failure.is_none() {
        let mut steps = generate::sequence(seed);
        steps.retain(|step| is_determined(step, version));
        match bench.compare(&steps) {
            Compared::Same(met) => summary.add(&met),
            Compared::Differs(trace, difference) => {
                summary.failure = Some(bench.explain(seed, steps, &trace, &difference));
            }
        }
        summary.repeats = bench.repeats;
        seed = seed.wrapping_add(SEED_STEP);
        if options.progress && said.elapsed() > Duration::from_secs(5) {
            said = now();
            summary.say_progress(options.commands, begin.elapsed());
        }
    }
    summary.took = begin.elapsed();
    summary
}

/// A server and what the model takes itself for.
struct Bench {
    player: Player,
    version: Version,
    tamper: Option<Tamper>,
    /// Sequences that had to be carried out again.
    repeats: u64,
}

enum Compared {
    Same(Vec<&'static str>),
    Differs(Trace, Difference),
}

impl Bench {
    fn compare(&mut self, steps: &[Step]) -> Compared {
        let mut repeats = 0;
        loop {
            let trace = self.player.play(steps).expect("the server answers");
            match judge(&trace, self.version, self.tamper) {
                Verdict::Same(met) => return Compared::Same(met),
                Verdict::Differs { difference, certain } if certain || repeats == REPEATS_MAX => {
                    return Compared::Differs(trace, difference);
                }
                Verdict::Differs { .. } => repeats += 1,
            }
            self.repeats += 1;
        }
    }

    /// Shrinks a sequence that failed, and shows what is left of it.
    fn explain(
        &mut self,
        seed: u64,
        steps: Vec<Step>,
        trace: &Trace,
        difference: &Difference,
    ) -> Failure {
        let repeats = self.repeats;
        let mut last = (steps.clone(), show::trace(trace, difference));
        let mut repeatable = false;
        shrink::shrink(&steps, |steps| match self.compare(steps) {
            Compared::Differs(trace, difference) => {
                last = (steps.to_vec(), show::trace(&trace, &difference));
                repeatable = true;
                true
            }
            Compared::Same(_) => false,
        });
        self.repeats = repeats;
        let (shrunk, text) = last;
        Failure { seed, steps: steps.len(), shrunk: shrunk.len(), repeatable, text }
    }
}

/// Whether one can tell what the server does. Before 7.2 a wait that is too long for Redis to count
/// ends when Redis next looks through all its clients.
fn is_determined(step: &Step, version: Version) -> bool {
    match &step.deed {
        Deed::Ask(command) => {
            version >= Version::new(7, 2, 0) || block_ms(command) != i64::MAX.cast_unsigned()
        }
        _ => true,
    }
}

/// The server's name and version.
fn introduce(port: u16) -> (String, Version) {
    let info = Wire::open(port).and_then(|mut wire| wire.ask(&[b"INFO", b"server"]));
    let Ok(Value::Bytes(info)) = info else { panic!("INFO was answered {info:?}") };
    let info = String::from_utf8_lossy(&info);
    let line = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
    let (name, version) = match line("valkey_version:") {
        Some(version) => ("valkey", version),
        None => ("redis", line("redis_version:").unwrap_or_default()),
    };
    let parsed = Version::parse(version);
    (format!("{name} {version}"), parsed.unwrap_or_else(|| panic!("no version in {info}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_make_equal_sequences_and_neighbours_do_not() {
        assert_eq!(generate::sequence(7), generate::sequence(7));
        assert_ne!(generate::sequence(7), generate::sequence(7_u64.wrapping_add(SEED_STEP)));
    }
}
