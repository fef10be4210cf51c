//! How seeds are written and read, and what a run that failed says.
//!
//! Not the events of the run, which are the trace's. The last line of a report is a command that
//! repeats the run, as far as a program can know how it was started.

use std::fmt;

use clamator_engine::Instant;

use super::trace::Trace;

/// What names one seed that is to be run, and no other.
pub(super) const SEED: &str = "CLAMATOR_SEED";
/// What says how many seeds are to be run.
pub(super) const SEEDS: &str = "CLAMATOR_SEEDS";

/// What is printed of a run that failed.
pub(super) struct Report<'a> {
    pub(super) seed: u64,
    pub(super) now: Instant,
    pub(super) why: &'a str,
    pub(super) trace: &'a Trace,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, now, why, trace } = self;
        writeln!(f, "FAILED seed={seed:#x} at {now}: {why}")?;
        writeln!(f, "the last events:")?;
        write!(f, "{trace}")?;
        write!(f, "reproduce: {}", command(*seed))
    }
}

/// The line that repeats a run. The test harness names its threads after their tests; any other
/// program is started again as it was.
fn command(seed: u64) -> String {
    let package = std::env::var("CARGO_PKG_NAME").map(|name| format!(" -p {name}"));
    let command = match std::thread::current().name() {
        None | Some("main") => std::env::args().collect::<Vec<_>>().join(" "),
        Some(test) => format!("cargo test{} -- --exact {test}", package.unwrap_or_default()),
    };
    format!("{SEED}={seed:#x} {command}")
}

/// Reads a number as the environment has it: decimal, hexadecimal after `0x`, or the hash of a
/// commit, of which the first 16 digits count.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok();
    }
    if text.len() == 40 {
        return u64::from_str_radix(text.get(..16)?, 16).ok();
    }
    text.parse().ok()
}

/// Reads a variable of the environment; `None` when it is not set.
///
/// # Panics
/// When it is no number: running other seeds than those asked for would look like success.
pub(super) fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let Some(number) = number(&text) else { panic!("{name} is no number: {text:?}") };
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_decimal_hexadecimal_or_commits() {
        assert_eq!(number("28"), Some(28));
        assert_eq!(number(" 0x1c "), Some(28));
        let commit = "00000000000000ffabcdefabcdefabcdefabcdef";
        assert_eq!((commit.len(), number(commit)), (40, Some(255)));
        assert_eq!((number("x"), number("0xg"), number("")), (None, None, None));
    }

    #[test]
    fn a_report_ends_in_the_line_that_repeats_the_run() {
        let trace = Trace::default();
        let report = Report { seed: 28, now: Instant::ZERO, why: "it broke", trace: &trace };
        let report = report.to_string();
        assert!(report.starts_with("FAILED seed=0x1c at 0.000000s: it broke\n"), "{report}");
        let line = report.lines().last().unwrap();
        let name = "sim::report::tests::a_report_ends_in_the_line_that_repeats_the_run";
        let wanted = format!("CLAMATOR_SEED=0x1c cargo test -p clamator-driver -- --exact {name}");
        assert_eq!(line, format!("reproduce: {wanted}"));
    }
}
