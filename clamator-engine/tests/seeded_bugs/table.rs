//! The table of bugs, as a file: `table.md` beside this one.
//!
//! Not what is in it, which is found by hunting.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use clamator_engine::Bug;

use crate::hunt::Caught;

const HEAD: &str = "\
# Bugs built in on purpose, and what catches each

Written by `CLAMATOR_BLESS=1 tests/seeded-bugs.sh`, which hunts for each from nine places; `seeds`
is the median number of seeds that took. What a bug breaks is said in `src/seeded.rs`.

| bug | from | caught by | first seed | seeds |
|---|---|---|---:|---:|
";

/// A bug, and how it is caught.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) bug: String,
    pub(crate) source: String,
    /// Where it is caught first; `None` when it is not.
    pub(crate) first: Option<Caught>,
    /// How many seeds it usually takes; `None` when most hunts catch nothing.
    pub(crate) median: Option<u64>,
}

impl Row {
    pub(crate) fn new(bug: Bug, median: Option<u64>) -> Self {
        Self { bug: format!("{bug:?}"), source: bug.source().to_owned(), first: None, median }
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/seeded_bugs/table.md")
}

/// The file's text.
pub(crate) fn committed() -> String {
    fs::read_to_string(path()).unwrap_or_default()
}

/// The rows of the file.
pub(crate) fn read() -> Vec<Row> {
    committed().lines().filter_map(parse).collect()
}

pub(crate) fn write(text: &str) {
    fs::write(path(), text).unwrap();
}

/// A table with these rows.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut text = HEAD.to_owned();
    for Row { bug, source, first, median } in rows {
        let median = median.map_or_else(|| "-".to_owned(), |median| median.to_string());
        let (invariant, seed) = first.as_ref().map_or_else(
            || ("**nothing**".to_owned(), "-".to_owned()),
            |first| (format!("`{}`", first.invariant), first.seed.to_string()),
        );
        writeln!(text, "| `{bug}` | {source} | {invariant} | {seed} | {median} |").unwrap();
    }
    text
}

fn parse(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let &["", bug, source, invariant, seed, median, ""] = cells.as_slice() else { return None };
    let bare = |text: &str| text.trim_matches('`').to_owned();
    let seed = seed.parse().ok();
    Some(Row {
        bug: bare(bug),
        source: source.to_owned(),
        first: seed.map(|seed| Caught { seed, invariant: bare(invariant) }),
        median: median.parse().ok(),
    })
}
