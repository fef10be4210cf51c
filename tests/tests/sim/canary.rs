//! The canary: a run that must fail, to see that a failure is seen, explained and repeatable.
//!
//! Not about the engines. A simulator whose invariants cannot fail proves nothing.

use std::env;
use std::panic::catch_unwind;
use std::process::Command;

use clamator_engine::sim;
use clamator_tests::simulate::{Failed, Summary, check_reached, failure_text, many};

use crate::seeds::MANY;

fn canary(seed: u64) -> Failed {
    let failure = sim::run_with_canary(seed).expect_err("the canary sings");
    Failed { seed, text: failure.to_string() }
}

#[test]
fn a_broken_invariant_is_told_with_its_rule_what_led_to_it_and_how_to_repeat_it() {
    let text = failure_text(&canary(0x1c), MANY);
    assert_eq!(text, failure_text(&canary(0x1c), MANY));
    let lines: Vec<&str> = text.lines().collect();
    let failed = lines.iter().position(|line| *line == "FAILED seed=0x1c").expect("{text}");
    assert!(failed > 100, "what happened before is told: {text}");
    let last = &lines[failed - 20..failed];
    assert!(last.iter().any(|line| line.contains("Healed")), "up to what broke it: {text}");
    assert_eq!(
        lines[failed + 1..],
        [
            "broken: nothing-ever-heals (rule 0): everything healed",
            "reproduce: CLAMATOR_SEED=0x1c CLAMATOR_SEEDS=1 cargo test -p clamator-tests --test sim \
             -- --exact seeds::many_seeds_break_nothing_and_reach_everything",
        ]
    );
}

#[test]
fn the_test_that_repeats_a_failure_exists() {
    let tests = Command::new(env::current_exe().unwrap()).args(["--list"]).output().unwrap();
    let tests = String::from_utf8(tests.stdout).unwrap();
    assert!(tests.lines().any(|line| line == format!("{MANY}: test")), "{tests}");
}

#[test]
fn a_failing_test_prints_the_failure() {
    let failure = canary(7);
    let printed = catch_unwind(|| {
        let failures = [failure_text(&failure, MANY)];
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    });
    let printed = printed.unwrap_err().downcast::<String>().unwrap();
    assert!(printed.contains("FAILED seed=0x7\nbroken: nothing-ever-heals (rule 0)"), "{printed}");
}

#[test]
fn what_was_never_reached_is_told() {
    let nothing = check_reached(&Summary::default()).unwrap_err();
    for name in ["CrashInHandler", "LookFound", "taken over"] {
        assert!(nothing.contains(name), "{nothing}");
    }
    let few = many(0, 20, 20, &|_| {});
    let missing = check_reached(&few).unwrap_err();
    assert!(missing.contains("AcknowledgedGivenAgain"), "{missing}");
    assert!(!missing.contains("ClaimFoundNothing"), "{missing}");
}
