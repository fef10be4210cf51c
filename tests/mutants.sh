#!/usr/bin/env bash
# Breaks the engine on purpose, one small change at a time, and tells which changes no test notices.
#
#   tests/mutants.sh                                        all of clamator-engine: hours
#   tests/mutants.sh clamator-engine/src/server/settle.rs   these files, or globs of them
#
# For nights and for whoever changes a rule: every change is met by the engine's unit tests and by
# the storm (`cargo test -p clamator-engine --lib --test storm`), one at a time. What no test notices
# is to be tested, or explained in tests/mutants.md. The status is 2 when something was missed.
# cargo-mutants is installed in tests/.env; what it finds is in tests/.env/mutants.out.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=27.1.0
cd "$here/.."

say() { printf 'tests/mutants.sh: %s\n' "$*" >&2; }

case ${1:-} in
-h | --help)
    sed -n '2,/^set /s/^# \{0,1\}//p' "$here/mutants.sh" | sed '/^set /d'
    exit 0
    ;;
esac

tool=$here/.env/cargo/bin/cargo-mutants
if [ "$("$tool" mutants --version 2>/dev/null)" != "cargo-mutants $version" ]; then
    say "installing cargo-mutants $version in tests/.env"
    cargo install --quiet --locked --root "$here/.env/cargo" --version "$version" cargo-mutants
fi

files=()
for file in "$@"; do files+=(--file "$file"); done

# Building takes nearly all of the time: it is done without debug information, which nobody reads
# here, without optimizing, which these tests do not need, and of these two tests only.
export CARGO_PROFILE_DEV_DEBUG=false
cargo_args=(--config=profile.dev.package.clamator-engine.opt-level=0 --lib --test=storm)
exec nice -n 19 "$tool" mutants --package clamator-engine "${files[@]}" --no-shuffle \
    --minimum-test-timeout 20 --output "$here/.env" "${cargo_args[@]/#/--cargo-arg=}"
