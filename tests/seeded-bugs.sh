#!/usr/bin/env bash
# Builds the engines with bugs in them, one of which a run can choose, and proves that the
# simulator's invariants catch each where clamator-engine/tests/seeded_bugs/table.md says.
#
#   tests/seeded-bugs.sh                       the first seed of each bug, and the same without bugs
#   CLAMATOR_SEEDS=5000 tests/seeded-bugs.sh   every hunt, and the medians
#   CLAMATOR_BLESS=1 tests/seeded-bugs.sh      every hunt, and writes the table
#   CLAMATOR_BUG=<name> tests/seeded-bugs.sh   the hunts for one bug, and how it is caught
#
# It needs Rust alone, and its own place for what it builds: nothing built with bugs is ever found
# by another build. Optimised as a release is but for what takes long to build, and with debug
# assertions.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TARGET_DIR=${CLAMATOR_SEEDED_TARGET_DIR:-$PWD/target/seeded-bugs}
export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true
export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_LTO=off
export RUSTFLAGS="--cfg seeded_bugs"
exec cargo test --locked --release -p clamator-engine --features sim --test seeded_bugs -- \
    --nocapture "$@"
