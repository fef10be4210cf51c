//! How files look: each says first what it is for, and is short enough to have one subject.

use std::fs;

use crate::rust_files;

#[test]
fn every_file_says_first_what_it_is_for() {
    for file in rust_files() {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//!"), "{} has no header", file.display());
    }
}

#[test]
fn files_stay_short_enough_to_have_one_subject() {
    for file in rust_files() {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 500, "{} has {lines} lines", file.display());
    }
}
