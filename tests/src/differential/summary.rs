//! [`Summary`]: what a run of the differential runner came to, and what it says at the end.
//!
//! Not the judgement of a sequence. A run is good when nothing differed and when it met all that it
//! must have met; the second is asked of runs that are long enough only.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clamator_engine::Version;

use super::outcomes::{self, Counts};

/// What a run came to.
#[derive(Debug)]
pub struct Summary {
    pub server: String,
    pub version: Version,
    /// The server's program.
    pub program: PathBuf,
    pub seed: u64,
    pub commands: u64,
    pub sequences: u64,
    /// Sequences that were carried out again because it was in doubt when a command was carried
    /// out.
    pub repeats: u64,
    /// Commands by kind, and outcomes, by name.
    pub met: Counts,
    pub failure: Option<Failure>,
    pub took: Duration,
}

/// A sequence upon which server and model differ.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    /// How many steps it had, and how many are left.
    pub steps: usize,
    pub shrunk: usize,
    /// Whether it failed again.
    pub repeatable: bool,
    /// What happened in what is left, and where they differ.
    pub text: String,
}

impl Summary {
    pub fn new(server: String, version: Version, program: PathBuf, seed: u64) -> Self {
        Self {
            server,
            version,
            program,
            seed,
            commands: 0,
            sequences: 0,
            repeats: 0,
            met: Counts::new(),
            failure: None,
            took: Duration::ZERO,
        }
    }

    /// Counts a sequence.
    pub fn add(&mut self, met: &[&'static str]) {
        self.sequences += 1;
        for name in met {
            *self.met.entry(name).or_default() += 1;
        }
        self.commands = self.kinds().map(|(_, count)| count).sum();
    }

    /// What should have been met more often.
    pub fn missing(&self) -> Vec<String> {
        outcomes::missing(&self.met, self.version, self.commands)
    }

    pub fn is_good(&self) -> bool {
        self.failure.is_none() && self.missing().is_empty()
    }

    pub fn say_progress(&self, of: u64, after: Duration) {
        let (server, commands, sequences) = (&self.server, self.commands, self.sequences);
        let seconds = after.as_secs();
        eprintln!("{server}: {commands} of {of} commands, {sequences} sequences, {seconds} s");
    }

    fn kinds(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let is_kind = |(name, _): &(&&'static str, &u64)| outcomes::is_kind(name);
        self.met.iter().filter(is_kind).map(|(name, count)| (*name, *count))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = |f: &mut fmt::Formatter<'_>, rows: Vec<(&str, u64)>| {
            for pair in rows.chunks(2) {
                for (name, count) in pair {
                    write!(f, "  {count:>8} {name:<44}")?;
                }
                writeln!(f)?;
            }
            Ok(())
        };
        writeln!(f, "commands by kind:")?;
        columns(f, self.kinds().collect())?;
        writeln!(f, "outcomes:")?;
        let outcomes = self.met.iter().filter(|(name, _)| !outcomes::is_kind(name));
        columns(f, outcomes.map(|(name, count)| (*name, *count)).collect())?;
        for missing in self.missing() {
            writeln!(f, "not met often enough: {missing}")?;
        }
        if let Some(Failure { seed, steps, shrunk, repeatable, text }) = &self.failure {
            let server = self.server.as_str();
            writeln!(f, "\nFAILED seed={seed:#x}: the model differs from {server}")?;
            if !repeatable {
                writeln!(f, "it did not fail again; this is what happened:")?;
            }
            writeln!(f, "shrunk from {steps} steps to {shrunk}:\n\n{text}")?;
            writeln!(
                f,
                "reproduce: cargo run -p clamator-tests --bin differential -- --commands 1 --seed \
                 {seed:#x} --server {}",
                self.program.display()
            )?;
        }
        write!(
            f,
            "{}: {} commands in {} sequences, {} differences, {:.1} s (seed {:#x}, {} sequences \
             carried out again for doubts about the time)",
            self.server,
            self.commands,
            self.sequences,
            u8::from(self.failure.is_some()),
            self.took.as_secs_f64(),
            self.seed,
            self.repeats
        )
    }
}
